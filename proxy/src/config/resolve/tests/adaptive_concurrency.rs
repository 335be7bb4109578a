//! `adaptive_concurrency:` of an upstream.
use super::{check, least, taken};
use std::time::Duration;

const ENDPOINTS: &str = "endpoints: [\"127.0.0.1:8080\"]";
const KEY: &str = "upstreams.app.adaptive_concurrency";

fn with(rest: &str) -> String {
    format!("{ENDPOINTS}, {rest}")
}

#[test]
fn a_limit_that_is_found_out_has_room_to_move() {
    for (written, at, what) in [
        ("adaptive_concurrency: { concurrency_min: 0 }", ".concurrency_min", "out of range"),
        (
            "adaptive_concurrency: { concurrency_min: 9 }, requests_max: 9",
            ".concurrency_min",
            "nothing changes",
        ),
        ("adaptive_concurrency: { tolerance_percent: 0 }", ".tolerance_percent", "out of range"),
        ("adaptive_concurrency: { window: 1ms }", ".window", "out of range"),
        ("adaptive_concurrency: { requests_min: 0 }", ".requests_min", "out of range"),
        (
            "adaptive_concurrency: { window: 1s, remeasure_interval: 19s }",
            ".remeasure_interval",
            "halved again",
        ),
        ("adaptive_concurrency: { limit: 3 }", ".limit", "unknown"),
    ] {
        check(ENDPOINTS, &with(written), &format!("{KEY}{at}"), what);
    }
}

#[test]
fn a_raw_stream_has_no_answer_whose_time_could_be_taken() {
    let raw = format!("{ENDPOINTS} }}\n  raw: {{ {ENDPOINTS}, protocol: tcp, adaptive_concurrency: {{}}");
    check(ENDPOINTS, &raw, "upstreams.raw.adaptive_concurrency", "no answer");
}

#[test]
fn what_is_not_written_of_it_is_the_default_and_without_it_there_is_none() {
    let config = taken(&least(ENDPOINTS, ENDPOINTS));
    assert_eq!(config.upstreams[0].adaptive_concurrency, None);
    let config = taken(&least(ENDPOINTS, &with("requests_max: 3, adaptive_concurrency: {}")));
    let found = config.upstreams[0].adaptive_concurrency.unwrap();
    assert_eq!((found.concurrency_min, found.requests_max, found.requests_min), (3, 3, 25));
    assert_eq!((found.window, found.tolerance_percent), (Duration::from_millis(100), 25));
    assert_eq!(found.remeasure_interval, Duration::from_secs(60));
}

#[test]
fn a_rate_limit_service_is_not_bounded_by_what_is_not_measured_of_it() {
    let route = "upstream: app, global_rate_limit: { service: rls, domain: d, on_failure: deny, descriptors: [{ entries: [{ key: k, value: spiffe_id }] }] } }";
    let rls = format!("{ENDPOINTS}, protocol: h2c, adaptive_concurrency: {{}}");
    let text =
        least("upstream: app }", route).replace("upstreams:\n", &format!("upstreams:\n  rls: {{ {rls} }}\n"));
    check(super::LEAST, &text, "listeners.app.routes[0].global_rate_limit.service", "is not taken");
}
