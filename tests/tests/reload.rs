//! Policy changes under load: no request is dropped, and none is decided half by the old and half by the new.

use std::time::Duration;

use postern_tests::load::Pressure;
use postern_tests::{Load, Scene, Version, process};

const LIMIT: Duration = Duration::from_secs(60);

/// Swaps under load, each to a policy that answers otherwise.
const SWAPS: usize = 5;

/// A policy that names itself twice in what the upstream is told.
fn policy(number: usize) -> String {
    format!(
        r#"package postern.authz

decision := {{
	"allowed": input.attributes.request.http.method == "GET",
	"headers": {{"x-policy-first": "{number}", "x-policy-second": "{number}"}},
}}
"#
    )
}

/// Which policy decided an answered request, by what reached the upstream; both headers must agree.
fn decided_by(body: &serde_json::Value) -> String {
    let header = |name: &str| body["headers"][name][0].as_str().unwrap_or("none").to_owned();
    let (first, second) = (header("x-policy-first"), header("x-policy-second"));
    assert_eq!(first, second, "one request, two policies: {body:#}");
    first
}

fn check(version: Version) {
    let scene = Scene::new();
    scene.write_policy(&policy(0));
    let sidecar = scene.start();
    let caller = scene.caller("/client");
    let pressure = Pressure { callers: 4, pause: Duration::ZERO, version };
    let load = Load::start(&caller, scene.listener, "/things", pressure);
    for swap in 1..=SWAPS {
        scene.write_policy(&policy(swap));
        let wanted = swap.to_string();
        process::wait("the new policy in an answer", LIMIT, || {
            let answer = caller.get(scene.listener, version, "/probe").expect("an answer");
            (decided_by(&answer.json()) == wanted).then_some(())
        });
    }
    load.wait_for_answers(20, LIMIT);
    let report = load.stop();
    report.assert_nothing_lost();
    let mut seen: Vec<String> = report.answers.iter().map(|answer| decided_by(&answer.json())).collect();
    seen.sort();
    seen.dedup();
    assert!(seen.contains(&"0".to_owned()) && seen.contains(&SWAPS.to_string()), "{seen:?}");
    sidecar.stop();
}

#[test]
fn http1_requests_survive_policy_swaps() {
    check(Version::Http1);
}

#[test]
fn http2_requests_survive_policy_swaps() {
    check(Version::Http2);
}

#[test]
fn a_policy_that_does_not_compile_leaves_the_last_good_one_in_force_and_says_so() {
    let scene = Scene::new();
    let sidecar = scene.start();
    scene.write_policy("package postern.authz\n\ndecision := {\n");
    let caller = scene.caller("/client");
    process::wait("the refusal in a metric", LIMIT, || (sidecar.policy_refusals() > 0.0).then_some(()));
    let answer = caller.get(scene.listener, Version::Http1, "/things").expect("an answer");
    assert_eq!(answer.status, 200, "{answer:?}");
    sidecar.stop();
}
