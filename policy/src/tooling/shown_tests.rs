//! What somebody wrote into a request, a record or a file name does not command the terminal of who reads the report, and
//! begins no line of it.
use super::cases::NOW_NS;
use super::diff::Side;
use super::*;
use crate::Entry;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const DECISION: &str = include_str!("../../../audit/tests/golden/decision.json");

/// Each of them with a line that must not come to stand for itself.
const HOSTILE: [&str; 6] = [
    "\u{1b}]0;title\u{7}\u{1b}[2J",
    "\u{9b}2J\u{85}FORGED",
    "\u{202e}txt.exe\u{2066}",
    "a\nFORGED 0 differ\r\nFORGED",
    "\u{2028}FORGED\u{200b}\u{feff}",
    "\u{7f}\u{8}\u{e0041}",
];

/// What a policy says who takes the caller's words into its own: to whom, with which path.
const ECHO: &str = "package p\ndefault decision := {\"allowed\": false, \"reason\": \"no\"}\n\
    decision := {\"allowed\": true, \"reason\": sprintf(\"%s\", [h.x]), \"headers\": {\"y\": \"z\"}} if {\n\
    \th := input.attributes.request.http.headers\n\tprint(h.x)\n}\n";

fn files(text: &str) -> BTreeMap<String, Vec<u8>> {
    [("p.rego".to_owned(), text.as_bytes().to_vec())].into()
}

fn side(text: &str) -> Side {
    Side::load("b", &files(text), &Entry::Rego { path: "p/decision".to_owned() }).unwrap()
}

fn replayed(hostile: &str) -> String {
    let mut record: Value = serde_json::from_str(DECISION).unwrap();
    for member in ["ts", "id", "path", "peer"] {
        record[member] = json!(hostile);
    }
    record["reason"] = json!(format!("policy.{hostile}"));
    record["rules"] = json!([hostile]);
    let side = side("package p\ndecision := {\"allowed\": true, \"reason\": input.source_principal}\n");
    let mut replay = Replay::new(side.pdp());
    replay.take(record.to_string().as_bytes());
    replay.take(json!({ "kind": hostile }).to_string().as_bytes());
    replay.take(json!({ "v": 1, "kind": "decision", "peer": hostile, "path": [] }).to_string().as_bytes());
    let report = replay.report();
    assert_eq!(report.differing, 1, "{hostile:?}: {report:?}");
    report.plain()
}

fn compared_over(hostile: &str) -> String {
    let words = json!({ "who": hostile, "do": format!("GET /{hostile}"), "headers": { "x": hostile } });
    let (old, new) = (side("package p\ndecision := {\"allowed\": false}\n"), side(ECHO));
    let (all, _) = requests_of(shown_json(&words.to_string()).as_bytes(), &old, &new).unwrap();
    let difference = over(&old, &new, &all, format!("of `{hostile}`"));
    assert_eq!(difference.count(Kind::Allowed), 1, "{hostile:?}");
    difference.plain()
}

fn answered(hostile: &str) -> String {
    let words = json!({ "who": hostile, "do": "GET /", "headers": { "x": hostile } }).to_string();
    let request = Request::read("r.json", shown_json(&words).as_bytes()).unwrap();
    let inquiry = Inquiry {
        root: "b",
        files: &files(ECHO),
        question: Question::Entry("p/decision"),
        input: None,
        request: Some(&request),
        now_ns: NOW_NS,
    };
    let answer = inquiry.answer().unwrap();
    let document: Value = serde_json::from_str(&shown_json(&answer.json(true).to_string())).unwrap();
    assert_eq!(document.pointer("/value/reason"), Some(&json!(hostile)), "the document says what it said");
    answer.plain(true)
}

fn tested(hostile: &str) -> String {
    let text = shown_json(&json!(hostile).to_string());
    let policy = format!("package p_test\ntest_it if {{ print({text}); x := {text}; x == \"other\" }}\n");
    let files = [("p_test.rego".to_owned(), policy.into_bytes())].into();
    let suite = Suite { root: "b".to_owned(), files, table: None, cases: Vec::new() };
    let report = suite.run(&Selection::default(), NOW_NS, &|| 0).unwrap();
    assert_eq!(report.count(Outcome::Failed), 1, "{hostile:?}: {report:?}");
    plain(&report, true)
}

/// The report that `of` gives, with a value from outside in it.
fn check(of: impl Fn(&str) -> String) {
    for hostile in HOSTILE {
        let report = of(hostile);
        let bad = report.chars().find(|letter| *letter != '\n' && deceives(*letter));
        assert_eq!(bad, None, "{hostile:?}:\n{report}");
        let forged = report.lines().find(|line| line.starts_with("FORGED"));
        assert_eq!(forged, None, "{hostile:?}:\n{report}");
    }
}

#[test]
fn records_that_are_decided_again_command_no_terminal() {
    check(replayed);
}

#[test]
fn requests_that_policies_are_compared_over_command_no_terminal() {
    check(compared_over);
}

#[test]
fn what_a_policy_answers_commands_no_terminal() {
    check(answered);
}

#[test]
fn what_tests_print_commands_no_terminal() {
    check(tested);
}
