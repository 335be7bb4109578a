//! Project Wycheproof's JOSE vectors, up to the signature: their payloads are no claims. Every vector agrees, or is
//! listed with the reason why not; a reason that no vector needs any more fails as well.

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

/// Valid vectors that are refused by their kind, which a group or a vector shows.
const NEVER: [&str; 2] = [
    "a shared secret verifies nothing: who could verify with it could mint",
    "an encrypted token is not taken: nothing here decrypts",
];

pub(super) fn vectors(name: &str) -> Option<Value> {
    let file = crate::testing::public_data()?.join(format!("{name}.json.gz"));
    let file = std::fs::File::open(file).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    Some(serde_json::from_str(&text).unwrap())
}

pub(super) fn accepts(keys: &Value, jws: &str) -> bool {
    let set = if keys.get("keys").is_some() { keys.clone() } else { serde_json::json!({ "keys": [keys] }) };
    let Ok(set) = KeySet::parse(set.to_string().as_bytes()) else { return false };
    let Ok(token) = Compact::parse(jws) else { return false };
    verify_signature(&token, 0, &set).is_ok()
}

/// How many vectors deviate by each reason: our two kinds, then the listed ones.
#[expect(clippy::print_stderr, reason = "how many vectors were run is part of the answer")]
fn run(name: &str, expected_never: [usize; 2]) {
    let Some(vectors) = vectors(&format!("wycheproof/{name}")) else { return };
    let (mut run, mut wrong, mut never, mut stricter) = (0, Vec::new(), [0; 2], Vec::new());
    for group in vectors["testGroups"].as_array().unwrap() {
        let (keys, symmetric) = match (group.get("public"), group.get("private")) {
            (Some(public), _) => (public, false),
            (None, Some(private)) => (private, true),
            (None, None) => panic!("a group without key"),
        };
        for test in group["tests"].as_array().unwrap() {
            let id = test["tcId"].as_u64().unwrap();
            let (token, encrypted) = match (test.get("jws"), test.get("jwe")) {
                (Some(Value::String(jws)), None) => (jws.clone(), false),
                (None, Some(Value::String(jwe))) => (jwe.clone(), true),
                // JSON serialisations stand there as objects.
                (Some(object), None) => (object.to_string(), false),
                (None, Some(object)) => (object.to_string(), true),
                (seen, other) => panic!("{seen:?}, {other:?}"),
            };
            run += 1;
            match (test["result"] == "valid", accepts(keys, &token)) {
                (true, true) | (false, false) => {}
                (true, false) if encrypted => never[1] += 1,
                (true, false) if symmetric => never[0] += 1,
                (true, false) if STRICTER.iter().any(|(file, known, _)| *file == name && *known == id) => {
                    stricter.push(id);
                }
                _ => wrong.push((id, test["comment"].clone(), test["result"].clone())),
            }
        }
    }
    eprintln!("{name}: {run} vectors");
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(never, expected_never, "{NEVER:#?}");
    stricter.sort_unstable();
    let mut listed: Vec<u64> =
        STRICTER.iter().filter(|(file, _, _)| *file == name).map(|(_, id, _)| *id).collect();
    listed.sort_unstable();
    assert_eq!(stricter, listed, "a listed deviation is none any more");
}

#[test]
fn the_jws_vectors_of_wycheproof_hold() {
    run("json_web_signature_test", [10, 0]);
}

#[test]
fn the_jwk_vectors_of_wycheproof_hold() {
    run("json_web_key_test", [4, 0]);
}

#[test]
fn the_mixed_vectors_of_wycheproof_hold() {
    run("json_web_crypto_test", [2, 2]);
}

#[test]
fn the_jwe_vectors_of_wycheproof_are_all_refused() {
    run("json_web_encryption_test", [0, 65]);
}
