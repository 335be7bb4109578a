//! The OPA-Envoy plugin's own test cases against our input and result contract. Runs where `POSTERN_DATA` names the
//! folder with `opa-envoy/opa-envoy-cases.json`.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test that fails says so by panicking")]
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postern_policy::{
    Body, BundleLimits, Decision, Entry, Http, Pdp, PdpLimits, PolicyBundle, Query, Scratch, Signers, Source,
    Verdict,
};
use serde_json::Value;
use std::time::Duration;

/// Cases of the plugin that are none of ours, each with its reason.
const NOT_OURS: &[(&str, &str)] = &[
    ("DryRun", "our dry run is the route's `enforcement: observe`"),
    ("LoggerError", "the decision log is the recorder's"),
    ("Context", "cancelled by the gRPC caller"),
    ("DynamicMetadataDecisionID", "the id of a decision is the exchange's, in every answer and record"),
    ("partial_body", "Envoy's own header, which a caller could write"),
    ("valid_parsed_example", "needs a protobuf descriptor"),
    ("truncated_payload", "needs a protobuf descriptor"),
];

fn not_ours(name: &str) -> bool {
    name != "not_partial_body_json" && NOT_OURS.iter().any(|(part, _)| name.contains(part))
}

/// How a case went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    /// Denied, where the plugin gives an answer.
    Refused,
    Wrong,
    /// Not ours, or its expectation is only in the plugin's own language.
    Skipped,
}

/// Tries every case of a list; shows those that went wrong, and the tally for the documents.
fn tally(list: &str, judge: impl Fn(&Value) -> (Outcome, String)) {
    let (mut counts, mut shown) = ([0_u32; 4], Vec::new());
    let all = cases(list);
    for case in &all {
        let name = text(case, "/name");
        let (outcome, why) = if not_ours(name) { (Outcome::Skipped, String::new()) } else { judge(case) };
        let at = match outcome {
            Outcome::Passed => 0,
            Outcome::Refused => 1,
            Outcome::Wrong => 2,
            Outcome::Skipped => 3,
        };
        *counts.get_mut(at).unwrap() += 1;
        if matches!(outcome, Outcome::Refused | Outcome::Wrong) {
            shown.push(format!("{name}: {outcome:?}: {why}"));
        }
    }
    let [passed, refused, wrong, skipped] = counts;
    let counted = serde_json::json!({
        "cases": all.len(), "passed": passed, "refused": refused, "wrong": wrong, "skipped": skipped,
    });
    println!("TALLY opa-envoy {list} {counted}");
    assert!(shown.is_empty(), "{shown:#?}");
}

fn judged(got: &str, want: &str, verdict: &dyn std::fmt::Debug) -> (Outcome, String) {
    let outcome = match got {
        _ if got == want => Outcome::Passed,
        "policy.input" | "policy.error" | "policy.obligation" | "policy.result_type" => Outcome::Refused,
        _ => Outcome::Wrong,
    };
    (outcome, format!("{verdict:?}"))
}

fn cases(list: &str) -> Vec<Value> {
    let Some(root) = std::env::var_os("POSTERN_DATA") else {
        let thread = std::thread::current();
        println!("SKIPPED {}: POSTERN_DATA is not set", thread.name().unwrap_or("a test"));
        return Vec::new();
    };
    let path = std::path::Path::new(&root).join("opa-envoy/opa-envoy-cases.json");
    let all: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    all.get(list).and_then(Value::as_array).unwrap().clone()
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

fn load(policy: &str, entry: &str) -> Result<Pdp, postern_policy::LoadError> {
    let files = [("policy.rego", policy.as_bytes())];
    let bundle =
        PolicyBundle::from_files(files, &BundleLimits::default(), &Signers::UnsignedAllowedForDevelopment);
    let limits = PdpLimits { timeout: Duration::from_secs(20), ..PdpLimits::default() };
    Pdp::load(&[("b", bundle.unwrap())], &Entry::Rego { path: entry.to_owned() }, &limits)
}

fn decide(pdp: &Pdp, request: &Value) -> Verdict {
    let http = request.pointer("/attributes/request/http").cloned().unwrap_or_default();
    let fields = http.get("headers").and_then(Value::as_object).cloned().unwrap_or_default();
    let headers: Vec<(String, String)> = fields
        .iter()
        .filter(|(name, _)| !name.starts_with(':'))
        .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
        .collect();
    let raw = STANDARD.decode(text(&http, "/raw_body")).unwrap();
    let body = if raw.is_empty() { text(&http, "/body").as_bytes() } else { raw.as_slice() };
    let target = text(&http, "/path");
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let principal = text(request, "/attributes/source/principal");
    let query = Query {
        now_ns: 1,
        action: text(&http, "/method"),
        source: Source {
            address: "127.0.0.1:1".parse().unwrap(),
            spiffe_id: Some(principal).filter(|id| !id.is_empty()),
            trust_domain: None,
            sni: None,
            certificate_serial: None,
        },
        destination: "127.0.0.1:2".parse().unwrap(),
        destination_principal: None,
        http: Some(Http {
            id: text(&http, "/id"),
            scheme: "https",
            authority: text(&http, "/host"),
            path,
            query,
            protocol: text(&http, "/protocol"),
            headers: &headers,
            body: Body::Whole(body),
            size: 0,
        }),
        claims: None,
        token_issuer: None,
        transaction: None,
        workload_token: None,
        route: "r",
        service: "s",
    };
    pdp.decide(&mut Scratch::default(), &query)
}

fn pairs(value: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    if let Some(members) = value.as_object() {
        return members.iter().map(|(name, value)| (name.clone(), text(value))).collect();
    }
    value.as_array().unwrap().iter().map(|pair| (text(&pair[0]), text(&pair[1]))).collect()
}

/// The first of the things that the case expects of an answer and that this one lacks.
fn lacking(case: &Value, verdict: &Verdict) -> Option<&'static str> {
    let expect = case.get("expect").unwrap();
    let duties = &verdict.obligations;
    let is_allow = verdict.decision == Decision::Allow;
    let same_pairs = |key: &str, got: &[(String, String)]| {
        let wanted = expect.get(key).filter(|wanted| !wanted.is_null()).map(pairs);
        // Of a parameter's values the last counts, there and here.
        let last = |pairs: &[(String, String)]| -> std::collections::BTreeMap<String, String> {
            pairs.iter().cloned().collect()
        };
        wanted.is_none_or(|wanted| last(&wanted) == last(got))
    };
    let same_names = |key: &str, got: &[String]| {
        let wanted = expect.get(key).and_then(Value::as_array);
        wanted.is_none_or(|wanted| wanted.iter().filter_map(Value::as_str).eq(got.iter().map(String::as_str)))
    };
    let headers = if is_allow { &duties.request_headers_set } else { &duties.deny_headers };
    let metadata = verdict.metadata.as_deref().map(|text| serde_json::from_str::<Value>(text).unwrap());
    let checks = [
        ("headers", same_pairs("headers", headers)),
        (
            "request_headers_to_remove",
            same_names("request_headers_to_remove", &duties.request_headers_remove),
        ),
        ("response_headers_to_add", same_pairs("response_headers_to_add", &duties.response_headers_add)),
        ("query_parameters_to_set", same_pairs("query_parameters_to_set", &duties.query_set)),
        ("query_parameters_to_remove", same_names("query_parameters_to_remove", &duties.query_remove)),
        (
            "dynamic_metadata",
            expect.get("dynamic_metadata").is_none_or(|want| metadata.as_ref() == Some(want)),
        ),
        ("body", expect.get("body").is_none_or(|want| want.as_str() == duties.deny_body.as_deref())),
        (
            "http_status",
            expect
                .get("http_status_name")
                .is_none_or(|name| name == "MovedPermanently" && duties.deny_status == Some(301)),
        ),
    ];
    checks.into_iter().find(|(_, same)| !same).map(|(what, _)| what)
}

#[test]
fn requests_are_decided_as_the_plugin_decides_them() {
    tally("check_cases", |case| {
        let Some(policy) = case.get("policy").and_then(Value::as_str) else {
            return (Outcome::Skipped, String::new());
        };
        let allowed = case.pointer("/expect/status").and_then(Value::as_str) == Some("OK");
        // An error of the plugin is a deny of ours, at load or at the decision.
        let verdict = match load(policy, text(case, "/decision_path")) {
            Ok(pdp) => decide(&pdp, case.get("check_request").unwrap()),
            Err(error) if allowed => return (Outcome::Refused, error.to_string()),
            Err(_) => return (Outcome::Passed, String::new()),
        };
        match (verdict.decision, allowed, lacking(case, &verdict)) {
            (Decision::Allow, true, None) | (Decision::Deny, false, None) => (Outcome::Passed, String::new()),
            (Decision::Deny, true, _) => (Outcome::Refused, format!("{verdict:?}")),
            (_, _, lacking) => (Outcome::Wrong, format!("{lacking:?}: {verdict:?}")),
        }
    });
}

#[test]
fn bodies_are_parsed_as_the_plugin_parses_them() {
    tally("parsed_body_cases", |case| {
        let rule = match case.get("parsed_body") {
            Some(parsed) => {
                let truncated = case.get("truncated_body").unwrap();
                format!(
                    "package t\nallow if {{ input.parsed_body == {parsed}; input.truncated_body == {truncated} }}"
                )
            }
            None => "package t\nallow if not input.parsed_body".to_owned(),
        };
        let verdict = decide(&load(&rule, "t/allow").unwrap(), case.get("check_request").unwrap());
        let want = if case.get("error").is_some() { "policy.input" } else { "policy.allowed" };
        judged(verdict.code, want, &verdict)
    });
}

#[test]
fn paths_and_queries_are_parsed_as_the_plugin_parses_them() {
    tally("parsed_path_cases", |case| {
        let (path, query) = (case.get("parsed_path").unwrap(), case.get("parsed_query").unwrap());
        let rule =
            format!("package t\nallow if {{ input.parsed_path == {path}; input.parsed_query == {query} }}");
        let request = serde_json::json!({"attributes": {"request": {"http": {"path": text(case, "/path")}}}});
        let verdict = decide(&load(&rule, "t/allow").unwrap(), &request);
        judged(verdict.code, "policy.allowed", &verdict)
    });
}

#[test]
fn principals_are_given_as_the_plugin_gives_them() {
    tally("source_principal_cases", |case| {
        let rule = match case.get("source_principal").and_then(Value::as_str) {
            Some(principal) => format!("package t\nallow if input.source_principal == \"{principal}\""),
            None => "package t\nallow if not input.source_principal".to_owned(),
        };
        let request = serde_json::json!({"attributes": {
            "source": {"principal": text(case, "/principal")},
            "request": {"http": {"path": "/"}},
        }});
        let verdict = decide(&load(&rule, "t/allow").unwrap(), &request);
        judged(verdict.code, "policy.allowed", &verdict)
    });
}
