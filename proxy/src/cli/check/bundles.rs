//! Whether the policy bundles that lie in folders would come into force. A bundle from a server is not
//! fetched: `check` must say the same on a machine that cannot reach it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postern_policy::{Pdp, PolicyBundle, SignerKey, Signers};
use tokio::sync::{mpsc, watch};

use super::contents::FILE_BYTES_MAX;
use crate::clock::SystemClock;
use crate::compile::Terms;
use crate::config::{BundleConfig, BundleSource, BundleTrust, Finding, PolicyConfig, member};
use crate::sources::identity::SourceStatus;
use crate::sources::policy::{self, Origin, Source};
use crate::sources::watched_file;

/// A folder that takes longer to read is not one.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Findings about every bundle in a folder, and about all of them together when none is elsewhere. A bundle
/// whose signers' keys cannot be read is passed over: they have findings of their own.
pub(super) fn check(config: &PolicyConfig) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut bundles = Vec::new();
    let signers = |of: &BundleConfig| Some((of.name.clone(), signers(&of.trust)?));
    let terms = Terms::of(config, config.bundles.iter().filter_map(signers).collect());
    for bundle in &config.bundles {
        let BundleSource::Directory { path, .. } = &bundle.source else { continue };
        let Some(signers) = terms.signers_of(&bundle.name) else { continue };
        let opened = read(bundle, path, config.limits.archive_bytes_max).and_then(|archive| {
            PolicyBundle::open(&archive, &terms.bundle_limits, signers).map_err(|error| error.to_string())
        });
        match opened {
            Ok(opened) => bundles.push((bundle.name.as_str(), opened)),
            Err(what) => {
                let key = format!("{}.source.directory.path", member("policy.bundles", &bundle.name));
                findings.push(Finding::error(
                    key,
                    what,
                    "mend the bundle; `postern bundle inspect` shows what is in it",
                ));
            }
        }
    }
    if bundles.len() == config.bundles.len()
        && let Err(error) = Pdp::load(&bundles, &terms.entry, &terms.pdp_limits)
    {
        let mend = "mend the policy at the place that is named, or ask another question in `policy.decision`";
        findings.push(Finding::error("policy.decision", error.to_string(), mend));
    }
    findings
}

fn signers(trust: &BundleTrust) -> Option<Signers> {
    let key = |path: &PathBuf| {
        let pem = watched_file::read(path, FILE_BYTES_MAX).ok()?;
        SignerKey::from_pem(&path.display().to_string(), &pem).ok()
    };
    match trust {
        BundleTrust::UnsignedForDevelopment => Some(Signers::UnsignedAllowedForDevelopment),
        BundleTrust::Signers(files) => files.iter().map(key).collect::<Option<_>>().map(Signers::Keys),
    }
}

/// Reads the folder as the running sidecar does, once.
fn read(bundle: &BundleConfig, path: &Path, archive_bytes_max: usize) -> Result<Bytes, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let (candidates, mut found) = mpsc::channel(1);
    let (status, mut state) = watch::channel(SourceStatus::Starting);
    let origin = Origin::Directory { path: path.to_owned(), poll_interval: READ_TIMEOUT };
    let source = Source { name: bundle.name.clone(), origin, archive_bytes_max, status };
    runtime.block_on(async {
        let follow = policy::run(source, Arc::new(SystemClock::new()), candidates);
        tokio::select! {
            candidate = found.recv() => candidate.map(|found| found.archive).ok_or_else(|| "the folder gave nothing".to_owned()),
            reason = failure(&mut state) => Err(reason),
            () = follow => Err("the folder gave nothing".to_owned()),
            () = tokio::time::sleep(READ_TIMEOUT) => Err(format!("the folder took longer than {READ_TIMEOUT:?} to read")),
        }
    })
}

/// The reason for which the source fails, once it does.
async fn failure(state: &mut watch::Receiver<SourceStatus>) -> String {
    loop {
        if let SourceStatus::Failing(reason) = &*state.borrow_and_update() {
            return reason.clone();
        }
        if state.changed().await.is_err() {
            return "the folder is not looked at any more".to_owned();
        }
    }
}
