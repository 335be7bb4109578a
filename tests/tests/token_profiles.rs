//! Four kinds of token on one route: each by its own issuer's terms and keys, and policy sees who vouches for it.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair,
};
use base64::Engine as _;
use bytes::Bytes;
use http::Request;
use postern_tests::{Answer, Scene, Version};
use serde_json::{Value, json};

/// What policy saw of the issuer has to be what the caller says it should see.
const POLICY: &str = r#"package postern.authz

default decision := {"allowed": false, "reason": "somebody else vouches for it"}

expected(name) := object.get(input.attributes.request.http.headers, name, "")

decision := {"allowed": true} if {
	input.postern.token_issuer == expected("x-issuer")
	object.get(input.postern, "token_trust_domain", "") == expected("x-trust-domain")
}
"#;

enum Key {
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

/// An issuer with its key: what it is called, and what it writes into the header.
struct Issuer {
    name: &'static str,
    alg: &'static str,
    typ: Option<&'static str>,
    trust_domain: &'static str,
    key: Key,
}

fn base64url(bytes: impl AsRef<[u8]>) -> String {
    base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn ec(how: &'static EcdsaSigningAlgorithm) -> Key {
    Key::Ec(EcdsaKeyPair::generate(how).expect("a key"))
}

impl Issuer {
    fn jwk(&self) -> Value {
        let mut jwk = match &self.key {
            Key::Ec(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = point[1..].split_at((point.len() - 1) / 2);
                let curve = if x.len() == 32 { "P-256" } else { "P-521" };
                json!({ "kty": "EC", "crv": curve, "x": base64url(x), "y": base64url(y) })
            }
            Key::Ed(pair) => json!({ "kty": "OKP", "crv": "Ed25519", "x": base64url(pair.public_key()) }),
        };
        jwk["kid"] = json!("k1");
        jwk["use"] = json!(if self.trust_domain.is_empty() { "sig" } else { "jwt-svid" });
        jwk
    }

    fn token(&self, claims: &Value) -> String {
        let mut header = json!({ "alg": self.alg, "kid": "k1" });
        if let Some(typ) = self.typ {
            header["typ"] = json!(typ);
        }
        let signed = format!("{}.{}", base64url(header.to_string()), base64url(claims.to_string()));
        let signature = match &self.key {
            Key::Ec(pair) => {
                pair.sign(&SystemRandom::new(), signed.as_bytes()).expect("a signature").as_ref().to_vec()
            }
            Key::Ed(pair) => pair.sign(signed.as_bytes()).as_ref().to_vec(),
        };
        format!("{signed}.{}", base64url(signature))
    }

    fn config(&self, scene: &Scene, profile: &str) -> Value {
        let file = scene.path(&format!("{profile}.json"));
        fs::write(&file, json!({ "keys": [self.jwk()] }).to_string()).expect("the keys are written");
        json!({
            "issuer": self.name, "audiences": ["orders"], "algorithms": [self.alg], "profile": profile,
            "keys": { "file": file },
        })
    }
}

fn issuers() -> [(&'static str, Issuer); 4] {
    let issuer = |name, alg, typ, trust_domain, key| Issuer { name, alg, typ, trust_domain, key };
    let ed = Key::Ed(Ed25519KeyPair::generate().expect("a key"));
    let p521 = ec(&ECDSA_P521_SHA512_FIXED_SIGNING);
    let (spiffe, cluster) = (ec(&ECDSA_P256_SHA256_FIXED_SIGNING), ec(&ECDSA_P256_SHA256_FIXED_SIGNING));
    [
        ("access_token", issuer("https://a.example", "ES512", Some("at+jwt"), "", p521)),
        ("generic", issuer("https://g.example", "EdDSA", Some("JWT"), "", ed)),
        ("jwt_svid", issuer("spiffe://example.org", "ES256", Some("JWT"), "example.org", spiffe)),
        ("k8s_sa", issuer("https://cluster.example", "ES256", None, "", cluster)),
    ]
}

/// Claims that are right for each profile.
fn claims(profile: &str, issuer: &str) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let mut claims = json!({ "iss": issuer, "aud": ["orders"], "iat": now, "exp": now + 300 });
    match profile {
        "access_token" => {
            for name in ["sub", "client_id", "jti"] {
                claims[name] = json!("x");
            }
        }
        // What a JWT-SVID says of its issuer means nothing.
        "jwt_svid" => {
            claims["iss"] = json!("https://nobody.example");
            claims["sub"] = json!("spiffe://example.org/web");
        }
        "k8s_sa" => {
            claims["sub"] = json!("system:serviceaccount:shop:cart");
            let account = json!({ "name": "cart", "uid": "1" });
            claims["kubernetes.io"] = json!({ "namespace": "shop", "serviceaccount": account });
        }
        _ => {}
    }
    claims
}

fn ask(scene: &Scene, issuer: &Issuer, token: &str) -> Answer {
    let mut request = Request::builder().uri("/things").header("authorization", format!("Bearer {token}"));
    request = request.header("x-issuer", issuer.name);
    if !issuer.trust_domain.is_empty() {
        request = request.header("x-trust-domain", issuer.trust_domain);
    }
    let request = request.body(Bytes::new()).expect("a request");
    scene.caller("/client").call(scene.listener, Version::Http2, request).expect("an answer")
}

#[test]
fn each_kind_of_token_is_taken_by_its_own_terms() {
    let mut scene = Scene::new();
    let issuers = issuers();
    let tokens: Vec<Value> = issuers.iter().map(|(profile, issuer)| issuer.config(&scene, profile)).collect();
    scene.config["tokens"] = json!(tokens);
    scene.config["listeners"]["app"]["routes"][0]["tokens"] = json!("required");
    scene.write_policy(POLICY);
    let sidecar = scene.start();
    let check = |issuer: &Issuer, claims: &Value, (status, reason): (u16, &str)| {
        let answer = ask(&scene, issuer, &issuer.token(claims));
        let told = answer.json()["reason"].as_str().unwrap_or_default().to_owned();
        assert_eq!((answer.status.as_u16(), told.as_str()), (status, reason), "{}: {answer:?}", issuer.name);
    };
    for (profile, issuer) in &issuers {
        check(issuer, &claims(profile, issuer.name), (200, ""));
    }
    let [(_, access), (_, generic), (_, svid), (_, cluster)] = &issuers;
    let bent = |profile: &str, issuer: &Issuer, name: &str, value: Value| {
        let mut claims = claims(profile, issuer.name);
        claims[name] = value;
        claims
    };
    check(access, &bent("access_token", access, "jti", json!(1)), (401, "token.claims"));
    check(generic, &bent("generic", generic, "aud", json!("billing")), (401, "token.audience"));
    check(svid, &bent("jwt_svid", svid, "sub", json!("spiffe://other.org/web")), (401, "token.issuer"));
    check(cluster, &bent("k8s_sa", cluster, "kubernetes.io", json!({})), (401, "token.claims"));
    let year = json!(claims("k8s_sa", "")["iat"].as_u64().expect("a time") + 365 * 86_400);
    check(cluster, &bent("k8s_sa", cluster, "exp", year), (401, "token.lifetime"));
    // A key of one issuer says nothing for another.
    let stolen = bent("generic", generic, "iss", json!(cluster.name));
    check(generic, &stolen, (401, "token.algorithm"));
    assert_eq!(scene.upstream.count(), 4);
    sidecar.stop();
}
