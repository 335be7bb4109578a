//! `slowhttptest` against the sidecar: callers that never come to the end of their heads, or of their bodies, are let go,
//! and those who are quick are served meanwhile.

use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use postern_tests::caller::call_plain;
use postern_tests::process::wait;
use postern_tests::sidecar::assert_log_is_whole;
use postern_tests::{Running, Scene, peer};
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(30);

/// How many at a time.
const CALLERS: &str = "200";

/// The tool's options for one kind of slowness, and in which of the sidecar's words it ends.
fn check(kind: &[&str], series: &str) {
    let Some(program) = peer("POSTERN_SLOWHTTPTEST") else { return };
    let mut scene = Scene::new();
    scene.config["listeners"] = json!({ "egress": {
        "outbound": { "address": scene.listener.to_string() },
        "limits": { "header_timeout": "1s" },
        "routes": [{ "match": {}, "upstream": "app", "stream_idle_timeout": "1s" }],
    } });
    scene.write_policy("package postern.authz\ndefault decision := true\n");
    let sidecar = scene.start();
    let mut command = Command::new(program);
    // Says something so rarely that every caller is one that stands still.
    command.args(kind).args(["-c", CALLERS, "-r", "200", "-i", "3", "-l", "30", "-p", "10"]);
    command.args(["-u", &format!("http://{}/slow", scene.listener)]);
    let slow = Running::start("slowhttptest", command, scene.folder.path());
    wait("their ends", LIMIT, || {
        let ask =
            Request::get("/quick").header(header::HOST, "app.test").body(Bytes::new()).expect("a request");
        let answer = call_plain(scene.listener, ask).expect("an answer in the midst of it");
        assert_eq!(answer.status, 200, "{answer:?}");
        (sidecar.metric(series) >= 200.0).then_some(())
    });
    drop(slow);
    sidecar.stop();
    assert_log_is_whole(&scene.audit());
}

#[test]
fn heads_that_do_not_end_are_let_go_and_others_are_served_meanwhile() {
    check(&["-H"], "postern_connections_refused_total{listener=\"egress\",reason=\"conn.protocol\"");
}

#[test]
fn bodies_that_do_not_end_are_let_go_and_others_are_served_meanwhile() {
    check(
        &["-B", "-s", "8192"],
        "postern_exchanges_total{listener=\"egress\",decision=\"allow\",reason=\"body.timeout\"",
    );
}
