//! Requests that fail or wait on purpose: only those that are permitted, and the log says that it was on purpose.
use super::world::World;
use super::{ALLOW, DENY, only, status, text};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

const API: &str = "upstream: app, retry: { attempts_max: 2, on: [connect_failure] } }";
const FAULTY: &str = "faults: { abort: { percent: 100, status: 502 } }";

/// What two requests come to on a route with these rules, and whether the upstream sees them.
fn check(policy: &str, rules: &str, answers: [(u16, &str); 2], seen_by_upstream: usize) {
    let route = format!("upstream: app, {rules} }}");
    let world = World::configured(Some(policy), &[(API, &route)]);
    let seen = Rc::clone(&world.seen);
    let (statuses, records) = world.run(async |_, caller| {
        let mut conversation = caller.shake_hands().await;
        let mut statuses = Vec::new();
        for _ in answers {
            statuses.push(status(&conversation.ask("GET /api/x HTTP/1.1\nHost: a.test\n\n").await));
        }
        statuses
    });
    assert_eq!(statuses, answers.map(|(status, _)| status), "{rules}");
    assert_eq!(seen.borrow().len(), seen_by_upstream, "{rules}");
    let outcomes =
        records.iter().filter(|record| record["kind"] == "outcome" && record["reason"].is_string());
    let reasons: Vec<&str> = outcomes.map(|outcome| text(outcome, "reason")).collect();
    let expected = answers.map(|(_, reason)| reason);
    let expected: Vec<&str> = expected.into_iter().filter(|reason| !reason.is_empty()).collect();
    assert_eq!(reasons, expected, "{rules}: {records:?}");
}

#[test]
fn a_permitted_request_fails_with_the_status_that_is_written_and_reaches_no_upstream() {
    check(ALLOW, FAULTY, [(502, "fault.injected"); 2], 0);
    check(ALLOW, "faults: { abort: { percent: 100 } }", [(503, "fault.injected"); 2], 0);
    check(ALLOW, "timeout: 15s", [(200, ""); 2], 2);
}

#[test]
fn who_is_over_a_rate_limit_is_told_of_that_and_of_no_fault() {
    let limited = format!("rate_limits: [{{ name: r, requests: 1, per: 1m }}], {FAULTY}");
    check(ALLOW, &limited, [(502, "fault.injected"), (429, "limit.rate")], 0);
}

#[test]
fn who_is_denied_is_told_of_that_and_of_no_fault() {
    check(DENY, FAULTY, [(403, "policy.denied"); 2], 0);
}

const SLOW: &str = "faults: { delay: { percent: 100, duration: 30s } }";
const GET: &str = "GET /api/x HTTP/1.1\nHost: a.test\n\n";

/// A request on a route with these rules is answered with this status after so many seconds.
fn check_wait(rules: &str, request: &str, expected: (u16, u64), seen_by_upstream: usize) {
    let route = format!("upstream: app, {rules} }}");
    let world = World::configured(Some(ALLOW), &[(API, &route)]);
    let seen = Rc::clone(&world.seen);
    let ((answer, took, counted), records) = world.run(async |world, caller| {
        let began = Instant::now();
        let answer = caller.ask(request).await;
        (status(&answer), began.elapsed().as_secs(), world.metrics.encode())
    });
    assert_eq!((answer, took), expected, "{rules}: {records:#?}");
    assert_eq!(seen.borrow().len(), seen_by_upstream, "{rules}");
    let mutations = only(&records, "decision")["mutations"].to_string();
    assert!(mutations.contains("delay 30000ms"), "{rules}: {mutations}");
    let count = "postern_faults_injected_total{listener=\"app\",route=\"api\",kind=\"delay\"} 1\n";
    assert!(counted.contains(count), "{rules}: {counted}");
}

#[test]
fn a_permitted_request_waits_and_none_of_its_upstreams_time_runs_meanwhile() {
    check_wait(SLOW, GET, (200, 30), 1);
    check_wait(&format!("timeout: 1s, stream_idle_timeout: 1s, {SLOW}"), GET, (200, 30), 1);
    let post = "POST /api/x HTTP/1.1\nHost: a.test\nContent-Length: 4\n\nbody";
    check_wait(&format!("timeout: 1s, stream_idle_timeout: 1s, {SLOW}"), post, (200, 30), 1);
}

#[test]
fn what_waits_may_fail_after_that() {
    let both = "faults: { delay: { percent: 100, duration: 30s }, abort: { percent: 100, status: 500 } }";
    check_wait(both, GET, (500, 30), 0);
}

#[test]
fn a_call_waits_no_longer_than_its_own_deadline() {
    let call = "POST /api/x HTTP/1.1\nHost: a.test\nContent-Type: application/grpc\ngrpc-timeout: 2S\nContent-Length: 5\n\n\0\0\0\0\0";
    check_wait(SLOW, call, (200, 2), 0);
}

#[test]
fn who_is_denied_does_not_wait() {
    let world = World::configured(Some(DENY), &[(API, &format!("upstream: app, {SLOW} }}"))]);
    let (took, records) = world.run(async |_, caller| {
        let began = Instant::now();
        caller.ask(GET).await;
        began.elapsed()
    });
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(!only(&records, "decision")["mutations"].to_string().contains("delay"));
}

/// What ends a wait, how the record says that it ended, and that the upstream sees nothing.
fn check_end(end: impl AsyncFnOnce(&World), is_left: bool, (how, reason): (&str, &str)) {
    let world = World::configured(Some(ALLOW), &[(API, &format!("upstream: app, {SLOW} }}"))]);
    let seen = Rc::clone(&world.seen);
    let ((), records) = world.run(async |world, caller| {
        let mut caller = caller.speak_http2().await;
        let request = http::Request::get("https://a.test/api/x").body(Default::default()).unwrap();
        let asking = caller.send_request(request);
        if is_left {
            assert!(timeout(Duration::from_secs(5), asking).await.is_err(), "it waits");
            end(world).await;
            return;
        }
        let (answer, ()) = tokio::join!(timeout(Duration::from_secs(10), asking), async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            end(world).await;
        });
        assert!(answer.expect("an end within seconds").is_err());
    });
    assert_eq!(seen.borrow().len(), 0);
    let outcome = only(&records, "outcome");
    assert_eq!((text(outcome, "end"), text(outcome, "reason")), (how, reason), "{outcome}");
    let took_s = outcome["duration_ns"].as_u64().unwrap() / 1_000_000_000;
    assert!(took_s < 10, "{outcome}");
}

#[test]
fn a_wait_ends_when_its_caller_goes_away_or_policy_permits_it_no_more() {
    check_end(async |_| (), true, ("client_gone", ""));
    check_end(async |world| world.change_policy(DENY), false, ("revoked", "policy.denied"));
}
