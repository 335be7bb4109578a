//! What would change nothing where it is written.
use super::{ISSUER, LEAST, read};
use crate::config::Level;

const DOOR: &str =
    "    inbound: { address: 127.0.0.1:8443, tls: { mutual: { trust_domains: [example.org] } } }";
const MUTUAL: &str = "{ trust_domains: [example.org] }";
const ROUTE: &str = "{ match: { path_prefix: / }, upstream: app }";
const UPSTREAM: &str = "app: { endpoints: [\"127.0.0.1:8080\"] }";
const OUTBOUND: &str = "    outbound: { address: 127.0.0.1:15001 }";
const LOCAL: &str = "    outbound: { socket: /run/e.sock }";
const TCP_IN: &str = "    protocol: tcp\n    inbound: { address: 127.0.0.1:8443, tls: { mutual: { trust_domains: [example.org] } } }";
const TCP_OUT: &str = "    protocol: tcp\n    outbound: { address: 127.0.0.1:15001 }";
const TCP_CAPTURED: &str =
    "    protocol: tcp\n    outbound: { address: 127.0.0.1:15001, captured: redirect }";
const STREAM: &str = "{ match: {}, upstream: app }";
const WIRE: &str = "app: { endpoints: [\"127.0.0.1:8080\"], protocol: tcp }";

/// The least configuration with these pieces in place of its own: what is wrong with it, key by key.
fn errors(pieces: &[(&str, &str)]) -> Vec<(String, String)> {
    let text = pieces.iter().fold(LEAST.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    });
    let Err(findings) = read(&text) else { return Vec::new() };
    let errors = findings.list.iter().filter(|finding| finding.level == Level::Error);
    errors
        .map(|error| {
            assert!(error.place.is_some() && !error.mend.is_empty(), "{findings}");
            (error.key.clone(), error.what.clone())
        })
        .collect()
}

/// With these pieces the configuration is refused for one key alone.
#[track_caller]
fn check(pieces: &[(&str, &str)], key: &str, what: &str) {
    let errors = errors(pieces);
    let [(at, says)] = errors.as_slice() else { panic!("{pieces:?}: {errors:?}") };
    assert_eq!(at, key, "{says}");
    assert!(says.contains(what), "{says}");
}

/// With these pieces it is taken.
#[track_caller]
fn check_taken(pieces: &[(&str, &str)]) {
    assert_eq!(errors(pieces), [], "{pieces:?}");
}

#[test]
fn a_key_of_a_listener_without_effect_is_refused() {
    let limits = ("    routes:", "    limits: { handshake_timeout: 1s }\n    routes:");
    let key = "listeners.app.limits.handshake_timeout";
    check(&[(DOOR, OUTBOUND), limits], key, "no handshakes");
    check(&[(DOOR, LOCAL), limits], key, "no handshakes");
    check(&[(DOOR, TCP_OUT), (ROUTE, STREAM), (UPSTREAM, WIRE), limits], key, "no handshakes");
    check_taken(&[(DOOR, TCP_IN), (ROUTE, STREAM), (UPSTREAM, WIRE), limits]);
    check_taken(&[limits]);
    let graces = |rest: &str| format!("{{ trust_domains: [example.org], grace: 1s{rest} }}");
    let key = "listeners.app.inbound.tls.mutual.grace";
    check(&[(MUTUAL, &graces(", on_peer_expiry: close"))], key, "closed at once");
    check_taken(&[(MUTUAL, &graces(", on_peer_expiry: close, on_trust_change: drain"))]);
    check_taken(&[(MUTUAL, &graces(""))]);
    let nonce = ("    routes:", "    dpop_nonce: required\n    routes:");
    let key = "listeners.app.dpop_nonce";
    let issuer = ("upstreams:", ISSUER);
    check(&[issuer, (DOOR, OUTBOUND), nonce], key, "looks at tokens");
    check(&[issuer, ("upstream: app }", "upstream: app, tokens: ignored }"), nonce], key, "looks at tokens");
    check_taken(&[issuer, (DOOR, OUTBOUND), ("upstream: app }", "upstream: app, tokens: optional }"), nonce]);
    check_taken(&[issuer, nonce]);
}

#[test]
fn a_key_of_a_streams_route_without_effect_is_refused() {
    let streams = |door: &'static str, route: &str| {
        errors(&[(DOOR, door), (ROUTE, &format!("{{ {route}, upstream: app }}")), (UPSTREAM, WIRE)])
    };
    for (door, route, at) in [
        (TCP_IN, "match: { path: /a }", "path"),
        (TCP_IN, "match: { headers: { x-a: present } }", "headers"),
        (TCP_OUT, "match: { authorities: [a.test] }", "authorities"),
    ] {
        let found = streams(door, route);
        let keys: Vec<&str> = found.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, [format!("listeners.app.routes[0].match.{at}")], "{found:?}");
    }
    assert_eq!(streams(TCP_IN, "match: { authorities: [a.test] }"), []);
    assert_eq!(streams(TCP_CAPTURED, "match: { authorities: [a.test] }"), []);
}

#[test]
fn a_key_of_a_retry_without_effect_is_refused() {
    let connect = "match: { authorities: [db.test] }, upstream: app, upgrades: [connect]";
    let request = "match: { path_prefix: / }, upstream: app";
    let retry = |route: &str, rest: &str| {
        let upstream = if route == connect { WIRE } else { UPSTREAM };
        errors(&[
            (ROUTE, &format!("{{ {route}, retry: {{ attempts_max: 2, {rest} }} }}")),
            (UPSTREAM, upstream),
        ])
    };
    for (route, rest, at) in [
        (connect, "on: [connect_failure], methods: [GET]", "methods"),
        (connect, "on: [connect_failure], per_try_timeout: 1s", "per_try_timeout"),
        (connect, "on: [connect_failure], backoff: 1s", "backoff"),
        (connect, "on: [connect_failure], backoff_max: 1s", "backoff_max"),
        (connect, "on: [connect_failure], body_bytes_max: 1KiB", "body_bytes_max"),
        (request, "on: [connect_failure, refused_stream], methods: [GET]", "methods"),
        (request, "on: [connect_failure], body_bytes_max: 1KiB", "body_bytes_max"),
    ] {
        let found = retry(route, rest);
        let keys: Vec<&str> = found.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, [format!("listeners.app.routes[0].retry.{at}")], "{rest}: {found:?}");
    }
    for (route, rest) in [
        (connect, "on: [connect_failure]"),
        (request, "on: [connect_failure, reset], methods: [GET]"),
        (request, "on: [connect_failure], statuses: [500], methods: [GET], body_bytes_max: 1KiB"),
        (request, "on: [refused_stream], body_bytes_max: 1KiB"),
    ] {
        assert_eq!(retry(route, rest), [], "{rest}");
    }
}

#[test]
fn a_key_of_an_upstream_without_effect_is_refused() {
    let secured = "app: { endpoints: [\"192.0.2.1:8443\"], tls: { mutual: { trust_domains: [example.org] } }, plaintext: any_address }";
    check(&[(UPSTREAM, secured)], "upstreams.app.plaintext", "has `tls`");
    let wire = |rest: &str| format!("app: {{ endpoints: [\"127.0.0.1:8080\"], protocol: tcp, {rest} }}");
    let check_wire = |rest: &str, at: &str, what: &str| {
        let upstream = wire(rest);
        check(
            &[(DOOR, TCP_IN), (ROUTE, STREAM), (UPSTREAM, &upstream)],
            &format!("upstreams.app.{at}"),
            what,
        );
    };
    check_wire("idle_timeout: 1s", "idle_timeout", "not kept");
    check_wire("balance: { ring_hash: { header: x-a } }", "balance.ring_hash.header", "no header");
    check_wire("balance: { ring_hash: { cookie: a } }", "balance.ring_hash.cookie", "no cookie");
    let by_header = wire("balance: { ring_hash: { header: x-a } }");
    let connect = "{ match: { authorities: [db.test] }, upstream: app, upgrades: [connect] }";
    check_taken(&[(ROUTE, connect), (UPSTREAM, &by_header)]);
    let by_caller = wire("balance: { ring_hash: spiffe_id }");
    check_taken(&[(DOOR, TCP_IN), (ROUTE, STREAM), (UPSTREAM, &by_caller)]);
}
