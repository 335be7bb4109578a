//! What an upstream is told of the way that a request came.
use super::world::World;
use super::{ALLOW, only};
use serde_json::json;
use std::rc::Rc;

/// Every caller here comes from there.
const ADDRESS: &str = "192.0.2.7";
const RECEIVED: &str = "X-Forwarded-For: 198.51.100.1, 203.0.113.9\nX-Forwarded-Proto: ftp\nX-Forwarded-Host: evil.test\nForwarded: for=_evil\nVia: 1.0 fred\n";

/// Which of these reach the upstream of a route with `written`, from a caller who has sent `received`, and what is recorded.
#[track_caller]
fn check(written: &str, received: &str, expected: &[(&str, &str)], mutations: &[&str]) {
    check_under(ALLOW, (written, received), expected, mutations);
}

/// The same under another policy.
#[track_caller]
fn check_under(
    policy: &str,
    (written, received): (&str, &str),
    expected: &[(&str, &str)],
    mutations: &[&str],
) {
    let written = format!("explain: detail, {written}");
    let world = World::configured(Some(policy), &[("explain: detail", &written)]);
    let seen = Rc::clone(&world.seen);
    let request = format!("GET /told/x HTTP/1.1\nHost: a.test:8443\n{received}\n");
    let (answer, records) = world.run(async |_, caller| caller.ask(&request).await);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let seen = seen.borrow();
    let names = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded", "via"];
    let found: Vec<_> = names
        .iter()
        .filter_map(|name| Some((*name, seen[0].headers().get(*name)?.to_str().unwrap())))
        .collect();
    assert_eq!(found, expected, "{written}");
    let recorded = only(&records, "decision").get("mutations").cloned().unwrap_or_else(|| json!([]));
    assert_eq!(recorded, json!(mutations), "{written}");
}

#[test]
fn unless_a_route_says_otherwise_what_cannot_mislead_goes_on_and_nothing_is_told() {
    let sent =
        [("x-forwarded-for", "198.51.100.1, 203.0.113.9"), ("x-forwarded-proto", "ftp"), ("via", "1.0 fred")];
    check("timeout: 15s", RECEIVED, &sent, &[]);
    check("timeout: 15s", "", &[], &[]);
}

#[test]
fn what_a_route_tells_takes_the_place_of_what_the_caller_says() {
    let all = "forwarded_headers: { for: set, proto: set, host: true, forwarded: true, via: true }";
    let told = [
        ("x-forwarded-for", ADDRESS),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "a.test:8443"),
        ("forwarded", "for=192.0.2.7;host=\"a.test:8443\";proto=https"),
        ("via", "1.1 postern"),
    ];
    let recorded =
        ["set x-forwarded-for", "set x-forwarded-proto", "set x-forwarded-host", "set forwarded", "set via"];
    check(all, "", &told, &recorded);
    let [address, proto, host, forwarded, _] = told;
    check(all, RECEIVED, &[address, proto, host, forwarded, ("via", "1.0 fred, 1.1 postern")], &recorded);
}

#[test]
fn an_address_is_added_at_the_end_or_taken_off_with_the_rest() {
    let append = "forwarded_headers: { for: append }";
    let behind = "198.51.100.1, 203.0.113.9, 192.0.2.7";
    let others = [("x-forwarded-proto", "ftp"), ("via", "1.0 fred")];
    let [proto, via] = others;
    check(append, RECEIVED, &[("x-forwarded-for", behind), proto, via], &["set x-forwarded-for"]);
    check(append, "", &[("x-forwarded-for", ADDRESS)], &["set x-forwarded-for"]);
    let remove = "forwarded_headers: { for: remove, proto: remove }";
    check(remove, RECEIVED, &[via], &["remove x-forwarded-for", "remove x-forwarded-proto"]);
    check(remove, "", &[], &[]);
}

#[test]
fn the_host_is_the_one_that_was_asked_for_whatever_the_upstream_is_asked() {
    let written = "rewrite: { authority: inner.test }, forwarded_headers: { host: true }";
    check(
        written,
        "",
        &[("x-forwarded-host", "a.test:8443")],
        &["rewrite authority", "set x-forwarded-host"],
    );
}

/// An allow that takes these off and sets those.
fn demands(demanded: &str) -> String {
    format!("package authz\nimport rego.v1\ndecision := {{\"allowed\": true, {demanded}}}")
}

#[test]
fn what_is_added_to_or_taken_off_is_what_policy_has_left_there() {
    let removes = demands(r#""request_headers_to_remove": ["x-forwarded-for", "via", "x-forwarded-proto"]"#);
    let sets = demands(
        r#""headers": {"x-forwarded-for": "10.0.0.1", "via": "1.1 gate", "x-forwarded-proto": "wss"}"#,
    );
    let both = demands(r#""headers": {"via": "1.1 gate"}, "request_headers_to_remove": ["via"]"#);
    let append = "forwarded_headers: { for: append, via: true }";
    let remove = "forwarded_headers: { for: remove, proto: remove }";
    let removed = ["remove x-forwarded-for", "remove via", "remove x-forwarded-proto"];
    let set = ["set via", "set x-forwarded-for", "set x-forwarded-proto"];
    let own = [("x-forwarded-for", ADDRESS), ("via", "1.1 postern")];
    let done = ["set x-forwarded-for", "set via"];
    check_under(&removes, (append, RECEIVED), &own, &[&removed[..], &done].concat());
    let behind = [
        ("x-forwarded-for", "10.0.0.1, 192.0.2.7"),
        ("x-forwarded-proto", "wss"),
        ("via", "1.1 gate, 1.1 postern"),
    ];
    for received in [RECEIVED, ""] {
        check_under(&sets, (append, received), &behind, &[&set[..], &done].concat());
        let gone = ["remove x-forwarded-for", "remove x-forwarded-proto"];
        check_under(&sets, (remove, received), &[("via", "1.1 gate")], &[&set[..], &gone].concat());
    }
    check_under(
        &both,
        ("forwarded_headers: { via: true }", "Via: 1.0 fred\n"),
        &[("via", "1.1 postern")],
        &["set via", "remove via", "set via"],
    );
    check_under(&removes, (remove, RECEIVED), &[], &removed);
}
