//! An authority that mints X.509-SVIDs, and the files they live in.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType,
};
use time::{Duration, OffsetDateTime};

pub use rcgen::{PKCS_ECDSA_P256_SHA256 as ECDSA_P256, PKCS_ED25519 as ED25519};

/// The authority of one trust domain.
#[derive(Debug)]
pub struct Authority {
    trust_domain: String,
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
#[derive(Clone, Debug)]
pub struct Identity {
    /// `spiffe://…`.
    pub spiffe_id: String,
    /// The leaf, PEM.
    pub certificate_pem: String,
    /// Its private key, PKCS#8 PEM.
    pub key_pem: String,
}

impl Authority {
    /// A fresh authority.
    ///
    /// # Panics
    /// When the cryptography library fails.
    pub fn new(trust_domain: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = name(trust_domain);
        params.subject_alt_names = vec![uri(&format!("spiffe://{trust_domain}"))];
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) = validity(Duration::hours(24));
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self {
            trust_domain: trust_domain.to_owned(),
            certificate_pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// The trust domain's name.
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// Its trust bundle, PEM.
    pub fn bundle_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// An SVID for `spiffe://<trust domain><path>`. It also names `localhost`, for callers that check host names.
    pub fn issue(&self, path: &str) -> Identity {
        self.issue_for(path, Duration::hours(1))
    }

    /// An SVID that lives so long.
    ///
    /// # Panics
    /// When the cryptography library fails.
    pub fn issue_for(&self, path: &str, lifetime: Duration) -> Identity {
        let spiffe_id = format!("spiffe://{}{path}", self.trust_domain);
        let mut params = CertificateParams::default();
        params.distinguished_name = name(&spiffe_id);
        let localhost = SanType::DnsName("localhost".try_into().expect("a host name"));
        params.subject_alt_names = vec![uri(&spiffe_id), localhost];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = validity(lifetime);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Identity { spiffe_id, certificate_pem: certificate.pem(), key_pem: key.serialize_pem() }
    }
}

impl Authority {
    /// A revocation list in DER that names these and is good for so long.
    ///
    /// # Panics
    /// When the cryptography library fails.
    pub fn revocation_list(&self, revoked: &[&Identity], lifetime: Duration) -> Vec<u8> {
        let (this_update, next_update) = validity(lifetime);
        let entry = |identity: &&Identity| RevokedCertParams {
            serial_number: identity.serial().into(),
            revocation_time: this_update,
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update,
            next_update,
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).expect("a list").der().to_vec()
    }
}

impl Identity {
    fn serial(&self) -> Vec<u8> {
        let (_, pem) = x509_parser::pem::parse_x509_pem(self.certificate_pem.as_bytes()).expect("PEM");
        pem.parse_x509().expect("a certificate").raw_serial().to_vec()
    }

    /// Writes `<name>.pem` and `<name>.key` and gives their paths.
    ///
    /// # Panics
    /// When the folder cannot be written.
    pub fn write(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let (certificate, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        fs::write(&certificate, &self.certificate_pem).expect("the certificate is written");
        fs::write(&key, &self.key_pem).expect("the key is written");
        (certificate, key)
    }
}

/// A PKCS#8 PEM key pair, private and public, on P-256 or Ed25519.
///
/// # Panics
/// When the cryptography library fails.
pub fn key_pair(algorithm: &'static rcgen::SignatureAlgorithm) -> (String, String) {
    let key = KeyPair::generate_for(algorithm).expect("a key");
    (key.serialize_pem(), key.public_key_pem())
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "Postern's tests");
    name.push(DnType::CommonName, common.get(..common.len().min(64)).unwrap_or(common));
    name
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().expect("an ASCII URI"))
}

fn validity(lifetime: Duration) -> (OffsetDateTime, OffsetDateTime) {
    let now = OffsetDateTime::now_utc();
    (now - Duration::minutes(1), now + lifetime)
}
