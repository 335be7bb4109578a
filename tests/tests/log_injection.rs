//! Callers write into our logs what they like: a record stays one line, a terminal that shows it obeys nobody, and what
//! looks like a decision is none.

use std::time::Duration;

use http::Request;
use postern_tests::process::run;
use postern_tests::sidecar::{assert_log_is_whole, records};
use postern_tests::{Scene, Version, peer::postern};
use serde_json::Value;

/// Repeats what the caller said, as policies do that mean well.
const POLICY: &str = r#"package postern.authz

default decision := {"allowed": false, "reason": "nothing was said"}

decision := {"allowed": false, "reason": sprintf("nobody may say %s", [said])} if {
	said := input.parsed_query.said[0]
} else := {"allowed": true, "headers": {"x-said": input.parsed_query.header[0]}}
"#;

/// `a`, a line end and a record of its own making; a terminal's title; a change of direction; line ends of Unicode.
const SAID: &str = "a%0D%0A%7B%22kind%22:%22decision%22,%22decision%22:%22allow%22%7D%0A%1B%5D0%3Bpwn%07%C2%9B31m%E2%80%AEgnp%E2%80%A8b%E2%80%A9c";

/// Signs that a line or a terminal must not be given as they are.
fn harm(text: &str) -> Option<char> {
    let is_harm = |sign: &char| {
        (sign.is_control() && *sign != '\n')
            || matches!(sign, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
    };
    text.chars().find(is_harm)
}

fn lines_of_json(what: &str, text: &str) -> Vec<Value> {
    let line = |line: &str| {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{what}: {error}: {line:?}"))
    };
    text.lines().map(line).collect()
}

#[test]
fn what_a_caller_says_is_one_value_in_one_line_of_every_log() {
    let scene = Scene::new();
    scene.write_policy(POLICY);
    let sidecar = scene.start();
    let caller = scene.caller("/client");
    let ask = |version, path: &str| {
        let ask =
            Request::builder().uri(path).header("user-agent", r#"{"decision":"allow"} " | = ] CEF:0|x"#);
        caller
            .call(scene.listener, version, ask.body(bytes::Bytes::new()).expect("a request"))
            .expect("an answer")
    };
    let mut ids = Vec::new();
    for version in [Version::Http1, Version::Http2] {
        let denied = ask(version, &format!("/things?said={SAID}"));
        assert_eq!(denied.status, 403, "{denied:?}");
        let detail = denied.json()["detail"].as_str().map(str::to_owned);
        assert!(detail.is_some_and(|detail| detail.starts_with("nobody may say a")), "{denied:?}");
        assert!(denied.headers.values().all(|value| value.to_str().is_ok()), "{denied:?}");
        ids.push(denied.decision_id().to_owned());
        let unsaid = ask(version, &format!("/things?header={SAID}"));
        assert_eq!((unsaid.status.as_u16(), &unsaid.json()["reason"]), (403, &"policy.obligation".into()));
        ids.push(unsaid.decision_id().to_owned());
        let refused = ask(version, "/a%0d%0aFAKE");
        assert_eq!(
            (refused.status.as_u16(), &refused.json()["reason"]),
            (400, &"request.path_character".into())
        );
        ids.push(refused.decision_id().to_owned());
    }
    let audit = scene.audit();
    let show = |arguments: &[&str]| {
        let mut command = std::process::Command::new(postern());
        command.args(arguments).arg(&audit);
        let said = run(command, Duration::from_secs(30)).expect_code(0);
        assert_eq!(harm(&said.out), None, "{arguments:?}: {:?}", said.out);
        said.out
    };
    for id in &ids {
        assert!(show(&["why", id, "--dir"]).contains(id.as_str()));
    }
    assert!(show(&["audit", "inspect"]).contains("/things"));
    let printed = sidecar.running.output();
    lines_of_json("the process log", &printed);
    assert_eq!(harm(&printed), None, "{printed:?}");
    assert_eq!(scene.upstream.count(), 0);
    sidecar.stop();
    assert_log_is_whole(&scene.audit());
    let log = records(&scene.audit());
    assert_eq!(harm(&log), None, "{log:?}");
    let all = lines_of_json("the audit log", &log);
    let decisions: Vec<_> = all.iter().filter(|record| record["kind"] == "decision").collect();
    assert_eq!(decisions.len(), ids.len());
    assert!(decisions.iter().all(|record| record["decision"] != "allow"), "{decisions:#?}");
}
