use super::names::rfc3339_ms;
use crate::query::{Body, Headers, Http, Query, Source, Tls, TokenIssuer, WorkloadToken};
use crate::{
    BundleLimits, Decision, Entry, LoadError, Pdp, PdpLimits, PolicyBundle, Scratch, Signers, Verdict,
};

pub(super) fn load(files: &[(&str, &str)]) -> Result<Pdp, LoadError> {
    let files = files.iter().map(|(name, text)| (*name, text.as_bytes()));
    let bundle =
        PolicyBundle::from_files(files, &BundleLimits::default(), &Signers::UnsignedAllowedForDevelopment)
            .unwrap();
    Pdp::load(&[("b", bundle)], &Entry::Cedar, &PdpLimits::default())
}

pub(super) fn query<'a>(
    caller: &'a str,
    action: &'a str,
    path: &'a str,
    headers: &'a dyn Headers,
) -> Query<'a> {
    Query {
        now_ns: 1_700_000_000_123_456_789,
        action,
        source: Source {
            address: "10.0.0.7:4711".parse().ok(),
            spiffe_id: Some(caller),
            trust_domain: Some("example.org"),
            sni: None,
            certificate_serial: Some("0a"),
            tls: Tls::default(),
        },
        destination: "10.0.0.8:8443".parse().ok(),
        destination_principal: None,
        http: (action != "connect").then_some(Http {
            id: "01J",
            scheme: "https",
            authority: "bank.example.org",
            path,
            query: Some("dry_run=true&dry_run=false"),
            protocol: "HTTP/2",
            headers,
            body: Body::NotRead,
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

pub(super) const WEB: &str = "spiffe://example.org/web";

pub(super) fn decide(pdp: &Pdp, query: &Query<'_>) -> Verdict {
    pdp.decide(&mut Scratch::default(), query)
}

/// The code of the decision on `GET /accounts/42` by `web`.
fn check(policies: &str, want: &str) {
    let headers = vec![("x-tenant".to_owned(), "a".to_owned())];
    let verdict =
        decide(&load(&[("p.cedar", policies)]).unwrap(), &query(WEB, "GET", "/accounts/42", &headers));
    assert_eq!(verdict.code, want, "{policies}: {verdict:?}");
    assert_eq!(verdict.decision == Decision::Allow, want == "policy.allowed");
}

pub(super) fn check_refused(files: &[(&str, &str)], want: &str) {
    match load(files) {
        Err(error) => assert!(error.to_string().contains(want), "{files:?}: `{error}` lacks `{want}`"),
        Ok(_) => panic!("{files:?} was loaded"),
    }
}

#[test]
fn the_contract_offers_caller_route_and_context() {
    for condition in [
        r#"principal in TrustDomain::"example.org""#,
        r#"principal.trust_domain == "example.org" && principal.path == "/web""#,
        r#"resource == Route::"accounts" && resource in Service::"bank""#,
        r#"context.path == "/accounts/42" && context.depth == 2"#,
        r#"context.segments has s2 && context.segments.s2 == "42""#,
        r#"!(context.segments has s3)"#,
        r#"context.headers.hasTag("x-tenant") && context.headers.getTag("x-tenant") == "a""#,
        r#"context.query.hasTag("dry_run") && context.query.getTag("dry_run").containsAll(["true", "false"])"#,
        r#"context.source.address.isInRange(ip("10.0.0.0/8")) && context.source.port == 4711"#,
        r#"context.now > datetime("2023-11-14T22:13:20Z") && context.now < datetime("2023-11-14T22:13:21Z")"#,
        r#"context.tls has certificate_serial && context.tls.certificate_serial == "0a""#,
        r#"!(context has claims)"#,
    ] {
        check(
            &format!("permit (principal, action == Action::\"GET\", resource) when {{ {condition} }};"),
            "policy.allowed",
        );
    }
    check("permit (principal, action in Action::\"read\", resource);", "policy.allowed");
    check("permit (principal, action in Action::\"write\", resource);", "policy.denied");
}

#[test]
fn a_policy_that_reads_addresses_answers_for_no_unix_socket() {
    for (condition, want) in [
        (r#"context.path == "/accounts/42""#, "policy.allowed"),
        (r#"context.source.address.isInRange(ip("10.0.0.0/8"))"#, "policy.error"),
        (r#"!context.source.address.isInRange(ip("10.0.0.0/8"))"#, "policy.error"),
        ("context.destination.port != 1", "policy.error"),
    ] {
        let policies =
            format!("permit (principal, action == Action::\"GET\", resource) when {{ {condition} }};");
        let headers = Vec::new();
        let mut query = query(WEB, "GET", "/accounts/42", &headers);
        query.source.address = None;
        query.destination = None;
        let verdict = decide(&load(&[("p.cedar", &policies)]).unwrap(), &query);
        assert_eq!(verdict.code, want, "{condition}: {verdict:?}");
    }
}

#[test]
fn an_error_in_any_policy_denies() {
    check(
        r#"permit (principal, action, resource);
           forbid (principal, action == Action::"GET", resource)
           when { context.depth * 9223372036854775807 > 0 };"#,
        "policy.error",
    );
    check(
        r#"permit (principal, action, resource);
           permit (principal, action == Action::"GET", resource)
           when { context.path like "/other/*" ||
                  context.depth * 9223372036854775807 > 0 };"#,
        "policy.error",
    );
}

#[test]
fn an_unknown_method_an_impossible_name_and_a_caller_without_identity_are_denied() {
    let pdp = load(&[("p.cedar", "permit (principal, action, resource);")]).unwrap();
    let headers = Vec::new();
    let mut odd = query(WEB, "BREW", "/", &headers);
    assert_eq!(decide(&pdp, &odd).code, "policy.error");
    odd.action = "GET";
    odd.route = "a\0b";
    assert_eq!(decide(&pdp, &odd).code, "policy.error");
    odd.route = "accounts";
    assert_eq!(decide(&pdp, &odd).code, "policy.allowed");
    odd.source.spiffe_id = None;
    assert_eq!(decide(&pdp, &odd).code, "policy.error");
}

#[test]
fn a_raw_stream_needs_a_policy_about_connect() {
    let headers = Vec::new();
    let connect = query(WEB, "connect", "", &headers);
    let code = |policies: &str| decide(&load(&[("p.cedar", policies)]).unwrap(), &connect).code;
    assert_eq!(code("permit (principal, action in Action::\"write\", resource);"), "policy.denied");
    assert_eq!(code("permit (principal, action == Action::\"connect\", resource);"), "policy.allowed");
}

#[test]
fn determining_policies_give_reasons_and_obligations() {
    let pdp = load(&[(
        "p.cedar",
        r#"@id("tellers-read") @set_request_header("X-Role: teller")
           permit (principal, action == Action::"GET", resource);
           permit (principal, action == Action::"HEAD", resource);
           @set_request_header("x-role: other")
           permit (principal, action == Action::"GET", resource) when { context.path like "/both/*" };
           @id("closed") @reason("the bank is closed") @deny_status("404")
           forbid (principal, action in Action::"http", resource) when { context.path like "/closed/*" };"#,
    )])
    .unwrap();
    let headers = Vec::new();
    let ids = |v: &Verdict| v.reasons.iter().map(|r| r.as_str().to_owned()).collect::<Vec<_>>();
    let allow = decide(&pdp, &query(WEB, "GET", "/a", &headers));
    assert_eq!(ids(&allow), ["tellers-read"]);
    assert_eq!(allow.obligations.request_headers_set, [("x-role".to_owned(), "teller".to_owned())]);
    let unnamed = decide(&pdp, &query(WEB, "HEAD", "/a", &headers));
    assert_eq!(ids(&unnamed), ["p.cedar#2"]);
    let both = decide(&pdp, &query(WEB, "GET", "/both/a", &headers));
    assert_eq!((both.code, both.decision), ("policy.obligation", Decision::Deny));
    let closed = decide(&pdp, &query(WEB, "GET", "/closed/a", &headers));
    assert_eq!((ids(&closed), closed.code), (vec!["closed".to_owned()], "policy.denied"));
    assert_eq!(
        (closed.message.as_deref(), closed.obligations.deny_status),
        (Some("the bank is closed"), Some(404))
    );
    let none = decide(&pdp, &query(WEB, "POST", "/a", &headers));
    assert_eq!(
        (none.code, none.message.as_deref()),
        ("policy.denied", Some("no policy permits this request"))
    );
}

#[test]
fn groups_come_from_the_bundle_and_unknown_callers_are_in_none() {
    let entities = r#"[
        {"uid": {"type": "Workload", "id": "spiffe://example.org/web"}, "parents": [{"type": "Group", "id": "front"}]},
        {"uid": {"type": "Group", "id": "front"}, "attrs": {}, "parents": [{"type": "Group", "id": "all"}]},
        {"uid": {"type": "Group", "id": "all"}, "attrs": {}, "parents": []}]"#;
    let policies = r#"permit (principal in Group::"all", action, resource);"#;
    let pdp = load(&[("p.cedar", policies), ("entities.json", entities)]).unwrap();
    let headers = Vec::new();
    let mut scratch = Scratch::default();
    for _ in 0..2 {
        let known = pdp.decide(&mut scratch, &query(WEB, "GET", "/", &headers));
        let stranger = pdp.decide(&mut scratch, &query("spiffe://example.org/x", "GET", "/", &headers));
        assert_eq!((known.code, stranger.code), ("policy.allowed", "policy.denied"));
    }
}

#[test]
fn a_workloads_own_token_is_offered_with_the_trust_domain_beside_its_claims() {
    let pdp = load(&[(
        "p.cedar",
        r#"permit (principal, action == Action::"GET", resource) when {
             context has workload_token && context.workload_token.trust_domain == "other.org" &&
             context.workload_token.spiffe_id == "spiffe://other.org/batch" &&
             context.workload_token.hasTag("team") && context.workload_token.getTag("team").contains("a") };"#,
    )])
    .unwrap();
    let headers = Vec::new();
    let claims = serde_json::from_str(r#"{"team": "a", "cnf": {"jwk": {}}}"#).unwrap();
    let mut asked = query(WEB, "GET", "/", &headers);
    assert_eq!(decide(&pdp, &asked).code, "policy.denied");
    let (spiffe_id, trust_domain) = ("spiffe://other.org/batch", "other.org");
    asked.workload_token = Some(WorkloadToken { spiffe_id, trust_domain, claims: &claims });
    assert_eq!(decide(&pdp, &asked).code, "policy.allowed");
    assert_eq!(pdp.reads(), ["context.workload_token"]);
}

#[test]
fn claims_are_offered_with_scopes_and_tags() {
    let pdp = load(&[(
        "p.cedar",
        r#"permit (principal, action == Action::"GET", resource) when {
             context has claims && context.claims.scopes.contains("read") &&
             context.claims.hasTag("groups") && context.claims.getTag("groups").contains("a") &&
             context.claims has subject && context.claims.subject == "u1" };"#,
    )])
    .unwrap();
    let headers = Vec::new();
    let claims =
        serde_json::from_str(r#"{"sub": "u1", "scope": "read write", "groups": ["a", "b"], "x": {"y": 1}}"#);
    let claims = claims.unwrap();
    let mut asked = query(WEB, "GET", "/", &headers);
    assert_eq!(decide(&pdp, &asked).code, "policy.denied");
    asked.claims = Some(&claims);
    assert_eq!(decide(&pdp, &asked).code, "policy.allowed");
    assert_eq!(pdp.reads(), ["context.claims"]);
    let by_transaction = load(&[(
        "p.cedar",
        r#"permit (principal, action == Action::"GET", resource) when {
             context has transaction && context.transaction.scopes.contains("read") };"#,
    )])
    .unwrap();
    assert_eq!(decide(&by_transaction, &asked).code, "policy.denied");
    let mut in_transaction = asked;
    in_transaction.transaction = Some(&claims);
    assert_eq!(decide(&by_transaction, &in_transaction).code, "policy.allowed");
    let by_domain = load(&[(
        "p.cedar",
        r#"permit (principal, action == Action::"GET", resource) when {
             context has claims && context.claims has issuer && context.claims.issuer == "spiffe://a.org" &&
             context.claims has trust_domain && context.claims.trust_domain == "a.org" };"#,
    )])
    .unwrap();
    let says_so = serde_json::from_str(r#"{"iss": "spiffe://a.org", "trust_domain": "a.org"}"#).unwrap();
    asked.claims = Some(&says_so);
    assert_eq!(decide(&by_domain, &asked).code, "policy.denied");
    asked.token_issuer = Some(TokenIssuer { issuer: "spiffe://a.org", trust_domain: Some("a.org") });
    assert_eq!(decide(&by_domain, &asked).code, "policy.allowed");
}

#[test]
fn policies_that_do_not_fit_the_contract_are_refused_at_load() {
    check_refused(&[("p.cedar", "permit (principal, action, resource")], "line 1");
    check_refused(&[("p.cedar", "permit (principal, action == Action::\"GOT\", resource);")], "GOT");
    check_refused(
        &[(
            "p.cedar",
            "permit (principal, action == Action::\"GET\", resource) when { context.pth == \"x\" };",
        )],
        "pth",
    );
    check_refused(
        &[(
            "p.cedar",
            "permit (principal, action == Action::\"GET\", resource) when { context.claims.scopes.contains(\"x\") };",
        )],
        "claims",
    );
    check_refused(
        &[("p.cedar", "permit (principal, action, resource) when { context.path == \"x\" };")],
        "path",
    );
    check_refused(&[("p.cedar", "")], "`*.cedar` files");
    check_refused(
        &[
            ("a.cedar", "@id(\"x\") permit (principal, action, resource);"),
            ("b.cedar", "@id(\"x\") permit (principal, action, resource);"),
        ],
        "two policies have the id `x`",
    );
    check_refused(
        &[("p.cedar", "@deny_status(\"200\") forbid (principal, action, resource);")],
        "400 to 599",
    );
    check_refused(&[("p.cedar", "@deny_status(\"404\") permit (principal, action, resource);")], "no effect");
    check_refused(
        &[("p.cedar", "@deny_stats(\"404\") @reasons(\"x\") forbid (principal, action, resource);")],
        "did you mean `@reason`",
    );
    check_refused(
        &[("p.cedar", "@set_request_header(\"host: x\") permit (principal, action, resource);")],
        "belongs to the connection",
    );
}

#[test]
fn schemas_and_entities_that_do_not_fit_the_contract_are_refused_at_load() {
    let permit = "permit (principal, action, resource);";
    check_refused(&[("p.cedar", permit), ("schema.cedarschema", "entity Workload;")], "Workload");
    check_refused(&[("p.cedar", permit), ("schema.cedarschema", "entity X in [Nowhere];")], "Nowhere");
    check_refused(&[("p.cedar", permit), ("entities.json", "{}")], "not an array");
    check_refused(
        &[
            ("p.cedar", permit),
            ("entities.json", r#"[{"uid": {"type": "Nope", "id": "x"}, "attrs": {}, "parents": []}]"#),
        ],
        "Nope",
    );
    check_refused(
        &[("p.cedar", permit), ("entities.json", r#"[{"uid": {"type": "Workload", "id": "web"}}]"#)],
        "no SPIFFE ID",
    );
    check_refused(
        &[
            ("p.cedar", permit),
            (
                "entities.json",
                r#"[{"uid": {"type": "Workload", "id": "spiffe://a/b"}, "attrs": {"path": "/c"}}]"#,
            ),
        ],
        "follows from its SPIFFE ID",
    );
    check_refused(
        &[
            ("p.cedar", permit),
            (
                "entities.json",
                r#"[{"uid": {"type": "Group", "id": "a"}, "uid": {"type": "Group", "id": "b"}}]"#,
            ),
        ],
        "stands twice",
    );
    check_refused(&[("p.cedar", permit), ("t.rego", "package t")], "Rego policies");
}

#[test]
fn sources_that_are_deep_or_long_cost_no_stack() {
    const DEEP: usize = 12_000;
    let when = |condition: String| format!("permit (principal, action, resource) when {{ {condition} }};");
    for source in [
        when(format!("{}true{}", "(".repeat(DEEP), ")".repeat(DEEP))),
        when(format!("true{}", " && true".repeat(DEEP))),
        when(format!("1{} == 2", " + 1".repeat(DEEP))),
        when(format!("principal{} == 1", ".a".repeat(DEEP))),
        when(format!("{}1{} == 1", "[".repeat(DEEP), "]".repeat(DEEP))),
        when(format!("{}true", "if true then true else ".repeat(DEEP))),
        when(format!("{}true", "!".repeat(DEEP))),
    ] {
        if let Err(error) = load(&[("p.cedar", &source)]) {
            assert!(error.to_string().len() < 2048, "{error}");
        }
    }
    for longest in [
        when(format!("context has source{}", " && true".repeat(190))),
        when(format!("1{} == 2", " + 1".repeat(190))),
        when(format!("{}true", "if true then true else ".repeat(60))),
    ] {
        load(&[("p.cedar", &longest)]).unwrap();
    }
    let schema = format!("type T = {}Long{};", "Set<".repeat(DEEP), ">".repeat(DEEP));
    let permit = "permit (principal, action, resource);";
    assert!(load(&[("p.cedar", permit), ("schema.cedarschema", &schema)]).is_err());
}

#[test]
fn a_bundle_may_add_types_of_its_own() {
    let files = [
        ("p.cedar", "permit (principal, action, resource) when { Branch::\"zurich\".open };"),
        ("schema.cedarschema", "entity Branch { open: Bool };"),
        (
            "entities.json",
            r#"[{"uid": {"type": "Branch", "id": "zurich"}, "attrs": {"open": true}, "parents": []}]"#,
        ),
    ];
    let headers = Vec::new();
    assert_eq!(decide(&load(&files).unwrap(), &query(WEB, "GET", "/", &headers)).code, "policy.allowed");
}

#[test]
fn moments_are_written_as_rfc_3339() {
    for (now_ns, want) in [
        (0, "1970-01-01T00:00:00.000Z"),
        (951_782_400_000_000_000, "2000-02-29T00:00:00.000Z"),
        (1_700_000_000_123_456_789, "2023-11-14T22:13:20.123Z"),
        (4_107_542_399_999_000_000, "2100-02-28T23:59:59.999Z"),
        (u64::MAX, "2554-07-21T23:34:33.709Z"),
    ] {
        assert_eq!(rfc3339_ms(now_ns), want);
    }
}

/// `POST /transfers` with this body and type.
fn check_body(condition: &str, content_type: &str, body: Body<'_>, want: &str) {
    let policy = format!("permit (principal, action == Action::\"POST\", resource) when {{ {condition} }};");
    let pdp = load(&[("p.cedar", &policy)]).unwrap();
    assert!(pdp.reads_body());
    let headers = vec![("content-type".to_owned(), content_type.to_owned())];
    let mut asked = query(WEB, "POST", "/transfers", &headers);
    asked.http.as_mut().unwrap().body = body;
    let verdict = decide(&pdp, &asked);
    assert_eq!(verdict.code, want, "{condition}: {body:?}: {verdict:?}");
}

#[test]
fn a_bodys_top_level_members_are_offered() {
    let text = br#"{"amount": 900, "to": "CH12", "tags": ["a", 1, true], "deep": {"x": 1}, "rate": 1.50, "nil": null}"#;
    for condition in [
        r#"context has body && context.body.is_json && context.body.size == 98"#,
        r#"context.body.numbers.hasTag("amount") && context.body.numbers.getTag("amount") <= 1000"#,
        r#"context.body.hasTag("to") && context.body.getTag("to").contains("CH12")"#,
        r#"context.body.hasTag("tags") && context.body.getTag("tags").containsAll(["a", "1", "true"])"#,
        r#"context.body.hasTag("rate") && context.body.getTag("rate").contains("1.50")"#,
        r#"!context.body.numbers.hasTag("rate") && !context.body.numbers.hasTag("to")"#,
        r#"!context.body.hasTag("deep") && !context.body.hasTag("nil") && !context.body.hasTag("x")"#,
        r#"context.body.members.containsAll(["deep", "nil"]) && !context.body.members.contains("x")"#,
    ] {
        let condition = format!("context has body && {condition}");
        check_body(&condition, "application/json; charset=utf-8", Body::Whole(text), "policy.allowed");
        check_body(&condition, "application/vnd.api+JSON", Body::Whole(text), "policy.allowed");
        check_body(&condition, "application/json", Body::NotRead, "policy.denied");
        // What nobody read cannot be judged.
        check_body(&condition, "application/json", Body::Stream, "policy.error");
    }
    let has_none = r#"context has body && !context.body.is_json && context.body.members.isEmpty()"#;
    check_body(has_none, "text/plain", Body::Whole(text), "policy.allowed");
    check_body(has_none, "application/json", Body::Whole(b""), "policy.allowed");
    let is_json = "context has body && context.body.is_json";
    check_body(is_json, "application/json", Body::Whole(b"[1]"), "policy.allowed");
    for unreadable in [&b"{"[..], br#"{"a": 1, "a": 2}"#, b"{} x", &[b'['; 99]] {
        check_body(is_json, "application/json", Body::Whole(unreadable), "policy.error");
    }
}

#[test]
fn only_a_decision_that_reads_the_body_minds_that_it_is_streamed() {
    let pdp = load(&[(
        "p.cedar",
        r#"permit (principal, action == Action::"GET", resource);
           permit (principal, action == Action::"POST", resource) when { context has body };"#,
    )])
    .unwrap();
    let headers = Vec::new();
    for (method, want) in [("GET", "policy.allowed"), ("POST", "policy.error")] {
        let mut asked = query(WEB, method, "/", &headers);
        asked.http.as_mut().unwrap().body = Body::Stream;
        assert_eq!(decide(&pdp, &asked).code, want);
    }
}

#[test]
fn what_a_condition_names_is_seen_with_all_that_hangs_on_it() {
    let schema = r#"entity Branch in [Branch] { open: Bool, keeper: Workload };
                    entity Region { main: Branch } tags Branch;"#;
    let entities = r#"[
        {"uid": {"type": "Workload", "id": "spiffe://example.org/web"}, "parents": [{"type": "Group", "id": "front"}]},
        {"uid": {"type": "Workload", "id": "spiffe://other.org/x"}, "parents": [{"type": "Group", "id": "back"}]},
        {"uid": {"type": "Group", "id": "front"}, "attrs": {}, "parents": []},
        {"uid": {"type": "Branch", "id": "zurich"}, "parents": [],
         "attrs": {"open": true, "keeper": {"__entity": {"type": "Workload", "id": "spiffe://other.org/x"}}}},
        {"uid": {"type": "Branch", "id": "bern"}, "parents": [{"type": "Branch", "id": "zurich"}],
         "attrs": {"open": false, "keeper": {"__entity": {"type": "Workload", "id": "spiffe://example.org/web"}}}},
        {"uid": {"type": "Region", "id": "north"}, "parents": [],
         "attrs": {"main": {"__entity": {"type": "Branch", "id": "zurich"}}},
         "tags": {"second": {"__entity": {"type": "Branch", "id": "bern"}}}}]"#;
    let headers = Vec::new();
    for condition in [
        r#"Branch::"zurich".open && !Branch::"bern".open"#,
        r#"Region::"north".main.open && Region::"north".main.keeper.path == "/x""#,
        r#"Region::"north".main.keeper in TrustDomain::"other.org""#,
        r#"Region::"north".main.keeper in Group::"back""#,
        r#"Region::"north".hasTag("second") && Region::"north".getTag("second") in Branch::"zurich""#,
        r#"Region::"north".hasTag("second") && Region::"north".getTag("second").keeper == principal"#,
        r#"Branch::"bern".keeper.trust_domain == "example.org" && Branch::"bern".keeper in Group::"front""#,
        r#"action in Action::"read" && Action::"PUT" in Action::"write" && !(Action::"PUT" in Action::"read")"#,
        r#"!(Branch::"bern".keeper in Group::"back") && !(Branch::"basel" in Branch::"zurich")"#,
    ] {
        let policy =
            format!("permit (principal, action == Action::\"GET\", resource) when {{ {condition} }};");
        let files = [("p.cedar", &*policy), ("schema.cedarschema", schema), ("entities.json", entities)];
        let verdict = decide(&load(&files).unwrap(), &query(WEB, "GET", "/", &headers));
        assert_eq!(verdict.code, "policy.allowed", "{condition}: {verdict:?}");
    }
}

#[test]
fn entities_that_a_bundle_cannot_say_anything_about_are_refused() {
    let permit = "permit (principal, action, resource);";
    for (entity, want) in [
        (
            r#"{"uid": {"type": "Headers", "id": "request"}, "attrs": {}, "parents": []}"#,
            "part of one request",
        ),
        (
            r#"{"uid": {"type": "Workload", "id": "spiffe://a.org/x"}, "parents": [{"type": "TrustDomain", "id": "b.org"}]}"#,
            "follows from its SPIFFE ID",
        ),
    ] {
        check_refused(&[("p.cedar", permit), ("entities.json", &format!("[{entity}]"))], want);
    }
}
