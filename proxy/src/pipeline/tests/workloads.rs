//! Workloads that say by a token of their own who they are, and prove it.
use super::proofs::{Key, base64url, decisions, get, world_with};
use super::world::{BEGINNING_S, World};
use super::{ALLOW, only};
use crate::state::Workloads;
use postern_identity::token::KeySet;
use serde_json::{Value, json};
use std::rc::Rc;
use std::sync::Arc;

/// Lets in whom the workload's trust domain says to be of the team, and nobody who shows a credential further on.
const TEAM: &str = "package authz
import rego.v1
default decision := false
decision := true if {
	token := input.postern.workload_token
	token.spiffe_id == \"spiffe://other.org/batch\"
	token.trust_domain == \"other.org\"
	token.claims.team == \"a\"
	not input.attributes.request.http.headers[\"workload-identity-token\"]
	not input.attributes.request.http.headers[\"workload-proof-token\"]
}";

/// A trust domain, and a workload of it.
pub(super) struct Batch {
    authority: Key,
    key: Key,
}

impl Batch {
    pub(super) fn new() -> Self {
        Self { authority: Key::new(), key: Key::new() }
    }

    fn bundle(&self) -> KeySet {
        let mut jwk = self.authority.jwk();
        (jwk["kid"], jwk["use"]) = (json!("a1"), json!("wit-svid"));
        KeySet::parse_wit_bundle(json!({ "keys": [jwk] }).to_string().as_bytes()).unwrap()
    }

    fn identity(&self) -> String {
        let mut jwk = self.key.jwk();
        jwk["alg"] = json!("ES256");
        let claims = json!({
            "sub": "spiffe://other.org/batch", "exp": BEGINNING_S + 300, "cnf": {"jwk": jwk}, "team": "a",
        });
        self.authority.sign(&json!({"alg": "ES256", "typ": "wit+jwt", "kid": "a1"}), &claims)
    }

    /// A right proof for `/api/x` with this id.
    fn claims(&self, identity: &str, id: &str) -> Value {
        json!({
            "aud": "https://orders.test/api/x", "exp": BEGINNING_S + 60, "jti": id, "wth": hash(identity),
        })
    }

    fn headers(&self, identity: &str, claims: &Value) -> [String; 2] {
        let proof = self.key.sign(&json!({"alg": "ES256", "typ": "wpt+jwt"}), claims);
        [format!("Workload-Identity-Token: {identity}"), format!("Workload-Proof-Token: {proof}")]
    }

    fn right(&self, id: &str) -> [String; 2] {
        let identity = self.identity();
        self.headers(&identity, &self.claims(&identity, id))
    }

    /// The values of both headers for a request at this target.
    pub(super) fn right_at(&self, target: &str, id: &str) -> [String; 2] {
        let identity = self.identity();
        let mut claims = self.claims(&identity, id);
        claims["aud"] = json!(target);
        self.headers(&identity, &claims).map(|line| line.split(' ').nth(1).unwrap().to_owned())
    }
}

fn hash(token: &str) -> String {
    base64url(postern_audit::hash::sha256(token.as_bytes()))
}

/// A world that takes such tokens from the batch's trust domain, and the issuer of its access tokens.
pub(super) fn world(policy: &str, batch: &Batch) -> (World, Key) {
    let (world, issuer) = world_with(policy, &[]);
    let keys =
        [("other.org".parse().unwrap(), Some(Arc::new(batch.bundle()))), ("late.org".parse().unwrap(), None)];
    world.shared.publish(|next| {
        let authorities = vec!["https://orders.test".to_owned()];
        next.workloads = Arc::new(Workloads { authorities, keys: keys.into() });
    });
    (world, issuer)
}

/// What comes of one request: status and reason of its decision.
fn check(request: impl FnOnce(&Key, &Batch) -> Vec<String>, expected: (u64, &str)) {
    let batch = Batch::new();
    let (world, issuer) = world(ALLOW, &batch);
    let request = get(&request(&issuer, &batch));
    let seen = Rc::clone(&world.seen);
    let (answer, records) = world.run(async |_, caller| caller.ask(&request).await);
    let found = decisions(&records);
    assert_eq!((found.len(), found[0].0, found[0].1), (1, expected.0, expected.1), "{answer}");
    assert_eq!(seen.borrow().len(), usize::from(expected.0 == 200));
    // A proof that does not fit is a bad request: there is nothing to log in with.
    assert!(expected.0 == 401 || !answer.contains("www-authenticate"), "{answer}");
}

#[test]
fn policy_sees_who_a_workload_is_and_nobody_behind_us_how_it_proves_it() {
    let batch = Batch::new();
    let (world, _) = world(TEAM, &batch);
    let seen = Rc::clone(&world.seen);
    let (identity, headers) = (batch.identity(), batch.right("1"));
    let (_, records) = world.run(async |_, caller| {
        let mut conversation = caller.shake_hands().await;
        conversation.ask(&get(&headers)).await;
        conversation.ask(&get(&[])).await
    });
    assert_eq!(decisions(&records), [(200, "policy.allowed", ""), (403, "policy.denied", "")]);
    assert!(seen.borrow()[0].headers().keys().all(|name| !name.as_str().starts_with("workload-")));
    let record = &records.iter().find(|record| record["kind"] == "decision").unwrap()["workload_token"];
    assert_eq!((&record["sub"], &record["kid"]), (&json!("spiffe://other.org/batch"), &json!("a1")));
    let log = Value::from(records.clone()).to_string();
    assert!(!identity.split('.').any(|part| log.contains(part)), "the log shows a token");
}

#[test]
fn both_tokens_are_there_and_each_once() {
    check(|_, batch| batch.right("1").to_vec(), (200, "policy.allowed"));
    check(|_, _| Vec::new(), (200, "policy.allowed"));
    check(|_, batch| batch.right("1")[..1].to_vec(), (400, "token.wpt_missing"));
    check(|_, batch| batch.right("1")[1..].to_vec(), (400, "token.wpt_missing"));
    for twice in [0, 1] {
        let request = |_: &Key, batch: &Batch| {
            let headers = batch.right("1");
            [headers.as_slice(), &[headers[twice].clone()]].concat()
        };
        check(request, (400, "request.header_duplicate"));
    }
}

#[test]
fn a_proof_is_for_a_configured_name_whatever_the_request_calls_us() {
    let bent = |name: &str, value: Value, reason| {
        let request = |_: &Key, batch: &Batch| {
            let identity = batch.identity();
            let mut claims = batch.claims(&identity, "1");
            claims[name] = value;
            batch.headers(&identity, &claims).to_vec()
        };
        check(request, (400, reason));
    };
    // The request is for `a.test`.
    bent("aud", json!("https://a.test/api/x"), "token.wpt_audience");
    bent("aud", json!("https://orders.test/api/y"), "token.wpt_audience");
    bent("exp", json!(BEGINNING_S + 3600), "token.wpt_time");
    bent("wth", json!(hash("x")), "token.wpt_tokens");
    bent("ath", json!(hash("x")), "token.wpt_tokens");
    check(|_, _| Batch::new().right("1").to_vec(), (400, "token.wit_signature"));
}

#[test]
fn a_proof_covers_the_access_token_that_comes_with_it() {
    let request = |covers: bool| {
        move |issuer: &Key, batch: &Batch| {
            let (identity, token) = (batch.identity(), issuer.token(&Value::Null));
            let mut claims = batch.claims(&identity, "1");
            if covers {
                claims["ath"] = json!(hash(&token));
            }
            let mut headers = batch.headers(&identity, &claims).to_vec();
            headers.push(format!("Authorization: Bearer {token}"));
            headers
        }
    };
    check(request(true), (200, "policy.allowed"));
    check(request(false), (400, "token.wpt_tokens"));
    // An identity token is nobody's access token.
    check(|_, batch| vec![format!("Authorization: Bearer {}", batch.identity())], (401, "token.claims"));
}

#[test]
fn a_trust_domain_whose_bundle_was_not_read_yet_is_not_the_callers_fault() {
    let of = |domain: &'static str| {
        move |_: &Key, batch: &Batch| {
            let identity = batch.identity();
            let (head, rest) = identity.split_once('.').unwrap();
            let (claims, signature) = rest.split_once('.').unwrap();
            let claims = base64::Engine::decode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, claims).unwrap();
            let claims = String::from_utf8(claims).unwrap().replace("other.org", domain);
            let identity = format!("{head}.{}.{signature}", base64url(claims));
            batch.headers(&identity, &batch.claims(&identity, "1")).to_vec()
        }
    };
    check(of("late.org"), (503, "keys.unavailable"));
    check(of("unknown.org"), (400, "token.wit_key_unknown"));
}

#[test]
fn a_proof_of_a_workload_is_used_once() {
    let batch = Batch::new();
    let (world, _) = world(ALLOW, &batch);
    let headers = batch.right("1");
    let (_, records) = world.run(async |world, caller| {
        let other = world.caller().await;
        caller.ask(&get(&headers)).await;
        other.ask(&get(&headers)).await
    });
    assert_eq!(decisions(&records), [(200, "policy.allowed", ""), (400, "token.wpt_replayed", "")]);
}

#[test]
fn what_is_incubating_is_not_looked_at_unless_it_is_asked_for() {
    let (world, _) = world_with(ALLOW, &[]);
    let seen = Rc::clone(&world.seen);
    let headers = Batch::new().right("1");
    let (_, records) = world.run(async |_, caller| caller.ask(&get(&headers)).await);
    assert_eq!(decisions(&records), [(200, "policy.allowed", "")]);
    assert!(seen.borrow()[0].headers().contains_key("workload-identity-token"));
    assert!(only(&records, "decision").get("workload_token").is_none());
}
