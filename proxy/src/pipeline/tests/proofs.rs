//! Tokens that are bound to somebody: who else brings them is refused, however well they verify.
use super::peers::Caller;
use super::world::{BEGINNING_S, World};
use super::{ALLOW, text};
use crate::state::Tokens;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use postern_identity::token::{Algorithm, Issuer, KeySet};
use serde_json::{Value, json};
use std::rc::Rc;
use std::sync::Arc;

const ISSUER: &str = "https://idp.example.org";

/// An ES256 key of an issuer or of a client.
pub(super) struct Key(EcdsaKeyPair);

impl Key {
    pub(super) fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn jwk(&self) -> Value {
        let (x, y) = self.0.public_key().as_ref()[1..].split_at(32);
        json!({"kty": "EC", "crv": "P-256", "x": base64url(x), "y": base64url(y)})
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", base64url(header.to_string()), base64url(claims.to_string()));
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", base64url(signature))
    }

    /// An access token of `alice`, bound as `cnf` says.
    pub(super) fn token(&self, cnf: &Value) -> String {
        let mut claims = json!({
            "iss": ISSUER, "aud": "orders", "sub": "alice", "jti": "1", "exp": BEGINNING_S + 3000,
        });
        if !cnf.is_null() {
            claims["cnf"] = cnf.clone();
        }
        self.sign(&json!({"alg": "ES256", "typ": "JWT", "kid": "k"}), &claims)
    }
}

fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A world that takes the tokens of one issuer, and the issuer's key.
pub(super) fn world() -> (World, Key) {
    let tokens = format!(
        "tokens: [{{ issuer: '{ISSUER}', audiences: [orders], algorithms: [ES256], keys: {{ file: /nowhere }} }}]\npolicy:\n  bundles:"
    );
    let world = World::configured(Some(ALLOW), &[("policy:\n  bundles:", &tokens)]);
    let key = Key::new();
    let mut jwk = key.jwk();
    jwk["kid"] = json!("k");
    let keys = KeySet::parse(json!({"keys": [jwk]}).to_string().as_bytes()).unwrap();
    let issuer = Issuer::new(ISSUER.to_owned(), vec!["orders".to_owned()], vec![Algorithm::Es256]).unwrap();
    let issuer = issuer.with_profile(postern_identity::token::Profile::Generic).unwrap();
    world.shared.publish(|next| {
        next.tokens =
            Arc::new(Tokens { issuers: vec![issuer], keys: vec![Some(Arc::new(keys))], generation: 1 });
    });
    (world, key)
}

fn bound_to(caller: &Caller) -> Value {
    json!({"x5t#S256": base64url(caller.certificate_sha256)})
}

/// A request with these header lines.
pub(super) fn get(lines: &[String]) -> String {
    format!(
        "GET /api/x HTTP/1.1\nHost: a.test\n{}\n",
        lines.iter().map(|l| format!("{l}\n")).collect::<String>()
    )
}

fn bearer(token: &str) -> String {
    get(&[format!("Authorization: Bearer {token}")])
}

/// Status, reason and subject of every decision, in the order in which they were filed.
pub(super) fn decisions(records: &[Value]) -> Vec<(u64, &str, &str)> {
    let decisions = records.iter().filter(|record| record["kind"] == "decision");
    decisions
        .map(|record| {
            let status = record["status"].as_u64().unwrap_or(200);
            (status, text(record, "reason"), record["token"]["sub"].as_str().unwrap_or_default())
        })
        .collect()
}

#[test]
fn a_token_bound_to_a_certificate_is_taken_on_every_connection_with_it_and_on_no_other() {
    let (world, issuer) = world();
    let seen = Rc::clone(&world.seen);
    let (answers, records) = world.run(async |world, caller| {
        let request = bearer(&issuer.token(&bound_to(&caller)));
        let (again, other) = (world.same_caller(&caller).await, world.caller().await);
        let mut answers = Vec::new();
        let mut conversation = caller.shake_hands().await;
        answers.push(conversation.ask(&request).await);
        // Remembered by now; so is that it is not everybody's.
        answers.push(conversation.ask(&request).await);
        answers.push(again.ask(&request).await);
        let mut conversation = other.shake_hands().await;
        answers.push(conversation.ask(&request).await);
        answers.push(conversation.ask(&request).await);
        answers
    });
    let refused = (401, "token.binding", "alice");
    let allowed = (200, "policy.allowed", "alice");
    assert_eq!(decisions(&records), [allowed, allowed, allowed, refused, refused]);
    for answer in &answers[3..] {
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        assert!(answer.contains("www-authenticate: Bearer error=\"invalid_token\""), "{answer}");
    }
    assert_eq!(seen.borrow().len(), 3);
}

#[test]
fn a_bound_token_that_a_thief_brings_first_is_still_its_owners() {
    let (world, issuer) = world();
    let (_, records) = world.run(async |world, caller| {
        let request = bearer(&issuer.token(&bound_to(&caller)));
        world.caller().await.ask(&request).await;
        caller.ask(&request).await
    });
    assert_eq!(decisions(&records), [(401, "token.binding", "alice"), (200, "policy.allowed", "alice")]);
}

#[test]
fn a_token_bound_in_a_way_that_is_not_known_is_nobodys() {
    for (cnf, reason) in [
        (json!({"x5t#S256": base64url([7; 32])}), "token.binding"),
        (json!({"kid": "k"}), "token.binding"),
        (json!({"x5t#S256": "AAAA"}), "token.claims"),
        (json!({}), "token.claims"),
        (json!("x"), "token.claims"),
    ] {
        let (world, issuer) = world();
        let request = bearer(&issuer.token(&cnf));
        let (_, records) = world.run(async |_, caller| caller.ask(&request).await);
        let found = decisions(&records);
        assert_eq!((found.len(), found[0].0, found[0].1), (1, 401, reason), "{cnf}");
    }
}
