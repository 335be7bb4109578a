//! What changes under a running sidecar, and what a start finds when the world around it is away.

use std::fs;
use std::process::Command;
use std::time::Duration;

use postern_tests::authority::{ECDSA_P256, key_pair};
use postern_tests::load::Pressure;
use postern_tests::peer::postern;
use postern_tests::sidecar::Sidecar;
use postern_tests::{Load, Scene, Served, Version, process};
use rustix::process::Signal;
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(30);

/// The scene's configuration with another path prefix in its one route.
fn routed(scene: &Scene, prefix: &str) -> Value {
    let mut config = scene.config.clone();
    config["listeners"]["app"]["routes"][0]["match"]["path_prefix"] = json!(prefix);
    config
}

fn reload(scene: &Scene, sidecar: &Sidecar, config: &Value) {
    fs::write(scene.path("postern.yaml"), config.to_string()).expect("the configuration");
    sidecar.running.signal(Signal::HUP);
}

#[test]
fn a_reload_takes_new_routes_and_leaves_all_as_it_is_when_it_is_refused() {
    let scene = Scene::new();
    let sidecar = scene.start();
    let caller = scene.caller("/client");
    let status =
        |path: &str| caller.get(scene.listener, Version::Http1, path).expect("an answer").status.as_u16();
    assert_eq!(status("/things"), 200);

    let mut config = routed(&scene, "/other");
    reload(&scene, &sidecar, &config);
    process::wait("the new routes", LIMIT, || (status("/things") == 404).then_some(()));
    assert_eq!(status("/other/x"), 200);

    config["workers"] = json!("3");
    reload(&scene, &sidecar, &config);
    process::wait("the refusal in readiness", LIMIT, || {
        let (code, detail) = sidecar.ask_status("/readyz?verbose");
        (code == 200 && detail.contains("workers")).then_some(())
    });
    assert_eq!(status("/other/x"), 200, "what was in force stays in force");
    sidecar.stop();
}

#[test]
fn a_start_without_the_policy_server_uses_the_last_good_bundle_and_verifies_it_again() {
    let mut scene = Scene::new();
    let (private, public) = key_pair(&ECDSA_P256);
    fs::write(scene.path("signer.key"), private).expect("a key");
    fs::write(scene.path("signer.pub.pem"), public).expect("a key");
    let archive = scene.path("bundle.tar.gz");
    let mut build = Command::new(postern());
    build.args(["bundle", "build", "--key"]).arg(scene.path("signer.key")).arg("--out").arg(&archive);
    build.arg(scene.path("policy"));
    process::run(build, LIMIT).expect_code(0);
    let served = Served::start(fs::read(&archive).expect("the archive"));
    scene.config["policy"]["bundles"]["authz"] = json!({
        "source": { "http": { "url": served.url(), "poll_interval": "1s" } },
        "signers": [scene.path("signer.pub.pem")],
    });
    scene.start().stop();
    drop(served);

    let sidecar = scene.start();
    let answer = scene.caller("/client").get(scene.listener, Version::Http2, "/things").expect("an answer");
    assert_eq!(answer.status, 200, "{answer:?}");
    sidecar.stop();

    let kept = scene.path("last-good/authz.tar.gz");
    let mut bytes = fs::read(&kept).expect("the kept bundle");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&kept, bytes).expect("the kept bundle");
    let mut sidecar = scene.start_unready();
    sidecar.running.wait_for_port(scene.status, LIMIT);
    process::wait("the refusal", LIMIT, || (sidecar.policy_refusals() > 0.0).then_some(()));
    assert_eq!(sidecar.ask_status("/readyz").0, 503);
    sidecar.stop();
}

#[test]
fn certificate_files_are_replaced_under_load_without_a_failed_request() {
    let scene = Scene::new();
    let sidecar = scene.start();
    let caller = scene.caller("/client");
    let pressure = Pressure { callers: 2, pause: Duration::ZERO, version: Version::Http1 };
    let load = Load::start(&caller, scene.listener, "/things", pressure);
    let before = sidecar.metric("postern_identity_updates_total{result=\"loaded\"");
    scene.authority.issue("/sidecar").write(scene.folder.path(), "sidecar");
    process::wait("the new SVID", LIMIT, || {
        (sidecar.metric("postern_identity_updates_total{result=\"loaded\"") > before).then_some(())
    });
    load.wait_for_answers(20, LIMIT);
    let report = load.stop();
    report.assert_nothing_lost();
    sidecar.stop();
}
