#![expect(clippy::needless_pass_by_value, reason = "rows of cases read better without references")]
use super::diff::Side;
use super::replay::Replay;
use crate::Entry;
use serde_json::{Value, json};

const DECISION: &str = include_str!("../../../audit/tests/golden/decision.json");

fn rego(conditions: &str) -> Side {
    let text = format!("package p\ndefault allow := false\nallow if {{ {conditions} }}\n");
    let files = [("p.rego".to_owned(), text.into_bytes())].into();
    Side::load("b", &files, &Entry::Rego { path: "p/allow".to_owned() }).unwrap()
}

/// The record with other members; null takes one away.
fn record(members: Value) -> String {
    let mut record: Value = serde_json::from_str(DECISION).unwrap();
    for (name, value) in members.as_object().unwrap() {
        if value.is_null() {
            record.as_object_mut().unwrap().remove(name);
        } else {
            record[name] = value.clone();
        }
    }
    record.to_string()
}

fn replayed(side: &Side, lines: &[String]) -> Value {
    let mut replay = Replay::new(side.pdp());
    lines.iter().for_each(|line| replay.take(line.as_bytes()));
    let report = replay.report();
    assert!(report.plain().contains("differ"));
    report.json()
}

/// One record; what the report must say besides zeros.
fn check(conditions: &str, members: Value, expected: Value) {
    let report = replayed(&rego(conditions), &[record(members.clone())]);
    let counts = [
        "same",
        "differing",
        "not_replayable",
        "timers",
        "not_asked",
        "obligations_of_the_sidecar",
        "unreadable",
    ];
    for name in counts {
        let want = expected.get(name).cloned().unwrap_or(0.into());
        assert_eq!(report[name], want, "`{name}` of {conditions} over {members}: {report}");
    }
    if let Some(lacking) = expected.get("lacking") {
        let names: Vec<&String> = report["lacking"].as_object().unwrap().keys().collect();
        assert_eq!(json!(names), *lacking, "{conditions}: {report}");
    }
}

/// As the policy `p/allow` denies it.
fn denied() -> Value {
    json!({"rules": ["p/allow"], "message": null})
}

#[test]
fn decisions_that_come_out_as_recorded_are_counted() {
    check("input.parsed_path[0] == \"b\"", denied(), json!({"same": 1}));
    check("input.source_principal == \"spiffe://example.org/other\"", denied(), json!({"same": 1}));
    let allowed =
        json!({"decision": "allow", "reason": "policy.allowed", "rules": ["p/allow"], "status": null});
    for held in [
        "input.attributes.request.http.method == \"POST\"",
        "input.parsed_path == [\"accounts\", \"42\", \"payments\"]",
        "input.source_principal == \"spiffe://example.org/web\"",
        "input.attributes.request.http.host == \"bank.example.org\"",
        "input.attributes.source.address.socketAddress.address == \"10.1.2.3\"",
        "input.postern.route == \"payments\"",
        "input.postern.service == \"app\"",
        "input.postern.certificate_serial == \"4f2a90c1\"",
        "input.postern.token_issuer == \"https://idp.example.org\"",
        "input.claims.sub == \"alice\"",
        "input.attributes.request.http.id == \"01JDCXYQ1VJ8V6E4M3Z9K7T2WB\"",
    ] {
        check(held, allowed.clone(), json!({"same": 1}));
    }
}

#[test]
fn decisions_and_reasons_that_differ_are_told() {
    let report = replayed(&rego("input.source_principal"), &[record(denied())]);
    assert_eq!(report["differing"], 1);
    let told = &report["differences"][0];
    assert_eq!(told["id"], "01JDCXYQ1VJ8V6E4M3Z9K7T2WB");
    assert_eq!(told["differs"], json!(["decision", "reason"]));
    assert_eq!((&told["then"]["decision"], &told["now"]["decision"]), (&"deny".into(), &"allow".into()));
    assert_eq!(told["request"], "POST /accounts/42/payments as spiffe://example.org/web");
    // The same answer by another rule.
    check("false", json!({"rules": ["bank.payments_only"]}), json!({"differing": 1}));
    check("false", json!({"rules": ["p/allow"], "reason": "policy.undefined"}), json!({"differing": 1}));
    // What was only observed is judged by what policy said.
    let observed =
        json!({"decision": "allow", "enforcement": "observe", "would": "deny", "rules": ["p/allow"]});
    check("false", observed.clone(), json!({"same": 1}));
    check("true", observed, json!({"differing": 1}));
}

#[test]
fn what_records_do_not_hold_is_never_guessed() {
    for (conditions, lacking) in [
        ("input.attributes.request.http.headers[\"x-a\"] == \"1\"", json!(["headers", "the query"])),
        ("input.attributes.request.http.path == \"/\"", json!(["the query"])),
        ("input.parsed_query.a", json!(["the query"])),
        ("input.parsed_body.a", json!(["the body"])),
        ("input.attributes.request.http.size > 1", json!(["the body's size"])),
        ("input.claims.scope == \"a\"", json!(["claims"])),
        ("not input.claims", json!(["claims"])),
        ("input.transaction.purp", json!(["the transaction token"])),
        ("input.postern.now_ns > 1", json!(["the moment of the decision"])),
        ("time.now_ns() > 1", json!(["the moment of the decision"])),
        ("input.attributes.tlsSession.sni == \"a\"", json!(["the server name in the TLS hello"])),
        ("input.attributes.destination.principal == \"a\"", json!(["the destination"])),
        ("input.attributes.request.http.protocol == \"HTTP/2\"", json!(["the version of HTTP"])),
    ] {
        check(conditions, denied(), json!({"not_replayable": 1, "lacking": lacking}));
    }
    // What was not there is known not to have been there.
    check("input.parsed_query.a", json!({"query_sha256": null, "rules": ["p/allow"]}), json!({"same": 1}));
    check("input.claims.scope == \"a\"", json!({"token": null, "rules": ["p/allow"]}), json!({"same": 1}));
    check("input.postern.workload_token.claims.a", denied(), json!({"same": 1}));
    let cut = json!({"path": {"cut": 5000, "sha256": "00"}, "rules": ["p/allow"]});
    check("input.parsed_path[0] == \"a\"", cut.clone(), json!({"not_replayable": 1}));
    check("input.source_principal == \"a\"", cut, json!({"same": 1}));
    check(
        "input.claims.sub == \"alice\"",
        json!({"token": {"iss": "https://i.example", "sha256": "00"}}),
        json!({"not_replayable": 1}),
    );
    check("true", json!({"token": {"sha256": "00"}}), json!({"unreadable": 1}));
}

#[test]
fn cedar_reads_are_held_against_records_too() {
    let side = |condition: &str| {
        let text =
            format!("permit (principal, action == Action::\"POST\", resource) when {{ {condition} }};");
        let files = [("p.cedar".to_owned(), text.into_bytes())].into();
        Side::load("b", &files, &Entry::Cedar).unwrap()
    };
    let line =
        || vec![record(json!({"decision": "allow", "reason": "policy.allowed", "rules": ["p.cedar#1"]}))];
    assert_eq!(replayed(&side("context.path == \"/accounts/42/payments\""), &line())["same"], 1);
    assert_eq!(replayed(&side("context.depth == 2"), &line())["differing"], 1);
    for (condition, lacks) in [
        ("context.headers.hasTag(\"a\")", "headers"),
        ("context has claims && context.claims has subject && context.claims.subject == \"alice\"", "claims"),
        ("context.now > datetime(\"2020-01-01\")", "the moment of the decision"),
        ("context.protocol == \"HTTP/2\"", "the version of HTTP"),
    ] {
        let report = replayed(&side(condition), &line());
        assert_eq!(
            (&report["not_replayable"], &report["lacking"][lacks]),
            (&1.into(), &1.into()),
            "{condition}"
        );
    }
}

#[test]
fn what_no_policy_decided_is_counted_and_not_compared() {
    check("true", json!({"reason": "policy.timeout"}), json!({"timers": 1}));
    check("true", json!({"reason": "token.expired", "engine": null}), json!({"not_asked": 1}));
    check("true", json!({"decision": "none", "reason": null}), json!({"not_asked": 1}));
    check("true", json!({"reason": "policy.not_ready", "engine": null}), json!({"not_asked": 1}));
    check("true", json!({"reason": "policy.obligation"}), json!({"obligations_of_the_sidecar": 1}));
    check("true", json!({"kind": "outcome"}), json!({}));
}

#[test]
fn lines_that_are_no_records_are_counted_with_the_first() {
    let lines = ["{", "", "{}", "{\"v\":9}", "\u{0}"].map(str::to_owned);
    let side = rego("true");
    assert_eq!(replayed(&side, &lines)["unreadable"], 4);
    let mut replay = Replay::new(side.pdp());
    lines.iter().for_each(|line| replay.take(line.as_bytes()));
    let told = replay.report().plain();
    assert!(told.contains("4 lines are no records; the first is line 1: it is no JSON"), "{told}");
    check("true", json!({"src": "nowhere"}), json!({"unreadable": 1}));
    check("true", json!({"method": null}), json!({"unreadable": 1}));
    for members in [json!({"peer": 7}), json!({"path": []}), json!({"host": true}), json!({"rules": "a"})] {
        check("true", members, json!({"unreadable": 1}));
    }
    check("true", json!({"peer": {"cut": 9000, "sha256": "00"}}), json!({"unreadable": 1}));
}
