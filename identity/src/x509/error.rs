//! Why a peer's certificates were refused.

use rustls_pki_types::UnixTime;

use crate::id::{IdError, SpiffeId, TrustDomain};

/// Why a chain does not prove a SPIFFE ID. Each variant has a stable reason code, [`VerifyError::code`].
///
/// It travels through rustls inside a `CertificateError::Other`; [`crate::tls::verify_error`] finds it again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The peer sent an empty chain.
    #[error("the peer presented no certificate")]
    NoCertificate,
    /// More intermediates than [`crate::INTERMEDIATES_MAX`].
    #[error("the chain has {0} certificates, at most 7 are read")]
    ChainTooLong(usize),
    /// More bytes than [`crate::CERTIFICATE_BYTES_MAX`] in one certificate or [`crate::CHAIN_BYTES_MAX`] in all.
    #[error("the chain has {0} bytes or a certificate too large to be read")]
    ChainTooLarge(usize),
    /// The leaf is not a certificate, or one of the extensions that matter cannot be read.
    #[error("the leaf certificate cannot be read: {0}")]
    Malformed(String),
    /// X509-SVID §2: exactly one URI.
    #[error("the leaf certificate has {0} URI names, an SVID has exactly one")]
    UriSanCount(usize),
    /// X509-SVID §5.2: the URI is a SPIFFE ID.
    #[error("the URI name `{text}` is not a SPIFFE ID: {cause}")]
    SpiffeId {
        /// The URI, cut after 256 characters.
        text: String,
        /// What is wrong with it.
        cause: IdError,
    },
    /// X509-SVID §3.1 and §5.2: the ID of a leaf has a path.
    #[error("`{0}` names a trust domain, a leaf certificate names a workload by a path")]
    PathMissing(SpiffeId),
    /// X509-SVID §4.1: the leaf is not a CA.
    #[error("the leaf certificate is a CA certificate")]
    Ca,
    /// X509-SVID §4.3: digitalSignature, and neither keyCertSign nor cRLSign.
    #[error("the leaf certificate's key usage {0}")]
    KeyUsage(&'static str),
    /// X509-SVID §4.4: an extended key usage that is present covers what the certificate is used for.
    #[error("the leaf certificate's extended key usage lacks {0}")]
    ExtendedKeyUsage(&'static str),
    /// X509-SVID §3.1: without a subject the alternative names are critical.
    #[error("the leaf certificate has no subject and its alternative names are not critical")]
    SanNotCritical,
    /// RSA below 2048 bits, or neither RSA, a NIST curve nor Ed25519.
    #[error(
        "the leaf certificate's key is {0}; RSA of at least 2048 bits, P-256, P-384, P-521 or Ed25519 is needed"
    )]
    Key(String),
    /// There is no trust bundle for the trust domain that the leaf names.
    #[error("there is no trust bundle for the trust domain `{0}`")]
    TrustDomainUnknown(TrustDomain),
    /// There is a bundle, but this listener does not accept the trust domain.
    #[error("the trust domain `{0}` is not accepted here")]
    TrustDomainNotAccepted(TrustDomain),
    /// The server proved an ID, but not one that this upstream expects.
    #[error("`{0}` is not an identity that is expected here")]
    PeerNotExpected(SpiffeId),
    /// An intermediate cannot be read.
    #[error("an intermediate certificate cannot be read: {0}")]
    ChainMalformed(String),
    /// No path from the leaf to an authority of its trust domain.
    #[error("no path leads from the leaf certificate to the trust bundle of `{trust_domain}`: {detail}")]
    Untrusted {
        /// The trust domain whose bundle was used.
        trust_domain: TrustDomain,
        /// What the path builder says.
        detail: String,
    },
    /// A certificate of the path, or its authority, has expired.
    #[error("a certificate of the chain expired at {}", .not_after.as_secs())]
    Expired {
        /// The end of its validity.
        not_after: UnixTime,
    },
    /// A certificate of the path, or its authority, is not valid yet.
    #[error("a certificate of the chain is not valid before {}", .not_before.as_secs())]
    NotYetValid {
        /// The beginning of its validity.
        not_before: UnixTime,
    },
    /// RFC 5280 §4.2.1.3: an issuer may sign certificates.
    #[error("an intermediate certificate may not sign certificates: its key usage lacks keyCertSign")]
    IssuerKeyUsage,
    /// X509-SVID §3.2: the SPIFFE ID of a signing certificate names a trust domain and has no path.
    #[error(
        "an intermediate certificate bears `{0}`, a signing certificate names a trust domain and no workload"
    )]
    IssuerSpiffeId(String),
    /// A name constraint is not met, or is of a kind that cannot be judged: a directory or mail name's, or an
    /// intermediate's about URIs.
    #[error("a name constraint of the chain is not met or cannot be judged")]
    NameConstraint,
    /// RFC 5280 §6.3: a list of its issuer calls the certificate revoked.
    #[error("the certificate with the serial number {serial} has been revoked by its issuer")]
    Revoked {
        /// Which certificate of the chain, in lower-case hexadecimal.
        serial: String,
    },
    /// No list shows that a certificate has not been revoked, and one has to.
    #[error("no revocation list in force covers the certificate with the serial number {serial}{}", expiry(.expired))]
    RevocationUnknown {
        /// Which certificate of the chain, in lower-case hexadecimal.
        serial: String,
        /// When the newest list of its issuer expired, if there is one.
        expired: Option<UnixTime>,
    },
    /// So many lists bear the names of the chain's intermediates that they are not all looked at.
    #[error("too many revocation lists bear the names of the chain's intermediate certificates")]
    RevocationTooCostly,
    /// Signed with SHA-1, MD5, short RSA or another algorithm that is not taken.
    #[error("a certificate of the chain is signed with an algorithm that is not accepted")]
    SignatureAlgorithm,
}

impl VerifyError {
    /// The stable reason code, family `tls`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoCertificate => "tls.no_certificate",
            Self::ChainTooLong(_) | Self::ChainTooLarge(_) => "tls.chain.too_large",
            Self::Malformed(_) => "tls.svid.malformed",
            Self::UriSanCount(_) => "tls.svid.uri_san_count",
            Self::SpiffeId { .. } => "tls.svid.spiffe_id",
            Self::PathMissing(_) => "tls.svid.path_missing",
            Self::Ca => "tls.svid.ca",
            Self::KeyUsage(_) => "tls.svid.key_usage",
            Self::ExtendedKeyUsage(_) => "tls.svid.extended_key_usage",
            Self::SanNotCritical => "tls.svid.san_not_critical",
            Self::Key(_) => "tls.svid.key",
            Self::TrustDomainUnknown(_) => "tls.trust_domain.unknown",
            Self::TrustDomainNotAccepted(_) => "tls.trust_domain.not_accepted",
            Self::PeerNotExpected(_) => "tls.peer_not_expected",
            Self::ChainMalformed(_) => "tls.chain.malformed",
            Self::Untrusted { .. } => "tls.chain.untrusted",
            Self::Expired { .. } => "tls.chain.expired",
            Self::NotYetValid { .. } => "tls.chain.not_yet_valid",
            Self::IssuerKeyUsage => "tls.chain.issuer_key_usage",
            Self::IssuerSpiffeId(_) => "tls.chain.issuer_spiffe_id",
            Self::NameConstraint => "tls.chain.name_constraint",
            Self::Revoked { .. } => "tls.chain.revoked",
            Self::RevocationUnknown { .. } | Self::RevocationTooCostly => "tls.chain.revocation_unknown",
            Self::SignatureAlgorithm => "tls.chain.signature_algorithm",
        }
    }
}

fn expiry(expired: &Option<UnixTime>) -> String {
    expired.map_or_else(String::new, |at| format!(": the newest one expired at {}", at.as_secs()))
}
