//! Step 5, for the transaction token of a call: verified on the terms of who issues them, or taken off. It says on whose
//! behalf a chain of calls goes on, and nothing about who makes this one.
use super::exchange::Exchange;
use super::identify::{refusal, with_fresh_keys};
use super::normalise::Normalised;
use super::refusal::Refusal;
use postern_identity::token::{Claims, Issuer};
use postern_identity::{Principal, token};
use std::sync::Arc;

/// Adds what the call's transaction token says. Without an issuer of such tokens nobody here can tell whether it is one,
/// and the service should not believe it.
pub(super) async fn identify_transaction(
    exchange: &mut Exchange,
    request: &mut Normalised,
    principal: Principal,
) -> Result<Principal, Refusal> {
    if request.transaction_token().is_some()
        && !exchange.worker.snapshots.pin().tokens.issuers.iter().any(Issuer::is_of_transactions)
    {
        request.take_off_transaction_token();
    }
    let Some(token) = request.transaction_token() else { return Ok(principal) };
    if exchange.connection.peer().is_none() {
        return Err(Refusal::TokenPlaintext);
    }
    let transaction = verify(exchange, token.to_str().map_err(|_| Refusal::TokenMalformed)?).await?;
    exchange.note_transaction(&transaction);
    principal.with_transaction(Some(transaction)).map_err(|error| refusal(&error))
}

/// Each time anew: what is remembered of access tokens must never answer for it, nor the other way round.
async fn verify(exchange: &Exchange, compact: &str) -> Result<Arc<Claims>, Refusal> {
    let worker = &exchange.worker;
    if compact.len() > exchange.connection.listener.limits.token_bytes_max {
        return Err(Refusal::TokenTooLarge);
    }
    let now = worker.clock.unix_time();
    let seen = Arc::clone(&worker.snapshots.pin().tokens);
    let verified = with_fresh_keys(exchange, (&seen, now), |tokens| {
        let keys = |issuer: usize| tokens.keys.get(issuer).cloned().flatten();
        token::verify_transaction(compact, &tokens.issuers, &keys, now)
    });
    let (claims, _) = verified.await?;
    Ok(Arc::new(claims))
}
