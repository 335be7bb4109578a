//! Real Envoy as the proxy of the calling side, and of the called one: it speaks mutual TLS and HTTP/2 with the sidecar.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use postern_tests::caller::{call_plain, get};
use postern_tests::envoy::{Envoy, address, cluster};
use postern_tests::sidecar::{assert_log_is_whole, records};
use postern_tests::upstream::Speaks;
use postern_tests::{Running, Scene, Upstream, peer, port, run};
use serde_json::{Value, json};

/// The certificate of `spiffe://example.org<path>`, and the sidecar alone at the other end, over TLS 1.3.
fn tls(scene: &Scene, path: &str) -> Value {
    let (certificate, key, trust) = scene.files(path);
    json!({
        "alpn_protocols": ["h2"],
        "tls_params": { "tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3" },
        "tls_certificates": [{
            "certificate_chain": { "filename": certificate },
            "private_key": { "filename": key },
        }],
        "validation_context": {
            "trusted_ca": { "filename": trust },
            "match_typed_subject_alt_names": [
                { "san_type": "URI", "matcher": { "exact": "spiffe://example.org/sidecar" } },
            ],
        },
    })
}

/// Envoy with a plain listener and one way on: the sidecar, by its SPIFFE ID, over HTTP/2 and TLS 1.3.
fn start(scene: &Scene, listener: SocketAddr) -> Option<Running> {
    let tls = json!({ "sni": "localhost", "common_tls_context": tls(scene, "/client") });
    let onward = cluster("onward", &address(scene.listener), true, Some(tls));
    Envoy { at: listener, secured: None, onward, more: vec![], filters: vec![] }.start(scene.folder.path())
}

#[test]
fn requests_through_envoy_are_judged_by_envoys_identity() {
    let scene = Scene::new();
    let _sidecar = scene.start();
    let listener = port::free();
    let Some(_envoy) = start(&scene, listener) else { return };

    let allowed = call_plain(listener, get("/things/42")).expect("an answer");
    assert_eq!(allowed.status, 200, "{allowed:?}");
    assert_eq!(allowed.json()["path"], "/things/42");
    assert_eq!(allowed.decision_id().len(), 26, "{allowed:?}");

    let ask = Request::builder()
        .method(Method::POST)
        .uri("/things")
        .body(Bytes::from_static(b"{}"))
        .expect("a request");
    let denied = call_plain(listener, ask).expect("an answer");
    assert_eq!(denied.status, 403, "{denied:?}");
    assert_eq!(denied.json()["reason"], "policy.denied");
    assert_eq!(scene.upstream.count(), 1);
}

#[test]
fn many_requests_over_one_connection_of_envoy_are_all_answered() {
    let scene = Scene::new();
    let _sidecar = scene.start();
    let listener = port::free();
    let Some(_envoy) = start(&scene, listener) else { return };
    for number in 0..100 {
        let path = format!("/things/{number}");
        let answer = call_plain(listener, get(&path)).expect("an answer");
        assert_eq!((answer.status.as_u16(), answer.json()["path"].as_str()), (200, Some(path.as_str())));
    }
}

const CALLS: usize = 1000;

/// Says everything back.
const PROTO: &str = r#"syntax = "proto3";
package echo;
message Words { string text = 1; }
service Echo { rpc Say(Words) returns (Words); }
"#;

/// A caller without TLS, Envoy with the client's identity, the sidecar, Envoy with the service's identity, the service.
#[test]
fn grpc_from_envoy_by_way_of_the_sidecar_to_envoy_is_answered_to_the_last_call() {
    let Some(ghz) = peer("POSTERN_GHZ") else { return };
    let mut scene = Scene::in_front_of(Upstream::start_speaking(Speaks::H2c));
    let (before, behind) = (port::free(), port::free());
    let folder = scene.path("behind");
    fs::create_dir(&folder).expect("a folder");
    let onward = cluster("onward", &address(scene.upstream.address()), true, None);
    let secured =
        json!({ "require_client_certificate": true, "common_tls_context": tls(&scene, "/service") });
    let envoy = Envoy { at: behind, secured: Some(secured), onward, more: vec![], filters: vec![] };
    let Some(_behind) = envoy.start(&folder) else { return };
    let mutual = json!({ "mutual": { "spiffe_ids": ["spiffe://example.org/service"] } });
    scene.config["upstreams"]["app"] =
        json!({ "endpoints": [behind.to_string()], "protocol": "h2", "tls": mutual });
    scene.write_policy("package postern.authz\n\ndecision := {\"allowed\": true}\n");
    let sidecar = scene.start();
    let Some(_before) = start(&scene, before) else { return };
    fs::write(scene.path("echo.proto"), PROTO).expect("the service's definition");
    let mut command = Command::new(ghz);
    command.arg("--insecure").arg("--proto").arg(scene.path("echo.proto")).args(["--call", "echo.Echo.Say"]);
    command.args(["-d", r#"{"text": "hello"}"#, "-n", &CALLS.to_string(), "-c", "16", "-O", "json"]);
    command.arg(before.to_string());
    let output = run(command, Duration::from_secs(120)).expect_code(0);
    let report: Value = serde_json::from_str(&output.out).expect("a report");
    let errors = &report["errorDistribution"];
    assert_eq!(report["statusCodeDistribution"], json!({ "OK": CALLS }), "{errors}");
    assert_eq!(scene.upstream.count(), CALLS);
    sidecar.stop();
    assert_log_is_whole(&scene.audit());
    let records = records(&scene.audit());
    let decided = records.lines().filter(|record| record.contains("\"kind\":\"decision\""));
    let of_client = decided.filter(|record| record.contains("spiffe://example.org/client"));
    assert_eq!(of_client.count(), CALLS);
}
