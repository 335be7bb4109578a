//! A bundle built and signed by real OPA is taken as it is; one with a byte changed is not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use postern_tests::authority::{ECDSA_P256, key_pair};
use postern_tests::sidecar::POLICY;
use postern_tests::{Scene, Served, Version, peer, process, run};
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(30);

/// Builds and signs the bundle with OPA; the public key is left in `signer.pub.pem`.
fn bundle(program: &Path, scene: &Scene) -> PathBuf {
    let sources = scene.path("sources");
    fs::create_dir_all(&sources).expect("a folder");
    fs::write(sources.join("authz.rego"), POLICY).expect("the policy");
    fs::write(sources.join(".manifest"), r#"{"roots": ["postern"], "rego_version": 1}"#)
        .expect("the manifest");
    let (private, public) = key_pair(&ECDSA_P256);
    fs::write(scene.path("signer.key"), private).expect("the private key");
    fs::write(scene.path("signer.pub.pem"), public).expect("the public key");
    let archive = scene.path("bundle.tar.gz");
    let mut command = Command::new(program);
    command.args(["build", "--revision", "from-opa", "--signing-alg", "ES256", "--signing-key"]);
    command.arg(scene.path("signer.key")).arg("--output").arg(&archive).arg("--bundle").arg(&sources);
    run(command, LIMIT).expect_code(0);
    archive
}

/// The same archive, one byte of the policy changed after it was signed. The archive itself stays sound.
fn with_a_byte_changed(scene: &Scene, archive: &Path) -> Vec<u8> {
    let folder = scene.path("unpacked");
    fs::create_dir_all(&folder).expect("a folder");
    let tar = |words: &[&str], file: &Path| {
        let mut command = Command::new("tar");
        command.args(words).arg(file).arg("-C").arg(&folder);
        if words.contains(&"-czf") {
            command.arg(".");
        }
        run(command, LIMIT).expect_code(0);
    };
    tar(&["-xzf"], archive);
    let policy = find(&folder, "authz.rego");
    let text = fs::read_to_string(&policy).expect("the policy");
    assert!(text.contains("\"GET\""), "{text}");
    fs::write(&policy, text.replace("\"GET\"", "\"PUT\"")).expect("the changed policy");
    let changed = scene.path("changed.tar.gz");
    tar(&["-czf"], &changed);
    fs::read(changed).expect("the changed archive")
}

fn find(folder: &Path, name: &str) -> PathBuf {
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
            match entry.path() {
                path if path.is_dir() => open.push(path),
                path if path.file_name().is_some_and(|found| found == name) => return path,
                _ => {}
            }
        }
    }
    panic!("there is no `{name}` in the archive");
}

fn serve(scene: &mut Scene, served: &Served) {
    scene.config["policy"]["bundles"]["authz"] = json!({
        "source": { "http": { "url": served.url(), "poll_interval": "1s" } },
        "signers": [scene.path("signer.pub.pem")],
    });
}

#[test]
fn a_bundle_built_and_signed_by_opa_decides() {
    let Some(program) = peer("POSTERN_OPA") else { return };
    let mut scene = Scene::new();
    let archive = bundle(&program, &scene);
    let served = Served::start(fs::read(archive).expect("the archive"));
    serve(&mut scene, &served);
    let sidecar = scene.start();
    let client = scene.caller("/client").get(scene.listener, Version::Http1, "/things").expect("an answer");
    assert_eq!(client.status, 200, "{client:?}");
    let stranger =
        scene.caller("/stranger").get(scene.listener, Version::Http1, "/things").expect("an answer");
    assert_eq!(stranger.status, 403, "{stranger:?}");
    sidecar.stop();
}

#[test]
fn a_bundle_with_a_byte_changed_leaves_the_sidecar_unready_and_denying() {
    let Some(program) = peer("POSTERN_OPA") else { return };
    let mut scene = Scene::new();
    let archive = bundle(&program, &scene);
    let served = Served::start(with_a_byte_changed(&scene, &archive));
    serve(&mut scene, &served);
    let mut sidecar = scene.start_unready();
    sidecar.running.wait_for_port(scene.listener, LIMIT);
    process::wait("a second look at the bundle", LIMIT, || (served.asked() >= 2).then_some(()));
    let (status, why) = sidecar.ask_status("/readyz?verbose");
    assert_eq!(status, 503);
    assert!(why.contains("policy"), "{why}");
    let answer = scene.caller("/client").get(scene.listener, Version::Http1, "/things").expect("an answer");
    assert_eq!((answer.status.as_u16(), answer.json()["reason"].as_str()), (503, Some("policy.not_ready")));
    assert_eq!(scene.upstream.count(), 0);
    sidecar.stop();
}

#[test]
fn a_changed_bundle_does_not_replace_the_one_in_force() {
    let Some(program) = peer("POSTERN_OPA") else { return };
    let mut scene = Scene::new();
    let archive = bundle(&program, &scene);
    let served = Served::start(fs::read(&archive).expect("the archive"));
    serve(&mut scene, &served);
    let sidecar = scene.start();
    let asked = served.asked();
    served.replace(with_a_byte_changed(&scene, &archive));
    process::wait("two further looks at the bundle", LIMIT, || (served.asked() >= asked + 2).then_some(()));
    let answer = scene.caller("/client").get(scene.listener, Version::Http1, "/things").expect("an answer");
    assert_eq!(answer.status, 200, "{answer:?}");
    sidecar.stop();
}
