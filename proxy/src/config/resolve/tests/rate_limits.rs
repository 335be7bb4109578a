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
