//! Whether the callers of open connections may still be believed.
//!
//! A chain is judged in the handshake, and again whenever the bundle of its trust domain changes: once for all
//! connections that presented it, on a thread of its own. A request that comes before that thread has got there judges
//! for itself, so that no request is ever served on an old judgement. A judgement that rests on revocation lists holds
//! until the first of them expires.
use crate::clock::Clock;
use crate::pipeline::Refusal;
use crate::state::{Shared, Trust};
use arc_swap::ArcSwap;
use postern_identity::{Peer, Role, TrustDomain, VerifyError, verify_chain};
use rustls_pki_types::{CertificateDer, UnixTime};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::watch;

/// One certificate chain, shared by all connections that presented it.
#[derive(Debug)]
pub struct Standing {
    chain: Vec<CertificateDer<'static>>,
    /// What its owner was in the handshakes.
    role: Role,
    trust_domain: TrustDomain,
    judged: ArcSwap<Judgement>,
}

/// What came of judging a chain.
#[derive(Clone, Copy, Debug)]
struct Judgement {
    /// The generation of trust by which it was judged.
    generation: u64,
    /// Where it holds, until when at most without being judged again.
    verdict: Result<Option<UnixTime>, Refusal>,
}

/// Generations count from 1.
const NEVER: u64 = 0;

impl Judgement {
    fn is_over(&self, now: UnixTime) -> bool {
        matches!(self.verdict, Ok(Some(until)) if now >= until)
    }

    /// Of two judgements that of the newest generation counts; within one, that it does not hold, and else the one that
    /// came later, which is good for longer.
    fn rank(&self) -> (u64, bool, u64) {
        let until_s = self.verdict.ok().flatten().map_or(u64::MAX, |until| until.as_secs());
        (self.generation, self.verdict.is_err(), until_s)
    }
}

impl Standing {
    /// The chain, leaf first.
    pub(crate) fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// Until when the last judgement holds, where it does and has an end: a list that it was judged by expires.
    pub(crate) fn until(&self) -> Option<UnixTime> {
        self.judged.load().verdict.ok().flatten()
    }

    /// Whether the bundles in force vouch for the chain, and the revocation lists in force where they have to.
    pub(crate) fn check(&self, trust: &Trust, now: UnixTime) -> Result<(), Refusal> {
        let judged = **self.judged.load();
        // Once the list has expired there may be another path, or none.
        let is_over = judged.is_over(now);
        if judged.generation == trust.generation && !is_over {
            return judged.verdict.map(drop);
        }
        let generation = judged.generation;
        // What other trust domains do is nothing to this one.
        let changed_at = trust.changed_at(&self.trust_domain);
        let is_outdated = generation == NEVER || generation > trust.generation || changed_at > generation;
        let verdict = if is_outdated || is_over {
            let judged = verify_chain(&self.chain, &trust.bundles, self.role, now);
            judged.map(|peer| peer.unrevoked_until).map_err(|error| refusal(&error))
        } else {
            judged.verdict
        };
        let found = Arc::new(Judgement { generation: trust.generation, verdict });
        self.judged.rcu(|current| Arc::clone(if found.rank() > current.rank() { &found } else { current }));
        verdict.map(drop)
    }
}

fn refusal(error: &VerifyError) -> Refusal {
    match error.code() {
        "tls.chain.expired" => Refusal::PeerExpired,
        "tls.chain.revoked" => Refusal::PeerRevoked,
        "tls.chain.revocation_unknown" => Refusal::PeerRevocationUnknown,
        _ => Refusal::PeerUntrusted,
    }
}

/// The chains of all open connections. Locked when a connection opens, and while the list is copied for a judgement;
/// never by a request.
#[derive(Clone, Debug, Default)]
pub struct Standings(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    by_chain: HashMap<[u8; 32], Weak<Standing>>,
    /// How many there may be before those are forgotten whose connections have ended.
    forget_at: usize,
}

const FORGET_AT_LEAST: usize = 64;

impl Standings {
    /// The standing of a chain that was proven to be this peer's under this generation of trust; `None` where it was not
    /// the one in force any more.
    pub(crate) fn enter(
        &self,
        (chain, role): (Vec<CertificateDer<'static>>, Role),
        peer: &Peer,
        generation: Option<u64>,
    ) -> Arc<Standing> {
        let key = fingerprint(&chain, role);
        let mut known = self.lock();
        if let Some(standing) = known.by_chain.get(&key).and_then(Weak::upgrade) {
            return standing;
        }
        if known.by_chain.len() >= known.forget_at.max(FORGET_AT_LEAST) {
            known.by_chain.retain(|_, standing| standing.strong_count() > 0);
            known.forget_at = known.by_chain.len() * 2;
        }
        let judgement =
            Judgement { generation: generation.unwrap_or(NEVER), verdict: Ok(peer.unrevoked_until) };
        let standing = Arc::new(Standing {
            chain,
            role,
            trust_domain: peer.spiffe_id.trust_domain().clone(),
            judged: ArcSwap::from_pointee(judgement),
        });
        known.by_chain.insert(key, Arc::downgrade(&standing));
        standing
    }

    /// Judges every chain whenever trust changes, and says by which generation it did. Ends with the sender.
    pub async fn run(
        self,
        shared: Shared,
        clock: Arc<dyn Clock>,
        mut changes: watch::Receiver<u64>,
        judged: watch::Sender<u64>,
    ) {
        while changes.changed().await.is_ok() {
            changes.borrow_and_update();
            let snapshot = shared.load();
            let all: Vec<_> = self.lock().by_chain.values().filter_map(Weak::upgrade).collect();
            let refused = all.iter().filter(|s| s.check(&snapshot.trust, clock.unix_time()).is_err()).count();
            if refused > 0 {
                tracing::warn!(
                    chains = all.len(),
                    refused,
                    "trust has changed: callers are believed no more"
                );
            }
            judged.send_replace(snapshot.trust.generation);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // A panic elsewhere leaves the map as it was before or after one insertion.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fingerprint(chain: &[CertificateDer<'_>], role: Role) -> [u8; 32] {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    context.update(match role {
        Role::Client => b"client",
        Role::Server => b"server",
    });
    for certificate in chain {
        context.update(&(certificate.len() as u64).to_be_bytes());
        context.update(certificate);
    }
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.finish().as_ref());
    bytes
}

#[cfg(test)]
mod tests;
