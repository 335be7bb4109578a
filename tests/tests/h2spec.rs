//! What HTTP/2 demands of a server, by h2spec: of a listener for other workloads, through a relay that has an identity to
//! present, which h2spec has not; and of one for the local workload, in plain text.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, thread};

use postern_tests::process::run;
use postern_tests::{Authority, Caller, Scene, Version, peer};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Longest time for all cases together.
const LIMIT: Duration = Duration::from_secs(300);

/// Seconds that h2spec waits for an answer. A case that wants a connection to end waits that long at most, so a machine that
/// is busy with other tests has to be waited for.
const ANSWER_S: &str = "5";

/// Lets everybody of the trust domain do anything: it is the protocol that is looked at.
const OPEN: &str = "package postern.authz\n\ndecision := {\"allowed\": true}\n";

/// What is not done, and why not.
type Misses = &'static [(&'static str, &'static str, &'static str)];

const IN_PLAIN_TEXT: Misses = &[(
    "http2/3.5",
    "Sends invalid connection preface",
    "nothing was negotiated, so what is no preface is HTTP/1.1, and is answered in it before the connection ends",
)];

/// Takes TLS from anybody, speaks to the sidecar as `caller`, and carries bytes both ways.
fn relay(authority: &Authority, caller: Caller, to: SocketAddr) -> SocketAddr {
    let identity = authority.issue("/relay");
    let chain = CertificateDer::pem_slice_iter(identity.certificate_pem.as_bytes());
    let chain = chain.collect::<Result<Vec<_>, _>>().expect("a chain");
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut tls = tls.expect("versions").with_no_client_auth().with_single_cert(chain, key).expect("a match");
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    socket.set_nonblocking(true).expect("a socket");
    let at = socket.local_addr().expect("an address");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    // The thread ends with the test's process.
    thread::spawn(move || {
        runtime.block_on(async move {
            let socket = TcpListener::from_std(socket).expect("a socket");
            while let Ok((stream, _)) = socket.accept().await {
                tokio::spawn(carry(acceptor.clone(), stream, caller.clone(), to));
            }
        });
    });
    at
}

async fn carry(acceptor: TlsAcceptor, stream: TcpStream, caller: Caller, to: SocketAddr) {
    let Ok(mut near) = acceptor.accept(stream).await else { return };
    let Ok(mut far) = caller.secured(to, Some(Version::Http2)).await else { return };
    drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
}

/// Runs all cases: every one passes, but the misses, which do not.
fn check(program: &Path, folder: &Path, (at, more): (SocketAddr, &[&str]), misses: Misses) {
    let report = folder.join("h2spec.xml");
    let mut command = Command::new(program);
    command.args(["--strict", "--host", "127.0.0.1", "--path", "/x", "--timeout", ANSWER_S]).args(more);
    command.arg("--port").arg(at.port().to_string()).arg("--junit-report").arg(&report);
    let output = run(command, LIMIT);
    let report = fs::read_to_string(&report).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let cases: Vec<(String, String, bool)> = report.split("<testcase ").skip(1).map(case).collect();
    assert!(cases.len() >= 140, "{} cases: {output:?}", cases.len());
    let failed: Vec<_> =
        cases.iter().filter(|case| !case.2).map(|case| (case.0.as_str(), case.1.as_str())).collect();
    let known: Vec<_> = misses.iter().map(|(section, case, _)| (*section, *case)).collect();
    assert_eq!(failed, known, "{output:?}");
}

/// The section, the title and whether it passed.
fn case(text: &str) -> (String, String, bool) {
    let attribute = |name: &str| {
        let rest = text.split_once(&format!("{name}=\"")).map_or("", |(_, rest)| rest);
        rest.split('"').next().unwrap_or_default().replace("&#34;", "\"").replace("&#39;", "'")
    };
    let text = text.split("</testcase>").next().unwrap_or_default();
    (attribute("package"), attribute("classname"), !text.contains("<failure") && !text.contains("<error"))
}

#[test]
fn a_listener_for_other_workloads_does_what_http2_demands() {
    let Some(program) = peer("POSTERN_H2SPEC") else { return };
    let scene = Scene::new();
    scene.write_policy(OPEN);
    let sidecar = scene.start();
    let at = relay(&scene.authority, scene.caller("/client"), scene.listener);
    check(&program, scene.folder.path(), (at, &["--tls", "--insecure"]), &[]);
    sidecar.stop();
}

#[test]
fn a_listener_for_the_local_workload_does_what_http2_demands() {
    let Some(program) = peer("POSTERN_H2SPEC") else { return };
    let mut scene = Scene::new();
    scene.write_policy(OPEN);
    scene.config["listeners"] = json!({ "egress": {
        "outbound": { "address": scene.listener.to_string() },
        "routes": [{ "match": { "path_prefix": "/" }, "upstream": "app" }],
    } });
    let sidecar = scene.start();
    check(&program, scene.folder.path(), (scene.listener, &[]), IN_PLAIN_TEXT);
    sidecar.stop();
}
