//! SIGKILL at any moment: whoever got an answer finds its decision in the log.

use std::collections::BTreeSet;
use std::time::Duration;

use postern_tests::load::Pressure;
use postern_tests::{Load, Scene, Version, sidecar};

const LIMIT: Duration = Duration::from_secs(60);

fn check(version: Version, kills: usize) {
    let scene = Scene::new();
    let mut answered = BTreeSet::new();
    for kill in 0..kills {
        let running = scene.start();
        let pressure = Pressure { callers: 4, pause: Duration::ZERO, version };
        let load = Load::start(&scene.caller("/client"), scene.listener, "/things", pressure);
        load.wait_for_answers(100 + 37 * (kill % 7), LIMIT);
        running.kill();
        // What failed was asked after the kill or was in flight; what counts is what was answered.
        let report = load.stop();
        answered.extend(report.answers.iter().map(|answer| answer.decision_id().to_owned()));
    }
    // The next start takes over what the last one left in its rings.
    scene.start().stop();
    sidecar::assert_log_is_whole(&scene.audit());
    let records = sidecar::records(&scene.audit());
    let lost: Vec<&String> = answered.iter().filter(|id| !records.contains(id.as_str())).collect();
    assert!(lost.is_empty(), "{} of {} answered decisions are not in the log", lost.len(), answered.len());
    assert!(answered.len() >= 100 * kills && answered.iter().all(|id| id.len() == 26), "{}", answered.len());
}

#[test]
fn every_answered_http1_request_is_in_the_log_after_kills() {
    check(Version::Http1, 3);
}

#[test]
fn every_answered_http2_request_is_in_the_log_after_kills() {
    check(Version::Http2, 3);
}

#[test]
#[ignore = "kills 500 times, which takes half an hour; `cargo xtask test --full`"]
fn five_hundred_kills_lose_nothing() {
    check(Version::Http2, 500);
}
