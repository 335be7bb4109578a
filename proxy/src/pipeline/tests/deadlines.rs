//! The time that a gRPC caller gives a call.
use super::peers::{endless, h2c};
use super::world::World;
use super::{ALLOW, only, text};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

fn call(timeout: &str) -> String {
    format!(
        "POST /calls/Get HTTP/1.1\nHost: a.test\nContent-Type: application/grpc\n{timeout}Content-Length: 5\n\n\0\0\0\0\0"
    )
}

/// What the upstream is told of a caller's timeout.
fn told(timeout: &str) -> Option<String> {
    let seen: Rc<RefCell<Option<String>>> = Rc::default();
    let noted = Rc::clone(&seen);
    let upstream = h2c(move |request: Request<Incoming>| {
        let noted = Rc::clone(&noted);
        async move {
            let timeout = request.headers().get("grpc-timeout");
            *noted.borrow_mut() = timeout.map(|value| value.to_str().unwrap().to_owned());
            drop(request.into_body().collect().await);
            let response = Response::builder().header("grpc-status", "0");
            Ok::<_, std::io::Error>(response.body(Full::new(Bytes::new())).unwrap())
        }
    });
    let world = World::new(Some(ALLOW)).with_upstream(upstream);
    let (answer, records) = world.run(async |_, caller| caller.ask(&call(timeout)).await);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let mutations = only(&records, "decision")["mutations"].to_string();
    assert_eq!(mutations.contains("set grpc-timeout"), !timeout.is_empty(), "{mutations}");
    seen.take()
}

#[test]
fn the_upstream_is_told_what_is_left_of_a_calls_time() {
    assert_eq!(told(""), None);
    let left = told("grpc-timeout: 10S\n").unwrap();
    let left: u64 = left.strip_suffix('u').unwrap().parse().unwrap();
    assert!((9_000_000..=10_000_000).contains(&left), "{left}");
}

#[test]
fn a_call_ends_at_its_own_deadline_though_the_route_has_more_time() {
    let silent = h2c(async |_| std::future::pending::<Result<Response<Full<Bytes>>, _>>().await);
    let world = World::new(Some(ALLOW)).with_upstream(silent);
    let ((answer, took), records) = world.run(async |_, caller| {
        let began = Instant::now();
        (caller.ask(&call("grpc-timeout: 2S\n")).await, began.elapsed())
    });
    assert!(answer.contains("grpc-status: 4\r\n"), "DEADLINE_EXCEEDED: {answer}");
    assert!((2..3).contains(&took.as_secs()), "{took:?}");
    assert_eq!(text(only(&records, "outcome"), "reason"), "upstream.timeout");
}

#[test]
fn an_answer_that_has_begun_ends_at_the_deadline_too() {
    let world = World::new(Some(ALLOW)).with_upstream(endless());
    let (took, records) = world.run(async |_, caller| {
        let mut conversation = caller.shake_hands().await;
        let began = Instant::now();
        conversation.say(&call("grpc-timeout: 70S\n").replace('\n', "\r\n")).await;
        conversation.read_to_end().await;
        began.elapsed()
    });
    assert!((Duration::from_secs(70)..Duration::from_secs(72)).contains(&took), "{took:?}");
    let outcome = only(&records, "outcome");
    assert_eq!((text(outcome, "end"), text(outcome, "reason")), ("timeout", "upstream.timeout"));
}

#[test]
fn a_time_that_cannot_be_read_is_refused() {
    let request = call("grpc-timeout: soon\n");
    let (answer, records) = World::new(Some(ALLOW)).run(async |_, caller| caller.ask(&request).await);
    assert!(answer.contains("grpc-status: 3\r\n"), "INVALID_ARGUMENT: {answer}");
    assert_eq!(text(only(&records, "decision"), "reason"), "request.grpc_timeout");
}
