//! `mirror:` of a route.
use super::{ROUTE, check, check_warning, least, taken};
use std::time::Duration;

const KEY: &str = "listeners.app.routes[0].mirror";
const UPSTREAM: &str = "  app: { endpoints: [\"127.0.0.1:8080\"] }\n";

/// Changes the route and adds upstreams.
fn with(route: &str, shadow: &str) -> String {
    least(ROUTE, route).replace(UPSTREAM, &format!("{UPSTREAM}  shadow: {{ {shadow} }}\n"))
}

const SHADOW: &str = "endpoints: [\"127.0.0.1:8081\"]";

fn check_mirror(route: &str, shadow: &str, key: &str, what: &str) {
    let text = with(route, shadow);
    check(super::LEAST, &text, key, what);
}

#[test]
fn a_copy_goes_to_another_upstream_that_takes_requests() {
    for (mirror, shadow, at, what) in [
        ("upstream: shadwo", SHADOW, ".upstream", "did you mean `shadow`"),
        ("upstream: app", SHADOW, ".upstream", "each request twice"),
        ("upstream: shadow", &*format!("{SHADOW}, protocol: tcp"), ".upstream", "raw streams"),
        (
            "upstream: shadow",
            "endpoints: [original_destination], plaintext: any_address",
            ".upstream",
            "endpoints of its own",
        ),
        ("upstream: shadow, percent: 0", SHADOW, ".percent", "1 to 100"),
        ("upstream: shadow, percent: 101", SHADOW, ".percent", "1 to 100"),
        ("upstream: shadow, requests_max: 0", SHADOW, ".requests_max", "out of range"),
        ("upstream: shadow, body_bytes_max: 2MiB", SHADOW, ".body_bytes_max", "out of range"),
        ("upstream: shadow, timeout: 1ms", SHADOW, ".timeout", "out of range"),
    ] {
        let route = format!("{{ match: {{ path_prefix: / }}, upstream: app, mirror: {{ {mirror} }} }}");
        check_mirror(&route, shadow, &format!("{KEY}{at}"), what);
    }
}

#[test]
fn of_streams_there_is_no_copy() {
    let mirror = "mirror: { upstream: shadow }";
    let websocket =
        format!("{{ match: {{ path_prefix: / }}, upstream: app, upgrades: [websocket], {mirror} }}");
    check_mirror(&websocket, SHADOW, KEY, "carries streams");
    let stream = format!("{{ match: {{}}, upstream: app, {mirror} }}");
    let text = with(&stream, SHADOW).replace("8080\"]", "8080\"], protocol: tcp");
    let text = text.replace("    routes:", "    protocol: tcp\n    routes:");
    check(super::LEAST, &text, KEY, "`tcp` listener sees none");
}

#[test]
fn what_is_not_written_of_a_mirror_is_the_default_and_its_upstream_is_used() {
    let route = "{ match: { path_prefix: / }, upstream: app, mirror: { upstream: shadow } }";
    let config = taken(&with(route, SHADOW));
    let mirror = config.listeners[0].routes[0].mirror.as_ref().unwrap();
    assert_eq!((mirror.percent, mirror.body_bytes_max, mirror.requests_max), (100, 65_536, 64));
    assert_eq!(mirror.timeout, Duration::from_secs(5));
    check_warning(super::LEAST, &with(ROUTE, SHADOW), "upstreams.shadow", "no route leads to");
    assert!(super::read(&with(route, SHADOW)).unwrap().warnings.list.is_empty());
}
