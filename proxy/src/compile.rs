//! The compile thread: bundles become a decision point, or one error says why not. It may take as long as it
//! likes; the data plane goes on with the policy that it has.
use crate::config::{PolicyConfig, PolicyDecision};
use crate::state::{LoadedBundle, Policy};
use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use postern_policy::{BundleLimits, Entry, Pdp, PdpLimits, PolicyBundle, Signers};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

/// What every compilation on this thread holds to.
#[derive(Debug)]
pub struct Terms {
    /// Who may have signed each bundle, by its name.
    pub signers: Vec<(String, Signers)>,
    /// How large a bundle may be.
    pub bundle_limits: BundleLimits,
    /// Which question is asked.
    pub entry: Entry,
    /// How much a policy may cost.
    pub pdp_limits: PdpLimits,
}

impl Terms {
    /// What the configuration means; `signers` holds the keys that it names, by the bundle's name.
    pub fn of(config: &PolicyConfig, signers: Vec<(String, Signers)>) -> Self {
        let entry = match &config.decision {
            PolicyDecision::Rego { path } => Entry::Rego { path: path.clone() },
            PolicyDecision::Cedar => Entry::Cedar,
        };
        let bundle_limits = BundleLimits {
            decompressed_bytes_max: config.limits.bytes_max as u64,
            file_bytes_max: config.limits.file_bytes_max as u64,
            files_max: config.limits.files_max,
            ..BundleLimits::default()
        };
        let pdp_limits = PdpLimits {
            timeout: config.decision_timeout,
            steps_max: u64::try_from(config.decision_steps_max).unwrap_or(u64::MAX),
            strict_builtin_errors: config.strict_builtin_errors,
            ..PdpLimits::default()
        };
        Self { signers, bundle_limits, entry, pdp_limits }
    }

    /// Who may have signed this bundle.
    pub fn signers_of(&self, bundle: &str) -> Option<&Signers> {
        self.signers.iter().find(|(of, _)| of == bundle).map(|(_, signers)| signers)
    }
}

/// One archive of every configured bundle.
#[derive(Clone, Debug)]
pub struct Job {
    /// Counts up with every job; becomes the policy's generation.
    pub generation: u64,
    /// Archives by bundle name, in the order of the configuration.
    pub archives: Vec<(String, Bytes)>,
}

/// What became of a job.
#[derive(Debug)]
pub struct Compiled {
    /// The job.
    pub job: Job,
    /// The policy, or why there is none.
    pub outcome: Result<Policy, CompileError>,
}

/// Why bundles did not become a policy. The policy in force stays in force.
#[derive(Debug, thiserror::Error)]
#[error("{code}: {message}")]
pub struct CompileError {
    /// The reason code.
    pub code: &'static str,
    /// What, where, and how to mend it.
    pub message: String,
}

/// The way to the compile thread. One job waits at most: a newer one replaces what it would have done.
#[derive(Clone, Debug)]
pub struct Jobs(SyncSender<Job>);

impl Jobs {
    /// The way in and the thread's end of it.
    pub fn new() -> (Self, Receiver<Job>) {
        let (sender, receiver) = sync_channel(1);
        (Self(sender), receiver)
    }

    /// Hands a job over; gives it back while the thread is busy and one waits already.
    pub fn submit(&self, job: Job) -> Result<(), Job> {
        match self.0.try_send(job) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => Err(job),
        }
    }
}

/// Compiles until the way in is closed.
pub fn run(terms: &Terms, jobs: &Receiver<Job>, mut done: impl FnMut(Compiled)) {
    let mut in_force = Sequences::new();
    for job in jobs {
        let compiling = AssertUnwindSafe(|| compile(terms, &job, &mut in_force));
        let outcome = catch_unwind(compiling).unwrap_or_else(|_| {
            let message = "the policy compiler panicked on this bundle: please report it".to_owned();
            Err(CompileError { code: "policy.bundle.policy", message })
        });
        done(Compiled { job, outcome });
    }
}

/// The sequence number of each bundle in force, where its publisher numbers them: an older bundle that was
/// once signed must not come back.
type Sequences = HashMap<String, u64>;

fn compile(terms: &Terms, job: &Job, in_force: &mut Sequences) -> Result<Policy, CompileError> {
    let mut bundles = Vec::with_capacity(job.archives.len());
    for (name, archive) in &job.archives {
        let signers = terms.signers_of(name).ok_or_else(|| CompileError {
            code: "policy.bundle.signature",
            message: format!("bundle `{name}` is not configured"),
        })?;
        let bundle = PolicyBundle::open(archive, &terms.bundle_limits, signers).map_err(|error| {
            CompileError { code: error.code(), message: format!("bundle `{name}`: {error}") }
        })?;
        bundle.refuse_rollback(in_force.get(name).copied()).map_err(|error| CompileError {
            code: error.code(),
            message: format!("bundle `{name}`: {error}"),
        })?;
        bundles.push((name.as_str(), bundle));
    }
    let loaded: Vec<_> = bundles.iter().map(|(name, bundle)| loaded(name, bundle)).collect();
    let sha256 = digest_of(&loaded);
    let pdp = Pdp::load(&bundles, &terms.entry, &terms.pdp_limits)
        .map_err(|error| CompileError { code: "policy.bundle.policy", message: error.to_string() })?;
    let numbered = bundles.iter().filter_map(|(name, bundle)| Some(((*name).to_owned(), bundle.sequence()?)));
    in_force.extend(numbered);
    Ok(Policy { pdp, generation: job.generation, sha256, bundles: loaded })
}

/// One bundle's own digest, so that a decision can be joined to the bundle's record; of several, one over theirs.
fn digest_of(bundles: &[LoadedBundle]) -> [u8; 32] {
    if let [only] = bundles {
        return only.sha256;
    }
    let mut sum = Context::new(&SHA256);
    bundles.iter().for_each(|bundle| sum.update(&bundle.sha256));
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(sum.finish().as_ref());
    sha256
}

fn loaded(name: &str, bundle: &PolicyBundle) -> LoadedBundle {
    LoadedBundle { name: name.to_owned(), revision: bundle.revision().to_owned(), sha256: *bundle.digest() }
}
