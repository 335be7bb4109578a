use rcgen::{ExtendedKeyUsagePurpose, KeyPair, RsaKeySize};

use super::*;
use crate::testing::{Ca, NOW_S, at, extension};

const ID: &str = "spiffe://example.org/orders";

#[track_caller]
fn check(svid: Result<X509Svid, SvidError>, expected: Result<&str, &str>) {
    match (svid, expected) {
        (Ok(svid), Ok(id)) => assert_eq!(svid.spiffe_id().as_str(), id),
        (Err(error), Err(message)) => assert!(error.to_string().contains(message), "{error}"),
        (seen, expected) => panic!("{seen:?} instead of {expected:?}"),
    }
}

#[test]
fn a_chain_and_its_own_key_make_an_svid_in_every_format() {
    let ca = Ca::root("root");
    let middle = ca.intermediate("middle", |_| {});
    let leaf = middle.leaf(ID);
    let chain = vec![leaf.der.clone(), middle.der.clone()];
    let svid = X509Svid::from_der(chain.clone(), leaf.key_der()).unwrap();
    assert_eq!(svid.chain(), chain);
    assert_eq!((svid.not_before(), svid.not_after()), (at(NOW_S - 60), at(NOW_S + 60)));
    assert_eq!(svid.half_life(), at(NOW_S));
    check(
        X509Svid::from_workload_api(&[leaf.der.as_ref(), &middle.der].concat(), leaf.key.serialize_der()),
        Ok(ID),
    );
    let rsa = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let leaf = ca.leaf_of(rsa, ID, |_| {});
    check(X509Svid::from_der(vec![leaf.der.clone()], leaf.key_der()), Ok(ID));
}

#[test]
fn what_no_peer_would_accept_is_refused_here() {
    let ca = Ca::root("root");
    let leaf = ca.leaf(ID);
    let other = ca.leaf(ID);
    check(X509Svid::from_der(vec![leaf.der.clone()], other.key_der()), Err("does not match"));
    check(X509Svid::from_der(vec![], leaf.key_der()), Err("no certificate"));
    check(X509Svid::from_der(vec![ca.der.clone()], leaf.key_der()), Err("CA certificate"));
    check(X509Svid::from_der(vec![leaf.der.clone(); 8], leaf.key_der()), Err("too long"));
    check(X509Svid::from_workload_api(&leaf.der, vec![1, 2, 3]), Err("cannot be used"));
    check(X509Svid::from_workload_api(b"garbage", leaf.key.serialize_der()), Err("cannot be read"));
    let half =
        ca.leaf_with(ID, |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    check(X509Svid::from_der(vec![half.der.clone()], half.key_der()), Err("lacks serverAuth"));
    check(X509Svid::from_pem(b"", b""), Err("certificate is not PEM"));
}

#[test]
fn debug_output_shows_no_key() {
    let svid = Ca::root("root").leaf(ID).svid();
    let text = format!("{svid:?}");
    assert!(
        text.starts_with("X509Svid { spiffe_id: SpiffeId(spiffe://example.org/orders), not_after:"),
        "{text}"
    );
    assert!(!text.contains("key"), "{text}");
}

#[test]
fn a_leaf_that_nobody_would_take_is_not_blamed_on_its_key() {
    let unknown = extension(&[1, 3, 6, 1, 4, 1, 9, 1], &[5, 0], true);
    let leaf = Ca::root("root").leaf_with(ID, |params| params.custom_extensions.push(unknown));
    check(
        X509Svid::from_der(vec![leaf.der.clone()], leaf.key_der()),
        Err("the certificate chain cannot be read"),
    );
}

/// go-spiffe's own fixtures: what its rules refuse, ours refuse.
#[test]
fn the_fixtures_of_go_spiffe_are_judged_alike() {
    use std::io::Read as _;
    let Some(data) = crate::testing::public_data() else { return };
    let mut text = String::new();
    let file = std::fs::File::open(data.join("spiffe/go-spiffe-testdata.json.gz")).unwrap();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    let files: std::collections::BTreeMap<String, String> = serde_json::from_str(&text).unwrap();
    let file = |name: &str| files[&format!("svid/x509svid/testdata/{name}")].as_bytes();
    for (name, expected) in [
        ("good-leaf-only.pem", Ok("spiffe://example.org/workload-1")),
        ("wrong-leaf-ca-true.pem", Err("CA certificate")),
        ("wrong-leaf-cert-sign.pem", Err("allows keyCertSign")),
        ("wrong-leaf-crl-sign.pem", Err("allows cRLSign")),
        ("wrong-leaf-empty-id.pem", Err("URI name")),
        ("wrong-leaf-no-digital-signature.pem", Err("key usage")),
        ("corrupt-cert.pem", Err("cannot be read")),
        ("not-pem", Err("not PEM")),
    ] {
        check(X509Svid::from_pem(file(name), file("key-pkcs8-rsa.pem")), expected);
    }
}
