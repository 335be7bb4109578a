use rcgen::{ExtendedKeyUsagePurpose, KeyPair, RsaKeySize};

use super::*;
use crate::testing::{Ca, NOW_S, at};

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
