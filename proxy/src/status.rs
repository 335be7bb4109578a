//! How this sidecar is, for probes and people: written by the threads that know, read by the status port.
use crate::routing::Named;
use postern_identity::{TrustDomain, X509Svid};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The state of every part. Locked for moments, and never on the way of a request.
#[derive(Debug, Default)]
pub struct Status {
    parts: Mutex<Parts>,
    draining: AtomicBool,
}

/// One look at every part.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    /// Our SPIFFE ID and the end of our SVID in seconds since the Unix epoch; none without an identity.
    pub identity: Option<(String, u64)>,
    /// What the identity source last said against itself.
    pub identity_trouble: Option<String>,
    /// How many trust domains we believe.
    pub trust_domains: usize,
    /// Trust domains whose fetched bundle does not count, for the identity source brings one.
    pub overruled: Vec<String>,
    /// Relationships with other trust domains that bring no newer bundle, and why.
    pub federation_troubles: Vec<(String, String)>,
    /// The revision of the policy in force.
    pub policy_revision: Option<String>,
    /// Why a newer policy was refused, or could not be had.
    pub policy_trouble: Option<String>,
    /// Policy sources that fail, and how.
    pub policy_sources_failing: Vec<(String, String)>,
    /// Bundles that need no signature, by configuration.
    pub unsigned_bundles: Vec<String>,
    /// Issuers without keys.
    pub keys_missing: Vec<String>,
    /// Issuers whose keys cannot be fetched.
    pub keys_failing: Vec<KeysFailing>,
    /// Why a newer configuration was refused.
    pub config_trouble: Option<String>,
    /// The names among the endpoints that are not as they should be.
    pub names: Vec<(Named, NameTrouble)>,
    /// All names among the endpoints.
    names_wanted: Vec<Named>,
    /// Routes that only observe.
    pub observing_routes: usize,
}

/// What is wrong with a name among the endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameTrouble {
    /// It has not been asked for yet.
    Waits,
    /// It could not be resolved, and never has been.
    Never(String),
    /// It could not be resolved; what was found last stays in force.
    Stale(String),
    /// Not all of it could be resolved; what could be is in force.
    Partly(String),
}

/// An issuer whose keys cannot be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeysFailing {
    /// Which.
    pub issuer: String,
    /// Why.
    pub trouble: String,
    /// When those in force become too old to be used, in seconds since the Unix epoch.
    pub valid_until: Option<u64>,
}

impl Status {
    /// A look at every part.
    pub fn parts(&self) -> Parts {
        self.lock().clone()
    }

    /// Whether this process is on its way out.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// From now on this process is on its way out.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn identity(&self, svid: Option<&X509Svid>) {
        let identity = svid.map(|svid| (svid.spiffe_id().to_string(), svid.not_after().as_secs()));
        self.change(|parts| parts.identity = identity);
    }

    pub(crate) fn identity_trouble(&self, trouble: Option<String>) {
        self.change(|parts| parts.identity_trouble = trouble);
    }

    pub(crate) fn trust(&self, trust_domains: usize, overruled: Vec<String>) {
        self.change(|parts| {
            parts.trust_domains = trust_domains;
            parts.overruled = overruled;
        });
    }

    pub(crate) fn federation(&self, trust_domain: &TrustDomain, trouble: Option<String>) {
        self.change(|parts| {
            parts.federation_troubles.retain(|(of, _)| of != trust_domain.as_str());
            parts.federation_troubles.extend(trouble.map(|trouble| (trust_domain.to_string(), trouble)));
        });
    }

    pub(crate) fn policy_loaded(&self, revision: &str) {
        self.change(|parts| {
            parts.policy_revision = Some(revision.to_owned());
            parts.policy_trouble = None;
        });
    }

    pub(crate) fn policy_trouble(&self, trouble: String) {
        self.change(|parts| parts.policy_trouble = Some(trouble));
    }

    pub(crate) fn policy_source(&self, name: &str, trouble: Option<String>) {
        self.change(|parts| {
            parts.policy_sources_failing.retain(|(of, _)| of != name);
            parts.policy_sources_failing.extend(trouble.map(|trouble| (name.to_owned(), trouble)));
        });
    }

    pub(crate) fn unsigned_bundles(&self, names: Vec<String>) {
        self.change(|parts| parts.unsigned_bundles = names);
    }

    pub(crate) fn keys(&self, missing: Vec<String>) {
        self.change(|parts| parts.keys_missing = missing);
    }

    pub(crate) fn key_source(&self, issuer: &str, failing: Option<KeysFailing>) {
        self.change(|parts| {
            parts.keys_failing.retain(|of| of.issuer != issuer);
            parts.keys_failing.extend(failing);
        });
    }

    pub(crate) fn config_trouble(&self, trouble: Option<String>) {
        self.change(|parts| parts.config_trouble = trouble);
    }

    /// The names that are wanted from now on. What is known of one that stays, stays known.
    pub(crate) fn names(&self, wanted: &[Named]) {
        self.change(|parts| {
            let known = std::mem::take(&mut parts.names_wanted);
            parts.names.retain(|(named, _)| wanted.contains(named));
            let new = wanted.iter().filter(|named| !known.contains(named));
            parts.names.extend(new.map(|named| (named.clone(), NameTrouble::Waits)));
            parts.names_wanted = wanted.to_vec();
        });
    }

    /// What became of a name: it was resolved, but for what is said, or why it could not be.
    pub(crate) fn name(&self, of: &Named, resolved: Result<Option<String>, String>) {
        self.change(|parts| {
            let place = parts.names.iter().position(|(named, _)| named == of);
            let before = place.map(|place| parts.names.swap_remove(place).1);
            let was_resolved = matches!(before, None | Some(NameTrouble::Stale(_) | NameTrouble::Partly(_)));
            let now = match resolved {
                Ok(trouble) => trouble.map(NameTrouble::Partly),
                Err(why) if was_resolved => Some(NameTrouble::Stale(why)),
                Err(why) => Some(NameTrouble::Never(why)),
            };
            if parts.names_wanted.contains(of) {
                parts.names.extend(now.map(|now| (of.clone(), now)));
                parts.names.sort_by(|(a, _), (b, _)| a.cmp(b));
            }
        });
    }

    pub(crate) fn observing_routes(&self, routes: usize) {
        self.change(|parts| parts.observing_routes = routes);
    }

    fn change(&self, change: impl FnOnce(&mut Parts)) {
        change(&mut self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, Parts> {
        // A panic while it was held leaves plain values behind: better a little stale than none.
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
