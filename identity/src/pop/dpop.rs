//! DPoP proofs (RFC 9449): a JWT a request, signed by the key that the access token is bound to.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::UnixTime;
use serde_json::{Map, Value};

use super::digest_of;
use crate::token::{Algorithm, Claims, Compact, Key, TokenError, date, quote};

/// How far `iat` of a proof may be from now, in seconds, before and after (RFC 9449 §11.1).
pub const WINDOW_S: u64 = 60;
/// The largest proof in bytes: an RSA key of 8192 bits and its signature fit.
pub const PROOF_BYTES_MAX: usize = 8 * 1024;

/// The request that a proof came with.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a str,
    /// Scheme, authority and path in their one spelling, without query.
    pub uri: &'a str,
    /// Puts a URI without query and fragment into the spelling of `uri`; nothing for what has none.
    pub spell: &'a dyn Fn(&str) -> Option<String>,
    /// Which `nonce` the proof has to have.
    pub nonce: Nonce<'a>,
}

/// What is asked of a proof's `nonce` (RFC 9449 §9).
#[derive(Clone, Copy, Debug)]
pub enum Nonce<'a> {
    /// Nothing: none was given out.
    Any,
    /// One of those that we gave out lately.
    OneOf(&'a [String]),
}

/// Why a proof is not accepted. Each variant has a stable reason code, [`DpopError::code`]. Its text is for the operator;
/// it never holds the proof.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DpopError {
    /// RFC 9449 §7.1: a proof with a token that is bound to no key proves nothing.
    #[error("the access token is not bound to a key, send it with the scheme `Bearer`")]
    NotBound,
    /// Not a signed JWT with the header and claims of RFC 9449 §4.2.
    #[error("the proof is malformed: {0}")]
    Malformed(String),
    /// The signature is not that of the key in the proof.
    #[error("the signature of the proof is wrong")]
    Signature,
    /// `htm` or `htu` is not the request's.
    #[error("the proof is for another request: `{0}` differs")]
    Request(&'static str),
    /// `iat` is more than [`WINDOW_S`] away.
    #[error("the proof was made at {at}, more than 60 s from now")]
    Time {
        /// `iat`, in seconds.
        at: u64,
    },
    /// `ath` is not the digest of the access token.
    #[error("the proof is for another access token")]
    Token,
    /// The token is bound to another key.
    #[error("the proof is by another key than the one that the token is bound to")]
    Key,
    /// A nonce is asked for, and the proof has none or an old one.
    #[error("the proof lacks the nonce that was given out")]
    Nonce,
}

impl DpopError {
    /// The stable reason code, family `token`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotBound => "token.binding",
            Self::Malformed(_) => "token.dpop_malformed",
            Self::Signature => "token.dpop_signature",
            Self::Request(_) => "token.dpop_request",
            Self::Time { .. } => "token.dpop_time",
            Self::Token => "token.dpop_token",
            Self::Key => "token.dpop_key",
            Self::Nonce => "token.dpop_nonce",
        }
    }
}

/// That the holder of a token's key has sent this request. Only [`verify`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    key: [u8; 32],
    token_sha256: [u8; 32],
    replay_key: [u8; 32],
    usable_until_s: u64,
}

impl Proof {
    /// What tells this proof from all others: a digest of its key's thumbprint and its `jti`. A proof whose digest was
    /// seen before is a copy (RFC 9449 §11.1).
    #[must_use]
    pub fn replay_key(&self) -> &[u8; 32] {
        &self.replay_key
    }

    /// The last second, since 1970, in which a copy of it would be accepted; so long it has to be remembered.
    #[must_use]
    pub fn usable_until_s(&self) -> u64 {
        self.usable_until_s
    }

    pub(crate) fn is_of(&self, key: &[u8; 32], token_sha256: &[u8; 32]) -> bool {
        self.key == *key && self.token_sha256 == *token_sha256
    }
}

/// The algorithms of proofs, as `algs` of a challenge names them (RFC 9449 §7.1).
pub fn algorithms() -> impl Iterator<Item = &'static str> {
    Algorithm::ALL.into_iter().map(Algorithm::name)
}

/// Verifies the proof that came with an access token whose claims are verified, by the rules of RFC 9449 §4.3. That
/// there is one proof and no second one, and that it is not a copy, is for the caller to see to.
///
/// # Errors
/// Each rule that is broken, as a [`DpopError`].
pub fn verify(
    proof: &str,
    claims: &Claims,
    request: &Request<'_>,
    now: UnixTime,
) -> Result<Proof, DpopError> {
    let bound_to = claims.binding.key.ok_or(DpopError::NotBound)?;
    if proof.len() > PROOF_BYTES_MAX {
        return Err(malformed("it has more than 8192 bytes"));
    }
    let parsed = Compact::parse(proof).map_err(of_parser)?;
    if parsed.header.typ.as_deref() != Some("dpop+jwt") {
        return Err(malformed("its `typ` is not `dpop+jwt`"));
    }
    let jwk = parsed.header.jwk.as_ref().ok_or_else(|| malformed("its header has no `jwk`"))?;
    let key = Key::confirmed(jwk).map_err(|problem| malformed(&format!("its `jwk`: {}", quote(&problem))))?;
    match key.has_signed(&parsed) {
        Some(true) => {}
        Some(false) => return Err(DpopError::Signature),
        None => return Err(malformed("its `alg` is not that of its `jwk`")),
    }
    let members = parsed.claims().map_err(of_parser)?;
    check_request(&members, request)?;
    let issued = check_time(&members, now)?;
    if text(&members, "ath")? != URL_SAFE_NO_PAD.encode(claims.token_sha256) {
        return Err(DpopError::Token);
    }
    if key.thumbprint != bound_to {
        return Err(DpopError::Key);
    }
    check_nonce(&members, request.nonce)?;
    Ok(Proof {
        key: key.thumbprint,
        token_sha256: claims.token_sha256,
        replay_key: digest_of(&[
            &key.thumbprint,
            super::proof_id(&members).map_err(DpopError::Malformed)?.as_bytes(),
        ]),
        usable_until_s: issued.saturating_add(WINDOW_S),
    })
}

fn check_request(members: &Map<String, Value>, request: &Request<'_>) -> Result<(), DpopError> {
    // RFC 9110 §9.1: methods are case-sensitive.
    if text(members, "htm")? != request.method {
        return Err(DpopError::Request("htm"));
    }
    // RFC 9449 §4.3: query and fragment are ignored, and the rest is compared in its one spelling.
    let target = text(members, "htu")?.split(['?', '#']).next().unwrap_or_default();
    if (request.spell)(target).is_none_or(|spelled| spelled != request.uri) {
        return Err(DpopError::Request("htu"));
    }
    Ok(())
}

fn check_time(members: &Map<String, Value>, now: UnixTime) -> Result<u64, DpopError> {
    let issued = date(members, "iat", f64::floor).map_err(of_parser)?;
    let issued = issued.ok_or_else(|| malformed("it has no `iat`"))?;
    if issued.abs_diff(now.as_secs()) > WINDOW_S {
        return Err(DpopError::Time { at: issued });
    }
    Ok(issued)
}

fn check_nonce(members: &Map<String, Value>, asked: Nonce<'_>) -> Result<(), DpopError> {
    match (asked, members.get("nonce")) {
        (Nonce::Any, _) => Ok(()),
        (Nonce::OneOf(given), Some(Value::String(nonce))) if given.contains(nonce) => Ok(()),
        (Nonce::OneOf(_), _) => Err(DpopError::Nonce),
    }
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Result<&'a str, DpopError> {
    super::text(members, name).map_err(DpopError::Malformed)
}

fn of_parser(error: TokenError) -> DpopError {
    DpopError::Malformed(super::problem(error))
}

fn malformed(problem: &str) -> DpopError {
    DpopError::Malformed(problem.to_owned())
}

impl std::fmt::Debug for Request<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Request")
            .field("method", &self.method)
            .field("uri", &self.uri)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
