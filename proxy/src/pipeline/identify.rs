//! Step 5: who calls. The peer is proven by TLS; a token adds verified claims, if this peer and this request may use it.
use super::exchange::Exchange;
use super::normalise::{DPOP, Normalised, spell_target};
use super::refusal::Refusal;
use crate::config::{DpopNonce, TokenRule};
use crate::keys::{Missed, Wish};
use crate::replay::Replay;
use crate::state::Tokens;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use postern_audit::hash::sha256;
use postern_identity::pop::dpop::{self, DpopError, Nonce};
use postern_identity::token::{Claims, TokenError};
use postern_identity::{Peer, Principal, UnixTime, token};
use std::collections::HashMap;
use std::sync::Arc;

/// RFC 9449 §8.1.
const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// The caller of this request, as far as it is proven.
///
/// A proof of possession does not go further than here: neither policy nor the upstream sees it, unless the route
/// ignores tokens, and then both go on as they came.
pub(super) async fn identify(
    exchange: &mut Exchange,
    request: &mut Normalised,
    rule: TokenRule,
) -> Result<Principal, Refusal> {
    if rule == TokenRule::Ignored {
        return alone(exchange);
    }
    let Some(peer) = exchange.connection.peer().cloned() else {
        return in_plain_text(exchange, request, rule);
    };
    let proof = request.take_credential(&DPOP);
    let principal = match (rule, credential(request)?) {
        (TokenRule::Ignored | TokenRule::Optional, None) => return alone(exchange),
        (TokenRule::Required, None) => return Err(Refusal::TokenMissing),
        (_, Some(credential)) => accept(exchange, request, (credential, proof.as_ref()), peer).await,
    };
    let metrics = &exchange.worker.metrics.keys;
    match &principal {
        Ok(_) => metrics.token_accepted(),
        Err(refusal) => metrics.token_refused(refusal.code()),
    }
    principal
}

/// The peer, and nothing that it says of anybody else.
fn alone(exchange: &Exchange) -> Result<Principal, Refusal> {
    match exchange.connection.peer() {
        Some(peer) => Principal::new(Arc::clone(peer), None).map_err(|error| refusal(&error)),
        None => Ok(Principal::nobody()),
    }
}

/// Nobody's word is taken for who a caller in plain text is: a token that comes so may be anybody's by now. Where one is
/// required there is no right one, so that none is asked for.
fn in_plain_text(
    exchange: &Exchange,
    request: &mut Normalised,
    rule: TokenRule,
) -> Result<Principal, Refusal> {
    let brought = request.take_credential(&DPOP).is_some() || credential(request)?.is_some();
    if brought || rule == TokenRule::Required {
        exchange.worker.metrics.keys.token_refused(Refusal::TokenPlaintext.code());
        return Err(Refusal::TokenPlaintext);
    }
    Ok(Principal::nobody())
}

/// A token as it was brought.
#[derive(Clone, Copy)]
enum Credential<'a> {
    /// RFC 6750 §2.1.
    Bearer(&'a str),
    /// RFC 9449 §7.1.
    Dpop(&'a str),
}

/// The token of `Authorization`. The guard has made sure that there is one such header at most.
fn credential(request: &Normalised) -> Result<Option<Credential<'_>>, Refusal> {
    let Some(value) = request.headers().get(AUTHORIZATION) else { return Ok(None) };
    let value = value.to_str().map_err(|_| Refusal::TokenMalformed)?;
    let credential = match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Credential::Bearer(token),
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("dpop") => Credential::Dpop(token),
        Some(_) | None => return Ok(None),
    };
    // RFC 6750 §2: a client uses one method. The one in the query is never read here, but the service might.
    if has_query_token(request.query().unwrap_or_default()) {
        return Err(Refusal::TokenMultiple);
    }
    Ok(Some(credential))
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

/// A token that verifies and that this caller may use. The second is asked for each request, however the first became
/// known: what a token is bound to is a property of the connection or of the request that brings it.
async fn accept(
    exchange: &mut Exchange,
    request: &Normalised,
    (credential, proof): (Credential<'_>, Option<&HeaderValue>),
    peer: Arc<Peer>,
) -> Result<Principal, Refusal> {
    let (Credential::Bearer(token) | Credential::Dpop(token)) = credential;
    let claims = verify(exchange, token).await?;
    // From here on it is known whose token it is. The record tells it also of one that is not the caller's to use.
    exchange.note_claims(&claims);
    let principal = match (credential, proof) {
        (Credential::Bearer(_), _) => Principal::new(peer, Some(claims)),
        (Credential::Dpop(_), None) => return Err(Refusal::TokenDpopMissing),
        (Credential::Dpop(_), Some(proof)) => {
            let proof = prove(exchange, request, &claims, proof)?;
            let principal = Principal::proven(peer, claims, &proof);
            // Last, so that a proof is used up by its owner only.
            if principal.is_ok() {
                use_up(exchange, &proof)?;
            }
            principal
        }
    };
    principal.map_err(|error| refusal(&error))
}

fn prove(
    exchange: &Exchange,
    request: &Normalised,
    claims: &Claims,
    proof: &HeaderValue,
) -> Result<dpop::Proof, Refusal> {
    let proof = proof.to_str().map_err(|_| Refusal::TokenDpopMalformed)?;
    let now = exchange.worker.clock.unix_time();
    let accepted;
    let nonce = match exchange.connection.listener.dpop_nonce {
        DpopNonce::None => Nonce::Any,
        DpopNonce::Required => {
            accepted = exchange.worker.nonces.accepted(now.as_secs());
            Nonce::OneOf(&accepted)
        }
    };
    let (method, uri) = (request.method().as_str(), request.target());
    let target = dpop::Request { method, uri: &uri, spell: &spell_target, nonce };
    let proven = dpop::verify(proof, claims, &target, now);
    proven.map_err(|error: DpopError| Refusal::from_code(error.code()).unwrap_or(Refusal::TokenDpopMalformed))
}

impl Exchange {
    /// Tells the caller what its next proof has to hold (RFC 9449 §8).
    pub(super) fn give_nonce(&self, headers: &mut HeaderMap) {
        let nonce = self.worker.nonces.current(self.worker.clock.unix_time().as_secs());
        if let Ok(nonce) = HeaderValue::try_from(nonce) {
            headers.insert(DPOP_NONCE, nonce);
        }
    }
}

fn use_up(exchange: &Exchange, proof: &dpop::Proof) -> Result<(), Refusal> {
    let now_s = exchange.worker.clock.unix_time().as_secs();
    match exchange.worker.replays.note(proof.replay_key(), proof.usable_until_s(), now_s) {
        Replay::New => Ok(()),
        Replay::Seen => Err(Refusal::TokenDpopReplayed),
        Replay::NoRoom => Err(Refusal::LimitProofs),
    }
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
    let (claims, used) =
        with_fresh_keys(exchange, (&seen, now), |tokens| check(compact, tokens, now)).await?;
    let claims = Arc::new(claims);
    worker.tokens.borrow_mut().insert(&used, Arc::clone(&claims), now.as_secs());
    Ok(claims)
}

/// Verifies with the keys in force, and once more with newer ones where a key is missing. Gives those that were used.
pub(super) async fn with_fresh_keys(
    exchange: &Exchange,
    (seen, now): (&Arc<Tokens>, UnixTime),
    verify: impl Fn(&Tokens) -> Result<Claims, TokenError>,
) -> Result<(Claims, Arc<Tokens>), Refusal> {
    let worker = &exchange.worker;
    let error = match verify(seen) {
        Ok(claims) => return Ok((claims, Arc::clone(seen))),
        Err(error) => error,
    };
    let Some(wish) = Wish::of(&error) else { return Err(refusal(&error)) };
    if worker.tokens.borrow().missed.has(&error, seen.generation, now.as_secs()) {
        return Err(refusal(&error));
    }
    // The issuer may have rotated its keys a moment ago.
    worker.keys.refresh(wish, seen.generation).await;
    let newest = Arc::clone(&worker.snapshots.pin().tokens);
    match verify(&newest) {
        Ok(claims) => Ok((claims, newest)),
        Err(error) => {
            worker.tokens.borrow_mut().missed.note(&error, newest.generation, now.as_secs());
            Err(refusal(&error))
        }
    }
}

fn check(compact: &str, tokens: &Tokens, now: UnixTime) -> Result<Claims, TokenError> {
    token::verify(compact, &tokens.issuers, &|issuer| tokens.keys.get(issuer).cloned().flatten(), now)
}

pub(super) fn refusal(error: &TokenError) -> Refusal {
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
    /// What was verified of this token, while that counts; `now` in seconds since 1970.
    pub fn get(&mut self, compact: &str, tokens: &Tokens, now: u64) -> Option<Arc<Claims>> {
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

    /// Remembers what was verified with these keys; `now` in seconds since 1970. Of more than 10,000 tokens that are
    /// in use the further ones are not remembered.
    pub fn insert(&mut self, tokens: &Tokens, claims: Arc<Claims>, now: u64) {
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
