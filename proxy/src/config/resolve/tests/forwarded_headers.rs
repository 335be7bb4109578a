//! What a route may tell of the way that a request came.
use super::{check, least, taken};
use crate::config::{ForwardedFor, ForwardedHeaders, ForwardedProto};

const ROUTE: &str = "{ match: { path_prefix: / }, upstream: app }";
const KEY: &str = "listeners.app.routes[0]";

fn route(rest: &str) -> String {
    ROUTE.replace("upstream: app", &format!("upstream: app, {rest}"))
}

fn told(written: &str) -> ForwardedHeaders {
    let route = route(&format!("forwarded_headers: {written}"));
    taken(&least(ROUTE, &route)).listeners[0].routes[0].forwarded_headers
}

#[test]
fn what_is_told_is_what_is_written() {
    assert_eq!(taken(super::LEAST).listeners[0].routes[0].forwarded_headers, ForwardedHeaders::default());
    let none = ForwardedHeaders::default();
    for (written, expected) in [
        ("{ for: append }", ForwardedHeaders { address: ForwardedFor::Append, ..none }),
        ("{ for: set }", ForwardedHeaders { address: ForwardedFor::Set, ..none }),
        ("{ for: remove }", ForwardedHeaders { address: ForwardedFor::Remove, ..none }),
        ("{ proto: set }", ForwardedHeaders { proto: ForwardedProto::Set, ..none }),
        ("{ proto: remove }", ForwardedHeaders { proto: ForwardedProto::Remove, ..none }),
        ("{ host: true, via: true }", ForwardedHeaders { host: true, via: true, ..none }),
        ("{ forwarded: true }", ForwardedHeaders { forwarded: true, ..none }),
    ] {
        assert_eq!(told(written), expected, "{written}");
    }
}

#[test]
fn what_would_tell_nothing_or_be_written_over_is_refused() {
    let at = |rest: &str, key: &str, what: &str| check(ROUTE, &route(rest), &format!("{KEY}.{key}"), what);
    at("forwarded_headers: {}", "forwarded_headers", "nothing is told");
    at("forwarded_headers: { via: false }", "forwarded_headers", "nothing is told");
    let rewrite = |headers: &str| {
        format!("forwarded_headers: {{ proto: set }}, rewrite: {{ request_headers: {{ {headers} }} }}")
    };
    let headers = "rewrite.request_headers";
    at(
        &rewrite("set: { X-Forwarded-Proto: https }"),
        &format!("{headers}.set.X-Forwarded-Proto"),
        "one of the two",
    );
    at(&rewrite("remove: [x-forwarded-proto]"), &format!("{headers}.remove[0]"), "one of the two");
    let claim = "forwarded_headers: { for: set }, identity_headers: { claims: { x-forwarded-for: ip } }";
    at(claim, "identity_headers.claims.x-forwarded-for", "one of the two");
    let free = route(&rewrite("set: { x-forwarded-for: nobody }"));
    taken(&least(ROUTE, &free));
}
