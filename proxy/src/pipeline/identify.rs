//! Step 5: who calls. The peer is proven by TLS; a bearer token adds verified claims.
use super::exchange::Exchange;
use super::normalise::Normalised;
use super::refusal::Refusal;
use crate::config::TokenRule;
use crate::keys::{Missed, Wish};
use crate::state::Tokens;
use http::header::AUTHORIZATION;
use postern_audit::hash::sha256;
use postern_identity::token::{Claims, Issuer, TokenError};
use postern_identity::{Principal, UnixTime, token};
use std::collections::HashMap;
use std::sync::Arc;

/// The caller of this request, as far as it is proven.
pub(super) async fn identify(
    exchange: &Exchange,
    request: &Normalised,
    rule: TokenRule,
) -> Result<Principal, Refusal> {
    let peer = Arc::clone(&exchange.connection.peer);
    let claims = match (rule, bearer(request)?) {
        (TokenRule::Ignored, _) | (TokenRule::Optional, None) => None,
        (TokenRule::Required, None) => return Err(Refusal::TokenMissing),
        (TokenRule::Required | TokenRule::Optional, Some(token)) => {
            let verified = verify(exchange, token).await;
            let metrics = &exchange.worker.metrics.keys;
            match &verified {
                Ok(_) => metrics.token_accepted(),
                Err(refusal) => metrics.token_refused(refusal.code()),
            }
            Some(verified?)
        }
    };
    let transaction = match request.transaction_token() {
        None => None,
        Some(token) => {
            Some(transaction(exchange, token.to_str().map_err(|_| Refusal::TokenMalformed)?).await?)
        }
    };
    let principal =
        Principal::new(peer, claims).and_then(|principal| principal.with_transaction(transaction));
    principal.map_err(|error| refusal(&error))
}

/// Whether an issuer of transaction tokens is known, by whose keys one could be verified.
pub(super) fn takes_transactions(exchange: &Exchange) -> bool {
    exchange.worker.snapshots.pin().tokens.issuers.iter().any(Issuer::is_of_transactions)
}

/// What a transaction token says. It is verified each time: what is remembered of bearer tokens must never answer for
/// it, nor the other way round.
async fn transaction(exchange: &Exchange, compact: &str) -> Result<Arc<Claims>, Refusal> {
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
    verified.await.map(Arc::new)
}

/// The token of `Authorization: Bearer` (RFC 6750 §2.1). The guard has made sure that there is one such
/// header at most.
fn bearer(request: &Normalised) -> Result<Option<&str>, Refusal> {
    let Some(value) = request.headers().get(AUTHORIZATION) else { return Ok(None) };
    let value = value.to_str().map_err(|_| Refusal::TokenMalformed)?;
    match value.split_once(' ') {
        Some((scheme, _)) if !scheme.eq_ignore_ascii_case("bearer") => Ok(None),
        // RFC 6750 §2: a client uses one method. The one in the query is never read here, but the service might.
        Some(_) if has_query_token(request.query().unwrap_or_default()) => Err(Refusal::TokenMultiple),
        Some((_, token)) => Ok(Some(token)),
        None => Ok(None),
    }
}

/// Whether the query has an `access_token` (RFC 6750 §2.3), in whatever spelling a service would decode to it.
fn has_query_token(query: &str) -> bool {
    query.split(['&', ';']).any(|parameter| {
        let name = parameter.split('=').next().unwrap_or_default();
        name.len() <= 3 * ACCESS_TOKEN.len() && percent_decoded(name).eq_ignore_ascii_case(ACCESS_TOKEN)
    })
}

const ACCESS_TOKEN: &[u8] = b"access_token";

fn percent_decoded(name: &str) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut rest = name.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let digits = after.first_chunk::<2>().filter(|_| *byte == b'%');
        let escaped =
            digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        decoded.push(escaped.unwrap_or(*byte));
        rest = after.get(if escaped.is_some() { 2 } else { 0 }..).unwrap_or_default();
    }
    decoded
}

async fn verify(exchange: &Exchange, compact: &str) -> Result<Arc<Claims>, Refusal> {
    let worker = &exchange.worker;
    if compact.len() > exchange.connection.listener.limits.token_bytes_max {
        return Err(Refusal::TokenTooLarge);
    }
    let now = worker.clock.unix_time();
    let seen = Arc::clone(&worker.snapshots.pin().tokens);
    if let Some(claims) = worker.tokens.borrow_mut().get(compact, &seen, now.as_secs()) {
        return Ok(claims);
    }
    let claims = with_fresh_keys(exchange, (&seen, now), |tokens| check(compact, tokens, now)).await?;
    let claims = Arc::new(claims);
    worker.tokens.borrow_mut().insert(&seen, Arc::clone(&claims), now.as_secs());
    Ok(claims)
}

/// Verifies with the keys in force, and once more with newer ones where a key is missing.
async fn with_fresh_keys(
    exchange: &Exchange,
    (seen, now): (&Tokens, UnixTime),
    verify: impl Fn(&Tokens) -> Result<Claims, TokenError>,
) -> Result<Claims, Refusal> {
    let worker = &exchange.worker;
    let error = match verify(seen) {
        Ok(claims) => return Ok(claims),
        Err(error) => error,
    };
    let Some(wish) = Wish::of(&error) else { return Err(refusal(&error)) };
    if worker.tokens.borrow().missed.has(&error, seen.generation, now.as_secs()) {
        return Err(refusal(&error));
    }
    // The issuer may have rotated its keys a moment ago.
    worker.keys.refresh(wish, seen.generation).await;
    let newest = Arc::clone(&worker.snapshots.pin().tokens);
    verify(&newest).map_err(|error| {
        worker.tokens.borrow_mut().missed.note(&error, newest.generation, now.as_secs());
        refusal(&error)
    })
}

fn check(compact: &str, tokens: &Tokens, now: UnixTime) -> Result<Claims, TokenError> {
    token::verify(compact, &tokens.issuers, &|issuer| tokens.keys.get(issuer).cloned().flatten(), now)
}

fn refusal(error: &TokenError) -> Refusal {
    Refusal::from_code(error.code()).unwrap_or(Refusal::TokenMalformed)
}

/// Tokens that this worker verified lately, by their hash.
///
/// An entry answers only while the keys that verified it are in force, for at most a minute, and never past
/// the token's own end.
#[derive(Debug, Default)]
pub struct TokenCache {
    generation: u64,
    verified: HashMap<[u8; 32], Verified>,
    missed: Missed,
}

#[derive(Debug)]
struct Verified {
    claims: Arc<Claims>,
    until: u64,
}

const CACHED_MAX: usize = 10_000;
const CACHED_SECONDS_MAX: u64 = 60;

impl TokenCache {
    fn get(&mut self, compact: &str, tokens: &Tokens, now: u64) -> Option<Arc<Claims>> {
        if self.generation != tokens.generation || self.verified.is_empty() {
            return None;
        }
        let hash = sha256(compact.as_bytes());
        let verified = self.verified.get(&hash)?;
        if now < verified.until {
            return Some(Arc::clone(&verified.claims));
        }
        self.verified.remove(&hash);
        None
    }

    fn insert(&mut self, tokens: &Tokens, claims: Arc<Claims>, now: u64) {
        if self.generation != tokens.generation {
            self.verified.clear();
            self.generation = tokens.generation;
        }
        if self.verified.len() >= CACHED_MAX {
            self.verified.retain(|_, verified| now < verified.until);
        }
        // Still full: an attacker with many tokens gets no room, and nobody else loses theirs.
        if self.verified.len() < CACHED_MAX {
            let until = claims.expires_at.as_secs().min(now + CACHED_SECONDS_MAX);
            self.verified.insert(claims.token_sha256, Verified { claims, until });
        }
    }
}
