//! Real Envoy as the proxy of the calling side: it speaks mutual TLS and HTTP/2 with the sidecar.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use postern_tests::caller::{call_plain, get};
use postern_tests::{Running, Scene, peer, port};
use serde_json::{Value, json};

const START_LIMIT: Duration = Duration::from_secs(30);

/// Envoy with a plain listener and one cluster: the sidecar, by its SPIFFE ID, over HTTP/2 and TLS 1.3.
fn config(scene: &Scene, listener: SocketAddr) -> Value {
    let (certificate, key, trust) = scene.files("/client");
    let address = |socket: SocketAddr| json!({ "socket_address": { "address": socket.ip().to_string(), "port_value": socket.port() } });
    let manager = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
    let router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
    let tls = json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
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
    json!({ "static_resources": {
        "listeners": [{
            "name": "plain",
            "address": address(listener),
            "filter_chains": [{ "filters": [{ "name": "http", "typed_config": {
                "@type": manager,
                "stat_prefix": "plain",
                "route_config": { "virtual_hosts": [{
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "postern" } }],
                }] },
                "http_filters": [{ "name": "router", "typed_config": { "@type": router } }],
            } }] }],
        }],
        "clusters": [{
            "name": "postern",
            "type": "STATIC",
            "load_assignment": { "cluster_name": "postern", "endpoints": [
                { "lb_endpoints": [{ "endpoint": { "address": address(scene.listener) } }] },
            ] },
            "typed_extension_protocol_options": { "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": { "http2_protocol_options": {} },
            } },
            "transport_socket": { "name": "tls", "typed_config": tls },
        }],
    } })
}

fn start(program: &Path, scene: &Scene, listener: SocketAddr) -> Running {
    let path = scene.path("envoy.json");
    fs::write(&path, config(scene, listener).to_string()).expect("Envoy's configuration");
    let mut command = Command::new(program);
    command.arg("-c").arg(path).args([
        "--concurrency",
        "1",
        "--disable-hot-restart",
        "--log-level",
        "warning",
    ]);
    let mut envoy = Running::start("envoy", command, scene.folder.path());
    envoy.wait_for_port(listener, START_LIMIT);
    envoy
}

#[test]
fn requests_through_envoy_are_judged_by_envoys_identity() {
    let Some(program) = peer("POSTERN_ENVOY") else { return };
    let scene = Scene::new();
    let _sidecar = scene.start();
    let listener = port::free();
    let _envoy = start(&program, &scene, listener);

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
    let Some(program) = peer("POSTERN_ENVOY") else { return };
    let scene = Scene::new();
    let _sidecar = scene.start();
    let listener = port::free();
    let _envoy = start(&program, &scene, listener);
    for number in 0..100 {
        let path = format!("/things/{number}");
        let answer = call_plain(listener, get(&path)).expect("an answer");
        assert_eq!((answer.status.as_u16(), answer.json()["path"].as_str()), (200, Some(path.as_str())));
    }
}
