//! The inside of a token: the rules of its claims (RFC 7519 §4.1, RFC 9068 §2.2, RFC 8693 §4.1, JWT-SVID §3).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::UnixTime;
use serde_json::{Map, Number, Value};

use super::issuer::{Issuer, Profile};
use super::kubernetes;
use super::verify::TokenError;
use crate::id::{SpiffeId, TrustDomain};
use crate::pop::dpop::Proof;
use crate::x509::chain::Peer;

/// 9999-12-31T23:59:59Z. A later date is a mistake or an attack on somebody's arithmetic.
const NUMERIC_DATE_MAX: f64 = 253_402_300_799.0;

/// Actors of one token, inside one another (RFC 8693 §4.1). A longer chain is nobody's, and each is a level of nesting
/// that somebody's policy walks through.
const ACTORS_MAX: usize = 8;

/// The claims of a token whose signature, issuer, audience and times are verified. Only [`super::verify`] makes them.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Claims {
    /// The verified issuer: `iss`, or for JWT-SVIDs, whose `iss` means nothing, the name under which the issuer is
    /// configured. A claim means something only together with it (SPIFFE-ID §4.1.2).
    pub issuer: String,
    /// For a JWT-SVID the trust domain whose keys verified it; only that domain vouches for its claims.
    pub trust_domain: Option<TrustDomain>,
    /// `sub`.
    pub subject: Option<String>,
    /// `exp`, without leeway, rounded down to a second.
    pub expires_at: UnixTime,
    /// `kid` of the token's header.
    pub key_id: Option<String>,
    /// The RFC 7638 thumbprint of the key that verified it: a remembered token falls when its key leaves.
    pub key_thumbprint_sha256: [u8; 32],
    /// SHA-256 of the whole token, which is what may stand in a log instead of it.
    pub token_sha256: [u8; 32],
    /// All claims, as the policy sees them.
    pub members: Map<String, Value>,
    pub(crate) binding: Binding,
}

/// What the token is bound to (RFC 7800): to neither, to one of the two, or to both, and then both are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Binding {
    /// RFC 8705 §3.1: the SHA-256 of the certificate of the connection that may use it.
    pub(crate) certificate: Option<[u8; 32]>,
    /// RFC 9449 §6.1: the thumbprint of the key that proves each request that may use it.
    pub(crate) key: Option<[u8; 32]>,
}

/// What the claims say, apart from the claims themselves.
pub(super) struct Judged {
    pub(super) subject: Option<String>,
    pub(super) expires_at: UnixTime,
    pub(super) binding: Binding,
}

impl Claims {
    /// True while the token may be used; leeway is only for accepting it.
    #[must_use]
    pub fn is_valid_at(&self, now: UnixTime) -> bool {
        now < self.expires_at
    }

    /// That all the token is bound to is there: the certificate on the connection, the key in the request's proof.
    pub(crate) fn check_binding(&self, peer: &Peer, proof: Option<&Proof>) -> Result<(), TokenError> {
        if self.binding.certificate.is_some_and(|bound| bound != peer.fingerprint_sha256) {
            return Err(TokenError::Binding("it is bound to another certificate"));
        }
        match (self.binding.key, proof) {
            (None, None) => Ok(()),
            (Some(_), None) => Err(TokenError::ProofMissing),
            (Some(key), Some(proof)) if proof.is_of(&key, &self.token_sha256) => Ok(()),
            (Some(_) | None, Some(_)) => Err(TokenError::Binding("the proof is for another token or key")),
        }
    }
}

/// Judges the claims of a token whose signature has been verified.
pub(super) fn judge(
    claims: &Map<String, Value>,
    issuer: &Issuer,
    now: UnixTime,
) -> Result<Judged, TokenError> {
    check_audience(claims, issuer)?;
    let expires_at = check_times(claims, issuer, now)?;
    let subject = text(claims, "sub")?;
    // Where the issuer is chosen by the subject, nobody has looked at `iss` yet.
    text(claims, "iss")?;
    text(claims, "jti")?;
    check_actors(claims)?;
    match &issuer.profile {
        Profile::AccessToken => {
            for name in ["sub", "client_id", "jti"] {
                required(text(claims, name)?, name)?;
            }
            required(claims.get("iat"), "iat")?;
        }
        Profile::Generic => {}
        Profile::JwtSvid(trust_domain) => check_spiffe_subject(subject, trust_domain)?,
        Profile::KubernetesServiceAccount => kubernetes::check(claims, subject)?,
        Profile::TransactionToken => check_transaction(claims)?,
    }
    let binding = binding(claims)?;
    issuer.sender_constraint.check(&binding)?;
    Ok(Judged { subject: subject.map(str::to_owned), expires_at, binding })
}

/// RFC 8725 §3.9: exact comparison with one of our own names.
fn check_audience(claims: &Map<String, Value>, issuer: &Issuer) -> Result<(), TokenError> {
    let is_ours = |audience: &str| issuer.audiences.iter().any(|own| own == audience);
    let ours = match required(claims.get("aud"), "aud")? {
        Value::String(audience) => is_ours(audience),
        Value::Array(audiences) => {
            let mut found = false;
            for audience in audiences {
                found |= is_ours(audience.as_str().ok_or_else(|| wrong_type("aud"))?);
            }
            found
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => return Err(wrong_type("aud")),
    };
    if ours { Ok(()) } else { Err(TokenError::Audience) }
}

fn check_times(claims: &Map<String, Value>, issuer: &Issuer, now: UnixTime) -> Result<UnixTime, TokenError> {
    let expires = required(date(claims, "exp", f64::floor)?, "exp")?;
    let now_s = now.as_secs();
    if now_s >= expires.saturating_add(issuer.leeway_s) {
        return Err(TokenError::Expired { at: expires });
    }
    let issued = date(claims, "iat", f64::floor)?;
    let begin = date(claims, "nbf", f64::ceil)?;
    if let Some(at) = [issued, begin].into_iter().flatten().max()
        && at > now_s.saturating_add(issuer.leeway_s)
    {
        return Err(TokenError::NotYetValid { at });
    }
    if let Some(max) = issuer.lifetime_s_max {
        let issued = required(issued, "iat")?;
        if expires.saturating_sub(issued) > max {
            return Err(TokenError::Lifetime { max });
        }
    }
    Ok(UnixTime::since_unix_epoch(Duration::from_secs(expires)))
}

fn check_spiffe_subject(subject: Option<&str>, trust_domain: &TrustDomain) -> Result<(), TokenError> {
    let id: SpiffeId = required(subject, "sub")?.parse().map_err(|_| claim("sub", "is not a SPIFFE ID"))?;
    if id.trust_domain() != trust_domain {
        return Err(claim("sub", "is of another trust domain"));
    }
    if id.path().is_empty() {
        return Err(claim("sub", "names a trust domain, not a workload"));
    }
    Ok(())
}

/// draft-ietf-oauth-transaction-tokens §5.2.
fn check_transaction(claims: &Map<String, Value>) -> Result<(), TokenError> {
    for name in ["txn", "sub", "scope", "req_wl"] {
        required(text(claims, name)?, name)?;
    }
    required(claims.get("iat"), "iat")?;
    for name in ["tctx", "rctx"] {
        if claims.get(name).is_some_and(|context| !context.is_object()) {
            return Err(wrong_type(name));
        }
    }
    Ok(())
}

/// RFC 8693 §4.1: who acts for the subject, and for whom that one acts. Policy may read it; it is nobody's identity.
fn check_actors(claims: &Map<String, Value>) -> Result<(), TokenError> {
    let mut actor = claims.get("act");
    for _ in 0..ACTORS_MAX {
        match actor {
            None => return Ok(()),
            Some(Value::Object(members)) => actor = members.get("act"),
            Some(_) => return Err(wrong_type("act")),
        }
    }
    if actor.is_some() { Err(claim("act", "names more than 8 actors")) } else { Ok(()) }
}

/// A proof that is not verified here must not be passed over: the token was issued on the condition that it is.
fn binding(claims: &Map<String, Value>) -> Result<Binding, TokenError> {
    let Some(confirmation) = claims.get("cnf") else {
        return Ok(Binding::default());
    };
    let members = confirmation.as_object().filter(|members| !members.is_empty()).ok_or_else(cnf)?;
    let mut binding = Binding::default();
    for (name, value) in members {
        let place = match name.as_str() {
            "x5t#S256" => &mut binding.certificate,
            "jkt" => &mut binding.key,
            _ => {
                return Err(TokenError::Binding(
                    "it is bound by a proof of possession that is not known here",
                ));
            }
        };
        let digest = URL_SAFE_NO_PAD.decode(value.as_str().ok_or_else(cnf)?).map_err(|_| cnf())?;
        *place = Some(digest.try_into().map_err(|_| cnf())?);
    }
    Ok(binding)
}

fn cnf() -> TokenError {
    claim("cnf", "is not a confirmation by digests of 32 bytes")
}

/// RFC 7519 §2 NumericDate: seconds, possibly with a fraction.
pub(crate) fn date(
    claims: &Map<String, Value>,
    name: &'static str,
    round: fn(f64) -> f64,
) -> Result<Option<u64>, TokenError> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    let number: &Number = value.as_number().ok_or_else(|| wrong_type(name))?;
    let seconds = round(number.as_f64().ok_or_else(|| wrong_type(name))?);
    if !(0.0..=NUMERIC_DATE_MAX).contains(&seconds) {
        return Err(claim(name, "is not a date between 1970 and 9999"));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole, not negative and below 2^38 by the lines above"
    )]
    Ok(Some(seconds as u64))
}

pub(super) fn text<'a>(
    claims: &'a Map<String, Value>,
    name: &'static str,
) -> Result<Option<&'a str>, TokenError> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(wrong_type(name)),
    }
}

pub(super) fn required<T>(value: Option<T>, name: &'static str) -> Result<T, TokenError> {
    value.ok_or_else(|| claim(name, "is missing"))
}

pub(super) fn wrong_type(name: &'static str) -> TokenError {
    claim(name, "has the wrong type")
}

pub(super) fn claim(name: &'static str, problem: &'static str) -> TokenError {
    TokenError::Claim { name, problem }
}
