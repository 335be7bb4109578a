//! What a request was let in by, apart from its connection: tokens. They expire, and whoever issued them may take back the
//! keys that verified them, while the request is looked at and while its answer is on its way.
use super::refusal::Refusal;
use crate::state::Snapshot;
use postern_identity::UnixTime;
use postern_identity::pop::workload::Workload;
use postern_identity::token::{Claims, LEEWAY_S_MAX};
use std::sync::Arc;

/// The verified tokens of one request.
#[derive(Clone, Debug, Default)]
pub(super) struct Credentials {
    /// What its access token says.
    pub(super) claims: Option<Arc<Claims>>,
    /// What its transaction token says.
    pub(super) transaction: Option<Arc<Claims>>,
    /// Who made the request, where a workload has said and proven it.
    pub(super) workload: Option<Arc<Workload>>,
}

impl Credentials {
    /// Whether they may still be used: they have not expired, and the keys that verified them are in force.
    ///
    /// A transaction token says on whose behalf a call was begun and is short-lived by design: it ends nothing by expiring.
    /// For the same reason its issuer may give up a key whose tokens are all over.
    pub(super) fn check(&self, snapshot: &Snapshot, now: UnixTime) -> Result<(), Refusal> {
        if self.claims.as_ref().is_some_and(|claims| is_over(claims.expires_at, now)) {
            return Err(Refusal::TokenExpired);
        }
        if self.workload.as_ref().is_some_and(|workload| is_over(workload.expires_at, now)) {
            return Err(Refusal::TokenWitTime);
        }
        let transaction = self.transaction.as_ref().filter(|claims| claims.is_valid_at(now));
        self.claims.iter().chain(transaction).try_for_each(|claims| check_key(claims, snapshot))?;
        self.workload.as_ref().map_or(Ok(()), |workload| check_workload_key(workload, snapshot))
    }
}

/// Clocks may be apart by as much as any issuer is allowed, or a token that was just accepted would end its exchange.
fn is_over(expires_at: UnixTime, now: UnixTime) -> bool {
    now.as_secs() >= expires_at.as_secs().saturating_add(LEEWAY_S_MAX)
}

fn check_key(claims: &Claims, snapshot: &Snapshot) -> Result<(), Refusal> {
    let tokens = &snapshot.tokens;
    let place = tokens.issuers.iter().position(|issuer| issuer.issuer() == claims.issuer);
    match place.and_then(|place| tokens.keys.get(place)) {
        Some(Some(keys)) if keys.has_key(&claims.key_thumbprint_sha256, claims.key_id.as_deref()) => Ok(()),
        // Nobody knows any more whether they are the issuer's.
        Some(None) => Err(Refusal::KeysUnavailable),
        Some(Some(_)) | None => Err(Refusal::TokenKeyWithdrawn),
    }
}

fn check_workload_key(workload: &Workload, snapshot: &Snapshot) -> Result<(), Refusal> {
    let keys = snapshot.workloads.keys.get(workload.spiffe_id.trust_domain());
    let has_key = keys
        .and_then(Option::as_ref)
        .is_some_and(|keys| keys.has_key(&workload.key_thumbprint_sha256, Some(&workload.key_id)));
    if has_key { Ok(()) } else { Err(Refusal::TokenWitKeyWithdrawn) }
}
