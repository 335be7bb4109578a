//! What comes of a request: the answer, what the upstream sees of it, and what the log keeps.
mod announcements;
mod answers;
mod balancers;
mod bodies;
mod breakers;
mod captured;
mod connects;
mod deadlines;
mod endpoints;
mod extended_connects;
mod faults;
mod forwarded_headers;
mod global_rate_limits;
mod identity_headers;
mod key_changes;
mod limits;
mod local_endpoints;
mod mirrors;
mod names;
mod outbound;
mod peers;
mod permissive;
mod policy_changes;
mod proofs;
mod rate_limits;
mod retries;
mod rewrites;
mod secure;
mod shared;
mod simulation;
mod splits;
mod stalls;
mod streams;
mod timeouts;
mod token_refusals;
mod tokens;
mod transactions;
mod validity;
mod websockets;
mod workloads;
mod world;

use serde_json::Value;
use std::rc::Rc;
use std::time::Duration;
use world::World;

const ALLOW: &str = "package authz\nimport rego.v1\ndecision := true";
const DENY: &str = "package authz\nimport rego.v1\ndefault decision := false";
const UNDEFINED: &str = "package authz\nimport rego.v1\ndecision := true if input.nothing.at.all";
const WRONG_TYPE: &str = "package authz\nimport rego.v1\ndecision := \"true\"";
const READS_BODY: &str = "package authz\nimport rego.v1\ndefault decision := false\ndecision := true if input.parsed_body.amount < 100";
const GET: &str = "GET /api/x HTTP/1.1\nHost: a.test\n\n";

/// A request under a policy comes to this status, decision and reason; an upstream sees it if it is allowed.
fn check(policy: Option<&str>, request: &str, (status, decision, reason): (u16, &str, &str)) {
    let world = World::new(policy);
    let seen = Rc::clone(&world.seen);
    let (answer, records) = world.run(async |_, caller| caller.ask(request).await);
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    let record = only(&records, "decision");
    assert_eq!((text(record, "decision"), text(record, "reason")), (decision, reason), "{record}");
    assert_eq!(seen.borrow().len(), usize::from(decision == "allow"), "what the upstream saw");
    let outcome = only(&records, "outcome");
    assert_eq!(outcome["status"], status, "{outcome}");
    assert_eq!(outcome["id"], record["id"], "the outcome belongs to the decision");
    assert!(answer.contains(text(record, "id")), "the caller is told the decision's id");
}

fn only<'a>(records: &'a [Value], kind: &str) -> &'a Value {
    let mut found = records.iter().filter(|record| record["kind"] == kind);
    let first = found.next().unwrap_or_else(|| panic!("no {kind} in {records:#?}"));
    assert!(found.next().is_none(), "more than one {kind} in {records:#?}");
    first
}

/// The status of an HTTP/1.1 answer.
fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

fn text<'a>(record: &'a Value, member: &str) -> &'a str {
    record[member].as_str().unwrap_or_default()
}

#[test]
fn an_allowed_request_is_forwarded() {
    check(Some(ALLOW), GET, (200, "allow", "policy.allowed"));
}

#[test]
fn a_denied_request_is_refused() {
    check(Some(DENY), GET, (403, "deny", "policy.denied"));
}

#[test]
fn a_policy_that_does_not_answer_denies() {
    check(Some(UNDEFINED), GET, (403, "deny", "policy.undefined"));
    check(Some(WRONG_TYPE), GET, (403, "deny", "policy.result_type"));
}

#[test]
fn nothing_is_forwarded_without_a_policy() {
    check(None, GET, (503, "deny", "policy.not_ready"));
}

#[test]
fn what_can_be_read_in_two_ways_never_reaches_policy() {
    let check = |request, reason| check(Some(ALLOW), request, (400, "deny", reason));
    check("GET /api/../admin HTTP/1.1\nHost: a.test\n\n", "request.path_dot_segment");
    check("GET /api/%2e%2e/admin HTTP/1.1\nHost: a.test\n\n", "request.path_dot_segment");
    check("GET /api#/admin HTTP/1.1\nHost: a.test\n\n", "request.fragment");
    check("GET /api HTTP/1.1\nHost: a.test\nHost: b.test\n\n", "request.host_duplicate");
    check(
        "POST /api HTTP/1.1\nHost: a.test\nContent-Length: 1\nTransfer-Encoding: chunked\n\n",
        "request.framing_conflict",
    );
}

#[test]
fn a_request_that_no_route_takes_is_refused() {
    check(Some(ALLOW), "GET /apix HTTP/1.1\nHost: a.test\n\n", (404, "deny", "route.none"));
}

#[test]
fn a_body_that_policy_reads_is_read_whole_or_refused() {
    let body = |length: usize, body: &str| {
        format!(
            "POST /api/p HTTP/1.1\nHost: a.test\nContent-Type: application/json\nContent-Length: {length}\n\n{body}"
        )
    };
    check(Some(READS_BODY), &body(13, "{\"amount\":99}"), (200, "allow", "policy.allowed"));
    check(Some(READS_BODY), &body(14, "{\"amount\":100}"), (403, "deny", "policy.denied"));
    check(Some(READS_BODY), &body(2000, &"x".repeat(2000)), (413, "deny", "body.too_large"));
    check(Some(ALLOW), &body(65_537, ""), (413, "deny", "body.too_large"));
}

#[test]
fn an_observing_route_forwards_what_policy_denies_and_records_that_it_did() {
    let request = "GET /watched/x HTTP/1.1\nHost: a.test\n\n";
    let (answer, records) = World::new(Some(DENY)).run(async |_, caller| caller.ask(request).await);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let record = only(&records, "decision");
    assert_eq!((text(record, "enforcement"), text(record, "would")), ("observe", "deny"), "{record}");
}

#[test]
fn what_was_decided_on_is_what_the_upstream_sees() {
    let request = "GET http://A.test:443/api/%41?q=%20 HTTP/1.1\nHost: a.test\nX-Spiffe-Id: spiffe://evil/x\nConnection: close, x-kept\nX-Kept: 1\nX-Forwarded-Client-Cert: URI=spiffe://evil\n\n";
    let world = World::new(Some(ALLOW));
    let seen = Rc::clone(&world.seen);
    let (_, records) = world.run(async |_, caller| caller.ask(request).await);
    let record = only(&records, "decision");
    let seen = seen.borrow();
    assert_eq!(seen[0].uri().path(), text(record, "path"));
    assert_eq!(seen[0].headers()["host"], text(record, "host"));
    for gone in ["x-spiffe-id", "x-forwarded-client-cert", "connection"] {
        assert!(!seen[0].headers().contains_key(gone), "{gone} reached the upstream");
    }
    assert_eq!(seen[0].headers()["x-kept"], "1", "a caller cannot have a header removed by naming it");
    let trace = text(record, "trace_id");
    assert!(
        seen[0].headers()["traceparent"].to_str().unwrap().contains(trace),
        "the upstream is told the trace"
    );
}

#[test]
fn a_policys_obligations_are_met_on_the_way_up_and_down() {
    let policy = "package authz\nimport rego.v1\ndecision := {\"allowed\": true, \"headers\": {\"x-tenant\": \"7\"}, \"request_headers_to_remove\": [\"x-secret\"], \"response_headers_to_add\": {\"x-seen\": \"yes\"}}";
    let world = World::new(Some(policy));
    let seen = Rc::clone(&world.seen);
    let request = "GET /api/x HTTP/1.1\nHost: a.test\nX-Secret: 1\nX-Tenant: 8\n\n";
    let (answer, records) = world.run(async |_, caller| caller.ask(request).await);
    assert!(answer.contains("x-seen: yes"), "{answer}");
    assert_eq!(seen.borrow()[0].headers()["x-tenant"], "7");
    assert!(!seen.borrow()[0].headers().contains_key("x-secret"));
    let mutations = &only(&records, "decision")["mutations"];
    assert_eq!(mutations, &serde_json::json!(["set x-tenant", "remove x-secret"]));
}

#[test]
fn a_query_that_policy_edits_is_forwarded_and_recorded() {
    let policy = |set: &str| {
        format!(
            "package authz\nimport rego.v1\ndecision := {{\"allowed\": true, \"dynamic_metadata\": {{\"tier\": 1}}, \"query_parameters_to_set\": {set}, \"query_parameters_to_remove\": [\"token\"]}}"
        )
    };
    let request = "GET /api/x?token=1&q=%20&%74oken=2 HTTP/1.1\nHost: a.test\n\n";
    let world = World::new(Some(&policy(r#"{"as": "web"}"#)));
    let seen = Rc::clone(&world.seen);
    let (_, records) = world.run(async |_, caller| caller.ask(request).await);
    assert_eq!(seen.borrow()[0].uri().to_string(), "/api/x?q=%20&as=web");
    let record = only(&records, "decision");
    assert_eq!(record["mutations"], serde_json::json!(["set query as", "remove query token"]));
    assert_eq!(text(record, "metadata"), r#"{"tier":1}"#);
    // A target that no caller could have asked for is not forwarded for policy's sake.
    let long = format!("{{name: \"{}\" | some name in [\"a\", \"b\", \"c\", \"d\"]}}", "x".repeat(4096));
    check(Some(&policy(&long)), request, (403, "deny", "policy.obligation"));
}

#[test]
fn a_deny_is_answered_as_policy_words_it() {
    let answer = |decision: &str| {
        let policy = format!("package authz\nimport rego.v1\ndecision := {decision}");
        World::new(Some(&policy)).run(async |_, caller| caller.ask(GET).await).0.to_lowercase()
    };
    let away = answer(
        r#"{"allowed": false, "http_status": 302, "headers": {"location": "/login", "cache-control": "private"}}"#,
    );
    assert!(away.starts_with("http/1.1 302 ") && away.contains("location: /login\r\n"), "{away}");
    assert!(away.contains("cache-control: private\r\n") && !away.contains("no-store"), "{away}");
    let preflight = answer(r#"{"allowed": false, "http_status": 204, "body": "unsaid"}"#);
    assert!(preflight.starts_with("http/1.1 204 ") && !preflight.contains("unsaid"), "{preflight}");
    let plain = answer(r#"{"allowed": false, "http_status": 200, "body": "stopped here"}"#);
    assert!(plain.starts_with("http/1.1 200 ") && plain.ends_with("stopped here"), "{plain}");
    assert!(plain.contains("content-type: text/plain\r\n"), "{plain}");
    let own = answer(r#"{"allowed": false, "body": "{}", "headers": {"content-type": "application/json"}}"#);
    assert!(own.contains("content-type: application/json\r\n") && !own.contains("text/plain"), "{own}");
    let ours = answer(r#"{"allowed": false, "headers": {"content-type": "text/html"}}"#);
    assert!(ours.contains("application/problem+json") && !ours.contains("text/html"), "{ours}");
}

#[test]
fn a_denied_grpc_call_is_answered_in_its_own_words() {
    let request =
        "POST /told.Svc/Method HTTP/1.1\nHost: a.test\nContent-Type: application/grpc\nContent-Length: 0\n\n";
    let request = request.replace("/told.Svc/Method", "/told/Method");
    let (answer, _) = World::new(Some(DENY)).run(async |_, caller| caller.ask(&request).await);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    for part in
        ["grpc-status: 7", "grpc-message: ", "grpc-status-details-bin: ", "content-type: application/grpc"]
    {
        assert!(answer.contains(part), "{part} in {answer}");
    }
}

#[test]
fn a_request_that_was_not_sent_is_tried_at_the_next_endpoint() {
    let world = World::new(Some(ALLOW));
    let refuse_all: world::Upstream = Rc::new(|_| Err(std::io::ErrorKind::ConnectionRefused.into()));
    let (answer, records) = world.with_upstream(refuse_all).run(async |_, caller| caller.ask(GET).await);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    let outcome = only(&records, "outcome");
    assert_eq!((&outcome["attempts"], text(outcome, "reason")), (&Value::from(2), "upstream.connect_failed"));
}

#[test]
fn an_upstream_that_breaks_off_is_not_tried_again() {
    let world = World::new(Some(ALLOW));
    let break_off = peers::played(|_, mut stream| async move {
        drop(tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 64]).await);
    });
    let (answer, records) = world.with_upstream(break_off).run(async |_, caller| caller.ask(GET).await);
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert_eq!(only(&records, "outcome")["attempts"], 1);
}

#[test]
fn an_upstream_that_is_silent_is_given_up_in_time() {
    let world = World::new(Some(ALLOW));
    let (answer, records) = world.with_upstream(peers::silent()).run(async |_, caller| caller.ask(GET).await);
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    assert_eq!(text(only(&records, "outcome"), "reason"), "upstream.timeout");
}

#[test]
fn no_request_is_served_on_a_connection_whose_svid_has_expired() {
    let world = World::new(Some(ALLOW));
    let ((first, second), records) = world.run(async |world, caller| {
        let mut conversation = caller.shake_hands().await;
        let first = conversation.ask(GET).await;
        world.clock.advance(Duration::from_secs(601));
        (first, conversation.ask(GET).await)
    });
    assert!(first.starts_with("HTTP/1.1 200 "), "{first}");
    assert!(second.starts_with("HTTP/1.1 401 "), "{second}");
    assert!(records.iter().any(|record| record["reason"] == "peer.expired"));
}

#[test]
fn no_request_is_served_on_a_connection_whose_trust_domain_lost_its_bundle() {
    let world = World::new(Some(ALLOW));
    let ((first, second), _) = world.run(async |world, caller| {
        let mut conversation = caller.shake_hands().await;
        let first = conversation.ask(GET).await;
        world.shared.publish(|next| {
            next.trust = std::sync::Arc::new(next.trust.followed_by(Default::default()));
        });
        (first, conversation.ask(GET).await)
    });
    assert!(first.starts_with("HTTP/1.1 200 "), "{first}");
    assert!(second.starts_with("HTTP/1.1 401 "), "{second}");
}

#[test]
fn a_caller_that_goes_away_is_recorded() {
    let world = World::new(Some(ALLOW)).with_upstream(peers::silent());
    let ((), records) = world.run(async |_, caller| {
        let mut conversation = caller.shake_hands().await;
        conversation.say(&GET.replace('\n', "\r\n")).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    });
    assert_eq!(text(only(&records, "outcome"), "end"), "client_gone", "{records:#?}");
}

#[test]
fn a_slow_upload_is_not_the_upstreams_delay_but_one_that_stands_still_is_the_callers() {
    let head = "POST /api/up HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\n";
    let check = |body: &[&str], status: &str| {
        let (answer, _) = World::new(Some(ALLOW)).run(async |_, caller| {
            let mut conversation = caller.shake_hands().await;
            conversation.say(head).await;
            for byte in body {
                tokio::time::sleep(Duration::from_secs(60)).await;
                conversation.say(byte).await;
            }
            conversation.hear().await
        });
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    };
    check(&["a", "b", "c", "d"], "200");
    check(&["a", "b"], "408");
}

#[test]
fn a_caller_that_causes_nothing_but_refusals_is_not_judged_again_for_a_while() {
    let (statuses, records) = World::new(Some(DENY)).run(async |world, caller| {
        let mut conversation = caller.shake_hands().await;
        let mut statuses = Vec::new();
        for request in 0..203 {
            if request == 202 {
                world.clock.advance(Duration::from_secs(1));
            }
            statuses.push(conversation.ask(GET).await.get(9..12).unwrap_or_default().to_owned());
        }
        statuses
    });
    let expected: Vec<_> =
        (0..203).map(|request| if (200..202).contains(&request) { "429" } else { "403" }).collect();
    assert_eq!(statuses, expected);
    let limited =
        records.iter().filter(|record| record["reason"] == "guard.rate" && record["kind"] == "decision");
    assert_eq!(limited.count(), 2, "each is recorded all the same");
}
