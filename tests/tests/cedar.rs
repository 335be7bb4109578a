//! The same promises when the bundle speaks Cedar.

use std::fs;

use bytes::Bytes;
use http::{Method, Request};
use postern_tests::{Scene, Version, sidecar};
use serde_json::json;

const POLICY: &str = r#"permit(
  principal == Workload::"spiffe://example.org/client",
  action == Action::"GET",
  resource
);

@id("no-secrets")
forbid(principal, action in Action::"http", resource)
when { context.path like "/secrets/*" };
"#;

#[test]
fn a_cedar_bundle_decides_and_its_rules_are_in_the_log() {
    let mut scene = Scene::new();
    fs::remove_file(scene.path("policy/authz.rego")).expect("the Rego policy was there");
    fs::write(scene.path("policy/authz.cedar"), POLICY).expect("the Cedar policy");
    scene.config["policy"]["decision"] = json!({ "cedar": {} });
    let sidecar = scene.start();
    let ask = |who: &str, method: Method, path: &str| {
        let request = Request::builder().method(method).uri(path).body(Bytes::new()).expect("a request");
        scene.caller(who).call(scene.listener, Version::Http2, request).expect("an answer").status.as_u16()
    };
    assert_eq!(ask("/client", Method::GET, "/things"), 200);
    assert_eq!(ask("/client", Method::POST, "/things"), 403);
    assert_eq!(ask("/stranger", Method::GET, "/things"), 403);
    assert_eq!(ask("/client", Method::GET, "/secrets/1"), 403);
    assert_eq!(scene.upstream.count(), 1);
    sidecar.stop();
    let records = sidecar::records(&scene.audit());
    assert!(records.contains("no-secrets"), "{records}");
}
