//! Mutual TLS on top of [`crate::verify_chain`]: thin adapters, so that the handshake and every later judgement agree.
//!
//! Both directions: TLS 1.3 only, certificates on both sides, a post-quantum hybrid key exchange first, no session
//! tickets, no resumption and no 0-RTT, because rustls does not ask the verifier again on a resumed session and a
//! revoked peer would come back in.

mod client;
mod memory;
mod server;
mod signatures;
#[cfg(test)]
mod tests;

use std::error::Error as StdError;
use std::fmt::Debug;
use std::sync::Arc;

pub use client::client_config;
use rustls::crypto::CryptoProvider;
use rustls::time_provider::TimeProvider;
use rustls::{CertificateError, OtherError};
use rustls_pki_types::CertificateDer;
pub use server::{Proven, ServerTls};

use crate::bundle::TrustBundles;
use crate::id::{SpiffeId, TrustDomain};
use crate::svid::X509Svid;
use crate::x509::error::VerifyError;

/// What handshakes are made with. It is asked once per handshake, so that material of one revision is never used after
/// the next one is published.
pub trait Material: Debug + Send + Sync {
    /// The trust bundles in force.
    fn trust(&self) -> Arc<TrustBundles>;
    /// Our own SVID, when we have one. Without one no handshake succeeds, in either direction.
    fn svid(&self) -> Option<Arc<X509Svid>>;
}

/// Why a TLS configuration cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A listener that accepts nobody is a mistake.
    #[error("no trust domain is accepted")]
    NoTrustDomain,
    /// An upstream of which nothing is expected is a mistake.
    #[error("no peer is expected")]
    NoPeer,
    /// A build that promises FIPS must not run without.
    #[error("this build is to use the FIPS module of AWS-LC, and what was linked is another one")]
    NotFips,
    /// The crypto provider does not offer what TLS 1.3 needs.
    #[error("the TLS library refuses the configuration: {0}")]
    Library(#[from] rustls::Error),
}

/// The trust domains whose workloads may call: at least one, and never implicitly "all that have a bundle".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedTrustDomains(Box<[TrustDomain]>);

impl AcceptedTrustDomains {
    /// From a list.
    ///
    /// # Errors
    /// When it is empty.
    pub fn new(names: Vec<TrustDomain>) -> Result<Self, TlsError> {
        if names.is_empty() { Err(TlsError::NoTrustDomain) } else { Ok(Self(names.into())) }
    }

    /// True when workloads of this trust domain may call.
    #[must_use]
    pub fn contains(&self, name: &TrustDomain) -> bool {
        self.0.contains(name)
    }
}

/// Who may answer at the other end of a connection that we open: exact IDs, whole trust domains, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedPeers {
    ids: Box<[SpiffeId]>,
    trust_domains: Box<[TrustDomain]>,
}

impl ExpectedPeers {
    /// From a list of IDs and a list of trust domains.
    ///
    /// # Errors
    /// When both are empty.
    pub fn new(ids: Vec<SpiffeId>, trust_domains: Vec<TrustDomain>) -> Result<Self, TlsError> {
        if ids.is_empty() && trust_domains.is_empty() {
            return Err(TlsError::NoPeer);
        }
        Ok(Self { ids: ids.into(), trust_domains: trust_domains.into() })
    }

    /// True when this peer may answer.
    #[must_use]
    pub fn contains(&self, id: &SpiffeId) -> bool {
        self.ids.contains(id) || self.trust_domains.contains(id.trust_domain())
    }
}

/// What went wrong in a handshake, for the record: the verifier's own code where it refused the peer, else the side and
/// kind of the fault. `error` is the error of the handshake, an `io::Error` around a `rustls::Error` or that itself.
///
/// Codes: those of [`VerifyError::code`], `tls.no_certificate`, `tls.not_tls`, `tls.incompatible`, `tls.alert`,
/// `tls.own_identity`, `tls.closed` (the peer went away), `tls.protocol`.
#[must_use]
pub fn code(error: &(dyn StdError + 'static)) -> &'static str {
    if let Some(refused) = verify_error(error) {
        return refused.code();
    }
    let Some(tls) = find::<rustls::Error>(error) else {
        return "tls.closed";
    };
    library_code(tls)
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the error is the TLS library's and grows; what is new there is a protocol fault here"
)]
fn library_code(error: &rustls::Error) -> &'static str {
    use rustls::{Error as E, InvalidMessage};
    match error {
        E::NoCertificatesPresented => "tls.no_certificate",
        E::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::UnknownProtocolVersion
            | InvalidMessage::InvalidEmptyPayload
            | InvalidMessage::MessageTooLarge,
        ) => "tls.not_tls",
        E::PeerIncompatible(_) | E::NoApplicationProtocol => "tls.incompatible",
        E::AlertReceived(_) => "tls.alert",
        E::General(_) | E::Other(_) | E::FailedToGetCurrentTime | E::FailedToGetRandomBytes => {
            "tls.own_identity"
        }
        _ => "tls.protocol",
    }
}

/// The verifier's refusal inside the error of a handshake, if that is what ended it.
#[must_use]
pub fn verify_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a VerifyError> {
    if let Some(refused) = error.downcast_ref::<VerifyError>() {
        return Some(refused);
    }
    let tls = find::<rustls::Error>(error)?;
    let rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) = tls else {
        return None;
    };
    inner.downcast_ref()
}

/// An error of this type in the chain of causes. `io::Error` hides what it carries from `source()` of its first level,
/// so it is opened by hand.
fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    // No chain of causes is long; a bound keeps a cyclic one from hanging us.
    for _ in 0..16 {
        let current = next?;
        if let Some(found) = current.downcast_ref::<T>() {
            return Some(found);
        }
        next = match current.downcast_ref::<std::io::Error>() {
            Some(io) => io.get_ref().map(|inner| inner as &(dyn StdError + 'static)),
            None => current.source(),
        };
    }
    None
}

fn refused(error: VerifyError) -> rustls::Error {
    rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
}

/// Whether this build uses the FIPS module of AWS-LC, and nothing that it does not approve.
pub const IS_FIPS: bool = cfg!(feature = "fips");

/// Refuses what a build with the feature `fips` must not do.
fn require_fips(is_fips: bool) -> Result<(), TlsError> {
    if IS_FIPS && !is_fips { Err(TlsError::NotFips) } else { Ok(()) }
}

/// The crypto of every connection, named explicitly: the process-wide default belongs to nobody.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Hands out our SVID while it is valid; an expired one would only produce a puzzling refusal at the other end.
#[derive(Debug)]
struct OwnSvid {
    material: Arc<dyn Material>,
    time: Arc<dyn TimeProvider>,
}

impl OwnSvid {
    fn current(&self) -> Option<Arc<X509Svid>> {
        let svid = self.material.svid()?;
        let now = self.time.current_time()?;
        (now <= svid.not_after()).then_some(svid)
    }
}

/// rustls hands leaf and intermediates apart; a chain is one slice. Only references are copied.
fn chain_of<'a>(
    leaf: &'a CertificateDer<'_>,
    intermediates: &'a [CertificateDer<'_>],
) -> Vec<CertificateDer<'a>> {
    std::iter::once(leaf).chain(intermediates).map(|der| CertificateDer::from(der.as_ref())).collect()
}
