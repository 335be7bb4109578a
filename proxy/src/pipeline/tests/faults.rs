//! Requests that fail on purpose: only those that are permitted, and the log says that it was on purpose.
use super::world::World;
use super::{ALLOW, DENY, status, text};
use std::rc::Rc;

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
