//! Tokens: minted by an issuer that is not ours, verified against its key set, read by policy; and those that are bound to
//! a key, which another implementation proves.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use http::Request;
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use postern_tests::authority::ECDSA_P256;
use postern_tests::{Answer, Scene, Sidecar, Version};
use rcgen::{KeyPair, PublicKeyData};
use serde_json::{Value, json};

const ISSUER: &str = "https://idp.example.org";
const KEY_ID: &str = "2026-11";

/// Who may read is written in the token.
const POLICY: &str = r#"package postern.authz

default decision := {"allowed": false, "reason": "the token lacks the scope"}

decision := {"allowed": true} if "read" in split(input.claims.scope, " ")
"#;

/// A scene whose one route wants a token, and the issuer's key.
fn scene() -> (Scene, KeyPair) {
    let mut scene = Scene::new();
    let key = KeyPair::generate_for(&ECDSA_P256).expect("a key");
    fs::write(scene.path("jwks.json"), key_set(&key).to_string()).expect("the key set");
    scene.config["tokens"] = json!([{
        "issuer": ISSUER,
        "audiences": ["orders"],
        "algorithms": ["ES256"],
        "profile": "generic",
        "keys": { "file": scene.folder.path().join("jwks.json") },
    }]);
    scene.config["listeners"]["app"]["routes"][0]["tokens"] = json!("required");
    scene.write_policy(POLICY);
    (scene, key)
}

/// RFC 7517 for a P-256 key: the point is the last 64 bytes of its public key.
fn key_set(key: &KeyPair) -> Value {
    let raw = key.der_bytes();
    let (x, y) = raw[raw.len() - 64..].split_at(32);
    json!({ "keys": [{
        "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": KEY_ID,
        "x": base64url(x), "y": base64url(y),
    }] })
}

fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for sextet in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(word >> (18 - 6 * sextet) & 63) as usize]));
        }
    }
    text
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// Claims that are all in order.
fn claims() -> Value {
    json!({ "iss": ISSUER, "sub": "alice", "aud": "orders", "iat": now(), "exp": now() + 300, "scope": "write read" })
}

fn token(key: &KeyPair, claims: &Value) -> String {
    let mut header = Header::new(Algorithm::ES256);
    header.kid = Some(KEY_ID.to_owned());
    let key = EncodingKey::from_ec_der(&key.serialize_der());
    encode(&header, claims, &key).expect("a token")
}

fn ask(scene: &Scene, bearer: Option<&str>) -> Answer {
    let authorization = bearer.map(|token| ("authorization", format!("Bearer {token}")));
    ask_with(scene, &Vec::from_iter(authorization))
}

fn ask_with(scene: &Scene, headers: &[(&str, String)]) -> Answer {
    let mut request = Request::builder().uri("/things?q=1");
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let request = request.body(Bytes::new()).expect("a request");
    scene.caller("/client").call(scene.listener, Version::Http2, request).expect("an answer")
}

#[test]
fn a_token_is_judged_before_policy_and_its_claims_by_policy() {
    let (scene, key) = scene();
    let sidecar: Sidecar = scene.start();
    let other = KeyPair::generate_for(&ECDSA_P256).expect("another key");
    let with = |member: &str, value: Value| {
        let mut claims = claims();
        claims[member] = value;
        token(&key, &claims)
    };
    let rows = [
        ("in order", Some(token(&key, &claims())), 200, ""),
        ("without the scope", Some(with("scope", json!("write"))), 403, "policy.denied"),
        ("none", None, 401, "token.missing"),
        ("no token at all", Some("abc".to_owned()), 401, "token.malformed"),
        ("expired", Some(with("exp", json!(now() - 600))), 401, "token.expired"),
        ("for somebody else", Some(with("aud", json!("billing"))), 401, "token.audience"),
        ("of another issuer", Some(with("iss", json!("https://evil.example"))), 401, "token.issuer"),
        ("signed by another key", Some(token(&other, &claims())), 401, "token.signature"),
    ];
    for (what, bearer, status, reason) in &rows {
        let answer = ask(&scene, bearer.as_deref());
        assert_eq!(answer.status.as_u16(), *status, "{what}: {answer:?}");
        assert_eq!(answer.json()["reason"].as_str().unwrap_or_default(), *reason, "{what}");
    }
    assert_eq!(scene.upstream.count(), 1);
    sidecar.stop();
}

/// A client that proves its key with each request (RFC 9449).
struct Client {
    key: KeyPair,
    jwk: Jwk,
}

impl Client {
    fn new() -> Self {
        let key = KeyPair::generate_for(&ECDSA_P256).expect("a key");
        let mut jwk = key_set(&key)["keys"][0].clone();
        jwk.as_object_mut()
            .expect("a key")
            .retain(|name, _| matches!(name.as_str(), "kty" | "crv" | "x" | "y"));
        Self { key, jwk: serde_json::from_value(jwk).expect("a public key") }
    }

    /// A token that is bound to the key.
    fn token(&self, issuer: &KeyPair) -> String {
        let mut claims = claims();
        claims["cnf"] = json!({ "jkt": self.jwk.thumbprint(ThumbprintHash::SHA256).expect("a thumbprint") });
        token(issuer, &claims)
    }

    /// A proof for `GET /things` at the host that callers name.
    fn proof(token: &str, id: &str) -> Value {
        json!({
            "htm": "GET", "htu": "https://localhost/things", "iat": now(), "jti": id,
            "ath": base64url(digest(&SHA256, token.as_bytes()).as_ref()),
        })
    }

    fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::ES256);
        (header.typ, header.jwk) = (Some("dpop+jwt".to_owned()), Some(self.jwk.clone()));
        encode(&header, claims, &EncodingKey::from_ec_der(&self.key.serialize_der())).expect("a proof")
    }
}

#[test]
fn a_token_bound_to_a_key_is_good_for_its_holder_alone_and_each_proof_for_one_request() {
    let (mut scene, issuer) = scene();
    scene.config["tokens"][0]["sender_constraint"] = json!("dpop");
    let sidecar: Sidecar = scene.start();
    let client = Client::new();
    let bound = client.token(&issuer);
    let with = |scheme: &str, token: &str, proof: &str| {
        ask_with(&scene, &[("authorization", format!("{scheme} {token}")), ("dpop", proof.to_owned())])
    };
    let bent = |id: &str, member: &str, value: Value| {
        let mut claims = Client::proof(&bound, id);
        claims[member] = value;
        client.sign(&claims)
    };
    let proof = client.sign(&Client::proof(&bound, "1"));
    let unbound = token(&issuer, &claims());
    let elsewhere = json!("https://localhost:8443/things");
    let rows = [
        ("in order", with("DPoP", &bound, &proof), 200, ""),
        ("a copy", with("DPoP", &bound, &proof), 401, "token.dpop_replayed"),
        ("a new one", with("DPoP", &bound, &client.sign(&Client::proof(&bound, "2"))), 200, ""),
        (
            "by a thief",
            with("DPoP", &bound, &Client::new().sign(&Client::proof(&bound, "3"))),
            401,
            "token.dpop_key",
        ),
        ("for another port", with("DPoP", &bound, &bent("4", "htu", elsewhere)), 401, "token.dpop_request"),
        (
            "for another method",
            with("DPoP", &bound, &bent("5", "htm", json!("POST"))),
            401,
            "token.dpop_request",
        ),
        ("an old one", with("DPoP", &bound, &bent("6", "iat", json!(now() - 120))), 401, "token.dpop_time"),
        ("for another token", with("DPoP", &bound, &bent("7", "ath", json!("x"))), 401, "token.dpop_token"),
        ("as a bearer's", ask(&scene, Some(&bound)), 401, "token.dpop_missing"),
        ("bound to nothing", ask(&scene, Some(&unbound)), 401, "token.binding"),
    ];
    for (what, answer, status, reason) in &rows {
        assert_eq!(answer.status.as_u16(), *status, "{what}: {answer:?}");
        assert_eq!(answer.json()["reason"].as_str().unwrap_or_default(), *reason, "{what}");
        if reason.starts_with("token.dpop_") && *reason != "token.dpop_missing" {
            let challenge = answer.header("www-authenticate");
            assert!(
                challenge.starts_with("DPoP error=\"invalid_dpop_proof\", algs=\""),
                "{what}: {challenge}"
            );
        }
    }
    let seen = scene.upstream.seen();
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|request| request["headers"]["dpop"].is_null()), "{seen:?}");
    sidecar.stop();
    let log = postern_tests::sidecar::records(&scene.audit());
    assert!(!proof.split('.').any(|part| log.contains(part)), "the log shows a proof");
}

/// A signed token of any type; the standard header members come first, whatever else it has.
fn mint(key: &KeyPair, (typ, kid): (&str, Option<&str>), claims: &Value) -> String {
    let mut header = Header::new(Algorithm::ES256);
    (header.typ, header.kid) = (Some(typ.to_owned()), kid.map(str::to_owned));
    encode(&header, claims, &EncodingKey::from_ec_der(&key.serialize_der())).expect("a token")
}

#[test]
fn a_workload_says_who_it_is_and_proves_it_for_one_request_at_a_configured_name() {
    let mut scene = Scene::new();
    let (authority, holder) = (KeyPair::generate_for(&ECDSA_P256), KeyPair::generate_for(&ECDSA_P256));
    let (authority, holder) = (authority.expect("a key"), holder.expect("a key"));
    let mut bundle = key_set(&authority);
    (bundle["keys"][0]["use"], bundle["keys"][0]["kid"]) = (json!("wit-svid"), json!("a1"));
    fs::write(scene.path("other.json"), bundle.to_string()).expect("the bundle");
    scene.config["workload_tokens"] = json!({
        "incubating": true,
        "authorities": ["https://orders.example.org"],
        "bundles": { "other.org": scene.path("other.json") },
    });
    scene.write_policy(
        "package postern.authz\n\ndefault decision := false\n\ndecision := true if input.postern.workload_token.trust_domain == \"other.org\"\n",
    );
    let mut sidecar: Sidecar = scene.start();
    sidecar.running.wait_for("the keys", Duration::from_secs(20), |printed| {
        printed.contains("keys for workload identity tokens are in force").then_some(())
    });
    let mut jwk = key_set(&holder)["keys"][0].clone();
    jwk.as_object_mut().expect("a key").retain(|name, _| name != "kid" && name != "use");
    let claims = json!({ "sub": "spiffe://other.org/batch", "exp": now() + 300, "cnf": { "jwk": jwk } });
    let identity = mint(&authority, ("wit+jwt", Some("a1")), &claims);
    let proof = |id: &str, member: &str, value: Value| {
        let mut claims = json!({
            "aud": "https://orders.example.org/things", "exp": now() + 60, "jti": id,
            "wth": base64url(digest(&SHA256, identity.as_bytes()).as_ref()),
        });
        claims[member] = value;
        mint(&holder, ("wpt+jwt", None), &claims)
    };
    let ask = |proof: Option<&str>| {
        let mut headers = vec![("workload-identity-token", identity.clone())];
        headers.extend(proof.map(|proof| ("workload-proof-token", proof.to_owned())));
        ask_with(&scene, &headers)
    };
    let first = proof("1", "jti", json!("1"));
    let rows = [
        ("in order", ask(Some(&first)), 200, ""),
        ("a copy", ask(Some(&first)), 400, "token.wpt_replayed"),
        ("without its proof", ask(None), 400, "token.wpt_missing"),
        (
            "for what the request calls us",
            ask(Some(&proof("2", "aud", json!("https://localhost/things")))),
            400,
            "token.wpt_audience",
        ),
        ("for another token", ask(Some(&proof("3", "wth", json!("x")))), 400, "token.wpt_tokens"),
        ("nobody", ask_with(&scene, &[]), 403, "policy.denied"),
    ];
    for (what, answer, status, reason) in &rows {
        assert_eq!(answer.status.as_u16(), *status, "{what}: {answer:?}");
        assert_eq!(answer.json()["reason"].as_str().unwrap_or_default(), *reason, "{what}");
    }
    let seen = scene.upstream.seen();
    assert_eq!(seen.len(), 1);
    assert!(seen[0]["headers"]["workload-identity-token"].is_null(), "{seen:?}");
    sidecar.stop();
    let log = postern_tests::sidecar::records(&scene.audit());
    assert!(log.contains("spiffe://other.org/batch"), "the record names the workload");
    assert!(
        !identity.split('.').chain(first.split('.')).any(|part| log.contains(part)),
        "the log shows a token"
    );
}
