//! Peers that have their identities from SPIRE too: real Envoy, by SPIRE's secret discovery service, on either side of
//! the sidecar, and another sidecar.

use std::net::SocketAddr;
use std::path::Path;

use postern_tests::caller::{call_plain, get};
use postern_tests::envoy::{Envoy, address, cluster};
use postern_tests::spire::{Agent, Programs, Server};
use postern_tests::{Caller, Running, Scene, Version, port};
use serde_json::{Value, json};

use super::scene;

/// SPIRE with the identities of all parties: they are of one user, so that each picks its own by name.
fn spire(programs: &Programs) -> (Server, Agent) {
    let server = Server::start(programs, "example.org", "");
    for path in ["/sidecar", "/client", "/service"] {
        server.register(path, &[]);
    }
    let mut agent = Agent::start(&server);
    agent.wait_for_svids(3);
    (server, agent)
}

/// A secret by its name, from the agent's secret discovery service.
fn secret(name: &str) -> Value {
    json!({ "name": name, "sds_config": {
        "resource_api_version": "V3",
        "api_config_source": {
            "api_type": "GRPC",
            "transport_api_version": "V3",
            "grpc_services": [{ "envoy_grpc": { "cluster_name": "spire" } }],
        },
    } })
}

/// Our certificate, and who may be at the other end.
fn tls(own: &str, other: &str) -> Value {
    json!({
        "alpn_protocols": ["h2", "http/1.1"],
        "tls_params": { "tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3" },
        "tls_certificate_sds_secret_configs": [secret(&format!("spiffe://example.org{own}"))],
        "combined_validation_context": {
            "default_validation_context": { "match_typed_subject_alt_names": [
                { "san_type": "URI", "matcher": { "exact": format!("spiffe://example.org{other}") } },
            ] },
            "validation_context_sds_secret_config": secret("spiffe://example.org"),
        },
    })
}

/// Starts Envoy with one listener and one way on, besides the one to SPIRE's agent.
fn envoy(
    folder: &Path,
    agent: &Agent,
    (at, own): (SocketAddr, Option<Value>),
    onward: Value,
) -> Option<Running> {
    let secured = own.map(|own| json!({ "require_client_certificate": true, "common_tls_context": own }));
    let pipe = json!({ "pipe": { "path": agent.socket() } });
    let more = vec![cluster("spire", &pipe, true, None)];
    Envoy { at, secured, onward, more, filters: vec![] }.start(folder)
}

#[test]
fn envoy_with_an_identity_of_spire_calls_the_sidecar() {
    let Some(programs) = Programs::find() else { return };
    let (_server, agent) = spire(&programs);
    let scene = scene(&agent.socket(), &json!({ "spiffe_id": "spiffe://example.org/sidecar" }));
    let sidecar = scene.start();
    let at = port::free();
    let onward = cluster(
        "onward",
        &address(scene.listener),
        true,
        Some(json!({ "common_tls_context": tls("/client", "/sidecar") })),
    );
    let Some(_envoy) = envoy(scene.folder.path(), &agent, (at, None), onward) else { return };
    let allowed = call_plain(at, get("/things/42")).expect("an answer");
    assert_eq!(
        (allowed.status.as_u16(), allowed.json()["path"].as_str()),
        (200, Some("/things/42")),
        "{allowed:?}"
    );
    sidecar.stop();
    assert!(postern_tests::sidecar::records(&scene.audit()).contains("spiffe://example.org/client"));
}

#[test]
fn the_sidecar_calls_envoy_with_an_identity_of_spire() {
    let Some(programs) = Programs::find() else { return };
    let (server, agent) = spire(&programs);
    let at = port::free();
    let mut scene = scene(&agent.socket(), &json!({ "spiffe_id": "spiffe://example.org/sidecar" }));
    let onward = cluster("onward", &address(scene.upstream.address()), false, None);
    let secured = tls("/service", "/sidecar");
    let Some(_envoy) = envoy(scene.folder.path(), &agent, (at, Some(secured)), onward) else { return };
    let caller = minted(&server);
    for (protocol, expected, status) in
        [("h2", "/service", 200), ("http1", "/service", 200), ("h2", "/another", 503)]
    {
        let mutual = json!({ "spiffe_ids": [format!("spiffe://example.org{expected}")] });
        set_upstream(&mut scene, at, protocol, &mutual);
        let sidecar = scene.start();
        let answer = caller.get(scene.listener, Version::Http2, "/things/7").expect("an answer");
        assert_eq!(answer.status, status, "{protocol} {expected} {answer:?}");
        if status == 503 {
            assert_eq!(answer.json()["reason"], "upstream.identity");
        }
        sidecar.stop();
    }
}

#[test]
fn two_sidecars_with_identities_of_spire_speak_to_each_other() {
    let Some(programs) = Programs::find() else { return };
    let (server, agent) = spire(&programs);
    // The second one stands before the service, and lets the first one in alone.
    let second = scene(&agent.socket(), &json!({ "spiffe_id": "spiffe://example.org/service" }));
    second.write_policy(&postern_tests::sidecar::POLICY.replace("/client", "/sidecar"));
    let serving = second.start();
    let mut first = scene(&agent.socket(), &json!({ "spiffe_id": "spiffe://example.org/sidecar" }));
    set_upstream(
        &mut first,
        second.listener,
        "h2",
        &json!({ "spiffe_ids": ["spiffe://example.org/service"] }),
    );
    let _first = first.start();
    let caller = minted(&server);
    let answer = caller.get(first.listener, Version::Http2, "/things/9").expect("an answer");
    assert_eq!(
        (answer.status.as_u16(), answer.json()["path"].as_str()),
        (200, Some("/things/9")),
        "{answer:?}"
    );
    // Past the first one nobody comes to the service.
    let direct = caller.get(second.listener, Version::Http2, "/things/9").expect("an answer");
    assert_eq!(direct.status, 403, "{direct:?}");
    // What is filed is in the segments when the process has ended, not before.
    serving.stop();
    assert!(postern_tests::sidecar::records(&second.audit()).contains("spiffe://example.org/sidecar"));
}

fn minted(server: &Server) -> Caller {
    let (identity, bundle) = server.mint("/client");
    Caller::new(&identity, &bundle)
}

fn set_upstream(scene: &mut Scene, endpoint: SocketAddr, protocol: &str, mutual: &Value) {
    let upstreams = scene.config["upstreams"].as_object_mut().expect("upstreams");
    let upstream = upstreams.values_mut().next().expect("an upstream");
    *upstream =
        json!({ "endpoints": [endpoint.to_string()], "protocol": protocol, "tls": { "mutual": mutual } });
}
