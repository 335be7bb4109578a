//! Certificates for tests: a CA per trust domain, and leaves that can be bent one rule at a time.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CustomExtension, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SanType, date_time_ymd,
};
use rustls_pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime,
};

use crate::{RevocationList, TrustBundle, TrustBundles, TrustDomain, X509Svid};

/// The time of all tests, in seconds.
pub(crate) const NOW_S: u64 = 2_000_000_000;

pub(crate) fn at(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

pub(crate) fn now() -> UnixTime {
    at(NOW_S)
}

pub(crate) fn domain(name: &str) -> TrustDomain {
    name.parse().unwrap()
}

/// A certificate with its key, which may sign others.
pub(crate) struct Ca {
    pub(crate) der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    name: String,
}

/// A leaf with its key.
pub(crate) struct Leaf {
    pub(crate) der: CertificateDer<'static>,
    pub(crate) key: KeyPair,
}

impl Ca {
    pub(crate) fn root(name: &str) -> Self {
        Self::root_with(name, |_| {})
    }

    pub(crate) fn root_with(name: &str, bend: impl FnOnce(&mut CertificateParams)) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = ca_params(name);
        bend(&mut params);
        let der = params.self_signed(&key).unwrap().der().clone();
        Self { der, issuer: Issuer::new(params, key), name: name.to_owned() }
    }

    pub(crate) fn intermediate(&self, name: &str, bend: impl FnOnce(&mut CertificateParams)) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = ca_params(name);
        bend(&mut params);
        let der = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        Self { der, issuer: Issuer::new(params, key), name: name.to_owned() }
    }

    pub(crate) fn leaf(&self, id: &str) -> Leaf {
        self.leaf_with(id, |_| {})
    }

    pub(crate) fn leaf_with(&self, id: &str, bend: impl FnOnce(&mut CertificateParams)) -> Leaf {
        self.leaf_of(KeyPair::generate().unwrap(), id, bend)
    }

    pub(crate) fn leaf_of(&self, key: KeyPair, id: &str, bend: impl FnOnce(&mut CertificateParams)) -> Leaf {
        let mut params = leaf_params(id);
        bend(&mut params);
        let der = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        Leaf { der, key }
    }

    /// A list that revokes these certificates and is good for a minute, but for what is bent.
    pub(crate) fn crl_with(
        &self,
        revoked: &[&CertificateDer<'_>],
        bend: impl FnOnce(&mut CertificateRevocationListParams),
    ) -> CertificateRevocationListDer<'static> {
        let entry = |der: &&CertificateDer<'_>| RevokedCertParams {
            serial_number: crate::x509::parse(der).unwrap().raw_serial().to_vec().into(),
            revocation_time: date_time_ymd(2033, 5, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let mut params = CertificateRevocationListParams {
            this_update: date_time_ymd(2033, 5, 1),
            next_update: date_time_ymd(2033, 6, 1),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list_window(&mut params, -60, 60);
        bend(&mut params);
        params.signed_by(&self.issuer).unwrap().der().clone()
    }

    pub(crate) fn crl(&self, revoked: &[&CertificateDer<'_>]) -> RevocationList {
        RevocationList::from_der(&self.crl_with(revoked, |_| {})).unwrap()
    }

    /// A CA of the same name and key with another certificate.
    pub(crate) fn again(&self, bend: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = ca_params(&self.name);
        bend(&mut params);
        let key = KeyPair::try_from(self.issuer.key().serialize_der()).unwrap();
        let der = params.self_signed(&key).unwrap().der().clone();
        Self { der, issuer: Issuer::new(ca_params(&self.name), key), name: self.name.clone() }
    }

    pub(crate) fn bundle(&self, name: &str) -> TrustBundle {
        TrustBundle::from_der(domain(name), std::slice::from_ref(&self.der)).unwrap()
    }
}

impl Leaf {
    pub(crate) fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }

    pub(crate) fn svid(&self) -> X509Svid {
        X509Svid::from_der(vec![self.der.clone()], self.key_der()).unwrap()
    }
}

pub(crate) fn bundles(list: impl IntoIterator<Item = TrustBundle>) -> TrustBundles {
    let mut bundles = TrustBundles::default();
    for bundle in list {
        bundles.insert(bundle);
    }
    bundles
}

pub(crate) fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

/// Valid from an hour before to an hour after [`NOW_S`], moved by some seconds at each end.
pub(crate) fn window(params: &mut CertificateParams, not_before_s: i64, not_after_s: i64) {
    let moment =
        |offset: i64| date_time_ymd(1970, 1, 1) + Duration::from_secs(NOW_S.strict_add_signed(offset));
    params.not_before = moment(not_before_s);
    params.not_after = moment(not_after_s);
}

/// When a list is from, and until when it is good, by seconds from [`NOW_S`].
pub(crate) fn list_window(params: &mut CertificateRevocationListParams, from_s: i64, until_s: i64) {
    let mut times = CertificateParams::default();
    window(&mut times, from_s, until_s);
    (params.this_update, params.next_update) = (times.not_before, times.not_after);
}

pub(crate) fn extension(oid: &[u64], content: &[u8], critical: bool) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(oid, content.to_vec());
    extension.set_criticality(critical);
    extension
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

fn leaf_params(id: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "workload");
    params.subject_alt_names = vec![uri(id)];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    window(&mut params, -60, 60);
    params
}

/// The folder of public suites that no one here wrote. Without one, prints the line by which the test is counted as
/// skipped.
#[expect(clippy::print_stdout, reason = "a skipped test says so where the suite looks for it")]
pub(crate) fn public_data() -> Option<std::path::PathBuf> {
    let folder = std::env::var_os("POSTERN_DATA").map(std::path::PathBuf::from);
    if folder.is_none() {
        let thread = std::thread::current();
        println!("SKIPPED {}: POSTERN_DATA is not set", thread.name().unwrap_or("a test"));
    }
    folder
}
