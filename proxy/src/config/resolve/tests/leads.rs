//! What becomes of what a route takes.
use super::{LEAST, ROUTE, check, check_warning, least, read, taken};
use crate::config::{AnswerConfig, HashKey, Leads, Level, RedirectPath};

const KEY: &str = "listeners.app.routes[0]";
const UPSTREAM: &str = "  app: { endpoints: [\"127.0.0.1:8080\"] }\n";
const NEXT: &str = "endpoints: [\"127.0.0.1:8081\"]";

/// A route with this beside its `match`, and a second upstream.
fn with(route: &str, next: &str) -> String {
    let route = format!("{{ match: {{ path_prefix: /api }}, {route} }}");
    let both = format!("{UPSTREAM}  next: {{ {next} }}\n");
    // The second route is for the upstreams that the first one does not lead to.
    let rest = "{ match: { path_prefix: /next }, upstream: next }\n      - { match: { path_prefix: / }, upstream: app }";
    least(ROUTE, &format!("{route}\n      - {rest}")).replace(UPSTREAM, &both)
}

fn check_route(route: &str, at: &str, what: &str) {
    check(LEAST, &with(route, NEXT), &format!("{KEY}{at}"), what);
}

fn leads(route: &str) -> Leads {
    let loaded = read(&with(route, NEXT)).unwrap_or_else(|findings| panic!("{findings}"));
    assert!(loaded.warnings.list.is_empty(), "{}", loaded.warnings);
    loaded.config.listeners[0].routes[0].leads.clone()
}

#[test]
fn a_route_leads_to_one_thing() {
    let split = "split: [{ upstream: app, weight: 1 }, { upstream: next, weight: 1 }]";
    check_route("explain: code", "", "nothing is said");
    check_route(&format!("upstream: app, {split}"), ".split", "beside `upstream`");
    check_route("upstream: app, redirect: { host: b.test }", ".redirect", "beside `upstream`");
    check_route("upstream: app, respond: { status: 404 }", ".respond", "beside `upstream`");
    check_route(&format!("{split}, respond: {{ status: 404 }}"), ".respond", "beside `split`");
    check_route("redirect: { host: b.test }, respond: { status: 404 }", ".respond", "beside `redirect`");
    assert_eq!(leads("upstream: app").to_string(), "app");
    assert_eq!(leads(split).to_string(), "app (1) | next (1)");
    assert_eq!(leads("redirect: { host: b.test }").to_string(), "redirect 308");
    assert_eq!(leads("respond: { status: 404 }").to_string(), "answer 404");
}

#[test]
fn the_weights_of_a_split_are_a_choice() {
    let of = |sides: &str| format!("split: [{sides}]");
    let app = "{ upstream: app, weight: 1 }";
    check_route(&of(""), ".split", "from 0 upstreams");
    check_route(&of(app), ".split", "write `upstream` instead");
    check_route(&of(&format!("{app}, {app}")), ".split[1].upstream", "twice");
    check_route(
        &of(&format!("{app}, {{ upstream: nxet, weight: 1 }}")),
        ".split[1].upstream",
        "did you mean `next`",
    );
    check_route(
        &of(&format!("{app}, {{ upstream: next, weight: 1000001 }}")),
        ".split[1].weight",
        "0 to 1000000",
    );
    let zero = "{ upstream: app, weight: 0 }, { upstream: next, weight: 0 }";
    check_route(&of(zero), ".split", "all weights are 0");
    let Leads::Split(split) = leads(&of(&format!("{app}, {{ upstream: next, weight: 0 }}"))) else {
        panic!()
    };
    assert_eq!(split.sides, [("app".to_owned(), 1), ("next".to_owned(), 0)]);
    assert_eq!(split.key, None);
}

const SPLIT: &str = "split: [{ upstream: app, weight: 1 }, { upstream: next, weight: 1 }]";

#[test]
fn a_split_goes_by_what_a_request_has() {
    let Leads::Split(split) = leads(&format!("{SPLIT}, split_key: {{ cookie: session }}")) else { panic!() };
    assert_eq!(split.key, Some(HashKey::Cookie("session".to_owned())));
    check_route("upstream: app, split_key: spiffe_id", ".split_key", "no `split`");
    check_route(&format!("{SPLIT}, split_key: {{ header: \"x y\" }}"), ".split_key.header", "not the name");
    check_route(&format!("{SPLIT}, split_key: {{ header: X-Spiffe-Id }}"), ".split_key.header", "taken off");
    let inbound = "inbound: { address: 127.0.0.1:8443, tls: { mutual: { trust_domains: [example.org] } } }";
    let keyed = with(&format!("{SPLIT}, split_key: spiffe_id"), NEXT);
    let outbound = keyed.replace(inbound, "outbound: { address: 127.0.0.1:15001 }");
    check_warning(LEAST, &outbound, &format!("{KEY}.split_key"), "goes the same way");
}

#[test]
fn all_upstreams_of_a_split_are_of_the_routes_kind() {
    let tcp = format!("{NEXT}, protocol: tcp");
    check(
        LEAST,
        &with(SPLIT, &tcp).replace("/next }, upstream: next", "/next }, upstream: app"),
        &format!("{KEY}.split[1].upstream"),
        "raw streams",
    );
    let h2c = format!("{NEXT}, protocol: h2c");
    taken(&with(&format!("{SPLIT}, upgrades: [websocket]"), &h2c));
    check_route(&format!("{SPLIT}, mirror: {{ upstream: next }}"), ".mirror.upstream", "each request twice");
    let original = "endpoints: [original_destination], plaintext: any_address";
    let text = with(SPLIT, original).replace("/next }, upstream: next", "/next }, upstream: app");
    check(LEAST, &text, &format!("{KEY}.split[1].upstream"), "none was going elsewhere");
}

/// A configuration of raw streams whose one route has this.
fn stream(route: &str) -> String {
    let both =
        UPSTREAM.replace(" }", ", protocol: tcp }") + &format!("  next: {{ {NEXT}, protocol: tcp }}\n");
    least(ROUTE, &format!("{{ match: {{}}, {route} }}"))
        .replace(UPSTREAM, &both)
        .replace("    routes:", "    protocol: tcp\n    routes:")
}

fn check_stream(route: &str, at: &str, what: &str) {
    check(LEAST, &stream(route), &format!("{KEY}{at}"), what);
}

#[test]
fn raw_streams_are_split_by_who_opens_them_and_have_no_answers() {
    assert_eq!(taken(&stream(&format!("{SPLIT}, split_key: spiffe_id"))).listeners[0].routes.len(), 1);
    check_stream(
        &format!("{SPLIT}, split_key: {{ header: x-a }}"),
        ".split_key",
        "neither headers nor cookies",
    );
    check_stream(
        &format!("{SPLIT}, split_key: {{ cookie: a }}"),
        ".split_key",
        "neither headers nor cookies",
    );
    check_stream("respond: { status: 404 }", ".respond", "`tcp` listener sees none");
    check_stream("redirect: { host: b.test }", ".redirect", "`tcp` listener sees none");
}

#[test]
fn what_is_detected_is_split_among_its_like() {
    let inbound = "inbound: { address: 127.0.0.1:8443, tls: { mutual: { trust_domains: [example.org] } } }";
    let outbound = "outbound: { address: 127.0.0.1:15001, captured: redirect }\n    protocol: detect";
    let tcp = with(SPLIT, &format!("{NEXT}, protocol: tcp")).replace(inbound, outbound);
    let tcp = tcp.replace("match: { path_prefix: /next }", "match: {}");
    check(LEAST, &tcp, &format!("{KEY}.split[1].upstream"), "requests, or raw streams");
}

#[test]
fn what_is_about_an_upstream_has_no_place_where_there_is_none() {
    for rule in [
        "timeout: 1s",
        "stream_idle_timeout: 1s",
        "retry: { attempts_max: 2, on: [connect_failure] }",
        "upgrades: [websocket]",
        "rewrite: { path_prefix: /v2 }",
        "mirror: { upstream: next }",
        "identity_headers: { xfcc: { mode: sanitize } }",
    ] {
        let (name, _) = rule.split_once(':').unwrap();
        check_route(
            &format!("respond: {{ status: 404 }}, {rule}"),
            &format!(".{name}"),
            "is about an upstream",
        );
        check_route(
            &format!("redirect: {{ host: b.test }}, {rule}"),
            &format!(".{name}"),
            "is about an upstream",
        );
    }
    leads("respond: { status: 404 }, rate_limits: [{ name: r, requests: 1, per: 1s }], explain: none");
}

#[test]
fn a_redirect_leads_elsewhere_by_a_status_that_says_so() {
    let redirect = |members: &str| format!("redirect: {{ {members} }}");
    for (members, at, what) in [
        ("host: b.test, status: 200", ".status", "301, 302, 303, 307 or 308"),
        ("host: b.test, status: 304", ".status", "301, 302, 303, 307 or 308"),
        ("host: b.test, status: 70000", ".status", "301, 302, 303, 307 or 308"),
        ("host: \"b.test:8443\"", ".host", "write the port in `port`"),
        ("host: \"b.test/evil\"", ".host", "is not a host"),
        ("host: \"evil@b.test\"", ".host", "is not a host"),
        ("host: \"b.test\\r\\nx: y\"", ".host", "more than a host"),
        ("host: \"b.test\\r\\nx\"", ".host", "is not a host"),
        ("host: \"\"", ".host", "is not a host"),
        ("port: 0", ".port", "1 to 65535"),
        ("port: 65536", ".port", "1 to 65535"),
        ("path: there", ".path", "one spelling"),
        ("path: \"//evil.test\"", ".path", "one spelling"),
        ("path: \"/a?b\"", ".path", "one spelling"),
        ("path: \"/a/../b\"", ".path", "one spelling"),
        ("path: /a, path_prefix: /b", ".path", "both"),
        ("path_prefix: /b/", ".path_prefix", "ends with `/`"),
        ("host: b.test, headers: { Location: \"/x\" }", ".headers", "made of the other keys"),
        ("host: b.test, headers: { x-spiffe-id: \"1\" }", ".headers.x-spiffe-id", "not a route's to change"),
        ("host: b.test, headers: { x-a: \"\\r\\n\" }", ".headers.x-a", "printable ASCII"),
        // Nothing is other there.
        ("status: 301", "", "comes back to it"),
        ("scheme: https", "", "comes back to it"),
        ("strip_query: true", "", "comes back to it"),
        ("path_prefix: /api", "", "comes back to it"),
    ] {
        check_route(&redirect(members), &format!(".redirect{at}"), what);
    }
    let itself = with(&redirect("host: A.test"), NEXT).replace("/api }", "/api, authorities: [a.test] }");
    check(LEAST, &itself, &format!("{KEY}.redirect"), "comes back to it");
    let Leads::Answer(AnswerConfig::Redirect(redirect)) =
        leads(&redirect("scheme: http, host: B.test, port: 8080, path: /api/"))
    else {
        panic!()
    };
    assert_eq!((redirect.host.as_deref(), redirect.port), (Some("b.test"), Some(8080)));
    assert_eq!(redirect.path, RedirectPath::Whole("/api/".to_owned()));
}

#[test]
fn an_answer_is_one_that_can_be_given() {
    let long = format!("status: 404, body: \"{}\"", "x".repeat(16 * 1024 + 1));
    for (members, at, what) in [
        ("status: 302", ".status", "write `redirect`"),
        ("status: 101", ".status", "200 to 299, or 400 to 599"),
        ("status: 600", ".status", "200 to 299, or 400 to 599"),
        ("status: 204, body: gone", ".body", "has no body"),
        ("status: 404, content_type: text/html", ".content_type", "no `body`"),
        ("status: 404, body: a, content_type: html", ".content_type", "what it is"),
        ("status: 404, body: a, content_type: \"text/html\\n\"", ".content_type", "what it is"),
        ("status: 404, headers: { content-type: a/b }", ".headers", "made of the other keys"),
        ("status: 404, headers: { content-length: \"1\" }", ".headers.content-length", "frames the message"),
        (&*long, ".body", "16KiB at most"),
    ] {
        check_route(&format!("respond: {{ {members} }}"), &format!(".respond{at}"), what);
    }
    let Leads::Answer(AnswerConfig::Respond(answer)) = leads("respond: { status: 404, body: gone }") else {
        panic!()
    };
    assert_eq!((answer.status.as_u16(), &*answer.body), (404, &b"gone"[..]));
    assert_eq!(answer.content_type.unwrap(), "text/plain; charset=utf-8");
}

#[test]
fn faults_are_for_what_is_forwarded() {
    let text = with("respond: { status: 404 }, faults: { abort: { percent: 1 } }", NEXT);
    let findings = read(&text).expect_err("a refusal");
    let errors = findings.list.iter().filter(|finding| finding.level == Level::Error);
    let keys: Vec<&str> = errors.map(|finding| finding.key.as_str()).collect();
    assert_eq!(keys, [format!("{KEY}.faults")], "{findings}");
}

#[test]
fn upstreams_of_a_split_are_used() {
    let text = with(SPLIT, NEXT).replace("      - { match: { path_prefix: /next }, upstream: next }\n", "");
    assert!(read(&text).unwrap().warnings.list.is_empty());
}
