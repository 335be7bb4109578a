//! A pair of sidecars: two applications that know nothing of TLS speak plain HTTP, each with the sidecar beside it, and
//! between the two everything is mutual TLS, decided on both sides.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, header};
use postern_tests::caller::{Answer, call_plain, get};
use postern_tests::sidecar::{assert_log_is_whole, postern_with, records};
use postern_tests::{Scene, peer, run};
use serde_json::{Value, json};

/// What the workload may ask of others: the service may be read, nothing else.
const EGRESS: &str = r#"package postern.authz

default decision := {"allowed": false, "reason": "this workload does not ask for that"}

decision := {"allowed": true} if {
	input.attributes.source.principal == "spiffe://example.org/client"
	input.attributes.destination.principal == "spiffe://example.org/sidecar"
	input.attributes.request.http.method in {"GET", "DELETE"}
}
"#;

/// The side that asks, for the side that is asked.
fn asking(service: &Scene, protocol: &str) -> Scene {
    let route =
        json!({ "match": { "authorities": ["orders.test"] }, "upstream": "service", "explain": "detail" });
    let scene = Scene::calling(service, protocol, &route);
    scene.write_policy(EGRESS);
    scene
}

fn ask(egress: SocketAddr, method: Method, host: &str) -> Answer {
    let request = Request::builder().method(method).uri("/things/42").header(header::HOST, host);
    call_plain(egress, request.body(Bytes::new()).expect("a request")).expect("an answer")
}

/// The decisions of a log, sorted, as each worker has its own order: who asked, for what, and what came of it.
fn decisions(scene: &Scene) -> Vec<(String, String, String)> {
    let text = records(&scene.audit());
    let all = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let decisions = all.filter(|record| record["kind"] == "decision");
    let member = |record: &Value, name: &str| record[name].as_str().unwrap_or_default().to_owned();
    let mut all: Vec<_> =
        decisions.map(|d| (member(&d, "peer"), member(&d, "method"), member(&d, "decision"))).collect();
    all.sort();
    all
}

#[test]
fn two_applications_that_speak_plain_http_have_mutual_tls_between_them() {
    for protocol in ["http1", "h2"] {
        let service = Scene::new();
        let client = asking(&service, protocol);
        let (serving, calling) = (service.start(), client.start());

        let allowed = ask(client.listener, Method::GET, "orders.test");
        assert_eq!(allowed.status, 200, "{protocol}: {allowed:?}");
        assert_eq!(allowed.json()["path"], "/things/42");
        // The egress policy permits it, that of the service does not; and the other way round.
        let by_service = ask(client.listener, Method::DELETE, "orders.test");
        assert_eq!(
            (by_service.status.as_u16(), &by_service.json()["detail"]),
            (403, &json!("only the client may read"))
        );
        let by_egress = ask(client.listener, Method::POST, "orders.test");
        let words = json!("this workload does not ask for that");
        assert_eq!((by_egress.status.as_u16(), &by_egress.json()["detail"]), (403, &words));
        let elsewhere = ask(client.listener, Method::GET, "elsewhere.test");
        assert_eq!((elsewhere.status.as_u16(), &elsewhere.json()["reason"]), (404, &json!("route.none")));
        assert_eq!(service.upstream.count(), 1);

        serving.stop();
        calling.stop();
        assert_log_is_whole(&service.audit());
        assert_log_is_whole(&client.audit());
        let seen = |method: &str, decision: &str| {
            ("spiffe://example.org/client".to_owned(), method.to_owned(), decision.to_owned())
        };
        assert_eq!(decisions(&service), [seen("DELETE", "deny"), seen("GET", "allow")], "{protocol}");
        let asked =
            [seen("DELETE", "allow"), seen("GET", "allow"), seen("GET", "deny"), seen("POST", "deny")];
        assert_eq!(decisions(&client), asked, "{protocol}");
    }
}

#[test]
fn a_service_that_is_not_there_or_somebody_else_is_named_as_such() {
    let service = Scene::new();
    let mut client = asking(&service, "http1");
    client.config["upstreams"]["service"]["tls"]["mutual"]["spiffe_ids"] =
        json!(["spiffe://example.org/other"]);
    client.write_policy(&EGRESS.replace("/sidecar", "/other"));
    let _calling = client.start();
    let gone = ask(client.listener, Method::GET, "orders.test");
    assert_eq!((gone.status.as_u16(), &gone.json()["reason"]), (503, &json!("upstream.connect_failed")));
    let _serving = service.start();
    let impostor = ask(client.listener, Method::GET, "orders.test");
    assert_eq!((impostor.status.as_u16(), &impostor.json()["reason"]), (503, &json!("upstream.identity")));
    assert_eq!(service.upstream.count(), 0);
    // Beyond loopback nobody is there to ask: an address of the machine is not taken at all.
    client.config["listeners"]["egress"]["outbound"]["address"] = json!("0.0.0.0:15001");
    let arguments = [Path::new("check"), Path::new("-c"), &client.write_config()].map(Path::to_owned);
    let refused = postern_with(&arguments);
    assert!(refused.code != Some(0) && refused.out.contains("not loopback"), "{refused:?}");
}

#[test]
fn a_proxy_client_may_name_the_service_in_the_target() {
    let service = Scene::new();
    let client = asking(&service, "h2");
    let (_serving, _calling) = (service.start(), client.start());
    let mut request = get("http://orders.test/things/7");
    request.headers_mut().insert(header::HOST, "orders.test".parse().expect("a name"));
    let answer = call_plain(client.listener, request).expect("an answer");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["path"], "/things/7");
}

#[test]
fn a_client_that_is_told_of_a_proxy_reaches_a_service_by_its_own_tls() {
    let Some(program) = peer("POSTERN_CURL") else { return };
    let service = Scene::new();
    let mut client = asking(&service, "http1");
    let host = format!("localhost:{}", service.listener.port());
    client.config["upstreams"] =
        json!({ "service": { "endpoints": [service.listener.to_string()], "protocol": "tcp" } });
    let routes = &mut client.config["listeners"]["egress"]["routes"];
    *routes = json!([{ "match": { "authorities": [host] }, "upstream": "service", "upgrades": ["connect"] }]);
    let connects = format!(
        "package postern.authz\ndefault decision := false\ndecision := true if {{\n\tinput.attributes.request.http.method == \"CONNECT\"\n\tinput.attributes.request.http.host == \"{host}\"\n}}\n"
    );
    client.write_policy(&connects);
    let (_serving, calling) = (service.start(), client.start());
    let (certificate, key, _) = service.files("/client");
    let curl = |host: &str| {
        let mut command = Command::new(&program);
        command.args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "", "--proxytunnel"]);
        command.arg("--proxy").arg(format!("http://{}", client.listener));
        command.arg("--cacert").arg(service.path("trust.pem"));
        command.arg("--cert").arg(&certificate).arg("--key").arg(&key);
        command.arg(format!("https://{host}/things/42"));
        run(command, Duration::from_secs(30))
    };
    let answer: Value = serde_json::from_str(&curl(&host).expect_code(0).out).expect("a document");
    assert_eq!(answer["path"], "/things/42");
    let refused = curl("localhost:1");
    assert!(refused.code != Some(0) && refused.err.contains("405"), "{refused:?}");
    calling.stop();
    assert_log_is_whole(&client.audit());
    let decided: Vec<_> =
        decisions(&client).into_iter().map(|(_, method, decision)| (method, decision)).collect();
    let said = |decision: &str| ("CONNECT".to_owned(), decision.to_owned());
    assert_eq!(decided, [said("allow"), said("deny")]);
}

/// A server that greets whoever connects, and says everything back.
fn greeting() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in socket.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                stream.write_all(b"hello").expect("somebody listens");
                let mut copy = stream.try_clone().expect("a copy");
                drop(std::io::copy(&mut stream, &mut copy));
            });
        }
    });
    address
}

#[test]
fn bytes_of_any_protocol_are_carried_between_two_applications_and_decided_on_both_sides() {
    let mut service = Scene::new();
    service.config["listeners"]["app"]["protocol"] = json!("tcp");
    service.config["listeners"]["app"]["routes"] = json!([{ "match": {}, "upstream": "app" }]);
    service.config["upstreams"] =
        json!({ "app": { "endpoints": [greeting().to_string()], "protocol": "tcp" } });
    let connect = EGRESS.replace(
        "input.attributes.request.http.method in {\"GET\", \"DELETE\"}",
        "input.postern.action == \"connect\"",
    );
    service.write_policy(&connect);
    let mut client = asking(&service, "tcp");
    client.config["listeners"]["egress"]["protocol"] = json!("tcp");
    client.config["listeners"]["egress"]["routes"] = json!([{ "match": {}, "upstream": "service" }]);
    client.write_policy(&connect);
    let (serving, calling) = (service.start(), client.start());

    let mut stream = TcpStream::connect(client.listener).expect("the sidecar takes it");
    let mut greeting = [0; 5];
    stream.read_exact(&mut greeting).expect("the server speaks first");
    assert_eq!(&greeting, b"hello");
    let sent: Vec<u8> = (0..4_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut sending = stream.try_clone().expect("a copy");
    let bytes = sent.clone();
    let sender = std::thread::spawn(move || {
        sending.write_all(&bytes).expect("it is taken");
        sending.shutdown(Shutdown::Write).expect("an end");
    });
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).expect("all of it");
    sender.join().expect("it was sent");
    assert!(heard == sent, "{} bytes of {}", heard.len(), sent.len());

    client.write_policy("package postern.authz\ndefault decision := false\n");
    let refused =
        || TcpStream::connect(client.listener).is_ok_and(|mut s| matches!(s.read(&mut [0]), Ok(0) | Err(_)));
    let began = std::time::Instant::now();
    while !refused() {
        assert!(began.elapsed().as_secs() < 20, "the new policy is not in force");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    serving.stop();
    calling.stop();
    assert_log_is_whole(&service.audit());
    assert_log_is_whole(&client.audit());
    let permitted = ("spiffe://example.org/client".to_owned(), "connect".to_owned(), "allow".to_owned());
    assert_eq!(decisions(&service).first(), Some(&permitted));
    assert!(decisions(&client).contains(&permitted));
}

/// What this user is told who asks by the socket, as a status; 0 where it is told nothing.
fn asked_by(uid: u32, socket: &Path, curl: &Path) -> String {
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={uid}"), format!("--regid={uid}"), "--clear-groups".to_owned()]);
    command.arg(curl).args(["--silent", "--max-time", "60", "--output", "/dev/null"]);
    command.args(["--write-out", "%{http_code}", "--unix-socket"]).arg(socket);
    let output = command.arg("http://orders.test/things/42").output().expect("setpriv and curl run");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_unix_socket_lends_the_identity_to_the_users_that_are_named_and_nobody_else() {
    let Some(curl) = peer::peer("POSTERN_CURL") else { return };
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED a_unix_socket_lends_the_identity: only root can call as another user");
        return;
    }
    let service = Scene::new();
    let mut client = asking(&service, "h2");
    let socket = client.path("egress.sock");
    client.config["listeners"]["egress"]["outbound"] =
        json!({ "socket": socket, "mode": "0666", "uids": [4711] });
    fs::set_permissions(client.folder.path(), fs::Permissions::from_mode(0o755)).expect("others may enter");
    let (serving, calling) = (service.start(), client.start());
    assert_eq!(asked_by(4711, &socket, &curl), "200");
    assert_eq!(asked_by(4712, &socket, &curl), "000");
    assert_eq!(asked_by(0, &socket, &curl), "000", "root is not named");
    let refused = "postern_connections_refused_total{listener=\"egress\",reason=\"conn.uid\"";
    assert!((calling.metric(refused) - 2.0).abs() < 0.5);
    assert_eq!(service.upstream.count(), 1);
    serving.stop();
    calling.stop();
    assert!(!socket.exists(), "the socket's file goes with the sidecar");
    assert_log_is_whole(&client.audit());
    let text = records(&client.audit());
    let decisions: Vec<Value> = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|record| record["kind"] == "decision")
        .collect();
    let [decision] = decisions.as_slice() else { panic!("{decisions:?}") };
    assert_eq!(decision["peer"], "spiffe://example.org/client");
    let source = decision["src"].as_str().expect("a source");
    assert!(source.starts_with("unix:uid=4711,pid=") && !source.ends_with("=0"), "{source}");
}
