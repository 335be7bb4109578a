//! What must be the same on both ways, and what need not be.

use std::collections::BTreeMap;

use http::HeaderMap;
use postern_tests::{Answer, Version};
use serde_json::Value;

use crate::sides::Fate;

/// One request.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub method: &'static str,
    pub path: &'static str,
    pub headers: &'static [(&'static str, &'static str)],
    pub body: &'static str,
    /// The path's canonical spelling, where it is another.
    pub spelled: Option<&'static str>,
    /// Why the sidecar refuses, without asking policy, what Envoy may let through.
    pub differs: Option<&'static str>,
}

/// Response headers that each proxy sets for itself.
const THEIR_ANSWER: &[&str] = &[
    "server",
    "date",
    "x-envoy-upstream-service-time",
    // How the message is framed is the connection's affair.
    "content-length",
    "transfer-encoding",
    "connection",
    // Ours, on every answer, and on refusals.
    "x-decision-id",
    "proxy-status",
];

/// Request headers that each proxy sets for itself.
const THEIR_REQUEST: &[&str] = &[
    "x-request-id",
    "x-forwarded-proto",
    "x-forwarded-client-cert",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-auth-partial-body",
    // Ours.
    "traceparent",
    "tracestate",
    "content-length",
    "transfer-encoding",
];

/// Members of the input that differ between any two exchanges, or that only one side has to give.
const THEIR_INPUT: &[&str] = &[
    "/attributes/request/http/id",
    "/attributes/request/time",
    "/attributes/source/address/socketAddress/portValue",
    "/attributes/destination/address/socketAddress/portValue",
    "/attributes/request/http/headers/x-request-id",
    "/attributes/request/http/headers/x-forwarded-proto",
    // A caller could write it, so it says nothing here; a body is whole or policy is not asked.
    "/attributes/request/http/headers/x-envoy-auth-partial-body",
    // Ours.
    "/postern",
];

/// The counts of one corpus, and what went wrong.
pub struct Tally {
    name: &'static str,
    passed: u32,
    refused: BTreeMap<&'static str, u32>,
    wrong: Vec<String>,
}

impl Tally {
    pub fn new(name: &str) -> Self {
        Self {
            name: Box::leak(name.to_owned().into_boxed_str()),
            passed: 0,
            refused: BTreeMap::new(),
            wrong: Vec::new(),
        }
    }

    /// Takes in one request's two fates.
    pub fn judge(&mut self, case: &Case, version: Version, theirs: &Fate, ours: &Fate) {
        let mut theirs = theirs.clone();
        if let (Some(path), Some(seen)) = (case.spelled, &mut theirs.seen) {
            seen["path"] = path.into();
        }
        let differences = differences(&theirs, ours);
        let what = format!("{} {} ({version:?})", case.method, case.path);
        match (differences.is_empty(), case.differs) {
            (true, None) => self.passed += 1,
            (true, Some(reason)) => self.wrong.push(format!("{what}: does not differ any more: {reason}")),
            (false, Some(reason)) if ours.seen.is_none() && !ours.answer.status.is_success() => {
                *self.refused.entry(reason).or_default() += 1;
            }
            (false, _) => self.wrong.push(format!("{what}: {}", differences.join("; "))),
        }
    }

    /// Takes in the inputs of one request.
    pub fn judge_inputs(&mut self, case: &Case, version: Version, theirs: &Value, ours: &Value) {
        let (theirs, ours) = (flat(theirs), flat(ours));
        let names = theirs.keys().chain(ours.keys()).collect::<std::collections::BTreeSet<_>>();
        let mut differences = Vec::new();
        for name in names {
            if THEIR_INPUT.iter().any(|listed| name.starts_with(listed)) {
                continue;
            }
            let (theirs, ours) = (theirs.get(name), ours.get(name));
            if theirs != ours {
                differences.push(format!("{name}: {theirs:?} there, {ours:?} here"));
            }
        }
        if differences.is_empty() {
            self.passed += 1;
        } else {
            self.wrong.push(format!(
                "{} {} ({version:?}):\n  {}",
                case.method,
                case.path,
                differences.join("\n  ")
            ));
        }
    }

    /// Fails when something is wrong, or the tally is not the one that the documents are made of.
    pub fn close(self) {
        assert!(self.wrong.is_empty(), "{}", self.wrong.join("\n"));
        let line = serde_json::json!({ "corpus": self.name, "passed": self.passed, "refused": self.refused })
            .to_string();
        assert!(
            TALLY.lines().any(|known| known == line),
            "write this in place of the line of `{}` in `tests/tests/opa_envoy/tally.jsonl`, and make \
             `docs/conformance.md` anew:\n{line}",
            self.name
        );
    }
}

/// What every corpus comes to, in this order of its members.
const TALLY: &str = include_str!("tally.jsonl");

fn differences(theirs: &Fate, ours: &Fate) -> Vec<String> {
    let mut found = Vec::new();
    let mut compare = |what: &str, theirs: &str, ours: &str| {
        if theirs != ours {
            found.push(format!("{what}: {theirs} there, {ours} here"));
        }
    };
    compare("status", theirs.answer.status.as_str(), ours.answer.status.as_str());
    // Where policy gives no body, Envoy sends none and we say in a document of our own which decision it was; likewise
    // where the plugin says what it could not parse.
    let is_unworded = theirs.answer.body.is_empty() || theirs.answer.body.starts_with(b"request_parse_error");
    let is_ours = ours.answer.header("content-type") == "application/problem+json" && is_unworded;
    if theirs.seen.is_none() && !is_ours {
        let text = |answer: &Answer| String::from_utf8_lossy(&answer.body).into_owned();
        compare("body", &text(&theirs.answer), &text(&ours.answer));
    }
    let skipped: &[&str] = if is_ours { &["content-type"] } else { &[] };
    let headers = |answer: &Answer| {
        let mut headers = headers(&answer.headers);
        // A refusal of ours is not to be kept; Envoy says nothing about that.
        if headers.get("cache-control").is_some_and(|values| values == "no-store") {
            headers.remove("cache-control");
        }
        headers.retain(|name, _| !skipped.contains(&name.as_str()));
        format!("{headers:?}")
    };
    compare("headers", &headers(&theirs.answer), &headers(&ours.answer));
    compare("upstream", &seen(theirs.seen.as_ref()), &seen(ours.seen.as_ref()));
    found
}

fn headers(all: &HeaderMap) -> BTreeMap<String, String> {
    let mut headers = BTreeMap::new();
    for name in all.keys().filter(|name| !THEIR_ANSWER.contains(&name.as_str())) {
        let values: Vec<_> =
            all.get_all(name).iter().map(|v| String::from_utf8_lossy(v.as_bytes())).collect();
        headers.insert(name.as_str().to_owned(), values.join(" | "));
    }
    headers
}

fn seen(request: Option<&Value>) -> String {
    let Some(request) = request else { return "nothing".to_owned() };
    let mut request = request.clone();
    let headers = request["headers"].as_object_mut().expect("headers");
    headers.retain(|name, _| !THEIR_REQUEST.contains(&name.as_str()));
    // Each proxy has an order of its own, which means nothing.
    let by_name: BTreeMap<String, Value> = std::mem::take(headers).into_iter().collect();
    headers.extend(by_name);
    // Values of one name may be joined by commas (RFC 9110 §5.3); we forward one value each.
    for values in headers.values_mut() {
        let all: Vec<&str> = values.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        *values = all.join(",").into();
    }
    // Of a query the names and values count, not in which order different names stand.
    let target = request["path"].as_str().unwrap_or_default().to_owned();
    if let Some((path, query)) = target.split_once('?') {
        let mut parameters: Vec<&str> = query.split('&').collect();
        parameters.sort_by_key(|parameter| parameter.split('=').next());
        request["path"] = format!("{path}?{}", parameters.join("&")).into();
    }
    request.to_string()
}

/// Every leaf by its JSON pointer.
fn flat(value: &Value) -> BTreeMap<String, Value> {
    let mut leaves = BTreeMap::new();
    let mut open = vec![(String::new(), value.clone())];
    while let Some((at, value)) = open.pop() {
        match value {
            Value::Object(members) if !members.is_empty() => {
                open.extend(members.into_iter().map(|(name, value)| (format!("{at}/{name}"), value)));
            }
            leaf => drop(leaves.insert(at, leaf)),
        }
    }
    leaves
}
