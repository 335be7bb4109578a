//! X.509-SVIDs: what stands in a leaf, and what leads from it to its trust domain.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postern_identity::{Peer, RevocationMode, Role, TrustBundle, X509Svid};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls_pki_types::CertificateDer;

use crate::kit::certificates::{
    Ca, DOMAIN, ID, RsaOfSize, bundles, dns, domain, element, extension, judge, judge_as, uri,
    uri_constraints, window,
};
use crate::{Row, row};

pub(super) fn rows() -> Vec<Row> {
    [names(), usages(), path(), signers(), trust(), limits()].into_iter().flatten().collect()
}

/// One authority, and a leaf that is right but for one change.
fn leaf(bend: impl FnOnce(&mut CertificateParams)) -> Result<Peer, String> {
    let ca = Ca::root();
    judge(&[ca.leaf_with(bend).der], &ca.bundles())
}

fn named(names: &[SanType]) -> Result<Peer, String> {
    leaf(|params| params.subject_alt_names = names.to_vec())
}

fn used(usages: &[KeyUsagePurpose]) -> Result<Peer, String> {
    leaf(|params| params.key_usages = usages.to_vec())
}

fn used_for(usages: &[ExtendedKeyUsagePurpose], role: Role) -> Result<Peer, String> {
    let ca = Ca::root();
    let leaf = ca.leaf_with(|params| params.extended_key_usages = usages.to_vec());
    judge_as(&[leaf.der], &ca.bundles(), role)
}

/// An authority, an intermediate that is right but for one change, and a leaf.
fn beneath(bend: impl FnOnce(&mut CertificateParams)) -> Result<Peer, String> {
    let ca = Ca::root();
    let middle = ca.intermediate_with("middle", bend);
    judge(&[middle.leaf(ID).der, middle.der], &ca.bundles())
}

/// An authority that is right but for one change, and a leaf.
fn under(bend: impl FnOnce(&mut CertificateParams)) -> Result<Peer, String> {
    let ca = Ca::root_with(bend);
    judge(&[ca.leaf(ID).der], &ca.bundles())
}

/// Our own SVID with a leaf that is right but for one change.
fn own(bend: impl FnOnce(&mut CertificateParams)) -> Result<X509Svid, String> {
    let leaf = Ca::root().leaf_with(bend);
    X509Svid::from_der(vec![leaf.der], leaf.key.into()).map_err(|error| error.to_string())
}

fn names() -> Vec<Row> {
    vec![
        row("X5-01", "exactly one URI name", "X509-SVID §2, §5.2")
            .accepts("one", || named(&[uri(ID)]))
            .refuses("none", "tls.svid.uri_san_count", || named(&[]))
            .refuses("two SPIFFE IDs", "tls.svid.uri_san_count", || named(&[uri(ID), uri("spiffe://a/b")]))
            .refuses("the same one twice", "tls.svid.uri_san_count", || named(&[uri(ID), uri(ID)]))
            .refuses("one of another scheme beside it", "tls.svid.uri_san_count", || {
                named(&[uri(ID), uri("https://example.org/")])
            })
            .refuses("two in our own", "2 URI names", || {
                own(|params| params.subject_alt_names.push(uri("urn:a:b")))
            }),
        row("X5-02", "the URI is a SPIFFE ID, other names are not", "X509-SVID §5.2")
            .accepts("a DNS name, an address and a mailbox beside it", || {
                let mailbox = SanType::Rfc822Name("a@example.org".try_into().unwrap());
                named(&[dns("orders.internal"), uri(ID), SanType::IpAddress([10, 0, 0, 1].into()), mailbox])
            })
            .refuses("a DNS name alone", "tls.svid.uri_san_count", || named(&[dns("example.org")]))
            .refuses("another scheme", "tls.svid.spiffe_id", || named(&[uri("https://example.org/orders")]))
            .refuses("another case", "tls.svid.spiffe_id", || named(&[uri("SPIFFE://example.org/orders")]))
            .refuses("a port", "tls.svid.spiffe_id", || named(&[uri("spiffe://example.org:443/orders")]))
            .refuses("an end before the end", "tls.svid.spiffe_id", || {
                named(&[uri("spiffe://example.org/a\0")])
            }),
        row("X5-03", "the ID of a leaf has a path", "X509-SVID §3.1, §5.2")
            .accepts("a path", || named(&[uri("spiffe://example.org/a")]))
            .refuses("none", "tls.svid.path_missing", || named(&[uri("spiffe://example.org")]))
            .refuses("an empty one", "tls.svid.spiffe_id", || named(&[uri("spiffe://example.org/")])),
        row("X5-08", "without a subject the names are critical", "X509-SVID §3.1")
            .accepts("critical", || nameless(true))
            .refuses("not critical", "tls.svid.san_not_critical", || nameless(false)),
    ]
}

/// A leaf without subject.
fn nameless(critical: bool) -> Result<Peer, String> {
    let names = element(0x30, &element(0x86, ID.as_bytes()));
    leaf(|params| {
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names.clear();
        params.custom_extensions.push(extension(&[2, 5, 29, 17], &names, critical));
    })
}

fn usages() -> Vec<Row> {
    use KeyUsagePurpose::{CrlSign, DigitalSignature, KeyAgreement, KeyCertSign, KeyEncipherment};
    let (client, server) = (ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth);
    let both = [client.clone(), server.clone()];
    let (for_server, for_client) = ([server.clone()], [client.clone()]);
    let own_for = |usages: Vec<ExtendedKeyUsagePurpose>| {
        move || own(|params| params.extended_key_usages = usages.clone())
    };
    vec![
        row("X5-04", "a leaf is no CA", "X509-SVID §4.1, §5.2")
            .accepts("said", || leaf(|params| params.is_ca = IsCa::ExplicitNoCa))
            .accepts("not said, which means the same", || leaf(|params| params.is_ca = IsCa::NoCa))
            .refuses("a CA", "tls.svid.ca", || {
                leaf(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained))
            }),
        row("X5-05", "a leaf signs neither certificates nor CRLs", "X509-SVID §4.3, §5.2")
            .accepts("neither", || used(&[DigitalSignature]))
            .refuses("certificates", "keyCertSign", || used(&[DigitalSignature, KeyCertSign]))
            .refuses("CRLs", "cRLSign", || used(&[DigitalSignature, CrlSign])),
        row("X5-06", "key usage digitalSignature", "X509-SVID §4.3 (O)")
            .accepts("with others", || used(&[DigitalSignature, KeyEncipherment, KeyAgreement]))
            .refuses("only others", "digitalSignature", || used(&[KeyEncipherment]))
            .refuses("absent", "tls.svid.key_usage", || used(&[])),
        row("X5-07", "extended key usage covers the role", "X509-SVID §4.4")
            .accepts("absent", || used_for(&[], Role::Client))
            .accepts("both", move || used_for(&both, Role::Server))
            .refuses("a client's, with serverAuth alone", "clientAuth", move || {
                used_for(&for_server, Role::Client)
            })
            .refuses("a server's, with clientAuth alone", "serverAuth", move || {
                used_for(&for_client, Role::Server)
            })
            .refuses("code signing", "tls.svid.extended_key_usage", || {
                used_for(&[ExtendedKeyUsagePurpose::CodeSigning], Role::Client)
            })
            .refuses("our own with one of them", "serverAuth", own_for(vec![client])),
        row("X5-14", "what decides is readable and occurs once", "RFC 5280 §4.2 (O)")
            .accepts("an unknown extension that is not critical", || {
                extended(false, &[1, 3, 6, 1, 4, 1, 9, 1], &[5, 0])
            })
            .refuses("an unknown one that is", "tls.chain.malformed", || {
                extended(true, &[1, 3, 6, 1, 4, 1, 9, 1], &[5, 0])
            })
            .refuses("key usage twice", "tls.svid.malformed", || {
                extended(true, &[2, 5, 29, 15], &[3, 2, 7, 0x80])
            })
            .refuses("names twice", "tls.svid.malformed", || {
                extended(false, &[2, 5, 29, 17], &element(0x30, &element(0x82, b"a")))
            })
            .refuses("constraints that cannot be read", "tls.svid.malformed", || {
                extended_without_constraints(&[0xff, 0xff])
            })
            .refuses("a usage that cannot be read", "tls.svid.malformed", || {
                extended(true, &[2, 5, 29, 37], &[4, 1, 0])
            }),
    ]
}

fn extended(critical: bool, oid: &[u64], content: &[u8]) -> Result<Peer, String> {
    leaf(|params| params.custom_extensions.push(extension(oid, content, critical)))
}

/// A leaf whose basic constraints are these bytes.
fn extended_without_constraints(content: &[u8]) -> Result<Peer, String> {
    leaf(|params| {
        params.is_ca = IsCa::NoCa;
        params.custom_extensions.push(extension(&[2, 5, 29, 19], content, true));
    })
}

fn path() -> Vec<Row> {
    vec![
        row("X5-09", "the path is one of RFC 5280", "X509-SVID §5.1")
            .accepts("an intermediate", || beneath(|_| {}))
            .accepts("the last second", || leaf(|params| window(params, 0, 0)))
            .refuses("an intermediate that is not sent", "tls.chain.untrusted", || {
                let ca = Ca::root();
                judge(&[ca.intermediate("middle").leaf(ID).der], &ca.bundles())
            })
            .refuses("another key under the same name", "tls.chain.untrusted", || {
                judge(&[Ca::root().leaf(ID).der], &Ca::root().bundles())
            })
            .refuses("an expired leaf", "tls.chain.expired", || leaf(|params| window(params, -60, -1)))
            .refuses("an early leaf", "tls.chain.not_yet_valid", || leaf(|params| window(params, 1, 60)))
            .refuses("an expired intermediate", "tls.chain.expired", || {
                beneath(|params| window(params, -60, -1))
            })
            .refuses("an expired authority", "tls.chain.expired", || under(|params| window(params, -60, -1)))
            .refuses("an intermediate that is no CA", "tls.chain.untrusted", || {
                beneath(|params| params.is_ca = IsCa::ExplicitNoCa)
            })
            .refuses("an intermediate that may not sign", "tls.chain.issuer_key_usage", || {
                beneath(|params| params.key_usages = vec![KeyUsagePurpose::DigitalSignature])
            })
            .refuses("a path longer than its issuer allows", "tls.chain.untrusted", || {
                let ca = Ca::root();
                let last = ca.intermediate_with("last", |params| {
                    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
                });
                let beyond = last.intermediate("beyond");
                judge(&[beyond.leaf(ID).der, beyond.der, last.der], &ca.bundles())
            })
            .accepts("a leaf that its issuer's list does not name", || {
                listed(false, 60, RevocationMode::Hard)
            })
            .accepts("a list that has expired, where that is let pass", || {
                listed(false, -1, RevocationMode::Soft)
            })
            .refuses("a list that has expired, where it is not", "tls.chain.revocation_unknown", || {
                listed(false, -1, RevocationMode::Hard)
            })
            .refuses("a leaf that the list names", "tls.chain.revoked", || {
                listed(true, 60, RevocationMode::Soft)
            })
            .refuses("an intermediate that the list names", "tls.chain.revoked", || {
                let ca = Ca::root();
                let middle = ca.intermediate("middle");
                let lists = vec![middle.list(&[], 60), ca.list(&[&middle.der], 60)];
                judge(&[middle.leaf(ID).der, middle.der], &ca.bundles_with(lists, RevocationMode::Hard))
            })
            .refuses("a list that another key signed", "tls.chain.revocation_unknown", || {
                let ca = Ca::root();
                let lists = vec![Ca::root().list(&[], 60)];
                judge(&[ca.leaf(ID).der], &ca.bundles_with(lists, RevocationMode::Hard))
            })
            .refuses("an unknown critical extension of an intermediate", "tls.chain.malformed", || {
                let unknown = extension(&[1, 3, 6, 1, 4, 1, 9, 1], &[5, 0], true);
                beneath(|params| params.custom_extensions.push(unknown))
            }),
    ]
}

fn signers() -> Vec<Row> {
    vec![
        row("X5-10", "signing certificates do not authenticate", "X509-SVID §3.2")
            .accepts("a leaf", || leaf(|_| {}))
            .refuses("an authority itself", "tls.svid.ca", || {
                let ca = Ca::root_with(|params| params.subject_alt_names = vec![uri(ID)]);
                judge(&[ca.der], &Ca::root().bundles())
            })
            .refuses("an intermediate itself", "tls.svid.ca", || {
                let ca = Ca::root();
                let named = |params: &mut CertificateParams| params.subject_alt_names = vec![uri(ID)];
                judge(&[ca.intermediate_with("middle", named).der], &ca.bundles())
            })
            .refuses("as our own", "CA certificate", || {
                own(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained))
            }),
        row("X5-11", "the ID of a signing certificate has no path", "X509-SVID §3.2")
            .accepts("an ID without", || {
                beneath(|params| params.subject_alt_names = vec![uri("spiffe://example.org")])
            })
            .accepts("no ID", || beneath(|_| {}))
            .refuses("an intermediate's with one", "tls.chain.issuer_spiffe_id", || {
                beneath(|params| params.subject_alt_names = vec![uri("spiffe://example.org/ca")])
            })
            .refuses("an authority's with one", "is a workload's", || {
                let ca = Ca::root_with(|params| params.subject_alt_names = vec![uri(ID)]);
                TrustBundle::from_der(domain(DOMAIN), &[ca.der])
            }),
    ]
}

/// A leaf, and a list of its issuer's that names it or not, good until so many seconds from now.
fn listed(is_revoked: bool, until_s: i64, mode: RevocationMode) -> Result<Peer, String> {
    let ca = Ca::root();
    let leaf = ca.leaf(ID).der;
    let revoked = if is_revoked { vec![&leaf] } else { vec![] };
    let list = ca.list(&revoked, until_s);
    judge(std::slice::from_ref(&leaf), &ca.bundles_with(vec![list], mode))
}

fn trust() -> Vec<Row> {
    vec![
        row("X5-12", "authorities of the ID's own trust domain alone", "Workload_API §4.6, Federation §7.3")
            .accepts("its own", || spoken_by(DOMAIN))
            .refuses("those of a federated one", "tls.chain.untrusted", || spoken_by("other.org"))
            .refuses("none: its bundle is missing", "tls.trust_domain.unknown", || {
                let ca = Ca::root();
                judge(&[ca.leaf(ID).der], &bundles([ca.bundle("other.org")]))
            }),
        row("X5-13", "URI name constraints hold or refuse", "X509-SVID §4.2, RFC 5280 §4.2.1.10")
            .accepts("an authority's that permits", || constrained(&[DOMAIN], &[]))
            .accepts("an authority's that permits all below", || constrained(&[".org"], &[]))
            .accepts("an authority's that excludes another", || constrained(&[], &["other.org"]))
            .refuses("an authority's that permits another", "tls.chain.name_constraint", || {
                constrained(&["other.org"], &[])
            })
            .refuses("an authority's that permits only below", "tls.chain.name_constraint", || {
                constrained(&[".example.org"], &[])
            })
            .refuses("an authority's that excludes", "tls.chain.name_constraint", || {
                constrained(&[], &[DOMAIN])
            })
            .refuses("an authority's that is no host", "tls.chain.name_constraint", || {
                constrained(&[], &["spiffe://other.org"])
            })
            .refuses("an intermediate's, which cannot be judged", "tls.chain.name_constraint", || {
                beneath(|params| params.custom_extensions.push(uri_constraints(&[DOMAIN], &[])))
            }),
        row("X5-16", "of a JWK's certificates the first counts", "X509-SVID §6.2")
            .accepts("the first of two", || {
                let (a, b) = (Ca::root(), Ca::root());
                judge(&[a.leaf(ID).der], &bundles([document(&[jwk(&[&a.der, &b.der])])?]))
            })
            .accepts("one, beside a JWK without any", || {
                let a = Ca::root();
                judge(&[a.leaf(ID).der], &bundles([document(&[jwk(&[]), jwk(&[&a.der])])?]))
            })
            .refuses("the second of two", "tls.chain.untrusted", || {
                let (a, b) = (Ca::root(), Ca::root());
                judge(&[b.leaf(ID).der], &bundles([document(&[jwk(&[&a.der, &b.der])])?]))
            })
            .refuses("nobody, when no JWK has one", "tls.chain.untrusted", || {
                judge(&[Ca::root().leaf(ID).der], &bundles([document(&[jwk(&[])])?]))
            }),
    ]
}

/// A leaf of `example.org`, signed by the authority of this trust domain, where both are federated.
fn spoken_by(name: &str) -> Result<Peer, String> {
    let (own, other) = (Ca::root(), Ca::root());
    let trusted = bundles([own.bundle(DOMAIN), other.bundle("other.org")]);
    let signer = if name == DOMAIN { own } else { other };
    judge(&[signer.leaf(ID).der], &trusted)
}

fn constrained(permitted: &[&str], excluded: &[&str]) -> Result<Peer, String> {
    under(|params| params.custom_extensions.push(uri_constraints(permitted, excluded)))
}

/// A JWK with these certificates.
pub(super) fn jwk(certificates: &[&CertificateDer<'_>]) -> String {
    let encoded: Vec<String> =
        certificates.iter().map(|der| format!("\"{}\"", STANDARD.encode(der))).collect();
    format!(r#"{{"kty":"EC","use":"x509-svid","x5c":[{}]}}"#, encoded.join(","))
}

/// The bundle of `example.org` with these JWKs.
pub(super) fn document(keys: &[String]) -> Result<TrustBundle, String> {
    let text = format!(r#"{{"keys":[{}]}}"#, keys.join(","));
    TrustBundle::from_spiffe_json(domain(DOMAIN), text.as_bytes()).map_err(|error| error.to_string())
}

fn limits() -> Vec<Row> {
    vec![
        row("X5-15", "bounded chains and strong keys", "(O)")
            .accepts("6 intermediates", || chained(6))
            .refuses("7 intermediates", "tls.chain.too_large", || chained(7))
            .accepts("a certificate of almost 16 KiB", || padded(15_000))
            .refuses("a certificate beyond 16 KiB", "tls.chain.too_large", || padded(16_500))
            .refuses("a chain beyond 64 KiB", "tls.chain.too_large", || {
                let ca = Ca::root();
                let large = vec![CertificateDer::from(vec![0; 16 * 1024]); 4];
                judge(&[vec![ca.leaf(ID).der], large].concat(), &ca.bundles())
            })
            .accepts("P-256", || keyed(&rcgen::PKCS_ECDSA_P256_SHA256))
            .accepts("P-384", || keyed(&rcgen::PKCS_ECDSA_P384_SHA384))
            .accepts("P-521", || keyed(&rcgen::PKCS_ECDSA_P521_SHA512))
            .accepts("Ed25519", || keyed(&rcgen::PKCS_ED25519))
            .accepts("RSA of 2048 bits", || rsa(2048))
            .refuses("RSA of 2040 bits", "tls.svid.key", || rsa(2040))
            .refuses("RSA of 1024 bits", "tls.svid.key", || rsa(1024))
            .refuses("RSA of 16384 bits", "tls.svid.key", || rsa(16384))
            .refuses("P-192", "tls.svid.key", || {
                let ca = Ca::root();
                let mut leaf = ca.leaf(ID).der.to_vec();
                let p256 = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
                let at = leaf.windows(8).position(|window| window == p256).unwrap();
                leaf[at + 7] = 1;
                judge(&[CertificateDer::from(leaf)], &ca.bundles())
            }),
    ]
}

fn chained(intermediates: usize) -> Result<Peer, String> {
    let root = Ca::root();
    let mut issuer = root.intermediate("1");
    let mut chain = vec![issuer.der.clone()];
    for number in 2..=intermediates {
        issuer = issuer.intermediate(&number.to_string());
        chain.insert(0, issuer.der.clone());
    }
    chain.insert(0, issuer.leaf(ID).der);
    judge(&chain, &root.bundles())
}

fn padded(bytes: usize) -> Result<Peer, String> {
    extended(false, &[1, 3, 6, 1, 4, 1, 9, 1], &element(0x04, &vec![0; bytes]))
}

fn keyed(algorithm: &'static rcgen::SignatureAlgorithm) -> Result<Peer, String> {
    let ca = Ca::root();
    let key = KeyPair::generate_for(algorithm).map_err(|error| error.to_string())?;
    judge(&[ca.leaf_of(key, |_| {}).der], &ca.bundles())
}

fn rsa(bits: usize) -> Result<Peer, String> {
    let ca = Ca::root();
    judge(&[ca.certify(&RsaOfSize::of_bits(bits), |_| {})], &ca.bundles())
}
