//! Where our own identity and the trust bundles come from.
//!
//! Every source brings whole states, judged by `postern-identity` before they leave: an [`IdentityUpdate`] replaces
//! everything before it. What cannot be taken is reported, and the last good state stays in force.

pub mod federation;
mod files;
pub mod workload_api;

use std::path::PathBuf;
use std::sync::Arc;

use postern_identity::{TrustBundles, TrustDomain, UnixTime, X509Svid};
use tokio::sync::{mpsc, watch};

use crate::clock::Clock;
use crate::config::{RevocationRule, SvidSelection, WorkloadEndpoint};

/// Where to take identity from.
#[derive(Clone, Debug)]
pub enum IdentitySource {
    /// PEM files, looked at every second.
    Files {
        /// The certificate chain, leaf first.
        certificate: PathBuf,
        /// Its private key, unencrypted PKCS#8, PKCS#1 or SEC1.
        key: PathBuf,
        /// A file for each trust domain, PEM or SPIFFE bundle document.
        trust_bundles: Vec<(TrustDomain, PathBuf)>,
        /// A file with revocation lists for some of these trust domains, DER or PEM.
        revocation_lists: Vec<(TrustDomain, PathBuf)>,
        /// How they are judged by.
        revocation: RevocationRule,
    },
    /// The SPIFFE Workload API.
    WorkloadApi {
        /// Where it is served.
        endpoint: WorkloadEndpoint,
        /// Which of several SVIDs to take.
        selection: SvidSelection,
        /// How the revocation lists that come are judged by.
        revocation: RevocationRule,
    },
}

/// A whole new state: who we are and whom we believe.
#[derive(Clone, Debug)]
pub struct IdentityUpdate {
    /// Our SVID; `None` when it was withdrawn, which refuses new connections.
    pub svid: Option<Arc<X509Svid>>,
    /// The trust bundles.
    pub trust: Arc<TrustBundles>,
}

impl IdentityUpdate {
    fn withdrawn() -> Self {
        Self { svid: None, trust: Arc::default() }
    }
}

/// How a source of identity or keys is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceStatus {
    /// Nothing has come yet.
    Starting,
    /// The state in force is the newest.
    Ready,
    /// The state in force is the newest, but a part of what was offered could not be taken.
    Degraded(String),
    /// The source said that we have no identity any more.
    Withdrawn(String),
    /// The source cannot be reached; what it last said is still in force.
    Stale {
        /// Since when.
        since: UnixTime,
        /// Why.
        reason: String,
    },
    /// The source does not give what is needed. What it last gave, if anything, is still in force.
    Failing(String),
}

impl SourceStatus {
    /// What it becomes when the source cannot be reached at `now`. Since when is told once: the first failure counts,
    /// not the last.
    #[must_use]
    pub fn to_stale(&self, reason: String, now: UnixTime) -> Self {
        let since = match self {
            SourceStatus::Stale { since, .. } => *since,
            SourceStatus::Starting
            | SourceStatus::Ready
            | SourceStatus::Degraded(_)
            | SourceStatus::Withdrawn(_)
            | SourceStatus::Failing(_) => now,
        };
        SourceStatus::Stale { since, reason }
    }
}

/// Where a source tells what it has.
#[derive(Clone, Debug)]
pub struct Outlet {
    /// New states, in order.
    pub updates: mpsc::Sender<IdentityUpdate>,
    /// How the source is.
    pub status: watch::Sender<SourceStatus>,
}

impl Outlet {
    /// Waits for room: a state that is not yet taken over is not overtaken.
    async fn update(&self, update: IdentityUpdate) {
        // Nobody listens any more only when the process ends.
        drop(self.updates.send(update).await);
    }

    /// True when that is news.
    fn status(&self, status: SourceStatus) -> bool {
        self.status.send_if_modified(|current| {
            let changed = *current != status;
            *current = status;
            changed
        })
    }
}

/// Follows a source until the future is dropped.
pub async fn run(source: IdentitySource, outlet: Outlet, clock: Arc<dyn Clock>) {
    match source {
        IdentitySource::Files { certificate, key, trust_bundles, revocation_lists, revocation } => {
            let paths = files::Paths { certificate, key, trust_bundles, revocation_lists, revocation };
            files::run(paths, outlet, clock).await;
        }
        IdentitySource::WorkloadApi { endpoint, selection, revocation } => {
            let choice = workload_api::Choice { endpoint, selection, revocation };
            workload_api::run(choice, outlet, clock).await;
        }
    }
}
