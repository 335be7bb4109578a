//! Key sets: which keys are taken, and what happens to the others.

use serde_json::{Value, json};

use super::super::{KEY_SET_BYTES_MAX, KeySet, KeySetError};
use super::minting::Signer;

/// One JWK with changed members: usable, or ignored for a reason.
#[track_caller]
fn check(mut jwk: Value, changes: &[(&str, Value)], expected: Result<(), &str>) {
    for (name, value) in changes {
        let members = jwk.as_object_mut().unwrap();
        if value.is_null() {
            members.remove(*name)
        } else {
            members.insert((*name).to_owned(), value.clone())
        };
    }
    let good = Signer::ed25519("good", "EdDSA").jwk;
    let set = KeySet::parse(json!({"keys": [good, jwk]}).to_string().as_bytes()).unwrap();
    match (set.ignored(), expected) {
        ([], Ok(())) => assert_eq!(set.len(), 2),
        ([ignored], Err(reason)) => {
            assert_eq!((ignored.index, set.len()), (2, 1));
            assert!(ignored.reason.contains(reason), "{ignored:?}");
        }
        (seen, expected) => panic!("{seen:?} instead of {expected:?}: {jwk}"),
    }
}

#[test]
fn a_key_for_something_else_is_not_a_key_for_tokens() {
    let ec = || Signer::es256("k").jwk;
    check(ec(), &[("use", Value::Null)], Ok(()));
    check(ec(), &[("use", json!("enc"))], Err("`use` is enc"));
    check(ec(), &[("use", json!("x509-svid"))], Err("`use`"));
    check(ec(), &[("use", json!(["sig"]))], Err("`use` is not a string"));
    check(ec(), &[("key_ops", json!(["verify"]))], Ok(()));
    check(ec(), &[("key_ops", json!(["sign", "encrypt"]))], Err("`key_ops`"));
    check(ec(), &[("key_ops", json!("verify"))], Err("`key_ops`"));
    check(ec(), &[("alg", json!("ES256"))], Ok(()));
    check(ec(), &[("alg", json!("ES384"))], Err("does not fit"));
    check(ec(), &[("alg", json!("ECDH-ES"))], Err("not an accepted algorithm"));
    check(ec(), &[("kid", json!(5))], Err("`kid` is not a string"));
    check(ec(), &[("x5c", json!("not a list"))], Ok(()));
    check(json!({"kty": "oct", "kid": "h", "k": "AAAA"}), &[], Err("not one that verifies"));
    check(json!({"kty": "new", "kid": "h"}), &[], Err("not one that verifies"));
    check(json!({}), &[], Err("not one that verifies"));
}

#[test]
fn a_public_point_lies_on_its_curve_in_full_width() {
    let ec = || Signer::es256("k").jwk;
    check(ec(), &[("crv", json!("P-384"))], Err("P-384 has 48"));
    check(ec(), &[("crv", json!("secp256k1"))], Err("not one that verifies"));
    check(ec(), &[("crv", json!("Ed25519"))], Err("curve does not fit"));
    check(ec(), &[("x", json!("AA"))], Err("`x` has 1 bytes"));
    check(ec(), &[("x", json!("A".repeat(43)))], Err("not on P-256"));
    check(ec(), &[("y", json!("???"))], Err("not base64url"));
    check(ec(), &[("y", Value::Null)], Err("not one that verifies"));
    let ed = || Signer::ed25519("k", "EdDSA").jwk;
    check(ed(), &[("crv", json!("X25519"))], Err("not one that verifies"));
    check(ed(), &[("crv", json!("P-256"))], Err("curve does not fit"));
    check(ed(), &[("x", json!("AAAA"))], Err("Ed25519 has 32"));
    let point = |first: u8, middle: u8, last: u8| {
        use base64::Engine as _;
        let mut bytes = [middle; 32];
        (bytes[0], bytes[31]) = (first, last);
        json!(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes))
    };
    for small in
        [point(0, 0, 0), point(1, 0, 0), point(1, 0, 0x80), point(0xec, 0xff, 0x7f), point(0xee, 0xff, 0xff)]
    {
        check(ed(), &[("x", small)], Err("small order"));
    }
}

#[test]
fn an_rsa_key_is_long_enough_and_canonical() {
    use base64::Engine as _;
    let rsa = Signer::rsa("k", "RS256").jwk;
    let b64 = |bytes: Vec<u8>| json!(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes));
    check(rsa.clone(), &[], Ok(()));
    check(rsa.clone(), &[("n", b64(vec![0xff; 128]))], Err("RSA of 1024 bits"));
    check(rsa.clone(), &[("n", b64([vec![0x7f], vec![0xff; 255]].concat()))], Err("RSA of 2047 bits"));
    check(rsa.clone(), &[("n", b64(vec![0xff; 1025]))], Err("RSA of 8200 bits"));
    check(rsa.clone(), &[("n", b64([vec![0], vec![0xff; 256]].concat()))], Err("begins with zeros"));
    check(rsa.clone(), &[("n", json!(""))], Err("begins with zeros"));
    for exponent in [vec![1], vec![2], vec![1, 0, 0], vec![1, 0, 0, 0, 1]] {
        check(rsa.clone(), &[("e", b64(exponent))], Err("`e` is not"));
    }
    check(rsa, &[("e", Value::Null)], Err("not one that verifies"));
}

#[test]
fn a_private_part_changes_nothing() {
    let signer = Signer::es256("k");
    let scalar = signer.secret_scalar().unwrap();
    check(signer.jwk, &[("d", json!(scalar))], Ok(()));
}

#[test]
fn what_is_no_key_set_is_refused_whole() {
    let check =
        |document: &[u8], expected: KeySetError| assert_eq!(KeySet::parse(document).unwrap_err(), expected);
    check(b"{}", KeySetError::NoKeys);
    check(b"[]", KeySetError::NoKeys);
    check(br#"{"keys":{}}"#, KeySetError::NoKeys);
    check(br#"{"keys":[]}"#, KeySetError::NoUsableKey(0));
    check(br#"{"keys":[{"kty":"oct","k":"AA"},1]}"#, KeySetError::NoUsableKey(2));
    check(b"<html>", KeySetError::Malformed("not JSON at byte 0".to_owned()));
    let (bytes, max) = (KEY_SET_BYTES_MAX + 1, KEY_SET_BYTES_MAX);
    check(&vec![b' '; bytes], KeySetError::TooLarge { bytes, max });
    let many = json!({"keys": vec![json!({}); 65]}).to_string();
    check(many.as_bytes(), KeySetError::TooManyKeys(65));
    assert!(matches!(KeySet::parse(br#"{"keys":[],"keys":[]}"#), Err(KeySetError::Malformed(_))));
}

#[test]
fn thumbprints_are_those_of_rfc_7638() {
    // RFC 7638 §3.1.
    let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs\
             tn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5\
             hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
    let document = json!({"keys": [{"kty": "RSA", "e": "AQAB", "n": n}]}).to_string();
    let set = KeySet::parse(document.as_bytes()).unwrap();
    let thumbprint = {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(set.thumbprints().next().unwrap())
    };
    assert_eq!(thumbprint, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
}

#[test]
fn a_bundle_document_may_be_as_large_as_a_bundle_and_its_other_keys_do_not_count() {
    let mut authority = Signer::es256("k").jwk;
    authority["use"] = json!("jwt-svid");
    let x509 = json!({"use": "x509-svid", "kty": "EC", "x5c": ["A".repeat(6000)]});
    let document = |jwt: usize| {
        let keys = [vec![x509.clone(); 100], vec![authority.clone(); jwt]].concat();
        KeySet::parse_spiffe_bundle(json!({ "keys": keys }).to_string().as_bytes())
    };
    assert_eq!(document(64).unwrap().len(), 64);
    assert_eq!(document(65).unwrap_err(), KeySetError::TooManyKeys(65));
}

#[test]
fn a_spiffe_bundle_gives_its_jwt_authorities_only() {
    let mut authority = Signer::es256("k").jwk;
    authority["use"] = json!("jwt-svid");
    let mut nameless = authority.clone();
    nameless.as_object_mut().unwrap().remove("kid");
    let document = json!({"keys": [authority, nameless, Signer::es256("x").jwk]}).to_string();
    let set = KeySet::parse_spiffe_bundle(document.as_bytes()).unwrap();
    assert_eq!((set.len(), set.ignored().len()), (1, 2));
    assert!(KeySet::parse_spiffe_bundle(br#"{"keys":[]}"#).unwrap().is_empty());
}
