//! The IETF's JOSE cookbook (RFC 7520), with RFC 8037 and RFC 7797: every example is taken, or listed with the reason
//! why not.

use serde_json::{Value, json};

use super::super::KeySet;
use super::wycheproof::{accepts, vectors};

/// By the beginning of an example's path and the form of its output; the first that fits. `None` is taken.
const REASONS: &[(&str, &str, Option<&str>)] = &[
    ("jwe/", "", Some("encrypted")),
    ("curve25519/ecdh-es", "", Some("encrypted")),
    ("", "json", Some("JSON serialisation: a bearer token is compact (RFC 7519 §1)")),
    ("jws/4_4", "", Some("a shared secret: who could verify with it could mint")),
    ("jws/4_5", "", Some("a shared secret, and detached content")),
    ("rfc7797/", "", Some("a shared secret, and `crit`")),
    ("jws/4_1", "compact", None),
    ("jws/4_2", "compact", None),
    ("jws/4_3", "compact", None),
    ("curve25519/jws", "compact", None),
];

#[test]
fn the_examples_of_the_cookbook_are_taken_or_have_a_reason() {
    let Some(cookbook) = vectors("jose-cookbook/cookbook") else { return };
    let (mut taken, mut run) = (Vec::new(), 0);
    for (path, example) in cookbook.as_object().unwrap() {
        let Some(outputs) = example.get("output").and_then(Value::as_object) else { continue };
        let key = &example["input"]["key"];
        let keys = if key.is_array() { json!({ "keys": key }) } else { json!({ "keys": [key] }) };
        for (form, output) in outputs {
            let text = output.as_str().map_or_else(|| output.to_string(), str::to_owned);
            let (_, _, reason) = REASONS
                .iter()
                .find(|(start, of, _)| path.starts_with(start) && form.starts_with(of))
                .unwrap_or_else(|| panic!("{path} {form} is not listed"));
            run += 1;
            assert_eq!(accepts(&keys, &text), reason.is_none(), "{path} {form}: {reason:?}");
            if reason.is_none() {
                taken.push(path.clone());
            }
        }
    }
    assert_eq!((run, taken.len()), (65, 4), "{taken:?}");
}

#[test]
fn the_nested_token_of_the_cookbook_is_taken_without_its_envelope() {
    let Some(cookbook) = vectors("jose-cookbook/cookbook") else { return };
    let nested = &cookbook["6.nesting_signatures_and_encryption.json"];
    let of = |step: &str| {
        let keys = json!({ "keys": [nested[step]["input"]["key"]] });
        accepts(&keys, nested[step]["output"]["compact"].as_str().unwrap())
    };
    assert!(of("sign") && !of("encrypt"));
}

#[test]
fn the_keys_of_the_cookbook_are_public_ones_or_none() {
    let Some(cookbook) = vectors("jose-cookbook/cookbook") else { return };
    for (path, usable) in [
        ("jwk/3_1.ec_public_key.json", true),
        ("jwk/3_2.ec_private_key.json", true),
        ("jwk/3_3.rsa_public_key.json", true),
        ("jwk/3_4.rsa_private_key.json", true),
        ("jwk/3_5.symmetric_key_mac_computation.json", false),
        ("jwk/3_6.symmetric_key_encryption.json", false),
    ] {
        let document = json!({ "keys": [cookbook[path]] }).to_string();
        assert_eq!(KeySet::parse(document.as_bytes()).is_ok(), usable, "{path}");
    }
    let of = |path: &str| KeySet::parse(json!({ "keys": [cookbook[path]] }).to_string().as_bytes()).unwrap();
    assert_eq!(of("jwk/3_1.ec_public_key.json"), of("jwk/3_2.ec_private_key.json"));
    assert_eq!(of("jwk/3_3.rsa_public_key.json"), of("jwk/3_4.rsa_private_key.json"));
}
