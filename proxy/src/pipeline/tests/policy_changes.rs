//! What is in progress lasts no longer than policy permits it.
use super::peers::{Caller, CallerBody, endless, played, silent};
use super::world::{Upstream, World};
use super::{ALLOW, DENY, READS_BODY, only, text};
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use serde_json::Value;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Denies GET, and everything in which the body is not what was sent.
const DENIES_OTHERS: &str = r#"package authz
import rego.v1
default decision := {"allowed": false, "reason": "not any more"}
decision := true if {
    input.attributes.request.http.method == "POST"
    input.parsed_body.amount == 1
    input.attributes.source.principal == "spiffe://example.org/web"
}"#;

fn request(method: &str, content_type: &str, body: &'static str) -> Request<CallerBody> {
    let request = Request::builder().method(method).uri("https://a.test/calls/Method");
    let body = match body {
        "" => Empty::new().map_err(|never| match never {}).boxed(),
        body => Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed(),
    };
    request.header("content-type", content_type).body(body).unwrap()
}

/// What a caller hears of an answer without end: its trailers, or none where it breaks.
type Heard = Option<Result<Option<HeaderMap>, ()>>;

/// An answer without end is on its way when policy changes: what the caller hears within three seconds.
fn hear(
    policies: (&str, &str),
    request: Request<CallerBody>,
    changes: &[(&str, &str)],
) -> (Heard, Vec<Value>) {
    let world = World::configured(Some(policies.0), changes).with_upstream(endless());
    world.run(async |world, caller| {
        let mut caller = caller.speak_http2().await;
        let answer = caller.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        let mut reading = tokio::task::spawn_local(answer.into_body().collect());
        let early = tokio::time::timeout(Duration::from_secs(30), &mut reading).await;
        assert!(early.is_err(), "nothing has happened yet");
        world.change_policy(policies.1);
        let heard = tokio::time::timeout(Duration::from_secs(3), &mut reading).await;
        reading.abort();
        heard.ok().map(|read| read.unwrap().map(|whole| whole.trailers().cloned()).map_err(drop))
    })
}

/// Whether the answer is broken off, and what the record says of its end.
#[track_caller]
fn check(policies: (&str, &str), request: Request<CallerBody>, (is_broken, end, reason): (bool, &str, &str)) {
    let (heard, records) = hear(policies, request, &[]);
    assert_eq!(heard, is_broken.then_some(Err(())), "{records:#?}");
    let outcome = only(&records, "outcome");
    assert_eq!((text(outcome, "end"), text(outcome, "reason")), (end, reason), "{outcome}");
}

#[test]
fn an_answer_ends_when_policy_no_longer_permits_its_request() {
    let revoked = (true, "revoked", "policy.denied");
    check((ALLOW, DENY), request("GET", "text/plain", ""), revoked);
    check((ALLOW, DENIES_OTHERS), request("GET", "text/plain", ""), revoked);
    check((ALLOW, ALLOW), request("GET", "text/plain", ""), (false, "client_gone", ""));
}

#[test]
fn policy_sees_the_body_again_that_it_has_read() {
    let json = "application/json";
    check((READS_BODY, DENIES_OTHERS), request("POST", json, "{\"amount\":1}"), (false, "client_gone", ""));
    let revoked = (true, "revoked", "policy.denied");
    check((READS_BODY, DENIES_OTHERS), request("POST", json, "{\"amount\":2}"), revoked);
    // What was not read cannot be judged by a policy that reads it.
    let unread = (true, "revoked", "policy.error");
    check((ALLOW, DENIES_OTHERS), request("POST", json, "{\"amount\":1}"), unread);
}

#[test]
fn a_grpc_call_is_told_why_it_ends() {
    let grpc = [("content-type", "application/grpc")];
    let (heard, records) = hear((ALLOW, DENY), request("POST", grpc[0].1, "\0\0\0\0\0"), &[]);
    // The upstream says by its own content type that it answers a gRPC call.
    assert_eq!(heard, Some(Err(())), "an answer of another kind is broken off: {records:#?}");
    let world = World::new(Some(ALLOW)).with_upstream(calls());
    let (trailers, records) = world.run(async |world, caller| {
        let mut caller = caller.speak_http2().await;
        let answer = caller.send_request(request("POST", grpc[0].1, "\0\0\0\0\0")).await.unwrap();
        world.change_policy(DENY);
        tokio::time::timeout(Duration::from_secs(3), answer.into_body().collect()).await
    });
    let trailers = trailers.unwrap().unwrap().trailers().cloned().unwrap();
    assert_eq!(trailers["grpc-status"], "7", "{trailers:?}");
    assert_eq!(trailers["grpc-message"], "policy.denied", "{trailers:?}");
    let outcome = only(&records, "outcome");
    assert_eq!((text(outcome, "end"), text(outcome, "reason")), ("revoked", "policy.denied"));
}

/// Answers calls and says nothing more.
fn calls() -> Upstream {
    super::peers::h2c(async |_| {
        let nothing = futures_util::stream::pending::<Result<hyper::body::Frame<Bytes>, _>>();
        let answer = http::Response::builder().header("content-type", "application/grpc");
        Ok::<_, std::io::Error>(answer.body(StreamBody::new(nothing)).unwrap())
    })
}

#[test]
fn a_route_that_observes_ends_nothing() {
    let observed = [("upstream: calls }", "upstream: calls, enforcement: observe }")];
    let (heard, _) = hear((ALLOW, DENY), request("GET", "text/plain", ""), &observed);
    assert_eq!(heard, None);
}

/// A conversation over HTTP/1.1 ends within so many seconds after policy has changed.
async fn is_closed(world: &World, caller: Caller, request: &str) -> bool {
    let mut conversation = caller.shake_hands().await;
    conversation.say(request).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    world.change_policy(DENY);
    tokio::time::timeout(Duration::from_secs(3), conversation.read_to_end()).await.is_ok()
}

#[test]
fn over_http1_the_connection_ends() {
    let talking = played(|_, mut stream| async move {
        let mut head = [0; 1024];
        drop(stream.read(&mut head).await);
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").await);
        std::future::pending::<()>().await;
    });
    let world = World::new(Some(ALLOW)).with_upstream(talking);
    let (is_closed, records) = world.run(async |world, caller| {
        is_closed(world, caller, "GET /api/x HTTP/1.1\r\nHost: a.test\r\n\r\n").await
    });
    assert!(is_closed);
    assert_eq!(text(only(&records, "outcome"), "end"), "revoked");
}

#[test]
fn an_upload_ends_before_it_is_answered() {
    let world = World::new(Some(ALLOW)).with_upstream(silent());
    let upload = "POST /api/x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100\r\n\r\nsome";
    let (is_closed, records) = world.run(async |world, caller| is_closed(world, caller, upload).await);
    assert!(is_closed);
    let outcome = only(&records, "outcome");
    assert_eq!((text(outcome, "end"), text(outcome, "reason")), ("revoked", "policy.denied"));
}

#[test]
fn many_answers_are_judged_again_and_those_that_have_ended_are_left_alone() {
    let world = World::new(Some(ALLOW)).with_upstream(endless());
    let (broken, _) = world.run(async |world, caller| {
        let mut caller = caller.speak_http2().await;
        let mut reading = Vec::new();
        for _ in 0..90 {
            let answer = caller.send_request(request("GET", "text/plain", "")).await.unwrap();
            reading.push(tokio::task::spawn_local(answer.into_body().collect()));
        }
        world.change_policy(DENY);
        let mut broken = 0;
        for answer in reading {
            let read = tokio::time::timeout(Duration::from_secs(3), answer).await;
            broken += usize::from(read.is_ok_and(|read| read.unwrap().is_err()));
        }
        // The connection itself serves on.
        let next = caller.send_request(request("GET", "text/plain", "")).await.unwrap();
        assert_eq!(next.status(), 403);
        broken
    });
    assert_eq!(broken, 90);
}
