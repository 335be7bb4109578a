//! One process replaces another under load: nobody is refused, nothing that was asked is lost, and what both have
//! written is whole.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use postern_tests::load::Pressure;
use postern_tests::peer::postern;
use postern_tests::process::{self, Running};
use postern_tests::sidecar::{assert_log_is_whole, records};
use postern_tests::{Load, Scene, Version};
use rustix::process::Signal;
use serde_json::json;

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
    process::wait("readiness", LIMIT, || scene.path("admin.sock").exists().then_some(()));
    let caller = scene.caller("/client");
    process::wait("the first answer", LIMIT, || {
        let answer = caller.get(scene.listener, Version::Http1, "/things").ok()?;
        (answer.status == 200).then_some(())
    });
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
    let mut answered = 1;
    for load in loads {
        let report = load.stop();
        assert!(
            report.failures.is_empty(),
            "{} lost, first {:?}",
            report.failures.len(),
            report.failures.first()
        );
        assert!(report.answers.iter().all(|answer| answer.status == 200));
        answered += report.answers.len();
    }
    running.signal(Signal::TERM);
    wait_until_relieved(&mut running);
    assert!(!scene.path("admin.sock").exists() && !scene.path("admin.sock~").exists());
    assert_log_is_whole(&scene.audit());
    assert!(decisions(&scene) >= answered, "{} decisions for {answered} answers", decisions(&scene));
}
