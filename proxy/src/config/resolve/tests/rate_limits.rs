//! `rate_limits:` of a route.
use super::{check, least, taken};
use crate::config::RateLimitKey;

const KEY: &str = "listeners.app.routes[0].rate_limits";
const APP: &str = "upstream: app }";

fn limits(value: &str) -> String {
    format!("upstream: app, rate_limits: [{value}] }}")
}

#[test]
fn a_rate_limit_that_makes_no_sense_is_one_error() {
    for (value, at, what) in [
        ("{ name: a b, requests: 1, per: 1s }", "[0].name", "not a name"),
        ("{ name: a, requests: 0, per: 1s }", "[0].requests", "1 to 1000000"),
        ("{ name: a, requests: 1000001, per: 1s }", "[0].requests", "1 to 1000000"),
        ("{ name: a, requests: 1, per: soon }", "[0].per", "whole number"),
        ("{ name: a, requests: 1, per: 100ms }", "[0].per", "1s to 1d"),
        ("{ name: a, requests: 1, per: 1500ms }", "[0].per", "whole number of seconds"),
        ("{ name: a, requests: 1, per: 2d }", "[0].per", "1s to 1d"),
        ("{ name: a, requests: 1, per: 1s, burst: 0 }", "[0].burst", "less than one request"),
        ("{ name: a, requests: 1, per: 1s, keys_max: 0 }", "[0].keys_max", "1 to 1000000"),
        ("{ name: a, requests: 1, per: 1s, keys: [cookie] }", "[0].keys[0]", "`spiffe_id`"),
        (
            "{ name: a, requests: 1, per: 1s, keys: [{ header: a b }] }",
            "[0].keys[0].header",
            "not the name of a header",
        ),
        ("{ name: a, requests: 1, per: 1s, keys: [{ claim: \"\" }] }", "[0].keys[0].claim", "empty"),
        (
            "{ name: a, requests: 1, per: 1s, keys: [{ claim: sub }] }",
            "[0].keys[0].claim",
            "no token is looked at",
        ),
        ("{ name: a, requests: 1, per: 1s, keys: [address, address] }", "[0].keys[1]", "twice"),
        (
            "{ name: a, requests: 1, per: 1s }, { name: a, requests: 1, per: 1s, burst: 2 }",
            "[1].name",
            "taken",
        ),
    ] {
        check(APP, &limits(value), &format!("{KEY}{at}"), what);
    }
    let many: Vec<String> =
        (1..10).map(|n| format!("{{ name: n{n}, requests: 1, per: {n}s, burst: {n} }}")).collect();
    check(APP, &limits(&many.join(", ")), KEY, "at most 8");
}

#[test]
fn a_rate_limit_that_can_never_refuse_is_an_error() {
    let never = |first: &str, second: &str, at: usize| {
        let value = format!("{{ name: a, {first} }}, {{ name: b, {second} }}");
        check(APP, &limits(&value), &format!("{KEY}[{at}]"), "can never refuse");
    };
    never("requests: 10, per: 1s", "requests: 10, per: 1s", 1);
    never("requests: 10, per: 1s", "requests: 10, per: 1s, keys: [spiffe_id]", 1);
    never("requests: 700, per: 1m, keys: [spiffe_id]", "requests: 10, per: 1s", 0);
    never("requests: 10, per: 1s, keys: [address]", "requests: 20, per: 1s, keys: [spiffe_id, address]", 1);
    // Each of these may be the first that is reached.
    for (first, second) in [
        ("requests: 10, per: 1s", "requests: 20, per: 1s, burst: 5"),
        ("requests: 10, per: 1s", "requests: 5, per: 1s, keys: [spiffe_id]"),
        ("requests: 10, per: 1s, keys: [address]", "requests: 10, per: 1s, keys: [spiffe_id]"),
        ("requests: 10, per: 1s", "requests: 100, per: 1m, burst: 20"),
    ] {
        taken(&least(APP, &limits(&format!("{{ name: a, {first} }}, {{ name: b, {second} }}"))));
    }
}

#[test]
fn what_is_not_written_of_a_rate_limit_is_the_default() {
    let all = "{ name: a, requests: 7, per: 2m, keys: [{ header: X-Tenant }, trust_domain] }";
    let config = taken(&least(APP, &limits(all)));
    let [limit] = config.listeners[0].routes[0].rate_limits.as_slice() else { panic!("{config:?}") };
    assert_eq!((limit.requests, limit.per.as_secs(), limit.burst, limit.keys_max), (7, 120, 7, 10_000));
    assert_eq!(limit.keys, [RateLimitKey::Header("x-tenant".parse().unwrap()), RateLimitKey::TrustDomain]);
}

#[test]
fn a_claim_may_be_a_key_where_tokens_are_read() {
    let config = least(APP, &limits("{ name: a, requests: 1, per: 1s, keys: [{ claim: sub }] }"));
    taken(&config.replace("upstreams:", super::ISSUER));
    let ignored = config
        .replace("upstream: app,", "upstream: app, tokens: ignored,")
        .replace("upstreams:", super::ISSUER);
    let findings = super::read(&ignored).expect_err("a refusal").to_string();
    assert!(findings.contains("no token is looked at on this route"), "{findings}");
}

const GLOBAL: &str = "listeners.app.routes[0].global_rate_limit";
const SERVICE: &str = "service: limits, domain: d, on_failure: deny";
const DESCRIPTORS: &str = "descriptors: [{ entries: [{ key: k, value: spiffe_id }] }]";

/// A route that asks a service, which is there.
fn asking(global: &str) -> String {
    let upstreams = "  app: { endpoints: [\"127.0.0.1:8080\"] }\n  limits: { endpoints: [\"127.0.0.1:8081\"], protocol: h2c }\n";
    least(APP, &format!("upstream: app, global_rate_limit: {{ {global} }} }}"))
        .replace("  app: { endpoints: [\"127.0.0.1:8080\"] }\n", upstreams)
}

#[test]
fn a_service_that_cannot_be_asked_is_one_error() {
    for (global, at, what) in [
        (
            format!("service: limit, domain: d, on_failure: deny, {DESCRIPTORS}"),
            ".service",
            "did you mean `limits`",
        ),
        (
            format!("service: app, domain: d, on_failure: deny, {DESCRIPTORS}"),
            ".service",
            "does not speak HTTP/2",
        ),
        (format!("service: limits, domain: \"\", on_failure: deny, {DESCRIPTORS}"), ".domain", "it is empty"),
        (format!("service: limits, domain: d, {DESCRIPTORS}"), "", "on_failure"),
        (format!("{SERVICE}, {DESCRIPTORS}, timeout: 1m"), ".timeout", "1ms to 10s"),
        (format!("{SERVICE}, descriptors: []"), ".descriptors", "at least one"),
        (format!("{SERVICE}, descriptors: [{{ entries: [] }}]"), ".descriptors[0].entries", "at least one"),
        (
            format!("{SERVICE}, descriptors: [{{ entries: [{{ key: \"\", value: address }}] }}]"),
            ".descriptors[0].entries[0].key",
            "it is empty",
        ),
        (
            format!("{SERVICE}, descriptors: [{{ entries: [{{ key: k, value: {{ claim: sub }} }}] }}]"),
            ".descriptors[0].entries[0].value.claim",
            "no token is looked at",
        ),
        (
            format!(
                "service: limits, domain: d, on_failure: {{ local: {{ name: a, requests: 0, per: 1s }} }}, {DESCRIPTORS}"
            ),
            ".on_failure.local.requests",
            "1 to 1000000",
        ),
    ] {
        let findings = super::read(&asking(&global)).expect_err("a refusal");
        let [finding] = findings.list.as_slice() else { panic!("{global}: {findings}") };
        assert_eq!(finding.key, format!("{GLOBAL}{at}"), "{findings}");
        assert!(finding.what.contains(what) || finding.mend.contains(what), "{findings}");
    }
}

#[test]
fn a_service_that_is_asked_is_used() {
    let loaded = super::read(&asking(&format!("{SERVICE}, {DESCRIPTORS}")))
        .unwrap_or_else(|findings| panic!("{findings}"));
    assert!(loaded.warnings.list.is_empty(), "{}", loaded.warnings);
    let global = loaded.config.listeners[0].routes[0].global_rate_limit.clone().unwrap();
    assert_eq!((global.service.as_str(), global.timeout.as_millis()), ("limits", 20));
}
