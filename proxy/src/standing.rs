//! Whether the callers of open connections may still be believed.
//!
//! A chain is judged in the handshake, and again whenever the bundle of its trust domain changes: once for all
//! connections that presented it, on a thread of its own. A request that comes before that thread has got there judges
//! for itself, so that no request is ever served on an old judgement.
use crate::clock::Clock;
use crate::pipeline::Refusal;
use crate::state::{Shared, Trust};
use postern_identity::{Role, TrustDomain, VerifyError, verify_chain};
use rustls_pki_types::{CertificateDer, UnixTime};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::watch;

/// One certificate chain, shared by all connections that presented it.
#[derive(Debug)]
pub struct Standing {
    chain: Vec<CertificateDer<'static>>,
    /// What its owner was in the handshakes.
    role: Role,
    trust_domain: TrustDomain,
    /// The generation of trust by which it was judged last, and what came of it.
    judged: AtomicU64,
}

/// What may come of a judgement, by its number; the first one holds.
const VERDICTS: [Option<Refusal>; 4] =
    [None, Some(Refusal::PeerExpired), Some(Refusal::PeerRevoked), Some(Refusal::PeerUntrusted)];
const VERDICT_BITS: u32 = 8;
/// Generations count from 1.
const NEVER: u64 = 0;

impl Standing {
    /// The chain, leaf first.
    pub(crate) fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// Whether the bundles in force vouch for the chain.
    pub(crate) fn check(&self, trust: &Trust, now: UnixTime) -> Result<(), Refusal> {
        let judged = self.judged.load(Ordering::Acquire);
        let generation = judged >> VERDICT_BITS;
        if generation == trust.generation {
            return verdict(judged);
        }
        // What other trust domains do is nothing to this one.
        let changed_at = trust.changed_at(&self.trust_domain);
        let is_outdated = generation == NEVER || generation > trust.generation || changed_at > generation;
        let found = if is_outdated {
            verify_chain(&self.chain, &trust.bundles, self.role, now)
                .map_or_else(|e| Err(refusal(&e)), |_| Ok(()))
        } else {
            verdict(judged)
        };
        let number =
            VERDICTS.iter().position(|verdict| *verdict == found.err()).unwrap_or(VERDICTS.len() - 1);
        // The newest generation counts; within one, that it does not hold.
        self.judged.fetch_max(trust.generation << VERDICT_BITS | number as u64, Ordering::AcqRel);
        found
    }
}

fn verdict(judged: u64) -> Result<(), Refusal> {
    let number = usize::try_from(judged & ((1 << VERDICT_BITS) - 1)).unwrap_or(usize::MAX);
    match VERDICTS.get(number) {
        Some(None) => Ok(()),
        Some(Some(refusal)) => Err(*refusal),
        None => Err(Refusal::PeerUntrusted),
    }
}

fn refusal(error: &VerifyError) -> Refusal {
    match error.code() {
        "tls.chain.expired" => Refusal::PeerExpired,
        "tls.chain.revoked" => Refusal::PeerRevoked,
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
    /// The standing of a chain that was proven under this generation of trust; `None` where it was not the one in
    /// force any more.
    pub(crate) fn enter(
        &self,
        (chain, role): (Vec<CertificateDer<'static>>, Role),
        trust_domain: &TrustDomain,
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
        let judged = AtomicU64::new(generation.unwrap_or(NEVER) << VERDICT_BITS);
        let standing = Arc::new(Standing { chain, role, trust_domain: trust_domain.clone(), judged });
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
