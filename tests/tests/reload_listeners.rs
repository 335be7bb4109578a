//! Listeners come, change and go under a running sidecar: those that the file says nothing new about keep their sockets
//! and connections, and a file that cannot be put in force as a whole changes nothing.

use std::fs;
use std::io::Read as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use postern_tests::load::Pressure;
use postern_tests::raw::{echo, say};
use postern_tests::sidecar::assert_log_is_whole;
use postern_tests::{Held, Load, Scene, Sidecar, Version, process};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(30);

/// Everybody may do everything.
const ANYTHING: &str = "package postern.authz\n\ndecision := {\"allowed\": true}\n";

/// A scene with a listener for raw streams beside that for requests.
fn scene() -> (Scene, SocketAddr) {
    let mut scene = Scene::new();
    let raw = postern_tests::port::free();
    scene.write_policy(ANYTHING);
    scene.config["admin"] = json!({ "socket": scene.path("admin.sock") });
    scene.config["upstreams"]["echo"] = json!({ "endpoints": [echo().to_string()], "protocol": "tcp" });
    scene.config["listeners"]["raw"] = json!({
        "outbound": { "address": raw.to_string() },
        "protocol": "tcp",
        "routes": [{ "match": {}, "upstream": "echo" }],
    });
    (scene, raw)
}

/// The listener for requests once more, elsewhere.
fn another(scene: &Scene, address: SocketAddr) -> Value {
    let mut listener = scene.config["listeners"]["app"].clone();
    listener["inbound"]["address"] = json!(address.to_string());
    listener
}

/// Writes the configuration and asks for a reload; gives the answer.
fn reload(scene: &Scene, config: &Value) -> String {
    use std::io::Write;
    let waiting = scene.path("postern.next");
    fs::write(&waiting, config.to_string()).expect("the configuration");
    fs::rename(&waiting, scene.path("postern.yaml")).expect("the configuration");
    let mut admin = std::os::unix::net::UnixStream::connect(scene.path("admin.sock")).expect("it answers");
    admin.write_all(b"POST /reload HTTP/1.1\r\nhost: x\r\n\r\n").expect("the request is taken");
    let mut answer = String::new();
    admin.read_to_string(&mut answer).expect("an answer");
    answer
}

fn is_taken(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 200 ")
}

fn status(scene: &Scene, address: SocketAddr) -> u16 {
    let answer = scene.caller("/client").get(address, Version::Http2, "/things").expect("an answer");
    answer.status.as_u16()
}

#[test]
fn listeners_come_and_go_and_the_others_keep_their_connections() {
    let (scene, raw) = scene();
    let (sidecar, second) = (scene.start(), postern_tests::port::free());
    let mut stream = TcpStream::connect(raw).expect("the sidecar takes it");
    say(&mut stream, b"before");

    let mut config = scene.config.clone();
    config["listeners"]["second"] = another(&scene, second);
    assert!(is_taken(&reload(&scene, &config)));
    assert_eq!((status(&scene, second), status(&scene, scene.listener)), (200, 200));
    say(&mut stream, b"after one came");

    // A request is in progress where its listener goes.
    let held = Held::start();
    config["upstreams"]["held"] = json!({ "endpoints": [held.address().to_string()] });
    config["listeners"]["second"]["routes"][0]["upstream"] = json!("held");
    assert!(is_taken(&reload(&scene, &config)));
    let caller = scene.caller("/client");
    let call = std::thread::spawn(move || caller.get(second, Version::Http1, "/slow"));
    process::wait("the request in progress", LIMIT, || (held.taken() == 1).then_some(()));
    let both = config.clone();
    assert!(is_taken(&reload(&scene, &scene.config)));
    process::wait("the end of accepting", LIMIT, || TcpStream::connect(second).is_err().then_some(()));
    held.release();
    assert_eq!(call.join().expect("a caller").expect("an answer").status, 200);
    assert!(is_taken(&reload(&scene, &both)), "its place is free again");
    assert_eq!(status(&scene, second), 200);
    say(&mut stream, b"after all");
    drop(stream);
    sidecar.stop();
    assert_log_is_whole(&scene.audit());
}

#[test]
fn a_listener_that_cannot_be_bound_refuses_the_whole_reload() {
    let (scene, raw) = scene();
    let (sidecar, free) = (scene.start(), postern_tests::port::free());
    let mut stream = TcpStream::connect(raw).expect("the sidecar takes it");
    let somebody = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut config = scene.config.clone();
    config["listeners"]["a_free"] = another(&scene, free);
    config["listeners"]["b_taken"] = another(&scene, somebody.local_addr().expect("an address"));
    config["listeners"].as_object_mut().expect("listeners").remove("raw");
    config["listeners"]["app"]["routes"][0]["match"]["path_prefix"] = json!("/other");
    let refused = reload(&scene, &config);
    assert!(refused.starts_with("HTTP/1.1 409 ") && refused.contains("another process listens"), "{refused}");
    assert_eq!(status(&scene, scene.listener), 200, "its routes are as they were");
    assert!(TcpStream::connect(free).is_err(), "nothing of it is in force");
    say(&mut stream, b"still there");
    assert!(sidecar.check("config").1.contains("cannot listen on"));
    drop(stream);
    sidecar.stop();
}

#[test]
fn a_unix_socket_comes_changes_and_goes_and_the_place_of_somebody_elses_is_not_taken() {
    let (scene, raw) = scene();
    let sidecar = scene.start();
    let path = scene.path("egress.sock");
    let with = |mode: &str, uids: &[u32]| {
        let mut config = scene.config.clone();
        config["listeners"]["local"] = json!({
            "outbound": { "socket": path, "mode": mode, "uids": uids },
            "protocol": "tcp",
            "routes": [{ "match": {}, "upstream": "echo" }],
        });
        config
    };
    let uid = rustix::process::geteuid().as_raw();
    let mode = || fs::metadata(&path).expect("its file").permissions().mode() & 0o777;
    assert!(is_taken(&reload(&scene, &with("0660", &[uid]))));
    assert_eq!(mode(), 0o660);
    let mut stream = UnixStream::connect(&path).expect("the sidecar takes it");
    say(&mut stream, b"before");

    // Others are served now: the file is another one, and what is open goes on within its grace.
    assert!(is_taken(&reload(&scene, &with("0600", &[uid + 1]))));
    assert_eq!(mode(), 0o600);
    let mut shut_out = UnixStream::connect(&path).expect("the mode lets it in");
    assert_eq!(shut_out.read(&mut [0]).unwrap_or(0), 0, "it is closed out");
    say(&mut stream, b"after it changed");
    assert!(is_taken(&reload(&scene, &with("0600", &[uid]))));
    say(&mut UnixStream::connect(&path).expect("the sidecar takes it"), b"anew");

    assert!(is_taken(&reload(&scene, &scene.config)));
    assert!(!path.exists() && !scene.path("egress.sock~").exists(), "its file goes with it");
    let somebody = UnixListener::bind(&path).expect("the path is free");
    let refused = reload(&scene, &with("0600", &[uid]));
    assert!(
        refused.starts_with("HTTP/1.1 409 ") && refused.contains("another process already serves"),
        "{refused}"
    );
    say(&mut TcpStream::connect(raw).expect("the sidecar takes it"), b"as it was");
    drop(stream);
    sidecar.stop();
    assert!(path.exists(), "somebody's file stays");
    drop(somebody);
    assert_log_is_whole(&scene.audit());
}

/// Descriptors and resident memory in kilobytes.
fn held_by(sidecar: &Sidecar) -> (usize, usize) {
    let process = format!("/proc/{}", sidecar.running.id());
    let descriptors = fs::read_dir(format!("{process}/fd")).expect("its descriptors").count();
    let status = fs::read_to_string(format!("{process}/status")).expect("its status");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    (descriptors, resident.trim().trim_end_matches(" kB").parse().expect("a number"))
}

#[test]
fn a_storm_of_a_thousand_reloads_loses_nothing_and_leaves_nothing() {
    const RELOADS: usize = 1000;
    let (mut scene, raw) = scene();
    let second = postern_tests::port::free();
    scene.config["listeners"]["second"] = another(&scene, second);
    let sidecar = scene.start();
    let mut stream = TcpStream::connect(raw).expect("the sidecar takes it");
    let caller = scene.caller("/client");
    let pressure = Pressure { callers: 2, pause: Duration::from_millis(5), version: Version::Http1 };
    // One listener goes on through all of them, the other is made anew by each on the socket that it has.
    let loads = [scene.listener, second].map(|address| Load::start(&caller, address, "/things", pressure));
    let third = another(&scene, postern_tests::port::free());
    let mut early = (0, 0);
    for number in 0..RELOADS {
        let mut config = scene.config.clone();
        config["listeners"]["second"]["limits"] = json!({ "connections_max": 1000 + number % 2 });
        if number % 2 == 0 {
            config["listeners"]["third"] = third.clone();
        }
        if number % 10 == 9 {
            config["workers"] = json!("7");
        }
        let answer = reload(&scene, &config);
        assert_eq!(is_taken(&answer), number % 10 != 9, "{number}: {answer}");
        if number == RELOADS / 5 {
            early = held_by(&sidecar);
        }
    }
    say(&mut stream, b"after the storm");
    for load in loads {
        load.wait_for_answers(20, LIMIT);
        let report = load.stop();
        report.assert_nothing_lost();
    }
    process::wait("descriptors and memory as before", LIMIT, || {
        let late = held_by(&sidecar);
        (late.0 <= early.0 + 16 && late.1 <= early.1 + early.1 / 5).then_some(())
    });
    println!("after {} reloads {early:?}, after {RELOADS} {:?}", RELOADS / 5, held_by(&sidecar));
    drop(stream);
    sidecar.stop();
    assert_log_is_whole(&scene.audit());
}
