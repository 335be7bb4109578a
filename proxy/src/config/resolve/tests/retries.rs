//! `retry:` of a route, and what an upstream may be made to bear.
use super::{check, check_warning, least, taken};
use crate::config::RetryOn;

const KEY: &str = "listeners.app.routes[0].retry";
const APP: &str = "upstream: app }";

fn retry(value: &str) -> String {
    format!("upstream: app, timeout: 5s, retry: {value} }}")
}

#[test]
fn a_retry_says_how_often_and_after_what() {
    for (value, at, what) in [
        ("{ attempts_max: 2, on: [] }", ".on", "nothing is named"),
        ("{ attempts_max: 2 }", ".on", "nothing is named"),
        ("{ attempts_max: 1, on: [connect_failure] }", ".attempts_max", "no retry"),
        ("{ attempts_max: 9, on: [connect_failure] }", ".attempts_max", "2 to 5"),
        ("{ attempts_max: 2, on: [always] }", ".on[0]", "`connect_failure`"),
        ("{ attempts_max: 2, statuses: [200] }", ".statuses[0]", "no status of a failure"),
        ("{ attempts_max: 2, statuses: [503, 503] }", ".statuses[1]", "twice"),
        ("{ attempts_max: 2, on: [reset], methods: [get] }", ".methods[0]", "`GET`"),
    ] {
        check(APP, &retry(value), &format!("{KEY}{at}"), what);
    }
}

#[test]
fn an_attempt_has_less_time_than_its_route() {
    let at = format!("{KEY}.per_try_timeout");
    check(APP, &retry("{ attempts_max: 2, on: [timeout] }"), &at, "no attempt has a time of its own");
    check(APP, &retry("{ attempts_max: 2, on: [timeout], per_try_timeout: 5s }"), &at, "never passes");
}

#[test]
fn what_may_be_done_twice_without_being_meant_to_is_said() {
    let at = format!("{KEY}.methods");
    check_warning(
        APP,
        &retry("{ attempts_max: 2, on: [gateway_error], methods: [GET, POST] }"),
        &at,
        "a POST may be done twice",
    );
}

#[test]
fn a_retry_that_never_happens_is_said() {
    let post = "match: { path_prefix: /, methods: [POST] }, upstream: app, retry: { attempts_max: 2, on: [reset] } }";
    check_warning("match: { path_prefix: / }, upstream: app }", post, KEY, "takes none of the methods");
    check_warning(APP, &retry("{ attempts_max: 2, on: [grpc_unavailable] }"), KEY, "gRPC calls are `POST`");
}

#[test]
fn what_is_not_written_of_a_retry_is_the_default() {
    let config = taken(&least(APP, &retry("{ attempts_max: 2, on: [reset, reset], backoff: 1s }")));
    let retry = &config.listeners[0].routes[0].retry;
    assert_eq!(retry.on, [RetryOn::Reset]);
    assert_eq!(retry.methods, ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"]);
    assert_eq!((retry.backoff.as_millis(), retry.backoff_max.as_millis()), (1000, 1000));
    assert_eq!((retry.per_try_timeout, retry.body_bytes_max), (None, 65_536));
}

#[test]
fn an_upstream_has_bounds_and_a_budget() {
    let endpoints = "endpoints: [\"127.0.0.1:8080\"]";
    let written = format!(
        "{endpoints}, pending_max: 0, requests_max: 7, retry_budget: {{ percent: 0, per_second: 3 }}"
    );
    let config = taken(&least(endpoints, &written));
    let (limits, budget) = (config.upstreams[0].limits, config.upstreams[0].retry_budget);
    assert_eq!((limits.connections_max, limits.pending_max, limits.requests_max), (1024, 0, 7));
    assert_eq!((budget.percent, budget.per_second), (0, 3));
    let too_many = format!("{endpoints}, retry_budget: {{ percent: 101 }}");
    check(endpoints, &too_many, "upstreams.app.retry_budget.percent", "out of range");
    let none = format!("{endpoints}, requests_max: 0");
    check(endpoints, &none, "upstreams.app.requests_max", "out of range");
}
