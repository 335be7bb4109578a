use super::*;
use std::path::Path as FilePath;

const ENTRY: Entry = Entry::Cedar;

fn rego_entry() -> Entry {
    Entry::Rego { path: "p/allow".to_owned() }
}

fn findings(files: &[(&str, &str)], entry: &Entry) -> Findings {
    let files = files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect();
    super::check("b", &files, Some(entry))
}

/// The findings on one file of package `p`, as `row:col code`, and words that must stand in them.
fn check(text: &str, expected: &[&str], words: &[&str]) {
    check_files(&[("p.rego", text)], expected, words);
}

fn check_files(files: &[(&str, &str)], expected: &[&str], words: &[&str]) {
    let entry = if files.iter().any(|(name, _)| name.ends_with(".cedar")) { ENTRY } else { rego_entry() };
    let found = findings(files, &entry);
    let got: Vec<String> =
        found.all.iter().map(|one| format!("{}:{} {}", one.row, one.col, one.code.id)).collect();
    let shown = findings_plain(&found);
    assert_eq!(got, expected, "{files:?}\n{shown}");
    words.iter().for_each(|word| assert!(shown.contains(word), "`{word}` is not in\n{shown}"));
}

fn allow(conditions: &str) -> String {
    format!("package p\n\nallow if {{\n\t{}\n}}\n", conditions.replace('\n', "\n\t"))
}

#[test]
fn what_does_not_load_is_told_with_all_its_places() {
    check("package p\nallow if {", &["2:11 P0001"], &["b/p.rego:2:11 error[P0001]: "]);
    check(
        "package p\nallow if { x == 1 }\ndeny if { y == 2 }\n",
        &["2:12 P0002", "3:11 P0002"],
        &["var x is unsafe", "var y is unsafe"],
    );
    check("package p\nallow if not other\nother if allow\n", &["2:1 P0003"], &["circle"]);
    check("package p\nallow if nope(1)\nallow if { nope2(1) }", &["2:10 P0004", "3:12 P0004"], &["nope2"]);
    check_files(
        &[("p.rego", "package p\nallow if f(1)\nf(x) := y if { z == x }"), ("q.rego", "package q\nr if {")],
        &["2:7 P0001"],
        &["b/q.rego"],
    );
    check_files(
        &[(".manifest", "{\"roots\": [\"q\"]}"), ("p.rego", "package p\nallow := true")],
        &["1:1 P0006"],
        &["outside the bundle's roots"],
    );
    check_files(
        &[("data.json", "{\"p\": {\"allow\": 1}}"), ("p.rego", "package p\nallow := true")],
        &["1:1 P0006"],
        &["data.p.allow"],
    );
    check_files(&[("data.json", "{"), ("p.rego", "package p")], &["1:1 P0005"], &["b/data.json:1:1 error"]);
    check("package p\nother := true", &["1:1 P0007"], &["p/allow", "there are: p/other"]);
    let both = [("p.rego", "package p\nallow := true"), ("x.cedar", "permit(principal, action, resource);")];
    check_files(&both, &["1:1 P0008"], &["b/p.rego:1:1 error"]);
    let found = findings(&both, &rego_entry());
    assert_eq!(
        found.all.iter().map(|one| (one.code.id, one.file.as_str())).collect::<Vec<_>>(),
        [("P0008", "b/x.cedar")]
    );
}

#[test]
fn what_the_input_does_not_have_is_told_with_the_nearest_name() {
    let http = "did you mean `input.attributes.request.http.method`?";
    check(&allow("input.attributes.request.http.metod == \"GET\""), &["4:32 P0101"], &[http]);
    check(&allow("input[\"attributes\"].request.http.metod == \"GET\""), &["4:35 P0101"], &[http]);
    check(&allow("http := input.attributes.request.http\nhttp.metod == \"GET\""), &["5:7 P0101"], &[http]);
    check(
        "package p\nimport input.attributes.request.http as h\nallow if h.metod == \"GET\"",
        &["3:12 P0101"],
        &[http],
    );
    check(
        "package p\nhttp := input.attributes.request.http\nallow if http.metod == \"GET\"",
        &["3:15 P0101"],
        &[http],
    );
    check("package p\nimport input.atributes\nallow if atributes", &["3:10 P0101"], &["input.attributes"]);
    check(
        &allow("object.get(input, [\"atributes\", \"request\"], {}) != {}"),
        &["4:20 P0101"],
        &["input.attributes"],
    );
    check(&allow("input.method == \"GET\""), &["4:8 P0101"], &[http]);
    check(&allow("input.raw_body == \"\""), &["4:8 P0101"], &["input.attributes.request.http.rawBody"]);
    check(
        &allow("input.quux"),
        &["4:8 P0101"],
        &["`input.quux` is never there; there are: attributes, claims"],
    );
    // A name of another object is meant only where it is nearly the same.
    check(
        &allow("input.query == 1"),
        &["4:8 P0101"],
        &["`input.query` is never there; there are: attributes"],
    );
    check(
        &allow("input.user == \"a\""),
        &["4:8 P0101"],
        &["`input.user` is never there; there are: attributes"],
    );
    check(
        &allow("input.attributes.foo == 1"),
        &["4:19 P0101"],
        &["is never there; there are: destination, "],
    );
    check(&allow("input.parsed_path.first == \"a\""), &["4:20 P0101"], &["array"]);
    check(&allow("input.parsed_path[0].x == \"a\""), &["4:23 P0101"], &["a string has no members"]);
    check(
        &allow("input.attributes.request.http.headers[\"X-Tenant\"] == \"a\""),
        &["4:40 P0103"],
        &["write `x-tenant`"],
    );
}

#[test]
fn what_the_input_may_have_is_not_judged() {
    // What is free has any members, and what is not known by name is not judged.
    for free in [
        "input.claims.realm_access.roles[_] == \"a\"",
        "input.attributes.request.http.headers[\"x-tenant\"] == \"a\"",
        "input.attributes.request.http.headers[\":path\"] == \"/a\"",
        "input.parsed_body.a[0].b == 1",
        "input.parsed_query.a[0] == \"1\"",
        "input.transaction.purp == \"a\"",
        "input.postern.workload_token.claims.any == 1",
        "some name in [\"a\", \"b\"]\ninput[name] == 1",
        "allowed with input as {\"metod\": \"GET\"}",
    ] {
        let text = format!("{}\nallowed if input.truncated_body == false\n", allow(free));
        let found = findings(&[("p.rego", &text)], &rego_entry());
        assert_eq!(found.count(Severity::Error), 0, "{}", findings_plain(&found));
    }
    // What is asked with another input reads that.
    check(
        "package p\nallow if f with input as input.claims\nf if g(input.sub)\ng(x) if { x == \"a\"; h == 1 }\nh := input.n\n",
        &[],
        &[],
    );
    check(
        "package p\nallow if { f with input as input.claims; g }\nf if input.sub\ng if input.sub\n",
        &["4:12 P0101"],
        &[],
    );
    // A variable of the rule's own hides the import.
    check(
        "package p\nimport input.claims as h\nallow if { h.x; f({\"metod\": 1}) }\nf(h) if h.metod == 1",
        &[],
        &[],
    );
}

#[test]
fn what_other_enforcement_points_fill_is_told_with_what_to_ask_instead() {
    for field in shape::never_filled() {
        let text = allow(&format!("input.{field}.x == \"a\""));
        let found = findings(&[("p.rego", &text)], &rego_entry());
        let codes: Vec<&str> = found.all.iter().map(|one| one.code.id).collect();
        assert_eq!(codes, ["P0102"], "{field}: {}", findings_plain(&found));
    }
    check(&allow("input.attributes.metadataContext == {}"), &[], &[]);
    check(
        &allow("input.attributes.contextExtensions.tier == \"gold\""),
        &["4:19 P0102"],
        &["`input.attributes.contextExtensions` is never filled here", "input.postern.route"],
    );
}

#[test]
fn conditions_that_cannot_hold_are_told() {
    let method = "input.attributes.request.http.method";
    check(
        &allow(&format!("{method} == \"GET\"\n{method} == \"POST\"")),
        &["5:39 P0201"],
        &["`input.attributes"],
    );
    check(&allow(&format!("m := {method}\nm == \"GET\"\n{method} == \"POST\"")), &["6:39 P0201"], &[]);
    check(&allow(&format!("{method} in {{\"GET\", \"HEAD\"}}\n{method} == \"PUT\"")), &["5:39 P0201"], &[]);
    check(&allow(&format!("{method} == \"GET\"\n{method} != \"GET\"")), &["5:39 P0201"], &[]);
    check(&allow(&format!("not {method} == \"GET\"\n{method} == \"GET\"")), &["5:39 P0201"], &[]);
    check(&allow("count(input.parsed_path) == 1\ncount(input.parsed_path) == 2"), &["5:27 P0201"], &[]);
    check(&allow("input.parsed_path == [\"a\"]\ninput.parsed_path == [\"b\"]"), &["5:20 P0201"], &[]);
    check(&allow("1 == 2"), &["4:4 P0202"], &[]);
    check(&allow("x := \"a\"\nx == \"b\""), &["5:4 P0202"], &[]);
    check("package p\nlimit := 3\nallow if limit > 5", &["3:16 P0202"], &[]);
    check(&allow("false"), &["4:2 P0202"], &["`false` never holds"]);
    check(&allow("input.parsed_path == \"/a\""), &["4:20 P0203"], &["it is of type array"]);
    check(&allow("input.attributes.request.http.scheme == \"HTTPS\""), &["4:39 P0203"], &["\"https\""]);
    check(&allow(&format!("{method} == \"get\"")), &["4:39 P0203"], &["upper case"]);
    check(&allow("input.source_principal == \"web\""), &["4:25 P0203"], &["spiffe://"]);
    check(&allow("input.postern.now_ns == \"1\""), &["4:23 P0203"], &["number"]);
    // Another variable of the same name is another.
    for hiding in [
        "x := \"a\"\nx == input.claims.sub\ncount([1 | some x in input.claims.roles; x == \"b\"]) > 0",
        "x := input.parsed_path\nevery x in input.claims.roles { x == \"b\" }\nx == [\"a\"]",
    ] {
        check(&allow(hiding), &[], &[]);
    }
    // What `with` puts in the place of a rule is not what the rule says.
    check("package p\nlimit := 5\nallow if f with data.p.limit as 7\nf if limit > 6", &[], &[]);
    check(
        "package p\nimport data.p.limit as l\nlimit := 5\nallow if f with l as 7\nf if limit > 6",
        &[],
        &[],
    );
    // What can hold is not told.
    for fine in [
        format!("{method} == \"GET\"\ninput.parsed_path[0] == \"a\"\ninput.parsed_path[1] == \"b\""),
        format!("{method} in {{\"GET\", \"HEAD\"}}\n{method} != \"GET\""),
        "input.claims.roles[_] == \"a\"\ninput.claims.roles[_] == \"b\"".to_owned(),
        "input.parsed_path[_] == \"a\"\ninput.parsed_path[_] == \"b\"".to_owned(),
        "input.claims.a == 1\ninput.claims.a == 1.0".to_owned(),
        "true".to_owned(),
        "1 < 2".to_owned(),
    ] {
        check(&allow(&fine), &[], &[]);
    }
}

#[test]
fn rules_that_the_entry_never_asks_are_told_once() {
    check(
        "package p\nallow if used\nused if true\nhelper if true\nhelper if false\nf(x) := x\n",
        &["4:1 P0204", "5:11 P0202", "6:1 P0204"],
        &["`data.p.helper` is never asked by `p/allow`", "`data.p.f`"],
    );
    check("package p\nallow if f(1)\nf(x) := x\ndefault other := 1\n", &["4:1 P0204"], &[]);
    check("package p\nallow := true\ntest_a if allow\ntodo_test_b if not allow\n", &[], &[]);
    let files = [("p.rego".to_owned(), b"package p\nx := 1".to_vec())].into();
    let found = super::check("b", &files, None);
    assert!(found.all.is_empty() && found.unasked.is_some(), "{}", findings_plain(&found));
}

#[test]
fn what_does_not_repeat_is_noted_or_refused() {
    check(&allow("time.now_ns() > 5"), &["4:2 P0301"], &["note[P0301]", "input.postern.now_ns"]);
    let keys = "input.claims.t, {\"secret\": \"x\"";
    check(
        &allow(&format!("io.jwt.decode_verify({keys}}})[0]")),
        &["4:2 P0301"],
        &["`\"time\": input.postern.now_ns`"],
    );
    check(&allow(&format!("io.jwt.decode_verify({keys}, \"time\": input.postern.now_ns}})[0]")), &[], &[]);
    check(&allow("crypto.x509.parse_and_verify_certificates(input.claims.t)[0]"), &["4:2 P0301"], &[]);
    check(&allow("rand.intn(\"a\", 2) == 1"), &["4:2 P0009"], &["error[P0009]"]);
    check(&allow("uuid.rfc4122(\"a\") != \"\""), &["4:2 P0009"], &["input.attributes.request.http.id"]);
    // What no decision asks may call it.
    check("package p\nallow := true\nother := rand.intn(\"a\", 2)", &["3:1 P0204"], &[]);
}

#[test]
fn negations_of_calls_that_may_fail_are_noted() {
    let mend = "check the type first, or set `policy.builtin_errors: deny`\n";
    check(&allow("not startswith(input.claims.sub, \"a\")"), &["4:2 P0302"], &["another type", mend]);
    check(&allow("not lower(input.claims.sub) == \"a\""), &["4:2 P0302"], &["`lower(…)` fails"]);
    check(
        &allow("not f(upper(trim_space(input.parsed_body.a)))").replace("\n}\n", "\n}\nf(x) if x == \"A\"\n"),
        &["4:2 P0302"],
        &["`trim_space(…)` fails"],
    );
    check(&allow("not lower(input.attributes.request.http.host) == \"a\""), &[], &[]);
    check(&allow("not count(input.parsed_path) == 1"), &[], &[]);
    check(&(allow("not count(bad) > 0") + "bad contains 1 if input.claims.x\n"), &[], &[]);
    check(&allow("not regex.match(input.claims.pattern, \"a\")"), &["4:2 P0302"], &[]);
    check(&allow("not startswith(input.parsed_path[0], \"a\")"), &[], &[]);
    check(&allow("not glob.match(\"/a/*\", [\"/\"], input.attributes.request.http.path)"), &[], &[]);
    check(&allow("not input.claims.sub in {\"a\"}"), &[], &[]);
    check(&allow("not is_string(input.claims.sub)"), &[], &[]);
    check(&allow("startswith(input.claims.sub, \"a\")"), &[], &[]);
}

/// An array of the data with so many objects.
fn grants(length: usize) -> String {
    let items: Vec<String> = (0..length).map(|n| format!("{{\"id\": \"g{n}\"}}")).collect();
    format!("{{\"grants\": [{0}], \"others\": [{0}], \"by_id\": {{\"a\": [1]}}}}", items.join(","))
}

fn check_cost(conditions: &str, length: usize, expected: &[&str]) {
    check_files(&[("data.json", &grants(length)), ("p.rego", &allow(conditions))], expected, &[]);
}

#[test]
fn what_takes_the_product_of_two_collections_is_told() {
    check_cost("some a in data.grants\nsome b in data.others\na.id == b.id", 3, &["5:12 P0401"]);
    check_cost("data.grants[_].id == data.others[_].id", 3, &["4:23 P0401"]);
    check_cost("data.grants[i].id == data.others[j].id\ni != j", 3, &["4:23 P0401"]);
    check_cost(
        "some a in data.grants\ncount([b | some b in data.others; b.id == a.id]) > 0",
        3,
        &["5:23 P0401"],
    );
    check_cost("every a in data.grants {\n\tsome b in data.others\n\tb.id == a.id\n}", 3, &["5:13 P0401"]);
    check_cost("some a in input.claims.roles\nsome b in data.grants\nb.id == a", 3, &["5:12 P0401"]);
    // A lookup by what the first gives is none.
    check_cost("some a in input.claims.roles\nsome b in data.by_id[a]\nb == 1", 3, &[]);
    check_cost("some a in data.grants\nsome b in a.parts\nb == 1", 3, &[]);
    check_cost("data.grants[i] = x\ndata.by_id[x]", 3, &[]);
    check_cost("some i\ndata.grants[i].id == \"a\"\ndata.grants[i].on", 3, &[]);
    check_cost(
        "some a in data.grants\na.id == \"x\"\ncount([b | some b in data.others; b.id == \"y\"]) > 0",
        3,
        &[],
    );
}

#[test]
fn long_arrays_that_are_searched_are_told() {
    check_cost("some a in data.grants\na.id == input.claims.sub", 20, &["4:12 P0402"]);
    check_cost("a := data.grants[_]\na.id == input.claims.sub", 20, &["4:7 P0402"]);
    check_cost("input.claims.sub in data.grants", 20, &["4:22 P0402"]);
    check_cost("some a in data.grants\na.id == input.claims.sub", 5, &[]);
    check_cost("some a in data.grants\na.limit > input.claims.level", 20, &[]);
    check_cost("data.by_id[input.claims.sub]", 20, &[]);
}

#[test]
fn many_definitions_without_a_condition_that_an_index_takes_are_told() {
    let many = |condition: &dyn Fn(usize) -> String| {
        let all: Vec<String> = (0..60).map(|n| format!("allow if {}\n", condition(n))).collect();
        format!("package p\n{}", all.concat())
    };
    check(
        &many(&|n| format!("startswith(input.parsed_path[0], \"p{n}-\")")),
        &["2:1 P0403"],
        &["60 of the 60"],
    );
    check(&many(&|n| format!("input.parsed_path[0] == \"p{n}\"")), &[], &[]);
}

#[test]
fn what_is_named_and_not_used_is_told() {
    check("package p\nimport data.q\nimport rego.v1\nallow := true", &["2:1 P0501"], &["`q`"]);
    check("package p\nimport data.q as lib\nallow if lib.f(1)", &["3:10 P0004"], &[]);
    check_files(
        &[
            ("p.rego", "package p\nimport data.q as lib\nallow if lib.f(1)"),
            ("q.rego", "package q\nf(x) if x == 1"),
        ],
        &[],
        &[],
    );
    check("package p\nallow if f(1, 2)\nf(x, y) if x == 1", &["3:6 P0502"], &["`y`"]);
    check("package p\nallow if f(1, 2)\nf(x, _) if x == 1\nf(_, x) := true if { true } else := x", &[], &[]);
    check(&allow("x := input.claims.sub"), &["4:2 P0503"], &["`x`"]);
    check(&allow("some i, x in input.claims.roles\nx == \"a\""), &["4:7 P0503"], &["`i`"]);
    check(&allow("[a, b] := input.claims.pair\na == 1"), &["4:2 P0503"], &["`b`"]);
    check(&allow("[a, _] := input.claims.pair\na == 1"), &[], &[]);
    check(
        &allow("every k, v in input.claims.roles { v == \"a\" }"),
        &["4:2 P0004"],
        &["declared var k unused"],
    );
    check("package p\nallow := x if x := input.claims.ok", &[], &[]);
    check("package p\nallow if { x = 1; input.claims.level == x }", &[], &[]);
}

#[test]
fn tests_are_no_part_of_what_is_looked_at() {
    let test = "package p_test\nimport data.p\ntest_a if p.allow with input as {\"metod\": 1}";
    check_files(&[("p.rego", "package p\nallow := true"), ("p_test.rego", test)], &[], &["in 1 file\n"]);
}

#[test]
fn cedar_is_told_with_the_places_of_its_own_validation() {
    let one =
        |text: &str, expected: &[&str], words: &[&str]| check_files(&[("x.cedar", text)], expected, words);
    one("permit (principal, action, resource)", &["1:37 P0001"], &["b/x.cedar:1:37"]);
    one(
        "permit (principal, action == Action::\"GET\", resource)\nwhen { context.metod == \"GET\" };",
        &["2:8 P0010"],
        &["metod"],
    );
    one(
        "permit (principal, action == Action::\"GET\", resource)\nwhen { context.pth == \"GET\" };",
        &["2:8 P0010"],
        &["did you mean `path`?"],
    );
    // The nearest name is no help where it has nothing in common with what was written.
    one(
        "permit (principal, action == Action::\"GET\", resource)\nwhen { context.foo == \"GET\" };",
        &["2:8 P0010"],
        &["not found; see `schema/postern.cedarschema`"],
    );
    one(
        "permit (principal, action == Action::\"GET\", resource);\npermit (principal == Wrkload::\"a\", action, resource);",
        &["2:22 P0010"],
        &["Workload"],
    );
    one(
        "permit (principal, action == Action::\"GET\", resource)\nwhen { context.path == \"/a\" && false };",
        &["1:1 P0205"],
        &["warning[P0205]"],
    );
    one(
        "permit (principal, action == Action::\"GET\", resource) when { context.path like \"/a/*\" };",
        &[],
        &[],
    );
    check_files(
        &[("entities.json", "[{"), ("x.cedar", "permit (principal, action == Action::\"GET\", resource);")],
        &["1:1 P0011"],
        &["b/entities.json"],
    );
    one(
        "@deny_status(\"abc\")\nforbid (principal, action == Action::\"GET\", resource);",
        &["1:1 P0011"],
        &["deny_status"],
    );
}

#[test]
fn no_bad_input_makes_it_fail() {
    for text in ["", "package", "\u{0}", "package p\nallow if x[x[x[x]]]", "package p\nx := x\nallow if x"] {
        assert!(!findings(&[("p.rego", text)], &rego_entry()).all.is_empty(), "{text:?}");
    }
    // Names that stand for many names each.
    let mut text = "package p\nallow if {\na40 := \"a\"\n".to_owned();
    for n in (0..40).rev() {
        text.push_str(&format!("a{n} := data.x[a{}][a{}][a{}]\n", n + 1, n + 1, n + 1));
    }
    text.push_str("a0 == \"b\"\n}\n");
    assert_eq!(findings(&[("p.rego", &text)], &rego_entry()).count(Severity::Error), 0);
    // Very many conditions, names and closures.
    let conditions: Vec<String> =
        (0..3000).map(|n| format!("x{n} := [y | some y in data.a[x]; y == data.b[_]]")).collect();
    findings(&[("p.rego", &allow(&format!("some x in data.c\n{}", conditions.join("\n"))))], &rego_entry());
}

#[test]
fn an_error_is_told_however_many_warnings_there_are() {
    let warnings: Vec<String> =
        (0..FINDINGS_MAX + 5).map(|n| format!("allow if input.source_principal == \"w{n}\"\n")).collect();
    let text = format!("package p\n{}allow if rand.intn(\"a\", 2) == 1\n", warnings.concat());
    let found = findings(&[("p.rego", &text)], &rego_entry());
    let counts = [Severity::Error, Severity::Warning].map(|severity| found.count(severity));
    assert_eq!((counts, found.left_out), ([1, FINDINGS_MAX], 5), "{}", findings_json(&found));
    assert!(findings_plain(&found).contains("\n5 more are not told: "));
}

#[test]
fn nothing_to_look_at_is_an_error() {
    for files in [
        &[][..],
        &[("data.json", "{}")],
        &[("p_test.rego", "package p_test\ntest_a if true")],
        &[("p.rego.bak", "package p")],
    ] {
        let files = files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect();
        let found = super::check("b", &files, None);
        let shown = findings_plain(&found);
        assert_eq!((found.files.len(), found.count(Severity::Error)), (0, 1), "{shown}");
        assert!(shown.contains("b:1:1 error[P0005]: there is no policy here"), "{shown}");
    }
}

#[test]
fn the_table_for_people_is_the_table_of_the_code() {
    let path = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("../docs/policy-lints.md");
    let written = std::fs::read_to_string(path).unwrap();
    let rows: Vec<&str> = written.lines().filter(|line| line.starts_with("| P0")).collect();
    let expected: Vec<String> = CODES
        .iter()
        .map(|code| format!("| {} | {} | {} | {} |", code.id, code.severity.word(), code.title, code.mend))
        .collect();
    assert_eq!(rows, expected, "docs/policy-lints.md must have:\n{}", expected.join("\n"));
    let mut ids: Vec<&str> = CODES.iter().map(|code| code.id).collect();
    ids.dedup();
    assert!(ids.len() == CODES.len() && ids.is_sorted());
}

#[test]
fn the_formats_for_machines_hold_every_finding() {
    let text = "package p\nimport data.q\nallow if input.metod == \"<\"\n";
    let found = findings(&[("p.rego", text)], &rego_entry());
    let told = findings_json(&found);
    assert_eq!((&told["errors"], &told["warnings"]), (&1.into(), &1.into()));
    assert_eq!(told["findings"][1]["code"], "P0101");
    let sarif = findings_sarif(&found);
    let result = &sarif["runs"][0]["results"][1];
    assert_eq!((&result["ruleId"], &result["level"]), (&"P0101".into(), &"error".into()));
    assert_eq!(result["locations"][0]["physicalLocation"]["region"]["startLine"], 3);
    assert_eq!(sarif["runs"][0]["tool"]["driver"]["rules"].as_array().unwrap().len(), CODES.len());
    let junit = findings_junit(&found, Severity::Error);
    assert!(junit.contains("tests=\"1\" failures=\"1\""), "{junit}");
    assert!(junit.contains("<failure type=\"P0101\"") && junit.contains("warning[P0501]"), "{junit}");
    let strict = findings_junit(&found, Severity::Warning);
    assert!(strict.contains("<failure type=\"P0501\"") && !strict.contains("system-out"), "{strict}");
    // A name that is no reference as it stands.
    let found =
        super::check("a b:c", &[("#%.rego".to_owned(), b"package p\nx if input.y".to_vec())].into(), None);
    let place = &findings_sarif(&found)["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "a%20b%3Ac/%23%25.rego");
    assert!(findings_plain(&found).starts_with("a b:c/#%.rego:2:12 error"));
    for root in ["", "."] {
        let found =
            super::check(root, &[("p.rego".to_owned(), b"package p\nx if input.y".to_vec())].into(), None);
        assert!(findings_plain(&found).starts_with("p.rego:2:12 error"));
    }
}

#[test]
fn what_says_itself_how_to_write_it_has_no_second_mend() {
    let line = |files: &[(&str, &[u8])]| {
        let files = files.iter().map(|(name, text)| ((*name).to_owned(), text.to_vec())).collect();
        let found = super::check("b", &files, None);
        findings_plain(&found).lines().next().unwrap_or("").to_owned()
    };
    assert_eq!(
        line(&[("p.rego", b"package p\nallow if {")]),
        "b/p.rego:2:11 error[P0001]: unexpected end of the text: expected a term"
    );
    assert_eq!(
        line(&[("p.rego", b"package p\nx := \"\xff\"")]),
        "b/p.rego:1:1 error[P0005]: `p.rego` is not UTF-8 text; save it in UTF-8"
    );
    assert_eq!(
        line(&[("data.json", b"{\n\"a\": 1,\n\"a\": 2}"), ("p.rego", b"package p")]),
        "b/data.json:3:1 error[P0005]: line 3: member `a` stands twice"
    );
    let twice = line(&[("p/data.json", b"[1]"), ("data.json", b"{\"p\": {}}"), ("p.rego", b"package p")]);
    assert!(twice.ends_with("; take one of them out"), "{twice}");
    assert!(CODES.iter().all(|code| !code.mend.is_empty()));
}
