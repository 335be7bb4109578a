//! One port for callers that prove who they are and for those that cannot yet: policy tells them apart, the operator sees
//! who the latter are, and their time ends by the clock or by a reload, at no cost to the others.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use postern_tests::caller::{call_plain, get};
use postern_tests::sidecar::{assert_log_is_whole, postern_with, records};
use postern_tests::{Scene, Version, peer, process, run};
use serde_json::{Value, json};
use time::OffsetDateTime;

const LIMIT: Duration = Duration::from_secs(30);

/// `/client` may read anything, and whoever comes in plain text may ask for our health.
const POLICY: &str = r#"package postern.authz

default decision := {"allowed": false, "reason": "not you"}

decision := {"allowed": true} if input.attributes.source.principal == "spiffe://example.org/client"

decision := {"allowed": true} if {
	input.postern.tls == "none"
	input.attributes.request.http.method == "GET"
	input.attributes.request.http.path == "/health"
}
"#;

/// So many seconds from now, as the configuration has it.
fn in_s(seconds: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
    let now = i64::try_from(now).expect("a time");
    let at = OffsetDateTime::from_unix_timestamp(now + seconds).expect("a time");
    let (date, month) = (at.date(), u8::from(at.month()));
    format!(
        "{}-{month:02}-{:02}T{:02}:{:02}:{:02}Z",
        date.year(),
        date.day(),
        at.hour(),
        at.minute(),
        at.second()
    )
}

fn scene() -> Scene {
    let mut scene = Scene::new();
    scene.write_policy(POLICY);
    scene.config["admin"] = json!({ "socket": scene.path("admin.sock") });
    permit(&mut scene.config, &in_s(30 * 86_400));
    scene
}

/// Has the listener take plain text until then.
fn permit(config: &mut Value, until: &str) {
    config["listeners"]["app"]["inbound"]["tls"]["mutual"]["permissive"] = json!({ "until": until });
}

/// Has the listener take none.
fn forbid(config: &mut Value) {
    let mutual = &mut config["listeners"]["app"]["inbound"]["tls"]["mutual"];
    mutual.as_object_mut().expect("a map").remove("permissive");
}

/// What the admin socket answers.
fn ask_admin(scene: &Scene, request: &str) -> String {
    let mut admin = std::os::unix::net::UnixStream::connect(scene.path("admin.sock")).expect("it answers");
    admin.write_all(format!("{request} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).expect("it is taken");
    let mut answer = String::new();
    admin.read_to_string(&mut answer).expect("an answer");
    answer
}

fn reload(scene: &Scene) {
    scene.write_config();
    let answer = ask_admin(scene, "POST /reload");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

/// What `GET /status` says of those who come in plain text.
fn plaintext(scene: &Scene) -> Value {
    let answer = ask_admin(scene, "GET /status");
    let body = answer.split_once("\r\n\r\n").expect("a body").1;
    serde_json::from_str::<Value>(body).expect("JSON")["plaintext"].take()
}

/// The status of an answer to curl, with these options and this scheme.
fn curl(program: &Path, scene: &Scene, options: &[&str], url: &str) -> String {
    let mut command = Command::new(program);
    command.args(["--silent", "--show-error", "--max-time", "20", "--output", "/dev/null"]);
    command.args(["--write-out", "%{http_version} %{http_code}"]).args(options);
    let port = scene.listener.port();
    command.arg(url.replace("PORT", &port.to_string()));
    run(command, LIMIT).expect_code(0).out
}

#[test]
fn policy_lets_callers_in_plain_text_in_for_one_path_beside_those_by_tls() {
    let Some(program) = peer("POSTERN_CURL") else { return };
    let scene = scene();
    let sidecar = scene.start();
    let (certificate, key, roots) = scene.files("/client");
    let (certificate, key, roots) =
        (certificate.display().to_string(), key.display().to_string(), roots.display().to_string());
    let proven = ["--cacert", roots.as_str(), "--cert", certificate.as_str(), "--key", key.as_str()];
    let (open, closed) = ("http://localhost:PORT/health", "http://localhost:PORT/things");
    for (options, url, expected) in [
        (&["--http1.1"][..], open, "1.1 200"),
        (&["--http1.1"], closed, "1.1 403"),
        (&["--http2-prior-knowledge"], open, "2 200"),
        (&["--http2-prior-knowledge"], closed, "2 403"),
        (&proven, "https://localhost:PORT/things", "2 200"),
    ] {
        assert_eq!(curl(&program, &scene, options, url), expected, "{options:?} {url}");
    }
    let told = plaintext(&scene);
    assert_eq!((&told[0]["listener"], &told[0]["connections"]), (&json!("app"), &json!(4)), "{told}");
    assert_eq!(told[0]["callers"][0]["address"], "127.0.0.1", "{told}");
    assert_eq!(told[0]["callers"][0]["last_unix_s"], told[0]["last_unix_s"], "{told}");
    assert!(told[0]["last_unix_s"].is_u64() && told[0]["until_unix_s"].is_u64(), "{told}");
    let remark = sidecar.check("exceptions").1;
    assert!(remark.contains("listener `app` takes plain text until "), "{remark}");
    assert_eq!(sidecar.metric("postern_plaintext_connections_total{listener=\"app\"}"), 4.0);
    sidecar.stop();
    assert_log_is_whole(&scene.audit());
    let records = records(&scene.audit());
    assert_eq!(records.matches("\"tls\":\"none\"").count(), 4, "{records}");
    assert_eq!(records.matches("\"peer\":\"spiffe://example.org/client\"").count(), 1, "{records}");
}

/// Whether the sidecar answers in plain text at all.
fn answers_plaintext(address: SocketAddr) -> bool {
    call_plain(address, get("/health")).is_ok_and(|answer| answer.status == 200)
}

/// One request more on a connection that is open.
fn ask(stream: &mut (impl Read + Write)) -> String {
    stream.write_all(b"GET /things HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("it is taken");
    let (mut answer, mut buffer) = (String::new(), [0; 4096]);
    let is_whole = |answer: &str| {
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
        (body.len() >= length.parse().expect("a length")).then_some(())
    };
    while is_whole(&answer).is_none() {
        let read = stream.read(&mut buffer).expect("an answer");
        assert_ne!(read, 0, "the connection ended: {answer}");
        answer.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    answer
}

#[test]
fn the_time_for_plain_text_ends_by_the_clock_and_by_a_reload_and_callers_by_tls_keep_their_connections() {
    let mut scene = scene();
    let sidecar = scene.start();
    let mut proven = scene.caller("/client").open(scene.listener, Version::Http1).expect("a connection");
    assert!(ask(&mut proven).starts_with("HTTP/1.1 200 "));
    assert!(answers_plaintext(scene.listener));

    permit(&mut scene.config, &in_s(4));
    reload(&scene);
    let refused = || (!answers_plaintext(scene.listener)).then_some(());
    process::wait("the end of plain text by the clock", LIMIT, refused);
    let reason = "postern_connections_refused_total{listener=\"app\",reason=\"tls.plaintext_refused\"}";
    assert!(sidecar.metric(reason) >= 1.0);
    assert!(ask(&mut proven).starts_with("HTTP/1.1 200 "));

    permit(&mut scene.config, &in_s(86_400));
    reload(&scene);
    assert!(answers_plaintext(scene.listener), "another end is in force at once");
    forbid(&mut scene.config);
    reload(&scene);
    assert!(!answers_plaintext(scene.listener));
    assert_eq!(plaintext(&scene)[0]["until_unix_s"], Value::Null);
    assert!(ask(&mut proven).starts_with("HTTP/1.1 200 "), "the connection is the one from the beginning");
    let answer = scene.caller("/client").get(scene.listener, postern_tests::Version::Http2, "/things");
    assert_eq!(answer.expect("an answer").status, 200);
    drop(proven);
    sidecar.stop();
    assert_log_is_whole(&scene.audit());
    let records = records(&scene.audit());
    assert!(records.contains("\"reason\":\"tls.plaintext_refused\"") && records.contains("tls.not_tls"));
}

#[test]
fn a_check_of_the_configuration_tells_until_when_plain_text_is_taken() {
    let mut scene = scene();
    let told = |scene: &Scene| {
        let arguments = [Path::new("check"), Path::new("-c"), &scene.write_config()];
        postern_with(&arguments).expect_code(0).out
    };
    let soon = told(&scene);
    assert!(
        soon.contains("from callers who have proven nothing") && soon.contains("OPEN in plain text"),
        "{soon}"
    );
    permit(&mut scene.config, &in_s(-5));
    assert!(told(&scene).contains("the time for plain text was over at "));
    permit(&mut scene.config, "2999-01-01");
    assert!(told(&scene).contains("more than a year from now"));
    permit(&mut scene.config, "tomorrow");
    let arguments = [Path::new("check"), Path::new("-c"), &scene.write_config()];
    let refused = postern_with(&arguments).expect_code(1).out;
    assert!(refused.contains("`tomorrow` is no date"), "{refused}");
}
