use super::combine::combine;
use super::*;
use std::collections::BTreeSet;

const GET: &str = "input.attributes.request.http.method == \"GET\"";

fn side(files: &[(&str, &str)]) -> Side {
    let all = files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect();
    let cedar = files.iter().any(|(name, _)| name.ends_with(".cedar"));
    let entry = if cedar { Entry::Cedar } else { Entry::Rego { path: "p/allow".to_owned() } };
    Side::load("b", &all, &entry).unwrap()
}

fn rego(conditions: &[&str]) -> Side {
    let rules: Vec<String> = conditions.iter().map(|one| format!("allow if {{ {one} }}\n")).collect();
    side(&[("p.rego", &format!("package p\ndefault allow := false\n{}", rules.concat()))])
}

fn cedar(policies: &str) -> Side {
    side(&[("p.cedar", policies)])
}

/// Whether something is newly allowed, newly denied, or demanded otherwise, and what stands in the report.
fn check(old: &Side, new: &Side, expected: [bool; 3], words: &[&str]) {
    let difference = compared(old, new, &[]);
    let got = [Kind::Allowed, Kind::Denied, Kind::Obligations].map(|kind| difference.count(kind) > 0);
    let shown = difference.plain();
    assert_eq!(got, expected, "{shown}");
    assert!(shown.contains("tested, not proved"), "{shown}");
    words.iter().for_each(|word| assert!(shown.contains(word), "`{word}` is not in\n{shown}"));
}

#[test]
fn equal_policies_do_not_differ() {
    let policy = || rego(&[GET, "input.source_principal == \"spiffe://e.org/web\""]);
    check(&policy(), &policy(), [false; 3], &["0 newly allowed, 0 newly denied"]);
}

#[test]
fn what_is_newly_allowed_is_found_by_the_values_in_the_policies_and_their_neighbours() {
    let nothing = rego(&["false"]);
    let segments = "input.parsed_path[0] == \"accounts\"; count(input.parsed_path) == 3; input.parsed_path[2] == \"close\"";
    for (conditions, words) in [
        (GET, "GET / as"),
        ("input.attributes.request.http.method == \"PURGE\"", "PURGE / as"),
        ("input.source_principal == \"spiffe://e.org/web\"", "as spiffe://e.org/web"),
        ("startswith(input.source_principal, \"spiffe://e.org/\")", "as spiffe://e.org/"),
        ("not input.source_principal", "as nobody"),
        ("input.parsed_path == [\"a\", \"b\"]", "/a/b as"),
        (segments, "/accounts/x/close as"),
        ("glob.match(\"/api/*/keys\", [\"/\"], input.attributes.request.http.path)", "/api/x/keys as"),
        ("startswith(input.attributes.request.http.path, \"/public/\")", "/public/"),
        ("input.claims.role == \"admin\"", "\"role\":\"admin\""),
        ("\"admin\" in input.claims.realm.roles", "\"roles\":[\"admin\"]"),
        ("some role in input.claims.roles; role == \"admin\"", "\"admin\""),
        ("\"pay\" in split(input.claims.scope, \" \")", "\"scope\":\"pay"),
        ("input.claims.level > 7", "\"level\":8"),
        ("input.attributes.request.http.headers[\"x-tenant\"] == \"t1\"", "\"x-tenant\":\"t1\""),
        ("input.parsed_query.dry[0] == \"yes\"", "?dry=yes"),
        ("input.attributes.request.http.host == \"api.e.org\"", "api.e.org"),
        (
            "input.postern.action == \"connect\"; input.attributes.destination.address.socketAddress.portValue == 5432",
            "127.0.0.1:5432",
        ),
        (
            "net.cidr_contains(\"10.1.0.0/16\", input.attributes.source.address.socketAddress.address)",
            "\"source\":\"10.1.0.0:50000\"",
        ),
        ("input.postern.route == \"admin\"", "\"route\":\"admin\""),
        ("input.postern.now_ns > 1800000000000000000", "1800000000000000001"),
        ("object.get(input.claims, \"role\", \"\") == \"admin\"", "\"role\":\"admin\""),
        ("role := object.get(input, [\"claims\", \"role\"], \"\"); role == \"admin\"", "\"role\":\"admin\""),
        ("lower(input.attributes.request.http.host) == \"api.e.org\"", "api.e.org"),
        ("endswith(input.attributes.request.http.path, \".json\")", ".json as"),
        ("contains(input.attributes.request.http.path, \"secret\")", "secret"),
        ("endswith(input.source_principal, \"/web\")", "/web"),
        (
            "regex.match(`^/api/v[0-9]+/(users|groups)$`, input.attributes.request.http.path)",
            "/api/v0/users as",
        ),
        ("regex.match(`^adm-[a-z]{3}$`, input.claims.sub)", "adm-xxx"),
        ("glob.match(\"**/admin\", [\"/\"], input.attributes.request.http.path)", "/admin as"),
        ("time.now_ns() > 1800000000000000000", "1800000000000000001"),
        ("to_number(input.attributes.request.http.headers[\"x-n\"]) > 5", "\"x-n\":\"6\""),
        ("input.claims", "\"claims\":{\"sub\":\"somebody\""),
        ("input.parsed_body", "{\\\"sub\\\":"),
        ("input.claims.roles[0] == \"a7\"", "\"roles\":[\"a7\"]"),
        ("input.parsed_body.items[_].sku == \"b\"", "{\\\"items\\\":[{\\\"sku\\\":\\\"b\\\"}]}"),
        ("input.parsed_body.amount > 100", "{\\\"amount\\\":101}"),
        ("input.parsed_body.to.account == \"a7\"; input.attributes.request.http.method == \"POST\"", "a7"),
        ("input.transaction.purp == \"pay\"", "\"transaction\":{\"purp\":\"pay\"}"),
        (
            "input.postern.token_trust_domain == \"t.org\"; input.claims.sub",
            "\"token_trust_domain\":\"t.org\"",
        ),
        (
            "input.attributes.request.http.method == \"PUT\"; input.claims.role == \"a\"; input.parsed_path[0] == \"b\"",
            "PUT /b as",
        ),
    ] {
        check(&nothing, &rego(&[conditions]), [true, false, false], &[words]);
        check(&rego(&[conditions]), &nothing, [false, true, false], &[words]);
    }
}

#[test]
fn what_is_looked_up_in_the_data_is_asked_about() {
    let policy = |data: &str| {
        let text = "package p\nallow if data.grants[input.source_principal][input.parsed_path[0]]";
        side(&[("data.json", data), ("p.rego", text)])
    };
    let before = policy("{\"grants\": {\"spiffe://e.org/a\": {\"orders\": true}}}");
    let after = policy(
        "{\"grants\": {\"spiffe://e.org/a\": {\"orders\": true}, \"spiffe://e.org/b\": {\"bills\": true}}}",
    );
    check(&before, &after, [true, false, false], &["/bills as spiffe://e.org/b"]);
}

#[test]
fn what_one_policy_alone_says_is_asked_about_however_much_both_say() {
    let names = |prefix: &str, count: usize| -> Vec<String> {
        (0..count).map(|n| format!("{prefix}{n:03}")).collect()
    };
    // One name more in a list of the data.
    for (prefix, new, condition) in [
        ("spiffe://e.org/w", "spiffe://e.org/w0305", "input.source_principal in data.list"),
        ("user", "user0305", "input.claims.sub in data.list"),
        ("/area/", "/area/0305", "input.attributes.request.http.path in data.list"),
        ("tenant", "tenant0305", "input.attributes.request.http.headers[\"x-t\"] in data.list"),
        ("seg", "seg0305", "input.parsed_path[0] in data.list; data.keys[input.parsed_path[0]]"),
    ] {
        let policy = |list: &[String]| {
            let keys: BTreeMap<&String, bool> = list.iter().map(|name| (name, true)).collect();
            let data = serde_json::json!({"list": list, "keys": keys}).to_string();
            side(&[("data.json", &data), ("p.rego", &format!("package p\nallow if {{ {condition} }}"))])
        };
        let old = names(prefix, 400);
        let more = [old.as_slice(), &[new.to_owned()]].concat();
        check(&policy(&old), &policy(&more), [true, false, false], &[new]);
        check(&policy(&more), &policy(&old), [false, true, false], &[new]);
    }
    // One grant more, of what all has a name already.
    let grants = |more: bool| {
        let mut all: BTreeMap<String, BTreeMap<String, Vec<&str>>> = BTreeMap::new();
        for (n, id) in names("spiffe://e.org/w", 40).into_iter().enumerate() {
            let of = names("r", 10).into_iter().map(|name| (name, vec![["GET", "PUT", "PURGE"][n % 3]]));
            all.insert(id, of.collect());
        }
        if more {
            all.get_mut("spiffe://e.org/w021").unwrap().get_mut("r007").unwrap().push("PUT");
        }
        let text = "package p\nallow if input.attributes.request.http.method in data.g[input.source_principal][input.parsed_path[0]]";
        side(&[("data.json", &serde_json::json!({"g": all}).to_string()), ("p.rego", text)])
    };
    check(&grants(false), &grants(true), [true, false, false], &["PUT /r007 as spiffe://e.org/w021"]);
    // However much data there is, and be its key nowhere else.
    let many = |area: Option<&str>| {
        let ids = names("spiffe://e.org/w", 9000).into_iter().enumerate();
        let mut all: BTreeMap<String, serde_json::Value> = ids
            .map(|(n, id)| (id, serde_json::json!({(format!("r{}", n % 7)): ["GET"], "s": ["PUT"]})))
            .collect();
        if let Some(area) = area {
            all.get_mut("spiffe://e.org/w8765").unwrap()[area] = serde_json::json!(["GET"]);
        }
        let text = "package p\nallow if input.attributes.request.http.method in data.g[input.source_principal][input.parsed_path[0]]";
        side(&[("data.json", &serde_json::json!({"g": all}).to_string()), ("p.rego", text)])
    };
    check(&many(None), &many(Some("vault")), [true, false, false], &["GET /vault as spiffe://e.org/w8765"]);
    // A limit among many.
    let limits = |more: &[&str]| {
        let all: Vec<String> =
            (0..60).map(|n| format!("input.claims.a == {0}; input.claims.b < {0}", n * 10)).collect();
        rego(&all.iter().map(String::as_str).chain(more.iter().copied()).collect::<Vec<_>>())
    };
    check(
        &limits(&[]),
        &limits(&["input.claims.a == 335; input.claims.b < 345"]),
        [true, false, false],
        &["\"b\":344"],
    );
    // One rule more, which says what others say in another way.
    let rule = |n: usize, id: usize| {
        let path = ["a", "b", "c"].map(|name| format!("{name}{n}"));
        format!("{GET}; input.source_principal == \"spiffe://e.org/w{id}\"; input.parsed_path == {path:?}")
    };
    let rules: Vec<String> = (0..600).map(|n| rule(n, n)).collect();
    let of = |rules: &[String]| rego(&rules.iter().map(String::as_str).collect::<Vec<_>>());
    check(
        &of(&rules),
        &of(&[rules.as_slice(), &[rule(433, 77)]].concat()),
        [true, false, false],
        &["GET /a433/b433/c433 as spiffe://e.org/w77"],
    );
}

#[test]
fn what_no_request_varies_is_said() {
    let nothing = rego(&["false"]);
    let reads = rego(&[
        "input.attributes.request.http.protocol == \"HTTP/1.1\"; input.attributes.tlsSession.sni == \"a\"",
    ]);
    let words = "the policies read the server name in the TLS hello, the version of HTTP, and no request differs in it";
    check(&nothing, &reads, [false; 3], &[words]);
    assert!(!compared(&nothing, &rego(&[GET]), &[]).plain().contains("the policies read"));
    let list: Vec<String> = (0..60).map(|n| format!("input.claims.sub == \"u{n}\"")).collect();
    let list: Vec<&str> = list.iter().map(String::as_str).collect();
    check(&rego(&list), &rego(&list), [false; 3], &["50 more values left out for want of room"]);
}

#[test]
fn a_deny_that_becomes_an_allow_by_undefined_is_newly_allowed() {
    let before = rego(&["input.claims.sub; not input.claims.blocked"]);
    check(&before, &rego(&["not input.claims.blocked"]), [true, false, false], &[]);
}

#[test]
fn cedar_is_compared_by_what_its_policies_say() {
    let all = "permit (principal, action == Action::\"GET\", resource);";
    let deny = |condition: &str| {
        format!("{all}\nforbid (principal, action == Action::\"GET\", resource) when {{ {condition} }};")
    };
    for (condition, words) in [
        ("context.path like \"/admin/*\"", "/admin/"),
        ("context.segments has s1 && context.segments.s1 == \"admin\"", "/admin as"),
        ("context.headers.hasTag(\"x-t\") && context.headers.getTag(\"x-t\") == \"1\"", "\"x-t\":\"1\""),
        ("context.query.hasTag(\"q\") && context.query.getTag(\"q\").contains(\"1\")", "?q=1"),
        (
            "context has claims && context.claims.hasTag(\"role\") && context.claims.getTag(\"role\").contains(\"a\")",
            "\"role\":[\"a\"]",
        ),
        ("context has claims && context.claims.scopes.contains(\"pay\")", "pay"),
        ("context.now > datetime(\"2030-01-01\")", "1893456000"),
        (
            "context has body && context.body.hasTag(\"to\") && context.body.getTag(\"to\").contains(\"a7\")",
            "a7",
        ),
        (
            "context has body && context.body.numbers.hasTag(\"n\") && context.body.numbers.getTag(\"n\") > 5",
            "\\\"n\\\":6",
        ),
        (
            "context has transaction && context.transaction.hasTag(\"purp\") && context.transaction.getTag(\"purp\").contains(\"pay\")",
            "pay",
        ),
        ("principal == Workload::\"spiffe://e.org/web\"", "as spiffe://e.org/web"),
        ("principal in TrustDomain::\"e.org\"", "as spiffe://e.org/"),
        ("resource == Route::\"admin\"", "\"route\":\"admin\""),
        ("context.source.address.isInRange(ip(\"10.0.0.0/8\"))", "\"source\":\"10.0.0.0:50000\""),
        ("context.depth == 4", "/x/x/x/x as"),
    ] {
        check(&cedar(&deny(condition)), &cedar(all), [true, false, false], &[words]);
    }
}

#[test]
fn policies_in_two_languages_are_compared() {
    let in_rego = rego(&[&format!("{GET}; input.source_principal == \"spiffe://e.org/web\"")]);
    let in_cedar = |method: &str| {
        cedar(&format!(
            "permit (principal == Workload::\"spiffe://e.org/web\", action == Action::\"{method}\", resource);"
        ))
    };
    check(&in_rego, &in_cedar("GET"), [false, false, true], &[]);
    check(
        &in_rego,
        &in_cedar("POST"),
        [true, true, true],
        &["newly allowed", "POST / as spiffe://e.org/web"],
    );
}

#[test]
fn changed_demands_and_grounds_are_told_beside_each_other() {
    let policy = |answer: &str| side(&[("p.rego", &format!("package p\nallow := {answer}"))]);
    let tenant =
        |tenant: &str| policy(&format!("{{\"allowed\": true, \"headers\": {{\"x-tenant\": \"{tenant}\"}}}}"));
    check(
        &tenant("a"),
        &tenant("b"),
        [false, false, true],
        &["set request header `x-tenant: a`", "`x-tenant: b`"],
    );
    let status = |status: u16| policy(&format!("{{\"allowed\": false, \"http_status\": {status}}}"));
    check(&status(401), &status(403), [false, false, true], &["answer with status 401"]);
    check(&status(403), &policy("7"), [false, false, true], &["policy.result_type"]);
}

#[test]
fn every_request_that_changes_is_counted_however_many_ways_there_are() {
    let policy = |text: &str| side(&[("p.rego", &format!("package p\n{text}"))]);
    let user = "\"headers\": {\"x-user\": input.claims.sub}";
    let old = policy(&format!("allow := {{\"allowed\": input.claims.sub != \"eve\", {user}}}"));
    let new = policy(&format!(
        "allow := {{\"allowed\": true, {user}, \"response_headers_to_add\": {{\"x\": \"1\"}}}}"
    ));
    let line =
        |name: &str| Asked::read(format!(r#"{{"do": "GET /", "claims": {{"sub": "{name}"}}}}"#).as_bytes());
    let names = (0..CHANGES_MAX + 7).map(|n| format!("u{n}")).chain(["eve".to_owned()]);
    let all: Vec<Asked> = names.map(|name| line(&name).unwrap()).collect();
    let difference = over(&old, &new, &all, String::new());
    let counts = [Kind::Allowed, Kind::Obligations].map(|kind| difference.count(kind));
    assert_eq!(counts, [1, CHANGES_MAX + 7]);
    assert!(difference.plain().contains("… and 7 in other ways"));
}

#[test]
fn the_same_policies_give_the_same_report() {
    let report = || compared(&rego(&["input.claims.role == \"a\""]), &rego(&[GET]), &[]).json().to_string();
    assert_eq!(report(), report());
    let told: serde_json::Value = serde_json::from_str(&report()).unwrap();
    assert_eq!(told["proved"], false);
    assert!(told["newly_allowed"]["count"].as_u64().unwrap() > 0);
}

#[test]
fn requests_of_a_file_are_read_in_three_shapes() {
    let (old, new) = (rego(&["false"]), rego(&[GET]));
    let record = include_str!("../../../../audit/tests/golden/decision.json").replace("\"POST\"", "\"GET\"");
    let content = [
        r#"{"do": "GET /a", "who": "spiffe://e.org/web", "claims": {"sub": "a"}}"#,
        "",
        r#"{"attributes": {"request": {"http": {"method": "GET", "path": "/a?b=1", "headers": {"x": "1", ":path": "/a"}, "body": "{}"}}}, "source_principal": "spiffe://e.org/web"}"#,
        r#"{"attributes": {"request": {}}}"#,
        record.trim(),
    ]
    .join("\n");
    let (all, not_replayable) = requests_of(content.as_bytes(), &old, &new).unwrap();
    assert_eq!((all.len(), not_replayable), (4, 0));
    assert_eq!(all[1].line(), "GET /a?b=1 as spiffe://e.org/web");
    assert_eq!(all[2].line(), "connect as nobody");
    let difference = over(&old, &new, &all, String::new());
    assert_eq!((difference.asked, difference.count(Kind::Allowed)), (4, 3));
    let reads_headers = rego(&["input.attributes.request.http.headers.x"]);
    assert_eq!(requests_of(record.as_bytes(), &old, &reads_headers).unwrap().1, 1);
}

#[test]
fn lines_that_are_no_requests_are_refused_with_their_number() {
    let policy = rego(&[GET]);
    for (line, words) in [
        ("nonsense", "no JSON"),
        ("{}", "neither a request with `do` nor an input"),
        ("{\"do\": 1}", "line 2: "),
        ("{\"do\": \"GET /\", \"whom\": \"a\"}", "whom"),
        (
            "{\"attributes\": {\"request\": {\"http\": {\"method\": \"GET\"}}}}",
            "attributes.request.http.path",
        ),
        ("{\"attributes\": {\"request\": {\"http\": {\"path\": \"/\"}}}}", "attributes.request.http.method"),
        (
            "{\"attributes\": {\"request\": {\"http\": {\"method\": \"GET\", \"path\": \"/\"}}}, \"parsed_body\": {}}",
            "`parsed_body` without `body`",
        ),
        (
            "{\"attributes\": {\"source\": {\"address\": {\"socketAddress\": {\"address\": \"x\"}}}}}",
            "no IP address",
        ),
        ("{\"attributes\": []}", "its `attributes` is no object"),
        ("{\"attributes\": {}, \"claims\": []}", "its `claims` is no object"),
        ("{\"attributes\": {}, \"source_principal\": 7}", "its `source_principal` is no string"),
        (
            "{\"attributes\": {\"request\": {\"http\": {\"method\": \"GET\", \"path\": \"/\", \"headers\": []}}}}",
            "its `attributes.request.http.headers` is no object",
        ),
        ("{\"v\": 2, \"kind\": \"decision\"}", "version 2"),
    ] {
        let content = format!("\u{feff}{{\"do\": \"GET /\"}}\n{line}\n");
        let error = requests_of(content.as_bytes(), &policy, &policy).unwrap_err();
        assert!(error.starts_with("line 2: ") && error.contains(words), "{line}: {error}");
    }
}

#[test]
fn combinations_are_complete_where_they_fit_and_pairwise_where_not() {
    let whole = combine(&[2, 3, 4], &[], 24);
    assert!(whole.complete && whole.rows.len() == 24);
    assert_eq!(whole.rows.iter().collect::<BTreeSet<_>>().len(), 24);
    for (sizes, most) in [(vec![4, 5, 6, 7, 8], 400), (vec![10; 12], 1000), (vec![3; 24], 100)] {
        let some = combine(&sizes, &[2], most);
        assert!(!some.complete && some.rows.len() <= most, "{sizes:?}: {}", some.rows.len());
        assert_eq!(some.pairs_missing, 0, "{sizes:?}");
        for (a, b) in [(0, 1), (1, 4), (2, 3)] {
            let met: BTreeSet<_> = some.rows.iter().map(|row| (row[a], row[b])).collect();
            assert_eq!(met.len(), sizes[a] * sizes[b], "{sizes:?} {a} {b}");
        }
    }
    assert!(combine(&[50, 50], &[], 100).pairs_missing > 0);
    assert!(combine(&[], &[], 10).complete);
}
