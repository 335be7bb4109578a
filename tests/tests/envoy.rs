//! Real Envoy as the proxy of the calling side: it speaks mutual TLS and HTTP/2 with the sidecar.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, Request};
use postern_tests::caller::{call_plain, get};
use postern_tests::envoy::{Envoy, address, cluster};
use postern_tests::{Running, Scene, port};
use serde_json::json;

/// Envoy with a plain listener and one way on: the sidecar, by its SPIFFE ID, over HTTP/2 and TLS 1.3.
fn start(scene: &Scene, listener: SocketAddr) -> Option<Running> {
    let (certificate, key, trust) = scene.files("/client");
    let tls = json!({
        "sni": "localhost",
        "common_tls_context": {
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
        },
    });
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
