//! `curl` with a client certificate, as a person would try it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use postern_tests::{Output, Scene, Sidecar, peer, run, sidecar};
use serde_json::{Value, json};

/// The protocols, as `curl` names them in its option and in `%{http_version}`.
const VERSIONS: [(&str, &str); 2] = [("--http1.1", "1.1"), ("--http2", "2")];

/// Asks with the identity in `scene`'s files; prints the body, then version, status and content type on a last line.
fn curl(program: &Path, scene: &Scene, identity: Option<&str>, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(["--silent", "--show-error", "--max-time", "20", "--tlsv1.3"]);
    command.args(["--write-out", "\n%{http_version} %{http_code} %{content_type}"]);
    command.arg("--cacert").arg(scene.path("trust.pem"));
    if let Some(path) = identity {
        let (certificate, key, _) = scene.files(path);
        command.arg("--cert").arg(certificate).arg("--key").arg(key);
    }
    command.args(arguments).arg(format!("https://localhost:{}/things/42?full=yes", scene.listener.port()));
    run(command, Duration::from_secs(30))
}

fn body_and_end(output: &Output) -> (Value, String) {
    let (body, end) = output.out.rsplit_once('\n').expect("a last line");
    (serde_json::from_str(body).unwrap_or_default(), end.to_owned())
}

#[test]
fn an_allowed_request_reaches_the_upstream_and_comes_back() {
    let Some(program) = peer("POSTERN_CURL") else { return };
    let scene = Scene::new();
    let _sidecar: Sidecar = scene.start();
    for (option, version) in VERSIONS {
        let output = curl(&program, &scene, Some("/client"), &[option]).expect_code(0);
        let (body, end) = body_and_end(&output);
        assert_eq!(end, format!("{version} 200 application/json"));
        assert_eq!(
            (body["method"].as_str(), body["path"].as_str()),
            (Some("GET"), Some("/things/42?full=yes"))
        );
    }
    assert_eq!(scene.upstream.count(), VERSIONS.len());
}

#[test]
fn a_denied_request_gets_the_reason_and_does_not_reach_the_upstream() {
    let Some(program) = peer("POSTERN_CURL") else { return };
    let scene = Scene::new();
    let sidecar = scene.start();
    for (option, version) in VERSIONS {
        let output = curl(&program, &scene, Some("/client"), &[option, "--data", "amount=1"]).expect_code(0);
        let (body, end) = body_and_end(&output);
        assert_eq!(end, format!("{version} 403 application/problem+json"));
        assert_eq!(body["reason"], "policy.denied");
        assert!(output.out.contains("only the client may read"), "the policy's own words: {}", output.out);
        let id = body["decision_id"].as_str().expect("a decision id");
        assert_eq!(id.len(), 26, "a ULID: {id}");
    }
    assert_eq!(scene.upstream.count(), 0);
    sidecar.stop();
    assert_eq!(sidecar::records(&scene.audit()).matches("\"decision\":\"deny\"").count(), VERSIONS.len());
    sidecar::assert_log_is_whole(&scene.audit());
}

#[test]
fn a_denied_upload_gets_its_answer_although_nobody_reads_it() {
    let Some(program) = peer("POSTERN_CURL") else { return };
    let scene = Scene::new();
    let sidecar = scene.start();
    fs::write(scene.path("upload"), vec![b'x'; 300_000]).expect("something to send");
    let upload = format!("@{}", scene.path("upload").display());
    for (option, version) in VERSIONS {
        for _ in 0..10 {
            let arguments = [option, "--data-binary", upload.as_str()];
            let output = curl(&program, &scene, Some("/client"), &arguments).expect_code(0);
            assert_eq!(body_and_end(&output).1, format!("{version} 403 application/problem+json"));
        }
    }
    assert_eq!(scene.upstream.count(), 0);
    sidecar.stop();
}

#[test]
fn what_has_moved_is_asked_for_again_and_decided_on_again() {
    let Some(program) = peer("POSTERN_CURL") else { return };
    let mut scene = Scene::new();
    let moved = json!({ "match": { "path_prefix": "/things" }, "redirect": { "path_prefix": "/moved" } });
    let routes = scene.config["listeners"]["app"]["routes"].as_array_mut().expect("routes");
    routes.insert(0, moved);
    let sidecar = scene.start();
    for (option, version) in VERSIONS {
        let output = curl(&program, &scene, Some("/client"), &[option, "--location"]).expect_code(0);
        let (body, end) = body_and_end(&output);
        assert_eq!(end, format!("{version} 200 application/json"));
        assert_eq!(body["path"], "/moved/42?full=yes");
        // Who may not ask is not told where else to ask.
        let arguments = [option, "--location", "--data", "amount=1"];
        let output = curl(&program, &scene, Some("/client"), &arguments).expect_code(0);
        assert_eq!(body_and_end(&output).1, format!("{version} 403 application/problem+json"));
    }
    assert_eq!(scene.upstream.count(), VERSIONS.len());
    sidecar.stop();
    let records = sidecar::records(&scene.audit());
    assert_eq!(records.matches("\"decision\":\"allow\"").count(), 2 * VERSIONS.len());
    assert_eq!(records.matches("\"status\":308").count(), VERSIONS.len(), "{records}");
    sidecar::assert_log_is_whole(&scene.audit());
}

#[test]
fn who_shows_no_certificate_gets_no_connection_and_an_entry_in_the_log() {
    let Some(program) = peer("POSTERN_CURL") else { return };
    let scene = Scene::new();
    let sidecar = scene.start();
    let output = curl(&program, &scene, None, &["--http1.1"]);
    assert_ne!(output.code, Some(0), "{output:?}");
    assert_eq!(scene.upstream.count(), 0);
    sidecar.stop();
    let records = sidecar::records(&scene.audit());
    assert!(records.contains("tls.no_certificate"), "{records}");
}
