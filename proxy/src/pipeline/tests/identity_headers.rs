//! What an upstream is told of the caller, and that nobody else can tell it.
use super::ALLOW;
use super::tokens::TestIssuer;
use super::world::{BEGINNING_S, CALLER, World};
use serde_json::{Value, json};
use std::rc::Rc;

const FOREIGN: &str = "By=spiffe://other.org/gate;Hash=00;URI=spiffe://other.org/web";

/// What reaches the upstream by this name under these identity headers of the route; the request itself carries a lie
/// of the same name, or `x-forwarded-client-cert` as another proxy wrote it.
fn told(written: &str, request: &str) -> (http::HeaderMap, Value) {
    let issuers = "tokens: [{ issuer: https://idp.test, audiences: [app], algorithms: [ES256], keys: { file: /nowhere } }]\npolicy:";
    let changes = [
        ("policy:", issuers),
        ("explain: detail", &*format!("explain: detail, identity_headers: {{ {written} }}")),
    ];
    let world = World::configured(Some(ALLOW), &changes);
    let seen = Rc::clone(&world.seen);
    let issuer = TestIssuer::new();
    let token = issuer.token(&json!({
        "exp": BEGINNING_S + 300, "sub": "alice", "age": 7, "admin": true, "name": "Jürgen, 50 %\n",
        "roles": ["a", "b,c"], "realm": {"groups": ["x", "y"], "a/b": "z"}, "none": null, "long": "x".repeat(5000),
    }));
    let request = request.replace("TOKEN", &token);
    let (answer, records) = world.run(async |world, caller| {
        issuer.accepted_by(world);
        caller.ask(&request).await
    });
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let decision = records.iter().find(|record| record["kind"] == "decision").unwrap();
    let headers = seen.borrow()[0].headers().clone();
    (headers, decision["mutations"].clone())
}

fn xfcc(written: &str, received: Option<&str>) -> String {
    let received = received.map_or_else(String::new, |value| format!("X-Forwarded-Client-Cert: {value}\n"));
    let request = format!(
        "GET /told/x HTTP/1.1\nHost: a.test\n{received}X_Forwarded_Client_Cert: URI=spiffe://evil\n\n"
    );
    let (headers, mutations) = told(written, &request);
    let value = headers.get("x-forwarded-client-cert").map(|value| value.to_str().unwrap().to_owned());
    let names = mutations.as_array().map_or(0, Vec::len);
    assert_eq!(names, usize::from(value.is_some()), "the record names what was set: {mutations}");
    value.unwrap_or_default()
}

#[test]
fn the_callers_certificate_is_told_as_envoy_tells_it() {
    let own = |details: &str| {
        let value = xfcc(&format!("xfcc: {{ mode: sanitize_set, details: [{details}] }}"), Some(FOREIGN));
        let (by, rest) = value.split_once(";Hash=").unwrap();
        assert_eq!(by, "By=spiffe://example.org/app");
        let (hash, rest) = rest.split_at(64);
        assert!(hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hash}");
        rest.to_owned()
    };
    assert_eq!(own(""), "");
    assert_eq!(own("uri"), format!(";URI={CALLER}"));
    assert!(own("subject").starts_with(";Subject=\""));
    let all = own("dns, uri, chain, subject, cert");
    let order = ["Cert=\"-----BEGIN%20CERTIFICATE-----%0A", "Chain=\"-----BEGIN", "Subject=\"", "URI="];
    let places: Vec<_> = order.iter().map(|key| all.find(key).unwrap()).collect();
    assert!(places.is_sorted(), "{all}");
}

#[test]
fn what_a_caller_says_of_others_goes_on_only_where_the_route_says_so() {
    assert_eq!(xfcc("", Some(FOREIGN)), "");
    assert_eq!(xfcc("xfcc: { mode: sanitize }", Some(FOREIGN)), "");
    for mode in ["forward_only", "always_forward_only"] {
        assert_eq!(xfcc(&format!("xfcc: {{ mode: {mode} }}"), Some(FOREIGN)), FOREIGN);
        assert_eq!(xfcc(&format!("xfcc: {{ mode: {mode} }}"), None), "");
    }
    let appended = xfcc("xfcc: { mode: append_forward }", Some(FOREIGN));
    assert!(appended.starts_with(&format!("{FOREIGN},By=spiffe://example.org/app;Hash=")), "{appended}");
    assert!(appended.ends_with(&format!(";URI={CALLER}")), "{appended}");
    let alone = xfcc("xfcc: { mode: append_forward }", None);
    assert!(alone.starts_with("By=spiffe://example.org/app;Hash="), "{alone}");
}

#[test]
fn what_could_swallow_the_caller_behind_it_is_not_passed_on() {
    for open in ["Subject=\"x", "Subject=\"x\\\"\"", "Subject=\"\\\""] {
        let value = xfcc("xfcc: { mode: append_forward }", Some(open));
        assert!(value.starts_with("By=spiffe://example.org/app;"), "{open}: {value}");
    }
}

#[test]
fn the_callers_certificate_is_sent_on_by_rfc_9440() {
    let request = "GET /told/x HTTP/1.1\nHost: a.test\nClient-Cert: :AAAA:\nClient-Cert-Chain: :AAAA:\n\n";
    let (headers, mutations) = told("client_cert: chain", request);
    let leaf = headers["client-cert"].to_str().unwrap();
    assert!(leaf.starts_with(":MII") && leaf.ends_with(':'), "{leaf}");
    // The caller sends no intermediates.
    assert!(!headers.contains_key("client-cert-chain"));
    assert_eq!(mutations, json!(["set client-cert"]));
    let (headers, _) = told("", request);
    assert!(!headers.contains_key("client-cert"));
}

#[test]
fn claims_are_sent_on_under_the_names_that_the_route_gives_them() {
    let request = "GET /told/x HTTP/1.1\nHost: a.test\nAuthorization: Bearer TOKEN\nX-Value: lie\n\n";
    let value = |claim: &str| {
        let (headers, _) = told(&format!("claims: {{ x-value: \"{claim}\" }}"), request);
        headers.get("x-value").map(|value| value.to_str().unwrap().to_owned())
    };
    let is = |text: &str| Some(text.to_owned());
    assert_eq!(value("sub"), is("alice"));
    assert_eq!(value("age"), is("7"));
    assert_eq!(value("admin"), is("true"));
    assert_eq!(value("name"), is("J%C3%BCrgen%2C 50 %25%0A"));
    assert_eq!(value("roles"), is("a,b%2Cc"));
    assert_eq!(value("/realm/groups"), is("x,y"));
    assert_eq!(value("/realm/groups/1"), is("y"));
    assert_eq!(value("/realm/a~1b"), is("z"));
    // What is not there, or cannot be said, leaves no header, and never the caller's own.
    for claim in ["missing", "realm", "none", "long", "/realm/missing", "/"] {
        assert_eq!(value(claim), None, "{claim}");
    }
}

#[test]
fn without_a_token_no_claim_header_reaches_the_upstream() {
    let request = "GET /told/x HTTP/1.1\nHost: a.test\nX-User: lie\n\n";
    let (headers, mutations) = told("claims: { x-user: sub }", request);
    assert!(!headers.contains_key("x-user"));
    assert_eq!(mutations, json!(null));
    // Another spelling is not taken for the same name: it does not come in at all.
    let (answer, _) = World::new(Some(ALLOW))
        .run(async |_, caller| caller.ask("GET /told/x HTTP/1.1\nHost: a.test\nX_User: lie\n\n").await);
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[test]
fn the_callers_token_goes_on_unless_the_route_takes_it_off() {
    let request = "GET /told/x HTTP/1.1\nHost: a.test\nAuthorization: Bearer TOKEN\n\n";
    let (headers, mutations) = told("token: strip, claims: { x-user: sub }", request);
    assert!(!headers.contains_key("authorization"));
    assert_eq!(headers["x-user"], "alice");
    assert_eq!(mutations, json!(["remove authorization", "set x-user"]));
    for written in ["token: forward", ""] {
        let (headers, mutations) = told(written, request);
        assert!(headers["authorization"].to_str().unwrap().starts_with("Bearer ey"));
        assert_eq!(mutations, json!(null));
    }
}
