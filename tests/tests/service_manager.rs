//! What systemd does for a service, done by the test: sockets that were bound before the sidecar, a store that keeps them
//! from one process to the next, and the words that a service says about itself.

use std::collections::BTreeMap;
use std::io::{ErrorKind, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use postern_tests::load::Pressure;
use postern_tests::peer::postern;
use postern_tests::process::{self, Running};
use postern_tests::sidecar::assert_log_is_whole;
use postern_tests::{Load, Scene, Version};
use rustix::io::FdFlags;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use rustix::process::Signal;

const LIMIT: Duration = Duration::from_secs(30);

/// The manager's side of `NOTIFY_SOCKET`: what it was told, and the descriptors that it keeps by their names.
struct Manager {
    socket: UnixDatagram,
    told: Vec<String>,
    kept: BTreeMap<String, OwnedFd>,
}

impl Manager {
    fn new(scene: &Scene) -> Self {
        let socket = UnixDatagram::bind(scene.path("notify")).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
        Self { socket, told: Vec::new(), kept: BTreeMap::new() }
    }

    /// Starts the sidecar with `socket` as descriptor 3. A shell stands where the manager forks: it knows the process id
    /// that the sidecar will have.
    fn start(&self, scene: &Scene, number: usize, (name, socket): (&str, &OwnedFd), pid: &str) -> Running {
        rustix::io::fcntl_setfd(socket, FdFlags::empty()).expect("the descriptor is passed on");
        let script = format!("exec 3<&{}; LISTEN_PID={pid} exec \"$@\"", socket.as_raw_fd());
        let mut command = Command::new("bash");
        command.args(["-c", &script, "bash"]).arg(postern()).arg("run").arg("-c").arg(scene.write_config());
        command.env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", name).env("WATCHDOG_USEC", "200000");
        command.env("NOTIFY_SOCKET", scene.path("notify"));
        Running::start(&format!("postern-{number}"), command, scene.folder.path())
    }

    /// Takes what has come, and waits for at most the socket's timeout.
    fn listen(&mut self) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut bytes = [0; 4096];
        let slices = &mut [IoSliceMut::new(&mut bytes)];
        let received = match rustix::net::recvmsg(&self.socket, slices, &mut control, RecvFlags::CMSG_CLOEXEC)
        {
            Ok(received) => received.bytes,
            Err(error) if std::io::Error::from(error).kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("the sidecar cannot be heard: {error}"),
        };
        let text = String::from_utf8(bytes[..received].to_vec()).expect("text");
        let name = text.lines().find_map(|line| line.strip_prefix("FDNAME=")).map(str::to_owned);
        if text.starts_with("FDSTOREREMOVE=1\n") {
            self.kept.remove(name.as_ref().expect("a name"));
        }
        for message in control.drain() {
            let RecvAncillaryMessage::ScmRights(rights) = message else { continue };
            assert!(text.starts_with("FDSTORE=1\n"), "{text}");
            let name = name.as_ref().expect("a name");
            rights.for_each(|descriptor| drop(self.kept.insert(name.clone(), descriptor)));
        }
        self.told.push(text);
    }

    /// Waits until it was told `part`, and forgets all that it was told.
    fn wait_for(&mut self, part: &str) -> String {
        process::wait(part, LIMIT, || {
            self.listen();
            let found = self.told.iter().find(|text| text.contains(part)).cloned();
            found.inspect(|_| self.told.clear())
        })
    }
}

#[test]
fn a_restart_keeps_the_sockets_and_loses_no_request() {
    let scene = Scene::new();
    let mut manager = Manager::new(&scene);
    let socket = OwnedFd::from(TcpListener::bind(scene.listener).expect("the port"));
    let mut running = manager.start(&scene, 0, ("app", &socket), "$$");
    drop(socket);
    manager.wait_for("READY=1");
    let caller = scene.caller("/client");
    let pressure = Pressure { callers: 3, pause: Duration::from_millis(5), version: Version::Http1 };
    let load = Load::start(&caller, scene.listener, "/things", pressure);
    for number in 1..=3 {
        let names: Vec<_> = manager.kept.keys().cloned().collect();
        assert_eq!(names, ["app", "status"]);
        let socket = manager.kept.remove("app").expect("the listener's socket");
        // The status port is bound anew: a manager that keeps it, and passes one of the two, would be in its way.
        manager.kept.clear();
        running.signal(Signal::TERM);
        manager.wait_for("STOPPING=1");
        assert_eq!(running.wait_for_end(LIMIT).code(), Some(0), "{}", running.output());
        running = manager.start(&scene, number, ("app", &socket), "$$");
        manager.wait_for("READY=1");
        load.wait_for_answers(50, LIMIT);
    }
    let report = load.stop();
    report.assert_nothing_lost();
    running.signal(Signal::TERM);
    assert_eq!(running.wait_for_end(LIMIT).code(), Some(0), "{}", running.output());
    assert_log_is_whole(&scene.audit());
}

/// A request that was sent to a Unix socket; whoever listens answers in time.
fn asked(path: &Path) -> UnixStream {
    let mut stream = UnixStream::connect(path).expect("a place in the queue");
    stream.set_read_timeout(Some(LIMIT)).expect("a timeout");
    stream.write_all(b"GET /things HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").expect("sent");
    stream
}

fn assert_answered(mut stream: UnixStream) {
    let mut answer = String::new();
    drop(stream.read_to_string(&mut answer));
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[test]
fn a_restart_keeps_unix_sockets_and_who_waits_in_them() {
    let mut scene = Scene::new();
    let path = scene.path("egress.sock");
    scene.config["listeners"]["egress"] = serde_json::json!({
        "outbound": { "socket": path, "mode": "0600" },
        "routes": [{ "match": { "path_prefix": "/" }, "upstream": "app" }],
    });
    scene.write_policy("package postern.authz\n\ndecision := {\"allowed\": true}\n");
    let mut manager = Manager::new(&scene);
    let port = OwnedFd::from(TcpListener::bind(scene.listener).expect("the port"));
    let mut running = manager.start(&scene, 0, ("app", &port), "$$");
    drop(port);
    manager.wait_for("READY=1");
    for (number, mode) in [(1, "0660"), (2, "0600")] {
        assert_answered(asked(&path));
        let socket = manager.kept.remove("egress").expect("the listener's socket");
        manager.kept.clear();
        running.signal(Signal::TERM);
        manager.wait_for("STOPPING=1");
        assert_eq!(running.wait_for_end(LIMIT).code(), Some(0), "{}", running.output());
        let waiting = asked(&path);
        running = manager.start(&scene, number, ("egress", &socket), "$$");
        drop(socket);
        manager.wait_for("READY=1");
        assert_answered(waiting);
        // A changed listener has another socket in that place, which is kept from then on.
        scene.config["listeners"]["egress"]["outbound"]["mode"] = serde_json::json!(mode);
        scene.write_config();
        running.signal(Signal::HUP);
        manager.wait_for("READY=1\nSTATUS=ready");
    }
    running.signal(Signal::TERM);
    assert_eq!(running.wait_for_end(LIMIT).code(), Some(0), "{}", running.output());
    assert_log_is_whole(&scene.audit());
}

/// The configuration may have changed while nothing ran.
#[test]
fn what_is_listened_on_no_more_is_kept_no_more() {
    let scene = Scene::new();
    let mut manager = Manager::new(&scene);
    let gone = OwnedFd::from(TcpListener::bind("127.0.0.1:0").expect("a port"));
    let mut running = manager.start(&scene, 0, ("gone", &gone), "$$");
    manager.kept.insert("gone".to_owned(), gone);
    manager.wait_for("READY=1");
    let names: Vec<_> = manager.kept.keys().cloned().collect();
    assert_eq!(names, ["app", "status"]);
    running.signal(Signal::TERM);
    assert_eq!(running.wait_for_end(LIMIT).code(), Some(0), "{}", running.output());
}

#[test]
fn a_service_says_when_it_reloads_that_it_lives_and_takes_no_sockets_that_are_meant_for_others() {
    let scene = Scene::new();
    let mut manager = Manager::new(&scene);
    let other = OwnedFd::from(TcpListener::bind("127.0.0.1:0").expect("a port"));
    // The variables of a parent, which were for its own process id.
    let mut running = manager.start(&scene, 0, ("app", &other), "1");
    manager.wait_for("READY=1");
    manager.wait_for("WATCHDOG=1");
    running.signal(Signal::HUP);
    let reloading = manager.wait_for("RELOADING=1");
    let stamp = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).expect("a stamp");
    assert!(stamp.parse::<u64>().expect("a number") > 0);
    manager.wait_for("READY=1\nSTATUS=ready");
    let mut broken = scene.config.clone();
    broken["workers"] = serde_json::json!("3");
    std::fs::write(scene.path("postern.yaml"), broken.to_string()).expect("the configuration");
    running.signal(Signal::HUP);
    let refused = manager.wait_for("READY=1\nSTATUS=");
    assert!(refused.contains("workers"), "{refused}");
    running.signal(Signal::TERM);
    manager.wait_for("STOPPING=1");
    assert_eq!(running.wait_for_end(LIMIT).code(), Some(0), "{}", running.output());
}
