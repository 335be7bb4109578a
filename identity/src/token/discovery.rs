//! What an issuer says about itself (OpenID Connect Discovery 1.0 §§3, 4.3; RFC 8414 §§2, 3.3).

use serde_json::Value;

use super::compact::quote;
use crate::json::{self, Limits};

/// The largest metadata document in bytes.
pub const METADATA_BYTES_MAX: usize = 128 * 1024;

const LIMITS: Limits = Limits { depth_max: 8, values_max: 8 * 1024 };

/// Why metadata are not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DiscoveryError {
    /// Beyond [`METADATA_BYTES_MAX`].
    #[error("the metadata have {0} bytes, at most 131072 are read")]
    TooLarge(usize),
    /// Not a JSON object, or one that repeats a member.
    #[error("the metadata cannot be read: {0}")]
    Malformed(String),
    /// OpenID Connect Discovery §4.3: another issuer's metadata would bring another issuer's keys.
    #[error(
        "the metadata are those of the issuer `{found}`, not of `{expected}`: write the issuer exactly so"
    )]
    Issuer {
        /// What they say, cut short.
        found: String,
        /// Whom they were asked for.
        expected: String,
    },
    /// There is no `jwks_uri` that is a string.
    #[error("the metadata have no `jwks_uri`")]
    NoKeys,
}

/// Where the keys of `issuer` are, out of its metadata. Whether that URL may be followed is judged by who follows it.
///
/// # Errors
/// When the document is too large, no JSON object, or not about this issuer, compared byte by byte.
pub fn jwks_uri(document: &[u8], issuer: &str) -> Result<String, DiscoveryError> {
    if document.len() > METADATA_BYTES_MAX {
        return Err(DiscoveryError::TooLarge(document.len()));
    }
    let malformed = |what: &str| DiscoveryError::Malformed(quote(what));
    let members = match json::parse(document, LIMITS) {
        Ok(Value::Object(members)) => members,
        Ok(_) => return Err(malformed("not a JSON object")),
        Err(error) => return Err(malformed(&error.to_string())),
    };
    match members.get("issuer").and_then(Value::as_str) {
        Some(found) if found == issuer => {}
        found => {
            let found = quote(found.unwrap_or("(none)"));
            return Err(DiscoveryError::Issuer { found, expected: issuer.to_owned() });
        }
    }
    members.get("jwks_uri").and_then(Value::as_str).map(str::to_owned).ok_or(DiscoveryError::NoKeys)
}
