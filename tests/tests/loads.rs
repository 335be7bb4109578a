//! Load generators that others wrote count what they asked and what came back; the audit log must know of each request, once,
//! and of what became of it. How fast it was is printed and judged by nobody: a debug build beside other tests says little.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use postern_tests::sidecar::{assert_log_is_whole, records};
use postern_tests::upstream::Speaks;
use postern_tests::{Running, Scene, Upstream, peer, port, run};
use serde_json::{Value, json};

const START_LIMIT: Duration = Duration::from_secs(30);
const LOAD_LIMIT: Duration = Duration::from_secs(120);

/// Requests, and the connections over which they go.
const REQUESTS: usize = 2000;
const CONNECTIONS: usize = 8;

/// The client may ask; nobody may delete.
const POLICY: &str = r#"package postern.authz

default decision := {"allowed": false, "reason": "nobody deletes here"}

decision := {"allowed": true} if {
	input.attributes.source.principal == "spiffe://example.org/client"
	input.attributes.request.http.method != "DELETE"
}
"#;

/// Says everything back.
const PROTO: &str = r#"syntax = "proto3";
package echo;
message Words { string text = 1; }
service Echo { rpc Say(Words) returns (Words); }
"#;

/// Fortio as the service: what answers HTTP/1.1, and what answers gRPC's pings.
fn server(program: &Path, scene: &Scene) -> (SocketAddr, SocketAddr, Running) {
    let (http, grpc) = (port::free(), port::free());
    let mut command = Command::new(program);
    command.args(["server", "-redirect-port", "disabled", "-tcp-port", "disabled", "-udp-port", "disabled"]);
    command.args(["-http-port", &http.to_string(), "-grpc-port", &grpc.to_string(), "-ui-path", ""]);
    let mut running = Running::start("fortio-server", command, scene.folder.path());
    running.wait_for_port(http, START_LIMIT);
    running.wait_for_port(grpc, START_LIMIT);
    (http, grpc, running)
}

/// Loads the sidecar; gives what fortio counted.
fn fortio(program: &Path, scene: &Scene, arguments: &[&str]) -> Value {
    let (certificate, key, trust) = scene.files("/client");
    let report = scene.path("fortio.json");
    let mut command = Command::new(program);
    command.args(["load", "-qps", "0", "-n", &REQUESTS.to_string(), "-c", &CONNECTIONS.to_string()]);
    command.arg("-cert").arg(certificate).arg("-key").arg(key).arg("-cacert").arg(trust);
    command.args(["-loglevel", "Warning", "-json"]).arg(&report).args(arguments);
    let output = run(command, LOAD_LIMIT);
    let report = fs::read_to_string(&report).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    serde_json::from_str(&report).unwrap_or_else(|error| panic!("{error}: {report}"))
}

/// How many decisions the log holds for each reason. Each has one outcome.
fn logged(scene: &Scene) -> BTreeMap<String, usize> {
    let text = records(&scene.audit());
    let (mut reasons, mut decided, mut open) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
    for record in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let member = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
        match member("kind").as_str() {
            "decision" => {
                assert!(decided.insert(member("id")), "decided twice: {record}");
                open.insert(member("id"));
                *reasons.entry(member("reason")).or_default() += 1;
            }
            "outcome" => assert!(open.remove(&member("id")), "an outcome too many: {record}"),
            _ => {}
        }
    }
    assert_eq!(open.first(), None, "a decision without an outcome");
    reasons
}

/// Which answer is recorded with which reason.
const REASONS: [(&str, &str); 4] = [
    ("200", "policy.allowed"),
    ("SERVING", "policy.allowed"),
    ("403", "policy.denied"),
    ("429", "guard.rate"),
];

/// One load of fortio's: every request has an answer, each is one of those that are expected, and the log knows of exactly as
/// many.
fn check(name: &str, arguments: &[&str], expected: &[&str]) {
    let Some(program) = peer("POSTERN_FORTIO") else { return };
    let mut scene = Scene::new();
    let (http, grpc, _server) = server(&program, &scene);
    let is_grpc = arguments.contains(&"-grpc");
    scene.config["upstreams"]["app"] = match is_grpc {
        true => json!({ "endpoints": [grpc.to_string()], "protocol": "h2c" }),
        false => json!({ "endpoints": [http.to_string()] }),
    };
    scene.write_policy(POLICY);
    let sidecar = scene.start();
    let at = format!("localhost:{}", scene.listener.port());
    let to = if is_grpc { at } else { format!("https://{at}/echo?size=512") };
    let report = fortio(&program, &scene, &[arguments, &[&to]].concat());
    let histogram = &report["DurationHistogram"];
    println!("{name}: {} per second, {}", report["ActualQPS"], histogram["Percentiles"]);
    let counted: BTreeMap<String, usize> =
        serde_json::from_value(report["RetCodes"].clone()).expect("what came back, counted");
    assert!(counted.keys().all(|code| expected.contains(&code.as_str())), "{name}: {counted:?}");
    assert_eq!(counted.values().sum::<usize>(), REQUESTS, "{name}: {counted:?}");
    sidecar.stop();
    assert_log_is_whole(&scene.audit());
    let reason = |code: &String| REASONS.iter().find(|(known, _)| known == code).expect("a known answer").1;
    let answered: BTreeMap<String, usize> =
        counted.iter().map(|(code, count)| (reason(code).to_owned(), *count)).collect();
    assert_eq!(logged(&scene), answered, "{name}");
}

#[test]
fn what_fortio_asks_is_answered_and_recorded_to_the_last_request() {
    check("http/1.1", &[], &["200"]);
    check("http/1.1 with bodies", &["-payload-size", "4096"], &["200"]);
    check("http/1.1, connections of few requests", &["-connection-reuse", "5:20"], &["200"]);
    check("http/2", &["-h2"], &["200"]);
    check("grpc", &["-grpc", "-ping", "-s", "4"], &["SERVING"]);
}

#[test]
fn who_is_denied_again_and_again_is_answered_and_recorded_to_the_last_request() {
    check("denied", &["-X", "DELETE", "-log-errors=false"], &["403", "429"]);
}

#[test]
fn calls_of_ghz_are_answered_and_recorded_to_the_last_one() {
    let Some(program) = peer("POSTERN_GHZ") else { return };
    let mut scene = Scene::in_front_of(Upstream::start_speaking(Speaks::H2c));
    scene.config["upstreams"]["app"]["protocol"] = json!("h2c");
    scene.write_policy(POLICY);
    let sidecar = scene.start();
    fs::write(scene.path("echo.proto"), PROTO).expect("the service's definition");
    let (certificate, key, trust) = scene.files("/client");
    let mut command = Command::new(program);
    command.arg("--proto").arg(scene.path("echo.proto")).args(["--call", "echo.Echo.Say"]);
    command.arg("--cert").arg(certificate).arg("--key").arg(key).arg("--cacert").arg(trust);
    command.args(["-d", r#"{"text": "hello"}"#, "-n", &REQUESTS.to_string(), "-c", "32"]);
    command.args(["--connections", &CONNECTIONS.to_string(), "-O", "json"]);
    command.arg(format!("localhost:{}", scene.listener.port()));
    let output = run(command, LOAD_LIMIT).expect_code(0);
    let report: Value = serde_json::from_str(&output.out).expect("a report");
    println!("ghz: {} per second, {}", report["rps"], report["latencyDistribution"]);
    assert_eq!(
        report["statusCodeDistribution"],
        json!({ "OK": REQUESTS }),
        "{}",
        report["errorDistribution"]
    );
    assert_eq!(scene.upstream.count(), REQUESTS);
    sidecar.stop();
    assert_log_is_whole(&scene.audit());
    assert_eq!(logged(&scene), BTreeMap::from([("policy.allowed".to_owned(), REQUESTS)]));
}
