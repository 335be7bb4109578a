//! WebSockets between a real client and a real server, both by Node's `ws`, the server's over HTTP/1.1 or by Node's own
//! HTTP/2: what they agreed on and said arrives as it was said, and a connection that policy permits no more ends.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use postern_tests::sidecar::assert_log_is_whole;
use postern_tests::{Running, Scene, peer, port, run};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(30);
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/websocket.mjs");

/// The server's part in the script, what is spoken to it, and the compression that it agrees to.
type Server = (&'static str, &'static str, &'static str);
const SERVERS: [Server; 2] = [("serve", "http1", "permessage-deflate"), ("serve2", "h2c", "")];

fn server(module: &Path, part: &str, folder: &Path) -> (SocketAddr, Running) {
    let at = port::free();
    let mut command = Command::new("node");
    command.arg(SCRIPT).arg(module).args([part, &at.port().to_string()]);
    let mut running = Running::start("ws-server", command, folder);
    running.wait_for("readiness", LIMIT, |output| output.contains("ready").then_some(()));
    (at, running)
}

fn scene(module: &Path, (part, protocol, _): Server) -> (Scene, Running) {
    let mut scene = Scene::new();
    let (at, server) = server(module, part, scene.folder.path());
    scene.config["upstreams"]["app"]["protocol"] = json!(protocol);
    scene.config["upstreams"]["app"]["endpoints"] = json!([at.to_string()]);
    scene.config["listeners"]["app"]["routes"][0]["upgrades"] = json!(["websocket"]);
    (scene, server)
}

fn client(module: &Path, scene: &Scene, part: &str) -> Command {
    let (certificate, key, trust) = scene.files("/client");
    let mut command = Command::new("node");
    command.arg(SCRIPT).arg(module).arg(part).arg(format!("wss://{}/chat", scene.listener));
    command.arg(certificate).arg(key).arg(trust);
    command
}

#[test]
fn what_a_websocket_carries_arrives_as_it_was_said() {
    let Some(module) = peer("POSTERN_WS") else { return };
    SERVERS.into_iter().for_each(|server| check_carried(&module, server));
}

fn check_carried(module: &Path, behind: Server) {
    let (scene, mut server) = scene(module, behind);
    let sidecar = scene.start();
    let said = run(client(module, &scene, "call"), LIMIT).expect_code(0);
    let found: Value = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{said:?}"));
    let expected = json!({
        "protocol": "chat.v2",
        "plain": "",
        "text": "grüß dich",
        "fragmented": true,
        "pong": "hello",
        "pinged": "pong are you there",
        "closed": "4001 as you wish",
        // The two ends agree on it; bytes of a tunnel are not looked at.
        "deflating": behind.2,
        "deflated": true,
    });
    assert_eq!(found, expected);
    server.wait_for("the close codes", LIMIT, |output| {
        (output.contains("closed 4001") && output.contains("closed 4002 enough")).then_some(())
    });
    sidecar.stop();
    assert_log_is_whole(&scene.audit());
}

#[test]
fn a_websocket_that_policy_permits_no_more_ends_at_both_ends() {
    let Some(module) = peer("POSTERN_WS") else { return };
    SERVERS.into_iter().for_each(|server| check_ended(&module, server));
}

fn check_ended(module: &Path, behind: Server) {
    let (scene, mut server) = scene(module, behind);
    let sidecar = scene.start();
    let mut staying = Running::start("ws-client", client(module, &scene, "stay"), scene.folder.path());
    staying.wait_for("the connection", LIMIT, |output| output.contains("open").then_some(()));
    scene.write_policy("package postern.authz\ndefault decision := false\n");
    // Nobody has said goodbye: 1006 is what each end makes of a connection that is gone.
    server.wait_for("the end at the server", LIMIT, |output| output.contains("closed 1006").then_some(()));
    staying.wait_for_end(LIMIT);
    assert!(staying.output().contains("closed 1006"), "{}", staying.output());
    sidecar.stop();
    assert_log_is_whole(&scene.audit());
}
