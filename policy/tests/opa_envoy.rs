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
    ("ReqQueryParams", "query parameters are not rewritten: what was decided on is what is forwarded"),
    ("BadDecisionWithLogger", "asks for query parameters to be rewritten on a request that it denies"),
    ("multipart", "multipart bodies deny instead of being parsed"),
    ("body_truncated", "a body is held whole or not at all; `content-length` is the guard's"),
    ("url_encoded_truncated", "a body is held whole or not at all; `content-length` is the guard's"),
    ("partial_body", "Envoy's own header, which a caller could write"),
    ("valid_parsed_example", "needs a protobuf descriptor"),
    ("truncated_payload", "needs a protobuf descriptor"),
];

fn ours(name: &str) -> bool {
    name == "not_partial_body_json" || !NOT_OURS.iter().any(|(part, _)| name.contains(part))
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

/// The policy that most cases share also asks for query parameters to be rewritten, which denies here. Its other
/// rules are what these cases are about.
fn without_query_parameters(policy: &str) -> String {
    match (policy.find("result.query_parameters_to_remove"), policy.find("result.response_headers_to_add")) {
        (Some(from), Some(to)) if from < to => {
            let kept = [policy.get(..from), policy.get(to..)];
            kept.into_iter().flatten().collect()
        }
        (Some(_) | None, Some(_) | None) => policy.to_owned(),
    }
}

#[test]
fn requests_are_decided_as_the_plugin_decides_them() {
    for case in cases("check_cases").iter().filter(|case| case.get("policy").is_some()) {
        let name = text(case, "/name");
        if !ours(name) {
            continue;
        }
        let want = match case.pointer("/expect/status").and_then(Value::as_str) {
            Some("OK") => Decision::Allow,
            // An error of the plugin is a deny of ours, at load or at the decision.
            Some(_) | None => Decision::Deny,
        };
        match load(&without_query_parameters(text(case, "/policy")), text(case, "/decision_path")) {
            Ok(pdp) => {
                let verdict = decide(&pdp, case.get("check_request").unwrap());
                assert_eq!(verdict.decision, want, "{name}: {verdict:?}");
                if let Some(wanted) =
                    case.pointer("/expect/request_headers_to_remove").and_then(Value::as_array)
                {
                    let removed: Vec<Value> =
                        verdict.obligations.request_headers_remove.into_iter().map(Value::from).collect();
                    assert_eq!(&removed, wanted, "{name}");
                }
            }
            Err(error) => assert_eq!(want, Decision::Deny, "{name}: {error}"),
        }
    }
}

#[test]
fn bodies_are_parsed_as_the_plugin_parses_them() {
    for case in cases("parsed_body_cases") {
        let name = text(&case, "/name");
        if !ours(name) {
            continue;
        }
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
        let want = if case.get("error").is_some() { "policy.error" } else { "policy.allowed" };
        assert_eq!(verdict.code, want, "{name}: {rule}: {verdict:?}");
    }
}

#[test]
fn paths_and_queries_are_parsed_as_the_plugin_parses_them() {
    for case in cases("parsed_path_cases") {
        let (path, query) = (case.get("parsed_path").unwrap(), case.get("parsed_query").unwrap());
        let rule =
            format!("package t\nallow if {{ input.parsed_path == {path}; input.parsed_query == {query} }}");
        let request =
            serde_json::json!({"attributes": {"request": {"http": {"path": text(&case, "/path")}}}});
        let verdict = decide(&load(&rule, "t/allow").unwrap(), &request);
        assert_eq!(verdict.code, "policy.allowed", "{case}: {verdict:?}");
    }
}
