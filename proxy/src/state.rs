//! What every worker decides by. Each part is made by its own source at its own pace; one control thread
//! composes them, and a worker pins the composition for as long as a request needs it.
use crate::routing::Routing;
use arc_swap::{ArcSwap, Cache};
use postern_identity::token::{Issuer, KeySet};
use postern_identity::{TrustBundles, TrustDomain, X509Svid};
use postern_policy::Pdp;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

/// The parts in force at one moment. Immutable: a change is a new snapshot.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The loaded policy; nothing is forwarded without one.
    pub policy: Option<Arc<Policy>>,
    /// Whom we believe.
    pub trust: Arc<Trust>,
    /// Who we are; no handshake succeeds without it.
    pub svid: Option<Arc<X509Svid>>,
    /// Whose tokens we accept, with the keys in force.
    pub tokens: Arc<Tokens>,
    /// What workloads' own tokens are verified by.
    pub workloads: Arc<Workloads>,
    /// Where requests go.
    pub routing: Arc<Routing>,
}

/// A loaded policy and its place in the order of loading.
#[derive(Debug)]
pub struct Policy {
    /// The decision point.
    pub pdp: Pdp,
    /// Counts up with every policy put in force by this process, from 1.
    pub generation: u64,
    /// The digest of its bundle; of several bundles, SHA-256 over their digests in the order of the configuration.
    pub sha256: [u8; 32],
    /// The bundles it was made of.
    pub bundles: Vec<LoadedBundle>,
}

/// A bundle in force.
#[derive(Clone, Debug)]
pub struct LoadedBundle {
    /// Its name in the configuration.
    pub name: String,
    /// Its own revision.
    pub revision: String,
    /// SHA-256 of its archive.
    pub sha256: [u8; 32],
}

/// Trust bundles and their place in the order of change.
#[derive(Debug, Default)]
pub struct Trust {
    /// One bundle a trust domain.
    pub bundles: Arc<TrustBundles>,
    /// Counts up from 1 when any bundle changes; connections judged by an older one are judged again.
    pub generation: u64,
    /// When the bundle of a trust domain changed last, or went away.
    changed: BTreeMap<TrustDomain, u64>,
}

impl Trust {
    /// What is in force once these bundles have taken the place of those before.
    pub fn followed_by(&self, bundles: Arc<TrustBundles>) -> Self {
        let generation = self.generation + 1;
        let mut changed = self.changed.clone();
        for bundle in self.bundles.iter().chain(bundles.iter()) {
            let name = bundle.trust_domain();
            if self.bundles.get(name) != bundles.get(name) {
                changed.insert(name.clone(), generation);
            }
        }
        Self { bundles, generation, changed }
    }

    /// The generation in which the bundle of a trust domain changed last; 0 where there has never been one.
    pub fn changed_at(&self, trust_domain: &TrustDomain) -> u64 {
        self.changed.get(trust_domain).copied().unwrap_or(0)
    }
}

/// Issuers and their keys, by the same index.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    /// The accepted issuers.
    pub issuers: Vec<Issuer>,
    /// Their keys; `None` until the first fetch succeeded, and when they became too old.
    pub keys: Vec<Option<Arc<KeySet>>>,
    /// Counts up when any key set changes.
    pub generation: u64,
}

/// What workloads' own identity tokens are verified by.
#[derive(Clone, Debug, Default)]
pub struct Workloads {
    /// What this service is called in proofs. Empty where such tokens are not looked at.
    pub authorities: Vec<String>,
    /// The keys of each configured trust domain; `None` until its bundle was read.
    pub keys: BTreeMap<TrustDomain, Option<Arc<KeySet>>>,
}

/// The shared cell that snapshots are published through.
#[derive(Clone)]
pub struct Shared(Arc<ArcSwap<Snapshot>>);

impl Shared {
    /// Starts with no policy, no identity and no trust: everything is refused.
    pub fn new(routing: Routing, issuers: Vec<Issuer>) -> Self {
        let keys = issuers.iter().map(|_| None).collect();
        Self(Arc::new(ArcSwap::from_pointee(Snapshot {
            policy: None,
            trust: Arc::default(),
            svid: None,
            tokens: Arc::new(Tokens { issuers, keys, generation: 0 }),
            workloads: Arc::default(),
            routing: Arc::new(routing),
        })))
    }

    /// The snapshot in force now.
    pub fn load(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }

    /// Puts a changed snapshot in force. Called by the control thread alone: two callers could lose one
    /// another's change.
    pub fn publish(&self, change: impl FnOnce(&mut Snapshot)) {
        let mut next = Snapshot::clone(&self.0.load());
        change(&mut next);
        self.0.store(Arc::new(next));
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}

/// What the TLS layer asks at every handshake: always the snapshot in force.
impl postern_identity::tls::Material for Shared {
    fn trust(&self) -> Arc<TrustBundles> {
        Arc::clone(&self.0.load().trust.bundles)
    }

    fn svid(&self) -> Option<Arc<X509Svid>> {
        self.0.load().svid.clone()
    }
}

/// A worker's view of the shared snapshot: its reference counts are the worker's own, so that no request
/// touches memory that another core writes.
pub struct Pinned {
    cache: RefCell<Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>>,
    current: RefCell<Rc<InForce>>,
}

/// A snapshot as a worker lends it out: counted by the worker alone.
#[derive(Debug)]
pub struct InForce(Arc<Snapshot>);

impl Deref for InForce {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.0
    }
}

impl Pinned {
    /// A view of `shared`.
    pub fn new(shared: &Shared) -> Self {
        let current = RefCell::new(Rc::new(InForce(shared.load())));
        Self { cache: RefCell::new(Cache::new(Arc::clone(&shared.0))), current }
    }

    /// Pins the snapshot in force now.
    pub fn pin(&self) -> Rc<InForce> {
        let mut cache = self.cache.borrow_mut();
        let newest = cache.load();
        let mut current = self.current.borrow_mut();
        if !Arc::ptr_eq(newest, &current.0) {
            *current = Rc::new(InForce(Arc::clone(newest)));
        }
        Rc::clone(&current)
    }
}

impl fmt::Debug for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pinned")
    }
}
