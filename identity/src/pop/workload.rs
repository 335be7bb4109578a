//! Workload Identity Tokens of SPIFFE (WIT-SVID, incubating) with the proof that goes with each request, the Workload
//! Proof Token of the IETF's WIMSE group (draft-ietf-wimse-wpt).
//!
//! A Workload Identity Token says who holds a key; it is not a secret and is worth nothing without the proof, so there
//! is no way here to verify one alone. Both travel in headers of their own, `Workload-Identity-Token` and
//! `Workload-Proof-Token`, each of which has to be there once; that, and that the channel is secure, is for the caller
//! to see to.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::UnixTime;
use serde_json::{Map, Value};

use super::{digest_of, proof_id, text};
use crate::id::{SpiffeId, TrustDomain};
use crate::token::{Algorithm, Candidates, Compact, Key, KeySet, TokenError, date, quote};

/// How far clocks may be apart, in seconds, for the times of both tokens (WIT-SVID §3 allows a few minutes at most).
pub const LEEWAY_S: u64 = 5;
/// The longest time from now to `exp` of a proof, in seconds.
pub const PROOF_LIFETIME_S_MAX: u64 = 300;

/// What a request brings.
#[derive(Clone, Copy)]
pub struct Presented<'a> {
    /// The value of `Workload-Identity-Token`.
    pub identity: &'a str,
    /// The value of `Workload-Proof-Token`.
    pub proof: &'a str,
    /// The access token of the same request, without its scheme.
    pub access_token: Option<&'a str>,
    /// The transaction token of the same request (`Txn-Token`).
    pub transaction_token: Option<&'a str>,
}

/// Where a request may have been meant for.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// Scheme and authority of the service, in their one spelling, as `https://orders.example.org`: as configured, never
    /// as the request names them, for then any proof would fit.
    pub authorities: &'a [String],
    /// The path of the request in its one spelling.
    pub path: &'a str,
    /// Puts a URI without query and fragment into that spelling; nothing for what has none.
    pub spell: &'a dyn Fn(&str) -> Option<String>,
}

/// Why a workload's tokens are not accepted. Each variant has a stable reason code, [`WorkloadError::code`]. Its text is
/// for the operator; it never holds a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WorkloadError {
    /// Not a JWT with the header and claims of WIT-SVID §§2 and 3.
    #[error("the workload identity token is malformed: {0}")]
    Identity(String),
    /// No key of that name is in the bundle of the subject's trust domain, or there is no such bundle.
    #[error("the trust domain `{trust_domain}` has no key `{key_id}` for workload identity tokens")]
    KeyUnknown {
        /// Whose bundle was asked.
        trust_domain: TrustDomain,
        /// `kid` of the token.
        key_id: String,
    },
    /// The signature of the identity token does not fit.
    #[error("the signature of the workload identity token is wrong")]
    IdentitySignature,
    /// `exp` has passed or `nbf` is still to come.
    #[error("the workload identity token is not valid now, see `{0}`")]
    IdentityTime(&'static str),
    /// Not a JWT with the header and claims of a proof.
    #[error("the workload proof token is malformed: {0}")]
    Proof(String),
    /// The proof is not signed with the key of the identity token.
    #[error("the signature of the workload proof token is wrong")]
    ProofSignature,
    /// `exp` has passed, or is further away than [`PROOF_LIFETIME_S_MAX`].
    #[error("the workload proof token expires at {at}, which is over or too far away")]
    ProofTime {
        /// `exp`, in seconds.
        at: u64,
    },
    /// `aud` is not this request's target at one of the authorities.
    #[error("the workload proof token is for another target")]
    Audience,
    /// The proof does not cover a token of the request, or covers one that is not there or not understood.
    #[error("the workload proof token is for other tokens: `{0}` does not fit")]
    Tokens(&'static str),
}

impl WorkloadError {
    /// The stable reason code, family `token`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Identity(_) => "token.wit_malformed",
            Self::KeyUnknown { .. } => "token.wit_key_unknown",
            Self::IdentitySignature => "token.wit_signature",
            Self::IdentityTime(_) => "token.wit_time",
            Self::Proof(_) => "token.wpt_malformed",
            Self::ProofSignature => "token.wpt_signature",
            Self::ProofTime { .. } => "token.wpt_time",
            Self::Audience => "token.wpt_audience",
            Self::Tokens(_) => "token.wpt_tokens",
        }
    }
}

/// A workload that has named itself and proven that this request is its own. Only [`verify`] makes one.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Workload {
    /// Who it is. Its trust domain vouches for all claims.
    pub spiffe_id: SpiffeId,
    /// `exp` of the identity token, without leeway.
    pub expires_at: UnixTime,
    /// `kid` of the identity token.
    pub key_id: String,
    /// The RFC 7638 thumbprint of the authority's key that verified the identity token.
    pub key_thumbprint_sha256: [u8; 32],
    /// SHA-256 of the identity token, which is what may stand in a log instead of it.
    pub token_sha256: [u8; 32],
    /// All claims of the identity token.
    pub members: Map<String, Value>,
    replay_key: [u8; 32],
    usable_until_s: u64,
}

impl Workload {
    /// What tells the proof from all others: a digest of its key's thumbprint and its `jti`.
    #[must_use]
    pub fn replay_key(&self) -> &[u8; 32] {
        &self.replay_key
    }

    /// The last second, since 1970, in which a copy of the proof would be accepted; so long it has to be remembered.
    #[must_use]
    pub fn usable_until_s(&self) -> u64 {
        self.usable_until_s
    }
}

/// Verifies both tokens of a request together.
///
/// `keys` gives the current WIT authorities of a trust domain, see [`KeySet::parse_wit_bundle`].
///
/// # Errors
/// Each rule that is broken, as a [`WorkloadError`].
pub fn verify(
    presented: &Presented<'_>,
    target: &Target<'_>,
    keys: &dyn Fn(&TrustDomain) -> Option<Arc<KeySet>>,
    now: UnixTime,
) -> Result<Workload, WorkloadError> {
    let identity = identity(presented.identity, keys, now)?;
    let proof =
        Compact::parse(presented.proof).map_err(|error| WorkloadError::Proof(super::problem(error)))?;
    if proof.header.typ.as_deref() != Some("wpt+jwt") {
        return Err(WorkloadError::Proof("its `typ` is not `wpt+jwt`".to_owned()));
    }
    // The nine algorithms have one name each, so that equal algorithms are equal strings.
    if proof.header.algorithm != identity.proof_algorithm {
        return Err(WorkloadError::Proof("its `alg` is not that of the identity token's key".to_owned()));
    }
    if identity.confirmed.has_signed(&proof) != Some(true) {
        return Err(WorkloadError::ProofSignature);
    }
    let members = proof.claims().map_err(|error| WorkloadError::Proof(super::problem(error)))?;
    let expires = check_proof_time(&members, now)?;
    check_target(&members, target)?;
    check_tokens(&members, presented)?;
    let id = proof_id(&members).map_err(WorkloadError::Proof)?;
    Ok(Workload {
        replay_key: digest_of(&[&identity.confirmed.thumbprint, id.as_bytes()]),
        usable_until_s: expires.saturating_add(LEEWAY_S),
        spiffe_id: identity.spiffe_id,
        expires_at: UnixTime::since_unix_epoch(Duration::from_secs(identity.expires_s)),
        key_id: identity.key_id,
        key_thumbprint_sha256: identity.key_thumbprint_sha256,
        token_sha256: sha256(presented.identity),
        members: identity.members,
    })
}

/// An identity token that holds. It proves nobody's presence.
struct Identity {
    spiffe_id: SpiffeId,
    expires_s: u64,
    key_id: String,
    key_thumbprint_sha256: [u8; 32],
    confirmed: Key,
    proof_algorithm: Algorithm,
    members: Map<String, Value>,
}

fn identity(
    compact: &str,
    keys: &dyn Fn(&TrustDomain) -> Option<Arc<KeySet>>,
    now: UnixTime,
) -> Result<Identity, WorkloadError> {
    let token = Compact::parse(compact).map_err(of_identity)?;
    if token.header.typ.as_deref() != Some("wit+jwt") {
        return Err(malformed("its `typ` is not `wit+jwt`"));
    }
    if !token.header.algorithm.is_of_jwt_svid() {
        return Err(malformed("its `alg` is not one of the nine of WIT-SVID §2"));
    }
    let key_id = token
        .header
        .key_id
        .clone()
        .filter(|id| !id.is_empty())
        .ok_or_else(|| malformed("it has no `kid`"))?;
    let members = token.claims().map_err(of_identity)?;
    let spiffe_id = subject(&members)?;
    let unknown = || WorkloadError::KeyUnknown {
        trust_domain: spiffe_id.trust_domain().clone(),
        key_id: quote(&key_id),
    };
    let set = keys(spiffe_id.trust_domain()).ok_or_else(unknown)?;
    let key_thumbprint_sha256 = match set.candidates(Some(&key_id), token.header.algorithm) {
        Candidates::These(keys) => {
            let mut keys = keys.into_iter().map(|(key, _)| key);
            let signer = keys.find(|key| key.has_signed(&token) == Some(true));
            signer.ok_or(WorkloadError::IdentitySignature)?.thumbprint
        }
        Candidates::OtherAlgorithm => return Err(malformed("its `alg` is not that of its key")),
        Candidates::Unknown | Candidates::Ambiguous => return Err(unknown()),
    };
    // WIT-SVID §3: it is for everybody who asks who the workload is. One that is addressed is some other token.
    if members.contains_key("aud") {
        return Err(malformed("it has `aud`, which a workload identity token must not have"));
    }
    let expires_s = check_identity_time(&members, now)?;
    let (confirmed, proof_algorithm) = confirmation(&members)?;
    Ok(Identity { spiffe_id, expires_s, key_id, key_thumbprint_sha256, confirmed, proof_algorithm, members })
}

fn subject(members: &Map<String, Value>) -> Result<SpiffeId, WorkloadError> {
    let id: SpiffeId = text(members, "sub")
        .map_err(WorkloadError::Identity)?
        .parse()
        .map_err(|_| malformed("its `sub` is not a SPIFFE ID"))?;
    if id.path().is_empty() {
        return Err(malformed("its `sub` names a trust domain, not a workload"));
    }
    Ok(id)
}

/// WIT-SVID §3.3: `iat` is no beginning of validity, so it is not looked at.
fn check_identity_time(members: &Map<String, Value>, now: UnixTime) -> Result<u64, WorkloadError> {
    let expires = date(members, "exp", f64::floor).map_err(of_identity)?;
    let expires = expires.ok_or_else(|| malformed("it has no `exp`"))?;
    if now.as_secs() >= expires.saturating_add(LEEWAY_S) {
        return Err(WorkloadError::IdentityTime("exp"));
    }
    match date(members, "nbf", f64::ceil).map_err(of_identity)? {
        Some(begin) if begin > now.as_secs().saturating_add(LEEWAY_S) => {
            Err(WorkloadError::IdentityTime("nbf"))
        }
        Some(_) | None => Ok(expires),
    }
}

/// The key that proofs are signed with, and the one algorithm they are signed by.
fn confirmation(members: &Map<String, Value>) -> Result<(Key, Algorithm), WorkloadError> {
    let jwk = members.get("cnf").and_then(|confirmation| confirmation.get("jwk"));
    let jwk = jwk.ok_or_else(|| malformed("it has no `cnf.jwk`"))?;
    let algorithm = jwk.get("alg").and_then(Value::as_str).and_then(|name| name.parse::<Algorithm>().ok());
    let algorithm = algorithm
        .filter(|algorithm| algorithm.is_of_jwt_svid())
        .ok_or_else(|| malformed("its `cnf.jwk` has no `alg` that is accepted"))?;
    let key =
        Key::confirmed(jwk).map_err(|problem| malformed(&format!("its `cnf.jwk`: {}", quote(&problem))))?;
    Ok((key, algorithm))
}

fn check_proof_time(members: &Map<String, Value>, now: UnixTime) -> Result<u64, WorkloadError> {
    let expires =
        date(members, "exp", f64::floor).map_err(|error| WorkloadError::Proof(super::problem(error)))?;
    let at = expires.ok_or_else(|| WorkloadError::Proof("it has no `exp`".to_owned()))?;
    let now_s = now.as_secs();
    let is_over = now_s >= at.saturating_add(LEEWAY_S);
    if is_over || at > now_s.saturating_add(PROOF_LIFETIME_S_MAX + LEEWAY_S) {
        return Err(WorkloadError::ProofTime { at });
    }
    Ok(at)
}

fn check_target(members: &Map<String, Value>, target: &Target<'_>) -> Result<(), WorkloadError> {
    let audience = text(members, "aud").map_err(WorkloadError::Proof)?;
    let spelled = (target.spell)(audience).ok_or(WorkloadError::Audience)?;
    let is_ours = |authority: &String| spelled.strip_prefix(authority.as_str()) == Some(target.path);
    if target.authorities.iter().any(is_ours) { Ok(()) } else { Err(WorkloadError::Audience) }
}

/// What the proof covers is all that the request brings: a token that it leaves out could be anybody's, and one that it
/// names and that is not there belongs to another request.
fn check_tokens(members: &Map<String, Value>, presented: &Presented<'_>) -> Result<(), WorkloadError> {
    for (name, token) in [
        ("wth", Some(presented.identity)),
        ("ath", presented.access_token),
        ("tth", presented.transaction_token),
    ] {
        let expected = token.map(|token| URL_SAFE_NO_PAD.encode(sha256(token)));
        if members.get(name).map(Value::as_str) != expected.as_deref().map(Some) {
            return Err(WorkloadError::Tokens(name));
        }
    }
    // No other kind of token is understood, so that every entry names one that is not.
    match members.get("oth") {
        None => Ok(()),
        Some(Value::Object(others)) if others.is_empty() => Ok(()),
        Some(_) => Err(WorkloadError::Tokens("oth")),
    }
}

fn sha256(text: &str) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    out
}

fn of_identity(error: TokenError) -> WorkloadError {
    WorkloadError::Identity(super::problem(error))
}

fn malformed(problem: &str) -> WorkloadError {
    WorkloadError::Identity(problem.to_owned())
}

/// Tokens are not for logs.
impl std::fmt::Debug for Presented<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Presented").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Target<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Target")
            .field("authorities", &self.authorities)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
