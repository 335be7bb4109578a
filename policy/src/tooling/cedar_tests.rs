use super::*;
use serde_json::json as doc;
use std::collections::BTreeMap;

const POLICIES: &str = r#"@id("reader")
permit (
  principal in Group::"reader",
  action == Action::"GET",
  resource
)
when
{
  context.depth == 2 && // no more
  context.segments has s1 &&
  (context.segments.s1 == "orders" ||
   context.segments.s1 == "items")
}
unless { context.path like "*//*" || context.headers.hasTag("x-old") };

@id("closed")
forbid (principal, action in Action::"http", resource)
when { context.segments has s1 && context.segments.s1 == "archive" };
"#;

const TEMPLATE: &str = r#"@id("each")
permit (principal == ?principal, action == Action::"PUT", resource)
when { context.headers.hasTag("x-n") &&
  context.headers.getTag("x-n") == "1" };
"#;

const LINKS: &str = r#"[
  {"template": "each", "id": "ada", "principal": {"type": "Workload", "id": "spiffe://e.org/ada"}},
  {"template": "each", "id": "bob", "principal": {"type": "Workload", "id": "spiffe://e.org/bob"}}
]"#;

const ENTITIES: &str = r#"[
  {"uid": {"type": "Workload", "id": "spiffe://e.org/w"}, "parents": [{"type": "Group", "id": "reader"}]},
  {"uid": {"type": "Group", "id": "reader"}, "attrs": {}, "parents": []}
]"#;

fn files(of: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
    of.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
}

fn bundle() -> BTreeMap<String, Vec<u8>> {
    files(&[("p.cedar", POLICIES), ("entities.json", ENTITIES)])
}

/// What is said of a request over some files.
fn asked(files: &BTreeMap<String, Vec<u8>>, request: &str) -> Answer {
    let request = Request::read("r.yaml", request.as_bytes()).unwrap();
    let (question, request) = (Question::Cedar, Some(&request));
    Inquiry { root: "b", files, question, input: None, request, now_ns: NOW_NS }.answer().unwrap()
}

/// The explanation of a request is this text.
fn explained(files: &BTreeMap<String, Vec<u8>>, request: &str, want: &str) {
    assert_eq!(asked(files, request).plain(true), want, "{request}");
}

const DENIED: &str = "DENY  policy.denied\nreason    no policy permits this request\n\n";

#[test]
fn the_first_condition_that_does_not_hold_is_told_with_its_place_and_what_was_known() {
    explained(
        &bundle(),
        "{ who: spiffe://e.org/w, do: GET /other/7 }",
        &format!(
            "{DENIED}permit reader  b/p.cedar:1:1  does not hold: 3 of 6 conditions met\n    \
             b/p.cedar:11:4  context.segments.s1 == \"orders\" || context.segments.s1 == \"items\"\n      \
             context.segments.s1 is \"other\"\n\
             forbid closed  b/p.cedar:16:1  does not hold: 2 of 3 conditions met\n    \
             b/p.cedar:18:35  context.segments.s1 == \"archive\"\n      context.segments.s1 is \"other\"\n\n\
             nearest: permit reader at b/p.cedar:1:1 but for \
             b/p.cedar:11:4  context.segments.s1 == \"orders\" || context.segments.s1 == \"items\"\n"
        ),
    );
}

#[test]
fn each_side_of_an_unless_clause_is_a_condition() {
    let nearest = |request: &str, want: &str| {
        let text = asked(&bundle(), request).plain(true);
        assert!(text.contains(want), "{want} is not in:\n{text}");
    };
    nearest(
        "{ who: spiffe://e.org/w, do: GET /orders/7, headers: { x-old: \"1\" } }",
        "does not hold: 5 of 6 conditions met\n    b/p.cedar:14:38  unless context.headers.hasTag(\"x-old\")\n",
    );
    nearest(
        "{ who: spiffe://e.org/w, do: GET / }",
        "b/p.cedar:9:3  context.depth == 2\n      context.depth is ",
    );
}

#[test]
fn policies_that_are_not_about_the_request_say_by_which_part_of_their_scope() {
    let missed = |request: &str, want: &str| {
        let text = asked(&bundle(), request).plain(true);
        assert!(text.contains(want), "{want} is not in:\n{text}");
    };
    missed(
        "{ who: spiffe://e.org/x, do: GET /orders/7 }",
        "does not hold: 0 of 6 conditions met\n    b/p.cedar:1:1  principal in Group::\"reader\"\n      \
         principal is \"Workload::\\\"spiffe://e.org/x\\\"\"\n",
    );
    missed("{ who: spiffe://e.org/w, do: PUT /orders/7 }", "b/p.cedar:1:1  action == Action::\"GET\"\n");
    missed(
        "{ who: spiffe://e.org/x, do: PUT /orders/7 }",
        "b/p.cedar:1:1  principal in Group::\"reader\", action == Action::\"GET\"\n",
    );
}

#[test]
fn what_determined_the_answer_comes_first() {
    let order = |request: &str, want: &[&str], nearest: Option<&str>| {
        let answer = asked(&bundle(), request);
        let told: Vec<String> =
            answer.attempts.iter().map(|attempt| format!("{} {}", attempt.rule, attempt.held)).collect();
        assert_eq!(told, want, "{request}");
        let near = answer.nearest.and_then(|at| answer.attempts.get(at)).map(|near| near.rule.as_str());
        assert_eq!(near, nearest, "{request}");
    };
    order(
        "{ who: spiffe://e.org/w, do: GET /orders/7 }",
        &["permit reader true", "forbid closed false"],
        Some("forbid closed"),
    );
    order(
        "{ who: spiffe://e.org/w, do: GET /archive/7 }",
        &["forbid closed true", "permit reader false"],
        None,
    );
    order(
        "{ who: spiffe://e.org/x, do: GET /orders/7 }",
        &["forbid closed false", "permit reader false"],
        Some("permit reader"),
    );
    let nobody = asked(&bundle(), "{ do: GET /orders/7 }");
    assert!(nobody.attempts.is_empty() && nobody.plain(true).contains("has no SPIFFE ID"));
}

#[test]
fn the_explanation_has_the_same_members_in_json_as_that_of_rego() {
    let told = asked(&bundle(), "{ who: spiffe://e.org/w, do: GET /other/7 }").json(true);
    let want = doc!({
        "rule": "permit reader",
        "place": "b/p.cedar:1:1",
        "depth": 0,
        "held": false,
        "default": false,
        "conditions": 6,
        "met": 3,
        "unmet": {
            "place": "b/p.cedar:11:4",
            "text": "context.segments.s1 == \"orders\" || context.segments.s1 == \"items\"",
            "values": [{"term": "context.segments.s1", "defined": true, "value": "other"}],
        },
    });
    assert_eq!(told.pointer("/attempts/0"), Some(&want));
}

#[test]
fn links_are_told_at_their_template_and_errors_by_what_erred() {
    let policy = "@id(\"sum\")\npermit (principal, action in Action::\"http\", resource)\nwhen { context.depth + 9223372036854775807 > 0 };\n";
    let linked = files(&[("t.cedar", TEMPLATE), ("links.json", LINKS)]);
    let text = asked(&linked, "{ who: spiffe://e.org/ada, do: PUT /, headers: { x-n: \"2\" } }").plain(true);
    for want in [
        "permit ada  b/t.cedar:1:1  does not hold: 2 of 3 conditions met\n",
        "    b/t.cedar:4:3  context.headers.getTag(\"x-n\") == \"1\"\n      context.headers.getTag(\"x-n\") is \"2\"\n",
        "permit bob  b/t.cedar:1:1  does not hold: 0 of 3 conditions met\n",
        "principal == Workload::\"spiffe://e.org/bob\"\n",
        "\nnearest: permit ada at ",
    ] {
        assert!(text.contains(want), "{want} is not in:\n{text}");
    }
    let erring = files(&[("p.cedar", policy), ("q.cedar", "permit (principal, action, resource);\n")]);
    let text = asked(&erring, "{ who: spiffe://e.org/w, do: GET /a/b }").plain(true);
    for want in [
        "DENY  policy.error\n",
        "\n\npermit sum  b/p.cedar:1:1  does not hold: 1 of 2",
        "error is \"",
        "nearest: permit sum",
    ] {
        assert!(text.contains(want), "{want} is not in:\n{text}");
    }
}

/// What is reported of cases, one row each.
fn covered(files: &BTreeMap<String, Vec<u8>>, rows: &[&str]) -> (String, serde_json::Value) {
    let rows: Vec<String> =
        rows.iter().enumerate().map(|(at, row)| format!("  - {{ name: c{at}, {row} }}\n")).collect();
    let text = format!("decision: {{ cedar: {{}} }}\ncases:\n{}", rows.concat());
    let table = Table::read("cases.yaml", text.as_bytes()).unwrap();
    let cases = table.all_cases(&|_| unreachable!("no other table")).unwrap();
    let table = Some(("cases.yaml".to_owned(), table));
    let suite = Suite { root: "b".to_owned(), files: files.clone(), table, cases };
    let report = suite.run(&Selection { filter: None, coverage: true }, NOW_NS, &|| 0).unwrap();
    (plain(&report, false), json(&report))
}

#[test]
fn rows_are_covered_by_what_was_evaluated_and_policies_by_what_they_determined() {
    let rows = |rows: &[&str], want: &[u32]| {
        let (text, _) = covered(&bundle(), rows);
        let told: Vec<u32> =
            (1..=20).filter(|row| text.contains(&format!("  not covered: b/p.cedar:{row}\n"))).collect();
        assert_eq!(told, want, "{text}");
    };
    let other = "who: spiffe://e.org/w, do: GET /other/7, expect: deny";
    let orders = "who: spiffe://e.org/w, do: GET /orders/7, expect: allow";
    let archive = "who: spiffe://e.org/w, do: GET /archive/7, expect: deny";
    rows(&["who: spiffe://e.org/x, do: PUT /, expect: deny"], &[1, 9, 10, 11, 12, 14, 16]);
    rows(&[other], &[1, 14, 16]);
    rows(&[orders], &[12, 16]);
    rows(&[orders, other], &[16]);
    rows(&[orders, other, archive], &[]);
}

#[test]
fn policies_that_determine_nothing_and_conditions_that_come_out_one_way_are_named() {
    let (text, told) = covered(&bundle(), &["who: spiffe://e.org/w, do: GET /orders/7, expect: allow"]);
    for want in [
        "never determined an answer: b/p.cedar:16:1  forbid closed\n",
        "never seen not to hold: b/p.cedar:9:3  context.depth == 2\n",
        "never seen to hold: b/p.cedar:14:10  context.path like \"*//*\"\n",
    ] {
        assert!(text.contains(want), "{want} is not in:\n{text}");
    }
    assert!(!text.contains("b/p.cedar:12:4  context"), "what was not evaluated has no outcome:\n{text}");
    assert_eq!(told.pointer("/coverage/policies/0/determined"), Some(&0.into()));
    assert_eq!(told.pointer("/coverage/policies/1/rule"), Some(&"permit reader".into()));
    assert_eq!(
        told.pointer("/coverage/policies/1/conditions/0"),
        Some(
            &doc!({"place": "b/p.cedar:9:3", "text": "context.depth == 2", "held": 1, "not_held": 0, "errors": 0})
        )
    );
    let lines = told.pointer("/coverage/files/b~1p.cedar/not_covered_lines");
    assert_eq!(lines, Some(&2.into()), "{told:#}");
}

#[test]
fn a_template_is_covered_by_any_of_its_links() {
    let linked = files(&[("t.cedar", TEMPLATE), ("links.json", LINKS)]);
    let case = "who: spiffe://e.org/ada, do: PUT /, headers: { x-n: \"1\" }, expect: allow";
    let (text, _) = covered(&linked, &[case]);
    assert!(text.contains(" 100.0 %  all  (3 of 3 lines)\n"), "{text}");
    assert!(text.contains("never determined an answer: b/t.cedar:1:1  permit bob\n"), "{text}");
}

#[test]
fn a_case_that_fails_names_the_condition_that_came_nearest() {
    let (text, _) = covered(&bundle(), &["who: spiffe://e.org/w, do: GET /other/7, expect: allow"]);
    assert!(
        text.contains("first condition that does not hold: b/p.cedar:11:4  context.segments.s1 == "),
        "{text}"
    );
}
