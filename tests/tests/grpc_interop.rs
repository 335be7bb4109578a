//! gRPC's own interoperability cases: the official client calls the official server, both in Go and without TLS, through a
//! pair of sidecars that speak mutual TLS and HTTP/2 with each other.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use postern_tests::sidecar::{assert_log_is_whole, records};
use postern_tests::{Output, Running, Scene, peer, port, run};
use serde_json::{Value, json};

const START_LIMIT: Duration = Duration::from_secs(30);

/// All that need no cloud, but for those that this server does not pass without us either: `orca_per_rpc`, `orca_oob`,
/// `pick_first_unary`.
const CASES: &[&str] = &[
    "empty_unary",
    "large_unary",
    "client_streaming",
    "server_streaming",
    "ping_pong",
    "empty_stream",
    "timeout_on_sleeping_server",
    "cancel_after_begin",
    "cancel_after_first_response",
    "status_code_and_message",
    "special_status_message",
    "custom_metadata",
    "unimplemented_method",
    "unimplemented_service",
];

const POLICY: &str = r#"package postern.authz

default decision := {"allowed": false, "reason": "only calls of the client"}

decision := {"allowed": true} if {
	input.attributes.source.principal == "spiffe://example.org/client"
	input.attributes.request.http.method == "POST"
	input.parsed_path[0] in {"grpc.testing.TestService", "grpc.testing.UnimplementedService"}
}
"#;

fn server(program: &Path, scene: &Scene) -> (SocketAddr, Running) {
    let at = port::free();
    let mut command = Command::new(program);
    command.arg("-port").arg(at.port().to_string());
    let mut running = Running::start("interop-server", command, scene.folder.path());
    running.wait_for_port(at, START_LIMIT);
    (at, running)
}

/// The sidecar of the client: it takes calls in plaintext and sends them to that of the service.
fn calling(service: &Scene) -> Scene {
    let route = json!({ "match": { "path_prefix": "/" }, "upstream": "service" });
    let scene = Scene::calling(service, "h2", &route);
    scene.write_policy(POLICY);
    scene
}

fn call(program: &Path, at: SocketAddr, case: &str) -> Output {
    let mut command = Command::new(program);
    command.args(["-server_host", &at.ip().to_string(), "-server_port", &at.port().to_string()]);
    command.args(["-test_case", case]);
    run(command, Duration::from_secs(30))
}

fn decisions(scene: &Scene, decision: &str) -> usize {
    let text = records(&scene.audit());
    let all = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    all.filter(|record| record["kind"] == "decision" && record["decision"] == decision).count()
}

#[test]
fn the_official_client_and_the_official_server_understand_each_other_through_a_pair_of_sidecars() {
    let Some(client) = peer("POSTERN_GRPC_INTEROP_CLIENT") else { return };
    let Some(program) = peer("POSTERN_GRPC_INTEROP_SERVER") else { return };
    let mut service = Scene::new();
    let (at, _server) = server(&program, &service);
    service.config["upstreams"]["app"] = json!({ "endpoints": [at.to_string()], "protocol": "h2c" });
    service.write_policy(POLICY);
    let caller = calling(&service);
    let (serving, calling) = (service.start(), caller.start());
    let failed: Vec<String> = CASES
        .iter()
        .map(|case| (case, call(&client, caller.listener, case)))
        .filter(|(_, output)| output.code != Some(0))
        .map(|(case, output)| format!("{case}: {}", output.err))
        .collect();
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), CASES.len(), failed.join("\n"));

    // What is not permitted has the status that gRPC means by it, not one of HTTP's.
    service.write_policy("package postern.authz\ndefault decision := false\n");
    postern_tests::process::wait("the new policy", START_LIMIT, || {
        let denied = call(&client, caller.listener, "empty_unary");
        (denied.code != Some(0) && denied.err.contains("PermissionDenied")).then_some(())
    });
    serving.stop();
    calling.stop();
    for scene in [&service, &caller] {
        assert_log_is_whole(&scene.audit());
    }
    assert!(decisions(&service, "allow") >= CASES.len());
    assert!(decisions(&service, "deny") > 0);
    assert_eq!(decisions(&caller, "deny"), 0);
}
