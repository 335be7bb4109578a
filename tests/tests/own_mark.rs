//! A sidecar that runs as the same user as the service beside it: the kernel tells them apart by the mark of the sidecar's
//! connections, and a sidecar that may not mark them does not start.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use postern_tests::netns::Wire;
use postern_tests::peer::postern;
use postern_tests::process::run;
use postern_tests::sidecar::{assert_log_is_whole, records};
use postern_tests::{Scene, peer};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(20);

/// The workload may go to one host.
const POLICY: &str = r#"package postern.authz

default decision := {"allowed": false, "reason": "not there"}

decision := {"allowed": true} if {
	input.attributes.source.principal == "spiffe://example.org/sidecar"
	input.attributes.destination.address.socketAddress.address == "10.77.0.1"
}
"#;

/// Root's connections are captured, and root is who the sidecar runs as.
fn scene() -> Scene {
    let mut scene = Scene::new();
    scene.config["listeners"] = json!({ "egress": {
        "outbound": { "address": "127.0.0.1:15001", "captured": "redirect" },
        "protocol": "tcp",
        "routes": [{ "match": {}, "upstream": "there" }],
    } });
    let there =
        json!({ "endpoints": ["original_destination"], "plaintext": "any_address", "protocol": "tcp" });
    scene.config["upstreams"] = json!({ "there": there });
    scene.config["capture"] =
        json!({ "outbound": { "listener": "egress", "from": { "uids": [0] }, "own": { "mark": 1337 } } });
    scene.write_policy(POLICY);
    scene
}

#[test]
fn the_service_is_captured_and_a_sidecar_of_the_same_user_gets_out() {
    let Some(ip) = peer("POSTERN_IP") else { return };
    let Some(wire) = Wire::new(&ip) else { return };
    let [world, further] = [Wire::OUTSIDE[0], Wire::FURTHER[0]].map(|ip| SocketAddr::new(ip, 80));
    wire.outside.serve("world", world);
    wire.outside.serve("further", further);
    let scene = scene();
    let sidecar = wire.service.within(0, || scene.start());
    let mut enable = wire.service.command(&postern());
    enable.args(["capture", "enable", "--permanent", "-c"]).arg(scene.path("postern.yaml"));
    enable.arg("--state-dir").arg(scene.path("state"));
    run(enable, LIMIT).expect_code(0);

    assert_eq!(wire.service.ask(0, world), "world", "{}", sidecar.running.output());
    assert_eq!(wire.service.ask(0, further), "", "what policy denies is not reached past the sidecar");
    assert_eq!(wire.service.ask(1000, further), "further", "who is not captured is left alone");
    sidecar.stop();
    assert_log_is_whole(&scene.audit());
    let records = records(&scene.audit());
    let entries = records.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut found: Vec<_> = entries
        .filter(|entry| entry["kind"] == "decision")
        .map(|d| ["dst", "decision"].map(|member| d[member].as_str().unwrap_or("").to_owned()))
        .collect();
    found.sort();
    // Once each: the sidecar's own connection did not come back to it.
    assert_eq!(found, [["10.77.0.1:80", "allow"], ["10.78.0.1:80", "deny"]]);
}

#[test]
fn a_sidecar_that_may_not_mark_its_connections_does_not_start() {
    let scene = scene();
    let mut command = Command::new("setpriv");
    if rustix::process::geteuid().is_root() {
        // Since Linux 5.17 either of them is enough.
        command.args(["--bounding-set=-net_admin,-net_raw", "--inh-caps=-net_admin,-net_raw"]);
    }
    command.arg(postern()).arg("run").arg("-c").arg(scene.write_config());
    let output = run(command, LIMIT).expect_code(1);
    assert!(output.err.contains("the mark `1337` of `capture.outbound.own`"), "{output:?}");
    assert!(output.err.contains("CAP_NET_ADMIN"), "{output:?}");
}
