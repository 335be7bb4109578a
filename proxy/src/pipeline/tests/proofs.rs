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

    pub(super) fn jwk(&self) -> Value {
        let (x, y) = self.0.public_key().as_ref()[1..].split_at(32);
        json!({"kty": "EC", "crv": "P-256", "x": base64url(x), "y": base64url(y)})
    }

    fn thumbprint(&self) -> String {
        let jwk = self.jwk();
        let (x, y) = (jwk["x"].as_str().unwrap(), jwk["y"].as_str().unwrap());
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        base64url(postern_audit::hash::sha256(canonical.as_bytes()))
    }

    pub(super) fn sign(&self, header: &Value, claims: &Value) -> String {
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

pub(super) fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A world that takes the tokens of one issuer, and the issuer's key.
fn world() -> (World, Key) {
    world_with(ALLOW, &[])
}

/// The same under another policy, and another configuration.
pub(super) fn world_with(policy: &str, changes: &[(&str, &str)]) -> (World, Key) {
    let tokens = format!(
        "tokens: [{{ issuer: '{ISSUER}', audiences: [orders], algorithms: [ES256], keys: {{ file: /nowhere }} }}]\npolicy:\n  bundles:"
    );
    let mut all = vec![("policy:\n  bundles:", tokens.as_str())];
    all.extend(changes);
    let world = World::configured(Some(policy), &all);
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

/// A client that proves its key.
struct Client {
    key: Key,
    token: String,
}

impl Client {
    fn new(issuer: &Key) -> Self {
        let key = Key::new();
        let token = issuer.token(&json!({"jkt": key.thumbprint()}));
        Self { key, token }
    }

    /// A right proof for `GET /api/x` with this id.
    fn claims(&self, id: &str) -> Value {
        json!({
            "htm": "GET", "htu": "https://a.test/api/x", "iat": BEGINNING_S, "jti": id,
            "ath": base64url(postern_audit::hash::sha256(self.token.as_bytes())),
        })
    }

    fn proof(&self, claims: &Value) -> String {
        self.key.sign(&json!({"alg": "ES256", "typ": "dpop+jwt", "jwk": self.key.jwk()}), claims)
    }

    /// `GET /api/x` with the token and a proof.
    fn request(&self, proof: &str) -> String {
        get(&[format!("Authorization: DPoP {}", self.token), format!("DPoP: {proof}")])
    }

    fn right(&self, id: &str) -> String {
        self.request(&self.proof(&self.claims(id)))
    }
}

/// What comes of one request: status and reason of its decision, and its challenges.
fn check(request: impl FnOnce(&Key, &Client) -> String, expected: (u64, &str), challenges: &[&str]) {
    let (world, issuer) = world();
    let request = request(&issuer, &Client::new(&issuer));
    let seen = Rc::clone(&world.seen);
    let (answer, records) = world.run(async |_, caller| caller.ask(&request).await);
    let found = decisions(&records);
    assert_eq!((found.len(), found[0].0, found[0].1), (1, expected.0, expected.1), "{answer}");
    assert_eq!(seen.borrow().len(), usize::from(expected.0 == 200));
    let told: Vec<_> = answer.lines().filter_map(|line| line.strip_prefix("www-authenticate: ")).collect();
    assert_eq!(told, challenges, "{answer}");
}

const ALGORITHMS: &str = "algs=\"RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA\"";

#[test]
fn a_token_bound_to_a_key_is_taken_with_a_proof_that_nobody_behind_us_sees() {
    let unseen = "package authz\nimport rego.v1\ndefault decision := false\ndecision := true if { not input.attributes.request.http.headers.dpop; input.claims.sub == \"alice\" }";
    let (world, issuer) = world_with(unseen, &[]);
    let client = Client::new(&issuer);
    let seen = Rc::clone(&world.seen);
    let (proof, again) = (client.proof(&client.claims("1")), client.proof(&client.claims("2")));
    let (_, records) = world.run(async |world, caller| {
        let other = world.caller().await;
        caller.ask(&client.request(&proof)).await;
        // A key is proven on any connection, and to a token that is remembered.
        other.ask(&client.request(&again)).await
    });
    assert_eq!(decisions(&records), [(200, "policy.allowed", "alice"); 2]);
    assert_eq!(seen.borrow().len(), 2);
    assert!(seen.borrow().iter().all(|request| !request.headers().contains_key("dpop")));
    let log = Value::from(records).to_string();
    for secret in [&proof, &again, &client.token] {
        assert!(!secret.split('.').any(|part| log.contains(part)), "the log shows a credential");
    }
}

#[test]
fn a_token_bound_to_a_key_is_nothing_without_the_proof() {
    let both = ["Bearer error=\"invalid_token\"", &format!("DPoP error=\"invalid_token\", {ALGORITHMS}")];
    check(|_, client| bearer(&client.token), (401, "token.dpop_missing"), &both);
    // RFC 9449 §7.2: the scheme says it, whatever proof there is.
    check(
        |_, client| client.right("1").replace("Authorization: DPoP", "Authorization: Bearer"),
        (401, "token.dpop_missing"),
        &both,
    );
    check(
        |_, client| get(&[format!("Authorization: dpop {}", client.token)]),
        (401, "token.dpop_missing"),
        &both,
    );
    // The scheme promises a bound token.
    let unbound =
        |issuer: &Key, client: &Client| client.right("1").replace(&client.token, &issuer.token(&Value::Null));
    check(unbound, (401, "token.binding"), &both);
}

#[test]
fn a_proof_that_is_not_right_is_answered_with_an_error_of_its_own() {
    let challenge = format!("DPoP error=\"invalid_dpop_proof\", {ALGORITHMS}");
    let bent = |name: &str, value: Value, reason| {
        let request = |_: &Key, client: &Client| {
            let mut claims = client.claims("1");
            claims[name] = value;
            client.request(&client.proof(&claims))
        };
        check(request, (401, reason), &[&challenge]);
    };
    bent("htm", json!("POST"), "token.dpop_request");
    bent("htu", json!("https://a.test/api/y"), "token.dpop_request");
    bent("htu", json!("https://b.test/api/x"), "token.dpop_request");
    bent("htu", json!("https://a.test:8443/api/x"), "token.dpop_request");
    bent("htu", json!("http://a.test/api/x"), "token.dpop_request");
    bent("iat", json!(BEGINNING_S - 61), "token.dpop_time");
    bent("iat", json!(BEGINNING_S + 61), "token.dpop_time");
    bent("ath", json!(base64url([0; 32])), "token.dpop_token");
    bent("jti", json!(""), "token.dpop_malformed");
    check(|_, client| client.request("abc"), (401, "token.dpop_malformed"), &[&challenge]);
    let by_another = |_: &Key, client: &Client| {
        client.request(&Client { key: Key::new(), token: client.token.clone() }.proof(&client.claims("1")))
    };
    check(by_another, (401, "token.dpop_key"), &[&challenge]);
    let spliced = |_: &Key, client: &Client| {
        let (right, other) = (client.proof(&client.claims("1")), client.proof(&client.claims("2")));
        let signature = other.rsplit_once('.').unwrap().1;
        client.request(&format!("{}.{signature}", right.rsplit_once('.').unwrap().0))
    };
    check(spliced, (401, "token.dpop_signature"), &[&challenge]);
}

#[test]
fn a_target_is_the_same_in_every_spelling_of_it() {
    for htu in ["HTTPS://A.test:443/%61pi/x", "https://a.test./api/x?q=1#f", "https://a.test/api/x"] {
        let request = |_: &Key, client: &Client| {
            let mut claims = client.claims("1");
            claims["htu"] = json!(htu);
            client.request(&client.proof(&claims)).replace("GET /api/x ", "GET /api/%78?other=1 ")
        };
        check(request, (200, "policy.allowed"), &[]);
    }
}

#[test]
fn two_proofs_are_no_proof() {
    let twice = |_: &Key, client: &Client| {
        let request = client.right("1");
        let proof = client.proof(&client.claims("2"));
        request.replace("DPoP: ", &format!("DPoP: {proof}\nDPoP: "))
    };
    check(twice, (400, "request.header_duplicate"), &[]);
    let listed = |_: &Key, client: &Client| {
        let proof = client.proof(&client.claims("1"));
        client.request(&format!("{proof}, {proof}"))
    };
    let challenge = format!("DPoP error=\"invalid_dpop_proof\", {ALGORITHMS}");
    check(listed, (401, "token.dpop_malformed"), &[&challenge]);
}

#[test]
fn a_token_that_is_bound_to_nothing_needs_no_proof_and_none_goes_on() {
    let (world, issuer) = world();
    let client = Client::new(&issuer);
    let seen = Rc::clone(&world.seen);
    let request = get(&[
        format!("Authorization: Bearer {}", issuer.token(&Value::Null)),
        format!("DPoP: {}", client.proof(&client.claims("1"))),
    ]);
    let (_, records) = world.run(async |_, caller| caller.ask(&request).await);
    assert_eq!(decisions(&records), [(200, "policy.allowed", "alice")]);
    assert!(!seen.borrow()[0].headers().contains_key("dpop"));
}

#[test]
fn where_tokens_are_ignored_a_proof_goes_on_with_its_token() {
    let (world, issuer) = world_with(ALLOW, &[("{ name: api,", "{ name: api, tokens: ignored,")]);
    let client = Client::new(&issuer);
    let seen = Rc::clone(&world.seen);
    let proof = client.proof(&client.claims("1"));
    let (_, records) = world.run(async |_, caller| caller.ask(&client.request(&proof)).await);
    assert_eq!(decisions(&records), [(200, "policy.allowed", "")]);
    assert_eq!(seen.borrow()[0].headers()["dpop"], proof.as_str());
    assert!(seen.borrow()[0].headers().contains_key("authorization"));
}

#[test]
fn a_proof_is_used_once_and_only_by_its_owner() {
    let (world, issuer) = world();
    let client = Client::new(&issuer);
    let (_, records) = world.run(async |world, caller| {
        let (thief, again) = (world.caller().await, world.same_caller(&caller).await);
        // Bound to the certificate as well, so that the thief's attempt is not the proof's end.
        let both = json!({
            "jkt": client.key.thumbprint(), "x5t#S256": base64url(caller.certificate_sha256),
        });
        let client = Client { token: issuer.token(&both), key: client.key };
        let request = client.right("1");
        thief.ask(&request).await;
        let mut conversation = caller.shake_hands().await;
        conversation.ask(&request).await;
        conversation.ask(&request).await;
        again.ask(&request).await;
        world.clock.advance(std::time::Duration::from_secs(61));
        conversation.ask(&request).await
    });
    let refused = |reason| (401, reason, "alice");
    let replayed = refused("token.dpop_replayed");
    let expected = [
        refused("token.binding"),
        (200, "policy.allowed", "alice"),
        replayed,
        replayed,
        refused("token.dpop_time"),
    ];
    assert_eq!(decisions(&records), expected);
}

#[test]
fn a_proof_that_cannot_be_remembered_is_not_taken() {
    let (world, issuer) = world();
    let client = Client::new(&issuer);
    let (_, records) = world.with_replays_max(1).run(async |_, caller| {
        let mut conversation = caller.shake_hands().await;
        for id in 0..200 {
            conversation.ask(&client.right(&id.to_string())).await;
        }
    });
    let found = decisions(&records);
    let of = |reason| found.iter().filter(|decision| decision.1 == reason).count();
    assert_eq!((of("policy.allowed") + of("limit.proofs"), of("policy.allowed") <= 64), (200, true));
    assert!(found.iter().all(|(status, reason, _)| (*status == 503) == (*reason == "limit.proofs")));
}

#[test]
fn where_a_nonce_is_required_a_caller_is_told_it_and_takes_it_for_a_while() {
    let (world, issuer) = world_with(ALLOW, &[("    routes:", "    dpop_nonce: required\n    routes:")]);
    let client = Client::new(&issuer);
    let (answers, records) = world.run(async |world, caller| {
        let mut conversation = caller.shake_hands().await;
        let request = |id: &str, nonce: Option<&str>, later_s: u64| {
            let mut claims = client.claims(id);
            claims["iat"] = json!(BEGINNING_S + later_s);
            if let Some(nonce) = nonce {
                claims["nonce"] = json!(nonce);
            }
            client.request(&client.proof(&claims))
        };
        let mut answers = vec![conversation.ask(&request("1", None, 0)).await];
        let nonce = answers[0].lines().find_map(|line| line.strip_prefix("dpop-nonce: ")).unwrap().to_owned();
        answers.push(conversation.ask(&request("2", Some(&nonce), 0)).await);
        answers.push(conversation.ask(&request("3", Some("AAAAAAAAAAAAAAAAAAAAAA"), 0)).await);
        world.clock.advance(std::time::Duration::from_secs(300));
        answers.push(conversation.ask(&request("4", Some(&nonce), 300)).await);
        world.clock.advance(std::time::Duration::from_secs(200 + 100));
        answers.push(conversation.ask(&request("5", Some(&nonce), 600)).await);
        answers
    });
    let (allowed, refused) = ((200, "policy.allowed", "alice"), (401, "token.dpop_nonce", "alice"));
    assert_eq!(decisions(&records), [refused, allowed, refused, allowed, refused]);
    for (answer, (status, ..)) in answers.iter().zip(decisions(&records)) {
        assert_eq!(answer.contains("dpop-nonce: "), status == 401, "{answer}");
        let challenge = format!("www-authenticate: DPoP error=\"use_dpop_nonce\", {ALGORITHMS}");
        assert_eq!(answer.contains(&challenge), status == 401, "{answer}");
    }
}
