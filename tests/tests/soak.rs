//! Mixed load over an upstream that comes and goes: everything is answered, and memory and descriptors stay as they are.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use postern_tests::load::{Pressure, Report};
use postern_tests::sidecar::assert_log_is_whole;
use postern_tests::{Caller, Load, Scene, Sidecar, Upstream, Version, port};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How long the endpoint that comes and goes is there, and is not.
const FLAP: Duration = Duration::from_millis(700);

/// What a stream carries there and back.
const STREAM_BYTES: usize = 64 * 1024;

const POLICY: &str = r#"package postern.authz

default decision := {"allowed": false}

decision := {"allowed": true} if input.attributes.source.principal == "spiffe://example.org/client"
"#;

/// What goes on in the background until it is dropped.
struct Background {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Background {
    /// Does it again and again; each time counts.
    fn start(mut again: impl FnMut() + Send + 'static) -> Self {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&count));
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                again();
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { stop, count, thread: Some(thread) }
    }

    /// How often it was done, all of them without a panic.
    fn stop(mut self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().expect("it runs").join().expect("nothing went wrong");
        self.count.load(Ordering::SeqCst)
    }
}

/// Says everything back.
fn echo() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in socket.incoming().flatten() {
            thread::spawn(move || {
                let (mut from, mut to) = (&stream, &stream);
                drop(std::io::copy(&mut from, &mut to));
            });
        }
    });
    address
}

/// One stream there and back.
fn stream_once(caller: &Caller, address: SocketAddr) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut stream = caller.stream(address).await.expect("a connection");
        let sent = vec![7; STREAM_BYTES];
        let mut heard = vec![0; STREAM_BYTES];
        stream.write_all(&sent).await.expect("it is taken");
        stream.read_exact(&mut heard).await.expect("it comes back");
        assert!(heard == sent, "other bytes came back");
    });
}

/// Resident memory in KiB, and open descriptors.
fn held(sidecar: &Sidecar) -> (u64, usize) {
    let folder = format!("/proc/{}", sidecar.running.id());
    let status = fs::read_to_string(format!("{folder}/status")).expect("the process lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    let kib = line.trim().trim_end_matches(" kB").parse().expect("a number");
    (kib, fs::read_dir(format!("{folder}/fd")).expect("its descriptors").count())
}

/// Nobody's connection breaks, and a service that is half there fails rarely: a request that was with it when it went.
fn check_answers(report: &Report) {
    assert!(report.failures.is_empty(), "{:?}", report.failures.first());
    let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
    for answer in &report.answers {
        *statuses.entry(answer.status.as_u16()).or_default() += 1;
    }
    let failed: usize = statuses.iter().filter(|(status, _)| **status != 200).map(|(_, count)| count).sum();
    let are_gateways = statuses.keys().all(|status| matches!(status, 200 | 502 | 503));
    assert!(are_gateways && failed * 20 <= report.answers.len(), "{statuses:?}");
}

fn scene(flapping: SocketAddr, bytes: SocketAddr) -> Scene {
    let mut scene = Scene::new();
    scene.write_policy(POLICY);
    let steady = scene.upstream.address();
    scene.config["upstreams"]["app"]["endpoints"] = json!([steady.to_string(), flapping.to_string()]);
    scene.config["listeners"]["app"]["routes"][0]["retry"] =
        json!({ "attempts_max": 3, "on": ["connect_failure", "reset"] });
    scene.config["listeners"]["bytes"] = json!({
        "inbound": { "address": bytes.to_string(), "tls": scene.config["listeners"]["app"]["inbound"]["tls"] },
        "protocol": "tcp",
        "routes": [{ "match": {}, "upstream": "echo" }],
    });
    scene.config["upstreams"]["echo"] = json!({ "endpoints": [echo().to_string()], "protocol": "tcp" });
    scene
}

fn check(time: Duration) {
    let (flapping, bytes) = (port::free(), port::free());
    let scene = scene(flapping, bytes);
    let sidecar = scene.start();
    let caller = scene.caller("/client");
    let pressure = |version| Pressure { callers: 4, pause: Duration::from_millis(25), version };
    let loads = [Version::Http1, Version::Http2]
        .map(|version| Load::start(&caller, scene.listener, "/things", pressure(version)));
    let flaps = Background::start(move || {
        let there = Upstream::start_at(flapping);
        thread::sleep(FLAP);
        drop(there);
        thread::sleep(FLAP);
    });
    let streaming = caller.clone();
    let streams = Background::start(move || stream_once(&streaming, bytes));

    let began = Instant::now();
    let mut samples = Vec::new();
    while began.elapsed() < time {
        thread::sleep(time / 60);
        samples.push(held(&sidecar));
    }
    assert!(flaps.stop() > 2 && streams.stop() > 10, "too little went on");
    let reports = loads.map(Load::stop);
    reports.iter().for_each(check_answers);
    let answers: usize = reports.iter().map(|report| report.answers.len()).sum();
    // What the first third warms is warm.
    let most = |part: &[(u64, usize)]| {
        let memory = part.iter().map(|(kib, _)| *kib).max().unwrap_or_default();
        (memory, part.iter().map(|(_, open)| *open).max().unwrap_or_default())
    };
    let third = samples.len() / 3;
    let (before, after) = (most(&samples[third..2 * third]), most(&samples[2 * third..]));
    println!("{answers} answers; {before:?} KiB and descriptors in the middle, {after:?} at the end");
    assert!(after.0 <= before.0 + 8 * 1024, "memory grows: {samples:?}");
    assert!(after.1 <= before.1 + 16, "descriptors grow: {samples:?}");
    sidecar.stop();
    assert_log_is_whole(&scene.audit());
}

#[test]
fn twenty_seconds_of_mixed_load_over_a_flapping_upstream_leave_nothing_behind() {
    check(Duration::from_secs(20));
}

#[test]
#[ignore = "ten minutes; `cargo xtask test --full`"]
fn ten_minutes_of_mixed_load_over_a_flapping_upstream_leave_nothing_behind() {
    check(Duration::from_secs(600));
}
