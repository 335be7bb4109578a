//! How a route is found by more than its path, and what it changes on the way.
use super::world::World;
use super::{ALLOW, only, status, text};
use serde_json::json;
use std::rc::Rc;

const API: &str = "name: api, match: { path_prefix: /api }, upstream: app,";

#[test]
fn a_route_is_found_by_headers_and_by_a_whole_path() {
    let routes = "name: exact, match: { path: /api/one }, upstream: app }\n      - { name: canary, match: { path_prefix: /api, headers: { x-canary: { exact: \"1\" }, x-old: absent } }, upstream: app }\n      - { name: api, match: { path_prefix: /api }, upstream: app,";
    for (target, headers, route) in [
        ("/api/one", "", "exact"),
        ("/api/one/more", "", "api"),
        ("/api/x", "X-Canary: 1\n", "canary"),
        ("/api/x", "X-Canary: 12\n", "api"),
        ("/api/x", "X-Canary: 1\nX-Old: yes\n", "api"),
        ("/api/x", "", "api"),
    ] {
        let request = format!("GET {target} HTTP/1.1\nHost: a.test\n{headers}\n");
        let world = World::configured(Some(ALLOW), &[(API, routes)]);
        let (answer, records) = world.run(async |_, caller| caller.ask(&request).await);
        assert_eq!(status(&answer), 200, "{request}");
        assert_eq!(text(only(&records, "decision"), "route"), route, "{request}");
    }
}

#[test]
fn what_is_rewritten_is_decided_on_as_it_came_and_recorded() {
    let rewrite = "name: api, match: { path_prefix: /api }, upstream: app, rewrite: { path_prefix: /v2, authority: inner.test, request_headers: { set: { x-zone: b }, remove: [x-debug] }, response_headers: { set: { x-by: us } } },";
    let policy = r#"package authz
import rego.v1
default decision := false
decision := {"allowed": true, "headers": {"x-zone": "by-policy"}} if {
    input.attributes.request.http.path == "/api/x?q=1"
    input.attributes.request.http.host == "a.test"
    input.attributes.request.http.headers["x-debug"] == "1"
}"#;
    let world = World::configured(Some(policy), &[(API, rewrite)]);
    let seen = Rc::clone(&world.seen);
    let request = "GET /api/x?q=1 HTTP/1.1\nHost: a.test\nX-Debug: 1\nX-Zone: a\n\n";
    let (answer, records) = world.run(async |_, caller| caller.ask(request).await);
    assert_eq!(status(&answer), 200, "{answer}");
    assert!(answer.contains("x-by: us\r\n"), "{answer}");
    let seen = seen.borrow();
    assert_eq!(seen[0].uri().to_string(), "/v2/x?q=1");
    assert_eq!(seen[0].headers()["host"], "inner.test");
    assert_eq!(seen[0].headers()["x-zone"], "by-policy", "policy has the last word");
    assert!(!seen[0].headers().contains_key("x-debug"));
    let decision = only(&records, "decision");
    assert_eq!((text(decision, "path"), text(decision, "host")), ("/api/x", "a.test"));
    let changes = json!(["rewrite authority", "rewrite path", "remove x-debug", "set x-zone", "set x-zone"]);
    assert_eq!(decision["mutations"], changes);
}
