//! The plugin's own cases, asked of the authorizer that stands for it: what is compared with the sidecar is judged first.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use postern_tests::{Running, peer, port, run};
use serde_json::{Value, json};

use crate::sides::{Policy, authorize};

const METHOD: &str = "envoy.service.auth.v3.Authorization/Check";

/// Answers with what has been parsed.
const ECHO: &str = r#"package t

allow := {"allowed": false, "body": json.marshal([object.get(input, name, "absent") |
	some name in ["parsed_body", "truncated_body", "parsed_path", "parsed_query"]
])}
"#;

/// Cases that are about more than an answer, and those that take a descriptor.
const OTHER: &[&str] = &["DryRun", "Context", "LoggerError", "valid_parsed_example", "truncated_payload"];

struct Asked {
    grpcurl: PathBuf,
    at: SocketAddr,
    _running: (Running, tempfile::TempDir),
}

impl Asked {
    fn start(programs: &(PathBuf, PathBuf), text: &str, path: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = port::free();
        let running = authorize(folder.path(), &programs.0, &Policy { text, path }, at);
        Self { grpcurl: programs.1.clone(), at, _running: (running, folder) }
    }

    /// The answer, or the error of the call.
    fn check(&self, ask: &Value) -> Result<Value, String> {
        let mut command = Command::new(&self.grpcurl);
        command.args(["-plaintext", "-max-time", "20", "-d", &ask.to_string(), &self.at.to_string(), METHOD]);
        let output = run(command, Duration::from_secs(30));
        if output.code == Some(0) {
            return Ok(serde_json::from_str(&output.out).expect("JSON"));
        }
        Err(output.err)
    }

    /// What [`ECHO`] says, or what the authorizer says of a request that it cannot parse.
    fn parsed(&self, ask: &Value) -> Result<Vec<Value>, String> {
        let answer = self.check(ask).expect("an answer");
        let body = answer["deniedResponse"]["body"].as_str().unwrap_or_default();
        serde_json::from_str(body).map_err(|_| body.to_owned())
    }
}

fn programs() -> Option<(PathBuf, PathBuf)> {
    Some((peer("POSTERN_OPA_ENVOY")?, peer("POSTERN_GRPCURL")?))
}

fn cases(list: &str) -> Vec<Value> {
    let Some(root) = std::env::var_os("POSTERN_DATA") else {
        println!("SKIPPED {list}: POSTERN_DATA is not set");
        return Vec::new();
    };
    let text = fs::read(Path::new(&root).join("opa-envoy/opa-envoy-cases.json")).expect("the cases");
    let all: Value = serde_json::from_slice(&text).expect("JSON");
    let cases = all[list].as_array().expect("a list").clone();
    let is_other = |case: &Value| {
        let name = case["name"].as_str().unwrap_or_default();
        OTHER.iter().any(|part| name.contains(part))
    };
    cases.into_iter().filter(|case| !is_other(case)).collect()
}

/// Header or parameter options as pairs, in one order.
fn pairs(options: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut pairs: Vec<_> = match options {
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), text(value))).collect(),
        other => other.as_array().map_or(Vec::new(), |items| {
            items
                .iter()
                .map(|item| match item {
                    Value::Array(pair) => (text(&pair[0]), text(&pair[1])),
                    option => {
                        let pair = option.get("header").unwrap_or(option);
                        (text(&pair["key"]), text(&pair["value"]))
                    }
                })
                .collect()
        }),
    };
    pairs.sort();
    pairs
}

fn judge(case: &Value, got: &Result<Value, String>) {
    let (name, expect) = (&case["name"], &case["expect"]);
    let Some(status) = expect["status"].as_str() else {
        assert!(got.is_err(), "{name}: {got:?}");
        return;
    };
    let answer = got.as_ref().unwrap_or_else(|error| panic!("{name}: {error}"));
    let code = if status == "OK" { json!(null) } else { json!(7) };
    assert_eq!(answer["status"]["code"], code, "{name}: {answer}");
    let half = if status == "OK" { &answer["okResponse"] } else { &answer["deniedResponse"] };
    for (wanted, given) in [
        ("headers", "headers"),
        ("response_headers_to_add", "responseHeadersToAdd"),
        ("query_parameters_to_set", "queryParametersToSet"),
    ] {
        if !expect[wanted].is_null() {
            assert_eq!(pairs(&half[given]), pairs(&expect[wanted]), "{name}: {answer}");
        }
    }
    for (wanted, given) in [
        ("request_headers_to_remove", &half["headersToRemove"]),
        ("query_parameters_to_remove", &half["queryParametersToRemove"]),
        ("body", &half["body"]),
        ("http_status_name", &half["status"]["code"]),
        ("dynamic_metadata", &answer["dynamicMetadata"]),
    ] {
        if !expect[wanted].is_null() {
            assert_eq!(given, &expect[wanted], "{name}: {answer}");
        }
    }
}

#[test]
fn the_authorizer_answers_the_plugins_own_cases_as_the_plugin() {
    let Some(programs) = programs() else { return };
    let mut running: Vec<(String, Asked)> = Vec::new();
    let mut tried = 0;
    for case in cases("check_cases") {
        let (Some(policy), Some(path)) = (case["policy"].as_str(), case["decision_path"].as_str()) else {
            continue;
        };
        let key = format!("{path} {policy}");
        if !running.iter().any(|(have, _)| *have == key) {
            running.push((key.clone(), Asked::start(&programs, policy, path)));
        }
        let asked = running.iter().find(|(have, _)| *have == key).map(|(_, asked)| asked);
        judge(&case, &asked.expect("it runs").check(&case["check_request"]));
        tried += 1;
    }
    println!("the authorizer answered {tried} of the plugin's cases as the plugin");
}

#[test]
fn the_authorizer_parses_as_the_plugin() {
    let Some(programs) = programs() else { return };
    let asked = Asked::start(&programs, ECHO, "t/allow");
    for case in cases("parsed_body_cases") {
        let name = &case["name"];
        // Some cases bring the path's segments with them, which are no part of what Envoy asks.
        let ask = json!({"attributes": {"request": case["check_request"]["attributes"]["request"]}});
        match asked.parsed(&ask) {
            Ok(parsed) => {
                assert_eq!(
                    (&parsed[0], &parsed[1]),
                    (&case["parsed_body"], &case["truncated_body"]),
                    "{name}"
                );
                assert!(case["error"].is_null(), "{name}");
            }
            Err(said) => {
                assert!(case["error"] == true && said.starts_with("request_parse_error"), "{name}: {said}")
            }
        }
    }
    for case in cases("parsed_path_cases") {
        let ask = json!({"attributes": {"request": {"http": {"path": case["path"]}}}});
        let parsed = asked.parsed(&ask).unwrap_or_else(|said| panic!("{case}: {said}"));
        assert_eq!((&parsed[2], &parsed[3]), (&case["parsed_path"], &case["parsed_query"]), "{case}");
    }
}
