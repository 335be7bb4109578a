//! From a presented chain to a proven identity.
//!
//! The order matters. The leaf's SPIFFE ID is read first and believed by nobody: it only chooses the trust bundle, the
//! one of the trust domain that the ID names. An authority of another trust domain can therefore never speak for this
//! one, however many bundles are loaded (Trust_Domain_and_Bundle §6.2, Federation §7.3).

use std::cell::RefCell;

use aws_lc_rs::digest::{SHA256, digest};
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath, aws_lc_rs as algorithms};

use super::error::VerifyError;
use super::issuer;
use super::leaf::{self, Leaf, Purpose};
use super::revocation::Signatures;
use super::{CERTIFICATE_BYTES_MAX, CHAIN_BYTES_MAX, INTERMEDIATES_MAX, Window};
use crate::bundle::{TrustBundle, TrustBundles};
use crate::id::SpiffeId;

/// What the judged peer was in the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It called; its certificate must be good for client authentication.
    Client,
    /// It was called; its certificate must be good for server authentication.
    Server,
}

/// A peer whose identity is proven. Only [`verify_chain`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peer {
    /// Who it is.
    pub spiffe_id: SpiffeId,
    /// The latest beginning over the whole verified path, its authority included.
    pub not_before: UnixTime,
    /// The earliest end over the whole verified path, its authority included; the peer is nobody after it.
    pub not_after: UnixTime,
    /// When the first of the revocation lists expires without which a certificate of the path is not taken; `None` where
    /// there need not be any. From then on nothing shows that the peer is not revoked.
    pub unrevoked_until: Option<UnixTime>,
    /// The serial number of the leaf certificate, in lower-case hexadecimal.
    pub serial: String,
    /// SHA-256 of the leaf certificate's DER.
    pub fingerprint_sha256: [u8; 32],
    /// The DNS names of the leaf certificate. They are information, not identity.
    pub dns_names: Vec<String>,
}

impl Peer {
    /// True while the proof holds; both ends of certificates are included, as in RFC 5280 §4.1.2.5, that of lists is not.
    #[must_use]
    pub fn is_valid_at(&self, now: UnixTime) -> bool {
        let is_unrevoked = self.unrevoked_until.is_none_or(|until| now < until);
        self.not_before <= now && now <= self.not_after && is_unrevoked
    }
}

/// Proves who presented `chain`: leaf first, intermediates in any order, as they came from the peer.
///
/// This is the one place where a peer's identity is judged: in the handshake, and again whenever trust changes.
///
/// # Errors
/// A chain beyond the limits of this crate, a leaf that breaks X509-SVID, a trust domain without bundle, or a path
/// that RFC 5280 or the stricter rules here refuse; each under its own [`VerifyError::code`].
pub fn verify_chain(
    chain: &[CertificateDer<'_>],
    bundles: &TrustBundles,
    role: Role,
    now: UnixTime,
) -> Result<Peer, VerifyError> {
    let (leaf_der, intermediates) = within_limits(chain)?;
    let leaf = leaf::check(leaf_der, Purpose::Peer(role))?;
    let trust_domain = leaf.spiffe_id.trust_domain();
    let bundle =
        bundles.get(trust_domain).ok_or_else(|| VerifyError::TrustDomainUnknown(trust_domain.clone()))?;
    let path = verify_path(leaf_der, intermediates, bundle, role, now)?;
    Ok(peer(leaf, leaf_der, path))
}

/// For how long a path holds.
#[derive(Clone, Copy)]
struct Hold {
    /// In which every certificate above the leaf is valid.
    window: Window,
    /// When the first of the revocation lists that it needs expires.
    unrevoked_until: Option<UnixTime>,
}

fn peer(leaf: Leaf, leaf_der: &CertificateDer<'_>, path: Hold) -> Peer {
    let window = leaf.window.overlap(path.window);
    let mut fingerprint_sha256 = [0; 32];
    fingerprint_sha256.copy_from_slice(digest(&SHA256, leaf_der).as_ref());
    Peer {
        spiffe_id: leaf.spiffe_id,
        not_before: window.not_before,
        not_after: window.not_after,
        unrevoked_until: path.unrevoked_until,
        serial: leaf.serial,
        fingerprint_sha256,
        dns_names: leaf.dns_names,
    }
}

/// The limits come before the first byte is parsed.
fn within_limits<'a, 'b>(
    chain: &'a [CertificateDer<'b>],
) -> Result<(&'a CertificateDer<'b>, &'a [CertificateDer<'b>]), VerifyError> {
    let (leaf, intermediates) = chain.split_first().ok_or(VerifyError::NoCertificate)?;
    if intermediates.len() > INTERMEDIATES_MAX {
        return Err(VerifyError::ChainTooLong(chain.len()));
    }
    let bytes = chain.iter().map(|der| der.len()).sum();
    if bytes > CHAIN_BYTES_MAX || chain.iter().any(|der| der.len() > CERTIFICATE_BYTES_MAX) {
        return Err(VerifyError::ChainTooLarge(bytes));
    }
    Ok((leaf, intermediates))
}

/// RFC 5280 by webpki, and beneath it what webpki leaves open: the key usage of issuers, the validity of authorities and
/// revocation.
fn verify_path(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    bundle: &TrustBundle,
    role: Role,
    now: UnixTime,
) -> Result<Hold, VerifyError> {
    let end_entity = EndEntityCert::try_from(leaf).map_err(|error| from_webpki(&error, bundle))?;
    let usage = match role {
        Role::Client => KeyUsage::client_auth(),
        Role::Server => KeyUsage::server_auth(),
    };
    // webpki tries further paths after an objection, and its callback can only speak webpki's errors: the last
    // objection of our own, or what became of the path that had none, is kept beside it.
    let judged: RefCell<Option<Result<Hold, VerifyError>>> = RefCell::new(None);
    let signatures = Signatures::default();
    let judge = |path: &VerifiedPath<'_>| {
        let verdict = judge_path(path, bundle, &signatures, now);
        let answer = if verdict.is_ok() { Ok(()) } else { Err(webpki::Error::UnknownIssuer) };
        judged.replace(Some(verdict));
        answer
    };
    let outcome = end_entity.verify_for_usage(
        SIGNATURE_ALGORITHMS,
        bundle.anchors(),
        intermediates,
        now,
        usage,
        None,
        Some(&judge),
    );
    match (outcome, judged.take()) {
        (Ok(_), Some(verdict)) => verdict,
        (Err(_), Some(Err(objection))) => Err(objection),
        (Err(error), Some(Ok(_)) | None) => Err(from_webpki(&error, bundle)),
        (Ok(_), None) => Err(untrusted(bundle, "the path was not judged")),
    }
}

fn judge_path(
    path: &VerifiedPath<'_>,
    bundle: &TrustBundle,
    signatures: &Signatures,
    now: UnixTime,
) -> Result<Hold, VerifyError> {
    let (place, authority) = bundle
        .authority_of(path.anchor())
        .ok_or_else(|| untrusted(bundle, "the authority is not of this bundle"))?;
    let mut window = Window { not_before: authority.not_before(), not_after: authority.not_after() };
    if now > window.not_after {
        return Err(VerifyError::Expired { not_after: window.not_after });
    }
    if now < window.not_before {
        return Err(VerifyError::NotYetValid { not_before: window.not_before });
    }
    if let Some(constraints) = authority.uri_constraints() {
        let leaf = path.end_entity().der();
        let parsed = super::parse(&leaf).map_err(VerifyError::Malformed)?;
        if !constraints.are_met_by(&parsed) {
            return Err(VerifyError::NameConstraint);
        }
    }
    for intermediate in path.intermediate_certificates() {
        let der = intermediate.der();
        let parsed = super::parse(&der).map_err(VerifyError::ChainMalformed)?;
        if !leaf::may_sign_certificates(&parsed) {
            return Err(VerifyError::IssuerKeyUsage);
        }
        issuer::check_names(&parsed).map_err(VerifyError::IssuerSpiffeId)?;
        if authority.uri_constraints().is_some_and(|constraints| !constraints.are_met_by(&parsed)) {
            return Err(VerifyError::NameConstraint);
        }
        window = window.overlap(Window::of(parsed.validity()));
    }
    let unrevoked_until = bundle.revocation().check(path, place, signatures, now)?;
    Ok(Hold { window, unrevoked_until })
}

/// SHA-2 with RSA of at least 2048 bits, the NIST curves and Ed25519: no SHA-1, no MD5.
pub(super) static SIGNATURE_ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    algorithms::ECDSA_P256_SHA256,
    algorithms::ECDSA_P256_SHA384,
    algorithms::ECDSA_P256_SHA512,
    algorithms::ECDSA_P384_SHA256,
    algorithms::ECDSA_P384_SHA384,
    algorithms::ECDSA_P384_SHA512,
    algorithms::ECDSA_P521_SHA256,
    algorithms::ECDSA_P521_SHA384,
    algorithms::ECDSA_P521_SHA512,
    // Not approved in the FIPS module that is linked by the feature of that name.
    #[cfg(not(feature = "fips"))]
    algorithms::ED25519,
    algorithms::RSA_PKCS1_2048_8192_SHA256,
    algorithms::RSA_PKCS1_2048_8192_SHA384,
    algorithms::RSA_PKCS1_2048_8192_SHA512,
    algorithms::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
    algorithms::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
    algorithms::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
];

fn untrusted(bundle: &TrustBundle, detail: &str) -> VerifyError {
    VerifyError::Untrusted { trust_domain: bundle.trust_domain().clone(), detail: detail.to_owned() }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "webpki's error is not ours and grows; whatever it adds is an untrusted chain"
)]
fn from_webpki(error: &webpki::Error, bundle: &TrustBundle) -> VerifyError {
    use webpki::Error as W;
    match error {
        W::CertExpired { not_after, .. } => VerifyError::Expired { not_after: *not_after },
        W::CertNotValidYet { not_before, .. } => VerifyError::NotYetValid { not_before: *not_before },
        W::NameConstraintViolation
        | W::MalformedNameConstraint
        | W::InvalidNetworkMaskConstraint
        | W::MaximumNameConstraintComparisonsExceeded => VerifyError::NameConstraint,
        W::UnsupportedSignatureAlgorithmContext(_)
        | W::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => VerifyError::SignatureAlgorithm,
        W::BadDer
        | W::BadDerTime
        | W::ExtensionValueInvalid
        | W::InvalidCertValidity
        | W::InvalidSerialNumber
        | W::MalformedExtensions
        | W::TrailingData(_)
        | W::UnsupportedCertVersion
        | W::UnsupportedCriticalExtension
        | W::SignatureAlgorithmMismatch => VerifyError::ChainMalformed(error.to_string()),
        other => untrusted(bundle, &other.to_string()),
    }
}

#[cfg(test)]
mod tests;
