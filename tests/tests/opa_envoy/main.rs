//! Policies written for the OPA-Envoy plugin, in front of the same service twice: real Envoy that asks an authorizer
//! built on OPA, and the sidecar. The caller and the upstream must not be able to tell which of the two it was, but for
//! what is listed here with its reason.

mod compare;
mod mutated;
mod plugin_cases;
mod sides;

use bytes::Bytes;
use compare::{Case, Tally};
use http::Request;
use postern_tests::Version;
use sides::Sides;

const JSON: (&str, &str) = ("content-type", "application/json");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const MULTIPART: (&str, &str) = ("content-type", "multipart/form-data; boundary=\"next part\"");
/// `alice:x` and `bob:x`.
const ALICE: (&str, &str) = ("authorization", "Basic YWxpY2U6eA==");
const BOB: (&str, &str) = ("authorization", "Basic Ym9iOng=");

const UPLOAD: &str = "--next part\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\na title\r\n\
                      --next part\r\nContent-Disposition: form-data; name=\"facts\"; filename=\"f.json\"\r\n\
                      Content-Type: application/json\r\n\r\n{\"pages\": 3}\r\n--next part--\r\n";

fn request(case: &Case) -> Request<Bytes> {
    let mut request = Request::builder().method(case.method).uri(case.path);
    for (name, value) in case.headers {
        request = request.header(*name, *value);
    }
    request.body(Bytes::from_static(case.body.as_bytes())).expect("a request")
}

fn check(policy: &str, name: &str, cases: &[Case]) {
    let Some(sides) = Sides::start(policy) else { return };
    let mut tally = Tally::new(name);
    for case in cases {
        for version in [Version::Http1, Version::Http2] {
            let (theirs, ours) = sides.ask(version, &request(case));
            tally.judge(case, version, &theirs, &ours);
        }
    }
    tally.close();
}

const fn get(path: &'static str) -> Case {
    Case { method: "GET", path, headers: &[], body: "", spelled: None, differs: None }
}

impl Case {
    const fn with(self, headers: &'static [(&'static str, &'static str)]) -> Self {
        Self { headers, ..self }
    }

    const fn post(self, body: &'static str) -> Self {
        Self { method: "POST", body, ..self }
    }

    const fn by(self, method: &'static str) -> Self {
        Self { method, ..self }
    }

    /// Forwarded by us in this spelling of its path: the one that was decided on.
    const fn spelled(self, path: &'static str) -> Self {
        Self { spelled: Some(path), ..self }
    }

    /// Refused by us, for this reason.
    const fn but(self, reason: &'static str) -> Self {
        Self { differs: Some(reason), ..self }
    }
}

#[test]
fn roles_are_granted_as_behind_envoy() {
    let cases = [
        get("/people").with(&[ALICE]),
        get("/people/7?x=1").with(&[ALICE]),
        get("/accounts").with(&[ALICE]),
        get("/accounts").with(&[BOB]),
        get("/people").post("{}").with(&[ALICE, JSON]),
        get("/people").post("{}").with(&[BOB, JSON]),
        get("/people"),
        get("/people").with(&[("authorization", "Basic !!")]),
        get("/people").with(&[("authorization", "bearer x")]),
        get("/people").with(&[("authorization", "Basic")]),
    ];
    check(include_str!("policies/roles.rego"), "roles", &cases);
}

#[test]
fn paths_queries_and_bodies_are_parsed_as_behind_envoy() {
    let cases = [
        get("/open"),
        get("/open/"),
        get("/OPEN"),
        get("/op%65n").spelled("/open"),
        get("//open").but("what stands before `//` is a host to some readers, so there is no such path"),
        get("/a%2Fb/c").but("an encoded slash is one segment to some readers and two to others"),
        get("/a/b/c"),
        get("/a/./b/c").but("dots are resolved by some readers and not by others; policy is not asked"),
        get("/search?q=two+words&tag=1&tag=2"),
        get("/search?q=two%20words&tag=1&tag=2"),
        get("/search?q=two+words&tag=1"),
        get("/search?q=two+words;tag=1&tag=2"),
        get("/search?q=%zz"),
        get("/open?"),
        get("/orders").post("{\"amount\": 99}").with(&[JSON]),
        get("/orders").post("{\"amount\": 100}").with(&[JSON]),
        get("/orders").post("{\"amount\": 9").with(&[JSON]),
        get("/orders").post("{\"amount\": 99}"),
        get("/orders").post("").with(&[JSON]),
        get("/orders").post("{\"amount\": 99}").with(&[("content-type", "application/json; charset=utf-8")]),
        get("/orders").post("{\"amount\": 99}").with(&[("content-type", "application/vnd.api+json")]),
        get("/orders")
            .post("{\"amount\": 100, \"amount\": 99}")
            .with(&[JSON])
            .but("of a member that stands there twice some readers take the first, and some the last"),
        get("/form").post("colour=red&colour=blue+green").with(&[FORM]),
        get("/form").post("colour=red&colour=blue").with(&[FORM]),
        get("/form").post("colour=red;colour=blue+green").with(&[FORM]),
        get("/upload").post(UPLOAD).with(&[MULTIPART]),
        get("/upload").post(UPLOAD).with(&[("content-type", "multipart/form-data")]),
        get("/upload")
            .post("--next part\r\n")
            .with(&[MULTIPART])
            .but("a form that ends in the head of a part is a form without end"),
        get("/orders").post("{\"amount\": 99}").with(&[JSON, ("x-envoy-auth-partial-body", "true")]),
    ];
    check(include_str!("policies/parsed.rego"), "parsed", &cases);
}

#[test]
fn denies_are_worded_as_behind_envoy() {
    let cases = [
        get("/open"),
        get("/unknown"),
        get("/open").by("HEAD"),
        get("/open").by("OPTIONS"),
        get("/open").by("DELETE"),
        get("/open").post("x").by("PUT"),
        get("/open").post("{}").by("PATCH").with(&[JSON]),
        get("/token").by("HEAD"),
        get("/json").by("HEAD"),
        get("/json").post("{}").by("PATCH").with(&[JSON]),
        get("/preflight").by("OPTIONS").with(&[("origin", "https://app.example.org")]),
        get("/nothing"),
        get("/login"),
        get("/token"),
        get("/json"),
        get("/preflight"),
        get("/calm"),
        get("/later"),
        get("/closed"),
        get("/two"),
        get("/teapot"),
        get("/text-status"),
        get("/number-body"),
        get("/text-allowed"),
        get("/no-allowed"),
        get("/text-headers"),
        get("/text-remove"),
        get("/number-query"),
        get("/text-metadata"),
    ];
    check(include_str!("policies/worded.rego"), "worded", &cases);
}

#[test]
fn requests_and_answers_are_changed_as_behind_envoy() {
    const SECRETS: &[(&str, &str)] =
        &[("x-secret", "1"), ("x-user", "forged"), ("cookie", "a=1"), ("x-many", "0"), ("x-both", "0")];
    let cases = [
        get("/plain").with(SECRETS),
        get("/headers").with(SECRETS),
        get("/lists").with(SECRETS),
        get("/many-up").with(SECRETS),
        get("/many-down").with(SECRETS),
        get("/cookies"),
        get("/query-encoded?q=1"),
        get("/both").with(SECRETS),
        get("/plain").with(&[("x-list", "a"), ("x-list", "b")]),
        get("/query?token=1&q=1"),
        get("/query?lang=de&q=1&lang=fr"),
        get("/query"),
        get("/query-many?m=0"),
        get("/query-both?k=0&z=1"),
        get("/query-gone?only=1"),
        get("/query-gone?b=2&a=1"),
    ];
    check(include_str!("policies/mutations.rego"), "mutations", &cases);
}

#[test]
fn the_input_is_the_one_behind_envoy() {
    let cases = [
        get("/a/b?x=1&x=2").with(&[("x-list", "a"), ("x-list", "b"), ("user-agent", "test")]),
        get("/orders").post("{\"amount\": 99}").with(&[JSON]),
        get("/form").post("a=1&a=2").with(&[FORM]),
        get("/upload").post(UPLOAD).with(&[MULTIPART]),
    ];
    let Some(sides) = Sides::start(include_str!("policies/input.rego")) else { return };
    let mut tally = Tally::new("input");
    for case in &cases {
        for version in [Version::Http1, Version::Http2] {
            let (theirs, ours) = sides.ask(version, &request(case));
            tally.judge_inputs(case, version, &theirs.answer.json(), &ours.answer.json());
        }
    }
    tally.close();
}
