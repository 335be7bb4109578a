//! Other judges, which share no code of ours, are asked about the same chains and tokens on the same trust: `spiffe-rustls` in whole
//! handshakes, go-spiffe, and one of paths alone. Where we do not agree it is written down with the reason, or it is a fault of
//! one of us.

mod chains;
mod endpoint;
mod go;
mod paths;
pub(crate) mod peer;

use std::collections::BTreeMap;
use std::sync::Arc;

use postern_identity::{TrustBundle, TrustBundles, UnixTime, X509Svid};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, Error, ServerConfig, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName};

use self::chains::{Authorities, Presented};
use crate::kit::certificates::{DOMAIN, domain, judge};
use crate::kit::handshake::{Clock, connect};

/// Where two judges may differ, by a part of the case's name, and why.
struct Deviations {
    /// What we take and they refuse.
    we_take: &'static [(&'static str, &'static str)],
    /// What we refuse and they take.
    we_refuse: &'static [(&'static str, &'static str)],
}

const LISTED: Deviations = Deviations {
    we_take: &[
        ("no basic constraints", "absent they mean that it is no CA (RFC 5280 §4.2.1.9); they want it said"),
        (
            "an authority that permits the domain",
            "they refuse every URI beneath a constraint on URIs, met or not",
        ),
    ],
    we_refuse: &[
        (
            "an upper-case scheme",
            "IDs are compared as bytes, so they have one spelling (SPIFFE-ID §2); they fold it",
        ),
        ("an upper-case domain", "as above"),
        ("no subject, names not critical", "X509-SVID §3.1 wants them critical; they do not look"),
        (
            "an intermediate without key usage",
            "who signs certificates has to say so; they want it where there is a usage",
        ),
        ("an intermediate with a workload's ID", "X509-SVID §3.2 forbids the path; they do not look"),
        ("an expired authority", "webpki trusts an authority for ever; they leave it at that"),
        ("an early authority", "as above"),
    ],
};

type Verdict = Result<(), String>;

/// Holds our verdict and theirs against each other, and counts what both refuse and what both take.
fn compare(verdicts: impl Iterator<Item = (String, Verdict, Verdict)>, listed: &Deviations) -> [usize; 2] {
    let mut surprises = Vec::new();
    let mut used = BTreeMap::new();
    let mut agreed = [0, 0];
    for (name, ours, theirs) in verdicts {
        let reason = match (&ours, &theirs) {
            (Ok(()), Err(_)) => listed.we_take.iter().find(|(part, _)| name.contains(part)),
            (Err(_), Ok(())) => listed.we_refuse.iter().find(|(part, _)| name.contains(part)),
            (Ok(()), Ok(())) | (Err(_), Err(_)) => {
                agreed[usize::from(ours.is_ok())] += 1;
                continue;
            }
        };
        match reason {
            Some((part, _)) => *used.entry(*part).or_insert(0) += 1,
            None => surprises.push(format!("{name}: we say {ours:?}, they say {theirs:?}")),
        }
    }
    assert!(surprises.is_empty(), "{} surprises\n{}", surprises.len(), surprises.join("\n"));
    let all = listed.we_take.iter().chain(listed.we_refuse);
    let stale: Vec<_> = all.filter(|(part, _)| !used.contains_key(part)).collect();
    assert!(stale.is_empty(), "there is agreement by now: {stale:?}");
    agreed
}

#[test]
fn the_other_judge_gives_the_same_verdicts_but_for_the_listed_ones() {
    let authorities = Authorities::new();
    let trusted = authorities.bundles();
    let theirs = Theirs::trusting(&authorities);
    let verdicts = authorities.cases().into_iter().map(|case| {
        let (ours, theirs) = (judge(&case.chain, &trusted).map(drop), theirs.judge(&case));
        (case.name, ours, theirs)
    });
    let [refused, taken] = compare(verdicts, &LISTED);
    assert!(refused > 100 && taken > 20, "{refused} {taken}");
}

/// What we take for an SVID of our own and they do not, and the reverse.
const OWN_WE_TAKE: &[(&str, &str)] = &[("no basic constraints", "as above")];
const OWN_WE_REFUSE: &[(&str, &str)] = &[
    ("an upper-case scheme", "as above"),
    ("an upper-case domain", "as above"),
    ("no subject, names not critical", "as above"),
    ("an unknown critical extension", "nobody would take it from us; they look when it is a peer's"),
    ("clientAuth alone", "ours has to serve both ways (X509-SVID §4.4); they do not look"),
    ("serverAuth alone", "as above"),
    ("codeSigning alone", "as above"),
];

#[test]
fn the_other_judge_takes_the_same_svids_for_its_own() {
    let mut surprises = Vec::new();
    for (name, leaf) in Authorities::new().leaves() {
        let theirs = spiffe::X509Svid::parse_from_der(&leaf.der, leaf.key.secret_pkcs8_der());
        let ours = X509Svid::from_der(vec![leaf.der], leaf.key.into());
        let listed = |list: &[(&str, &str)]| list.iter().any(|(listed, _)| *listed == name);
        let agreed = match (ours.is_ok(), theirs.is_ok()) {
            (true, false) => listed(OWN_WE_TAKE),
            (false, true) => listed(OWN_WE_REFUSE),
            (true, true) | (false, false) => !listed(OWN_WE_TAKE) && !listed(OWN_WE_REFUSE),
        };
        if !agreed {
            surprises.push(format!("{name}: we say {ours:?}, they say {:?}", theirs.map(drop)));
        }
    }
    assert!(surprises.is_empty(), "{surprises:#?}");
}

/// Their judge, in the TLS of a listener.
struct Theirs {
    server: Arc<ServerConfig>,
    /// What the configuration follows; it ends with this.
    _runtime: tokio::runtime::Runtime,
}

impl Theirs {
    fn trusting(authorities: &Authorities) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let server = runtime.block_on(async {
            let source = endpoint::source(authorities.message()).await;
            spiffe_rustls::ServerConfigBuilder::new(source)
                .authorize(spiffe_rustls::any())
                .with_config_customizer(|config| config.time_provider = Arc::new(Clock))
                .build()
                .unwrap()
        });
        Self { server: Arc::new(server), _runtime: runtime }
    }

    fn judge(&self, case: &Presented) -> Result<(), String> {
        let key = default_provider().key_provider.load_private_key(case.key.clone_key().into()).unwrap();
        let presented = Arc::new(CertifiedKey::new(case.chain.clone(), key));
        let client = ClientConfig::builder_with_details(Arc::new(default_provider()), Arc::new(Clock))
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody))
            .with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(presented)));
        connect(&Arc::new(client), &self.server, None).map(drop)
    }
}

/// A caller that does not care whom it calls.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}

impl Authorities {
    /// What we trust.
    fn bundles(&self) -> TrustBundles {
        let (own, other) = self.by_trust_domain();
        let of = |name, ders: &[CertificateDer<'_>]| TrustBundle::from_der(domain(name), ders).unwrap();
        crate::kit::certificates::bundles([of(DOMAIN, &own), of("other.org", &other)])
    }

    /// The same for them, as the Workload API says it.
    fn message(&self) -> endpoint::X509SvidResponse {
        let (own, other) = self.by_trust_domain();
        let svid = self.own();
        let joined = |ders: &[CertificateDer<'_>]| ders.iter().flat_map(|der| der.to_vec()).collect();
        endpoint::X509SvidResponse {
            svids: vec![endpoint::X509Svid {
                spiffe_id: crate::kit::certificates::ID.to_owned(),
                x509_svid: svid.der.to_vec(),
                x509_svid_key: svid.key.secret_pkcs8_der().to_vec(),
                bundle: joined(&own),
                hint: String::new(),
            }],
            crl: vec![],
            federated_bundles: [("spiffe://other.org".to_owned(), joined(&other))].into(),
        }
    }
}
