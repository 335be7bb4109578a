//! How a sidecar goes: it says at once that it goes, finishes what it has begun, inbound before outbound, and leaves a
//! whole log behind.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use postern_tests::caller::{call_plain, get};
use postern_tests::process;
use postern_tests::sidecar::{assert_log_is_whole, records};
use postern_tests::{Held, Scene, Sidecar, Version};
use rustix::process::Signal;
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(30);

/// Lets everybody do everything: who may what is not what these journeys are about.
const ANYTHING: &str = "package postern.authz\n\ndecision := {\"allowed\": true}\n";

/// A scene before a service that answers when it is told to, with a listener for what the workload asks.
fn scene(held: &Held) -> (Scene, SocketAddr) {
    let mut scene = Scene::new();
    let egress = postern_tests::port::free();
    scene.write_policy(ANYTHING);
    scene.config["listeners"]["egress"] = json!({
        "outbound": { "address": egress.to_string() },
        "routes": [{ "match": { "path_prefix": "/" }, "upstream": "others" }],
    });
    scene.config["upstreams"]["others"] = scene.config["upstreams"]["app"].clone();
    scene.config["upstreams"]["app"] = json!({ "endpoints": [held.address().to_string()] });
    scene.config["admin"] = json!({ "socket": scene.path("admin.sock") });
    (scene, egress)
}

/// What ends a sidecar.
#[derive(Clone, Copy, Debug)]
enum By {
    Signal(Signal),
    Admin,
}

impl By {
    fn ask(self, scene: &Scene, sidecar: &Sidecar) {
        match self {
            Self::Signal(signal) => sidecar.running.signal(signal),
            Self::Admin => {
                let answer = admin(&scene.path("admin.sock"), "POST /drain");
                assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("draining"), "{answer}");
            }
        }
    }
}

fn admin(socket: &Path, ask: &str) -> String {
    let mut stream = UnixStream::connect(socket).expect("the admin socket answers");
    let request = format!("{ask} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("the request is taken");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

/// A hundred requests are in progress when the sidecar is asked to go.
fn check(by: By) {
    const STREAMS: usize = 100;
    let held = Held::start();
    let (scene, egress) = scene(&held);
    let mut sidecar = scene.start();
    let (caller, address) = (scene.caller("/client"), scene.listener);
    let calls: Vec<_> = (0..STREAMS)
        .map(|number| {
            let caller = caller.clone();
            let version = if number % 2 == 0 { Version::Http1 } else { Version::Http2 };
            std::thread::spawn(move || caller.get(address, version, "/slow"))
        })
        .collect();
    process::wait("all requests in progress", LIMIT, || (held.taken() == STREAMS).then_some(()));

    by.ask(&scene, &sidecar);
    process::wait("readiness to say so", LIMIT, || (sidecar.ask_status("/readyz").0 == 503).then_some(()));
    process::wait("the end of accepting", LIMIT, || TcpStream::connect(address).is_err().then_some(()));
    let outbound = call_plain(egress, get("/needed")).expect("what the workload asks is still asked");
    assert_eq!(outbound.status, 200, "{by:?}: {outbound:?}");
    held.release();
    for call in calls {
        let answer = call.join().expect("a caller").expect("an answer");
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"done"[..]), "{by:?}");
    }
    let status = sidecar.running.wait_for_end(LIMIT);
    assert_eq!(status.code(), Some(0), "{by:?}: it printed\n{}", sidecar.running.output());
    assert_log_is_whole(&scene.audit());
    let text = records(&scene.audit());
    assert_eq!(text.matches(r#""kind":"stop""#).count(), 1, "{by:?}");
    assert_eq!(text.matches(r#""kind":"outcome""#).count(), STREAMS + 1, "{by:?}");
}

#[test]
fn requests_in_progress_are_answered_and_the_workload_may_ask_others_until_they_are() {
    check(By::Signal(Signal::TERM));
    check(By::Signal(Signal::INT));
    check(By::Admin);
}

#[test]
fn a_second_signal_does_not_wait_and_loses_no_record() {
    let held = Held::start();
    let (scene, _) = scene(&held);
    let mut sidecar = scene.start();
    let (caller, address) = (scene.caller("/client"), scene.listener);
    let call = std::thread::spawn(move || caller.get(address, Version::Http1, "/slow"));
    process::wait("the request in progress", LIMIT, || (held.taken() == 1).then_some(()));
    sidecar.running.signal(Signal::TERM);
    process::wait("the drain", LIMIT, || (sidecar.ask_status("/readyz").0 == 503).then_some(()));
    sidecar.running.signal(Signal::TERM);
    let status = sidecar.running.wait_for_end(Duration::from_secs(10));
    assert_eq!(status.code(), Some(1), "exchanges were given up; it printed\n{}", sidecar.running.output());
    call.join().expect("a caller").expect_err("no answer");
    // What it had filed is in its rings, and the next start writes it.
    let held_again = TcpListener::bind(scene.listener).expect("the port is free");
    drop(held_again);
    scene.start().stop();
    assert_log_is_whole(&scene.audit());
    assert!(records(&scene.audit()).contains(r#""path":"/slow""#));
}
