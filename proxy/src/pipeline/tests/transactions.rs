//! A transaction token is verified by who issues them, or taken off; it is nobody's credential, and policy may read it.
use super::tokens::TestIssuer;
use super::world::World;
use super::{ALLOW, text};
use serde_json::{Value, json};

const READS_TRANSACTION: &str = "package authz
import rego.v1
default decision := false
decision if input.transaction.sub == \"alice\"";

const READS_HEADER: &str = "package authz
import rego.v1
default decision := false
decision if not input.attributes.request.http.headers[\"txn-token\"]";

struct Seen {
    answer: String,
    records: Vec<Value>,
    /// The header as it went upstream.
    forwarded: Option<String>,
}

/// What comes of a request with these fields, with or without an issuer of transaction tokens.
fn ask(policy: &str, issuer: Option<&TestIssuer>, fields: &str) -> Seen {
    let world = World::new(Some(policy));
    if let Some(issuer) = issuer {
        issuer.transactions_accepted_by(&world);
    }
    let seen = std::rc::Rc::clone(&world.seen);
    let request = format!("GET /told/x HTTP/1.1\nHost: a.test\n{fields}\n");
    let (answer, records) = world.run(async |_, caller| caller.ask(&request).await);
    let seen = seen.borrow();
    let forwarded = seen.first().and_then(|request| request.headers().get("txn-token"));
    Seen { answer, records, forwarded: forwarded.map(|value| value.to_str().unwrap().to_owned()) }
}

#[track_caller]
fn is_answered(seen: &Seen, status: u16, reason: &str) {
    assert!(seen.answer.starts_with(&format!("HTTP/1.1 {status} ")), "{}", seen.answer);
    assert!(seen.records.iter().any(|record| text(record, "reason") == reason), "{:#?}", seen.records);
}

#[test]
fn a_verified_transaction_token_is_shown_to_policy_and_goes_on_unchanged() {
    let issuer = TestIssuer::new();
    let token = issuer.transaction_token(&json!({}));
    let seen = ask(READS_TRANSACTION, Some(&issuer), &format!("Txn-Token: {token}\n"));
    is_answered(&seen, 200, "policy.allowed");
    assert_eq!(seen.forwarded.as_deref(), Some(token.as_str()));
    let log = serde_json::to_string(&seen.records).unwrap();
    assert!(
        !log.contains(&token) && !log.contains(token.rsplit('.').next().unwrap()),
        "it stands in the log"
    );
    is_answered(&ask(READS_TRANSACTION, Some(&issuer), ""), 403, "policy.denied");
}

#[test]
fn a_transaction_token_that_does_not_hold_is_refused() {
    let issuer = TestIssuer::new();
    let of = |claims: Value| format!("Txn-Token: {}\n", issuer.transaction_token(&claims));
    for (fields, status, reason) in [
        (of(json!({"aud": "elsewhere"})), 401, "token.audience"),
        (of(json!({"exp": 1})), 401, "token.expired"),
        (of(json!({"txn": 1})), 401, "token.claims"),
        (of(json!({"iss": "https://idp.test"})), 401, "token.issuer"),
        ("Txn-Token: x\n".to_owned(), 401, "token.malformed"),
        (format!("Txn-Token: {}\n", TestIssuer::new().transaction_token(&json!({}))), 401, "token.signature"),
        (of(json!({})).repeat(2), 400, "request.header_duplicate"),
        (of(json!({})).replace("Txn-Token", "Txn_Token"), 400, "request.header_name"),
    ] {
        let seen = ask(ALLOW, Some(&issuer), &fields);
        is_answered(&seen, status, reason);
        assert_eq!(seen.forwarded, None, "{reason}");
    }
}

#[test]
fn a_transaction_token_that_nobody_can_judge_is_taken_off() {
    let token = TestIssuer::new().transaction_token(&json!({}));
    let seen = ask(READS_HEADER, None, &format!("Txn-Token: {token}\n"));
    is_answered(&seen, 200, "policy.allowed");
    assert_eq!(seen.forwarded, None);
}

#[test]
fn a_transaction_token_is_nobodys_credential() {
    let issuer = TestIssuer::new();
    let issuers = "tokens: [{ issuer: https://idp.test, audiences: [a], algorithms: [ES256], keys: { file: /nowhere } }]\npolicy:";
    let changes = [("policy:", issuers), ("explain: detail", "explain: detail, tokens: required")];
    let world = World::configured(Some(ALLOW), &changes);
    issuer.transactions_accepted_by(&world);
    let token = issuer.transaction_token(&json!({}));
    let request = |fields: &str| format!("GET /told/x HTTP/1.1\nHost: a.test\n{fields}\n");
    let ((as_bearer, beside), _) = world.run(async |world, caller| {
        let both = format!("Txn-Token: {token}\nAuthorization: Bearer {token}\n");
        let as_bearer = caller.ask(&request(&both)).await;
        let alone = format!("Txn-Token: {token}\n");
        (as_bearer, world.caller().await.ask(&request(&alone)).await)
    });
    assert!(as_bearer.starts_with("HTTP/1.1 401 ") && as_bearer.contains("token.issuer"), "{as_bearer}");
    assert!(beside.starts_with("HTTP/1.1 401 ") && beside.contains("token.missing"), "{beside}");
}
