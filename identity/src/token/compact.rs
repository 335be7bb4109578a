//! The outside of a token: three segments, their encoding, and the header (RFC 7515 §§3.1, 4, 5.2).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::issuer::{Profile, TOKEN_BYTES_MAX};
use super::verify::TokenError;
use crate::json::{self, Limits};

const HEADER_LIMITS: Limits = Limits { depth_max: 4, values_max: 64 };
const CLAIMS_LIMITS: Limits = Limits { depth_max: 16, values_max: 2048 };
/// RFC 7515 §4.1.4 leaves `kid` open; a longer one is nobody's key.
const KEY_ID_BYTES_MAX: usize = 256;
/// Claims at the top level.
const CLAIMS_MAX: usize = 64;

/// A token taken apart. Nothing in it is believed yet.
pub(crate) struct Compact<'a> {
    pub(crate) header: Header,
    payload: Vec<u8>,
    /// What was signed: the first two segments as they came.
    pub(crate) signed: &'a [u8],
    pub(crate) signature: Vec<u8>,
}

pub(crate) struct Header {
    pub(crate) algorithm: Algorithm,
    pub(crate) key_id: Option<String>,
    pub(crate) typ: Option<String>,
    /// The key that a proof of possession carries. No token is verified with it.
    pub(crate) jwk: Option<Value>,
    /// A member besides `alg`, `kid` and `typ`.
    foreign_member: Option<String>,
}

impl<'a> Compact<'a> {
    pub(crate) fn parse(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLarge { bytes: token.len(), max: TOKEN_BYTES_MAX });
        }
        let (signed, signature) =
            token.rsplit_once('.').ok_or_else(|| malformed("it has no three segments"))?;
        let (header, payload) =
            signed.split_once('.').ok_or_else(|| malformed("it has no three segments"))?;
        if payload.contains('.') {
            return Err(malformed("it has more than three segments"));
        }
        let header = Header::parse(object(&decode(header, "header")?, HEADER_LIMITS, "header")?)?;
        Ok(Self {
            header,
            payload: decode(payload, "payload")?,
            signed: signed.as_bytes(),
            signature: decode(signature, "signature")?,
        })
    }

    /// The claims, unverified.
    pub(crate) fn claims(&self) -> Result<Map<String, Value>, TokenError> {
        let claims = object(&self.payload, CLAIMS_LIMITS, "payload")?;
        if claims.len() > CLAIMS_MAX {
            return Err(malformed("it has more than 64 claims"));
        }
        Ok(claims)
    }
}

impl Header {
    fn parse(mut members: Map<String, Value>) -> Result<Self, TokenError> {
        // RFC 7515 §4.1.11: we understand no extension, so every `crit` names one that is not understood. The others
        // mean something only as extensions or belong to encrypted and nested tokens (RFC 8725 §3.3).
        if members.contains_key("crit") || members.contains_key("b64") {
            return Err(TokenError::Crit);
        }
        if let Some(name) = ["enc", "zip", "cty"].into_iter().find(|name| members.contains_key(*name)) {
            return Err(TokenError::Malformed(format!(
                "its header has `{name}`: encrypted and nested tokens are not taken"
            )));
        }
        let name = text(&mut members, "alg")?.ok_or_else(|| malformed("its header has no `alg`"))?;
        let algorithm = name.parse().map_err(|_| TokenError::Algorithm(quote(&name)))?;
        let key_id = text(&mut members, "kid")?;
        if key_id.as_ref().is_some_and(|id| id.len() > KEY_ID_BYTES_MAX) {
            return Err(malformed("its `kid` is longer than 256 bytes"));
        }
        Ok(Self {
            algorithm,
            key_id,
            typ: text(&mut members, "typ")?,
            jwk: members.get("jwk").cloned(),
            // `jku`, `x5u`, `jwk` and `x5c` are never followed: a token does not choose its own key (RFC 8725 §3.10).
            foreign_member: members.into_iter().next().map(|(name, _)| quote(&name)),
        })
    }

    /// The kinds of token are kept apart by `typ` (RFC 8725 §3.11): one kind never passes for another.
    pub(super) fn check_profile(&self, profile: &Profile) -> Result<(), TokenError> {
        let wrong = || TokenError::Type(self.typ.as_deref().map(quote));
        let typ = self.typ.as_ref().map(|typ| media_type(typ));
        match (profile, typ.as_deref()) {
            (Profile::AccessToken | Profile::Generic, Some("at+jwt"))
            | (Profile::TransactionToken, Some("txntoken+jwt"))
            | (Profile::Generic | Profile::KubernetesServiceAccount, Some("jwt") | None) => Ok(()),
            (
                Profile::AccessToken
                | Profile::Generic
                | Profile::KubernetesServiceAccount
                | Profile::TransactionToken,
                _,
            ) => Err(wrong()),
            (Profile::JwtSvid(_), _) => {
                if let Some(name) = &self.foreign_member {
                    return Err(TokenError::Malformed(format!(
                        "its header has `{name}`, which a JWT-SVID must not have"
                    )));
                }
                // JWT-SVID §2.3 names the two exactly.
                match self.typ.as_deref() {
                    None | Some("JWT" | "JOSE") => Ok(()),
                    Some(_) => Err(wrong()),
                }
            }
        }
    }
}

/// RFC 7515 §4.1.9: compared without case, and `application/` may be left out.
fn media_type(typ: &str) -> String {
    let lower = typ.to_ascii_lowercase();
    match lower.strip_prefix("application/") {
        Some(rest) if !rest.contains('/') => rest.to_owned(),
        Some(_) | None => lower,
    }
}

fn text(members: &mut Map<String, Value>, name: &str) -> Result<Option<String>, TokenError> {
    match members.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(TokenError::Malformed(format!("its header's `{name}` is not a string"))),
    }
}

fn object(document: &[u8], limits: Limits, what: &str) -> Result<Map<String, Value>, TokenError> {
    match json::parse(document, limits) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(TokenError::Malformed(format!("its {what} is not a JSON object"))),
        Err(error) => Err(TokenError::Malformed(format!("its {what}: {}", quote(&error.to_string())))),
    }
}

/// RFC 7515 §2: no padding, no white space, no stray bits, so that a token has one spelling.
fn decode(segment: &str, what: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(segment).map_err(|_| TokenError::Malformed(format!("its {what} is not base64url")))
}

fn malformed(problem: &str) -> TokenError {
    TokenError::Malformed(problem.to_owned())
}

/// A stranger's text in our error, cut short.
pub(crate) fn quote(text: &str) -> String {
    text.chars().take(128).collect()
}
