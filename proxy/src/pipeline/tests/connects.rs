//! CONNECT, plain and extended.
use super::peers::played;
use super::world::{Upstream, World};
use super::{ALLOW, DENY, only, status, text};
use bytes::Bytes;
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::{Method, Request};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::Instant;

const CONNECT: &str = "CONNECT db.test:5432 HTTP/1.1\r\nHost: db.test:5432\r\n\r\n";
const ROUTE: [(&str, &str); 3] = [
    (
        "name: api, match: { path_prefix: /api }, upstream: app, retry: { attempts_max: 2, on: [connect_failure] } }",
        "name: db, match: { authorities: [\"db.test:5432\"] }, upstream: app, upgrades: [connect], stream_idle_timeout: 1m }",
    ),
    (
        "      - { name: watched, match: { path_prefix: /watched }, upstream: app, enforcement: observe }\n",
        "",
    ),
    ("      - { name: told, match: { path_prefix: /told }, upstream: app, explain: detail }\n", ""),
];
const TCP: (&str, &str) = ("127.0.0.1:2] }", "127.0.0.1:2], protocol: tcp }");
/// Only such a stream, and no request.
const STREAMS: &str = r#"package authz
import rego.v1
default decision := false
decision := true if {
    input.attributes.request.http.method == "CONNECT"
    input.attributes.request.http.host == "db.test:5432"
    input.attributes.source.principal == "spiffe://example.org/web"
}"#;

/// Greets and says everything back in capitals.
fn greeting() -> Upstream {
    played(|_, mut stream: DuplexStream| async move {
        stream.write_all(b"hello").await.unwrap();
        let mut buffer = [0; 1024];
        while let Ok(read) = stream.read(&mut buffer).await
            && read > 0
        {
            stream.write_all(&buffer[..read].to_ascii_uppercase()).await.unwrap();
        }
    })
}

fn world(policy: &str) -> World {
    let changes = [&ROUTE[..], &[TCP]].concat();
    World::configured(Some(policy), &changes).with_upstream(greeting())
}

#[test]
fn a_permitted_connect_becomes_a_byte_stream() {
    let (heard, records) = world(STREAMS).run(async |_, caller| {
        let mut conversation = caller.shake_hands().await;
        // What comes with the request is not lost.
        conversation.say(&format!("{CONNECT}ping")).await;
        let mut heard = Vec::new();
        while !heard.ends_with(b"helloPING") {
            let read = conversation.0.read_buf(&mut heard).await.unwrap();
            assert!(read > 0, "{}", String::from_utf8_lossy(&heard));
        }
        conversation.0.shutdown().await.unwrap();
        conversation.read_to_end().await;
        String::from_utf8(heard).unwrap().to_lowercase()
    });
    assert!(heard.starts_with("http/1.1 200 ") && heard.contains("x-decision-id: "), "{heard}");
    let (head, _) = heard.split_once("\r\n\r\n").unwrap();
    assert!(!head.contains("content-length") && !head.contains("transfer-encoding"), "{head}");
    let decision = only(&records, "decision");
    assert_eq!((text(decision, "method"), text(decision, "host")), ("CONNECT", "db.test:5432"));
    let outcome = only(&records, "outcome");
    assert_eq!((&outcome["status"], text(outcome, "end")), (&200.into(), "done"), "{outcome}");
    assert_eq!((&outcome["request_bytes"], &outcome["response_bytes"]), (&4.into(), &9.into()), "{outcome}");
}

/// A CONNECT comes to this status, and its record to this reason, and no byte goes anywhere.
fn check_refused(policy: &str, request: &str, (expected, reason): (u16, &str)) {
    let nobody: Upstream = std::rc::Rc::new(|_| panic!("nobody is to be called"));
    let (answer, records) = world(policy)
        .with_upstream(nobody)
        .run(async |_, caller| caller.ask(&request.replace("\r\n", "\n")).await);
    assert_eq!((status(&answer), text(only(&records, "decision"), "reason")), (expected, reason), "{answer}");
}

#[test]
fn a_connect_that_no_route_or_no_policy_takes_reaches_nobody() {
    check_refused(DENY, CONNECT, (403, "policy.denied"));
    check_refused(STREAMS, &CONNECT.replace("5432", "5433"), (405, "request.connect"));
    check_refused(STREAMS, &CONNECT.replace("db.test:5432 HTTP", "/db HTTP"), (405, "request.connect"));
    check_refused(
        STREAMS,
        &CONNECT.replace("Host: db.test:5432", "Host: a.test"),
        (400, "request.host_mismatch"),
    );
    // Its route is for nothing else.
    check_refused(ALLOW, "GET / HTTP/1.1\nHost: db.test:5432\n\n", (404, "route.none"));
}

#[test]
fn an_upstream_that_takes_no_connection_is_told_by_the_status() {
    let dead: Upstream = std::rc::Rc::new(|_| Err(std::io::ErrorKind::ConnectionRefused.into()));
    let world = world(ALLOW).with_upstream(dead);
    let (answer, records) = world.run(async |_, caller| caller.ask(&CONNECT.replace("\r\n", "\n")).await);
    assert_eq!(status(&answer), 503, "{answer}");
    assert_eq!(text(only(&records, "outcome"), "reason"), "upstream.connect_failed");
}

/// Opens a stream over HTTP/2.
async fn open(client: SendRequest<Bytes>, request: Request<()>) -> (u16, SendStream<Bytes>, RecvStream) {
    let mut client = client.ready().await.unwrap();
    let (answer, up) = client.send_request(request, false).unwrap();
    let answer = answer.await.unwrap();
    (answer.status().as_u16(), up, answer.into_body())
}

async fn hear(down: &mut RecvStream, wanted: &str) {
    let mut heard = Vec::new();
    while heard.len() < wanted.len() {
        let part = down.data().await.unwrap().unwrap();
        down.flow_control().release_capacity(part.len()).unwrap();
        heard.extend_from_slice(&part);
    }
    assert_eq!(String::from_utf8(heard).unwrap(), wanted);
}

#[test]
fn over_http2_its_stream_alone_becomes_one_and_ends_with_the_policy_that_permitted_it() {
    let connect = || Request::builder().method(Method::CONNECT).uri("db.test:5432").body(()).unwrap();
    let (took, records) = world(STREAMS).run(async |world, caller| {
        let client = caller.speak_bare_http2().await;
        let (status, mut up, mut down) = open(client.clone(), connect()).await;
        assert_eq!(status, 200);
        hear(&mut down, "hello").await;
        up.send_data(Bytes::from("ping"), false).unwrap();
        hear(&mut down, "PING").await;
        world.change_policy(DENY);
        let began = Instant::now();
        while down.data().await.is_some_and(|part| part.is_ok()) {}
        let took = began.elapsed();
        assert_eq!(open(client, connect()).await.0, 403, "the connection serves on");
        took
    });
    assert!(took < Duration::from_secs(3), "{took:?}");
    let outcomes: Vec<_> = records.iter().filter(|record| record["kind"] == "outcome").collect();
    assert!(outcomes.iter().any(|outcome| text(outcome, "end") == "revoked"), "{outcomes:#?}");
}

const WEBSOCKET: (&str, &str) = (
    "upstream: app, retry: { attempts_max: 2, on: [connect_failure] } }",
    "upstream: app, upgrades: [websocket], stream_idle_timeout: 1m }",
);

/// An upstream that answers a handshake so; `ACCEPT` stands for what belongs to its key.
fn handshaking(answer: &'static str) -> Upstream {
    played(move |_, mut stream: DuplexStream| async move {
        let mut heard = Vec::new();
        while !heard.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut heard).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let head = String::from_utf8(heard).unwrap();
        assert!(head.starts_with("GET /api/ws HTTP/1.1\r\n"), "{head}");
        let key = head.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")).unwrap();
        let text = [key, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"].concat();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
        let accept = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, digest);
        stream.write_all(answer.replace("ACCEPT", &accept).as_bytes()).await.unwrap();
        let mut buffer = [0; 1024];
        while let Ok(read) = stream.read(&mut buffer).await
            && read > 0
        {
            stream.write_all(&buffer[..read].to_ascii_uppercase()).await.unwrap();
        }
    })
}

fn extended() -> Request<()> {
    let mut request = Request::builder().method(Method::CONNECT).uri("https://a.test/api/ws");
    request = request.header("sec-websocket-version", "13").header("sec-websocket-protocol", "chat");
    let mut request = request.body(()).unwrap();
    request.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
    request
}

/// An extended CONNECT comes to this status, and its outcome to this reason.
fn check_extended(answer: &'static str, (expected, reason): (u16, &str)) -> Vec<serde_json::Value> {
    let world = World::configured(Some(ALLOW), &[WEBSOCKET]).with_upstream(handshaking(answer));
    let ((), records) = world.run(async |_, caller| {
        let (status, mut up, mut down) = open(caller.speak_bare_http2().await, extended()).await;
        assert_eq!(status, expected);
        if status == 200 {
            hear(&mut down, "hello").await;
            up.send_data(Bytes::from("ping"), true).unwrap();
            hear(&mut down, "PING").await;
            // The end of one side is heard by the other.
            while let Some(rest) = down.data().await {
                assert_eq!(rest.unwrap(), "");
            }
        }
    });
    assert_eq!(text(only(&records, "outcome"), "reason"), reason);
    records
}

#[test]
fn an_extended_connect_becomes_a_websocket_when_the_upstream_agrees() {
    let switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\nhello";
    let records = check_extended(switched, (200, ""));
    let decision = only(&records, "decision");
    assert_eq!((text(decision, "method"), text(decision, "path")), ("GET", "/api/ws"));
    assert_eq!(decision["mutations"], serde_json::json!(["set sec-websocket-key"]), "{decision}");
    let outcome = only(&records, "outcome");
    assert_eq!((&outcome["status"], text(outcome, "end")), (&200.into(), "done"), "{outcome}");
    // Whoever does not understand the handshake cannot answer it.
    let other = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nhello";
    check_extended(other, (502, "upstream.protocol"));
    // A success would say that it was switched.
    check_extended("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", (502, "upstream.protocol"));
    check_extended("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", (404, ""));
}
