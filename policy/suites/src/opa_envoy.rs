//! The OPA-Envoy plugin's own cases: what a policy is asked with, and what its answer comes to. Four lists: whole
//! decisions, parsed bodies, parsed paths, and principals.
use crate::{Outcome, SuiteError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postern_policy::{
    Body, BundleLimits, Decision, Entry, Http, Pdp, PdpLimits, PolicyBundle, Query, Scratch, Signers, Source,
    Verdict,
};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

/// The plugin's cases that are none of ours, by a part of their names, each with its reason.
const NOT_OURS: &[(&str, &str)] = &[
    ("DryRun", "a dry run is the route's `enforcement: observe`"),
    ("LoggerError", "decisions are recorded by the audit log"),
    ("Context", "its gRPC caller has cancelled"),
    ("DynamicMetadataDecisionID", "the id of a decision is the exchange's, in every answer and record"),
    ("partial_body", "Envoy's own header, which a caller could write"),
    ("valid_parsed_example", "needs a protobuf descriptor"),
    ("truncated_payload", "needs a protobuf descriptor"),
];

const SOMEWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// How a case of a list is judged; `None`, where it lacks a part.
type Judge = fn(&Value) -> Option<Outcome>;

const LISTS: [(&str, Judge); 4] = [
    ("check_cases", decision),
    ("parsed_body_cases", parsed_body),
    ("parsed_path_cases", parsed_path),
    ("source_principal_cases", source_principal),
];

fn not_ours(name: &str) -> Option<&'static str> {
    let listed = NOT_OURS.iter().find(|(part, _)| name.contains(part) && name != "not_partial_body_json");
    listed.map(|(_, reason)| *reason)
}

/// Every case of every list: its name, and how it went.
///
/// # Errors
/// When the suite cannot be read.
pub fn judge(folder: &Path) -> Result<Vec<(String, Outcome)>, SuiteError> {
    let path = folder.join("opa-envoy-cases.json");
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(&path).map_err(|error| SuiteError::File(shown.clone(), error))?;
    let all: Value = serde_json::from_str(&text).map_err(|error| SuiteError::Json(shown, error))?;
    let mut judged = Vec::new();
    for (list, judge) in LISTS {
        for case in all.get(list).and_then(Value::as_array).into_iter().flatten() {
            let name = text_at(case, "/name");
            let outcome = match not_ours(name) {
                Some(reason) => Outcome::Skipped(reason.to_owned()),
                None => judge(case).unwrap_or_else(|| Outcome::Wrong("the case lacks a part".to_owned())),
            };
            judged.push((format!("{list}/{name}"), outcome));
        }
    }
    Ok(judged)
}

fn text_at<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

fn load(policy: &str, entry: &str) -> Result<Pdp, String> {
    let files = [("policy.rego", policy.as_bytes())];
    let signers = Signers::UnsignedAllowedForDevelopment;
    let bundle = PolicyBundle::from_files(files, &BundleLimits::default(), &signers);
    let bundle = bundle.map_err(|error| error.to_string())?;
    let limits = PdpLimits { timeout: Duration::from_secs(20), ..PdpLimits::default() };
    let entry = Entry::Rego { path: entry.to_owned() };
    Pdp::load(&[("b", bundle)], &entry, &limits).map_err(|error| error.to_string())
}

/// Whether the whole policy is `rule`, and what comes of asking it.
fn verdict_of(rule: &str, request: &Value, wanted: &str) -> Option<Outcome> {
    let verdict = match load(rule, "t/allow") {
        Ok(pdp) => decide(&pdp, request)?,
        Err(error) => return Some(Outcome::Refused(error)),
    };
    Some(match verdict.code {
        code if code == wanted => Outcome::Passed,
        code @ ("policy.input" | "policy.error" | "policy.obligation" | "policy.result_type") => {
            Outcome::Refused(code.to_owned())
        }
        _ => Outcome::Wrong(format!("{verdict:?}")),
    })
}

fn decide(pdp: &Pdp, request: &Value) -> Option<Verdict> {
    let http = request.pointer("/attributes/request/http").cloned().unwrap_or_default();
    let fields = http.get("headers").and_then(Value::as_object).cloned().unwrap_or_default();
    let headers: Vec<(String, String)> = fields
        .iter()
        .filter(|(name, _)| !name.starts_with(':'))
        .map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect::<Option<_>>()?;
    let raw = STANDARD.decode(text_at(&http, "/raw_body")).ok()?;
    let body = if raw.is_empty() { text_at(&http, "/body").as_bytes() } else { raw.as_slice() };
    let target = text_at(&http, "/path");
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let principal = text_at(request, "/attributes/source/principal");
    let query = Query {
        now_ns: 1,
        action: text_at(&http, "/method"),
        source: Source {
            address: Some(SOMEWHERE),
            spiffe_id: Some(principal).filter(|id| !id.is_empty()),
            trust_domain: None,
            sni: None,
            certificate_serial: None,
            tls: postern_policy::Tls::default(),
        },
        destination: Some(SOMEWHERE),
        destination_principal: None,
        http: Some(Http {
            id: text_at(&http, "/id"),
            scheme: "https",
            authority: text_at(&http, "/host"),
            path,
            query,
            protocol: text_at(&http, "/protocol"),
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
    Some(pdp.decide(&mut Scratch::default(), &query))
}

/// Pairs as the suite writes them: an object, or a list of pairs. Of a name's values the last counts, there and here.
fn pairs(value: &Value) -> Option<BTreeMap<String, String>> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    if let Some(members) = value.as_object() {
        return members.iter().map(|(name, value)| Some((name.clone(), text(value)?))).collect();
    }
    let list = value.as_array()?.iter();
    list.map(|pair| Some((text(pair.get(0)?)?, text(pair.get(1)?)?))).collect()
}

/// The first of the things that the case expects of an answer and that this one lacks.
fn lacking(expect: &Value, verdict: &Verdict) -> Option<&'static str> {
    let duties = &verdict.obligations;
    let wanted = |key: &str| expect.get(key).filter(|wanted| !wanted.is_null());
    let same_pairs = |key: &str, got: &[(String, String)]| {
        wanted(key).is_none_or(|wanted| pairs(wanted) == Some(got.iter().cloned().collect()))
    };
    let same_names = |key: &str, got: &[String]| {
        let wanted = wanted(key).and_then(Value::as_array);
        wanted.is_none_or(|wanted| wanted.iter().filter_map(Value::as_str).eq(got.iter().map(String::as_str)))
    };
    let is_allow = verdict.decision == Decision::Allow;
    let headers = if is_allow { &duties.request_headers_set } else { &duties.deny_headers };
    let metadata = verdict.metadata.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok());
    let removed = &duties.request_headers_remove;
    let checks = [
        ("headers", same_pairs("headers", headers)),
        ("request_headers_to_remove", same_names("request_headers_to_remove", removed)),
        ("response_headers_to_add", same_pairs("response_headers_to_add", &duties.response_headers_add)),
        ("query_parameters_to_set", same_pairs("query_parameters_to_set", &duties.query_set)),
        ("query_parameters_to_remove", same_names("query_parameters_to_remove", &duties.query_remove)),
        ("dynamic_metadata", wanted("dynamic_metadata").is_none_or(|want| metadata.as_ref() == Some(want))),
        ("body", wanted("body").is_none_or(|want| want.as_str() == duties.deny_body.as_deref())),
        (
            "http_status",
            wanted("http_status_name")
                .is_none_or(|name| name == "MovedPermanently" && duties.deny_status == Some(301)),
        ),
    ];
    checks.into_iter().find(|(_, same)| !same).map(|(what, _)| what)
}

fn decision(case: &Value) -> Option<Outcome> {
    let Some(policy) = case.get("policy").and_then(Value::as_str) else {
        return Some(Outcome::Skipped("what it expects is written in the plugin's own language".to_owned()));
    };
    let expect = case.get("expect")?;
    let allowed = text_at(expect, "/status") == "OK";
    // An error of the plugin is a deny of ours, at load or at the decision.
    let verdict = match load(policy, text_at(case, "/decision_path")) {
        Ok(pdp) => decide(&pdp, case.get("check_request")?)?,
        Err(error) if allowed => return Some(Outcome::Refused(error)),
        Err(_) => return Some(Outcome::Passed),
    };
    Some(match (verdict.decision, allowed, lacking(expect, &verdict)) {
        (Decision::Allow, true, None) | (Decision::Deny, false, None) => Outcome::Passed,
        (Decision::Deny, true, _) => Outcome::Refused(verdict.code.to_owned()),
        (_, _, lacking) => Outcome::Wrong(format!("{lacking:?}: {verdict:?}")),
    })
}

fn parsed_body(case: &Value) -> Option<Outcome> {
    let rule = match case.get("parsed_body") {
        Some(parsed) => {
            let truncated = case.get("truncated_body")?;
            format!(
                "package t\nallow if {{ input.parsed_body == {parsed}; input.truncated_body == {truncated} }}"
            )
        }
        None => "package t\nallow if not input.parsed_body".to_owned(),
    };
    let wanted = if case.get("error").is_some() { "policy.input" } else { "policy.allowed" };
    verdict_of(&rule, case.get("check_request")?, wanted)
}

fn parsed_path(case: &Value) -> Option<Outcome> {
    let (path, query) = (case.get("parsed_path")?, case.get("parsed_query")?);
    let rule =
        format!("package t\nallow if {{ input.parsed_path == {path}; input.parsed_query == {query} }}");
    let request = serde_json::json!({"attributes": {"request": {"http": {"path": text_at(case, "/path")}}}});
    verdict_of(&rule, &request, "policy.allowed")
}

fn source_principal(case: &Value) -> Option<Outcome> {
    let rule = match case.get("source_principal").and_then(Value::as_str) {
        Some(principal) => format!("package t\nallow if input.source_principal == \"{principal}\""),
        None => "package t\nallow if not input.source_principal".to_owned(),
    };
    let request = serde_json::json!({"attributes": {
        "source": {"principal": text_at(case, "/principal")},
        "request": {"http": {"path": "/"}},
    }});
    verdict_of(&rule, &request, "policy.allowed")
}
