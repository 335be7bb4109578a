//! What is scarce on the machine is kept for those who are served already, and for whoever looks after the sidecar.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use postern_tests::caller::{Connection, get};
use postern_tests::process::wait;
use postern_tests::sidecar::assert_log_is_whole;
use postern_tests::{Caller, Scene, Sidecar, Version};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Runtime;

const OPEN: &str = "package postern.authz\n\ndecision := {\"allowed\": true}\n";

const LIMIT: Duration = Duration::from_secs(30);

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Lets the sidecar have so many files open.
fn limit_files(sidecar: &Sidecar, files: u64) {
    let pid = i32::try_from(sidecar.running.id()).ok().and_then(Pid::from_raw);
    let limit = Rlimit { current: Some(files), maximum: Some(files) };
    prlimit(pid, Resource::Nofile, limit).expect("the limit is set");
}

/// Lets this process have at least so many files open.
fn need_files(files: u64) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    assert!(maximum.is_none_or(|most| most >= files), "this takes {files} open files");
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("the limit is raised");
}

/// What it has used of the processor.
fn processor_time(sidecar: &Sidecar) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", sidecar.running.id())).expect("a process");
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().expect("ticks")).sum();
    Duration::from_millis(ticks * 10)
}

/// An HTTP/2 connection on which a request has been answered, if it is let in.
async fn served(caller: &Caller, at: SocketAddr) -> Option<Connection> {
    let mut connection = caller.connect(at, Version::Http2).await.ok()?;
    let answer = connection.send(get("/x")).await.ok()?;
    (answer.status == 200).then_some(connection)
}

#[test]
fn without_files_to_open_who_is_in_is_served_and_nobody_else_is_let_in() {
    let mut scene = Scene::new();
    scene.write_policy(OPEN);
    scene.config["workers"] = 1.into();
    scene.config["audit"]["segment_bytes_max"] = "1MiB".into();
    let sidecar = scene.start();
    limit_files(&sidecar, 256);
    let runtime = runtime();
    let caller = scene.caller("/client");
    let (mut first, crowd) = runtime.block_on(async {
        let first = served(&caller, scene.listener).await.expect("a connection");
        let mut crowd = Vec::new();
        while let Some(one) = served(&caller, scene.listener).await {
            crowd.push(one);
            assert!(crowd.len() < 256, "all are let in");
        }
        (first, crowd)
    });
    assert!(crowd.len() > 100, "{} are let in", crowd.len());
    let refused = "postern_connections_refused_total{listener=\"app\",reason=\"conn.accept_failed\"";
    assert!(sidecar.metric(refused) >= 1.0);
    // Who is in is served, and the log goes on in another segment.
    let segments = || walk(&scene.audit().join("seg"));
    let before = segments();
    runtime.block_on(async {
        while segments() == before {
            for _ in 0..100 {
                assert_eq!(first.send(get("/x")).await.expect("an answer").status, 200);
            }
        }
    });
    assert_eq!(sidecar.ask_status("/readyz").0, 200);
    // Refusing costs next to nothing, and nothing where nobody calls.
    let used = processor_time(&sidecar);
    std::thread::sleep(Duration::from_secs(1));
    let used = processor_time(&sidecar).saturating_sub(used);
    assert!(used < Duration::from_millis(300), "{used:?} of a second");
    runtime.block_on(async {
        drop(crowd);
        let began = Instant::now();
        while served(&caller, scene.listener).await.is_none() {
            assert!(began.elapsed() < LIMIT, "nobody is let in after the others have gone");
        }
    });
    // Whoever is still connected goes with what it runs on.
    drop(runtime);
    sidecar.stop();
    assert_log_is_whole(&scene.audit());
}

/// How many files there are below a folder.
fn walk(folder: &std::path::Path) -> usize {
    let entries = fs::read_dir(folder).expect("a folder").flatten();
    entries.map(|entry| if entry.path().is_dir() { walk(&entry.path()) } else { 1 }).sum()
}

async fn connect_from(source: &str, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(format!("{source}:0").parse().expect("an address")).expect("it is ours");
    socket.connect(to).await.expect("a connection")
}

#[test]
fn who_opens_connections_and_says_nothing_keeps_nobody_else_out() {
    let mut scene = Scene::new();
    scene.write_policy(OPEN);
    scene.config["listeners"]["app"]["limits"] =
        serde_json::json!({ "handshakes_per_source_max": 8, "handshake_timeout": "2s" });
    let sidecar = scene.start();
    let runtime = runtime();
    let silent: Vec<_> = runtime.block_on(async {
        let mut all = Vec::new();
        for _ in 0..20 {
            all.push(connect_from("127.0.0.2", scene.listener).await);
        }
        all
    });
    let refused = "postern_connections_refused_total{listener=\"app\",reason=\"conn.handshakes\"";
    wait("twelve refusals", LIMIT, || (sidecar.metric(refused) >= 12.0).then_some(()));
    assert_eq!(
        scene.caller("/client").get(scene.listener, Version::Http2, "/x").expect("an answer").status,
        200
    );
    let timed_out = "postern_connections_refused_total{listener=\"app\",reason=\"conn.handshake_timeout\"";
    wait("the rest to be given up", LIMIT, || (sidecar.metric(timed_out) >= 8.0).then_some(()));
    assert_eq!((sidecar.metric(refused), sidecar.metric(timed_out)), (12.0, 8.0));
    drop(silent);
    sidecar.stop();
}

/// What an idle connection may cost, whole: TLS, HTTP/2 and what is known of its caller.
const BYTES_PER_CONNECTION_MAX: u64 = 64 * 1024;

#[test]
#[ignore = "ten thousand handshakes of a debug build take a while"]
fn ten_thousand_callers_that_are_quiet_cost_little() {
    const CALLERS: u64 = 10_000;
    need_files(CALLERS + 500);
    let mut scene = Scene::new();
    scene.write_policy(OPEN);
    scene.config["listeners"]["app"]["limits"] =
        serde_json::json!({ "connections_max": 20_000, "idle_timeout": "30m" });
    let sidecar = scene.start();
    let caller = scene.caller("/client");
    let runtime = runtime();
    let memory = || {
        let statm = fs::read_to_string(format!("/proc/{}/statm", sidecar.running.id())).expect("a process");
        statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("pages") * 4096
    };
    let warm = runtime.block_on(served(&caller, scene.listener)).expect("a connection");
    let before = memory();
    let began = Instant::now();
    let crowd = runtime.block_on(async {
        let mut crowd = Vec::new();
        for n in 0..CALLERS {
            let source = if n % 2 == 0 { "127.0.0.2" } else { "127.0.0.3" };
            let stream = connect_from(source, scene.listener).await;
            crowd.push(caller.secure(stream, Some(Version::Http2)).await.expect("a handshake"));
        }
        crowd
    });
    let active = "postern_connections_active{listener=\"app\"";
    wait("all to be in", LIMIT, || (sidecar.metric(active) > 9_999.0).then_some(()));
    let each = memory().saturating_sub(before) / CALLERS;
    println!("{CALLERS} connections in {:?}, {each} bytes each", began.elapsed());
    assert!(each < BYTES_PER_CONNECTION_MAX, "{each} bytes a connection");
    assert_eq!(caller.get(scene.listener, Version::Http2, "/x").expect("an answer").status, 200);
    drop((crowd, warm, runtime));
    wait("all to have gone", LIMIT, || (sidecar.metric(active) < 1.0).then_some(()));
    println!("{} KiB more memory once they have gone", memory().saturating_sub(before) / 1024);
    sidecar.stop();
}

#[test]
fn where_memory_is_short_new_callers_and_requests_are_refused_until_it_suffices() {
    need_files(5_500);
    let mut scene = Scene::new();
    scene.write_policy(OPEN);
    scene.config["listeners"]["app"]["limits"] = serde_json::json!({ "connections_max": 20_000 });
    // A debug build begins with less.
    scene.config["limits"] = serde_json::json!({ "memory_max": "96MiB" });
    let sidecar = scene.start();
    let caller = scene.caller("/client");
    let runtime = runtime();
    let refused = "postern_connections_refused_total{listener=\"app\",reason=\"limit.memory\"";
    let mut first = runtime.block_on(served(&caller, scene.listener)).expect("a connection");
    let mut crowd = Vec::new();
    while sidecar.metric(refused) < 1.0 {
        runtime.block_on(async {
            for _ in 0..100 {
                crowd.extend(caller.connect(scene.listener, Version::Http2).await.ok());
            }
        });
        assert!(crowd.len() < 5_000, "all are let in");
    }
    assert!(crowd.len() > 100, "{} are let in", crowd.len());
    let answer = runtime.block_on(first.send(get("/x"))).expect("an answer");
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "1"));
    assert_eq!(answer.json()["reason"], "limit.memory");
    let (is_well, remark) = sidecar.check("memory");
    assert!(is_well && remark.ends_with("of 96 MiB; what is new is refused"), "{remark}");
    runtime.block_on(async {
        drop(crowd);
        let began = Instant::now();
        while first.send(get("/x")).await.expect("an answer").status != 200 {
            assert!(began.elapsed() < LIMIT, "nothing is let in after the others have gone");
        }
        assert!(served(&caller, scene.listener).await.is_some());
    });
    drop((first, runtime));
    sidecar.stop();
}
