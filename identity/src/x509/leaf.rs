//! The rules of an SVID's leaf certificate (X509-SVID §§2-5), independent of who signed it.

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, KeyUsage, ParsedExtension, X509Extension};
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_NIST_EC_P521, OID_PKCS1_RSAENCRYPTION,
    OID_SIG_ED25519, Oid,
};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::Window;
use super::chain::Role;
use super::error::VerifyError;
use crate::id::SpiffeId;

/// The longest piece of a peer's own text that goes into an error.
pub(crate) const QUOTE_CHARS_MAX: usize = 256;
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// What a leaf certificate claims. Nothing in it is proven before its chain is.
#[derive(Debug)]
pub(crate) struct Leaf {
    pub(crate) spiffe_id: SpiffeId,
    pub(crate) window: Window,
    pub(crate) serial: String,
    pub(crate) dns_names: Vec<String>,
}

/// What a certificate is to be used for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// A peer's, in the role that it had.
    Peer(Role),
    /// Our own: as a client and as a server.
    Own,
}

pub(crate) fn check(der: &[u8], purpose: Purpose) -> Result<Leaf, VerifyError> {
    let certificate = super::parse(der).map_err(VerifyError::Malformed)?;
    let extensions = Extensions::of(&certificate)?;
    check_not_ca(&extensions)?;
    let names = check_names(&certificate, &extensions)?;
    check_key_usage(&extensions)?;
    check_extended_key_usage(&extensions, purpose)?;
    check_key(certificate.public_key())?;
    Ok(Leaf {
        spiffe_id: names.spiffe_id,
        window: Window::of(certificate.validity()),
        serial: hex(certificate.raw_serial()),
        dns_names: names.dns_names,
    })
}

/// True when the certificate may sign others (RFC 5280 §4.2.1.3).
pub(crate) fn may_sign_certificates(certificate: &X509Certificate<'_>) -> bool {
    matches!(certificate.key_usage(), Ok(Some(usage)) if usage.value.key_cert_sign())
}

/// True when the certificate may sign revocation lists: its key usage says so, or says nothing (RFC 5280 §6.3.3).
pub(crate) fn may_sign_lists(certificate: &X509Certificate<'_>) -> bool {
    match certificate.key_usage() {
        Ok(usage) => usage.is_none_or(|usage| usage.value.crl_sign()),
        Err(_) => false,
    }
}

/// Each of the extensions that decide about identity, at most once and readable.
struct Extensions<'a> {
    names: Option<&'a X509Extension<'a>>,
    key_usage: Option<&'a KeyUsage>,
    basic_constraints: Option<&'a x509_parser::extensions::BasicConstraints>,
    extended_key_usage: Option<&'a x509_parser::extensions::ExtendedKeyUsage<'a>>,
}

impl<'a> Extensions<'a> {
    fn of(certificate: &'a X509Certificate<'a>) -> Result<Self, VerifyError> {
        let malformed = |e: x509_parser::error::X509Error| VerifyError::Malformed(e.to_string());
        for (index, extension) in certificate.extensions().iter().enumerate() {
            if let ParsedExtension::ParseError { .. } = extension.parsed_extension() {
                return Err(VerifyError::Malformed(format!("extension {} cannot be read", extension.oid)));
            }
            let earlier = certificate.extensions().iter().take(index);
            if earlier.into_iter().any(|other| other.oid == extension.oid) {
                return Err(VerifyError::Malformed(format!("extension {} occurs twice", extension.oid)));
            }
        }
        Ok(Self {
            names: certificate
                .get_extension_unique(&x509_parser::oid_registry::OID_X509_EXT_SUBJECT_ALT_NAME)
                .map_err(malformed)?,
            key_usage: certificate.key_usage().map_err(malformed)?.map(|e| e.value),
            basic_constraints: certificate.basic_constraints().map_err(malformed)?.map(|e| e.value),
            extended_key_usage: certificate.extended_key_usage().map_err(malformed)?.map(|e| e.value),
        })
    }
}

struct Names {
    spiffe_id: SpiffeId,
    dns_names: Vec<String>,
}

fn check_names(certificate: &X509Certificate<'_>, extensions: &Extensions<'_>) -> Result<Names, VerifyError> {
    let Some(extension) = extensions.names else {
        return Err(VerifyError::UriSanCount(0));
    };
    let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() else {
        return Err(VerifyError::Malformed("the alternative names cannot be read".to_owned()));
    };
    let mut uris = Vec::new();
    let mut dns_names = Vec::new();
    for name in &names.general_names {
        match name {
            GeneralName::URI(uri) => uris.push(*uri),
            GeneralName::DNSName(dns) => dns_names.push((*dns).to_owned()),
            GeneralName::Invalid(tag, _) => {
                return Err(VerifyError::Malformed(format!(
                    "an alternative name of kind {} cannot be read",
                    tag.0
                )));
            }
            GeneralName::OtherName(..)
            | GeneralName::RFC822Name(_)
            | GeneralName::X400Address(_)
            | GeneralName::DirectoryName(_)
            | GeneralName::EDIPartyName(_)
            | GeneralName::IPAddress(_)
            | GeneralName::RegisteredID(_) => {}
        }
    }
    let [uri] = uris.as_slice() else {
        return Err(VerifyError::UriSanCount(uris.len()));
    };
    let spiffe_id: SpiffeId = uri.parse().map_err(|cause| VerifyError::SpiffeId {
        text: uri.chars().take(QUOTE_CHARS_MAX).collect(),
        cause,
    })?;
    if spiffe_id.path().is_empty() {
        return Err(VerifyError::PathMissing(spiffe_id));
    }
    if certificate.subject().iter_rdn().next().is_none() && !extension.critical {
        return Err(VerifyError::SanNotCritical);
    }
    Ok(Names { spiffe_id, dns_names })
}

/// Absent basic constraints mean "not a CA" (RFC 5280 §4.2.1.9).
fn check_not_ca(extensions: &Extensions<'_>) -> Result<(), VerifyError> {
    match extensions.basic_constraints {
        Some(constraints) if constraints.ca => Err(VerifyError::Ca),
        Some(_) | None => Ok(()),
    }
}

/// X509-SVID §4.3 makes the extension mandatory; a leaf without one could be used for anything, so it is refused.
fn check_key_usage(extensions: &Extensions<'_>) -> Result<(), VerifyError> {
    let Some(usage) = extensions.key_usage else {
        return Err(VerifyError::KeyUsage("is absent"));
    };
    if usage.key_cert_sign() {
        return Err(VerifyError::KeyUsage("allows keyCertSign"));
    }
    if usage.crl_sign() {
        return Err(VerifyError::KeyUsage("allows cRLSign"));
    }
    if !usage.digital_signature() {
        return Err(VerifyError::KeyUsage("lacks digitalSignature"));
    }
    Ok(())
}

fn check_extended_key_usage(extensions: &Extensions<'_>, purpose: Purpose) -> Result<(), VerifyError> {
    let Some(usage) = extensions.extended_key_usage else {
        return Ok(());
    };
    let (as_client, as_server) = match purpose {
        Purpose::Peer(Role::Client) => (true, false),
        Purpose::Peer(Role::Server) => (false, true),
        Purpose::Own => (true, true),
    };
    if as_client && !usage.client_auth {
        return Err(VerifyError::ExtendedKeyUsage("clientAuth"));
    }
    if as_server && !usage.server_auth {
        return Err(VerifyError::ExtendedKeyUsage("serverAuth"));
    }
    Ok(())
}

fn check_key(key: &SubjectPublicKeyInfo<'_>) -> Result<(), VerifyError> {
    let algorithm = &key.algorithm.algorithm;
    if *algorithm == OID_SIG_ED25519 {
        return if crate::tls::IS_FIPS {
            Err(VerifyError::Key("Ed25519 in a FIPS build".to_owned()))
        } else {
            Ok(())
        };
    }
    if *algorithm == OID_PKCS1_RSAENCRYPTION {
        let Ok(PublicKey::RSA(rsa)) = key.parsed() else {
            return Err(VerifyError::Malformed("the RSA key cannot be read".to_owned()));
        };
        let bits = rsa.key_size();
        return if RSA_BITS.contains(&bits) {
            Ok(())
        } else {
            Err(VerifyError::Key(format!("RSA of {bits} bits")))
        };
    }
    if *algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY {
        let curve: Option<Oid<'_>> = key.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
        return match curve {
            Some(curve) if curve == OID_EC_P256 || curve == OID_NIST_EC_P384 || curve == OID_NIST_EC_P521 => {
                Ok(())
            }
            Some(curve) => Err(VerifyError::Key(format!("on the curve {curve}"))),
            None => Err(VerifyError::Key("on an unnamed curve".to_owned())),
        };
    }
    Err(VerifyError::Key(format!("of the kind {algorithm}")))
}

/// Lower-case hexadecimal, two digits a byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        // Writing to a String cannot fail.
        _ = write!(out, "{byte:02x}");
        out
    })
}
