//! Endpoints that are Unix sockets.
use super::peers::{echo, h2c, played};
use super::secure::secured;
use super::world::{Upstream, World};
use super::{ALLOW, GET, only, status, text};
use crate::upstream::{Connect, Connecting, ConnectingLocal};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use postern_audit::SocketPath;
use serde_json::Value;
use std::cell::RefCell;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

const TWO: &str = "127.0.0.1:1, 127.0.0.1:2]";
const ONE_LOCAL: &str = "\"unix:///run/app.sock\"]";
/// As whom the process at the other end runs.
const UID: u32 = 1001;

/// A machine with one Unix socket, and no network.
struct Local {
    path: &'static str,
    upstream: Upstream,
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path)
    }
}

impl Connect for Local {
    fn connect(&self, _: SocketAddr) -> Connecting {
        Box::pin(async { Err(io::ErrorKind::NetworkUnreachable.into()) })
    }

    fn connect_local(&self, path: &SocketPath) -> ConnectingLocal {
        let made = match path.as_str() == self.path {
            true => (self.upstream)(0).map(|io| (io, UID)),
            false => Err(io::ErrorKind::NotFound.into()),
        };
        Box::pin(async { made })
    }
}

fn world(rest: &str) -> World {
    World::configured(Some(ALLOW), &[(TWO, &format!("{ONE_LOCAL}{rest}"))])
}

fn with(world: World, upstream: Upstream) -> World {
    let local = Local { path: "/run/app.sock", upstream };
    world.with_network(Rc::new(local), [1, 2, 3, 4])
}

/// A request comes to this status, for this reason; its record names the socket.
fn check(rest: &str, upstream: Upstream, (expected, reason): (u16, &str)) -> String {
    check_in(with(world(rest), upstream), (expected, reason))
}

fn check_in(world: World, (expected, reason): (u16, &str)) -> String {
    let (answer, records) = world.run(async |_, caller| caller.ask(GET).await);
    let outcome = only(&records, "outcome");
    let found = (status(&answer), text(outcome, "reason"), text(outcome, "endpoint"));
    assert_eq!(found, (expected, reason, "unix:///run/app.sock"), "{answer}");
    answer
}

/// Says for which host it was asked.
fn host() -> Upstream {
    h2c(async |request: Request<hyper::body::Incoming>| {
        let host = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        Ok::<_, io::Error>(Response::new(Full::new(Bytes::from(host))))
    })
}

#[test]
fn a_request_goes_to_a_unix_socket_with_the_authority_that_it_came_with() {
    let seen: Rc<RefCell<Vec<Request<Bytes>>>> = Rc::default();
    check("", echo(&seen), (200, ""));
    assert_eq!(seen.borrow()[0].headers()["host"], "a.test");
    let answer = check(", protocol: h2c", host(), (200, ""));
    assert!(answer.contains("a.test"), "{answer}");
}

#[test]
fn a_service_behind_a_unix_socket_proves_who_it_is() {
    for protocol in ["http1", "h2"] {
        let id = "spiffe://example.org/service";
        let mutual = format!("spiffe_ids: [\"{id}\"], server_name: orders.test");
        let tls = format!(", protocol: {protocol}, tls: {{ mutual: {{ {mutual} }} }}");
        for (actual, expected) in
            [(id, (200, "")), ("spiffe://example.org/impostor", (503, "upstream.identity"))]
        {
            let world = world(&tls);
            let upstream = secured(&world, actual).0;
            check_in(with(world, upstream), expected);
        }
    }
}

#[test]
fn only_a_process_of_the_named_users_is_spoken_to() {
    let seen: Rc<RefCell<Vec<Request<Bytes>>>> = Rc::default();
    check(", uids: [7, 1001]", echo(&seen), (200, ""));
    check(", uids: [7]", echo(&seen), (503, "upstream.identity"));
    check(", uids: [7], protocol: h2c", host(), (503, "upstream.identity"));
    assert_eq!(seen.borrow().len(), 1, "what somebody else was told");
}

#[test]
fn a_socket_that_is_not_there_yet_is_a_connection_that_fails() {
    let local = Local { path: "/run/other.sock", upstream: echo(&Rc::default()) };
    check_in(world("").with_network(Rc::new(local), [1; 4]), (503, "upstream.connect_failed"));
}

#[test]
fn an_attempt_at_a_socket_is_listed_where_another_one_is_made() {
    let two = "\"unix:///run/gone.sock\", \"unix:///run/app.sock\"], balance: round_robin";
    let world = World::configured(Some(ALLOW), &[(TWO, two)]);
    let (answer, records) = with(world, echo(&Rc::default())).run(async |_, caller| caller.ask(GET).await);
    assert_eq!(status(&answer), 200, "{answer}");
    let tried = &only(&records, "outcome")["tried"];
    let named: Vec<Option<&str>> =
        tried.as_array().unwrap().iter().map(|of| of["endpoint"].as_str()).collect();
    assert_eq!(named, [Some("unix:///run/gone.sock")]);
}

#[test]
fn the_health_of_a_service_behind_a_unix_socket_is_asked_for_as_of_this_machine() {
    let heard: Rc<RefCell<String>> = Rc::default();
    let noted = Rc::clone(&heard);
    let upstream = played(move |_, mut stream: DuplexStream| {
        let noted = Rc::clone(&noted);
        async move {
            let mut bytes = [0; 4096];
            while let Ok(read) = stream.read(&mut bytes).await
                && read > 0
            {
                noted.borrow_mut().push_str(&String::from_utf8_lossy(&bytes[..read]).to_lowercase());
                let answer = b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n";
                stream.write_all(answer).await.unwrap();
            }
        }
    });
    let health = ", health: { probe: { http: { path: /healthz } }, interval: 1s, unhealthy_after: 1 }";
    let (metrics, _) = with(world(health), upstream).run(async |world, _| {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            world.clock.advance(Duration::from_secs(2));
        }
        world.metrics.encode()
    });
    let heard = heard.borrow();
    assert!(
        heard.starts_with("get /healthz http/1.1\r\n") && heard.contains("host: localhost\r\n"),
        "{heard}"
    );
    assert!(
        metrics.contains("postern_upstream_endpoints{upstream=\"app\",state=\"unhealthy\"} 1"),
        "{metrics}"
    );
}

#[test]
fn a_raw_stream_goes_to_a_unix_socket() {
    let world = super::streams::world(
        Some(super::streams::POLICY),
        echo(&Rc::default()),
        &[("127.0.0.1:1, 127.0.0.1:2]", "\"unix:///run/app.sock\"], uids: [1001]")],
    );
    let (heard, records) = with(world, super::streams::greeting()).run(async |_, caller| {
        let mut conversation = caller.shake_hands().await;
        conversation.0.shutdown().await.unwrap();
        let mut heard = String::new();
        conversation.0.read_to_string(&mut heard).await.unwrap();
        heard
    });
    assert_eq!(heard, "hello\nbye\n");
    let outcome: &Value = only(&records, "outcome");
    assert_eq!(text(outcome, "endpoint"), "unix:///run/app.sock", "{outcome}");
}
