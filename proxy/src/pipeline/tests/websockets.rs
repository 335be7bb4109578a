//! Requests that switch their connection to WebSocket.
use super::peers::{Conversation, played};
use super::world::{Upstream, World};
use super::{ALLOW, only, status, text};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::Instant;

const NOBODY: &str = "package authz\nimport rego.v1\ndefault decision := false";
const ROUTE: (&str, &str) = (
    "upstream: app, retry: { attempts_max: 2, on: [connect_failure] } }",
    "upstream: app, upgrades: [websocket], stream_idle_timeout: 1m }",
);
const SWITCH: &str = "GET /api/ws HTTP/1.1\nHost: a.test\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nhello";

/// An upstream that answers like this, greets right behind it, and says everything back in capitals.
fn answering(answer: &'static str) -> Upstream {
    played(move |_, mut stream: DuplexStream| async move {
        let mut heard = Vec::new();
        while !heard.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut heard).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let head = String::from_utf8(heard).unwrap().to_lowercase();
        assert!(
            head.contains("upgrade: websocket\r\n") && head.contains("connection: upgrade\r\n"),
            "{head}"
        );
        assert!(head.contains("sec-websocket-key: dghlihnhbxbszsbub25jzq==\r\n"), "{head}");
        stream.write_all(answer.as_bytes()).await.unwrap();
        let mut buffer = [0; 1024];
        while let Ok(read) = stream.read(&mut buffer).await
            && read > 0
        {
            stream.write_all(&buffer[..read].to_ascii_uppercase()).await.unwrap();
        }
    })
}

fn world(policy: &str, answer: &'static str) -> World {
    World::configured(Some(policy), &[ROUTE]).with_upstream(answering(answer))
}

/// Reads until this much more has come.
async fn hear(conversation: &mut Conversation, until: &str) -> String {
    let mut heard = Vec::new();
    while !heard.ends_with(until.as_bytes()) {
        let read = conversation.0.read_buf(&mut heard).await.unwrap_or(0);
        assert!(read > 0, "{}", String::from_utf8_lossy(&heard));
    }
    String::from_utf8(heard).unwrap()
}

fn end(records: &[serde_json::Value]) -> (String, String) {
    let outcome = only(records, "outcome");
    (text(outcome, "end").to_owned(), text(outcome, "reason").to_owned())
}

#[test]
fn a_permitted_request_becomes_a_websocket_when_the_upstream_agrees() {
    let (heard, records) = world(ALLOW, SWITCHED).run(async |_, caller| {
        let mut conversation = caller.shake_hands().await;
        conversation.say(&SWITCH.replace('\n', "\r\n")).await;
        let head = hear(&mut conversation, "hello").await;
        conversation.say("ping").await;
        let echo = hear(&mut conversation, "PING").await;
        (head.to_lowercase(), echo)
    });
    assert!(heard.0.starts_with("http/1.1 101 "), "{heard:?}");
    for line in
        ["connection: upgrade\r\n", "upgrade: websocket\r\n", "sec-websocket-accept: ", "x-decision-id: "]
    {
        assert!(heard.0.contains(line), "{line} in {heard:?}");
    }
    assert_eq!(heard.1, "PING");
    let outcome = only(&records, "outcome");
    assert_eq!(outcome["status"], 101, "{outcome}");
    assert_eq!((&outcome["request_bytes"], &outcome["response_bytes"]), (&4.into(), &9.into()), "{outcome}");
    assert_eq!(text(only(&records, "decision"), "path"), "/api/ws");
}

/// A request to switch comes to this status, and its record to this reason.
fn check(world: World, request: &str, (expected, reason): (u16, &str)) {
    let (answer, records) = world.run(async |_, caller| caller.ask(request).await);
    assert_eq!(status(&answer), expected, "{answer}");
    let reasons = [text(only(&records, "decision"), "reason"), text(only(&records, "outcome"), "reason")];
    assert!(reasons.contains(&reason), "{reasons:?}");
}

#[test]
fn a_switch_that_the_route_or_policy_does_not_take_reaches_nobody() {
    let nobody = || -> Upstream { std::rc::Rc::new(|_| panic!("nobody is to be called")) };
    let elsewhere = World::new(Some(ALLOW)).with_upstream(nobody());
    check(elsewhere, SWITCH, (501, "request.upgrade"));
    let denied = World::configured(Some(NOBODY), &[ROUTE]).with_upstream(nobody());
    check(denied, SWITCH, (403, "policy.denied"));
}

#[test]
fn a_switch_is_asked_for_as_the_protocol_wants_it() {
    for (from, to) in [
        ("GET", "POST"),
        ("Connection: Upgrade\n", "Connection: keep-alive\n"),
        ("Upgrade: websocket", "Upgrade: h2c, websocket"),
        ("Version: 13", "Version: 8"),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n", ""),
        ("Host: a.test\n", "Host: a.test\nContent-Length: 5\n"),
    ] {
        let request = SWITCH.replace(from, to);
        let world = World::configured(Some(ALLOW), &[ROUTE]);
        check(world, &request, (501, "request.upgrade"));
    }
}

#[test]
fn an_upstream_that_does_not_switch_answers_as_ever() {
    let plain = "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno";
    check(world(ALLOW, plain), SWITCH, (426, "policy.allowed"));
    // To something that nobody asked for.
    let other = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    check(world(ALLOW, other), SWITCH, (502, "upstream.protocol"));
}

#[test]
fn nothing_is_switched_for_a_request_that_did_not_ask() {
    let upstream = played(|_, mut stream: DuplexStream| async move {
        drop(stream.read(&mut [0; 4096]).await);
        stream.write_all(SWITCHED.as_bytes()).await.unwrap();
        std::future::pending::<()>().await;
    });
    let world = World::configured(Some(ALLOW), &[ROUTE]).with_upstream(upstream);
    check(world, "GET /api/ws HTTP/1.1\nHost: a.test\n\n", (502, "upstream.protocol"));
}

#[test]
fn a_websocket_ends_when_policy_no_longer_permits_it_and_goes_on_when_it_does() {
    for (policy, reason) in [(NOBODY, "policy.denied"), (ALLOW, "")] {
        let (took, records) = world(ALLOW, SWITCHED).run(async |world, caller| {
            let mut conversation = caller.shake_hands().await;
            conversation.say(&SWITCH.replace('\n', "\r\n")).await;
            hear(&mut conversation, "hello").await;
            world.change_policy(policy);
            let began = Instant::now();
            conversation.read_to_end().await;
            began.elapsed()
        });
        let ended = if reason.is_empty() { "timeout" } else { "revoked" };
        assert_eq!(end(&records), (ended.to_owned(), reason.to_owned()));
        let limit = if reason.is_empty() { 60..63 } else { 0..3 };
        assert!(limit.contains(&took.as_secs()), "{took:?}");
    }
}

#[test]
fn a_websocket_ends_with_its_callers_identity() {
    let world = world(ALLOW, SWITCHED).with_caller_ttl(Duration::from_secs(20));
    let (took, records) = world.run(async |world, caller| {
        let mut conversation = caller.shake_hands().await;
        conversation.say(&SWITCH.replace('\n', "\r\n")).await;
        hear(&mut conversation, "hello").await;
        world.clock.advance(Duration::from_secs(21));
        let began = Instant::now();
        conversation.read_to_end().await;
        began.elapsed()
    });
    assert!((30..33).contains(&took.as_secs()), "{took:?}");
    assert_eq!(end(&records), ("revoked".to_owned(), "peer.expired".to_owned()));
}

#[test]
fn an_end_of_either_side_ends_the_websocket() {
    let upstream = played(|_, mut stream: DuplexStream| async move {
        drop(stream.read(&mut [0; 4096]).await);
        stream.write_all(SWITCHED.as_bytes()).await.unwrap();
    });
    let world = World::configured(Some(ALLOW), &[ROUTE]).with_upstream(upstream);
    let ((), records) = world.run(async |_, caller| {
        let mut conversation = caller.shake_hands().await;
        conversation.say(&SWITCH.replace('\n', "\r\n")).await;
        hear(&mut conversation, "hello").await;
        assert_eq!(conversation.read_to_end().await, 0);
        conversation.0.shutdown().await.unwrap();
    });
    assert_eq!(end(&records).0, "done");
}

#[test]
fn a_switch_of_which_its_caller_never_hears_is_recorded_and_let_go() {
    let slow = played(|_, mut stream: DuplexStream| async move {
        drop(stream.read(&mut [0; 4096]).await);
        tokio::time::sleep(Duration::from_secs(3)).await;
        drop(stream.write_all(SWITCHED.as_bytes()).await);
        std::future::pending::<()>().await;
    });
    let one_at_a_time = ("127.0.0.1:2] }", "127.0.0.1:2], requests_max: 1 }");
    let world = World::configured(Some(ALLOW), &[ROUTE, one_at_a_time]).with_upstream(slow);
    let (next, records) = world.run(async |world, caller| {
        let mut conversation = caller.shake_hands().await;
        // With a byte behind the head, the end of the connection is not seen before something is written.
        conversation.say(&format!("{}x", SWITCH.replace('\n', "\r\n"))).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(conversation);
        tokio::time::sleep(Duration::from_secs(5)).await;
        world.caller().await.ask(SWITCH).await
    });
    assert_eq!(status(&next), 101, "its place is free: {next}");
    let outcomes = records.iter().filter(|record| record["kind"] == "outcome");
    let ends: Vec<_> = outcomes.map(|outcome| text(outcome, "end")).collect();
    assert_eq!(ends, ["client_gone", "client_gone"]);
}

#[test]
fn a_websocket_that_has_a_grace_left_ends_when_policy_no_longer_permits_it() {
    let world = world(ALLOW, SWITCHED).with_caller_ttl(Duration::from_secs(20));
    let (took, records) = world.run(async |world, caller| {
        let mut conversation = caller.shake_hands().await;
        conversation.say(&SWITCH.replace('\n', "\r\n")).await;
        hear(&mut conversation, "hello").await;
        world.clock.advance(Duration::from_secs(21));
        tokio::time::sleep(Duration::from_secs(3)).await;
        world.change_policy(NOBODY);
        let began = Instant::now();
        conversation.read_to_end().await;
        began.elapsed()
    });
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert_eq!(end(&records), ("revoked".to_owned(), "policy.denied".to_owned()));
}
