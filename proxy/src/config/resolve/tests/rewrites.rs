//! By what a route is found, and what it changes.
use super::{check, least, taken};
use crate::config::Upgrade;

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
    for (route, upgrade) in [(route, Upgrade::WebSocket), (ROUTE, Upgrade::None)] {
        assert_eq!(taken(&least(ROUTE, route)).listeners[0].routes[0].upgrade, upgrade);
    }
    check(ROUTE, &route.replace("websocket", "websocket, websocket"), &format!("{KEY}.upgrades[1]"), "twice");
    let with = |protocol: &str| {
        super::LEAST.replace("8080\"]", &format!("8080\"], protocol: {protocol}")).replace(ROUTE, route)
    };
    assert_eq!(taken(&with("h2c")).listeners[0].routes[0].upgrade, Upgrade::WebSocket);
    let findings = super::read(&with("tcp")).expect_err("a refusal");
    assert!(findings.list.iter().any(|finding| finding.what.contains("asked for")), "{findings}");
}

#[test]
fn a_route_for_connect_says_nothing_of_paths_and_leads_to_raw_streams() {
    let route = |line: &str| format!("{{ {line}, upstream: db, upgrades: [connect] }}\n      - {ROUTE}");
    let tcp = |route: &str| {
        let db = "upstreams:\n  db: { endpoints: [\"127.0.0.1:5432\"], protocol: tcp }";
        super::LEAST.replace(ROUTE, route).replace("upstreams:", db)
    };
    let config = taken(&tcp(&route("match: { authorities: [\"db.test:5432\"] }")));
    let routes = &config.listeners[0].routes;
    assert_eq!([routes[0].upgrade, routes[1].upgrade], [Upgrade::Connect, Upgrade::None]);
    // It takes none of the requests of the one behind it.
    taken(&tcp(&route("match: {}")));
    for (line, at) in [
        ("match: { path: /a }", "match.path"),
        ("match: { path_prefix: /a }", "match.path_prefix"),
        ("match: { methods: [CONNECT] }", "match.methods"),
        ("match: {}, rewrite: { path_prefix: /a }", "rewrite"),
        ("match: {}, retry: { attempts_max: 2, on: [reset] }", "retry.on"),
    ] {
        let findings = super::read(&tcp(&route(line))).expect_err("a refusal");
        let key = format!("{KEY}.{at}");
        assert!(findings.list.iter().any(|finding| finding.key == key), "{line}: {findings}");
    }
    let elsewhere = "{ match: {}, upstream: app, upgrades: [connect] }";
    check(ROUTE, elsewhere, &format!("{KEY}.upstream"), "HTTP");
    let findings = super::read(&tcp(&route("match: {}").replace("[connect]", "[connect, websocket]")));
    let findings = findings.expect_err("a refusal");
    assert!(findings.list.iter().any(|finding| finding.what.contains("not both")), "{findings}");
}
