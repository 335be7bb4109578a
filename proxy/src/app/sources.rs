//! The sources, as they run on the control thread: each follows the world and hands what it finds to
//! [`Control`](crate::control::Control).
use super::jwt_keys::{FederatedKeys, JwtKeys};
use super::{Parts, StartError};
use crate::clock::{Clock, TlsTime};
use crate::config::{
    self, BundleSource, FederationConfig, HttpSource, IssuerConfig, KeySource, RevocationRule, TokenProfile,
};
use crate::control::{Update, trouble_of};
use crate::keys::Wish;
use crate::routing::Named;
use crate::sources::fetch::Fetcher;
use crate::sources::identity::federation::{self, Pace, Surroundings};
use crate::sources::identity::{self, IdentitySource, Outlet, SourceStatus};
use crate::sources::last_good::LastGood;
use crate::sources::{jwks, names, policy, workload_bundles};
use crate::state::Shared;
use crate::status::{KeysFailing, Status};
use crate::telemetry::Metrics;
use crate::telemetry::metrics::LoadResult;
use postern_identity::TrustDomain;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;

/// The sources of one configuration, not yet started.
#[derive(Debug)]
pub(super) struct Sources {
    identity: IdentitySource,
    federation: (watch::Receiver<Vec<FederationConfig>>, LastGood, Shared, RevocationRule),
    names: (watch::Receiver<Vec<Named>>, Arc<[SocketAddr]>),
    bundles: Vec<policy::Source>,
    keys: Vec<jwks::IssuerKeys>,
    workload_bundles: Vec<(TrustDomain, PathBuf)>,
    jwt_keys: Option<JwtKeys>,
    federated_keys: FederatedKeys,
    kept: Kept,
    updates: mpsc::Sender<Update>,
    wished: mpsc::Receiver<Wish>,
    status: Arc<Status>,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    troubles: Vec<(String, watch::Receiver<SourceStatus>)>,
    key_troubles: Vec<(String, watch::Receiver<jwks::KeyStatus>)>,
}

/// What was in force when the last process ended.
#[derive(Debug)]
struct Kept {
    last_good: LastGood,
    names: Vec<String>,
    bytes_max: u64,
}

impl Sources {
    pub(super) fn new(
        parts: &Parts<'_>,
        updates: mpsc::Sender<Update>,
        (wished, federation, names): Wanted,
    ) -> Result<Self, StartError> {
        let config = parts.config;
        let mut troubles = Vec::new();
        let bundles = config.policy.bundles.iter().map(|bundle| {
            let (status, trouble) = watch::channel(SourceStatus::Starting);
            troubles.push((bundle.name.clone(), trouble));
            let origin = origin(&bundle.source, &parts.clock)?;
            let archive_bytes_max = config.policy.limits.archive_bytes_max;
            Ok(policy::Source { name: bundle.name.clone(), origin, archive_bytes_max, status })
        });
        let bundles = bundles.collect::<Result<_, StartError>>()?;
        let mut key_troubles = Vec::new();
        let keys = config.tokens.iter().enumerate().map(|(place, of)| {
            let Some((keys, trouble)) = issuer_keys(place, of, parts)? else { return Ok(None) };
            key_troubles.push((of.issuer.clone(), trouble));
            Ok(Some(keys))
        });
        let keys = keys.filter_map(Result::transpose).collect::<Result<_, StartError>>()?;
        let bundle_names = config.policy.bundles.iter().map(|bundle| bundle.name.clone()).collect();
        let last_good = LastGood::new(config.policy.last_good_directory.clone());
        let federated = LastGood::of(config.identity.federation_directory.clone(), "json");
        Ok(Self {
            identity: identity_source(&config.identity),
            federation: (federation, federated, parts.shared.clone(), config.identity.revocation),
            names: (names, own(config)),
            bundles,
            keys,
            workload_bundles: config.workload_tokens.bundles.clone(),
            jwt_keys: JwtKeys::of(config),
            federated_keys: FederatedKeys::of(config),
            kept: Kept {
                last_good,
                names: bundle_names,
                bytes_max: config.policy.limits.archive_bytes_max as u64,
            },
            updates,
            wished,
            status: Arc::clone(&parts.status),
            metrics: Arc::clone(&parts.metrics),
            clock: Arc::clone(&parts.clock),
            troubles,
            key_troubles,
        })
    }

    /// Starts every source on the control thread's runtime.
    pub(super) fn spawn(self, local: &LocalSet) {
        follow_identity(local, self.identity, (&self.updates, &self.status, &self.clock));
        if let Some(keys) = self.jwt_keys {
            keys.spawn(local, (&self.updates, &self.status, &self.clock));
        }
        let news = (self.federated_keys, self.updates.clone(), Arc::clone(&self.status));
        federate(local, self.federation, news, &self.clock);
        let (found, mut candidates) = mpsc::channel(4);
        let bundles = self.bundles.into_iter().map(|source| {
            let (clock, found) = (Arc::clone(&self.clock), found.clone());
            policy::run(source, clock, found)
        });
        let (kept, updates) = (self.kept, self.updates.clone());
        let following: Vec<_> = bundles.collect();
        local.spawn_local(async move {
            // What was in force before comes first: a start does not wait for the sources.
            for candidate in kept.load() {
                drop(updates.send(Update::Bundle(candidate)).await);
            }
            for source in following {
                drop(tokio::task::spawn_local(source));
            }
            while let Some(candidate) = candidates.recv().await {
                drop(updates.send(Update::Bundle(candidate)).await);
            }
        });
        for (name, trouble) in self.troubles {
            let (status, metrics) = (Arc::clone(&self.status), Arc::clone(&self.metrics));
            local.spawn_local(watch_policy(name, trouble, status, metrics));
        }
        for (issuer, trouble) in self.key_troubles {
            local.spawn_local(watch_keys(issuer, trouble, Arc::clone(&self.status)));
        }
        let (read, workload_keys) = mpsc::channel(4);
        local.spawn_local(workload_bundles::run(self.workload_bundles, read));
        hand_on(local, workload_keys, &self.updates, Update::WorkloadKeys);
        resolve(local, self.names, &self.updates, &self.clock);
        let (fresh, key_updates) = mpsc::channel(4);
        local.spawn_local(jwks::run(self.keys, Arc::clone(&self.clock), fresh, self.wished));
        hand_on(local, key_updates, &self.updates, |jwks::KeyUpdate { issuer, keys }| Update::Keys {
            issuer,
            keys,
        });
    }
}

/// What others ask of the sources while they run.
type Wanted = (mpsc::Receiver<Wish>, watch::Receiver<Vec<FederationConfig>>, watch::Receiver<Vec<Named>>);

/// Where this sidecar itself listens.
fn own(config: &config::Config) -> Arc<[SocketAddr]> {
    let status = match config.status {
        config::StatusConfig::Closed => None,
        config::StatusConfig::Open { address } => Some(address),
    };
    config.listeners.iter().filter_map(|listener| listener.bind.address()).chain(status).collect()
}

/// Follows the names among the endpoints.
fn resolve(
    local: &LocalSet,
    (wanted, own): (watch::Receiver<Vec<Named>>, Arc<[SocketAddr]>),
    updates: &mpsc::Sender<Update>,
    clock: &Arc<dyn Clock>,
) {
    let (found, refreshed) = mpsc::channel(4);
    let (resolver, clock) = (Arc::new(names::System::default()), Arc::clone(clock));
    local.spawn_local(names::run(wanted, names::Surroundings { resolver, clock, own, updates: found }));
    hand_on(local, refreshed, updates, Update::Name);
}

/// Gives control all that a source finds.
fn hand_on<T: 'static>(
    local: &LocalSet,
    mut found: mpsc::Receiver<T>,
    updates: &mpsc::Sender<Update>,
    update: impl Fn(T) -> Update + 'static,
) {
    let updates = updates.clone();
    local.spawn_local(async move {
        while let Some(found) = found.recv().await {
            drop(updates.send(update(found)).await);
        }
    });
}

impl Kept {
    fn load(&self) -> Vec<policy::BundleCandidate> {
        let load = |name: &String| match self.last_good.load(name, self.bytes_max) {
            Ok(archive) => {
                archive.map(|archive| policy::BundleCandidate { name: name.clone(), archive, etag: None })
            }
            Err(error) => {
                tracing::warn!(bundle = name, %error, "the bundle kept from the last run cannot be read");
                None
            }
        };
        self.names.iter().filter_map(load).collect()
    }
}

fn federate(
    local: &LocalSet,
    (wanted, last_good, shared, revocation): (
        watch::Receiver<Vec<FederationConfig>>,
        LastGood,
        Shared,
        RevocationRule,
    ),
    (keys, updates, status): (FederatedKeys, mpsc::Sender<Update>, Arc<Status>),
    clock: &Arc<dyn Clock>,
) {
    let (found, mut federated) = mpsc::channel(4);
    let surroundings = Surroundings {
        last_good,
        trust: Arc::new(shared),
        clock: Arc::clone(clock),
        pace: Pace::default(),
        revocation,
        updates: found,
    };
    local.spawn_local(federation::run(wanted, surroundings));
    local.spawn_local(async move {
        keys.begin(&updates).await;
        while let Some(update) = federated.recv().await {
            keys.follow(&update, &updates, &status).await;
            drop(updates.send(Update::Federation(update)).await);
        }
    });
}

fn follow_identity(
    local: &LocalSet,
    source: IdentitySource,
    (updates, status, clock): (&mpsc::Sender<Update>, &Arc<Status>, &Arc<dyn Clock>),
) {
    let (found, identity_updates) = mpsc::channel(4);
    let (trouble, mut troubles) = watch::channel(SourceStatus::Starting);
    let outlet = Outlet { updates: found, status: trouble };
    local.spawn_local(identity::run(source, outlet, Arc::clone(clock)));
    hand_on(local, identity_updates, updates, Update::Identity);
    let status = Arc::clone(status);
    local.spawn_local(async move {
        while troubles.changed().await.is_ok() {
            let trouble = trouble_of(&troubles.borrow_and_update());
            if let Some(trouble) = &trouble {
                tracing::warn!("identity: {trouble}");
            }
            status.identity_trouble(trouble);
        }
    });
}

/// A source that fails says so in readiness, whether or not an older policy is in force.
async fn watch_policy(
    name: String,
    mut trouble: watch::Receiver<SourceStatus>,
    status: Arc<Status>,
    metrics: Arc<Metrics>,
) {
    while trouble.changed().await.is_ok() {
        let trouble = trouble_of(&trouble.borrow_and_update());
        if trouble.is_some() {
            metrics.policy.load_failed(LoadResult::Unavailable);
        }
        status.policy_source(&name, trouble);
    }
}

/// Keys that cannot be fetched say so in readiness, whether or not older ones are in force.
async fn watch_keys(issuer: String, mut trouble: watch::Receiver<jwks::KeyStatus>, status: Arc<Status>) {
    while trouble.changed().await.is_ok() {
        let now = trouble.borrow_and_update().clone();
        let failing = trouble_of(&now.source).map(|trouble| KeysFailing {
            issuer: issuer.clone(),
            trouble,
            valid_until: now.valid_until.map(|until| until.as_secs()),
        });
        status.key_source(&issuer, failing);
    }
}

fn origin(source: &BundleSource, clock: &Arc<dyn Clock>) -> Result<policy::Origin, StartError> {
    Ok(match source {
        BundleSource::Directory { path, poll_interval } => {
            policy::Origin::Directory { path: path.clone(), poll_interval: *poll_interval }
        }
        BundleSource::Http { server, long_poll, poll_interval } => policy::Origin::Http {
            url: server.url.clone(),
            fetcher: fetcher(server, clock)?,
            long_poll: *long_poll,
            poll_interval: *poll_interval,
        },
    })
}

fn issuer_keys(
    place: usize,
    of: &IssuerConfig,
    parts: &Parts<'_>,
) -> Result<Option<(jwks::IssuerKeys, watch::Receiver<jwks::KeyStatus>)>, StartError> {
    let Some(source) = key_source(of, &parts.clock)? else { return Ok(None) };
    let starting = jwks::KeyStatus { source: SourceStatus::Starting, valid_until: None };
    let (status, trouble) = watch::channel(starting);
    let fetched_from = match &of.keys {
        KeySource::File(_) | KeySource::WorkloadApi | KeySource::Federation => None,
        KeySource::Url(server) | KeySource::Discovery(server) => Some(&server.url),
    };
    let directory = of.freshness.last_good_directory.as_ref();
    let last_good = directory.zip(fetched_from);
    let keys = jwks::IssuerKeys {
        issuer: place,
        name: of.issuer.clone(),
        source,
        document: match of.profile {
            TokenProfile::JwtSvid(_) => jwks::Document::SpiffeBundle,
            TokenProfile::AccessToken
            | TokenProfile::Generic
            | TokenProfile::KubernetesServiceAccount
            | TokenProfile::TransactionToken => jwks::Document::Jwks,
        },
        freshness: jwks::Freshness {
            refresh: of.freshness.refresh_interval,
            stale_max: of.freshness.stale_max,
            ..jwks::Freshness::default()
        },
        last_good: last_good.map(|(directory, url)| jwks::LastGood::new(directory, &of.issuer, url)),
        status,
        metrics: parts.metrics.keys.clone(),
    };
    Ok(Some((keys, trouble)))
}

/// `None` for keys that come with trust bundles, from the Workload API or by federation.
fn key_source(of: &IssuerConfig, clock: &Arc<dyn Clock>) -> Result<Option<jwks::KeySource>, StartError> {
    Ok(Some(match &of.keys {
        KeySource::WorkloadApi | KeySource::Federation => return Ok(None),
        KeySource::File(path) => jwks::KeySource::File(path.clone()),
        KeySource::Url(server) => {
            jwks::KeySource::Url { url: server.url.clone(), fetcher: fetcher(server, clock)? }
        }
        KeySource::Discovery(server) => jwks::KeySource::Discovery {
            issuer: of.issuer.clone(),
            url: server.url.clone(),
            fetcher: fetcher(server, clock)?,
        },
    }))
}

fn fetcher(server: &HttpSource, clock: &Arc<dyn Clock>) -> Result<Fetcher, StartError> {
    let time = Arc::new(TlsTime(Arc::clone(clock)));
    Fetcher::new(&server.trust_roots, server.plaintext, time)
        .map_err(|error| StartError::Source(format!("`{}`: {error}", server.url)))
}

fn identity_source(config: &config::IdentityConfig) -> IdentitySource {
    let revocation = config.revocation;
    match config.source.clone() {
        config::IdentitySource::WorkloadApi { endpoint, origin: _, selection } => {
            IdentitySource::WorkloadApi { endpoint, selection, revocation }
        }
        config::IdentitySource::Files { certificate, key, trust_bundles, revocation_lists } => {
            IdentitySource::Files { certificate, key, trust_bundles, revocation_lists, revocation }
        }
    }
}
