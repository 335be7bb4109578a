//! Bearer tokens: JWTs of OAuth issuers (RFC 9068, RFC 8725) and JWT-SVIDs, in JWS compact serialisation.
//!
//! `jsonwebtoken` parses the key parameters of a JWK; the rest is done here, because of what that crate lets pass: it
//! reads `crit` and ignores it, checks `iss` and `aud` only when they are present and well-typed, keeps the last of two
//! equal claims, has no ES512, and turns keys marked for encryption into verification keys.

mod algorithm;
mod claims;
mod compact;
mod discovery;
mod issuer;
mod keys;
mod kubernetes;
mod verify;

pub use algorithm::{Algorithm, UnknownAlgorithm};
pub use claims::Claims;
pub(crate) use claims::date;
pub(crate) use compact::{Compact, quote};
pub use discovery::{DiscoveryError, METADATA_BYTES_MAX, jwks_uri};
pub use issuer::{
    Issuer, IssuerError, KUBERNETES_LIFETIME_S_DEFAULT, LEEWAY_S_DEFAULT, LEEWAY_S_MAX, Profile,
    SenderConstraint, TOKEN_BYTES_DEFAULT, TOKEN_BYTES_MAX,
};
pub(crate) use keys::{Candidates, Key};
pub use keys::{IgnoredKey, KEY_SET_BYTES_MAX, KEYS_MAX, KeySet, KeySetError};
pub use verify::{TokenError, verify, verify_transaction};

#[cfg(test)]
pub(crate) mod tests;
