//! Callers in plain text, beside those who prove who they are: what they may, what is said of them, and when it ends.
use super::peers::{Caller, CallerBody, silent};
use super::streams;
use super::tokens::TestIssuer;
use super::world::{BEGINNING_S, World};
use super::{ALLOW, DENY, GET, only, status, text};
use crate::config::{PermissiveConfig, Silence};
use crate::listener::Handshake;
use crate::upstream::{BoxIo, LocalExecutor};
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

/// Plain text is taken for ten minutes.
const LASTS_S: u64 = 600;
const MUTUAL: &str = "mutual: { trust_domains: [example.org] }";
const PERMISSIVE: &str =
    "mutual: { trust_domains: [example.org], permissive: { until: \"2026-11-21T00:10:00Z\" } }";
/// The web workload may do anything below `/api`, and whoever comes in plain text may read one thing there.
const ASKS: &str = r#"package authz
import rego.v1
default decision := {"allowed": false, "reason": "not you"}
decision := true if input.attributes.source.principal == "spiffe://example.org/web"
decision := true if {
    input.postern.tls == "none"
    input.attributes.request.http.path == "/api/open"
    input.attributes.request.http.scheme == "http"
    not input.attributes.source.principal
    not input.attributes.destination.principal
}"#;
/// Whoever comes in plain text may do anything.
const OPEN: &str = "package authz\nimport rego.v1\ndecision := true if input.postern.tls == \"none\"";
const GET_OPEN: &str = "GET /api/open HTTP/1.1\nHost: a.test\n\n";

fn world(policy: &str, more: &[(&str, &str)]) -> World {
    let mut changes = vec![(MUTUAL, PERMISSIVE)];
    changes.extend(more);
    World::configured(Some(policy), &changes)
}

/// Asks in plain text and reads one answer; nothing where the connection ends instead.
async fn ask(io: &mut BoxIo, request: &str) -> String {
    io.write_all(request.replace('\n', "\r\n").as_bytes()).await.unwrap();
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&answer).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return text;
            }
        }
        let read = io.read(&mut buffer).await.unwrap_or(0);
        if read == 0 {
            return text;
        }
        answer.extend_from_slice(&buffer[..read]);
    }
}

/// Reads until the other side has ended.
async fn ended(io: &mut BoxIo) {
    let mut rest = Vec::new();
    drop(io.read_to_end(&mut rest).await);
}

/// A request in plain text comes to this status, its decision has this reason, and the record says how it came.
fn check(world: World, request: &str, (expected, reason): (u16, &str)) -> Vec<Value> {
    let (answer, records) = world.run(async |_, mut caller| ask(&mut caller.io, request).await);
    assert_eq!(status(&answer), expected, "{request}: {answer}");
    let decision = only(&records, "decision");
    assert_eq!((text(decision, "reason"), text(decision, "tls")), (reason, "none"), "{decision}");
    assert!(decision.get("peer").is_none() && decision.get("peer_fp").is_none(), "{decision}");
    records
}

#[test]
fn a_caller_in_plain_text_is_nobody_and_policy_has_to_ask_for_that() {
    check(world(ASKS, &[]), GET_OPEN, (200, "policy.allowed"));
    check(world(ASKS, &[]), GET, (403, "policy.denied"));
    check(world(ALLOW, &[]), GET_OPEN, (403, "policy.error"));
    let preface =
        "GET http://A.test:80/api/%6fpen HTTP/1.1\nHost: a.test\nX-Spiffe-Id: spiffe://example.org/web\n\n";
    let records = check(world(ASKS, &[]), preface, (200, "policy.allowed"));
    assert_eq!(text(only(&records, "decision"), "host"), "a.test");
    // Where no route says what a refused caller is told, it is told nothing.
    let (answer, _) = world(ASKS, &[])
        .run(async |_, mut caller| ask(&mut caller.io, "GET /elsewhere HTTP/1.1\nHost: a.test\n\n").await);
    assert!(status(&answer) == 404 && !answer.contains("route.none"), "{answer}");
}

#[test]
fn a_caller_by_tls_is_served_on_the_same_port_as_ever() {
    let (answers, records) = world(ASKS, &[]).run(async |world, caller| {
        let proven = caller.ask(GET).await;
        let plain = ask(&mut world.caller().await.io, GET).await;
        [proven, plain].map(|answer| status(&answer))
    });
    assert_eq!(answers, [200, 403]);
    let decisions: Vec<_> = records.iter().filter(|record| record["kind"] == "decision").collect();
    assert_eq!(text(decisions[0], "peer"), "spiffe://example.org/web");
    assert!(decisions[0].get("tls").is_none() && text(decisions[1], "tls") == "none", "{decisions:#?}");
}

fn get() -> Request<CallerBody> {
    let body = Empty::new().map_err(|never| match never {}).boxed();
    Request::get("http://a.test/api/open").body(body).unwrap()
}

/// Speaks HTTP/2 by prior knowledge.
async fn speak_http2(caller: Caller) -> hyper::client::conn::http2::SendRequest<CallerBody> {
    let io = TokioIo::new(caller.io);
    let (sender, connection) = hyper::client::conn::http2::handshake(LocalExecutor, io).await.unwrap();
    drop(tokio::task::spawn_local(connection));
    sender
}

#[test]
fn http2_is_spoken_by_prior_knowledge_until_the_time_is_over() {
    let (statuses, records) = world(ASKS, &[]).run(async |world, caller| {
        let mut caller = speak_http2(caller).await;
        let first = caller.send_request(get()).await.unwrap().status().as_u16();
        world.clock.advance(Duration::from_secs(LASTS_S));
        (first, caller.send_request(get()).await.unwrap().status().as_u16())
    });
    assert_eq!(statuses, (200, 401));
    let refused = records.iter().find(|record| record["decision"] == "deny").unwrap();
    assert_eq!((text(refused, "reason"), text(refused, "tls")), ("peer.plaintext", "none"), "{refused}");
}

#[test]
fn an_observing_route_forwards_what_a_caller_in_plain_text_asks_and_records_that_policy_would_not() {
    let request = "GET /watched/x HTTP/1.1\nHost: a.test\n\n";
    for (policy, reason) in [(ALLOW, "policy.error"), (ASKS, "policy.denied"), (DENY, "policy.error")] {
        let records = check(world(policy, &[]), request, (200, reason));
        let decision = only(&records, "decision");
        assert_eq!((text(decision, "enforcement"), text(decision, "would")), ("observe", "deny"));
    }
}

#[test]
fn no_token_is_taken_in_plain_text_and_none_is_asked_for() {
    let issuers = "tokens: [{ issuer: https://idp.test, audiences: [app], algorithms: [ES256], keys: { file: /nowhere } }]\npolicy:";
    let required = ("retry: {", "tokens: required, retry: {");
    let ignored = ("retry: {", "tokens: ignored, retry: {");
    let asked = |header: &str, rule: Option<(&str, &str)>, expected: (u16, &str)| {
        let mut changes = vec![("policy:", issuers)];
        changes.extend(rule);
        let world = world(ASKS, &changes);
        let issuer = TestIssuer::new();
        issuer.accepted_by(&world);
        let token = issuer.token(&json!({ "exp": BEGINNING_S + 300, "sub": "alice" }));
        let request = GET_OPEN.replace("\n\n", &format!("\n{header}\n\n")).replace("TOKEN", &token);
        let records = check(world, &request, expected);
        assert!(only(&records, "decision").get("token").is_none(), "nothing of it is believed");
    };
    let refused = (400, "token.plaintext");
    asked("Authorization: Bearer TOKEN", None, refused);
    asked("Authorization: DPoP TOKEN\nDPoP: x", None, refused);
    asked("Authorization: Bearer TOKEN", Some(required), refused);
    asked("X-None: 1", Some(required), refused);
    asked("X-None: 1", None, (200, "policy.allowed"));
    asked("Authorization: Basic YTpi", None, (200, "policy.allowed"));
    asked("Authorization: Bearer TOKEN", Some(ignored), (200, "policy.allowed"));
}

#[test]
fn an_upstream_is_told_nothing_of_who_calls_in_plain_text() {
    for mode in ["sanitize", "forward_only", "append_forward", "sanitize_set", "always_forward_only"] {
        let told = format!(
            "retry: {{ attempts_max: 2, on: [connect_failure] }}, identity_headers: {{ xfcc: {{ mode: {mode} }}, client_cert: chain }}"
        );
        let world = world(ASKS, &[("retry: { attempts_max: 2, on: [connect_failure] }", &*told)]);
        let seen = Rc::clone(&world.seen);
        let request = GET_OPEN.replace(
            "\n\n",
            "\nX-Forwarded-Client-Cert: By=spiffe://a/b;URI=spiffe://evil/x\nClient-Cert: :AA==:\nX-Spiffe-Id: spiffe://evil/x\n\n",
        );
        check(world, &request, (200, "policy.allowed"));
        let seen = seen.borrow();
        for name in ["x-forwarded-client-cert", "client-cert", "client-cert-chain", "x-spiffe-id"] {
            assert!(!seen[0].headers().contains_key(name), "{mode}: {:?}", seen[0].headers());
        }
    }
}

/// A caller that came at this time on its connection: what its connection's entry says.
fn refused_at(seconds: u64, expected: (&str, &str)) {
    let (answer, records) = world(ASKS, &[]).run(async |world, mut caller| {
        world.clock.advance(Duration::from_secs(seconds));
        let answer = ask(&mut caller.io, GET_OPEN).await;
        // Who proves who it is loses nothing by it.
        assert_eq!(status(&world.caller().await.ask(GET).await), 200);
        answer
    });
    let entry = records.iter().find(|record| record["kind"] == "conn");
    let found = entry.map_or(("", ""), |entry| (text(entry, "reason"), text(entry, "tls")));
    assert_eq!(found, expected, "after {seconds} s: {answer}");
    assert_eq!(answer.is_empty(), !expected.0.is_empty(), "{answer}");
}

#[test]
fn plain_text_is_refused_from_its_last_moment_on_without_a_restart() {
    refused_at(LASTS_S - 10, ("", ""));
    refused_at(LASTS_S, ("tls.plaintext_refused", "none"));
    refused_at(LASTS_S + 60, ("tls.plaintext_refused", "none"));
}

/// Puts these terms in force; a second goes by in which open connections are looked at.
fn reload(world: &World, terms: Option<PermissiveConfig>) {
    world.listener.permit_plaintext(terms);
    world.clock.advance(Duration::from_secs(1));
}

/// A request is in progress when the end comes: its connection has half a minute.
fn check_end(end: impl Fn(&World)) {
    let world = world(OPEN, &[("retry:", "timeout: 1h, retry:")]).with_upstream(silent());
    let (took, records) = world.run(async |world, mut caller| {
        caller.io.write_all(GET_OPEN.replace('\n', "\r\n").as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
        end(world);
        let began = Instant::now();
        ended(&mut caller.io).await;
        began.elapsed().as_secs()
    });
    assert!((30..33).contains(&took), "{took} s");
    let entry = only(&records, "conn");
    assert_eq!((text(entry, "reason"), text(entry, "tls")), ("peer.plaintext", "none"), "{entry}");
    let outcome = only(&records, "outcome");
    assert_eq!((text(outcome, "end"), text(outcome, "reason")), ("revoked", "peer.plaintext"));
}

#[test]
fn what_is_in_progress_in_plain_text_is_drained_when_the_time_is_over() {
    check_end(|world| world.clock.advance(Duration::from_secs(LASTS_S)));
    check_end(|world| reload(world, None));
}

#[test]
fn a_reload_ends_plain_text_and_no_connection_by_tls() {
    let (answers, records) = world(ASKS, &[]).run(async |world, caller| {
        let mut proven = caller.shake_hands().await;
        let mut plain = world.caller().await.io;
        let before = [proven.ask(GET).await, ask(&mut plain, GET_OPEN).await];
        reload(world, None);
        let began = Instant::now();
        ended(&mut plain).await;
        assert!(began.elapsed() <= Duration::from_secs(2), "{:?}", began.elapsed());
        let after = proven.ask(GET).await;
        let refused = ask(&mut world.caller().await.io, GET_OPEN).await;
        assert!(!refused.starts_with("HTTP/"), "{refused}");
        // And back again.
        let terms = PermissiveConfig { until_unix_s: BEGINNING_S + 60, silence: Silence::Refused };
        reload(world, Some(terms));
        let again = ask(&mut world.caller().await.io, GET_OPEN).await;
        [&before[0], &before[1], &after, &again].map(|answer| status(answer))
    });
    assert_eq!(answers, [200; 4]);
    let reasons: Vec<_> = records.iter().filter(|record| record["kind"] == "conn").collect();
    let reasons: Vec<_> = reasons.into_iter().map(|record| text(record, "reason")).collect();
    assert_eq!(reasons, ["peer.plaintext", "tls.not_tls"], "{records:#?}");
}

#[test]
fn without_an_identity_of_our_own_nobody_is_served_in_plain_text_either() {
    let (answer, records) = world(ASKS, &[]).run(async |world, mut caller| {
        world.shared.publish(|next| next.svid = None);
        ask(&mut caller.io, GET_OPEN).await
    });
    assert_eq!(answer, "");
    assert_eq!(text(only(&records, "conn"), "reason"), "tls.own_identity");
}

#[test]
fn whoever_comes_in_plain_text_is_counted_and_told_by_address() {
    let world = world(ASKS, &[]);
    let metrics = std::sync::Arc::clone(&world.metrics);
    world.listener.permit_plaintext(world.listener.permissive.terms());
    let (callers, _) = world.run(async |world, mut caller| {
        ask(&mut caller.io, GET_OPEN).await;
        world.clock.advance(Duration::from_secs(7));
        ask(&mut world.caller().await.io, GET).await;
        world.caller().await.ask(GET).await;
        world.listener.permissive.callers()
    });
    assert_eq!((callers.connections, callers.last_unix_s), (2, Some(BEGINNING_S + 7)));
    assert_eq!(callers.by_address, [("192.0.2.7".parse().unwrap(), 2, BEGINNING_S + 7)]);
    let text = metrics.encode();
    for line in [
        "postern_plaintext_connections_total{listener=\"app\"} 2",
        &format!("postern_plaintext_until_timestamp_seconds{{listener=\"app\"}} {}", BEGINNING_S + LASTS_S),
        "postern_handshakes_completed_total{listener=\"app\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
}

#[test]
fn a_load_balancer_says_who_comes_in_plain_text() {
    let behind = "address: 127.0.0.1:8443, proxy_protocol: { from: [192.0.2.0/24] },";
    let world = world(ASKS, &[("address: 127.0.0.1:8443,", behind)]);
    let request = format!("PROXY TCP4 198.51.100.9 192.0.2.1 4444 8443\n{GET_OPEN}");
    let (callers, records) = world.run(async |world, mut caller| {
        assert_eq!(status(&ask(&mut caller.io, &request).await), 200);
        world.listener.permissive.callers().by_address
    });
    assert_eq!(callers, [("198.51.100.9".parse().unwrap(), 1, BEGINNING_S)]);
    assert_eq!(text(only(&records, "decision"), "src"), "198.51.100.9:4444");
}

#[test]
fn a_captured_caller_in_plain_text_is_known_by_where_it_was_going() {
    let captured = ("address: 127.0.0.1:8443,", "address: 127.0.0.1:8443, captured: transparent,");
    let world = world(ASKS, &[captured]);
    world.lead_away_from(Some("192.0.2.1:8080"));
    let records = check(world, GET_OPEN, (200, "policy.allowed"));
    assert_eq!(text(only(&records, "decision"), "dst"), "192.0.2.1:8080");
}

const SCHEMES: [&str; 4] = ["x-forwarded-proto", "x-forwarded-ssl", "front-end-https", "x-forwarded-scheme"];

/// Which headers that speak of TLS reach the upstream of a route with `written`, from a caller in plain text that sends all of
/// them, and what is recorded.
fn check_scheme((policy, written): (&str, &str), expected: &[(&str, &str)], mutations: &[&str]) {
    let told = format!("retry: {{ attempts_max: 2, on: [connect_failure] }}, explain: detail{written}");
    let world = world(policy, &[("retry: { attempts_max: 2, on: [connect_failure] }", &*told)]);
    let seen = Rc::clone(&world.seen);
    let sent = SCHEMES.map(|name| format!("{name}: https\n")).concat();
    let request = GET_OPEN.replace("\n\n", &format!("\n{sent}\n"));
    let records = check(world, &request, (200, "policy.allowed"));
    let seen = seen.borrow();
    let found = SCHEMES.into_iter();
    let found: Vec<_> =
        found.filter_map(|name| Some((name, seen[0].headers().get(name)?.to_str().unwrap()))).collect();
    assert_eq!(found, expected, "{written}");
    let recorded = only(&records, "decision").get("mutations").cloned().unwrap_or_else(|| json!([]));
    assert_eq!(recorded, json!(mutations), "{written}");
}

#[test]
fn a_caller_in_plain_text_cannot_say_that_it_spoke_tls() {
    let all = SCHEMES.map(|name| format!("remove {name}"));
    let [proto, ssl, front, scheme] = all.each_ref().map(String::as_str);
    check_scheme((OPEN, ""), &[], &[proto, ssl, front, scheme]);
    let set = ", forwarded_headers: { proto: set }";
    let told = [("x-forwarded-proto", "http")];
    check_scheme((OPEN, set), &told, &[ssl, front, scheme, "set x-forwarded-proto"]);
    let remove = ", forwarded_headers: { proto: remove }";
    check_scheme((OPEN, remove), &[], &[proto, ssl, front, scheme]);
    // What the route or policy says stands.
    let written =
        ", rewrite: { request_headers: { set: { front-end-https: \"off\" }, remove: [x-forwarded-ssl] } }";
    let by_route = ["remove x-forwarded-ssl", "set front-end-https", proto, scheme];
    check_scheme((OPEN, written), &[("front-end-https", "off")], &by_route);
    let sets = "package authz\nimport rego.v1\ndecision := {\"allowed\": true, \"headers\": {\"x-forwarded-scheme\": \"http\"}} if input.postern.tls == \"none\"";
    let by_policy = ["set x-forwarded-scheme", proto, ssl, front];
    check_scheme((sets, ""), &[("x-forwarded-scheme", "http")], &by_policy);
}

/// Both of a listener's own bounds, on connections and on handshakes of one address.
fn bounded(connections_max: usize, handshakes_per_source_max: usize, more: &[(&str, &str)]) -> World {
    let limits = format!(
        "drain_grace: 1s, connections_max: {connections_max}, handshakes_per_source_max: {handshakes_per_source_max}"
    );
    let mut changes = vec![("drain_grace: 1s", &*limits)];
    changes.extend(more);
    world(ASKS, &changes)
}

#[test]
fn plain_text_has_half_of_the_places_and_whoever_proves_who_it_is_has_the_rest() {
    for (connections_max, share) in [(2, 1), (3, 2), (4, 2)] {
        let (answers, records) = bounded(connections_max, connections_max, &[]).run(async |world, first| {
            let mut held = vec![first.io];
            while held.len() < share {
                held.push(world.caller().await.io);
            }
            for io in &mut held {
                assert_eq!(status(&ask(io, GET_OPEN).await), 200, "{connections_max}");
            }
            let refused = ask(&mut world.caller().await.io, GET_OPEN).await;
            assert_eq!(refused, "", "{connections_max}");
            let proven = world.caller().await.ask(GET).await;
            // A place is given back with its connection.
            let last = &mut held[0];
            ask(last, &GET_OPEN.replace("\n\n", "\nConnection: close\n\n")).await;
            ended(last).await;
            let again = ask(&mut world.caller().await.io, GET_OPEN).await;
            [proven, again].map(|answer| status(&answer))
        });
        assert_eq!(answers, [200, 200], "{connections_max}");
        let entry = only(&records, "conn");
        assert_eq!((text(entry, "reason"), text(entry, "tls")), ("conn.limit", "none"), "{entry}");
    }
}

#[test]
fn a_connection_in_plain_text_counts_among_the_handshakes_of_its_address_as_long_as_it_lasts() {
    let source = "192.0.2.7:4001".parse().unwrap();
    bounded(8, 1, &[]).run(async |world, caller| {
        let may_begin = || Handshake::begin(&world.listener, source).is_some();
        let mut proven = caller.shake_hands().await;
        assert_eq!(status(&proven.ask(GET).await), 200);
        assert!(may_begin(), "a handshake that has ended counts no more");
        let mut plain = world.caller().await.io;
        assert_eq!(status(&ask(&mut plain, GET_OPEN).await), 200);
        assert!(!may_begin(), "a connection in plain text does");
        ask(&mut plain, &GET_OPEN.replace("\n\n", "\nConnection: close\n\n")).await;
        ended(&mut plain).await;
        assert!(may_begin(), "until it ends");
    });
}

#[test]
fn behind_a_load_balancer_it_counts_among_those_of_the_address_that_is_named() {
    let behind = "address: 127.0.0.1:8443, proxy_protocol: { from: [192.0.2.0/24] },";
    let world = bounded(8, 1, &[("address: 127.0.0.1:8443,", behind)]);
    let from = |last: u8| format!("PROXY TCP4 198.51.100.{last} 192.0.2.1 4444 8443\n{GET_OPEN}");
    let (answers, records) = world.run(async |world, mut first| {
        let mut said = vec![ask(&mut first.io, &from(9)).await];
        let (mut refused, mut other) = (world.caller().await.io, world.caller().await.io);
        said.push(ask(&mut refused, &from(9)).await);
        said.push(ask(&mut other, &from(10)).await);
        said.iter().map(|answer| answer.starts_with("HTTP/1.1 200 ")).collect::<Vec<_>>()
    });
    assert_eq!(answers, [true, false, true]);
    assert_eq!(text(only(&records, "conn"), "reason"), "conn.handshakes");
}

/// A stream in plain text whose first word is `said`, or whose service speaks first.
fn stream(silence: &str, said: &str, heard: &str) -> Vec<Value> {
    let silent = PERMISSIVE.replace("00Z\" }", &format!("00Z\", silence: {silence} }}"));
    let world = streams::world(Some(OPEN), streams::greeting(), &[(MUTUAL, &silent)]);
    let (found, records) = world.run(async |world, mut caller| {
        caller.io.write_all(said.as_bytes()).await.unwrap();
        let mut found = vec![0; heard.len()];
        let read = caller.io.read_exact(&mut found).await;
        if heard.is_empty() {
            ended(&mut caller.io).await;
            return Vec::new();
        }
        read.unwrap();
        world.clock.advance(Duration::from_secs(LASTS_S));
        let began = Instant::now();
        ended(&mut caller.io).await;
        assert!((30..33).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
        found
    });
    assert_eq!(String::from_utf8(found).unwrap(), heard, "{records:#?}");
    records
}

#[test]
fn a_raw_stream_in_plain_text_is_decided_like_any_other_and_ends_with_its_time() {
    for (silence, said) in [("refused", "ping"), ("plaintext", "ping"), ("plaintext", "")] {
        let heard = if said.is_empty() { "hello\n" } else { "hello\nPING" };
        let records = stream(silence, said, heard);
        let decision = only(&records, "decision");
        assert_eq!((text(decision, "method"), text(decision, "tls")), ("connect", "none"), "{decision}");
        let outcome = only(&records, "outcome");
        assert_eq!((text(outcome, "end"), text(outcome, "reason")), ("revoked", "peer.plaintext"));
    }
    let records = stream("refused", "", "");
    assert_eq!(text(only(&records, "conn"), "reason"), "conn.handshake_timeout");
}
