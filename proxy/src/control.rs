//! The control thread's mind: every change of policy, trust, identity and keys passes here, one after the
//! other, and leaves as one new snapshot.
pub(crate) mod names;
mod trust;

use self::trust::TrustParts;
use crate::clock::Clock;
use crate::compile::{Compiled, Job, Jobs};
use crate::config::FederationConfig;
use crate::log::{Event, LogHandle};
use crate::routing::Named;
use crate::sources::identity::federation::{Cause, Federated, FederationUpdate};
use crate::sources::identity::{IdentityUpdate, SourceStatus};
use crate::sources::names::NameUpdate;
use crate::sources::policy::{BundleCandidate, LastGood};
use crate::sources::workload_bundles::WorkloadKeys;
use crate::state::{LoadedBundle, Shared};
use crate::status::Status;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::LoadResult;
use bytes::Bytes;
use postern_identity::token::KeySet;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};

/// What can change while the sidecar runs.
#[derive(Debug)]
pub enum Update {
    /// A new state of our identity and of whom we believe.
    Identity(IdentityUpdate),
    /// What became of a relationship with another trust domain.
    Federation(FederationUpdate),
    /// An issuer's keys, by its index; `None` when they have become too old to be used.
    Keys {
        /// The issuer.
        issuer: usize,
        /// Its keys.
        keys: Option<Arc<KeySet>>,
    },
    /// The keys of a trust domain for the identity tokens of its workloads.
    WorkloadKeys(WorkloadKeys),
    /// A bundle that may come to be in force.
    Bundle(BundleCandidate),
    /// What became of a name among the endpoints.
    Name(NameUpdate),
    /// What the compile thread made of one.
    Compiled(Compiled),
    /// A configuration that was read again and may come to be in force.
    Reload {
        /// All of it.
        config: Box<crate::config::Config>,
        /// Told when it is in force.
        done: oneshot::Sender<()>,
    },
}

/// Composes snapshots. One of it exists, on the control thread.
#[derive(Debug)]
pub struct Control {
    shared: Shared,
    status: Arc<Status>,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    keys_generation: watch::Sender<u64>,
    trust_generation: watch::Sender<u64>,
    trust: TrustParts,
    federation: watch::Sender<Vec<FederationConfig>>,
    names: watch::Sender<Vec<Named>>,
    log: LogHandle,
    bundles: Bundles,
}

/// What the control thread tells others.
#[derive(Debug)]
pub struct Tells {
    /// The generation of keys in force.
    pub keys_generation: watch::Sender<u64>,
    /// The generation of trust in force.
    pub trust_generation: watch::Sender<u64>,
    /// Whom we federate with.
    pub federation: watch::Sender<Vec<FederationConfig>>,
    /// The names among the endpoints.
    pub names: watch::Sender<Vec<Named>>,
    /// What happened.
    pub log: LogHandle,
}

/// The newest archive of each bundle, and the job that they make.
#[derive(Debug)]
struct Bundles {
    jobs: Jobs,
    last_good: LastGood,
    archives: Vec<(String, Option<Bytes>)>,
    generation: u64,
    /// The compile thread had no room: this is what it does next.
    waiting: Option<Job>,
}

impl Control {
    /// A control over the shared snapshot cell, for the bundles of these names.
    pub fn new(
        shared: Shared,
        (status, metrics, clock): (Arc<Status>, Arc<Metrics>, Arc<dyn Clock>),
        tells: Tells,
        (jobs, last_good, bundle_names): (Jobs, LastGood, Vec<String>),
    ) -> Self {
        let archives = bundle_names.into_iter().map(|name| (name, None)).collect();
        let bundles = Bundles { jobs, last_good, archives, generation: 0, waiting: None };
        let Tells { keys_generation, trust_generation, federation, names, log } = tells;
        let trust = TrustParts::default();
        Self {
            shared,
            status,
            metrics,
            clock,
            keys_generation,
            trust_generation,
            trust,
            federation,
            names,
            log,
            bundles,
        }
    }

    /// Applies updates until the last sender is gone.
    pub async fn run(mut self, mut updates: mpsc::Receiver<Update>) {
        while let Some(update) = updates.recv().await {
            self.apply(update);
        }
    }

    fn apply(&mut self, update: Update) {
        match update {
            Update::Identity(update) => self.identity(update),
            Update::Federation(update) => self.federation(update),
            Update::Keys { issuer, keys } => self.keys(issuer, keys),
            Update::WorkloadKeys(update) => self.workload_keys(update),
            Update::Bundle(candidate) => self.bundles.offer(candidate),
            Update::Name(update) => names::refreshed(&update, (&self.shared, &self.status, &self.metrics)),
            Update::Compiled(compiled) => self.compiled(compiled),
            Update::Reload { config, done } => {
                self.reload(&config);
                // Whoever asked may have gone.
                _ = done.send(());
            }
        }
    }

    fn identity(&mut self, update: IdentityUpdate) {
        self.status.identity(update.svid.as_deref());
        self.metrics.identity.updated(LoadResult::Loaded);
        self.metrics.identity.svid(update.svid.as_ref().map_or(0, |svid| svid.not_after().as_secs()));
        if let Some(svid) = &update.svid {
            tracing::info!(spiffe_id = %svid.spiffe_id(), not_after = svid.not_after().as_secs(), "identity in force");
        } else {
            tracing::warn!("identity withdrawn: new connections are refused");
        }
        self.trust.set_own(update.trust);
        self.believe(|next| next.svid = update.svid);
    }

    fn federation(&mut self, update: FederationUpdate) {
        match update {
            FederationUpdate::Kept(Federated { bundle, .. }) => {
                tracing::info!(trust_domain = %bundle.trust_domain(), "the bundle of another trust domain was kept");
                self.trust.federate(bundle);
            }
            FederationUpdate::Fetched(Federated { bundle, .. }) => {
                self.metrics.identity.federated(LoadResult::Loaded);
                self.status.federation(bundle.trust_domain(), None);
                self.trust.federate(bundle);
            }
            FederationUpdate::Failed { trust_domain, status, cause } => {
                self.metrics.identity.federated(match cause {
                    Cause::Unavailable => LoadResult::Unavailable,
                    Cause::Refused => LoadResult::Refused,
                });
                return self.status.federation(&trust_domain, trouble_of(&status));
            }
            FederationUpdate::Ended(trust_domain) => {
                tracing::info!(%trust_domain, "a relationship with another trust domain ended");
                self.status.federation(&trust_domain, None);
                self.trust.end(&trust_domain);
            }
        }
        self.believe(|_| {});
    }

    /// Puts trust in force as its parts have it now, together with `change`.
    fn believe(&mut self, change: impl FnOnce(&mut crate::state::Snapshot)) {
        let in_force = self.shared.load();
        let bundles = self.trust.compose();
        let trust = if *in_force.trust.bundles == *bundles {
            Arc::clone(&in_force.trust)
        } else {
            Arc::new(in_force.trust.followed_by(bundles))
        };
        let generation = trust.generation;
        self.status.trust(trust.bundles.len(), self.trust.overruled());
        self.metrics.identity.trust(trust.bundles.len(), generation);
        self.shared.publish(|next| {
            change(next);
            next.trust = trust;
        });
        self.trust_generation.send_if_modified(|told| std::mem::replace(told, generation) != generation);
    }

    fn keys(&mut self, issuer: usize, keys: Option<Arc<KeySet>>) {
        let in_force = self.shared.load();
        // What workers remember of tokens goes with the generation, so that nobody's keys change for nothing.
        if in_force.tokens.keys.get(issuer) == Some(&keys) {
            return;
        }
        let mut tokens = (*in_force.tokens).clone();
        tokens.generation += 1;
        let generation = tokens.generation;
        if let Some(slot) = tokens.keys.get_mut(issuer) {
            *slot = keys;
        }
        let missing = tokens.issuers.iter().zip(&tokens.keys).filter(|(_, keys)| keys.is_none());
        self.status.keys(missing.map(|(issuer, _)| issuer.issuer().to_owned()).collect());
        self.shared.publish(|next| next.tokens = Arc::new(tokens));
        self.keys_generation.send_replace(generation);
    }

    fn workload_keys(&mut self, WorkloadKeys { trust_domain, keys }: WorkloadKeys) {
        let mut workloads = (*self.shared.load().workloads).clone();
        workloads.keys.insert(trust_domain, Some(keys));
        self.shared.publish(|next| next.workloads = Arc::new(workloads));
    }

    fn compiled(&mut self, compiled: Compiled) {
        match compiled.outcome {
            Ok(policy) => {
                tracing::info!(
                    revision = policy.pdp.revision().as_str(),
                    generation = policy.generation,
                    "policy in force"
                );
                self.status.policy_loaded(policy.pdp.revision().as_str());
                let bundles: Vec<_> =
                    policy.bundles.iter().map(|b| (b.name.as_str(), b.revision.as_str())).collect();
                let now_s = self.clock.unix_time().as_secs();
                self.metrics.policy.loaded(policy.generation, policy.pdp.engine().as_str(), &bundles, now_s);
                policy.bundles.iter().for_each(|bundle| self.record_bundle(bundle));
                self.shared.publish(|next| next.policy = Some(Arc::new(policy)));
                self.bundles.keep(&compiled.job);
            }
            Err(error) => {
                tracing::error!(
                    code = error.code,
                    "policy refused, the one in force stays: {}",
                    error.message
                );
                self.metrics.policy.load_failed(LoadResult::Refused);
                self.record_refused(&compiled.job, &error.to_string());
                self.status.policy_trouble(error.to_string());
            }
        }
        self.bundles.submit_waiting();
    }

    /// The log tells which policy was in force when: without it a decision's revision would mean nothing.
    fn record_bundle(&self, bundle: &LoadedBundle) {
        self.record(Event::Bundle {
            event: "activated",
            name: bundle.name.clone(),
            revision: bundle.revision.clone(),
            sha256: Some(bundle.sha256),
            detail: String::new(),
        });
    }

    fn record_refused(&self, job: &Job, detail: &str) {
        let names: Vec<_> = job.archives.iter().map(|(name, _)| name.as_str()).collect();
        self.record(Event::Bundle {
            event: "refused",
            name: names.join(","),
            revision: String::new(),
            sha256: None,
            detail: detail.to_owned(),
        });
    }

    fn record(&self, event: Event) {
        if !self.log.record(event) {
            tracing::warn!("an event of the control plane found no place in the audit log");
        }
    }

    fn reload(&mut self, config: &crate::config::Config) {
        let in_force = self.shared.load();
        let routing = crate::routing::Routing::new(config, Some(&in_force.routing), &self.metrics);
        let (observing, names) = (routing.observing(), routing.names());
        self.metrics.policy.observing_routes(observing);
        self.shared.publish(|next| next.routing = Arc::new(routing));
        self.status.names(&names);
        self.names.send_replace(names);
        self.federation.send_if_modified(|wanted| {
            let changed = *wanted != config.identity.federation;
            wanted.clone_from(&config.identity.federation);
            changed
        });
        let listeners: Vec<_> = config.listeners.iter().map(|listener| listener.name.as_str()).collect();
        let upstreams: Vec<_> = config.upstreams.iter().map(|upstream| upstream.name.as_str()).collect();
        self.metrics.keep_only(&listeners, &upstreams);
        self.metrics.config.loaded(self.clock.unix_time().as_secs());
        let event = Event::Config { event: "reloaded", sha256: None, detail: String::new() };
        self.record(event);
        self.status.config_trouble(None);
        self.status.observing_routes(observing);
        tracing::info!("configuration reloaded");
    }
}

impl Bundles {
    /// Takes the newest archive of a bundle; once every bundle has one, they are compiled together.
    fn offer(&mut self, candidate: BundleCandidate) {
        let slot = self.archives.iter_mut().find(|(name, _)| *name == candidate.name);
        let Some((_, archive)) = slot else { return };
        *archive = Some(candidate.archive);
        let all = self.archives.iter().map(|(name, archive)| Some((name.clone(), archive.clone()?)));
        let Some(archives) = all.collect::<Option<Vec<_>>>() else { return };
        self.generation += 1;
        self.waiting = Some(Job { generation: self.generation, archives });
        self.submit_waiting();
    }

    /// Hands over what waits. A job that finds no room is handed over when the thread reports the one before.
    fn submit_waiting(&mut self) {
        if let Some(job) = self.waiting.take() {
            self.waiting = self.jobs.submit(job).err();
        }
    }

    /// Keeps what is in force for a start without its source. Failing at that is no reason not to decide.
    fn keep(&self, job: &Job) {
        for (name, archive) in &job.archives {
            if let Err(error) = self.last_good.store(name, archive) {
                tracing::warn!(bundle = name, %error, "the bundle in force could not be kept for an offline start");
            }
        }
    }
}

/// What a source says against itself.
pub(crate) fn trouble_of(status: &SourceStatus) -> Option<String> {
    match status {
        SourceStatus::Starting | SourceStatus::Ready => None,
        SourceStatus::Degraded(reason) | SourceStatus::Withdrawn(reason) | SourceStatus::Failing(reason) => {
            Some(reason.clone())
        }
        SourceStatus::Stale { reason, .. } => Some(format!("stale: {reason}")),
    }
}
