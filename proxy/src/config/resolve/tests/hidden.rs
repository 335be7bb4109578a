//! Routes that are hidden by several earlier ones, and upstreams that copies share.
use super::{check_warning, least, read};

const ROUTE: &str = "{ match: { path_prefix: / }, upstream: app }";
const UPSTREAM: &str = "app: { endpoints: [\"127.0.0.1:8080\"] }";

fn routes(matches: &[&str]) -> String {
    let routes = matches
        .iter()
        .enumerate()
        .map(|(index, matches)| format!("{{ name: r{index}, match: {{ {matches} }}, upstream: app }}"));
    routes.collect::<Vec<_>>().join("\n      - ")
}

/// The last of these routes is hidden by the earlier ones together, which are named.
#[track_caller]
fn check_hidden(matches: &[&str], names: &str) {
    let key = format!("listeners.app.routes[{}].match", matches.len() - 1);
    check_warning(ROUTE, &routes(matches), &key, names);
}

/// Each of these routes takes something.
#[track_caller]
fn check_seen(matches: &[&str]) {
    let loaded = read(&least(ROUTE, &routes(matches))).unwrap_or_else(|findings| panic!("{findings}"));
    assert!(loaded.warnings.list.is_empty(), "{}", loaded.warnings);
}

#[test]
fn a_route_that_several_hide_together_is_said() {
    check_hidden(
        &["methods: [GET]", "methods: [POST]", "methods: [GET, POST], path_prefix: /a"],
        "`r0` and `r1` take all",
    );
    check_hidden(
        &["methods: [GET], path_prefix: /a", "path: /a/b, methods: [PUT]", "methods: [GET, PUT], path: /a/b"],
        "`r0` and `r1` take all",
    );
    check_hidden(
        &["authorities: [a.test]", "authorities: [\"*.b.test\"]", "authorities: [a.test, c.b.test]"],
        "`r0` and `r1` take all",
    );
    check_hidden(
        &[
            "authorities: [a.test], methods: [GET]",
            "methods: [PUT]",
            "authorities: [b.test]",
            "authorities: [a.test, b.test], methods: [GET, PUT]",
        ],
        "`r0` and `r1` and `r2` take all",
    );
    check_hidden(
        &[
            "methods: [GET], headers: { x-a: present }",
            "methods: [PUT]",
            "methods: [GET, PUT], headers: { x-a: { exact: b } }",
        ],
        "`r0` and `r1` take all",
    );
}

#[test]
fn a_route_that_takes_what_is_left_is_not_hidden() {
    check_seen(&["methods: [GET]", "methods: [POST]", "methods: [GET, POST, PUT]"]);
    check_seen(&["methods: [GET]", "methods: [POST]", "path_prefix: /a"]);
    check_seen(&["methods: [GET], path_prefix: /a", "methods: [POST]", "methods: [GET, POST]"]);
    check_seen(&["methods: [GET], path: /a", "methods: [POST]", "methods: [GET, POST], path_prefix: /a"]);
    check_seen(&["methods: [GET], headers: { x-a: present }", "methods: [PUT]", "methods: [GET, PUT]"]);
    check_seen(&["path_prefix: /a", "path_prefix: /b", "path_prefix: /"]);
}

#[test]
fn a_connect_is_not_hidden_by_requests() {
    let of = |matches: &str, rest: &str| format!("{{ match: {{ {matches} }}, {rest} }}");
    let connect = of("authorities: [\"a.test:1\", \"b.test:1\"]", "upstream: wire, upgrades: [connect]");
    let both =
        [of("authorities: [a.test]", "upstream: app"), of("authorities: [b.test]", "upstream: app"), connect];
    let text = least(ROUTE, &both.join("\n      - ")).replace(
        UPSTREAM,
        &format!("{UPSTREAM}\n  wire: {{ endpoints: [\"127.0.0.1:5432\"], protocol: tcp }}"),
    );
    let loaded = read(&text).unwrap_or_else(|findings| panic!("{findings}"));
    assert!(loaded.warnings.list.is_empty(), "{}", loaded.warnings);
}

#[test]
fn an_upstream_for_copies_that_a_route_leads_to_is_said() {
    let mirrored = "{ match: { path_prefix: /a }, upstream: app, mirror: { upstream: next } }";
    let shared =
        format!("{mirrored}\n      - {{ name: canary, match: {{ path_prefix: /b }}, upstream: next }}");
    let next = format!("{UPSTREAM}\n  next: {{ endpoints: [\"127.0.0.1:8081\"] }}");
    let warnings = |routes: &str| {
        let text = least(ROUTE, routes).replace(UPSTREAM, &next);
        read(&text).unwrap_or_else(|findings| panic!("{findings}")).warnings
    };
    assert!(warnings(mirrored).list.is_empty());
    let found = warnings(&shared);
    let [warning] = found.list.as_slice() else { panic!("{found}") };
    assert_eq!(warning.key, "listeners.app.routes[0].mirror.upstream");
    assert!(warning.what.contains("`canary`"), "{found}");
}
