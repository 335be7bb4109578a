//! nginx and HAProxy as services that are told by the PROXY protocol from whom a connection is, and nginx at a Unix socket.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use postern_tests::caller::get;
use postern_tests::sidecar::assert_log_is_whole;
use postern_tests::{Running, Scene, Version, peer, port};
use serde_json::{Value, json};

const START_LIMIT: Duration = Duration::from_secs(30);

const POLICY: &str = "package postern.authz\ndefault decision := true\n";

/// nginx at a port where it has to be told, and at a Unix socket where it must not be; it says what it was told.
fn nginx(program: &Path, folder: &Path) -> (SocketAddr, Running) {
    let at = port::free();
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary: String =
        kinds.iter().map(|kind| format!("{kind}_temp_path {}/nginx-{kind};\n", folder.display())).collect();
    let text = format!(
        "daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nerror_log stderr error;\n\
         events {{ worker_connections 256; }}\n\
         http {{ access_log off; {temporary}\
         server {{ listen {at} proxy_protocol; listen unix:{folder}/nginx.sock;\n\
         location / {{ return 200 \"$proxy_protocol_addr $proxy_protocol_server_port $http_host\"; }} }} }}\n",
        folder = folder.display(),
    );
    let path = folder.join("nginx.conf");
    fs::write(&path, text).expect("nginx's configuration");
    let mut command = Command::new(program);
    command.arg("-e").arg("stderr").arg("-p").arg(folder).arg("-c").arg(path);
    let mut running = Running::start("nginx", command, folder);
    running.wait_for_port(at, START_LIMIT);
    (at, running)
}

/// HAProxy, which says what it was told, the name that was asked for included.
fn haproxy(program: &Path, folder: &Path) -> (SocketAddr, Running) {
    let at = port::free();
    let text = format!(
        "defaults\n mode http\n timeout client 30s\n timeout connect 30s\n timeout server 30s\n\
         frontend told\n bind {at} accept-proxy\n\
         http-request return status 200 content-type text/plain lf-string \"%[src] %[dst_port] %[fc_pp_authority]\"\n"
    );
    let path = folder.join("haproxy.cfg");
    fs::write(&path, text).expect("HAProxy's configuration");
    let mut command = Command::new(program);
    command.arg("-db").arg("-f").arg(path);
    let mut running = Running::start("haproxy", command, folder);
    running.wait_for_port(at, START_LIMIT);
    (at, running)
}

/// A request through a sidecar with these members of its upstream is answered with this status and text.
fn check(upstream: Value, expected: (u16, &str)) {
    let mut scene = Scene::new();
    scene.config["upstreams"]["app"] = upstream;
    scene.write_policy(POLICY);
    let sidecar = scene.start();
    let caller = scene.caller("/client");
    for version in [Version::Http1, Version::Http2] {
        let answer = caller.call(scene.listener, version, get("/")).expect("an answer");
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let expected = (expected.0, expected.1.replace("PORT", &scene.listener.port().to_string()));
        assert_eq!((answer.status.as_u16(), text.trim().to_owned()), expected, "{}", scene.config);
    }
    sidecar.stop();
    assert_log_is_whole(&scene.audit());
}

#[test]
fn nginx_is_told_from_whom_a_connection_is() {
    let Some(program) = peer("POSTERN_NGINX") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (at, _nginx) = nginx(&program, folder.path());
    for version in ["v1", "v2"] {
        let upstream = json!({ "endpoints": [at.to_string()], "proxy_protocol": version });
        check(upstream, (200, "127.0.0.1 PORT localhost"));
    }
}

#[test]
fn haproxy_is_told_from_whom_a_connection_is_and_what_name_it_asked_for() {
    let Some(program) = peer("POSTERN_HAPROXY") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (at, _haproxy) = haproxy(&program, folder.path());
    for (version, told) in [("v1", "127.0.0.1 PORT"), ("v2", "127.0.0.1 PORT localhost")] {
        let health = json!({ "probe": { "http": { "path": "/" } }, "interval": "1s" });
        let upstream = json!({ "endpoints": [at.to_string()], "proxy_protocol": version, "health": health });
        check(upstream, (200, told));
    }
}

#[test]
fn nginx_is_reached_at_a_unix_socket() {
    let Some(program) = peer("POSTERN_NGINX") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (_, _nginx) = nginx(&program, folder.path());
    let socket = format!("unix://{}/nginx.sock", folder.path().display());
    let uid = rustix::process::geteuid().as_raw();
    check(json!({ "endpoints": [socket], "uids": [uid] }), (200, "localhost"));
}
