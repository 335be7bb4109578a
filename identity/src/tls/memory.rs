//! Chains that were verified lately. A caller that comes back presents what it presented before, and as long as what it
//! was judged by is in force the judgement is too; that the caller holds the key is proven in every handshake all the
//! same.
//!
//! Only what holds is remembered, and no longer than it would be found to hold again: the bundles are the very same (a
//! change of authorities or of revocation lists makes others), every certificate of the path is valid, and no list that
//! had to vouch for it may have expired.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use aws_lc_rs::digest::{Context, SHA256};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::bundle::TrustBundles;
use crate::x509::chain::{Peer, Role, verify_chain};
use crate::x509::error::VerifyError;

/// The most chains that are remembered.
const CHAINS_MAX: usize = 2_048;
/// The largest chain that is remembered, in bytes of DER: what is kept of one is smaller than the chain.
const BYTES_MAX: usize = 8 * 1024;

/// What chains were found to be, in one role.
#[derive(Debug)]
pub(super) struct Memory {
    role: Role,
    known: Mutex<Known>,
}

/// Two halves: when the younger one is full it becomes the older one, whose chains are forgotten unless they were
/// presented again meanwhile.
#[derive(Debug, Default)]
struct Known {
    younger: HashMap<[u8; 32], Found>,
    older: HashMap<[u8; 32], Found>,
}

#[derive(Clone, Debug)]
struct Found {
    peer: Arc<Peer>,
    /// Weak, so that bundles that were replaced are not kept for it; their place in memory is not given to others.
    trust: Weak<TrustBundles>,
    /// When the first of the lists expires that may have had to vouch for a certificate of its path.
    lists_until: Option<UnixTime>,
}

impl Memory {
    pub(super) fn of(role: Role) -> Self {
        Self { role, known: Mutex::default() }
    }

    /// [`verify_chain`], or what it said of the same chain by the same bundles while it would say so again.
    pub(super) fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        trust: &Arc<TrustBundles>,
        now: UnixTime,
    ) -> Result<Arc<Peer>, VerifyError> {
        let bytes: usize = chain.iter().map(|der| der.len()).sum();
        if bytes > BYTES_MAX {
            return verify_chain(chain, trust, self.role, now).map(Arc::new);
        }
        let key = fingerprint(chain);
        if let Some(found) = self.known().get(&key)
            && found.holds(trust, now)
        {
            return Ok(found.peer);
        }
        let peer = Arc::new(verify_chain(chain, trust, self.role, now)?);
        let bundle = trust.get(peer.spiffe_id.trust_domain());
        let lists_until = bundle.and_then(|bundle| bundle.revocation_settled_until(now));
        let found = Found { peer: Arc::clone(&peer), trust: Arc::downgrade(trust), lists_until };
        self.known().insert(key, found);
        Ok(peer)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        // A panic elsewhere leaves the maps as they were before or after one insertion.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn get(&mut self, key: &[u8; 32]) -> Option<Found> {
        if let Some(found) = self.younger.get(key) {
            return Some(found.clone());
        }
        let found = self.older.remove(key)?;
        self.insert(*key, found.clone());
        Some(found)
    }

    fn insert(&mut self, key: [u8; 32], found: Found) {
        if self.younger.len() >= CHAINS_MAX / 2 {
            self.older = std::mem::take(&mut self.younger);
        }
        self.younger.insert(key, found);
    }
}

impl Found {
    fn holds(&self, trust: &Arc<TrustBundles>, now: UnixTime) -> bool {
        std::ptr::eq(self.trust.as_ptr(), Arc::as_ptr(trust))
            && self.peer.is_valid_at(now)
            && self.lists_until.is_none_or(|until| now < until)
    }
}

/// Of the whole chain, in its order.
fn fingerprint(chain: &[CertificateDer<'_>]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
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
