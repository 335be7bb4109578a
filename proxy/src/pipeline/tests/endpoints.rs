//! Which endpoints of an upstream are asked, and which are left out.
use super::ALLOW;
use super::peers::{echo, h2c, played};
use super::world::{Upstream, World};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

const GET: &str = "GET /api/x HTTP/1.1\nHost: a.test\n\n";
const TWO: &str = "127.0.0.1:1, 127.0.0.1:2]";
const THREE: &str = "127.0.0.1:1, 127.0.0.1:2, 127.0.0.1:3]";
const NO_RETRY: (&str, &str) = (", retry: { attempts_max: 2, on: [connect_failure] } }", " }");

/// An endpoint that answers each request with this status, and says so.
fn answering(status: Rc<Cell<u16>>) -> Upstream {
    played(move |_, mut stream: DuplexStream| {
        let status = Rc::clone(&status);
        async move {
            let mut heard = [0; 4096];
            while stream.read(&mut heard).await.unwrap_or(0) > 0 {
                let answer = format!("HTTP/1.1 {} X\r\nContent-Length: 0\r\n\r\n", status.get());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    })
}

/// Asks so many times.
async fn statuses(world: &World, times: usize) -> BTreeMap<u16, usize> {
    let mut all = BTreeMap::new();
    for _ in 0..times {
        *all.entry(super::status(&world.caller().await.ask(GET).await)).or_default() += 1;
    }
    all
}

#[test]
fn an_endpoint_that_fails_again_and_again_is_left_out_and_comes_back_after_one_trial() {
    let status = Rc::new(Cell::new(503));
    let (bad, good) = (answering(Rc::clone(&status)), answering(Rc::new(Cell::new(200))));
    let changes = [(TWO, &*format!("{THREE}, balance: round_robin")), NO_RETRY];
    let world = World::configured(Some(ALLOW), &changes)
        .with_endpoints(move |endpoint: SocketAddr| if endpoint.port() == 1 { bad(0) } else { good(0) });
    let (found, _) = world.run(async |world, _| {
        let before = statuses(world, 15).await;
        let without = statuses(world, 30).await;
        world.clock.advance(Duration::from_secs(34));
        // One request tries it, and it is out again.
        let on_trial = statuses(world, 30).await;
        world.clock.advance(Duration::from_secs(67));
        status.set(200);
        let back = statuses(world, 10).await;
        status.set(204);
        world.clock.advance(Duration::from_secs(11));
        let again = statuses(world, 30).await;
        (before, without, on_trial, back, again)
    });
    let (before, without, on_trial, back, again) = found;
    assert_eq!(before, BTreeMap::from([(200, 10), (503, 5)]));
    assert_eq!(without, BTreeMap::from([(200, 30)]));
    assert_eq!(on_trial, BTreeMap::from([(200, 29), (503, 1)]));
    assert_eq!(back, BTreeMap::from([(200, 10)]));
    assert_eq!(again, BTreeMap::from([(200, 20), (204, 10)]));
}

#[test]
fn an_attempt_that_failed_goes_to_another_endpoint() {
    let changes = [(TWO, THREE), ("attempts_max: 2", "attempts_max: 3")];
    let good = echo(&Rc::default());
    let world = World::configured(Some(ALLOW), &changes).with_endpoints(move |endpoint: SocketAddr| {
        if endpoint.port() == 3 { good(0) } else { Err(std::io::ErrorKind::ConnectionRefused.into()) }
    });
    let (found, _) = world.run(async |world, _| statuses(world, 4).await);
    assert_eq!(found, BTreeMap::from([(200, 4)]));
}

#[test]
fn the_same_caller_comes_to_the_same_endpoint_where_the_upstream_says_so() {
    let seen: Rc<RefCell<BTreeMap<u16, usize>>> = Rc::default();
    let counted = Rc::clone(&seen);
    let good = echo(&Rc::default());
    let changes = [(TWO, &*format!("{THREE}, balance: {{ ring_hash: spiffe_id }}"))];
    let world = World::configured(Some(ALLOW), &changes).with_endpoints(move |endpoint: SocketAddr| {
        *counted.borrow_mut().entry(endpoint.port()).or_default() += 1;
        good(0)
    });
    let (found, _) = world.run(async |world, _| statuses(world, 12).await);
    assert_eq!(found, BTreeMap::from([(200, 12)]));
    assert_eq!(seen.borrow().len(), 1, "{seen:?}");
}

/// Lets checks run for a while, and asks; which endpoints answered, and what the probes asked for.
fn checked(
    (protocol, health): (&str, &str),
    endpoints: impl Fn(SocketAddr) -> std::io::Result<crate::upstream::BoxIo> + 'static,
) -> BTreeMap<u16, usize> {
    let written = format!("{THREE}, protocol: {protocol}, balance: round_robin, health: {health}");
    let changes = [(TWO, written.as_str()), NO_RETRY];
    let world = World::configured(Some(ALLOW), &changes).with_endpoints(endpoints);
    let (found, _) = world.run(async |world, _| {
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            world.clock.advance(Duration::from_secs(2));
        }
        statuses(world, 12).await
    });
    found
}

#[test]
fn an_endpoint_that_is_ill_by_its_own_word_is_not_asked() {
    let paths: Rc<RefCell<Vec<String>>> = Rc::default();
    let noted = Rc::clone(&paths);
    let endpoint = move |endpoint: SocketAddr| {
        let noted = Rc::clone(&noted);
        played(move |_, mut stream: DuplexStream| {
            let noted = Rc::clone(&noted);
            async move {
                let mut heard = vec![0; 4096];
                while let Ok(read) = stream.read(&mut heard).await
                    && read > 0
                {
                    let text = String::from_utf8_lossy(&heard[..read]).into_owned();
                    let is_probe = text.starts_with("GET /healthz ");
                    if is_probe {
                        noted.borrow_mut().push(text);
                    }
                    let status = if is_probe && endpoint.port() == 2 { 500 } else { 200 + endpoint.port() };
                    let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        })(0)
    };
    let health = "{ probe: { http: { path: /healthz, host: app.test } }, interval: 1s, unhealthy_after: 2 }";
    assert_eq!(checked(("http1", health), endpoint), BTreeMap::from([(201, 6), (203, 6)]));
    let probe = paths.borrow()[0].to_lowercase();
    assert!(
        probe.contains("host: app.test\r\n") && probe.contains("user-agent: postern-health\r\n"),
        "{probe}"
    );
}

#[test]
fn an_endpoint_that_takes_no_connection_is_not_asked() {
    let good = answering(Rc::new(Cell::new(200)));
    let endpoint = move |endpoint: SocketAddr| {
        if endpoint.port() == 2 { Err(std::io::ErrorKind::ConnectionRefused.into()) } else { good(0) }
    };
    let health = "{ probe: connect, interval: 1s, unhealthy_after: 2 }";
    assert_eq!(checked(("http1", health), endpoint), BTreeMap::from([(200, 12)]));
}

#[test]
fn a_grpc_server_says_how_it_is_by_the_health_protocol() {
    let asked = Rc::new(Cell::new(0));
    let counted = Rc::clone(&asked);
    let endpoint = move |endpoint: SocketAddr| {
        let counted = Rc::clone(&counted);
        h2c(move |request: Request<hyper::body::Incoming>| {
            let counted = Rc::clone(&counted);
            async move {
                let is_probe = request.uri().path() == "/grpc.health.v1.Health/Check";
                let body = request.into_body().collect().await.map_err(std::io::Error::other)?.to_bytes();
                let status = if is_probe {
                    // A message that holds the service's name, field 1.
                    assert_eq!(body, b"\0\0\0\0\x06\x0a\x04shop"[..]);
                    counted.set(counted.get() + 1);
                    200
                } else {
                    200 + endpoint.port()
                };
                let serving = if endpoint.port() == 1 { 2 } else { 1 };
                let message = Bytes::from(vec![0, 0, 0, 0, 2, 8, serving]);
                Ok::<_, std::io::Error>(Response::builder().status(status).body(Full::new(message)).unwrap())
            }
        })(0)
    };
    let health = "{ probe: { grpc: { service: shop } }, interval: 1s, unhealthy_after: 2 }";
    assert_eq!(checked(("h2c", health), endpoint), BTreeMap::from([(202, 6), (203, 6)]));
    assert!(asked.get() > 0);
}
