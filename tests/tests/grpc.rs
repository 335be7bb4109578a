//! gRPC with its trailers through the sidecar: `grpcurl` in front, an HTTP/2 service without TLS behind.

use std::fs;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use postern_tests::upstream::Speaks;
use postern_tests::{Output, Scene, Upstream, Version, peer, run};
use serde_json::json;

/// The service gives every message back, so that request and response have one type.
const PROTO: &str = r#"syntax = "proto3";
package echo;
message Words { string text = 1; }
service Echo {
  rpc Say(Words) returns (Words);
  rpc Shout(Words) returns (Words);
}
"#;

const POLICY: &str = r#"package postern.authz

default decision := {"allowed": false, "reason": "nobody shouts here"}

decision := {"allowed": true} if input.parsed_path == ["echo.Echo", "Say"]
"#;

fn scene() -> Scene {
    let mut scene = Scene::in_front_of(Upstream::start_speaking(Speaks::H2c));
    scene.config["upstreams"]["app"]["protocol"] = json!("h2c");
    scene.write_policy(POLICY);
    scene
}

fn grpcurl(scene: &Scene, program: &std::path::Path, method: &str) -> Output {
    fs::write(scene.path("echo.proto"), PROTO).expect("the service's definition");
    let (certificate, key, trust) = scene.files("/client");
    let mut command = Command::new(program);
    command.arg("-import-path").arg(scene.folder.path()).args(["-proto", "echo.proto", "-max-time", "20"]);
    command.arg("-cert").arg(certificate).arg("-key").arg(key).arg("-cacert").arg(trust);
    command.args(["-d", r#"{"text": "hello"}"#, &format!("localhost:{}", scene.listener.port()), method]);
    run(command, Duration::from_secs(30))
}

#[test]
fn an_allowed_call_is_answered_and_a_denied_one_has_the_grpc_status() {
    let Some(program) = peer("POSTERN_GRPCURL") else { return };
    let scene = scene();
    let _sidecar = scene.start();
    let said = grpcurl(&scene, &program, "echo.Echo/Say").expect_code(0);
    assert!(said.out.contains("\"text\": \"hello\""), "{said:?}");
    let shouted = grpcurl(&scene, &program, "echo.Echo/Shout");
    assert!(shouted.err.contains("Code: PermissionDenied"), "{shouted:?}");
    assert_eq!(scene.upstream.count(), 1);
}

#[test]
fn trailers_of_the_upstream_arrive_as_trailers() {
    let scene = scene();
    let _sidecar = scene.start();
    let message = Bytes::from_static(&[0, 0, 0, 0, 2, 10, 0]);
    let ask = Request::builder()
        .method(Method::POST)
        .uri("/echo.Echo/Say")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(message.clone())
        .expect("a request");
    let answer = scene.caller("/client").call(scene.listener, Version::Http2, ask).expect("an answer");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body, message);
    let trailer =
        |name: &str| answer.trailers.get(name).map(|value| value.to_str().expect("text").to_owned());
    assert_eq!(trailer("grpc-status").as_deref(), Some("0"));
    assert_eq!(trailer("x-upstream-trailer").as_deref(), Some("arrived"));
}
