//! Bundles of other trust domains, from their own endpoints (SPIFFE_Federation).
//!
//! A relationship is all that its configuration says: the trust domain, the URL, and how the endpoint proves who it
//! is. Nothing is inferred and nothing falls back. A bundle is fetched at once, then as often as it asks for; what
//! cannot be fetched or read changes nothing, and the last good one stays in force, also across a restart. When a
//! relationship ends, so does all that it brought.

mod endpoint;
mod kept;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use postern_identity::tls::Material;
use postern_identity::token::KeySet;
use postern_identity::{TrustBundle, TrustDomain};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

pub use self::endpoint::{Endpoint, EndpointError};
use self::kept::Kept;
use super::SourceStatus;
use crate::clock::Clock;
use crate::config::{FederationConfig, RevocationRule};
use crate::sources::backoff::jittered;
use crate::sources::last_good::LastGood;

/// What became of a relationship.
#[derive(Clone, Debug)]
pub enum FederationUpdate {
    /// A bundle that an earlier process fetched.
    Kept(Federated),
    /// The bundle as its endpoint serves it now.
    Fetched(Federated),
    /// The endpoint gave no bundle that is taken. The one in force stays.
    Failed {
        /// Whose bundle it would have been.
        trust_domain: TrustDomain,
        /// How the relationship is.
        status: SourceStatus,
        /// Whose fault it is.
        cause: Cause,
    },
    /// The relationship is no more, and its bundle with it.
    Ended(TrustDomain),
}

/// What the bundle of another trust domain brings. Neither part proves what the other one does.
#[derive(Clone, Debug)]
pub struct Federated {
    /// The authorities of its X.509-SVIDs.
    pub bundle: Arc<TrustBundle>,
    /// The authorities of its JWT-SVIDs; maybe none.
    pub jwt_keys: Arc<KeySet>,
}

impl Federated {
    /// Reads a bundle document: both parts, or nothing.
    fn from_spiffe_json(trust_domain: TrustDomain, document: &[u8]) -> Result<Self, EndpointError> {
        let jwt_keys = KeySet::parse_spiffe_bundle(document);
        let bundle = TrustBundle::from_spiffe_json(trust_domain, document)?;
        Ok(Self { bundle: Arc::new(bundle), jwt_keys: Arc::new(jwt_keys?) })
    }
}

/// Why there is no bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The endpoint cannot be reached, or did not prove who it is.
    Unavailable,
    /// What it served is not taken.
    Refused,
}

/// How often endpoints are asked. A bundle says itself how often it is to be fetched, between 30 s and a day.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Between two attempts while there is no bundle that could say.
    pub before_first: Duration,
    /// The longest interval, whatever the bundle says.
    pub longest: Duration,
    /// For one fetch, from the first name to the last byte, redirects included.
    pub timeout: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            before_first: Duration::from_secs(30),
            longest: Duration::from_secs(24 * 3600),
            timeout: Duration::from_secs(20),
        }
    }
}

/// What relationships are followed with.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The folder of bundles for a start without their endpoints; this sidecar's own.
    pub last_good: LastGood,
    /// The trust in force, which proves an endpoint of another trust domain than it serves.
    pub trust: Arc<dyn Material>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// How often endpoints are asked.
    pub pace: Pace,
    /// What becomes of certificates of trust domains without revocation lists: endpoints serve none.
    pub revocation: RevocationRule,
    /// Where it is told what becomes of them.
    pub updates: mpsc::Sender<FederationUpdate>,
}

impl Surroundings {
    /// The bundle as it is believed. The endpoint itself is proven without lists, or none could ever be fetched.
    fn ruled(&self, brought: &Federated) -> Federated {
        let bundle = TrustBundle::clone(&brought.bundle);
        let bundle = Arc::new(bundle.without_revocation_lists(self.revocation.mode(false)));
        Federated { bundle, ..brought.clone() }
    }
}

/// Follows relationships as they are configured, until the future is dropped or nobody configures any more.
pub async fn run(mut wanted: watch::Receiver<Vec<FederationConfig>>, surroundings: Surroundings) {
    let mut followers = JoinSet::new();
    let mut running: Vec<(FederationConfig, AbortHandle)> = Vec::new();
    loop {
        let list = wanted.borrow_and_update().clone();
        let (keep, end) = running.into_iter().partition(|(relationship, _)| list.contains(relationship));
        running = keep;
        for (relationship, follower) in end {
            follower.abort();
            // One that is configured otherwise now begins anew.
            let ended = FederationUpdate::Ended(relationship.trust_domain);
            drop(surroundings.updates.send(ended).await);
        }
        for relationship in list {
            if running.iter().all(|(known, _)| *known != relationship) {
                let follower = followers.spawn(follow(relationship.clone(), surroundings.clone()));
                running.push((relationship, follower));
            }
        }
        kept::forget_others(&surroundings.last_good, running.iter().map(|(relationship, _)| relationship));
        let ended = async { while followers.join_next().await.is_some() {} };
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() { break },
            () = ended => if wanted.changed().await.is_err() { break },
        }
    }
    // Nobody configures any more; what is configured is followed until this future is dropped.
    while followers.join_next().await.is_some() {}
}

async fn follow(relationship: FederationConfig, surroundings: Surroundings) {
    let mut follower = Follower { terms: None, latest: None, told: None, relationship, surroundings };
    loop {
        if let Err(error) = follower.refresh().await {
            follower.trouble(&error).await;
        }
        // SPIFFE_Federation §6.2: after a failure, too, not before the next interval.
        tokio::time::sleep(jittered(follower.interval(), &*follower.surroundings.clock)).await;
    }
}

struct Follower {
    relationship: FederationConfig,
    surroundings: Surroundings,
    /// The endpoint, and where its bundle is kept: known once the files that prove it could be read.
    terms: Option<(Endpoint, Kept)>,
    latest: Option<Arc<TrustBundle>>,
    /// The trouble that was told last.
    told: Option<String>,
}

impl Follower {
    /// Fetches the bundle once, and puts it in force when it is another one.
    async fn refresh(&mut self) -> Result<(), EndpointError> {
        let surroundings = &self.surroundings;
        if self.terms.is_none() {
            let endpoint = Endpoint::new(&self.relationship, Arc::clone(&surroundings.clock))?;
            let kept = Kept::new(&self.relationship, endpoint.bootstrap());
            let brought = kept.load(&surroundings.last_good, &self.relationship.trust_domain);
            self.terms = Some((endpoint, kept));
            if let Some(brought) = brought {
                let ruled = surroundings.ruled(&brought);
                self.latest = Some(brought.bundle);
                drop(surroundings.updates.send(FederationUpdate::Kept(ruled)).await);
            }
        }
        let Some((endpoint, kept)) = &self.terms else { return Ok(()) };
        let timeout = surroundings.pace.timeout;
        let document = endpoint.fetch(self.latest.as_deref(), &*surroundings.trust, timeout).await?;
        let brought = endpoint.bundle(&document, self.latest.as_deref())?;
        kept.store(&surroundings.last_good, &document);
        let fetched = FederationUpdate::Fetched(surroundings.ruled(&brought));
        drop(surroundings.updates.send(fetched).await);
        self.latest = Some(brought.bundle);
        self.told = None;
        Ok(())
    }

    fn interval(&self) -> Duration {
        let pace = self.surroundings.pace;
        self.latest.as_ref().map_or(pace.before_first, |bundle| bundle.refresh_interval().min(pace.longest))
    }

    async fn trouble(&mut self, error: &EndpointError) {
        let trust_domain = self.relationship.trust_domain.clone();
        let reason = error.to_string();
        if self.told.as_ref() != Some(&reason) {
            tracing::warn!(%trust_domain, %error, "no bundle comes from the endpoint of another trust domain");
        }
        let status = match self.latest {
            Some(_) => {
                SourceStatus::Stale { since: self.surroundings.clock.unix_time(), reason: reason.clone() }
            }
            None => SourceStatus::Failing(reason.clone()),
        };
        self.told = Some(reason);
        let cause = error.cause();
        drop(self.surroundings.updates.send(FederationUpdate::Failed { trust_domain, status, cause }).await);
    }
}
