//! Listeners for connections that were going elsewhere.
use super::{LEAST, check, check_warning, least, read, taken};
use crate::config::{Captured, EndpointConfig, Level, ListenerProtocol};

const INBOUND: &str = "inbound: { address: 127.0.0.1:8443,";
const DOOR: &str = "inbound: { address: 127.0.0.1:8443, tls: { mutual: { trust_domains: [example.org] } } }";
const ROUTE: &str = "{ match: { path_prefix: / }, upstream: app }";
const UPSTREAM: &str = "app: { endpoints: [\"127.0.0.1:8080\"] }";

/// A captured outbound listener that takes requests and streams, changed in a place.
fn captured(from: &str, to: &str) -> String {
    let door = "outbound: { address: 127.0.0.1:15001, captured: redirect }\n    protocol: detect";
    let routes =
        "{ match: { destinations: [\"*:80\"] }, upstream: app }\n      - { match: {}, upstream: wire }";
    let wire = "app: { endpoints: [original_destination], plaintext: any_address }\n  wire: { endpoints: [original_destination], plaintext: any_address, protocol: tcp }";
    let text = LEAST.replace(DOOR, door).replace(ROUTE, routes).replace(UPSTREAM, wire);
    assert!(text.contains(from), "{from}");
    text.replace(from, to)
}

/// It is refused with one error, at this key.
#[track_caller]
fn check_captured(from: &str, to: &str, key: &str, what: &str) {
    let findings = read(&captured(from, to)).expect_err("a refusal");
    let errors: Vec<_> = findings.list.iter().filter(|finding| finding.level == Level::Error).collect();
    let [error] = errors.as_slice() else { panic!("{findings}") };
    assert_eq!(error.key, key, "{findings}");
    assert!(error.what.contains(what), "{findings}");
}

#[test]
fn a_listener_says_how_connections_are_led_to_it_and_routes_where_they_were_going() {
    let config = taken(&captured("", ""));
    let listener = &config.listeners[0];
    assert_eq!((listener.captured, listener.protocol), (Some(Captured::Redirect), ListenerProtocol::Detect));
    assert_eq!(listener.limits.detect_timeout.as_millis(), 100);
    assert_eq!(listener.routes[0].matches.destinations.len(), 1);
    assert!(listener.routes[1].stream_idle_timeout > listener.routes[0].stream_idle_timeout);
    assert_eq!(config.upstreams[0].endpoints, [EndpointConfig::OriginalDestination]);
    let inbound = least(INBOUND, "inbound: { address: \"0.0.0.0:8443\", captured: transparent,");
    assert_eq!(taken(&inbound).listeners[0].captured, Some(Captured::Transparent));
    assert_eq!(taken(LEAST).listeners[0].captured, None);
}

#[test]
fn whoever_can_reach_an_outbound_listener_would_speak_for_the_workload_however_it_captures() {
    for way in ["redirect", "transparent"] {
        let written = format!("outbound: {{ address: \"0.0.0.0:15001\", captured: {way} }}");
        check(DOOR, &written, "listeners.app.outbound.address", "not loopback");
    }
}

#[test]
fn what_comes_from_other_machines_is_not_redirected_to_loopback() {
    let with = |way: &str| format!("{INBOUND} captured: {way},");
    check_warning(INBOUND, &with("redirect"), "listeners.app.inbound.address", "never redirected");
    assert!(read(&least(INBOUND, &with("transparent"))).expect("taken").warnings.list.is_empty());
}

#[test]
fn what_means_something_only_for_captured_connections_is_refused_elsewhere() {
    let route = "listeners.app.routes[0]";
    let with = "{ match: { destinations: [\"*:80\"] }, upstream: app }";
    check(ROUTE, with, &format!("{route}.match.destinations"), "no other place");
    let original = "app: { endpoints: [original_destination], plaintext: any_address }";
    check(UPSTREAM, original, &format!("{route}.upstream"), "none was going elsewhere");
    check(DOOR, &format!("{DOOR}\n    protocol: detect"), "listeners.app.protocol", "one thing or another");
    let outbound = "outbound: { address: 127.0.0.1:15001 }\n    protocol: detect";
    check(DOOR, outbound, "listeners.app.protocol", "captured: redirect");
    let limits = "    limits: { detect_timeout: 1s }\n    routes:";
    check("    routes:", limits, "listeners.app.limits.detect_timeout", "no first bytes");
    taken(&captured("    routes:", limits));
}

#[test]
fn first_bytes_are_waited_for_on_a_listener_for_streams_only_where_a_route_asks_for_a_name() {
    let tcp = |matched: &str| {
        let text = captured("protocol: detect", "protocol: tcp\n    limits: { detect_timeout: 1s }");
        text.replace("{ match: { destinations: [\"*:80\"] }, upstream: app }", matched)
    };
    taken(&tcp("{ match: { authorities: [db.test] }, upstream: wire }"));
    let findings =
        read(&tcp("{ match: { destinations: [\"*:80\"] }, upstream: wire }")).expect_err("a refusal");
    assert!(findings.list.iter().any(|f| f.key == "listeners.app.limits.detect_timeout"), "{findings}");
}

#[test]
fn a_range_of_destinations_is_an_address_or_a_network_with_a_port() {
    let key = "listeners.app.routes[0].match.destinations";
    for (written, at, what) in [
        ("10.0.0.1/8:80", "[0]", "bits set"),
        ("10.0.0.0/8", "[0]", "no port"),
        ("*:*", "[0]", "everywhere"),
        ("fd00::1:80", "[0]", "in brackets"),
        ("orders.test:80", "[0]", "no IP address"),
        ("*:80\", \"*:80", "[1]", "twice"),
    ] {
        check_captured("*:80", written, &format!("{key}{at}"), what);
    }
}

#[test]
fn an_original_destination_stands_alone_and_has_nothing_that_is_known_of_it() {
    let app = "app: { endpoints: [original_destination], plaintext: any_address }";
    let key = "upstreams.app";
    for (written, at, what) in [
        ("app: { endpoints: [original_destination] }", "endpoints[0]", "beyond loopback"),
        (
            "app: { endpoints: [original_destination, \"192.0.2.1:1\"], plaintext: any_address }",
            "endpoints",
            "beside other endpoints",
        ),
        (&*app.replace(" }", ", balance: round_robin }"), "balance", "endpoints that are known"),
        (&*app.replace(" }", ", outlier: { interval: 1s } }"), "outlier", "endpoints that are known"),
        (&*app.replace(" }", ", health: { probe: connect } }"), "health", "endpoints that are known"),
    ] {
        check_captured(app, written, &format!("{key}.{at}"), what);
    }
    let mutual =
        "app: { endpoints: [original_destination], tls: { mutual: { trust_domains: [example.org] } } }";
    taken(&captured(app, mutual));
    let asked = "upstream: app, global_rate_limit: { service: app, domain: d, on_failure: deny, descriptors: [{ entries: [{ key: k, value: spiffe_id }] }] } }";
    check_captured(
        "upstream: app }",
        asked,
        "listeners.app.routes[0].global_rate_limit.service",
        "elsewhere",
    );
}

#[test]
fn a_route_behind_one_that_takes_all_its_destinations_can_never_match() {
    let second = "{ match: {}, upstream: wire }";
    let check_second = |written: &str, is_taken: bool| {
        let findings = read(&captured(second, written)).err();
        assert_eq!(findings.is_none(), is_taken, "{written}: {findings:?}");
    };
    check_second("{ match: { destinations: [\"10.0.0.0/8:80\"] }, upstream: app }", false);
    check_second("{ match: { destinations: [\"10.0.0.0/8:*\"] }, upstream: app }", true);
    check_second("{ match: {}, upstream: app }", true);
    // Requests and streams do not stand in each other's way.
    check_second("{ match: { destinations: [\"10.0.0.0/8:80\"] }, upstream: wire }", true);
}

#[test]
fn a_destination_that_is_a_port_of_our_own_is_warned_of() {
    let loaded = read(&captured("*:80", "127.0.0.1:15001")).expect("taken");
    let [warning] = loaded.warnings.list.as_slice() else { panic!("{}", loaded.warnings) };
    assert_eq!(warning.key, "listeners.app.routes[0].match.destinations[0]");
    assert!(warning.what.contains("never match"), "{}", loaded.warnings);
}
