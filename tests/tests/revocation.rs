//! A caller that its authority has revoked is let in no more, and goes where it is in already.

use std::fs;
use std::time::Duration;

use postern_tests::authority::Identity;
use postern_tests::caller::{Connection, get};
use postern_tests::sidecar::{self, TRUST_DOMAIN};
use postern_tests::{Caller, Scene, Version, process};
use serde_json::json;
use time::Duration as Lifetime;

const LIMIT: Duration = Duration::from_secs(30);
const HOUR: Lifetime = Lifetime::HOUR;

/// A scene with a file of revocation lists that revokes nobody yet.
fn scene() -> Scene {
    let mut scene = Scene::new();
    revoke(&scene, &[], HOUR);
    let files = &mut scene.config["identity"]["source"]["files"];
    files["crls"] = json!({ TRUST_DOMAIN: scene.folder.path().join("lists.crl") });
    scene
}

/// Puts a list in force, in one step.
fn revoke(scene: &Scene, revoked: &[&Identity], lifetime: Lifetime) {
    write(scene, &scene.authority.revocation_list(revoked, lifetime));
}

fn write(scene: &Scene, list: &[u8]) {
    let waiting = scene.path("lists.crl.next");
    fs::write(&waiting, list).expect("the list is written");
    fs::rename(&waiting, scene.path("lists.crl")).expect("the list is put in place");
}

fn caller(scene: &Scene, identity: &Identity) -> Caller {
    Caller::new(identity, scene.authority.bundle_pem())
}

/// Waits until a caller is let in no more, and the log says why. One that is let in at the last moment is refused on
/// its connection, under another reason, so it tries again.
fn wait_until_refused(scene: &Scene, caller: &Caller, version: Version, reason: &str) {
    process::wait(reason, LIMIT, || {
        let refused = caller.get(scene.listener, version, "/x").is_err();
        (refused && is_recorded(scene, reason)).then_some(())
    });
}

fn is_recorded(scene: &Scene, reason: &str) -> bool {
    sidecar::records(&scene.audit()).contains(&format!("\"{reason}\""))
}

fn check(version: Version) {
    let scene = scene();
    let (good, bad) = (scene.authority.issue("/client"), scene.authority.issue("/client"));
    let sidecar = scene.start();
    let (good, revoked) = (caller(&scene, &good), caller(&scene, &bad));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut open: Connection =
        runtime.block_on(revoked.connect(scene.listener, version)).expect("a connection");
    let answer = runtime.block_on(open.send(get("/x"))).expect("an answer");
    assert_eq!(answer.status, 200);

    revoke(&scene, &[&bad], HOUR);
    wait_until_refused(&scene, &revoked, version, "tls.chain.revoked");
    // The open connection is closed, or refuses what comes on it; the log knows why.
    if let Ok(answer) = runtime.block_on(open.send(get("/x"))) {
        assert_eq!(answer.status, 401, "{answer:?}");
    }
    process::wait("peer.revoked", LIMIT, || is_recorded(&scene, "peer.revoked").then_some(()));
    assert_eq!(good.get(scene.listener, version, "/x").expect("an answer").status, 200);
    sidecar.stop();
    sidecar::assert_log_is_whole(&scene.audit());
}

#[test]
fn a_caller_that_is_revoked_loses_its_connection_over_http1() {
    check(Version::Http1);
}

#[test]
fn a_caller_that_is_revoked_loses_its_connection_over_http2() {
    check(Version::Http2);
}

#[test]
fn a_list_that_expires_lets_nobody_in_and_a_damaged_one_changes_nothing() {
    let scene = scene();
    let caller = scene.caller("/client");
    let sidecar = scene.start();
    let ask = || caller.get(scene.listener, Version::Http1, "/x");
    assert_eq!(ask().expect("an answer").status, 200);
    write(&scene, b"hello");
    process::wait("a damaged list in the log", LIMIT, || {
        sidecar.running.output().contains("lists.crl`: this is neither").then_some(())
    });
    assert_eq!(ask().expect("an answer").status, 200);
    revoke(&scene, &[], Lifetime::ZERO);
    wait_until_refused(&scene, &caller, Version::Http1, "tls.chain.revocation_unknown");
    revoke(&scene, &[], HOUR);
    process::wait("an answer", LIMIT, || ask().ok().map(|answer| assert_eq!(answer.status, 200)));
    sidecar.stop();
}
