//! By what a route is found, and what it changes.
use super::{check, least, taken};

const ROUTE: &str = "{ match: { path_prefix: / }, upstream: app }";
const KEY: &str = "listeners.app.routes[0]";

#[test]
fn what_a_route_is_found_by_can_be_found() {
    let matching = |line: &str| format!("{{ match: {{ {line} }}, upstream: app }}");
    for (line, at, what) in [
        ("path: /a, path_prefix: /a", "path", "not both"),
        ("path: a", "path", "does not start"),
        ("headers: { \"a b\": present }", "headers.\"a b\"", "not the name"),
        ("headers: { x-spiffe-id: present }", "headers.x-spiffe-id", "taken off"),
    ] {
        check(ROUTE, &matching(line), &format!("{KEY}.match.{at}"), what);
    }
    let config = taken(&least(ROUTE, &matching("path: /a, headers: { X-A: { prefix: b } }")));
    let matches = &config.listeners[0].routes[0].matches;
    assert!(matches.is_exact && matches.headers[0].0 == "x-a", "{matches:?}");
}

#[test]
fn a_route_behind_one_that_takes_all_its_requests_is_a_mistake_and_behind_a_narrower_one_it_is_not() {
    let two = |first: &str, second: &str| {
        format!(
            "{{ match: {{ {first} }}, upstream: app }}\n      - {{ match: {{ {second} }}, upstream: app }}"
        )
    };
    let canary = "path_prefix: /, headers: { x-canary: present }";
    check(ROUTE, &two("path_prefix: /a", "path: /a/b"), "listeners.app.routes[1].match", "never match");
    check(ROUTE, &two("path: /a", "path: /a"), "listeners.app.routes[1].match", "never match");
    check(ROUTE, &two(canary, canary), "listeners.app.routes[1].match", "never match");
    for (first, second) in [("path: /a", "path_prefix: /a"), (canary, "path_prefix: /")] {
        taken(&least(ROUTE, &two(first, second)));
    }
}

#[test]
fn a_route_does_not_change_who_calls_or_how_a_message_is_framed() {
    let rewrite =
        |line: &str| format!("{{ match: {{ path_prefix: / }}, upstream: app, rewrite: {{ {line} }} }}");
    for (line, at, what) in [
        ("", "", "nothing is rewritten"),
        ("path_prefix: v2", ".path_prefix", "does not start"),
        ("path_prefix: /a/../b", ".path_prefix", "empty segment"),
        ("authority: \"*.a\"", ".authority", "pattern"),
        ("authority: \"a b\"", ".authority", "not a host name"),
        ("request_headers: { set: { x-spiffe-id: a } }", ".request_headers.set.x-spiffe-id", "who calls"),
        ("request_headers: { remove: [content-length] }", ".request_headers.remove[0]", "who calls"),
        ("response_headers: { set: { connection: close } }", ".response_headers.set.connection", "who calls"),
        ("request_headers: { set: { x-a: \"\\n\" } }", ".request_headers.set.x-a", "cannot stand"),
        ("request_headers: { set: { x-a: b }, remove: [X-A] }", ".request_headers.remove[0]", "twice"),
    ] {
        check(ROUTE, &rewrite(line), &format!("{KEY}.rewrite{at}"), what);
    }
}

#[test]
fn a_connection_is_switched_only_where_the_upstream_can_follow() {
    let route = "{ match: { path_prefix: / }, upstream: app, upgrades: [websocket] }";
    assert!(taken(&least(ROUTE, route)).listeners[0].routes[0].websocket);
    assert!(!taken(&least(ROUTE, ROUTE)).listeners[0].routes[0].websocket);
    check(ROUTE, &route.replace("websocket", "websocket, websocket"), &format!("{KEY}.upgrades[1]"), "twice");
    let h2c = super::LEAST.replace("8080\"]", "8080\"], protocol: h2c").replace(ROUTE, route);
    let findings = super::read(&h2c).expect_err("a refusal");
    assert!(findings.list.iter().any(|finding| finding.what.contains("HTTP/1.1")), "{findings}");
}
