use super::*;
use std::collections::BTreeMap;

type Files<'f> = &'f [(&'f str, &'f str)];

fn files(files: Files<'_>) -> BTreeMap<String, Vec<u8>> {
    files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
}

fn suite(of: Files<'_>, table: Option<&str>) -> Suite {
    let table =
        table.map(|text| ("cases.yaml".to_owned(), Table::read("cases.yaml", text.as_bytes()).unwrap()));
    let none = |_: &str| Err(CasesError { file: "other".to_owned(), what: "is not there".to_owned() });
    let cases = table.as_ref().map_or_else(Vec::new, |(_, table)| table.all_cases(&none).unwrap());
    Suite { root: "b".to_owned(), files: files(of), table, cases }
}

fn run(suite: &Suite, selection: &Selection) -> Result<Report, SuiteError> {
    suite.run(selection, NOW_NS, &|| 0)
}

/// The outcome of every test of some files, as `name outcome`.
fn check(of: Files<'_>, table: Option<&str>, want: &[&str]) -> Report {
    let report = run(&suite(of, table), &Selection::default()).unwrap();
    let told: Vec<String> =
        report.results.iter().map(|result| format!("{} {}", result.name, result.outcome.word())).collect();
    assert_eq!(told, want);
    report
}

const POLICY: (&str, &str) = (
    "p.rego",
    "package p\ndefault allow := false\nallow if input.attributes.request.http.method == \"GET\"\n",
);

fn table(case: &str) -> String {
    format!("decision: {{ rego: p/allow }}\ncases:\n  - {{ name: it, who: spiffe://e.org/w, {case} }}\n")
}

#[test]
fn rules_that_are_tests_come_out_as_their_values_say() {
    let test = "package p_test\nimport data.p\n\
        test_passes if not p.allow\n\
        test_mocked if p.allow with input.attributes.request.http.method as \"GET\"\n\
        test_fails if p.allow\n\
        test_number := 3\n\
        todo_test_later if false\n\
        test_conflict if { {k: v | some k in [1]; some v in [1, 2]} }\n\
        test_fails if true\n";
    let report = check(
        &[POLICY, ("p_test.rego", test)],
        None,
        &[
            "data.p_test.test_passes pass",
            "data.p_test.test_mocked pass",
            "data.p_test.test_fails fail",
            "data.p_test.test_number fail",
            "data.p_test.todo_test_later skip",
            "data.p_test.test_conflict error",
            "data.p_test.test_fails#01 pass",
        ],
    );
    let errored = report.results.get(5).unwrap();
    assert_eq!((errored.file.as_str(), errored.row), ("b/p_test.rego", 8));
    assert_eq!(errored.messages, ["b/p_test.rego:8:38: object keys must be unique"]);
}

#[test]
fn cases_are_judged_by_decision_code_reason_policies_and_fields() {
    let judged = |case: &str, want: &[&str]| {
        let report = run(&suite(&[POLICY], Some(&table(case))), &Selection::default()).unwrap();
        assert_eq!(report.results.first().unwrap().messages, want, "{case}");
    };
    judged("do: GET /x, expect: allow", &[]);
    judged("do: PUT /x, expect: deny", &[]);
    judged("do: PUT /x, expect: allow", &["expected allow, got deny"]);
    judged("do: GET /x, expect: allow, policies: [other]", &["expected the policies [other], got [p/allow]"]);
    judged("do: GET /x, expect: allow, reason: because", &["expected the reason `because`, got none"]);
    judged("do: GET /x, expect: allow, sets: { a: b }", &["expected the fields [`a: b`], got []"]);
    judged("do: PUT /x, expect: deny, code: policy.error", &["expected the code policy.error, got deny"]);
}

#[test]
fn a_table_that_says_what_nobody_reads_is_refused_with_the_place() {
    let refused = |text: &str, want: &str| {
        let error = Table::read("cases.yaml", text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(want) && error.starts_with("`cases.yaml`: "), "{error} lacks {want}");
    };
    refused(&table("do: GET /, expect: allow, exepct: deny"), "exepct");
    refused(&table("do: GET /, expect: allow, exepct: deny"), "line 3");
    refused(&table("do: GET /, expect: perhaps"), "perhaps");
    refused(&table("do: GET /"), "expect");
    refused("decision: { rego: a/b, cedar: {} }\ncases: []", "line 1");
    refused("decision: { rego: a/b }\ncases: []\nmore: 1", "more");
    refused("- a", "line 1");
    refused(&"x".repeat(5 * 1024 * 1024), "bytes");
    let binary = Table::read("cases.yaml", &[0xff, 0xfe]).unwrap_err().to_string();
    assert_eq!(binary, "`cases.yaml`: is not UTF-8 text");
}

/// The cases of a table that takes another one over: name, reason and moment of each.
fn taken(decision: &str, other: &str) -> Result<Vec<String>, CasesError> {
    let text = format!("decision: {decision}\ncases_from: ../cases.yaml\ncases: []\n");
    let table = Table::read("cases.yaml", text.as_bytes()).unwrap();
    let told = |case: Case| {
        format!("{} {} {}", case.name.value, case.reason.unwrap_or_default(), case.now_ns.unwrap_or_default())
    };
    Ok(table.all_cases(&|_| Ok(other.as_bytes().to_vec()))?.into_iter().map(told).collect())
}

#[test]
fn a_table_without_a_decision_is_one_for_several_languages() {
    let other = "now_ns: 7\ncases:\n\
        \x20 - { name: a, do: GET /, expect: deny, reason: why }\n\
        \x20 - { name: b, do: GET /, expect: deny, reason: why, now_ns: 8, cedar: { reason: because } }\n\
        \x20 - { name: c, do: GET /, expect: deny, only: { rego: it can } }\n";
    assert_eq!(taken("{ rego: p/allow }", other).unwrap(), ["a why 7", "b why 8", "c  7"]);
    assert_eq!(taken("{ cedar: {} }", other).unwrap(), ["a why 7", "b because 8"]);
    let foreign = format!("decision: {{ rego: p/allow }}\n{other}");
    assert_eq!(taken("{ cedar: {} }", &foreign).unwrap(), ["a  7", "b because 8"]);
}

#[test]
fn a_case_that_one_language_leaves_out_says_why() {
    for only in ["{}", "{ rego: \" \" }", "{ rego: a, cedar: b }"] {
        let other = format!("cases:\n  - {{ name: c, do: GET /, expect: deny, only: {only} }}\n");
        let error = taken("{ cedar: {} }", &other).unwrap_err().to_string();
        assert!(error.starts_with("`../cases.yaml`: case `c`: `only` names one language"), "{error}");
    }
}

#[test]
fn a_case_may_be_about_a_caller_in_plain_text_who_has_proven_nothing() {
    let policy = (
        "p.rego",
        "package p\ndefault allow := false\nallow if {\n\tinput.postern.tls == \"none\"\n\tnot input.attributes.source.principal\n\tinput.attributes.request.http.scheme == \"http\"\n}\n",
    );
    let cases = "decision: { rego: p/allow }\ncases:\n\
        \x20 - { name: plain, tls: none, do: GET /, expect: allow }\n\
        \x20 - { name: proven, who: spiffe://e.org/w, do: GET /, expect: deny }\n\
        \x20 - { name: nobody, do: GET /, expect: deny }\n";
    check(&[policy], Some(cases), &["plain pass", "proven pass", "nobody pass"]);
    let unasked = "decision: { rego: p/allow }\ncases:\n\
        \x20 - { name: unasked, tls: none, do: GET /, expect: deny, code: policy.error }\n";
    check(&[POLICY], Some(unasked), &["unasked pass"]);
    for (proof, key) in [
        ("who: spiffe://e.org/w", "who"),
        ("claims: { sub: a }", "claims"),
        ("token_trust_domain: e.org", "token_trust_domain"),
        ("transaction: { sub: a }", "transaction"),
    ] {
        let what = format!("`tls: none` is a caller that has proven nothing: leave out `{key}`");
        let other = format!("cases:\n  - {{ name: c, tls: none, {proof}, do: GET /, expect: deny }}\n");
        let error = taken("{ rego: p/allow }", &other).unwrap_err().to_string();
        assert_eq!(error, format!("`../cases.yaml`: case `c`: {what}"));
        let request = format!("{{ tls: none, {proof}, do: GET / }}");
        let error = Request::read("r.yaml", request.as_bytes()).unwrap_err().to_string();
        assert_eq!(error, format!("`r.yaml`: case `request`: {what}"));
    }
}

#[test]
fn a_case_says_from_where_and_to_where_a_stream_goes() {
    let policy = (
        "p.rego",
        "package p\nimport input.attributes as a\ndefault allow := false\nallow if {\n\
        a.source.address.socketAddress == {\"address\": \"10.0.0.7\", \"portValue\": 1}\n\
        a.destination.address.socketAddress == {\"address\": \"::1\", \"portValue\": 2}\n}\n",
    );
    let case = "do: connect, source: \"10.0.0.7:1\", destination: \"[::1]:2\", expect: allow";
    check(&[policy], Some(&table(case)), &["it pass"]);
    check(&[policy], Some(&table("do: connect, expect: deny")), &["it pass"]);
    let error = Table::read("cases.yaml", table("do: connect, source: here, expect: deny").as_bytes());
    assert!(error.unwrap_err().to_string().contains("line 3"));
}

#[test]
fn what_is_no_bundle_or_no_policy_is_refused_with_the_place() {
    let refused = |of: Files<'_>, table: Option<&str>, want: &str| {
        let error = run(&suite(of, table), &Selection::default()).unwrap_err().to_string();
        assert!(error.contains(want), "{error} lacks {want}");
    };
    refused(&[("p.rego", "package p\nallow if {")], None, "b/p.rego:2");
    refused(&[POLICY], None, "nothing to test");
    refused(&[], None, "nothing to test");
    refused(&[POLICY], Some("decision: { rego: p/nosuch }\ncases: []"), "p/nosuch");
    refused(&[POLICY], Some("decision: { cedar: {} }\ncases: []"), "Rego policies");
    refused(&[(".manifest", "{\"roots\": [\"q\"]}"), POLICY], None, "outside the bundle's roots");
    let mut binary = suite(&[POLICY], None);
    binary.files.insert("q.rego".to_owned(), vec![0xff]);
    assert!(run(&binary, &Selection::default()).unwrap_err().to_string().contains("`q.rego` is not UTF-8"));
}

#[test]
fn tests_are_no_part_of_what_decides() {
    let mocks = (
        "p_test.rego",
        "package p\nallow if input.attributes.request.http.method == \"PUT\"\ntest_it if allow with input.attributes.request.http.method as \"PUT\"\n",
    );
    check(&[POLICY, mocks], Some(&table("do: PUT /, expect: deny")), &["data.p.test_it pass", "it pass"]);
}

#[test]
fn a_test_may_live_outside_of_the_roots() {
    let roots = (".manifest", "{\"roots\": [\"p\"]}");
    let test = ("p_test.rego", "package elsewhere\ntest_it if not data.p.allow\n");
    check(&[roots, POLICY, test], None, &["data.elsewhere.test_it pass"]);
}

#[test]
fn a_test_that_does_not_end_in_time_ends_in_an_error() {
    let test = "package t\ntest_loops if { every i in numbers.range(1, 100000) { every j in numbers.range(1, 100000) { i + j > 0 } } }\n";
    let report = check(&[("t_test.rego", test)], None, &["data.t.test_loops error"]);
    assert!(report.results.first().unwrap().messages.first().unwrap().contains("steps"));
}

#[test]
fn what_is_printed_is_told_and_bounded() {
    let test = "package t\ntest_a if { print(\"seen\", 1) }\ntest_b if { every i in numbers.range(1, 5000) { print(\"0123456789012345678901234567890123456789\", i) } }\n";
    let report = check(&[("t_test.rego", test)], None, &["data.t.test_a pass", "data.t.test_b pass"]);
    assert_eq!(report.results.first().unwrap().output, "seen 1\n");
    let long = &report.results.get(1).unwrap().output;
    assert!(long.len() < 70_000 && long.ends_with("(more was printed)\n"), "{}", long.len());
}

#[test]
fn cases_within_a_test_count_one_by_one() {
    let test = "package t\ntest_x[c.n] if {\n\tsome c in [{\"n\": \"one\", \"v\": 1}, {\"n\": \"two\", \"v\": 2}]\n\tc.v == 1\n}\n";
    let report = check(&[("t_test.rego", test)], None, &["data.t.test_x fail"]);
    assert_eq!(report.results.first().unwrap().parts, [("one".to_owned(), true), ("two".to_owned(), false)]);
    assert_eq!((report.count(Outcome::Passed), report.count(Outcome::Failed)), (1, 1));
}

#[test]
fn only_those_whose_name_matches_are_run() {
    let test = ("p_test.rego", "package p_test\ntest_a if true\ntest_b if false\n");
    let of = suite(&[POLICY, test], Some(&table("do: PUT /, expect: deny")));
    let names = |filter: &str| {
        let selection = Selection { filter: filter.parse().ok(), coverage: false };
        run(&of, &selection).map(|report| report.results.iter().map(|r| r.name.clone()).collect::<Vec<_>>())
    };
    assert_eq!(names("test_a").unwrap(), ["data.p_test.test_a"]);
    assert_eq!(names("^it$").unwrap(), ["it"]);
    assert!(names("nosuch").unwrap_err().to_string().contains("`nosuch`"));
}

#[test]
fn coverage_counts_tests_and_cases() {
    let selection = Selection { filter: None, coverage: true };
    let covered = |case: &str| {
        let report = run(&suite(&[POLICY], Some(&table(case))), &selection).unwrap();
        let told = json(&report);
        let lines = told.pointer("/coverage/files/b~1p.rego/covered_lines").cloned();
        (lines, told.pointer("/coverage/coverage").cloned(), plain(&report, false))
    };
    let (lines, share, _) = covered("do: GET /, expect: allow");
    assert_eq!((lines, share), (Some(1.into()), Some(50.0.into())));
    let (lines, _, text) = covered("do: PUT /, expect: deny");
    assert_eq!(lines, Some(2.into()));
    assert!(text.contains("b/p.rego"), "{text}");
}

#[test]
fn reports_are_what_their_formats_say() {
    let test = "package t\ntest_a if { print(\"<&\\\"\\u0001\"); false }\ntodo_test_b if true\n";
    let report = check(&[("t_test.rego", test)], None, &["data.t.test_a fail", "data.t.todo_test_b skip"]);
    let xml = junit(&report);
    for want in [
        "tests=\"2\" failures=\"1\" errors=\"0\" skipped=\"1\"",
        "name=\"data.t.test_a\" file=\"b/t_test.rego\" line=\"2\"",
        "<failure message=\"undefined\"/>",
        "<system-out>&lt;&amp;&quot;&#10;</system-out>",
        "<skipped/>",
    ] {
        assert!(xml.contains(want), "{want} is not in {xml}");
    }
    let told = sarif(&report);
    assert_eq!(
        told.pointer("/runs/0/results/0/locations/0/physicalLocation/region/startLine"),
        Some(&2.into())
    );
    let told = json(&report);
    assert_eq!(told.pointer("/tests/0/outcome"), Some(&"fail".into()));
    assert!(plain(&report, false).ends_with("0 passed, 1 failed, 1 skipped\n"), "{}", plain(&report, false));
}

#[test]
fn every_template_passes_its_own_tests() {
    assert_eq!(TEMPLATES.len(), 6);
    for template in TEMPLATES {
        let place = format!("{} in {}", template.name, template.language);
        let all = template.files("my-policy");
        let bundle: Vec<(&str, &str)> = all
            .iter()
            .filter_map(|(path, text)| Some((path.strip_prefix("bundle/")?, text.as_str())))
            .collect();
        let cases = all.iter().find(|(path, _)| *path == "cases.yaml").map(|(_, text)| text.as_str());
        let report = run(&suite(&bundle, cases), &Selection::default()).unwrap();
        assert!(report.passed(), "{place}: {}", plain(&report, false));
        assert!(report.results.len() >= 2, "{place}");
        assert!(all.iter().all(|(_, text)| !text.contains('@') || !text.contains("@NAME@")), "{place}");
        let readme =
            all.iter().find(|(path, _)| *path == "README.md").map(|(_, text)| text.as_str()).unwrap();
        assert!(readme.starts_with("# my-policy\n"), "{readme}");
    }
}

/// What is answered to a question over one policy.
fn asked(question: Question<'_>, input: &str) -> Result<Answer, EvalError> {
    let files = files(&[(
        "p.rego",
        "package p\nallow if {\n\tinput.x == 1\n\tinput.y == \"b\"\n\tprint(\"both\")\n}\nnames := [\"a\", \"b\"]\n",
    )]);
    let input = Some(input.as_bytes());
    Inquiry { root: "b", files: &files, question, input, request: None, now_ns: NOW_NS }.answer()
}

#[test]
fn a_question_is_answered_with_its_value() {
    let value = |question: Question<'_>, want: Option<serde_json::Value>| {
        let shown = format!("{question:?}");
        let answer = asked(question, r#"{"x": 1, "y": "b"}"#).unwrap();
        assert_eq!(answer.value, want, "{shown}");
    };
    use serde_json::json;
    value(Question::Query("data.p.allow"), Some(json!(true)));
    value(Question::Entry("p/allow"), Some(json!(true)));
    value(Question::Query("data.p.names[1]"), Some(json!("b")));
    value(Question::Query("count(data.p.names)"), Some(json!(2)));
    value(Question::Query("1 == 2"), Some(json!(false)));
    value(Question::Query("data.p.names[i] == \"b\""), Some(json!([{"i": 1}])));
    value(Question::Query("data.p.names[i] == \"z\""), None);
    value(Question::Query("some i; data.p.names[i] == \"b\""), Some(json!([{"i": 1}])));
    value(Question::Query("x := input.x; y := x + 1"), Some(json!([{"x": 1, "y": 2}])));
    value(Question::Query("data.p.nosuch"), None);
    value(Question::Query("not data.p.allow"), None);
    value(Question::Query("data.p"), Some(json!({"allow": true, "names": ["a", "b"]})));
}

#[test]
fn a_question_that_cannot_be_asked_is_refused() {
    let refused = |question: Question<'_>, input: &str, want: &str| {
        let error = asked(question, input).unwrap_err().to_string();
        assert!(error.contains(want), "{error} lacks {want}");
    };
    refused(Question::Entry("p//allow"), "{}", "package/path/rule");
    refused(Question::Entry("q/allow"), "{}", "no rule stands at `q/allow`");
    refused(Question::Query("data.p["), "{}", "query:1");
    refused(Question::Query("nosuch(1)"), "{}", "nosuch");
    refused(Question::Query("data.p.allow"), "{", "no JSON document");
    refused(Question::Cedar, "{}", "--request");
}

#[test]
fn a_refusal_is_explained_by_the_condition_that_came_nearest() {
    let answer = asked(Question::Entry("p/allow"), r#"{"x": 1, "y": "c"}"#).unwrap();
    let text = answer.plain(true);
    for want in [
        "undefined\n",
        "data.p.allow  b/p.rego:2:1  does not hold: 1 of 3 conditions met\n",
        "    b/p.rego:4:2  input.y == \"b\"\n",
        "      input.y is \"c\"\n",
        "nearest: data.p.allow at b/p.rego:2:1 but for b/p.rego:4:2  input.y == \"b\"\n",
    ] {
        assert!(text.contains(want), "{want:?} is not in:\n{text}");
    }
    let told = answer.json(true);
    assert_eq!(told.pointer("/attempts/0/unmet/place"), Some(&"b/p.rego:4:2".into()));
    assert_eq!(told.pointer("/attempts/0/unmet/values/0/value"), Some(&"c".into()));
    assert!(
        asked(Question::Entry("p/allow"), r#"{"x": 1, "y": "b"}"#).unwrap().plain(false).contains("both")
    );
}

#[test]
fn figures_are_those_of_the_nearest_rank() {
    let of = |samples: &[u64]| figures(samples.to_vec()).map(|f| (f.median_ns, f.p99_ns, f.min_ns, f.max_ns));
    assert_eq!(of(&[]), None);
    assert_eq!(of(&[5]), Some((5, 5, 5, 5)));
    assert_eq!(of(&[3, 1, 2, 4]), Some((2, 4, 1, 4)));
    assert_eq!(of(&(1..=1000).rev().collect::<Vec<_>>()), Some((500, 990, 1, 1000)));
}
