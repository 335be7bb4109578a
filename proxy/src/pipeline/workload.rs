//! Step 5, where workloads may bring identity tokens of their own (WIT-SVID with a WIMSE proof, both incubating).
//!
//! The peer is who holds the connection; such a token says who made the request, behind whatever stands between the two.
//! It never takes the peer's place: policy sees it beside the peer.
use super::exchange::Exchange;
use super::normalise::{Normalised, WORKLOAD_IDENTITY, WORKLOAD_PROOF, spell_target};
use super::refusal::Refusal;
use crate::replay::Replay;
use crate::state::Workloads;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use postern_identity::pop::workload::{Presented, Target, Workload, WorkloadError, verify};

/// The transaction token of a request, which its proof has to cover.
const TXN_TOKEN: HeaderName = HeaderName::from_static("txn-token");

/// Notes who made the request, if it says so. Both headers end here.
pub(super) fn identify_workload(exchange: &mut Exchange, request: &mut Normalised) -> Result<(), Refusal> {
    let snapshot = exchange.worker.snapshots.pin();
    let workloads = &snapshot.workloads;
    if workloads.authorities.is_empty() {
        return Ok(());
    }
    let brought = (request.take_credential(&WORKLOAD_IDENTITY), request.take_credential(&WORKLOAD_PROOF));
    let found = match brought {
        (None, None) => return Ok(()),
        _ if exchange.connection.peer().is_none() => Err(Refusal::TokenPlaintext),
        (Some(identity), Some(proof)) => check(exchange, request, workloads, (&identity, &proof)),
        (Some(_), None) | (None, Some(_)) => Err(Refusal::TokenWptMissing),
    };
    let metrics = &exchange.worker.metrics.keys;
    match &found {
        Ok(_) => metrics.token_accepted(),
        Err(refusal) => metrics.token_refused(refusal.code()),
    }
    exchange.note_workload(found?);
    Ok(())
}

fn check(
    exchange: &Exchange,
    request: &Normalised,
    workloads: &Workloads,
    (identity, proof): (&HeaderValue, &HeaderValue),
) -> Result<Workload, Refusal> {
    let text = |name: &HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    let presented = Presented {
        identity: identity.to_str().map_err(|_| Refusal::TokenWitMalformed)?,
        proof: proof.to_str().map_err(|_| Refusal::TokenWptMalformed)?,
        access_token: text(&AUTHORIZATION).and_then(access_token),
        transaction_token: text(&TXN_TOKEN),
    };
    let target = Target { authorities: &workloads.authorities, path: request.path(), spell: &spell_target };
    let now = exchange.worker.clock.unix_time();
    let keys = |domain: &_| workloads.keys.get(domain).cloned().flatten();
    let workload = verify(&presented, &target, &keys, now).map_err(|error| refusal(&error, workloads))?;
    match exchange.worker.replays.note(workload.replay_key(), workload.usable_until_s(), now.as_secs()) {
        Replay::New => Ok(workload),
        Replay::Seen => Err(Refusal::TokenWptReplayed),
        Replay::NoRoom => Err(Refusal::LimitProofs),
    }
}

/// The token behind one of the schemes of access tokens.
fn access_token(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    let is_of_tokens = scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("dpop");
    is_of_tokens.then_some(token)
}

fn refusal(error: &WorkloadError, workloads: &Workloads) -> Refusal {
    if let WorkloadError::KeyUnknown { trust_domain, .. } = error
        && matches!(workloads.keys.get(trust_domain), Some(None))
    {
        // Its bundle is named and has not been read yet, which is not the caller's fault.
        return Refusal::KeysUnavailable;
    }
    Refusal::from_code(error.code()).unwrap_or(Refusal::TokenWitMalformed)
}
