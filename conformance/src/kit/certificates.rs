//! A CA for a trust domain, and certificates that can be bent one rule at a time.

use std::time::Duration;

use postern_identity::{
    Peer, RevocationList, RevocationMode, Role, TrustBundle, TrustBundles, TrustDomain, UnixTime,
    VerifyError, verify_chain,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CustomExtension, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PublicKeyData,
    RevokedCertParams, SanType, SignatureAlgorithm, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};

/// The time of all cases, in seconds.
pub(crate) const NOW_S: u64 = 2_000_000_000;
/// Whom the cases are about.
pub(crate) const ID: &str = "spiffe://example.org/orders";
/// The trust domain of [`ID`].
pub(crate) const DOMAIN: &str = "example.org";

pub(crate) fn at(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

pub(crate) fn domain(name: &str) -> TrustDomain {
    name.parse().unwrap()
}

/// A certificate with its key, which may sign others.
pub(crate) struct Ca {
    pub(crate) der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A leaf with its key.
pub(crate) struct Leaf {
    pub(crate) der: CertificateDer<'static>,
    pub(crate) key: PrivatePkcs8KeyDer<'static>,
}

impl Ca {
    pub(crate) fn root() -> Self {
        Self::root_with(|_| {})
    }

    pub(crate) fn root_with(bend: impl FnOnce(&mut CertificateParams)) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = ca_params("root");
        bend(&mut params);
        let der = params.self_signed(&key).unwrap().der().clone();
        Self { der, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn intermediate(&self, name: &str) -> Self {
        self.intermediate_with(name, |_| {})
    }

    pub(crate) fn intermediate_with(&self, name: &str, bend: impl FnOnce(&mut CertificateParams)) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = ca_params(name);
        bend(&mut params);
        let der = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        Self { der, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn leaf(&self, id: &str) -> Leaf {
        self.leaf_with(|params| params.subject_alt_names = vec![uri(id)])
    }

    /// A leaf for [`ID`] but for what is bent.
    pub(crate) fn leaf_with(&self, bend: impl FnOnce(&mut CertificateParams)) -> Leaf {
        self.leaf_of(KeyPair::generate().unwrap(), bend)
    }

    pub(crate) fn leaf_of(&self, key: KeyPair, bend: impl FnOnce(&mut CertificateParams)) -> Leaf {
        Leaf { der: self.certify(&key, bend), key: key.serialize_der().into() }
    }

    /// A leaf for a public key of any kind.
    pub(crate) fn certify(
        &self,
        key: &impl PublicKeyData,
        bend: impl FnOnce(&mut CertificateParams),
    ) -> CertificateDer<'static> {
        let mut params = leaf_params();
        bend(&mut params);
        params.signed_by(key, &self.issuer).unwrap().der().clone()
    }

    /// A revocation list that is good until so many seconds from [`NOW_S`].
    pub(crate) fn list(&self, revoked: &[&CertificateDer<'_>], until_s: i64) -> RevocationList {
        RevocationList::from_der(&self.list_der(revoked, until_s)).unwrap()
    }

    /// As [`Ca::list`], as it is sent.
    pub(crate) fn list_der(&self, revoked: &[&CertificateDer<'_>], until_s: i64) -> Vec<u8> {
        let mut times = CertificateParams::default();
        window(&mut times, -3600, until_s);
        let entry = |der: &&CertificateDer<'_>| RevokedCertParams {
            serial_number: serial(der).into(),
            revocation_time: times.not_before,
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: times.not_before,
            next_update: times.not_after,
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().der().to_vec()
    }

    /// As [`Ca::bundles`], with revocation lists.
    pub(crate) fn bundles_with(&self, lists: Vec<RevocationList>, mode: RevocationMode) -> TrustBundles {
        bundles([self.bundle(DOMAIN).with_revocation(lists, mode).unwrap()])
    }

    /// The bundle of a trust domain that this CA alone speaks for.
    pub(crate) fn bundle(&self, name: &str) -> TrustBundle {
        TrustBundle::from_der(domain(name), std::slice::from_ref(&self.der)).unwrap()
    }

    /// The bundles of somebody who knows [`DOMAIN`] alone.
    pub(crate) fn bundles(&self) -> TrustBundles {
        bundles([self.bundle(DOMAIN)])
    }
}

fn serial(certificate: &CertificateDer<'_>) -> Vec<u8> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).unwrap();
    certificate.raw_serial().to_vec()
}

/// An RSA public key of any size, whose private half nobody knows.
pub(crate) struct RsaOfSize(Vec<u8>);

impl RsaOfSize {
    pub(crate) fn of_bits(bits: usize) -> Self {
        let modulus = [&[0][..], &vec![0xff; bits / 8]].concat();
        let exponent = element(0x02, &[1, 0, 1]);
        Self(element(0x30, &[element(0x02, &modulus), exponent].concat()))
    }
}

impl PublicKeyData for RsaOfSize {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_RSA_SHA256
    }
}

pub(crate) fn bundles(list: impl IntoIterator<Item = TrustBundle>) -> TrustBundles {
    let mut bundles = TrustBundles::default();
    for bundle in list {
        bundles.insert(bundle);
    }
    bundles
}

/// What a caller that presents this chain is told: who it is, or the code and the reason.
pub(crate) fn judge(chain: &[CertificateDer<'_>], trusted: &TrustBundles) -> Result<Peer, String> {
    judge_as(chain, trusted, Role::Client)
}

pub(crate) fn judge_as(
    chain: &[CertificateDer<'_>],
    trusted: &TrustBundles,
    role: Role,
) -> Result<Peer, String> {
    verify_chain(chain, trusted, role, at(NOW_S)).map_err(|error| said(&error))
}

/// A refusal with its code.
pub(crate) fn said(error: &VerifyError) -> String {
    format!("{}: {error}", error.code())
}

pub(crate) fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

pub(crate) fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().unwrap())
}

/// Validity by seconds from [`NOW_S`], both ends included.
pub(crate) fn window(params: &mut CertificateParams, not_before_s: i64, not_after_s: i64) {
    let moment =
        |offset: i64| date_time_ymd(1970, 1, 1) + Duration::from_secs(NOW_S.strict_add_signed(offset));
    params.not_before = moment(not_before_s);
    params.not_after = moment(not_after_s);
}

pub(crate) fn extension(oid: &[u64], content: &[u8], critical: bool) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(oid, content.to_vec());
    extension.set_criticality(critical);
    extension
}

/// A DER element of less than 64 KiB.
pub(crate) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    let head = match length {
        [0, short @ ..0x80] => vec![tag, short],
        [0, long] => vec![tag, 0x81, long],
        [high, low] => vec![tag, 0x82, high, low],
    };
    [head.as_slice(), content].concat()
}

/// Name constraints about URIs alone.
pub(crate) fn uri_constraints(permitted: &[&str], excluded: &[&str]) -> CustomExtension {
    let list = |tag, hosts: &[&str]| {
        let subtrees: Vec<u8> =
            hosts.iter().flat_map(|host| element(0x30, &element(0x86, host.as_bytes()))).collect();
        if subtrees.is_empty() { vec![] } else { element(tag, &subtrees) }
    };
    let content = element(0x30, &[list(0xa0, permitted), list(0xa1, excluded)].concat());
    extension(&[2, 5, 29, 30], &content, true)
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    window(&mut params, -3600, 3600);
    params
}

fn leaf_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "workload");
    params.subject_alt_names = vec![uri(ID)];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    window(&mut params, -60, 60);
    params
}
