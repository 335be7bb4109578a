//! Attacks on tokens, against the real binary: each is refused with its own code, nothing goes upstream, nobody is asked
//! for keys that a token points to, and the next caller is served.

use std::net::TcpListener;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use bytes::Bytes;
use http::Request;
use postern_tests::process::wait;
use postern_tests::{Answer, Scene, Served, Sidecar, Version};
use serde_json::{Value, json};

const ISSUER: &str = "https://idp.example.org";
const LIMIT: Duration = Duration::from_secs(30);

const POLICY: &str = r#"package postern.authz

default decision := {"allowed": false, "reason": "somebody else"}

decision := {"allowed": true} if input.claims.sub == "alice"
"#;

fn base64url(bytes: impl AsRef<[u8]>) -> String {
    base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// An issuer that signs anything.
struct Forge(EcdsaKeyPair);

impl Forge {
    fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"))
    }

    fn jwk(&self, kid: &str) -> Value {
        let (x, y) = self.0.public_key().as_ref()[1..].split_at(32);
        json!({ "kty": "EC", "crv": "P-256", "kid": kid, "x": base64url(x), "y": base64url(y) })
    }

    fn sign(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", base64url(header), base64url(claims));
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).expect("a signature");
        format!("{signed}.{}", base64url(signature))
    }
}

fn header() -> Value {
    json!({ "alg": "ES256", "kid": "k1", "typ": "at+jwt" })
}

fn claims() -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    json!({
        "iss": ISSUER, "aud": "orders", "sub": "alice", "client_id": "shop", "jti": "1", "iat": now, "exp": now + 600,
    })
}

fn with(mut of: Value, name: &str, value: Value) -> String {
    of[name] = value;
    of.to_string()
}

struct World {
    scene: Scene,
    sidecar: Sidecar,
    keys: Served,
    forge: Forge,
}

impl World {
    fn start(document: Option<Vec<u8>>) -> Self {
        let mut scene = Scene::new();
        let forge = Forge::new();
        let right = json!({ "keys": [forge.jwk("k1")] }).to_string().into_bytes();
        let keys = Served::start_as("application/json", document.unwrap_or(right));
        scene.config["tokens"] = json!([{
            "issuer": ISSUER, "audiences": ["orders"], "algorithms": ["ES256", "ES384", "EdDSA", "RS256"],
            "keys": { "url": keys.url() },
        }]);
        scene.config["listeners"]["app"]["routes"][0]["tokens"] = json!("required");
        scene.write_policy(POLICY);
        let sidecar = scene.start();
        Self { scene, sidecar, keys, forge }
    }

    fn right(&self) -> String {
        self.forge.sign(&header().to_string(), &claims().to_string())
    }

    fn ask(&self, fields: &[(&str, String)]) -> Answer {
        let mut request = Request::builder().uri("/things");
        for (name, value) in fields {
            request = request.header(*name, value);
        }
        let request = request.body(Bytes::new()).expect("a request");
        self.scene.caller("/client").call(self.scene.listener, Version::Http2, request).expect("an answer")
    }

    fn bearer(&self, token: &str) -> (u16, String) {
        let answer = self.ask(&[("authorization", format!("Bearer {token}"))]);
        (answer.status.as_u16(), answer.json()["reason"].as_str().unwrap_or_default().to_owned())
    }

    /// A token is refused with this code, and the next right one is taken.
    fn check(&self, what: &str, token: &str, reason: &str) {
        let before = self.scene.upstream.count();
        assert_eq!(self.bearer(token), (401, reason.to_owned()), "{what}");
        assert_eq!(self.scene.upstream.count(), before, "{what}: something went upstream");
    }

    fn serves(&self) {
        wait("a right token to be taken", LIMIT, || (self.bearer(&self.right()).0 == 200).then_some(()));
    }
}

#[test]
fn a_forged_signature_is_no_signature() {
    let world = World::start(None);
    world.serves();
    let (right, stranger) = (world.right(), Forge::new());
    let (body, signature) = right.rsplit_once('.').expect("three segments");
    let claims = claims().to_string();
    for name in ["none", "None", "nOnE", "NONE", "", "HS256", "HS384", "ES256K", "RSA-OAEP"] {
        let unsigned = format!("{}.{}.", base64url(with(header(), "alg", json!(name))), base64url(&claims));
        world.check(name, &unsigned, "token.algorithm");
        world.check(name, &format!("{unsigned}{signature}"), "token.algorithm");
    }
    world.check("two dots", "..", "token.malformed");
    world.check("no signature", &format!("{body}."), "token.signature");
    // The public key as a shared secret, as a JWK and as its point.
    let header_hs = with(header(), "alg", json!("HS256"));
    for secret in
        [world.forge.jwk("k1").to_string().into_bytes(), world.forge.0.public_key().as_ref().to_vec()]
    {
        let signed = format!("{}.{}", base64url(&header_hs), base64url(&claims));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), signed.as_bytes());
        world.check("HS256", &format!("{signed}.{}", base64url(tag)), "token.algorithm");
    }
    world.check("r and s of nothing", &format!("{body}.{}", base64url([0; 64])), "token.signature");
    let mut order = [0xff; 64];
    order[32..].fill(0);
    world.check("s of nothing", &format!("{body}.{}", base64url(order)), "token.signature");
    world.check("a stranger's key", &stranger.sign(&header().to_string(), &claims), "token.signature");
    for alg in ["ES384", "EdDSA", "RS256"] {
        let token = world.forge.sign(&with(header(), "alg", json!(alg)), &claims);
        world.check(alg, &token, "token.algorithm");
    }
    let digest = base64url(digest::digest(&digest::SHA256, body.as_bytes()));
    world.check("a digest", &format!("{body}.{digest}"), "token.signature");
    world.serves();
    world.sidecar.stop();
}

#[test]
fn a_token_chooses_no_key_and_brings_none() {
    let world = World::start(None);
    world.serves();
    let canary = TcpListener::bind("127.0.0.1:0").expect("a port");
    canary.set_nonblocking(true).expect("a non-blocking listener");
    let there = format!("http://{}/keys", canary.local_addr().expect("an address"));
    let stranger = Forge::new();
    let claims = claims().to_string();
    for (name, value) in [
        ("jku", json!(there)),
        ("x5u", json!(there)),
        ("jwk", stranger.jwk("k1")),
        ("x5c", json!([base64url([0x30; 64])])),
        ("x5t", json!(base64url([1; 20]))),
    ] {
        world.check(name, &stranger.sign(&with(header(), name, value), &claims), "token.signature");
    }
    let asked = world.keys.asked();
    let injected =
        ["../../dev/null", "/etc/passwd", "' OR 1=1 --", "k1\u{0}", "K1", "k1 ", "$(id)", there.as_str()];
    for kid in injected {
        let token = world.forge.sign(&with(header(), "kid", json!(kid)), &claims);
        world.check(kid, &token, "token.key_unknown");
    }
    // The same invented key again and again: it is remembered, and no reason to ask.
    let token = world.forge.sign(&with(header(), "kid", json!("invented")), &claims);
    world.check("invented", &token, "token.key_unknown");
    let began = Instant::now();
    (0..50).for_each(|_| world.check("invented again", &token, "token.key_unknown"));
    assert!(began.elapsed() < Duration::from_secs(15), "{:?} for 50 refusals", began.elapsed());
    assert!(world.keys.asked() <= asked + 2, "{} fetches for invented keys", world.keys.asked() - asked);
    let long = world.forge.sign(&with(header(), "kid", json!("k".repeat(1024))), &claims);
    world.check("a long kid", &long, "token.malformed");
    assert!(canary.accept().is_err(), "somebody came for the keys that a token points to");
    world.serves();
    world.sidecar.stop();
}

#[test]
fn claims_of_the_wrong_kind_are_no_claims() {
    let world = World::start(None);
    world.serves();
    let header = header().to_string();
    let sign = |claims: &str| world.forge.sign(&header, claims);
    let raw = |name: &str, text: &str| {
        let mut claims = claims();
        claims.as_object_mut().expect("an object").remove(name);
        claims.to_string().replacen('{', &format!("{{\"{name}\":{text},"), 1)
    };
    for name in ["exp", "nbf", "iat"] {
        for text in
            ["\"never\"", "\"99999999999\"", "1e400", "null", "[]", "{}", "true", "-1", "9223372036854775808"]
        {
            world.check(&format!("{name} {text}"), &sign(&raw(name, text)), "token.claims");
        }
    }
    for (name, text, reason) in [
        ("aud", "null", "token.claims"),
        ("aud", "[]", "token.audience"),
        ("aud", "[[\"orders\"]]", "token.claims"),
        ("aud", "\"order\"", "token.audience"),
        ("aud", "\"orders \"", "token.audience"),
        ("aud", "\"ORDERS\"", "token.audience"),
        ("iss", "\"https://idp.example.org/\"", "token.issuer"),
        ("iss", "\"HTTPS://idp.example.org\"", "token.issuer"),
        ("iss", "[\"https://idp.example.org\"]", "token.claims"),
        ("sub", "{\"a\":\"alice\"}", "token.claims"),
        ("sub", "null", "token.claims"),
        ("act", "\"root\"", "token.claims"),
        ("cnf", "\"root\"", "token.claims"),
    ] {
        world.check(&format!("{name} {text}"), &sign(&raw(name, text)), reason);
    }
    let twice = claims().to_string().replacen("\"sub\"", "\"sub\":\"mallory\",\"sub\"", 1);
    world.check("a claim twice", &sign(&twice), "token.malformed");
    let escaped = claims().to_string().replacen("\"sub\"", "\"s\\u0075b\":\"mallory\",\"sub\"", 1);
    world.check("a claim twice, escaped", &sign(&escaped), "token.malformed");
    let header_twice = header.replacen("\"alg\"", "\"alg\":\"none\",\"alg\"", 1);
    world.check("alg twice", &world.forge.sign(&header_twice, &claims().to_string()), "token.malformed");
    world.serves();
    world.sidecar.stop();
}

#[test]
fn a_token_has_one_spelling_and_bounded_size() {
    let world = World::start(None);
    world.serves();
    let right = world.right();
    let claims = claims().to_string();
    for (what, token) in [
        ("padding", format!("{right}=")),
        ("the other alphabet", format!("{}+/", &right[..right.len() - 2])),
        ("a space inside", right.replacen('.', " .", 1)),
        ("two spaces", format!(" {right}")),
        ("two tokens", format!("{right}, Bearer {right}")),
        ("five segments", format!("{right}.AA.AA")),
        ("a flattened JSON serialisation", "{\"payload\":\"e30\"}".to_owned()),
        ("a nested token", world.forge.sign(&with(header(), "cty", json!("JWT")), &claims)),
        ("an encrypted token", world.forge.sign(&with(header(), "enc", json!("A256GCM")), &claims)),
        ("a compressed token", world.forge.sign(&with(header(), "zip", json!("DEF")), &claims)),
        ("a thousand levels", {
            world.forge.sign(&header().to_string(), &format!("{{\"a\":{}", "[".repeat(1000)))
        }),
        ("five thousand levels", {
            let deep = format!("{{\"a\":{}1{}}}", "[".repeat(2000), "]".repeat(2000));
            world.forge.sign(&header().to_string(), &deep)
        }),
    ] {
        world.check(what, &token, "token.malformed");
    }
    world.check("crit", &world.forge.sign(&with(header(), "crit", json!(["x"])), &claims), "token.crit");
    world.check("b64", &world.forge.sign(&with(header(), "b64", json!(false)), &claims), "token.crit");
    let padded = |bytes: usize| {
        let pad = format!("{{\"p\":\"{}\",", "x".repeat(bytes));
        world.forge.sign(&header().to_string(), &claims.replacen('{', &pad, 1))
    };
    assert_eq!(world.bearer(&padded(5000)), (200, String::new()));
    assert_eq!(world.bearer(&padded(7000)), (431, "request.header_too_large".to_owned()));
    // Beyond what any head may hold: the parser's own limits, over both protocols.
    let megabyte = "x".repeat(1024 * 1024);
    let raw = format!("GET /things HTTP/1.1\r\nHost: a.test\r\nAuthorization: Bearer {megabyte}\r\n\r\n");
    let answer = world.scene.caller("/client").raw(world.scene.listener, raw.as_bytes());
    assert!(answer.as_ref().map_or(true, |answer| answer.starts_with("HTTP/1.1 431")), "{answer:?}");
    let schemes = [("bearer", 200), ("BEARER", 200), ("Basic", 401), ("DPoP", 401)];
    for (scheme, status) in schemes {
        let answer = world.ask(&[("authorization", format!("{scheme} {right}"))]);
        assert_eq!(answer.status.as_u16(), status, "{scheme}: {answer:?}");
    }
    let twice = [("authorization", format!("Bearer {right}")), ("authorization", format!("Bearer {right}"))];
    assert_eq!(world.ask(&twice).json()["reason"], "token.multiple");
    world.serves();
    world.sidecar.stop();
}

#[test]
fn keys_that_are_none_open_nothing() {
    let weak = json!({ "keys": [{ "kty": "oct", "kid": "k1", "k": "AAAA" }] }).to_string();
    for document in ["{}", "<html>", "{\"keys\":[]}", weak.as_str(), ""] {
        let world = World::start(Some(document.as_bytes().to_vec()));
        assert_eq!(world.bearer(&world.right()), (503, "keys.unavailable".to_owned()), "{document}");
        let (status, text) = world.sidecar.ask_status("/readyz?verbose");
        assert!(status == 200 && text.contains(&format!("none of: {ISSUER}")), "{text}");
        world.keys.replace(json!({ "keys": [world.forge.jwk("k1")] }).to_string().into_bytes());
        world.serves();
        world.sidecar.stop();
    }
}
