//! One process replaces another under load: nobody is refused, nothing that was asked is lost, and what both have
//! written is whole.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use postern_tests::load::Pressure;
use postern_tests::peer::postern;
use postern_tests::process::{self, Running};
use postern_tests::raw::{echo, say};
use postern_tests::sidecar::{assert_log_is_whole, records};
use postern_tests::{Held, Load, Scene, Version};
use rustix::process::Signal;
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(60);

/// A scene whose process can be replaced.
fn scene() -> Scene {
    let mut scene = Scene::new();
    let socket = scene.path("admin.sock");
    scene.config["admin"] = json!({ "socket": socket });
    scene
}

/// Another process beside those that run.
fn start(scene: &Scene, number: usize, arguments: &[&str]) -> Running {
    let mut command = Command::new(postern());
    command.arg("run").arg("-c").arg(scene.write_config()).args(arguments);
    Running::start(&format!("postern-{number}"), command, scene.folder.path())
}

/// Waits until a process has taken over, and the one before it has ended as by a drain.
fn wait_until_relieved(previous: &mut Running) {
    let status = previous.wait_for_end(LIMIT);
    assert_eq!(status.code(), Some(0), "the old process drains; it printed\n{}", previous.output());
}

/// How many decisions all logs of the directory hold together.
fn decisions(scene: &Scene) -> usize {
    let beside = (1..8).map(|number| scene.audit().join("beside").join(number.to_string()));
    let logs = std::iter::once(scene.audit()).chain(beside).filter(|log| log.is_dir());
    logs.map(|log| records(&log).lines().filter(|line| line.contains(r#""kind":"decision""#)).count()).sum()
}

#[test]
fn a_process_is_replaced_three_times_under_load_and_nobody_notices() {
    let scene = scene();
    let mut running = start(&scene, 0, &[]);
    process::wait("readiness", LIMIT, || ready(&scene));
    let caller = scene.caller("/client");
    let pressure = |version| Pressure { callers: 3, pause: Duration::from_millis(5), version };
    let loads = [Version::Http1, Version::Http2]
        .map(|version| Load::start(&caller, scene.listener, "/things", pressure(version)));
    for number in 1..=3 {
        let next = start(&scene, number, &["--take-over"]);
        wait_until_relieved(&mut running);
        assert!(next.output().contains("starting"), "{}", next.output());
        loads.iter().for_each(|load| load.wait_for_answers(50, LIMIT));
        running = next;
    }
    let mut answered = 0;
    for load in loads {
        let report = load.stop();
        report.assert_nothing_lost();
        answered += report.answers.len();
    }
    running.signal(Signal::TERM);
    wait_until_relieved(&mut running);
    assert!(!scene.path("admin.sock").exists() && !scene.path("admin.sock~").exists());
    assert_log_is_whole(&scene.audit());
    assert!(decisions(&scene) >= answered, "{} decisions for {answered} answers", decisions(&scene));
}

/// Everybody may do everything.
const ANYTHING: &str = "package postern.authz\n\ndecision := {\"allowed\": true}\n";

#[test]
fn what_is_in_progress_is_finished_by_the_process_that_began_it() {
    let held = Held::start();
    let mut scene = scene();
    let raw = postern_tests::port::free();
    scene.write_policy(ANYTHING);
    scene.config["upstreams"]["app"] = json!({ "endpoints": [held.address().to_string()] });
    scene.config["upstreams"]["echo"] = json!({ "endpoints": [echo().to_string()], "protocol": "tcp" });
    scene.config["listeners"]["raw"] = json!({
        "outbound": { "address": raw.to_string() },
        "protocol": "tcp",
        "routes": [{ "match": {}, "upstream": "echo" }],
    });
    let mut old = start(&scene, 0, &[]);
    process::wait("readiness", LIMIT, || ready(&scene));
    let mut stream = TcpStream::connect(raw).expect("the sidecar takes it");
    say(&mut stream, b"before");
    let (caller, address) = (scene.caller("/client"), scene.listener);
    let calls = [Version::Http1, Version::Http2].map(|version| {
        let caller = caller.clone();
        std::thread::spawn(move || caller.get(address, version, "/slow"))
    });
    process::wait("the requests in progress", LIMIT, || (held.taken() == 2).then_some(()));

    let mut new = start(&scene, 1, &["--take-over"]);
    old.wait_for("the drain", LIMIT, |output| output.contains("draining").then_some(()));
    for _ in 0..20 {
        say(&mut stream, b"during");
        let mut another = TcpStream::connect(raw).expect("somebody takes it");
        say(&mut another, b"anew");
    }
    held.release();
    for call in calls {
        assert_eq!(call.join().expect("a caller").expect("an answer").status, 200);
    }
    say(&mut stream, b"after");
    drop(stream);
    wait_until_relieved(&mut old);
    new.signal(Signal::TERM);
    wait_until_relieved(&mut new);
    assert_log_is_whole(&scene.audit());
}

/// Calls by a Unix socket again and again until it is told to stop; gives how many were answered.
fn keep_calling(
    path: std::path::PathBuf,
) -> (Arc<AtomicBool>, Arc<AtomicUsize>, std::thread::JoinHandle<()>) {
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&answered));
    let calls = std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            say(&mut UnixStream::connect(&path).expect("somebody takes it"), b"anew");
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    (stop, answered, calls)
}

/// Takes the sidecar's place three times; `is_alone` where it listens on nothing but its Unix sockets.
fn replace_behind_a_unix_socket(is_alone: bool) {
    let mut scene = scene();
    let path = scene.path("egress.sock");
    scene.write_policy(ANYTHING);
    scene.config["upstreams"]["echo"] = json!({ "endpoints": [echo().to_string()], "protocol": "tcp" });
    scene.config["listeners"]["local"] = json!({
        "outbound": { "socket": path },
        "protocol": "tcp",
        "routes": [{ "match": {}, "upstream": "echo" }],
    });
    if is_alone {
        scene.config["listeners"].as_object_mut().expect("listeners").remove("app");
        scene.config.as_object_mut().expect("a configuration").remove("status");
    }
    let mut running = start(&scene, 0, &[]);
    process::wait("readiness", LIMIT, || is_ready_by_admin_socket(&scene));
    let mut stream = UnixStream::connect(&path).expect("the sidecar takes it");
    let calling = [path.clone(), path.clone()].map(keep_calling);
    for number in 1..=3 {
        say(&mut stream, b"before");
        let next = start(&scene, number, &["--take-over"]);
        running.wait_for("the drain", LIMIT, |output| output.contains("draining").then_some(()));
        say(&mut stream, b"during");
        stream = UnixStream::connect(&path).expect("the new process takes it");
        wait_until_relieved(&mut running);
        assert!(path.exists() && !scene.path("egress.sock~").exists(), "the file of the successor stays");
        for (_, answered, _) in &calling {
            let before = answered.load(Ordering::Relaxed);
            let more = || (answered.load(Ordering::Relaxed) > before + 5).then_some(());
            process::wait("answers of the new process", LIMIT, more);
        }
        running = next;
    }
    for (stop, _, calls) in calling {
        stop.store(true, Ordering::Relaxed);
        calls.join().expect("no call is lost");
    }
    drop(stream);
    running.signal(Signal::TERM);
    wait_until_relieved(&mut running);
    assert!(!path.exists(), "the last one takes its file along");
    assert_log_is_whole(&scene.audit());
}

#[test]
fn a_unix_socket_is_served_by_one_process_or_the_other_at_every_moment() {
    replace_behind_a_unix_socket(false);
}

#[test]
fn a_sidecar_that_listens_on_unix_sockets_alone_is_replaced_as_any_other() {
    replace_behind_a_unix_socket(true);
}

fn is_ready_by_admin_socket(scene: &Scene) -> Option<()> {
    let mut socket = UnixStream::connect(scene.path("admin.sock")).ok()?;
    socket.write_all(b"GET /status HTTP/1.1\r\nhost: postern\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).ok()?;
    let status: Value = serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()?;
    (status["started"] == true).then_some(())
}

fn ready(scene: &Scene) -> Option<()> {
    use postern_tests::caller::{call_plain, get};
    call_plain(scene.status, get("/readyz")).ok().filter(|answer| answer.status == 200).map(drop)
}

#[test]
fn a_process_that_does_not_become_ready_leaves_the_old_one_as_it_was() {
    let mut scene = scene();
    let mut old = start(&scene, 0, &[]);
    process::wait("readiness", LIMIT, || ready(&scene));
    let caller = scene.caller("/client");
    let pressure = Pressure { callers: 2, pause: Duration::from_millis(5), version: Version::Http1 };
    let load = Load::start(&caller, scene.listener, "/things", pressure);

    // One that cannot start, and one that dies while it waits for its policy.
    let sound = scene.config.clone();
    fs::write(scene.path("no.key"), "no key").expect("a file");
    scene.config["audit"]["signer"]["ed25519"]["key"] = json!(scene.path("no.key"));
    let mut failing = start(&scene, 1, &["--take-over"]);
    assert_eq!(failing.wait_for_end(LIMIT).code(), Some(1), "{}", failing.output());
    scene.config = sound;
    let policy = scene.config["policy"]["bundles"]["authz"]["source"]["directory"]["path"].take();
    fs::create_dir(scene.path("empty")).expect("a folder");
    scene.config["policy"]["bundles"]["authz"]["source"]["directory"]["path"] = json!(scene.path("empty"));
    scene.config["policy"]["last_good_directory"] = json!(scene.path("no-last-good"));
    let mut waiting = start(&scene, 2, &["--take-over"]);
    process::wait("the second process", LIMIT, || scene.path("admin.sock~").exists().then_some(()));
    load.wait_for_answers(50, LIMIT);
    waiting.signal(Signal::KILL);
    waiting.wait_for_end(LIMIT);
    load.wait_for_answers(50, LIMIT);
    assert!(ready(&scene).is_some() && !old.output().contains("draining"), "{}", old.output());

    // And then one that can.
    scene.config["policy"]["bundles"]["authz"]["source"]["directory"]["path"] = policy;
    let mut new = start(&scene, 3, &["--take-over"]);
    wait_until_relieved(&mut old);
    let report = load.stop();
    report.assert_nothing_lost();
    new.signal(Signal::TERM);
    wait_until_relieved(&mut new);
    assert_log_is_whole(&scene.audit());
}

/// Somebody clears away what looks like left over while the successor waits for its policy.
#[test]
fn a_process_that_cannot_take_the_place_of_a_unix_socket_leaves_the_old_one_as_it_was() {
    let mut scene = scene();
    let path = scene.path("egress.sock");
    scene.write_policy(ANYTHING);
    scene.config["upstreams"]["echo"] = json!({ "endpoints": [echo().to_string()], "protocol": "tcp" });
    scene.config["listeners"]["local"] = json!({
        "outbound": { "socket": path },
        "protocol": "tcp",
        "routes": [{ "match": {}, "upstream": "echo" }],
    });
    let mut old = start(&scene, 0, &[]);
    process::wait("readiness", LIMIT, || ready(&scene));
    let source = &mut scene.config["policy"]["bundles"]["authz"]["source"]["directory"]["path"];
    let policy = scene.folder.path().join("policy");
    let late = scene.folder.path().join("late");
    *source = json!(late);
    fs::create_dir(&late).expect("a folder");
    scene.config["policy"]["last_good_directory"] = json!(scene.path("no-last-good"));
    let mut next = start(&scene, 1, &["--take-over"]);
    let waiting = scene.path("egress.sock~");
    process::wait("the second process", LIMIT, || scene.path("admin.sock~").exists().then_some(()));
    process::wait("its socket", LIMIT, || fs::remove_file(&waiting).ok());
    for name in [".manifest", "authz.rego"] {
        fs::copy(policy.join(name), late.join(name)).expect("a file");
    }
    assert_eq!(next.wait_for_end(LIMIT).code(), Some(1), "{}", next.output());
    assert!(next.output().contains("could not take the place"), "{}", next.output());
    say(&mut UnixStream::connect(&path).expect("the old one takes it"), b"still");
    assert!(ready(&scene).is_some() && is_ready_by_admin_socket(&scene).is_some());
    old.signal(Signal::TERM);
    wait_until_relieved(&mut old);
}

#[test]
fn taking_over_from_nobody_is_refused_with_what_to_do() {
    let scene = scene();
    let mut alone = start(&scene, 0, &["--take-over"]);
    assert_eq!(alone.wait_for_end(LIMIT).code(), Some(1));
    assert!(alone.output().contains("start without `--take-over`"), "{}", alone.output());
}
