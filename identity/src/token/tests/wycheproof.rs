//! Project Wycheproof's JWS and JWK vectors, up to the signature: their payloads are no claims.

use std::io::Read as _;

use serde_json::Value;

use super::super::compact::Compact;
use super::super::keys::KeySet;
use super::super::verify::verify_signature;

/// Vectors that call valid what is refused here, each with the reason.
const STRICTER: &[(&str, u64, &str)] = &[
    (
        "json_web_signature_test",
        346,
        "the key says PS256, the token PS384: one key has one algorithm (RFC 8725 §3.1)",
    ),
    ("json_web_signature_test", 350, "as 346"),
    ("json_web_signature_test", 347, "the key says ES521, which is no algorithm"),
    ("json_web_signature_test", 351, "as 347"),
];

fn vectors(name: &str) -> Option<Value> {
    let file = crate::testing::public_data()?.join(format!("wycheproof/{name}.json.gz"));
    let file = std::fs::File::open(file).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    Some(serde_json::from_str(&text).unwrap())
}

fn accepts(keys: &Value, jws: &str) -> bool {
    let set = if keys.get("keys").is_some() { keys.clone() } else { serde_json::json!({ "keys": [keys] }) };
    let Ok(set) = KeySet::parse(set.to_string().as_bytes()) else { return false };
    let Ok(token) = Compact::parse(jws) else { return false };
    verify_signature(&token, 0, &set).is_ok()
}

/// Every group whose key is public; shared secrets verify nothing here, whatever the vector says.
#[expect(clippy::print_stderr, reason = "how many vectors were run is part of the answer")]
fn run(name: &str) {
    let Some(vectors) = vectors(name) else { return };
    let (mut run, mut wrong) = (0, Vec::new());
    for group in vectors["testGroups"].as_array().unwrap() {
        let (keys, symmetric) = match (group.get("public"), group.get("private")) {
            (Some(public), _) => (public, false),
            (None, Some(private)) => (private, true),
            (None, None) => panic!("a group without key"),
        };
        for test in group["tests"].as_array().unwrap() {
            let id = test["tcId"].as_u64().unwrap();
            let stricter = STRICTER.iter().any(|(file, known, _)| *file == name && *known == id);
            let expected = test["result"] == "valid" && !symmetric && !stricter;
            run += 1;
            if accepts(keys, test["jws"].as_str().unwrap()) != expected {
                wrong.push((id, test["comment"].clone(), test["result"].clone()));
            }
        }
    }
    eprintln!("{name}: {run} vectors");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_jws_vectors_of_wycheproof_hold() {
    run("json_web_signature_test");
}

#[test]
fn the_jwk_vectors_of_wycheproof_hold() {
    run("json_web_key_test");
}
