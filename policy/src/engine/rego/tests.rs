use crate::query::{Body, Headers, Http, Query, Source, Tls, TokenIssuer, WorkloadToken};
use crate::{
    BundleLimits, Decision, Entry, LoadError, Pdp, PdpLimits, PolicyBundle, Scratch, Signers, Verdict,
};
use std::time::Duration;

/// Deeper than anybody writes.
const DEEP: usize = 12_000;
const NOW_NS: u64 = 1_700_000_000_500_000_000;

fn bundle(files: &[(&str, &str)]) -> PolicyBundle {
    let files = files.iter().map(|(name, text)| (*name, text.as_bytes()));
    PolicyBundle::from_files(files, &BundleLimits::default(), &Signers::UnsignedAllowedForDevelopment)
        .unwrap()
}

/// A limit that a loaded machine does not reach.
fn limits() -> PdpLimits {
    PdpLimits { timeout: Duration::from_secs(20), ..PdpLimits::default() }
}

fn load(files: &[(&str, &str)]) -> Result<Pdp, LoadError> {
    Pdp::load(&[("b", bundle(files))], &Entry::Rego { path: "t/allow".to_owned() }, &limits())
}

/// A policy in package `t` whose rules are `rules`.
fn policy(rules: &str) -> Pdp {
    load(&[("t.rego", &format!("package t\n{rules}\n"))]).unwrap()
}

fn fields(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
}

fn get<'a>(path: &'a str, query: Option<&'a str>, headers: &'a dyn Headers, body: Body<'a>) -> Query<'a> {
    Query {
        now_ns: NOW_NS,
        action: "GET",
        source: Source {
            address: "10.0.0.7:4711".parse().ok(),
            spiffe_id: Some("spiffe://example.org/web"),
            trust_domain: Some("example.org"),
            sni: Some("bank.example.org"),
            certificate_serial: Some("0a"),
            tls: Tls::default(),
        },
        destination: "10.0.0.8:8443".parse().ok(),
        destination_principal: None,
        http: Some(Http {
            id: "01J",
            scheme: "https",
            authority: "bank.example.org",
            path,
            query,
            protocol: "HTTP/2",
            headers,
            body,
            size: 0,
        }),
        claims: None,
        token_issuer: None,
        transaction: None,
        workload_token: None,
        route: "accounts",
        service: "bank",
    }
}

fn decide(pdp: &Pdp, query: &Query<'_>) -> Verdict {
    let mut scratch = Scratch::default();
    let first = pdp.decide(&mut scratch, query);
    let second = pdp.decide(&mut scratch, query);
    assert_eq!((first.decision, first.code), (second.decision, second.code), "a decision must repeat");
    first
}

/// The code of the decision on `GET /accounts/42`; only `policy.allowed` is an allow.
fn check(rules: &str, want: &str) {
    let headers = fields(&[("x-tenant", "a"), ("x-tenant", "b")]);
    let verdict = decide(&policy(rules), &get("/accounts/42", Some("a=1&b=x+y"), &headers, Body::NotRead));
    assert_eq!(verdict.code, want, "{rules}: {verdict:?}");
    assert_eq!(verdict.decision == Decision::Allow, want == "policy.allowed");
}

/// The error of loading a policy in package `t`.
fn check_refused(rules: &str, want: &str) {
    match load(&[("t.rego", &format!("package t\n{rules}\n"))]) {
        Err(error) => assert!(error.to_string().contains(want), "{rules}: `{error}` lacks `{want}`"),
        Ok(_) => panic!("{rules} was loaded"),
    }
}

#[test]
fn only_a_true_boolean_or_an_object_that_says_so_allows() {
    check("allow := true", "policy.allowed");
    check("allow := false", "policy.denied");
    check("default allow := false", "policy.denied");
    check("allow if input.nothing", "policy.undefined");
    for odd in [r#""false""#, r#""true""#, "0", "1", "null", "[true]", "{true}", "{}", r#"{"allow": true}"#] {
        check(&format!("allow := {odd}"), "policy.result_type");
    }
    check(r#"allow := {"allowed": "true"}"#, "policy.result_type");
    check(r#"allow := {"allowed": true}"#, "policy.allowed");
    check(r#"allow := {"allowed": false}"#, "policy.denied");
    check("allow := true\nallow := false", "policy.error");
    check(
        "default allow := false\nallow := true if input.version\nallow := 1 if input.version",
        "policy.error",
    );
}

#[test]
fn an_error_of_a_builtin_is_an_undefined_call_as_in_opa_unless_errors_are_strict() {
    let strict = |rules: &str, want: &str| {
        let limits = PdpLimits { strict_builtin_errors: true, ..limits() };
        let source = format!("package t\n{rules}\n");
        let entry = Entry::Rego { path: "t/allow".to_owned() };
        let pdp = Pdp::load(&[("b", bundle(&[("t.rego", &source)]))], &entry, &limits).unwrap();
        let headers = fields(&[]);
        assert_eq!(decide(&pdp, &get("/", None, &headers, Body::NotRead)).code, want, "{rules}");
    };
    for (rules, lax) in [
        ("allow if not startswith(input.attributes.request.time.seconds, \"x\")", "policy.allowed"),
        ("allow if 1 / 0 == 1", "policy.undefined"),
        ("allow if regex.match(\"(\", \"x\")", "policy.undefined"),
    ] {
        check(rules, lax);
        strict(rules, "policy.error");
    }
    strict("allow if 1 / 1 == 1", "policy.allowed");
}

#[test]
fn what_costs_too_much_is_a_deny_of_its_own_name() {
    check("allow if count(numbers.range(1, 1000000000)) > 1", "policy.budget");
    check("allow if count(numbers.range(1, 100)) == 100", "policy.allowed");
    check("allow if count(numbers.range_step(1, 100, 10)) == 10", "policy.allowed");
    check("allow if bits.lsh(1, 100000000) > 1", "policy.budget");
    check(
        "allow if { some i in numbers.range(1, 9000); some j in numbers.range(1, 9000); i * j < 0 }",
        "policy.budget",
    );
    check(
        "default allow := false\nallow if not slow\nslow if { some i in numbers.range(1, 9000); some j in numbers.range(1, 9000); i * j < 0 }",
        "policy.budget",
    );
}

#[test]
fn a_decision_that_takes_too_long_is_stopped() {
    let rules = "package t\nallow if { some i in numbers.range(1, 9000); some j in numbers.range(1, 9000); i * j < 0 }\n";
    let limits =
        PdpLimits { timeout: Duration::from_millis(20), steps_max: u64::MAX, ..PdpLimits::default() };
    let entry = Entry::Rego { path: "t/allow".to_owned() };
    let pdp = Pdp::load(&[("b", bundle(&[("t.rego", rules)]))], &entry, &limits).unwrap();
    let headers = fields(&[]);
    assert_eq!(decide(&pdp, &get("/", None, &headers, Body::NotRead)).code, "policy.timeout");
}

#[test]
fn the_input_has_the_shape_of_the_opa_envoy_plugin() {
    for rule in [
        r#"input.attributes.request.http.method == "GET""#,
        r#"input.attributes.request.http.path == "/accounts/42?a=1&b=x+y""#,
        r#"input.attributes.request.http.host == "bank.example.org""#,
        r#"input.attributes.request.http.protocol == "HTTP/2""#,
        r#"input.attributes.request.http.headers["x-tenant"] == "a,b""#,
        r#"input.attributes.request.http.headers[":path"] == "/accounts/42?a=1&b=x+y""#,
        "not input.attributes.request.http.size",
        r#"input.attributes.source.principal == "spiffe://example.org/web""#,
        r#"input.source_principal == "spiffe://example.org/web""#,
        r#"input.attributes.source.address.socketAddress == {"address": "10.0.0.7", "portValue": 4711}"#,
        "input.attributes.destination.address.socketAddress.portValue == 8443",
        r#"input.attributes.request.time == {"seconds": 1700000000, "nanos": 500000000}"#,
        r#"input.attributes.tlsSession.sni == "bank.example.org""#,
        r#"input.version == {"ext_authz": "v3", "encoding": "protojson"}"#,
        r#"input.parsed_path == ["accounts", "42"]"#,
        r#"input.parsed_query == {"a": ["1"], "b": ["x y"]}"#,
        r#"input.postern.trust_domain == "example.org""#,
        r#"input.postern.route == "accounts""#,
        "input.postern.now_ns == 1700000000500000000",
        "time.now_ns() == 1700000000500000000",
    ] {
        check(&format!("allow if {rule}"), "policy.allowed");
    }
    check("import input.attributes.request.http as http\nallow if http.headers.host", "policy.undefined");
}

#[test]
fn a_unix_socket_has_no_address_and_its_caller_a_principal() {
    let by_socket = |rule: &str, want: &str| {
        let headers = fields(&[]);
        let mut query = get("/", None, &headers, Body::NotRead);
        query.source.address = None;
        query.destination = None;
        assert_eq!(decide(&policy(&format!("allow if {rule}")), &query).code, want, "{rule}");
    };
    by_socket(r#"input.attributes.source.principal == "spiffe://example.org/web""#, "policy.allowed");
    by_socket(
        "{ not input.attributes.source.address; not input.attributes.destination.address }",
        "policy.allowed",
    );
    by_socket(
        r#"net.cidr_contains("0.0.0.0/0", input.attributes.source.address.socketAddress.address)"#,
        "policy.undefined",
    );
}

#[test]
fn bodies_are_parsed_only_when_they_are_read() {
    let reading = policy("allow if input.parsed_body.amount == 5\nallow if input.truncated_body");
    let blind = policy("allow if input.attributes.request.http.method == \"GET\"");
    assert!(reading.reads_body());
    assert!(!blind.reads_body());
    let json = fields(&[("content-type", "application/json; charset=utf-8")]);
    let form = fields(&[("content-type", "application/x-www-form-urlencoded")]);
    let check = |pdp: &Pdp, headers: &Vec<(String, String)>, body: Body<'_>, want: &str| {
        assert_eq!(decide(pdp, &get("/", None, headers, body)).code, want, "{body:?}");
    };
    check(&reading, &json, Body::Whole(br#"{"amount": 5}"#), "policy.allowed");
    check(&reading, &json, Body::Whole(br#"{"amount": 6, "amount": 5}"#), "policy.input");
    check(&reading, &json, Body::Whole(b"{"), "policy.input");
    check(&reading, &json, Body::Whole("[".repeat(100).as_bytes()), "policy.input");
    check(&reading, &json, Body::Whole(b""), "policy.undefined");
    check(&reading, &form, Body::Whole(b"amount=5"), "policy.undefined");
    check(&reading, &form, Body::Stream, "policy.allowed");
    check(&blind, &json, Body::Whole(b"{"), "policy.allowed");
    check(&blind, &json, Body::Stream, "policy.allowed");
    let trusting = policy("allow if not input.parsed_body.evil");
    check(&trusting, &json, Body::Whole(b"{}"), "policy.allowed");
    check(&trusting, &json, Body::Stream, "policy.error");
}

#[test]
fn the_parts_that_a_policy_reads_are_found_through_imports_and_whole_references() {
    let reads_body = |rules: &str, want: bool| assert_eq!(policy(rules).reads_body(), want, "{rules}");
    reads_body("import input.attributes.request.http as http\nallow if http.method == \"GET\"", false);
    reads_body("import input.attributes.request.http as http\nallow if http.body == \"x\"", true);
    reads_body("import input.attributes.request as r\nallow if f(r)\nf(x) if x.http.rawBody", true);
    reads_body("allow if f(input)\nf(x) if x.parsed_body", true);
    reads_body("allow if input[\"parsed_body\"].x", true);
    reads_body("allow if { some k; input[k].x }", true);
    reads_body("allow if input.parsed_path[0] == \"x\"", false);
}

#[test]
fn a_workloads_own_token_is_offered_with_the_trust_domain_beside_its_claims() {
    let pdp = policy(
        "allow if { w := input.postern.workload_token; w.spiffe_id == \"spiffe://other.org/batch\"; w.trust_domain == \"other.org\"; w.claims.team == \"a\" }",
    );
    let headers = fields(&[]);
    let claims = serde_json::from_str(r#"{"team": "a"}"#).unwrap();
    let mut query = get("/", None, &headers, Body::NotRead);
    assert_eq!(decide(&pdp, &query).code, "policy.undefined");
    let (spiffe_id, trust_domain) = ("spiffe://other.org/batch", "other.org");
    query.workload_token = Some(WorkloadToken { spiffe_id, trust_domain, claims: &claims });
    assert_eq!(decide(&pdp, &query).code, "policy.allowed");
}

#[test]
fn the_claims_of_the_token_are_offered_with_exact_numbers() {
    let pdp =
        policy("allow if { input.claims.n == 123456789012345678901234567890; \"a\" in input.claims.groups }");
    let headers = fields(&[]);
    let members: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(r#"{"n": 123456789012345678901234567890, "groups": ["a"]}"#).unwrap();
    let mut query = get("/", None, &headers, Body::NotRead);
    assert_eq!(decide(&pdp, &query).code, "policy.undefined");
    query.claims = Some(&members);
    assert_eq!(decide(&pdp, &query).code, "policy.allowed");
    let by_domain = policy(
        "allow if { input.postern.token_issuer == \"spiffe://a.org\"; input.postern.token_trust_domain == \"a.org\" }",
    );
    assert_eq!(decide(&by_domain, &query).code, "policy.undefined");
    query.token_issuer = Some(TokenIssuer { issuer: "spiffe://a.org", trust_domain: Some("a.org") });
    assert_eq!(decide(&by_domain, &query).code, "policy.allowed");
    let by_transaction = policy("allow if input.transaction.groups == [\"a\"]");
    assert_eq!(decide(&by_transaction, &query).code, "policy.undefined");
    query.transaction = Some(&members);
    assert_eq!(decide(&by_transaction, &query).code, "policy.allowed");
    let huge = serde_json::from_str(r#"{"n": 1e999999999}"#).unwrap();
    query.claims = Some(&huge);
    assert_eq!(decide(&pdp, &query).code, "policy.error");
}

#[test]
fn negation_over_an_undefined_operand_is_undefined_as_in_opa() {
    let with_data = |rules: &str, want: &str| {
        let data = r#"{"blocked": {"mallory": true}, "list": ["x"]}"#;
        let pdp = load(&[("t.rego", &format!("package t\n{rules}\n")), ("data.json", data)]).unwrap();
        let headers = fields(&[]);
        let verdict = decide(&pdp, &get("/admin", None, &headers, Body::NotRead));
        assert_eq!(verdict.code, want, "{rules}: {verdict:?}");
    };
    let method = "input.attributes.request.http.method";
    for (negated, holds) in [
        ("not data.blocked[input.user]".to_owned(), false),
        (format!("not data.blocked[{method}]"), true),
        ("not startswith(input.path, \"/admin\")".to_owned(), false),
        (format!("not startswith({method}, \"/admin\")"), true),
        ("not input.nothing".to_owned(), true),
        ("not input.nothing == \"x\"".to_owned(), true),
        ("not input.level > 5".to_owned(), false),
        ("not \"admin\" in input.roles".to_owned(), false),
        ("not \"admin\" in data.list".to_owned(), true),
        ("not input.user in data.list".to_owned(), false),
        ("not count(input.roles) > 5".to_owned(), false),
        ("not f(input.user)".to_owned(), false),
        (format!("not f({method})"), true),
        ("not input.user != \"x\"".to_owned(), false),
        (format!("not {method} == lower(input.user)"), false),
        ("not data.t.other".to_owned(), true),
        ("not other".to_owned(), true),
        ("not f(other)".to_owned(), false),
        ("not data.blocked.x with input.user as \"q\"".to_owned(), true),
        ("not data.blocked[input.user] with input.user as \"q\"".to_owned(), true),
        ("not data.blocked[input.user] with input.user as \"mallory\"".to_owned(), false),
    ] {
        let want = if holds { "policy.allowed" } else { "policy.denied" };
        let rest = "f(x) if x == \"blocked\"\nother := \"x\" if input.nothing";
        with_data(&format!("default allow := false\nallow if {negated}\n{rest}"), want);
        with_data(&format!("default allow := false\nallow if {{ 1 == 1; {negated} }}\n{rest}"), want);
        with_data(
            &format!("default allow := false\nallow if {{\n  u := 1\n  {negated}\n  u == 1\n}}\n{rest}"),
            want,
        );
        with_data(
            &format!(
                "default allow := false\nallow if {{ every x in [1, 2] {{ x > 0; {negated} }} }}\n{rest}"
            ),
            want,
        );
        with_data(&format!("default allow := false\nallow if count([1 | {negated}]) == 1\n{rest}"), want);
    }
    with_data(
        "default allow := false\nallow if { some u in [\"q\"]; not data.blocked[u] }",
        "policy.allowed",
    );
    with_data(
        "default allow := false\nallow if { some u in [\"mallory\"]; not data.blocked[u] }",
        "policy.denied",
    );
    with_data("default allow := false\nallow if { u := input.user; not data.blocked[u] }", "policy.denied");
}

#[test]
fn what_opa_refuses_or_a_decision_must_not_do_is_refused_with_its_place() {
    check_refused("allow if http.send({})", "b/t.rego:2:10: the builtin http.send is refused");
    check_refused("\nallow if rand.intn(\"x\", 2) == 1", "`rand.intn` is refused");
    check_refused("allow if opa.runtime().env", "refused");
    check_refused("allow if uuid.rfc4122(\"x\")", "refused");
    check_refused("allow if io.jwt.encode_sign({}, {}, {})", "refused");
    check_refused("allow if nosuch(1)", "undefined function nosuch");
    check_refused("allow if data.other.f(1)", "undefined function data.other.f");
    check_refused("allow if count(1, 2, 3)", "takes 1 arguments, got 3");
    check_refused("allow if f(1)\nf(x) := f(x)", "b/t.rego:3:1: rule is recursive");
    check_refused("allow if f(1)\nf(x) := g(x)\ng(x) := data.t.f(x)", "recursive");
    check_refused("allow if allow2\nallow2 if allow3\nallow3 if allow2", "recursive");
    check_refused("allow if { not data.x[i] == 1 }", "b/t.rego:2:12: var i is unsafe");
    check_refused("allow if not f(x)\nf(x) if x", "var x is unsafe");
    check_refused("allow if not f(data.x[_])\nf(x) if x", "var _ is unsafe");
    check_refused("allow if { some i; not f(data.x[i]) }\nf(x) if x", "var i is unsafe");
    check_refused("deny if usr == \"mallory\"\nallow if not deny", "var usr is unsafe");
    check_refused("allow if { some i; input.x == 1 }", "declared var i unused");
    check_refused("import future.keywords.not\nallow if not input.x", "experimental");
    check_refused("import data.t.fake as input\nallow if input.x\nfake := {\"x\": true}", "input");
    check_refused("import data.t.input\nallow if input.x", "input");
    check_refused("import input.x as data\nallow if data.y", "data");
    check_refused("allow if f(1)\nf(input) if input == 1", "input");
    check_refused("input := 1\nallow if input == 1", "input");
    check_refused("allow if {", "b/t.rego:3:1");
    check_refused("allow if true\nallow contains 1", "conflicting rules data.t.allow found");
    check_refused(&format!("allow if {}1{}", "(".repeat(5000), ")".repeat(5000)), "b/t.rego");
}

#[test]
fn what_policies_in_the_wild_are_written_with_runs() {
    for rules in [
        "allow if { [p, v] := walk(input); p == [\"version\", \"ext_authz\"]; v == \"v3\" }",
        "allow if { glob.match(\"*\", [], \"x\", r); r }",
        "allow if $\"{input.postern.route}/{input.nothing}\" == \"accounts/<undefined>\"",
        "allow if { x := {\"if\": 1}; x.if == 1 }",
        "allow if { input.postern.route in {\"accounts\", \"other\"} }",
    ] {
        check(rules, "policy.allowed");
    }
}

#[test]
fn sources_that_are_deep_or_long_cost_no_stack() {
    let headers = fields(&[]);
    let query = get("/", None, &headers, Body::NotRead);
    for longest in [".a".repeat(190), "[0]".repeat(190), " == 1 + 1".to_owned() + &" + 1".repeat(180)] {
        let pdp = load(&[(
            "t.rego",
            &format!("package t\ndefault allow := false\nallow if not input.b{longest}\n"),
        )]);
        assert!(decide(&pdp.unwrap(), &query).code.starts_with("policy."));
    }
    for source in [
        format!("allow if input{}", "[0".repeat(DEEP)),
        format!("allow if f({}1{})", "[".repeat(DEEP), "]".repeat(DEEP)),
        format!("allow if 1{} == 2", " + 1".repeat(DEEP)),
        format!("allow if {}true", "not ".repeat(DEEP)),
        format!("allow if input{}", ".a".repeat(40_000)),
        format!("allow if f({}1{})", "[".repeat(11), "]".repeat(11)),
        format!("allow if f({}1{})", "{".repeat(11), "}".repeat(11)),
        format!("allow if f({}1{})", "{1 | 1 == ".repeat(11), "}".repeat(11)),
    ] {
        match load(&[("t.rego", &format!("package t\n{source}\nf(x) if x\n"))]) {
            Ok(pdp) => drop(decide(&pdp, &query)),
            Err(error) => assert!(error.to_string().len() < 1024, "{error}"),
        }
    }
}

#[test]
fn rules_that_build_on_each_other_without_end_are_refused() {
    let chain = |length: usize| {
        let rules: String =
            (1..length).map(|n| format!("r{n} if r{}\nf{n}(x) := f{}(x)\n", n + 1, n + 1)).collect();
        format!("allow if {{ r1; f1(1) }}\n{rules}r{length} := true\nf{length}(x) := x\n")
    };
    check(&chain(98), "policy.allowed");
    check_refused(&chain(160), "more than 100 deep");
    check_refused(&chain(5000), "more than 100 deep");
}

#[test]
fn the_entry_point_may_be_a_rule_or_an_object_of_rules_and_must_exist() {
    let entry = |path: &str, rules: &str| {
        let entry = Entry::Rego { path: path.to_owned() };
        Pdp::load(&[("b", bundle(&[("t.rego", &format!("package t.u\n{rules}\n"))]))], &entry, &limits())
    };
    let headers = fields(&[]);
    let query = get("/", None, &headers, Body::NotRead);
    let code = |pdp: Result<Pdp, LoadError>| decide(&pdp.unwrap(), &query).code;
    assert_eq!(code(entry("t/u/allow", "allow := true")), "policy.allowed");
    assert_eq!(code(entry("t/u", "allowed := true")), "policy.allowed");
    assert_eq!(code(entry("t/u/d", "d.allowed := true\nd.reason := \"r\"")), "policy.allowed");
    assert_eq!(code(entry("t/u/d", "d[\"allowed\"] := true if input.nothing")), "policy.result_type");
    for path in ["t/u/nosuch", "t", "", "t//u", "t/u/allow/x", "t.u.allow", "/t/u/allow", "t/u/f"] {
        let got = entry(path, "allow := true\nf(x) := x");
        if path == "t" {
            assert_eq!(code(got), "policy.result_type");
        } else {
            assert!(matches!(got, Err(LoadError::NoEntry { .. })), "{path}: {got:?}");
        }
    }
}

#[test]
fn an_object_carries_obligations_and_reasons() {
    let headers = fields(&[]);
    let query = get("/", None, &headers, Body::NotRead);
    let verdict = |object: &str| decide(&policy(&format!("allow := {object}")), &query);
    let allow = verdict(
        r#"{"allowed": true, "headers": [{"X-User": ["a", "b"]}, {"x-user": "web"}], "request_headers_to_remove": ["Cookie"],
            "response_headers_to_add": [{"x-a": ["1", "2"]}], "reasons": ["p1", "p2"],
            "query_parameters_to_set": {"a": "b%20c", "m": ["1", "2"], "none": []}, "query_parameters_to_remove": ["d"],
            "dynamic_metadata": {"tier": {"of": [1, true]}}, "http_status": "unread", "body": 1, "anything": "else"}"#,
    );
    assert_eq!(allow.code, "policy.allowed", "{allow:?}");
    assert_eq!(allow.obligations.request_headers_set, fields(&[("x-user", "web")]));
    assert_eq!(allow.obligations.request_headers_remove, ["cookie"]);
    assert_eq!(allow.obligations.response_headers_add, fields(&[("x-a", "1"), ("x-a", "2")]));
    assert_eq!(allow.obligations.query_set, fields(&[("a", "b%20c"), ("m", "2")]));
    assert_eq!(allow.obligations.query_remove, ["d"]);
    assert_eq!(allow.metadata.as_deref(), Some(r#"{"tier":{"of":[1,true]}}"#));
    assert_eq!(allow.reasons.iter().map(|r| r.as_str()).collect::<Vec<_>>(), ["p1", "p2"]);
    let deny = verdict(
        r#"{"allowed": false, "headers": {"x-why": "no"}, "http_status": 404, "body": "nothing here", "reason": "no!"}"#,
    );
    assert_eq!((deny.code, deny.message.as_deref()), ("policy.denied", Some("no!")));
    assert_eq!(deny.obligations.deny_headers, fields(&[("x-why", "no")]));
    assert_eq!(
        (deny.obligations.deny_status, deny.obligations.deny_body.as_deref()),
        (Some(404), Some("nothing here"))
    );
    assert_eq!(deny.reasons.iter().map(|r| r.as_str()).collect::<Vec<_>>(), ["t/allow"]);
    for bad in [
        r#""headers": {"content-length": "0"}"#,
        r#""headers": {"x": "a\r\nb: c"}"#,
        r#""headers": {"x": 1}"#,
        r#""headers": "x""#,
        r#""request_headers_to_remove": "x""#,
        r#""request_headers_to_remove": ["host"]"#,
        r#""query_parameters_to_set": "a=b""#,
        r#""query_parameters_to_set": ["a"]"#,
        r#""query_parameters_to_set": {"a": 1}"#,
        r#""query_parameters_to_set": {"a": ["1", 2]}"#,
        r#""query_parameters_to_set": {"a": "1&admin=1"}"#,
        r#""query_parameters_to_remove": {"a": "b"}"#,
        r#""query_parameters_to_remove": [1]"#,
        r#""response_headers_to_add": true"#,
        r#""headers": [["x", "1"]]"#,
        r#""dynamic_metadata": "x""#,
        r#""dynamic_metadata": {"x": concat("", [x | some _ in numbers.range(1, 5000); x := "y"])}"#,
    ] {
        assert_eq!(verdict(&format!(r#"{{"allowed": true, {bad}}}"#)).code, "policy.obligation", "{bad}");
    }
    for bad in [
        r#""http_status": "403""#,
        r#""http_status": 100"#,
        r#""http_status": 418"#,
        r#""http_status": 403.5"#,
        r#""http_status": 65936"#,
        r#""body": 1"#,
        r#""headers": {"x": null}"#,
        r#""dynamic_metadata": ["x"]"#,
    ] {
        assert_eq!(verdict(&format!(r#"{{"allowed": false, {bad}}}"#)).code, "policy.obligation", "{bad}");
    }
    for status in [200, 204, 302, 401, 429, 503] {
        let deny = verdict(&format!(r#"{{"allowed": false, "http_status": {status}}}"#));
        assert_eq!((deny.code, deny.obligations.deny_status), ("policy.denied", Some(status)));
    }
}

#[test]
fn bundles_are_whole_or_refused() {
    let rego = bundle(&[("t.rego", "package t\nallow := true")]);
    let entry = Entry::Rego { path: "t/allow".to_owned() };
    let refused = |bundles: &[(&str, PolicyBundle)], want: &str| match Pdp::load(bundles, &entry, &limits()) {
        Err(error) => assert!(error.to_string().contains(want), "`{error}` lacks `{want}`"),
        Ok(_) => panic!("loaded"),
    };
    refused(&[], "no policy bundle");
    refused(&[("a", rego.clone()), ("b", rego)], "overlap");
    refused(&[("a", bundle(&[("t.rego", "package t\nallow := true"), ("p.cedar", "")]))], "Cedar policies");
    let outside = [(".manifest", r#"{"roots": ["u"]}"#), ("t.rego", "package t\nallow := true")];
    refused(&[("a", bundle(&outside))], "outside the bundle's roots");
    refused(&[("a", bundle(&[("s.rego", "package system.x\nallow := true")]))], "outside the bundle's roots");
    let with_data = |data: &str| bundle(&[("t.rego", "package t\nallow := true"), ("data.json", data)]);
    refused(&[("a", with_data(r#"{"t": {"allow": false}}"#))], "where bundle `a` has data");
    refused(&[("a", with_data(r#"{"t": 1}"#))], "where bundle `a` has data");
    assert!(Pdp::load(&[("a", with_data(r#"{"t": {"other": 1}}"#))], &entry, &limits()).is_ok());
}

#[test]
fn old_rego_is_read_where_the_manifest_says_so() {
    let files = |manifest: &'static str| {
        [(".manifest", manifest), ("t.rego", "package t\nallow { input.version }\n")]
    };
    let entry = Entry::Rego { path: "t/allow".to_owned() };
    let old = Pdp::load(&[("b", bundle(&files(r#"{"rego_version": 0}"#)))], &entry, &limits()).unwrap();
    let headers = fields(&[]);
    assert_eq!(decide(&old, &get("/", None, &headers, Body::NotRead)).code, "policy.allowed");
    assert!(Pdp::load(&[("b", bundle(&files("{}")))], &entry, &limits()).is_err());
}

#[test]
fn a_scratch_keeps_the_current_and_the_previous_policy_apart() {
    let (old, new) = (policy("allow := true"), policy("allow := false"));
    let headers = fields(&[]);
    let query = get("/", None, &headers, Body::NotRead);
    let mut scratch = Scratch::default();
    for _ in 0..3 {
        assert_eq!(old.decide(&mut scratch, &query).decision, Decision::Allow);
        assert_eq!(new.decide(&mut scratch, &query).decision, Decision::Deny);
    }
}

#[test]
fn builtins_that_are_ours_mean_what_opa_means() {
    for rule in [
        r#"strings.count("cheese", "e") == 3"#,
        r#"strings.count("abc", "") == 4"#,
        r#"glob.match("/admin**", ["/"], "/admin/x/y")"#,
        r#"glob.match("*.example.org", [], "www.example.org")"#,
        r#"not glob.match("*.example.org", [], "a.www.example.org")"#,
        r#"not regex.match(`^\w+$`, "é")"#,
        r#"regex.replace("a1é", `\W`, "-") == "a1-""#,
        r#"regex.split(`\d`, "a1b٣c") == ["a", "b٣c"]"#,
        r#"regex.find_n(`\d`, "1٣2", -1) == ["1", "2"]"#,
        r#"regex.is_valid("(") == false"#,
        r#"print("x")"#,
    ] {
        check(&format!("allow if {rule}"), "policy.allowed");
    }
}

#[test]
fn a_caller_in_plain_text_is_let_in_only_by_a_policy_that_asks_for_it() {
    let check = |rules: &str, tls, code| {
        let mut query = get("/", None, &crate::NoHeaders, Body::NotRead);
        query.source = Source { tls, ..Source::default() };
        assert_eq!(decide(&policy(rules), &query).code, code, "{rules} {tls:?}");
    };
    check("allow := true", Tls::AsAsked, "policy.allowed");
    check("allow := true", Tls::None, "policy.error");
    check("allow if count(input) > 0", Tls::None, "policy.error");
    check("allow if input.postern.action == \"GET\"", Tls::None, "policy.error");
    check("allow if input.postern.tls == \"none\"", Tls::None, "policy.allowed");
    check("allow if input.postern.tls == \"none\"", Tls::AsAsked, "policy.undefined");
}
