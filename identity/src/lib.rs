//! Who is calling: SPIFFE IDs, X.509-SVIDs, trust bundles, the TLS verifiers built on them, and bearer tokens.
//!
//! This crate is pure. Bytes and `now` go in, values come out: no sockets, no files, no clock, no async. What it
//! hands out is proof: a [`Peer`] is made by [`verify_chain`] alone, [`token::Claims`] by [`token::verify`] alone, and
//! a [`Principal`] joins them only when the token may be used by that peer.
//!
//! Names of the specifications in the comments: SPIFFE-ID, X509-SVID, JWT-SVID and Trust_Domain_and_Bundle are the
//! documents of github.com/spiffe/spiffe, by section.
#![forbid(unsafe_code)]

mod bundle;
mod id;
mod json;
mod pem;
pub mod pop;
mod principal;
mod svid;
#[cfg(test)]
mod testing;
pub mod tls;
pub mod token;
mod x509;

pub use bundle::{
    AUTHORITIES_MAX, Authority, BUNDLE_BYTES_MAX, BundleError, BundleMap, TrustBundle, TrustBundles,
};
pub use id::{IdError, SpiffeId, TrustDomain};
pub use principal::Principal;
pub use svid::{SvidError, X509Svid};
pub use x509::chain::{Peer, Role, verify_chain};
pub use x509::error::VerifyError;
pub use x509::revocation::{
    REVOCATION_LIST_BYTES_MAX, REVOCATION_LISTS_MAX, RevocationError, RevocationList, RevocationMode,
};
pub use x509::subject::subject_rfc2253;
pub use x509::{CERTIFICATE_BYTES_MAX, CHAIN_BYTES_MAX, INTERMEDIATES_MAX};

/// The times of this crate: seconds since 1970-01-01T00:00:00Z, as rustls takes them.
pub use rustls_pki_types::UnixTime;
