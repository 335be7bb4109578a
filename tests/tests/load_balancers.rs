//! HAProxy, nginx and Envoy before the sidecar: as a load balancer that passes mutual TLS through and says by the PROXY protocol
//! who calls, and as a caller with an identity of its own; and HAProxy behind it, as the service.

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use postern_tests::caller::{call_plain, get};
use postern_tests::envoy::{self, Envoy};
use postern_tests::load::Pressure;
use postern_tests::process::wait;
use postern_tests::sidecar::{assert_log_is_whole, records};
use postern_tests::{Load, Running, Scene, Sidecar, Version, peer, port};
use rustix::process::Signal;
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(30);

/// Checked often, so that a journey is short; believed at once.
const CHECK: &str = "inter 100ms fall 1 rise 1";

/// Lets everybody do everything: who may what is not what these journeys are about.
const ANYTHING: &str = "package postern.authz\n\ndecision := {\"allowed\": true}\n";

/// HAProxy with these sections.
fn haproxy(program: &Path, folder: &Path, at: SocketAddr, sections: &str) -> Running {
    let text = format!(
        "global\n nbthread 1\n maxconn 256\n stats socket {folder}/haproxy-{port}.sock\ndefaults\n \
         timeout connect 2s\n timeout client 20s\n timeout server 20s\n timeout http-request 20s\n \
         retries 3\n option redispatch 1\n{sections}",
        folder = folder.display(),
        port = at.port(),
    );
    let path = folder.join(format!("haproxy-{}.cfg", at.port()));
    fs::write(&path, text).expect("HAProxy's configuration");
    let mut command = Command::new(program);
    command.arg("-db").arg("-f").arg(path);
    let mut running = Running::start(&format!("haproxy-{}", at.port()), command, folder);
    running.wait_for_port(at, LIMIT);
    running
}

/// nginx with these parts of `http`.
fn nginx(program: &Path, folder: &Path, at: SocketAddr, parts: &str) -> Running {
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary: String =
        kinds.iter().map(|kind| format!("{kind}_temp_path {}/nginx-{kind};\n", folder.display())).collect();
    let text = format!(
        "daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nerror_log stderr error;\n\
         events {{ worker_connections 256; }}\n\
         http {{ access_log off; keepalive_requests 100000;\n{temporary}{parts}}}\n",
        folder = folder.display(),
    );
    let path = folder.join("nginx.conf");
    fs::write(&path, text).expect("nginx's configuration");
    let mut command = Command::new(program);
    command.arg("-e").arg("stderr").arg("-p").arg(folder).arg("-c").arg(path);
    let mut running = Running::start("nginx", command, folder);
    running.wait_for_port(at, LIMIT);
    running
}

/// The certificate and key of `spiffe://example.org<path>` in one file, as HAProxy wants them.
fn pair(scene: &Scene, path: &str) -> PathBuf {
    let identity = scene.authority.issue(path);
    let file = scene.path(&format!("{}-pair.pem", path.trim_start_matches('/')));
    fs::write(&file, identity.certificate_pem + &identity.key_pem).expect("the pair is written");
    file
}

/// How HAProxy proves itself to a server, and proves the server.
fn originated(scene: &Scene, alpn: &str) -> String {
    format!(
        "ssl crt {} ca-file {} verify required sni str(localhost) verifyhost localhost alpn {alpn}",
        pair(scene, "/client").display(),
        scene.path("trust.pem").display(),
    )
}

/// Who asks the status ports of servers, and tells what it was told.
#[derive(Clone, Copy, Debug)]
enum Checks {
    Haproxy,
    Envoy,
    /// It learns from what it is answered.
    Nobody,
}

/// What is said at a Unix socket of the scene.
fn said(scene: &Scene, socket: &str, ask: &str) -> Option<String> {
    let mut stream = std::os::unix::net::UnixStream::connect(scene.path(socket)).ok()?;
    stream.write_all(ask.as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

/// Waits until the balancer at this port says of all servers that they are up or not: by their names, and where they listen.
fn wait_for_servers(scene: &Scene, checks: Checks, at: SocketAddr, servers: &[(&str, &Scene, bool)]) {
    let port = at.port();
    wait("what the status ports say", LIMIT, || match checks {
        Checks::Nobody => Some(()),
        Checks::Haproxy => {
            let text = said(scene, &format!("haproxy-{port}.sock"), "show stat\n")?;
            let is = |(name, _, up): &(&str, &Scene, bool)| {
                let line = text.lines().find(|line| line.split(',').nth(1) == Some(*name));
                line.and_then(|line| line.split(',').nth(17)) == Some(if *up { "UP" } else { "DOWN" })
            };
            servers.iter().all(is).then_some(())
        }
        Checks::Envoy => {
            let ask = "GET /clusters HTTP/1.1\r\nhost: envoy\r\nconnection: close\r\n\r\n";
            let text = said(scene, &format!("envoy-{port}.sock"), ask)?;
            let is = |(_, of, up): &(&str, &Scene, bool)| {
                let flags = format!("onward::{}::health_flags::", of.listener);
                let line = text.lines().find_map(|line| line.trim_end().strip_prefix(flags.as_str()));
                line.is_some_and(|flags| (flags == "healthy") == *up)
            };
            servers.iter().all(is).then_some(())
        }
    });
}

#[test]
fn a_load_balancer_that_passes_tls_through_says_who_calls() {
    let Some(program) = peer("POSTERN_HAPROXY") else { return };
    let mut scene = Scene::new();
    scene.config["listeners"]["app"]["inbound"]["proxy_protocol"] = json!({ "from": ["127.0.0.1"] });
    let sidecar = scene.start();
    let at = port::free();
    let sections = format!(
        "listen in\n mode tcp\n bind {at}\n option httpchk GET /readyz\n \
         server one {} send-proxy-v2 check port {} {CHECK}\n",
        scene.listener,
        scene.status.port(),
    );
    let _haproxy = haproxy(&program, scene.folder.path(), at, &sections);
    wait_for_servers(&scene, Checks::Haproxy, at, &[("one", &scene, true)]);
    let mut stream =
        scene.caller("/client").open(at, Version::Http1).expect("a connection through the balancer");
    let source = stream.sock.local_addr().expect("an address");
    stream
        .write_all(b"GET /balanced HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .expect("sent");
    let mut answer = String::new();
    drop(stream.read_to_string(&mut answer));
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let over_http2 = scene.caller("/client").get(at, Version::Http2, "/things").expect("an answer");
    assert_eq!(over_http2.status, 200);
    // Who comes past the balancer says nothing of whom it is for, and is refused.
    scene.caller("/client").get(scene.listener, Version::Http1, "/past").expect_err("no answer");
    sidecar.stop();
    assert_log_is_whole(&scene.audit());
    let text = records(&scene.audit());
    let record = text.lines().find(|line| line.contains("\"path\":\"/balanced\"")).expect("its decision");
    let record: Value = serde_json::from_str(record).expect("JSON");
    assert_eq!(record["src"], json!(source.to_string()), "{record}");
    assert_eq!(record["peer"], json!("spiffe://example.org/client"), "{record}");
    assert!(text.contains("conn.proxy_protocol"), "{text}");
    assert!(!text.contains("/past"), "{text}");
}

/// Asks through somebody who calls for us, and is judged as himself.
fn check_calling(scene: &Scene, at: SocketAddr, what: &str) {
    for number in 0..20 {
        let path = format!("/things/{number}");
        let answer = call_plain(at, get(&path)).expect("an answer");
        assert_eq!(answer.status, 200, "{what}: {answer:?}");
        assert_eq!(answer.json()["path"], json!(path), "{what}");
        assert_eq!(answer.decision_id().len(), 26, "{what}: {answer:?}");
    }
    let before = scene.upstream.count();
    let ask = Request::builder().method(Method::POST).uri("/things").body(Bytes::from_static(b"{}"));
    let denied = call_plain(at, ask.expect("a request")).expect("an answer");
    assert_eq!((denied.status.as_u16(), &denied.json()["reason"]), (403, &json!("policy.denied")), "{what}");
    assert_eq!(scene.upstream.count(), before, "{what}");
}

#[test]
fn haproxy_with_an_identity_calls_over_either_version() {
    let Some(program) = peer("POSTERN_HAPROXY") else { return };
    let scene = Scene::new();
    let sidecar = scene.start();
    for alpn in ["h2", "h2,http/1.1", "http/1.1"] {
        let at = port::free();
        let sections = format!(
            "listen in\n mode http\n bind {at}\n http-reuse always\n option httpchk GET /readyz\n \
             server one {} {} check port {} {CHECK}\n",
            scene.listener,
            originated(&scene, alpn),
            scene.status.port(),
        );
        let _haproxy = haproxy(&program, scene.folder.path(), at, &sections);
        wait_for_servers(&scene, Checks::Haproxy, at, &[("one", &scene, true)]);
        check_calling(&scene, at, alpn);
    }
    sidecar.stop();
    assert_log_is_whole(&scene.audit());
}

/// How nginx proves itself to the servers of `sidecars`, and proves these.
fn nginx_parts(scene: &Scene, listen: &str, servers: &[SocketAddr]) -> String {
    let (certificate, key, trust) = scene.files("/client");
    // It asks no status port: it learns that one is not ready by its 503, and is to leave none that refused a connection
    // alone for ten seconds.
    let servers: String = servers.iter().map(|server| format!("server {server} max_fails=0;")).collect();
    format!(
        "upstream sidecars {{ {servers} keepalive 8; }}\nserver {{ {listen} location / {{\n\
         proxy_pass https://sidecars; proxy_http_version 1.1; proxy_next_upstream error timeout http_503; proxy_set_header Connection \"\";\n\
         proxy_ssl_certificate {}; proxy_ssl_certificate_key {}; proxy_ssl_trusted_certificate {};\n\
         proxy_ssl_protocols TLSv1.3; proxy_ssl_verify on; proxy_ssl_name localhost; proxy_ssl_server_name on; }} }}\n",
        certificate.display(),
        key.display(),
        trust.display(),
    )
}

#[test]
fn nginx_with_an_identity_calls() {
    let Some(program) = peer("POSTERN_NGINX") else { return };
    let scene = Scene::new();
    let sidecar = scene.start();
    let at = port::free();
    let parts = nginx_parts(&scene, &format!("listen {at};"), &[scene.listener]);
    let _nginx = nginx(&program, scene.folder.path(), at, &parts);
    check_calling(&scene, at, "nginx");
    sidecar.stop();
    assert_log_is_whole(&scene.audit());
}

/// HAProxy as the service; it says who called it, where it asked for a certificate.
fn check_behind(program: &Path, bind: &str, more: &Value, called_by: &str) {
    let mut scene = Scene::new();
    let at = port::free();
    let tls = format!(
        "ssl crt {} ca-file {} verify required",
        pair(&scene, "/haproxy").display(),
        scene.path("trust.pem").display()
    );
    let sections = format!(
        "frontend service\n mode http\n bind {at} {}\n http-request set-header x-called-by %[ssl_c_s_dn(CN)]\n \
         default_backend app\nbackend app\n mode http\n server app {}\n",
        bind.replace("TLS", &tls),
        scene.upstream.address(),
    );
    let _haproxy = haproxy(program, scene.folder.path(), at, &sections);
    let mut upstream = more.clone();
    upstream["endpoints"] = json!([at.to_string()]);
    scene.config["upstreams"]["app"] = upstream;
    scene.write_policy(ANYTHING);
    let sidecar = scene.start();
    let caller = scene.caller("/client");
    let body = Bytes::from(vec![b'x'; 300_000]);
    for version in [Version::Http1, Version::Http2] {
        for number in 0..20 {
            let path = format!("/things/{number}");
            let answer = caller.get(scene.listener, version, &path).expect("an answer");
            let said = answer.json();
            assert_eq!((answer.status.as_u16(), &said["path"]), (200, &json!(path)), "{bind}: {answer:?}");
            let caller = said["headers"]["x-called-by"][0].as_str().unwrap_or_default();
            assert_eq!(caller, called_by, "{bind}: {said}");
        }
        let ask = Request::builder().method(Method::POST).uri("/upload").body(body.clone());
        let answer = caller.call(scene.listener, version, ask.expect("a request")).expect("an answer");
        let length = answer.json()["body"].as_str().map(str::len);
        assert_eq!((answer.status.as_u16(), length), (200, Some(body.len())), "{bind} {version:?}");
    }
    sidecar.stop();
    assert_log_is_whole(&scene.audit());
}

#[test]
fn haproxy_is_a_service_over_either_version_with_and_without_tls() {
    let Some(program) = peer("POSTERN_HAPROXY") else { return };
    let mutual = json!({ "mutual": { "spiffe_ids": ["spiffe://example.org/haproxy"] } });
    let us = "spiffe://example.org/sidecar";
    check_behind(&program, "", &json!({}), "");
    check_behind(&program, "proto h2", &json!({ "protocol": "h2c" }), "");
    check_behind(&program, "TLS alpn http/1.1", &json!({ "tls": mutual }), us);
    check_behind(&program, "TLS alpn h2", &json!({ "protocol": "h2", "tls": mutual }), us);
}

/// A second sidecar of the same trust domain, before the same service.
fn another(scene: &Scene) -> Scene {
    let mut other = Scene::new();
    scene.authority.issue("/sidecar").write(other.folder.path(), "sidecar");
    fs::write(other.path("trust.pem"), scene.authority.bundle_pem()).expect("the bundle is written");
    other.config["upstreams"] = scene.config["upstreams"].clone();
    other
}

/// One of two sidecars drains, comes back, and the other one drains, all under load, by way of whom `start` starts. Nobody
/// who asks notices.
fn check_drain(
    start: impl FnOnce(&Scene, SocketAddr, [&Scene; 2]) -> Running,
    version: Version,
    checks: Checks,
) {
    let one = Scene::new();
    one.write_policy(ANYTHING);
    let two = another(&one);
    two.write_policy(ANYTHING);
    let mut running: [Sidecar; 2] = [one.start(), two.start()];
    let at = port::free();
    let _before = start(&one, at, [&one, &two]);
    let servers = |up: [bool; 2]| {
        wait_for_servers(&one, checks, at, &[("one", &one, up[0]), ("two", &two, up[1])]);
    };
    servers([true, true]);
    let pressure = Pressure { callers: 4, pause: Duration::from_millis(2), version };
    let load = Load::start(&one.caller("/client"), at, "/things", pressure);
    load.wait_for_answers(50, LIMIT);
    for (index, scene, up) in [(0, &one, [false, true]), (1, &two, [true, false])] {
        let sidecar = &mut running[index];
        sidecar.running.signal(Signal::TERM);
        load.wait_for_answers(50, LIMIT);
        assert_eq!(sidecar.running.wait_for_end(LIMIT).code(), Some(0), "{}", sidecar.running.output());
        servers(up);
        load.wait_for_answers(50, LIMIT);
        running[index] = scene.start();
        servers([true, true]);
        wait("its part of the load", LIMIT, || {
            (running[index].metric("postern_exchanges_total") > 0.0).then_some(())
        });
        load.wait_for_answers(50, LIMIT);
    }
    let report = load.stop();
    let first = report.failures.first();
    assert!(
        report.failures.is_empty(),
        "{} of {} lost, first {first:?}",
        report.failures.len(),
        report.answers.len()
    );
    let bad = report.answers.iter().find(|answer| answer.status != 200);
    assert!(bad.is_none(), "{bad:?}");
    for (sidecar, scene) in running.into_iter().zip([&one, &two]) {
        sidecar.stop();
        assert_log_is_whole(&scene.audit());
    }
}

/// Both sidecars behind HAProxy, which asks their status ports how they are.
fn balanced(program: &Path, scene: &Scene, at: SocketAddr, how: (&str, &str), all: [&Scene; 2]) -> Running {
    let (front, server) = how;
    let servers: String = ["one", "two"]
        .iter()
        .zip(all)
        .map(|(name, of)| {
            format!(" server {name} {} {server} check port {} {CHECK}\n", of.listener, of.status.port())
        })
        .collect();
    let sections =
        format!("listen in\n bind {at} {front}\n balance roundrobin\n option httpchk GET /readyz\n{servers}");
    haproxy(program, scene.folder.path(), at, &sections)
}

#[test]
fn a_drain_behind_a_balancer_that_passes_tls_through_loses_nothing() {
    let Some(program) = peer("POSTERN_HAPROXY") else { return };
    for version in [Version::Http1, Version::Http2] {
        check_drain(
            |scene, at, all| balanced(&program, scene, at, ("\n mode tcp", ""), all),
            version,
            Checks::Haproxy,
        );
    }
}

#[test]
fn a_drain_behind_haproxy_that_calls_loses_nothing() {
    let Some(program) = peer("POSTERN_HAPROXY") else { return };
    for (alpn, version) in [("h2", Version::Http2), ("http/1.1", Version::Http1)] {
        check_drain(
            |scene, at, all| {
                let front =
                    format!("ssl crt {} alpn h2,http/1.1\n mode http", pair(scene, "/haproxy").display());
                balanced(&program, scene, at, (&front, &originated(scene, alpn)), all)
            },
            version,
            Checks::Haproxy,
        );
    }
}

#[test]
fn a_drain_behind_nginx_loses_nothing() {
    let Some(program) = peer("POSTERN_NGINX") else { return };
    check_drain(
        |scene, at, all| {
            let (certificate, key, _) = scene.files("/nginx");
            let listen = format!(
                "listen {at} ssl; ssl_protocols TLSv1.3; ssl_certificate {}; ssl_certificate_key {};",
                certificate.display(),
                key.display()
            );
            nginx(
                &program,
                scene.folder.path(),
                at,
                &nginx_parts(scene, &listen, &all.map(|one| one.listener)),
            )
        },
        Version::Http1,
        Checks::Nobody,
    );
}

/// Both sidecars behind Envoy, which knows them by their SPIFFE ID and asks their status ports, in plaintext, how they are.
fn enveloped(scene: &Scene, at: SocketAddr, all: [&Scene; 2], http2: bool) -> Running {
    let pair = |path: &str| {
        let (certificate, key, _) = scene.files(path);
        json!([{ "certificate_chain": { "filename": certificate }, "private_key": { "filename": key } }])
    };
    let sidecar = json!({ "san_type": "URI", "matcher": { "exact": "spiffe://example.org/sidecar" } });
    let tls = json!({ "sni": "localhost", "common_tls_context": {
        "tls_params": { "tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3" },
        "tls_certificates": pair("/client"),
        "validation_context": {
            "trusted_ca": { "filename": scene.path("trust.pem") },
            "match_typed_subject_alt_names": [sidecar],
        },
    } });
    let mut onward = envoy::cluster("onward", &envoy::address(all[0].listener), http2, Some(tls));
    let endpoint = |of: &Scene| {
        let checked = json!({ "port_value": of.status.port() });
        json!({ "endpoint": { "address": envoy::address(of.listener), "health_check_config": checked } })
    };
    onward["load_assignment"]["endpoints"] = json!([{ "lb_endpoints": all.map(endpoint) }]);
    // Not more than three at a time would be tried again otherwise, and more callers wait for one connection.
    onward["circuit_breakers"] = json!({ "thresholds": [{ "max_retries": 64 }] });
    let plain = "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer";
    onward["transport_socket_matches"] = json!([
        { "name": "checks", "match": { "checks": true }, "transport_socket": {
            "name": "plain", "typed_config": { "@type": plain } } },
    ]);
    onward["health_checks"] = json!([{
        "timeout": "1s", "interval": "0.1s", "no_traffic_interval": "0.1s",
        "unhealthy_threshold": 1, "healthy_threshold": 1,
        "http_health_check": { "path": "/readyz" },
        "transport_socket_match_criteria": { "checks": true },
    }]);
    let secured = json!({ "common_tls_context": {
        "alpn_protocols": ["h2", "http/1.1"], "tls_certificates": pair("/envoy") } });
    let envoy = Envoy { at, secured: Some(secured), onward, more: vec![], filters: vec![] };
    envoy.start(scene.folder.path()).expect("there is one")
}

#[test]
fn a_drain_behind_envoy_loses_nothing() {
    if peer("POSTERN_ENVOY").is_none() {
        return;
    }
    for version in [Version::Http2, Version::Http1] {
        let http2 = matches!(version, Version::Http2);
        check_drain(|scene, at, all| enveloped(scene, at, all, http2), version, Checks::Envoy);
    }
}
