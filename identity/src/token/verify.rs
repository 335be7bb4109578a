//! One token, from its bytes to its claims.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use rustls_pki_types::UnixTime;
use serde_json::{Map, Value};

use super::claims::{self, Claims};
use super::compact::{Compact, Header, quote};
use super::issuer::{Issuer, Profile};
use super::keys::{Candidates, Key, KeySet};
use crate::id::SpiffeId;

/// Why a token is not accepted. Each variant has a stable reason code, [`TokenError::code`]. Its text is for the
/// operator; it never holds the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// More bytes than allowed.
    #[error("the token has {bytes} bytes, at most {max} are taken")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Not a JWS in compact serialisation, or one that two readers would read differently.
    #[error("the token is malformed: {0}")]
    Malformed(String),
    /// RFC 8725 §3.11.
    #[error("the token is of the type `{}`, which this issuer's tokens are not", .0.as_deref().unwrap_or("(none)"))]
    Type(Option<String>),
    /// RFC 8725 §3.1.
    #[error("the algorithm `{0}` is not allowed for the token's issuer or key")]
    Algorithm(String),
    /// RFC 7515 §4.1.11.
    #[error("the token has critical extensions (`crit`, `b64`), none is understood")]
    Crit,
    /// No issuer of that name is configured.
    #[error("the issuer `{0}` is not accepted")]
    Issuer(String),
    /// The issuer has no such key; it may have a new one that has not been fetched yet.
    #[error("the issuer has no key `{}`", .key_id.as_deref().unwrap_or("(none)"))]
    KeyUnknown {
        /// The place of the issuer in the list given to [`verify`].
        issuer: usize,
        /// `kid` of the token.
        key_id: Option<String>,
    },
    /// The issuer's keys could not be had, which is not the caller's fault.
    #[error("the keys of the token's issuer are not available")]
    KeysUnavailable {
        /// The place of the issuer in the list given to [`verify`].
        issuer: usize,
    },
    /// The signature does not fit.
    #[error("the signature of the token is wrong")]
    Signature,
    /// `exp` has passed.
    #[error("the token expired at {at}")]
    Expired {
        /// `exp`, in seconds.
        at: u64,
    },
    /// `nbf` or `iat` is still to come.
    #[error("the token is not valid before {at}")]
    NotYetValid {
        /// The later of the two, in seconds.
        at: u64,
    },
    /// None of the audiences is ours.
    #[error("the token is for another audience")]
    Audience,
    /// It lives longer than the issuer's tokens may.
    #[error("the token lives longer than {max} s")]
    Lifetime {
        /// The limit, in seconds.
        max: u64,
    },
    /// A claim is missing or not what it has to be.
    #[error("the claim `{name}` {problem}")]
    Claim {
        /// Its name.
        name: &'static str,
        /// What is wrong.
        problem: &'static str,
    },
    /// The token is bound to a key that this caller has not proven (RFC 7800, RFC 8705).
    #[error("the token may not be used here: {0}")]
    Binding(&'static str),
    /// RFC 9449 §7.2: the token is bound to a key, and was brought like one that is not.
    #[error("the token may be used only with the scheme `DPoP` and a proof of the key it is bound to")]
    ProofMissing,
}

impl TokenError {
    /// The stable reason code, family `token` or `keys`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "token.too_large",
            Self::Malformed(_) => "token.malformed",
            Self::Type(_) => "token.type",
            Self::Algorithm(_) => "token.algorithm",
            Self::Crit => "token.crit",
            Self::Issuer(_) => "token.issuer",
            Self::KeyUnknown { .. } => "token.key_unknown",
            Self::KeysUnavailable { .. } => "keys.unavailable",
            Self::Signature => "token.signature",
            Self::Expired { .. } => "token.expired",
            Self::NotYetValid { .. } => "token.not_yet_valid",
            Self::Audience => "token.audience",
            Self::Lifetime { .. } => "token.lifetime",
            Self::Claim { .. } => "token.claims",
            Self::Binding(_) => "token.binding",
            Self::ProofMissing => "token.dpop_missing",
        }
    }

    /// The issuer (by place) whose keys should be fetched again before the token is tried once more.
    #[must_use]
    pub fn unknown_key(&self) -> Option<usize> {
        match self {
            Self::KeyUnknown { issuer, .. } | Self::KeysUnavailable { issuer } => Some(*issuer),
            Self::TooLarge { .. }
            | Self::Malformed(_)
            | Self::Type(_)
            | Self::Algorithm(_)
            | Self::Crit
            | Self::Issuer(_)
            | Self::Signature
            | Self::Expired { .. }
            | Self::NotYetValid { .. }
            | Self::Audience
            | Self::Lifetime { .. }
            | Self::Claim { .. }
            | Self::Binding(_)
            | Self::ProofMissing => None,
        }
    }
}

/// Verifies a token in compact serialisation, without the scheme in front of it.
///
/// `keys` gives the current keys of an issuer by its place in `issuers`. The unverified issuer only chooses terms and
/// keys; the claims are looked at when the signature holds.
///
/// # Errors
/// Each rule that is broken, as a [`TokenError`].
pub fn verify(
    compact: &str,
    issuers: &[Issuer],
    keys: &dyn Fn(usize) -> Option<Arc<KeySet>>,
    now: UnixTime,
) -> Result<Claims, TokenError> {
    verify_with(compact, issuers, keys, (now, select))
}

/// Verifies a transaction token, on the terms of those issuers alone that have the profile
/// [`Profile::TransactionToken`]. Its claims are a statement about the call, and nobody's identity.
///
/// # Errors
/// As [`verify`].
pub fn verify_transaction(
    compact: &str,
    issuers: &[Issuer],
    keys: &dyn Fn(usize) -> Option<Arc<KeySet>>,
    now: UnixTime,
) -> Result<Claims, TokenError> {
    verify_with(compact, issuers, keys, (now, select_transaction))
}

type Select = for<'a> fn(&Map<String, Value>, &'a [Issuer]) -> Result<(usize, &'a Issuer), TokenError>;

fn verify_with(
    compact: &str,
    issuers: &[Issuer],
    keys: &dyn Fn(usize) -> Option<Arc<KeySet>>,
    (now, select): (UnixTime, Select),
) -> Result<Claims, TokenError> {
    let token = Compact::parse(compact)?;
    let members = token.claims()?;
    let (place, issuer) = select(&members, issuers)?;
    if compact.len() > issuer.token_bytes_max {
        return Err(TokenError::TooLarge { bytes: compact.len(), max: issuer.token_bytes_max });
    }
    token.header.check_profile(&issuer.profile)?;
    if !issuer.algorithms.contains(&token.header.algorithm) {
        return Err(TokenError::Algorithm(token.header.algorithm.to_string()));
    }
    // JWT-SVID §2.2 makes `kid` optional; SPIFFE's own libraries require it, and so do we: guessing helps nobody.
    if matches!(issuer.profile, Profile::JwtSvid(_)) && token.header.key_id.is_none() {
        return Err(TokenError::Malformed("its header has no `kid`".to_owned()));
    }
    let set = keys(place).ok_or(TokenError::KeysUnavailable { issuer: place })?;
    let key = verify_signature(&token, place, &set)?;
    let judged = claims::judge(&members, issuer, now)?;
    let mut token_sha256 = [0; 32];
    token_sha256.copy_from_slice(digest(&SHA256, compact.as_bytes()).as_ref());
    Ok(Claims {
        // Equal to `iss` where the issuer was chosen by it; what a JWT-SVID says of its issuer is nobody's name.
        issuer: issuer.issuer.clone(),
        trust_domain: issuer.trust_domain().cloned(),
        subject: judged.subject,
        expires_at: judged.expires_at,
        key_id: token.header.key_id,
        key_thumbprint_sha256: key.thumbprint,
        token_sha256,
        binding: judged.binding,
        members,
    })
}

fn issuer_name(claims: &Map<String, Value>) -> Option<&str> {
    claims.get("iss").and_then(Value::as_str)
}

/// By `iss`, compared exactly (RFC 8725 §3.8); a JWT-SVID, whose `iss` means nothing, by its subject's trust domain.
fn select<'a>(claims: &Map<String, Value>, issuers: &'a [Issuer]) -> Result<(usize, &'a Issuer), TokenError> {
    let name = issuer_name(claims);
    let subject: Option<SpiffeId> =
        claims.get("sub").and_then(Value::as_str).and_then(|sub| sub.parse().ok());
    let by_name = issuers.iter().enumerate().find(|(_, issuer)| match issuer.profile {
        Profile::AccessToken | Profile::Generic | Profile::KubernetesServiceAccount => {
            name == Some(issuer.issuer.as_str())
        }
        Profile::JwtSvid(_) | Profile::TransactionToken => false,
    });
    let by_subject = || {
        issuers.iter().enumerate().find(|(_, issuer)| match &issuer.profile {
            Profile::JwtSvid(domain) => subject.as_ref().is_some_and(|id| id.trust_domain() == domain),
            Profile::AccessToken
            | Profile::Generic
            | Profile::KubernetesServiceAccount
            | Profile::TransactionToken => false,
        })
    };
    found(by_name.or_else(by_subject), claims)
}

/// By `iss` too; one without `iss`, which a transaction token need not have, by being the only one.
fn select_transaction<'a>(
    claims: &Map<String, Value>,
    issuers: &'a [Issuer],
) -> Result<(usize, &'a Issuer), TokenError> {
    let mut of_transactions = issuers.iter().enumerate().filter(|(_, issuer)| issuer.is_of_transactions());
    let chosen = match claims.get("iss") {
        None => of_transactions.next().filter(|_| of_transactions.next().is_none()),
        Some(name) => of_transactions.find(|(_, issuer)| name.as_str() == Some(issuer.issuer.as_str())),
    };
    found(chosen, claims)
}

fn found<'a>(
    chosen: Option<(usize, &'a Issuer)>,
    claims: &Map<String, Value>,
) -> Result<(usize, &'a Issuer), TokenError> {
    match (chosen, claims.get("iss")) {
        (Some(found), _) => Ok(found),
        (None, Some(Value::String(name))) => Err(TokenError::Issuer(quote(name))),
        (None, Some(_)) => Err(TokenError::Claim { name: "iss", problem: "has the wrong type" }),
        (None, None) => Err(TokenError::Claim { name: "iss", problem: "is missing" }),
    }
}

pub(super) fn verify_signature<'a>(
    token: &Compact<'_>,
    place: usize,
    set: &'a KeySet,
) -> Result<&'a Key, TokenError> {
    let Header { algorithm, key_id, .. } = &token.header;
    let candidates = match set.candidates(key_id.as_deref(), *algorithm) {
        Candidates::These(keys) => keys,
        Candidates::OtherAlgorithm => return Err(TokenError::Algorithm(algorithm.to_string())),
        Candidates::Ambiguous => {
            return Err(TokenError::Malformed(
                "its header names no key, and its issuer has too many to try".to_owned(),
            ));
        }
        Candidates::Unknown => {
            return Err(TokenError::KeyUnknown { issuer: place, key_id: key_id.as_deref().map(quote) });
        }
    };
    candidates
        .into_iter()
        .find(|(_, verifier)| verifier.verify_sig(token.signed, &token.signature).is_ok())
        .map(|(key, _)| key)
        .ok_or(TokenError::Signature)
}
