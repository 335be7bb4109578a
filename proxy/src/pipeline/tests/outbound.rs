//! What the local workload asks of others.
use super::peers::Caller;
use super::secure::secured;
use super::world::World;
use super::{only, status, text};
use crate::upstream::LocalExecutor;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SERVICE: &str = "spiffe://example.org/service";
/// The workload may ask the service for what lies below `/api`, and nobody for anything else.
const POLICY: &str = r#"package authz
import rego.v1
default decision := false
decision := true if {
    input.attributes.source.principal == "spiffe://example.org/app"
    input.attributes.destination.principal == "spiffe://example.org/service"
    input.attributes.request.http.host == "orders.test"
    input.attributes.request.http.scheme == "http"
    startswith(input.attributes.request.http.path, "/api/")
}"#;

/// A world whose listener is for the local workload, and whose upstream proves to be `actual`.
fn world(actual: &str) -> World {
    let changes = [
        (
            "inbound: { address: 127.0.0.1:8443, tls: { mutual: { trust_domains: [example.org] } } }",
            "outbound: { address: 127.0.0.1:15001 }",
        ),
        (
            "127.0.0.1:1, 127.0.0.1:2] }",
            &*format!("127.0.0.1:1], tls: {{ mutual: {{ spiffe_ids: [\"{SERVICE}\"] }} }} }}"),
        ),
    ];
    let world = World::configured(Some(POLICY), &changes);
    let upstream = secured(&world, actual).0;
    world.with_upstream(upstream)
}

/// Asks in plain text and reads to the end.
async fn ask(caller: Caller, request: &str) -> String {
    let mut io = caller.io;
    io.write_all(request.replace('\n', "\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    drop(io.read_to_string(&mut answer).await);
    answer
}

/// A request comes to this status, and its decision has this reason.
fn check(actual: &str, request: &str, (expected, reason): (u16, &str)) -> Vec<serde_json::Value> {
    let (answer, records) = world(actual).run(async |_, caller| ask(caller, request).await);
    assert_eq!(status(&answer), expected, "{request}: {answer}");
    let reasons = [text(only(&records, "decision"), "reason"), text(only(&records, "outcome"), "reason")];
    assert!(reasons.contains(&reason), "{reasons:?}");
    records
}

#[test]
fn the_local_workload_asks_with_its_own_identity_and_the_upstream_proves_its_own() {
    let request = "GET /api/x HTTP/1.1\nHost: orders.test\nConnection: close\n\n";
    let records = check(SERVICE, request, (200, "policy.allowed"));
    let decision = only(&records, "decision");
    assert_eq!(decision["peer"], "spiffe://example.org/app", "{decision}");
    assert_eq!((text(decision, "host"), text(decision, "upstream")), ("orders.test", "app"));
    assert_eq!(text(only(&records, "outcome"), "server"), SERVICE, "who has answered");
    let (answer, _) = world(SERVICE).run(async |_, caller| ask(caller, request).await);
    assert!(
        answer.ends_with("spiffe://example.org/app\r\n0\r\n\r\n"),
        "who the service says has called: {answer}"
    );
}

#[test]
fn an_authority_is_the_same_with_the_port_that_goes_without_saying() {
    let with =
        |target: &str, host: &str| format!("GET {target} HTTP/1.1\nHost: {host}\nConnection: close\n\n");
    check(SERVICE, &with("/api/x", "orders.test:80"), (200, "policy.allowed"));
    check(SERVICE, &with("/api/x", "orders.test:443"), (403, "policy.denied"));
    // As to a proxy.
    check(SERVICE, &with("http://orders.test/api/x", "orders.test"), (200, "policy.allowed"));
    check(SERVICE, &with("http://orders.test/api/x", "other.test"), (400, "request.host_mismatch"));
}

#[test]
fn what_policy_does_not_permit_goes_nowhere() {
    let request = "GET /told/x HTTP/1.1\nHost: orders.test\nX-Spiffe-Id: spiffe://example.org/other\nConnection: close\n\n";
    check(SERVICE, request, (403, "policy.denied"));
}

#[test]
fn an_upstream_that_is_somebody_else_gets_nothing() {
    let request = "GET /api/x HTTP/1.1\nHost: orders.test\nConnection: close\n\n";
    check("spiffe://example.org/impostor", request, (503, "upstream.identity"));
}

#[test]
fn the_local_workload_may_speak_http2_by_prior_knowledge() {
    let (answer, records) = world(SERVICE).run(async |_, caller| {
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(LocalExecutor, TokioIo::new(caller.io)).await.unwrap();
        drop(tokio::task::spawn_local(connection));
        let request = Request::get("http://orders.test/api/x").body(Empty::<Bytes>::new()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        (response.status(), response.into_body().collect().await.unwrap().to_bytes())
    });
    assert_eq!(answer, (http::StatusCode::OK, Bytes::from("spiffe://example.org/app")));
    only(&records, "decision");
}

#[test]
fn without_an_identity_nothing_is_asked() {
    let request = "GET /api/x HTTP/1.1\nHost: orders.test\nConnection: close\n\n";
    let (answer, records) = world(SERVICE).run(async |world, caller| {
        world.shared.publish(|next| next.svid = None);
        ask(caller, request).await
    });
    assert_eq!(answer, "");
    assert_eq!(text(only(&records, "conn"), "reason"), "tls.own_identity");
}

/// A connection that a pool keeps ready holds up no end.
#[test]
fn a_connection_that_has_said_nothing_is_closed_soon_after_the_drain_begins() {
    let (told, heard) = std::sync::mpsc::channel();
    let ((), records) = world(SERVICE).run(async |_, mut caller| {
        tokio::time::sleep(Duration::from_secs(60)).await;
        let begun = tokio::time::Instant::now();
        // The worker drains as soon as this has returned.
        tokio::task::spawn_local(async move {
            drop(caller.io.read(&mut [0; 1]).await);
            told.send(begun.elapsed()).unwrap();
        });
    });
    assert_eq!(heard.recv().unwrap().as_secs(), 1);
    assert_eq!(text(only(&records, "conn"), "reason"), "conn.abandoned");
}

#[test]
fn an_observing_route_sends_on_what_policy_denies_and_records_that_it_did() {
    let request = "GET /watched/x HTTP/1.1\nHost: orders.test\nConnection: close\n\n";
    let records = check(SERVICE, request, (200, "policy.denied"));
    let decision = only(&records, "decision");
    assert_eq!((text(decision, "enforcement"), text(decision, "would")), ("observe", "deny"), "{decision}");
    // Who answers has to prove who it is all the same.
    check("spiffe://example.org/impostor", request, (503, "upstream.identity"));
}
