//! `balance:`, `outlier:` and `health:` of an upstream.
use super::{check, least, taken};
use crate::config::{BalanceConfig, HashKey, HealthProbe};

const ENDPOINTS: &str = "endpoints: [\"127.0.0.1:8080\"]";

fn with(rest: &str) -> String {
    format!("{ENDPOINTS}, {rest}")
}

#[test]
fn an_endpoint_is_chosen_as_it_is_written() {
    for (written, meant) in [
        ("balance: p2c_ewma", BalanceConfig::P2cEwma),
        ("balance: least_request", BalanceConfig::LeastRequest),
        ("balance: round_robin", BalanceConfig::RoundRobin),
        ("balance: random", BalanceConfig::Random),
        ("balance: { ring_hash: spiffe_id }", BalanceConfig::RingHash(HashKey::SpiffeId)),
        (
            "balance: { ring_hash: { cookie: session } }",
            BalanceConfig::RingHash(HashKey::Cookie("session".to_owned())),
        ),
        (
            "balance: { ring_hash: { header: X-Tenant } }",
            BalanceConfig::RingHash(HashKey::Header("x-tenant".parse().expect("a name"))),
        ),
    ] {
        assert_eq!(taken(&least(ENDPOINTS, &with(written))).upstreams[0].balance, meant);
    }
    let key = "upstreams.app.balance";
    check(ENDPOINTS, &with("balance: fastest"), key, "`round_robin`");
    let ring = |by: &str| with(&format!("balance: {{ ring_hash: {by} }}"));
    check(ENDPOINTS, &ring("{ header: \"a b\" }"), &format!("{key}.ring_hash.header"), "not the name");
    check(ENDPOINTS, &ring("{ cookie: \"\" }"), &format!("{key}.ring_hash.cookie"), "not the name");
}

#[test]
fn what_is_asked_of_an_endpoints_health_can_be_asked() {
    let key = "upstreams.app.health.probe";
    let probe = |probe: &str| with(&format!("health: {{ probe: {probe} }}"));
    check(ENDPOINTS, &probe("{ http: { path: healthz } }"), &format!("{key}.http.path"), "not a path");
    let host = probe("{ http: { path: /x, host: \"a b\" } }");
    check(ENDPOINTS, &host, &format!("{key}.http.host"), "not a host");
    check(ENDPOINTS, &probe("{ grpc: {} }"), &format!("{key}.grpc"), "needs HTTP/2");
    let config = taken(&least(ENDPOINTS, &probe("connect")));
    let health = config.upstreams[0].health.as_ref().expect("it is written");
    assert_eq!(health.probe, HealthProbe::Connect);
    assert_eq!((health.interval.as_secs(), health.healthy_after, health.unhealthy_after), (10, 3, 3));
    assert_eq!(taken(super::LEAST).upstreams[0].health, None);
}

#[test]
fn an_outlier_is_defined_within_reason() {
    let outlier = |rest: &str| with(&format!("outlier: {{ {rest} }}"));
    let key = "upstreams.app.outlier";
    check(
        ENDPOINTS,
        &outlier("consecutive_failures: 0"),
        &format!("{key}.consecutive_failures"),
        "out of range",
    );
    check(
        ENDPOINTS,
        &outlier("ejected_percent_max: 101"),
        &format!("{key}.ejected_percent_max"),
        "out of range",
    );
    let config = taken(&least(ENDPOINTS, &outlier("ejection: 10m")));
    let outlier = config.upstreams[0].outlier;
    assert_eq!((outlier.ejection, outlier.ejection_max), (outlier.ejection_max, outlier.ejection));
    assert_eq!((outlier.consecutive_failures, outlier.ejected_percent_max), (5, 50));
}
