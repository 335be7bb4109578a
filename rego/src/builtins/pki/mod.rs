//! What the groups `jwt`, `crypto` and `certificates` share: keys, certificates and signatures as Go reads, writes and
//! verifies them.
pub(crate) mod base64;
pub(crate) mod certificate;
pub(crate) mod chain;
mod constraints;
pub(crate) mod der;
pub(crate) mod extensions;
pub(crate) mod json;
pub(crate) mod jwk;
pub(crate) mod keys;
pub(crate) mod names;
pub(crate) mod pem;
mod policies;
pub(crate) mod private;
pub(crate) mod signature;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod text;
pub(crate) mod time;
pub(crate) mod url;
