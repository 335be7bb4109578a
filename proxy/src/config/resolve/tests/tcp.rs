//! Listeners for raw streams.
use super::{LEAST, least, read, taken};
use crate::config::{Level, ListenerProtocol, UpstreamProtocol};

const INBOUND: &str = "    inbound:";
const UPSTREAM: &str = "app: { endpoints: [\"127.0.0.1:8080\"] }";

/// The least configuration for raw streams, changed in a place.
fn tcp(from: &str, to: &str) -> String {
    let tcp = LEAST.replace(INBOUND, "    protocol: tcp\n    inbound:");
    let tcp = tcp.replace(UPSTREAM, "app: { endpoints: [\"127.0.0.1:8080\"], protocol: tcp }");
    let tcp = tcp.replace("{ match: { path_prefix: / }, upstream: app }", "{ match: {}, upstream: app }");
    assert!(from.is_empty() || tcp.contains(from), "{from}");
    tcp.replace(from, to)
}

/// It is refused with one error, at this key.
#[track_caller]
fn check_tcp(from: &str, to: &str, key: &str, what: &str) {
    let findings = read(&tcp(from, to)).expect_err("a refusal");
    let errors: Vec<_> = findings.list.iter().filter(|finding| finding.level == Level::Error).collect();
    let [error] = errors.as_slice() else { panic!("{findings}") };
    assert_eq!(error.key, key, "{findings}");
    assert!(error.what.contains(what), "{findings}");
}

#[test]
fn a_listener_for_raw_streams_has_an_hour_of_silence_and_nothing_about_requests() {
    let config = taken(&tcp("upstreams:", "upstreams:"));
    let listener = &config.listeners[0];
    assert_eq!(listener.protocol, ListenerProtocol::Tcp);
    assert_eq!(listener.routes[0].stream_idle_timeout.as_secs(), 3600);
    assert_eq!(config.upstreams[0].protocol, UpstreamProtocol::Tcp);
    let route = "{ match: {}, upstream: app }";
    let routes = "listeners.app.routes[0]";
    for (to, at, what) in [
        ("{ match: { path_prefix: /a }, upstream: app }", "match.path_prefix", "about requests"),
        ("{ match: { methods: [GET] }, upstream: app }", "match.methods", "about requests"),
        ("{ match: {}, upstream: app, explain: none }", "explain", "about requests"),
        ("{ match: {}, upstream: app, tokens: ignored }", "tokens", "about requests"),
        (
            "{ match: {}, upstream: app, retry: { attempts_max: 2, on: [connect_failure, reset] } }",
            "retry.on",
            "only the connection",
        ),
        (
            "{ match: {}, upstream: app, retry: { attempts_max: 2, on: [connect_failure], backoff: 1s } }",
            "retry.backoff",
            "about requests",
        ),
    ] {
        check_tcp(route, to, &format!("{routes}.{at}"), what);
    }
    check_tcp(
        "    routes:",
        "    limits: { header_timeout: 1s }\n    routes:",
        "listeners.app.limits.header_timeout",
        "about requests",
    );
}

#[test]
fn requests_and_raw_streams_do_not_lead_to_each_others_upstreams() {
    check_tcp(", protocol: tcp }", " }", "listeners.app.routes[0].upstream", "in HTTP");
    super::check(
        UPSTREAM,
        "app: { endpoints: [\"127.0.0.1:8080\"], protocol: tcp }",
        "listeners.app.routes[0].upstream",
        "raw streams",
    );
    taken(&least(UPSTREAM, UPSTREAM));
}
