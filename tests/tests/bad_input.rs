//! Bad input of every kind: one clear error or refusal, nothing half done, and the process lives.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use postern_tests::authority::{Authority, ECDSA_P256, key_pair};
use postern_tests::peer::postern;
use postern_tests::sidecar::{POLICY, postern_with};
use postern_tests::{Output, Scene, Served, Version, process, run};
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(30);

fn check_config(scene: &Scene) -> Output {
    let path = scene.write_config();
    postern_with(&[Path::new("check"), Path::new("-c"), &path])
}

/// `postern check` and `postern run` refuse the configuration, and what they print holds each of `parts`.
fn refuses(scene: &Scene, parts: &[&str]) {
    let path = scene.write_config();
    for command in ["check", "run"] {
        let refused = postern_with(&[Path::new(command), Path::new("-c"), &path]);
        assert_eq!(refused.code, Some(1), "{command}: {refused:?}");
        let said = format!("{}{}", refused.out, refused.err);
        for part in parts {
            assert!(said.contains(part), "{command} does not say `{part}`:\n{said}");
        }
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[test]
fn a_sound_configuration_is_called_sound() {
    check_config(&Scene::new()).expect_code(0);
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_valid_one() {
    let mut scene = Scene::new();
    let listeners = scene.config["listeners"].take();
    scene.config.as_object_mut().expect("a map").remove("listeners");
    scene.config["listenrs"] = listeners;
    refuses(&scene, &["listenrs", "listeners"]);
}

#[test]
fn a_duplicate_key_is_refused() {
    let scene = Scene::new();
    let path = scene.write_config();
    let text = fs::read_to_string(&path).expect("the configuration");
    fs::write(&path, text.replacen('{', "{\n  \"workers\": 1,\n  \"workers\": 2,", 1))
        .expect("the configuration");
    let refused = postern_with(&[Path::new("check"), Path::new("-c"), &path]).expect_code(1);
    assert!(format!("{}{}", refused.out, refused.err).contains("workers"), "{refused:?}");
}

#[test]
fn a_wrong_unit_is_refused() {
    let mut scene = Scene::new();
    scene.config["listeners"]["app"]["routes"][0]["timeout"] = json!("5 parsecs");
    refuses(&scene, &["timeout", "5 parsecs"]);
}

#[test]
fn an_upstream_that_is_not_there_is_refused() {
    let mut scene = Scene::new();
    scene.config["listeners"]["app"]["routes"][0]["upstream"] = json!("nowhere");
    refuses(&scene, &["nowhere"]);
}

#[test]
fn a_missing_file_is_refused_by_its_name() {
    let scene = Scene::new();
    fs::remove_file(scene.path("sidecar.key")).expect("the key was there");
    refuses(&scene, &["sidecar.key"]);
}

#[test]
fn a_private_key_that_does_not_match_is_refused() {
    let scene = Scene::new();
    let other = Authority::new("example.org").issue("/sidecar");
    fs::write(scene.path("sidecar.key"), other.key_pem).expect("another key");
    refuses(&scene, &["sidecar.key", "does not match"]);
}

#[test]
fn a_signing_key_of_the_wrong_kind_is_refused() {
    let scene = Scene::new();
    fs::write(scene.path("audit.key"), key_pair(&ECDSA_P256).0).expect("another key");
    refuses(&scene, &["audit.key"]);
}

#[test]
fn a_file_that_is_no_configuration_is_refused() {
    let scene = Scene::new();
    for text in ["", "\u{0}\u{1}", "[]", "version: 2", "version: 1\n\tidentity: x", "a: &a [*a, *a]"] {
        let path = scene.path("bad.yaml");
        fs::write(&path, text).expect("the file");
        let refused = postern_with(&[Path::new("check"), Path::new("-c"), &path]).expect_code(1);
        assert!(!refused.err.contains("panicked"), "{text:?}: {refused:?}");
        assert!(!format!("{}{}", refused.out, refused.err).trim().is_empty(), "{text:?}: says nothing");
    }
    let missing = scene.path("missing.yaml");
    let refused = postern_with(&[Path::new("check"), Path::new("-c"), &missing]).expect_code(1);
    assert!(format!("{}{}", refused.out, refused.err).contains("missing.yaml"), "{refused:?}");
}

/// A key pair that signs bundles, in `signer.key` and `signer.pub.pem`.
fn write_signer(scene: &Scene) {
    let (private, public) = key_pair(&ECDSA_P256);
    fs::write(scene.path("signer.key"), private).expect("the private key");
    fs::write(scene.path("signer.pub.pem"), public).expect("the public key");
}

/// Builds and signs a bundle of the folder with `postern bundle build`.
fn signed(scene: &Scene, folder: &Path) -> Vec<u8> {
    let archive = folder.with_extension("signed.tar.gz");
    let mut command = Command::new(postern());
    command.args(["bundle", "build", "--key"]).arg(scene.path("signer.key"));
    command.arg("--out").arg(&archive).arg(folder);
    run(command, LIMIT).expect_code(0);
    fs::read(archive).expect("the signed archive")
}

/// Packs files under `folder` with the system's `tar`, unsigned.
fn pack(folder: &Path, names: &[&str]) -> Vec<u8> {
    let archive = folder.with_extension("tar.gz");
    let mut command = Command::new("tar");
    command.arg("-czPf").arg(&archive).arg("-C").arg(folder).args(names);
    run(command, LIMIT).expect_code(0);
    fs::read(archive).expect("the archive")
}

fn folder(scene: &Scene, name: &str) -> std::path::PathBuf {
    let folder = scene.path(name);
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("authz.rego"), POLICY).expect("the policy");
    fs::write(folder.join(".manifest"), r#"{"roots": ["postern"], "rego_version": 1}"#)
        .expect("the manifest");
    folder
}

#[test]
fn bad_bundles_are_refused_one_after_the_other_and_the_next_good_one_is_taken() {
    let mut scene = Scene::new();
    write_signer(&scene);
    let good = signed(&scene, &folder(&scene, "good"));
    let bomb = folder(&scene, "bomb");
    fs::File::create(bomb.join("data.json")).and_then(|file| file.set_len(64 << 20)).expect("a long file");
    let outside = folder(&scene, "outside");
    fs::write(scene.path("evil.rego"), POLICY).expect("a file outside");
    let rows = [
        ("cut in the middle", good.get(..good.len() / 2).expect("half").to_vec()),
        ("not an archive", b"policy, please".to_vec()),
        ("without a signature", pack(&scene.path("good"), &["authz.rego", ".manifest"])),
        ("a bomb", pack(&bomb, &["authz.rego", ".manifest", "data.json"])),
        ("a file outside", pack(&outside, &["authz.rego", ".manifest", "../evil.rego"])),
        ("nothing", Vec::new()),
    ];
    let served = Served::start(good.clone());
    scene.config["policy"]["bundles"]["authz"] = json!({
        "source": { "http": { "url": served.url(), "poll_interval": "1s" } },
        "signers": [scene.path("signer.pub.pem")],
    });
    scene.config["policy"]["limits"] = json!({ "bytes_max": "8MiB", "file_bytes_max": "8MiB" });
    let sidecar = scene.start();
    let caller = scene.caller("/client");
    for (what, archive) in rows {
        let before = sidecar.policy_refusals();
        served.replace(archive);
        process::wait(&format!("the refusal of {what}"), LIMIT, || {
            (sidecar.policy_refusals() > before).then_some(())
        });
        let answer = caller.get(scene.listener, Version::Http1, "/things").expect("an answer");
        assert_eq!(answer.status, 200, "{what}: the last good bundle stays in force: {answer:?}");
    }
    fs::write(scene.path("good/authz.rego"), POLICY.replace("\"GET\"", "\"HEAD\"")).expect("another policy");
    served.replace(signed(&scene, &scene.path("good")));
    process::wait("the next good bundle", LIMIT, || {
        let answer = caller.get(scene.listener, Version::Http1, "/things").expect("an answer");
        (answer.status == 403).then_some(())
    });
    sidecar.stop();
}

#[test]
fn an_unsigned_bundle_is_refused_where_signers_are_named() {
    let mut scene = Scene::new();
    fs::write(scene.path("signer.pub.pem"), key_pair(&ECDSA_P256).1).expect("a key");
    let bundle = &mut scene.config["policy"]["bundles"]["authz"];
    bundle.as_object_mut().expect("a map").remove("unsigned");
    bundle["signers"] = json!([scene.folder.path().join("signer.pub.pem")]);
    let mut sidecar = scene.start_unready();
    sidecar.running.wait_for_port(scene.status, LIMIT);
    process::wait("the refusal", LIMIT, || (sidecar.policy_refusals() > 0.0).then_some(()));
    let (status, why) = sidecar.ask_status("/readyz?verbose");
    assert_eq!(status, 503, "{why}");
    let answer = scene.caller("/client").get(scene.listener, Version::Http2, "/things").expect("an answer");
    assert_eq!((answer.status.as_u16(), answer.json()["reason"].as_str()), (503, Some("policy.not_ready")));
    sidecar.stop();
}

#[test]
fn malformed_requests_are_refused_and_never_forwarded() {
    let scene = Scene::new();
    let sidecar = scene.start();
    let caller = scene.caller("/client");
    let rows = [
        "nonsense\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        "GET /a HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
        "GET /a/../../b%00 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
        "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
        "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    for row in rows {
        // Asks for the end of the connection, where the request is still understood that far.
        let bytes = row.replacen("\r\n", "\r\nConnection: close\r\n", 1);
        let answer = caller
            .raw(scene.listener, bytes.as_bytes())
            .unwrap_or_else(|failure| panic!("{row:?}: {failure}"));
        let status: u16 = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let refused = answer.is_empty() || (400..506).contains(&status);
        assert!(refused, "{row:?}: {answer}");
    }
    assert_eq!(scene.upstream.count(), 0, "{:#?}", scene.upstream.seen());
    let answer = caller.get(scene.listener, Version::Http1, "/things").expect("an answer");
    assert_eq!(answer.status, 200);
    sidecar.stop();
}
