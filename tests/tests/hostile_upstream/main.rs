//! A service that answers with what is no answer: the caller is told that the upstream is to blame, or has its answer cut
//! where that had begun; nothing of it reaches the next caller, and what it costs is bounded.

mod http1;
mod http2;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use postern_tests::sidecar::assert_log_is_whole;
use postern_tests::{Answer, Caller, Scene, Sidecar, Version};
use serde_json::json;

/// What the caller is to see.
#[derive(Clone, Copy, Debug)]
pub enum Expected {
    /// An answer of ours with this reason.
    Refused(&'static str),
    /// No whole answer, as what there was of it had been on its way already.
    Cut,
    /// An answer of the service with this status and body.
    Passed(u16, &'static str),
}

/// What the sidecar may take while the worst is said to it.
const GROWTH_KIB_MAX: usize = 48 << 10;

/// What the upstream and the test tell each other.
#[derive(Debug, Default)]
pub struct Script {
    /// The case whose answer is due; `None` when a good one is.
    pub due: Mutex<Option<usize>>,
    /// Cases after whose answer something more came on the same connection.
    pub reused: Mutex<Vec<usize>>,
    pub connections: AtomicUsize,
}

impl Script {
    pub fn due(&self) -> Option<usize> {
        *self.due.lock().expect("nobody panicked")
    }
}

/// One upstream that says what is due.
#[derive(Debug)]
pub struct Upstream {
    at: SocketAddr,
    script: Arc<Script>,
}

impl Upstream {
    /// `serve` has each connection.
    pub fn start(serve: fn(TcpStream, &Script)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("an address");
        let script = Arc::new(Script::default());
        let shared = Arc::clone(&script);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(stream), script) = (stream, Arc::clone(&shared)) else { return };
                script.connections.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || serve(stream, &script));
            }
        });
        Self { at, script }
    }
}

/// Reads until `end` is within what came; `None` when the peer has gone.
pub fn read_until(stream: &mut TcpStream, end: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    while !bytes.windows(end.len()).any(|window| window == end) {
        let mut part = [0; 4096];
        match stream.read(&mut part) {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&part[..count]),
        }
    }
    Some(bytes)
}

/// Says the same until nobody listens any more, at most `times`.
pub fn say(stream: &mut TcpStream, bytes: &[u8], times: usize) {
    for _ in 0..times {
        if stream.write_all(bytes).is_err() {
            return;
        }
    }
}

/// A sidecar before an upstream.
pub struct Play {
    scene: Scene,
    sidecar: Sidecar,
    caller: Caller,
    upstream: Upstream,
}

impl Play {
    pub fn new(upstream: Upstream, protocol: &str) -> Self {
        let mut scene = Scene::new();
        scene.config["upstreams"]["app"] =
            json!({ "endpoints": [upstream.at.to_string()], "protocol": protocol });
        scene.config["listeners"]["app"]["routes"][0]["timeout"] = json!("2s");
        let sidecar = scene.start();
        let caller = scene.caller("/client");
        Self { scene, sidecar, caller, upstream }
    }

    fn get(&self, path: &str, due: Option<usize>) -> Result<Answer, String> {
        *self.upstream.script.due.lock().expect("nobody panicked") = due;
        self.caller.get(self.scene.listener, Version::Http1, path)
    }

    /// The case comes to this, and the next caller has a sound answer.
    pub fn check(&self, number: usize, what: &str, expected: Expected) {
        let before = self.peak_kib();
        let answer = self.get("/bad", Some(number));
        match (&answer, expected) {
            (Ok(answer), Expected::Refused(reason)) => {
                let said = answer.json()["reason"].as_str().unwrap_or_default().to_owned();
                assert_eq!(said, reason, "{what}: {answer:?}");
                assert!((502..505).contains(&answer.status.as_u16()), "{what}: {answer:?}");
            }
            (Ok(answer), Expected::Passed(status, body)) => {
                assert_eq!(
                    (answer.status.as_u16(), answer.body.as_ref()),
                    (status, body.as_bytes()),
                    "{what}"
                );
            }
            (Err(_), Expected::Cut) => {}
            _ => panic!("{what}: {answer:?} is not {expected:?}"),
        }
        let connections = self.upstream.script.connections.swap(0, Ordering::SeqCst);
        assert!(connections < 10, "{what}: {connections} connections");
        let grown = self.peak_kib().saturating_sub(before);
        assert!(grown < GROWTH_KIB_MAX, "{what}: {grown} KiB more");
        let next = self.get("/good", None).unwrap_or_else(|failure| panic!("after {what}: {failure}"));
        assert_eq!(
            (next.status.as_u16(), next.body.as_ref()),
            (200, b"good".as_slice()),
            "after {what}: {next:?}"
        );
    }

    /// The most memory that it has ever had.
    fn peak_kib(&self) -> usize {
        let path = format!("/proc/{}/status", self.sidecar.running.id());
        let text = std::fs::read_to_string(path).expect("the process lives");
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Stops it; no connection on which something went wrong was used again.
    pub fn finish(self) {
        let reused = self.upstream.script.reused.lock().expect("nobody panicked").clone();
        assert!(reused.is_empty(), "used again after the cases {reused:?}");
        self.sidecar.stop();
        assert_log_is_whole(&self.scene.audit());
    }
}
