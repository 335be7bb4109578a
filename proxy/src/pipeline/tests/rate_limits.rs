//! How often a route may be asked, by whom, and what is said to who asks more often.
use super::tokens::TestIssuer;
use super::world::{BEGINNING_S, World};
use super::{ALLOW, status, text};
use postern_identity::token::{Algorithm, Issuer, Profile};
use serde_json::{Value, json};
use std::rc::Rc;
use std::time::Duration;

const ISSUERS: (&str, &str) = (
    "policy:\n",
    "tokens: [{ issuer: https://idp.test, audiences: [app], algorithms: [ES256], keys: { file: /nowhere }, profile: generic }]\npolicy:\n",
);
const API: &str = "upstream: app, retry: { attempts_max: 2, on: [connect_failure] } }";

fn world(rules: &str) -> World {
    world_under(ALLOW, rules)
}

fn world_under(policy: &str, rules: &str) -> World {
    let route = format!("upstream: app, rate_limits: [{rules}] }}");
    World::configured(Some(policy), &[ISSUERS, (API, &route)])
}

/// The statuses of these requests, each of them on a connection of its own.
fn asked(world: World, requests: &[String]) -> Vec<u16> {
    let (statuses, _) = world.run(async |world, first| {
        let (mut statuses, mut caller) = (Vec::new(), Some(first));
        for request in requests {
            let caller = match caller.take() {
                Some(caller) => caller,
                None => world.caller().await,
            };
            statuses.push(status(&caller.ask(request).await));
        }
        statuses
    });
    statuses
}

fn get(fields: &str) -> String {
    format!("GET /api/x HTTP/1.1\nHost: a.test\n{fields}\n")
}

/// Under one request a minute for each value of the key, the two requests share one place or they do not.
fn check(keys: &str, (first, second): (&str, &str), shared: bool) {
    let world = world(&format!("{{ name: r, requests: 1, per: 1m, keys: {keys} }}"));
    let statuses = asked(world, &[get(first), get(second)]);
    assert_eq!(statuses, [200, if shared { 429 } else { 200 }], "{keys}: {first:?} and {second:?}");
}

#[test]
fn a_limit_is_for_each_value_of_its_keys() {
    let tenants = ("X-Tenant: a\n", "X-Tenant: b\n");
    check("[]", tenants, true);
    check("[spiffe_id]", tenants, true);
    check("[trust_domain]", tenants, true);
    check("[address]", tenants, true);
    check("[{ header: x-tenant }]", tenants, false);
    check("[{ header: x-tenant }]", ("X-Tenant: a\n", "X-Tenant: a\n"), true);
    check("[{ header: x-tenant }]", ("X-Tenant: a\nX-Tenant: b\n", "X-Tenant: a\n"), false);
    check("[{ header: x-tenant }]", ("X-Tenant: a\n", ""), false);
    check("[{ header: x-tenant }]", ("X-Tenant: \n", ""), false);
    check("[{ header: x-tenant }]", ("", ""), true);
    // The ends of values are not confused with those of others.
    let split = ("X-A: ab\nX-B: c\n", "X-A: a\nX-B: bc\n");
    check("[{ header: x-a }, { header: x-b }]", split, false);
}

/// The same for tokens with these claims; `null` is no token.
fn check_claims((first, second): (Value, Value), shared: bool) {
    let issuer = TestIssuer::new();
    let world = world("{ name: r, requests: 1, per: 1m, keys: [{ claim: tenant }] }");
    issuer.accepted_by(&world);
    world.change_tokens(|tokens| {
        let other =
            Issuer::new("https://other.test".to_owned(), vec!["app".to_owned()], vec![Algorithm::Es256]);
        tokens.issuers.push(other.unwrap().with_profile(Profile::Generic).unwrap());
        tokens.keys.push(issuer.keys());
    });
    let request = |tenant: &Value| {
        let Some(tenant) = tenant.as_object() else { return get("") };
        let mut claims = json!({ "exp": BEGINNING_S + 60, "sub": "x" });
        claims.as_object_mut().unwrap().extend(tenant.clone());
        get(&format!("Authorization: Bearer {}\n", issuer.token(&claims)))
    };
    let statuses = asked(world, &[request(&first), request(&second)]);
    assert_eq!(statuses, [200, if shared { 429 } else { 200 }], "{first} and {second}");
}

#[test]
fn a_claim_counts_by_its_json_and_what_is_no_plain_value_as_missing() {
    let tenant = |value: Value| json!({ "tenant": value });
    check_claims((tenant(json!("a")), tenant(json!("a"))), true);
    check_claims((tenant(json!("a")), tenant(json!("b"))), false);
    check_claims((tenant(json!("1")), tenant(json!(1))), false);
    check_claims((tenant(json!(1)), tenant(json!(1))), true);
    check_claims((tenant(json!("true")), tenant(json!(true))), false);
    check_claims((tenant(json!("")), json!({})), false);
    check_claims((tenant(json!("a")), json!({ "tenant": "a", "sub": "y" })), true);
    check_claims((tenant(json!("a")), json!({ "tenant": "a", "iss": "https://other.test" })), false);
    for lacking in [json!({}), tenant(json!(["a"])), tenant(json!({ "a": 1 })), tenant(json!(null))] {
        check_claims((lacking, Value::Null), true);
    }
}

#[test]
fn who_asks_too_often_is_told_when_to_come_back_and_the_log_says_why() {
    let world = world("{ name: per-caller, requests: 2, per: 1m, burst: 1, keys: [spiffe_id] }");
    let seen = Rc::clone(&world.seen);
    let (answers, records) = world.run(async |world, caller| {
        let mut conversation = caller.shake_hands().await;
        let first = conversation.ask(&get("")).await;
        world.clock.advance(Duration::from_millis(500));
        (first, conversation.ask(&get("")).await)
    });
    let (first, second) = answers;
    assert_eq!((status(&first), status(&second)), (200, 429));
    assert!(!first.to_ascii_lowercase().contains("ratelimit"), "{first}");
    for line in [
        "retry-after: 30\r\n",
        "ratelimit: \"per-caller\";r=0;t=30\r\n",
        "ratelimit-policy: \"per-caller\";q=2;w=60\r\n",
        "content-type: application/problem+json\r\n",
    ] {
        assert!(second.contains(line), "{line} is not in {second}");
    }
    assert!(second.contains("\"reason\":\"limit.rate\""), "{second}");
    assert_eq!(seen.borrow().len(), 1, "what the upstream saw");
    let of = |kind: &str| records.iter().filter(|record| record["kind"] == kind).nth(1).unwrap();
    assert_eq!(
        (text(of("decision"), "decision"), text(of("decision"), "reason")),
        ("allow", "policy.allowed")
    );
    let outcome = of("outcome");
    assert_eq!((text(outcome, "end"), text(outcome, "reason")), ("refused", "limit.rate"), "{outcome}");
    assert_eq!(outcome["status"], 429);
}

#[test]
fn a_grpc_caller_is_told_resource_exhausted() {
    let rules = "upstream: calls, rate_limits: [{ name: r, requests: 1, per: 1m, burst: 1 }] }";
    let changes = [("upstream: calls }", rules)];
    let world = World::configured(Some(ALLOW), &changes).with_upstream(super::peers::h2c(async |_| {
        Ok::<_, std::io::Error>(http::Response::new(http_body_util::Full::new(bytes::Bytes::new())))
    }));
    let request =
        "POST /calls/x HTTP/1.1\nHost: a.test\nContent-Type: application/grpc\nContent-Length: 0\n\n";
    let (answer, _) = world.run(async |_, caller| {
        let mut conversation = caller.shake_hands().await;
        conversation.ask(request).await;
        conversation.ask(request).await
    });
    assert_eq!(status(&answer), 200, "{answer}");
    assert!(answer.contains("grpc-status: 8\r\n") && answer.contains("retry-after: 60\r\n"), "{answer}");
}

#[test]
fn a_denied_request_spends_nothing() {
    let policy = "package authz\nimport rego.v1\ndefault decision := false\ndecision := true if input.attributes.request.http.headers[\"x-good\"]";
    let world = world_under(policy, "{ name: r, requests: 1, per: 1m }");
    let statuses = asked(world, &[get(""), get(""), get("X-Good: 1\n"), get(""), get("X-Good: 1\n")]);
    assert_eq!(statuses, [403, 403, 200, 403, 429]);
}

#[test]
fn what_was_spent_comes_back_with_time() {
    let world = world("{ name: r, requests: 1, per: 2s, burst: 2 }");
    let (statuses, records) = world.run(async |world, caller| {
        let mut conversation = caller.shake_hands().await;
        let mut statuses = Vec::new();
        for pause_ms in [0, 0, 0, 1999, 1, 0, 8000, 0, 0] {
            world.clock.advance(Duration::from_millis(pause_ms));
            statuses.push(status(&conversation.ask(&get("")).await));
        }
        statuses
    });
    assert_eq!(statuses, [200, 200, 429, 429, 200, 429, 200, 200, 429]);
    assert_eq!(records.iter().filter(|record| record["reason"] == "limit.rate").count(), 4);
}

#[test]
fn a_body_that_was_not_read_is_heard_out() {
    let world = world("{ name: r, requests: 1, per: 1m }");
    let post = "POST /api/x HTTP/1.1\nHost: a.test\nContent-Length: 4\n\nbody";
    let (statuses, _) = world.run(async |_, caller| {
        let mut conversation = caller.shake_hands().await;
        [
            status(&conversation.ask(post).await),
            status(&conversation.ask(post).await),
            status(&conversation.ask("GET /told/x HTTP/1.1\nHost: a.test\n\n").await),
        ]
    });
    assert_eq!(statuses, [200, 429, 200]);
}
