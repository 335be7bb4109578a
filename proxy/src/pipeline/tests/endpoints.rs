//! Which endpoints of an upstream are asked, and which are left out.
use super::ALLOW;
use super::peers::{echo, h2c, played, silent};
use super::world::{Upstream, World};
use crate::traffic::endpoint::{Endpoint, State};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
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

/// Of so many requests, one after the other, this many at most reach an endpoint that takes connections and never answers.
fn check_silent(balance: &str, (requests, unanswered_max): (usize, usize)) {
    let (bad, good) = (silent(), answering(Rc::new(Cell::new(200))));
    let changes = [(TWO, &*format!("{THREE}, balance: {balance}")), (NO_RETRY.0, ", timeout: 1s }")];
    let world = World::configured(Some(ALLOW), &changes)
        .with_endpoints(move |endpoint: SocketAddr| if endpoint.port() == 1 { bad(0) } else { good(0) });
    let (found, _) = world.run(async |world, _| statuses(world, requests).await);
    let unanswered = found.get(&504).copied().unwrap_or_default();
    assert!(unanswered <= unanswered_max, "{balance}: {found:?}");
    assert_eq!(found.get(&200), Some(&(requests - unanswered)), "{balance}: {found:?}");
}

#[test]
fn an_endpoint_that_takes_connections_and_never_answers_is_left_out() {
    check_silent("round_robin", (40, 5));
    // It is expected to cost more than the others from the first time on.
    check_silent("p2c_ewma", (40, 1));
}

/// Endpoints that say by their status which they are, once the whole request is there; the first may be made to say
/// nothing. Of the answer to `/held` the last byte never comes.
fn named(endpoint: SocketAddr, is_silent: &Rc<Cell<bool>>) -> std::io::Result<crate::upstream::BoxIo> {
    let is_silent = Rc::clone(is_silent);
    let serve = move |_, mut stream: DuplexStream| {
        let is_silent = Rc::clone(&is_silent);
        async move {
            let mut heard = Vec::new();
            while stream.read_buf(&mut heard).await.unwrap_or(0) > 0 {
                let text = String::from_utf8_lossy(&heard).into_owned();
                let end = if text.contains("chunked") { "\r\n0\r\n\r\n" } else { "\r\n\r\n" };
                let is_whole = text.ends_with(end);
                if is_whole && !(is_silent.get() && endpoint.port() == 1) {
                    heard.clear();
                    let (status, length) =
                        (200 + endpoint.port(), u8::from(text.starts_with("GET /api/held ")));
                    let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n");
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        }
    };
    played(serve)(0)
}

/// However often callers ask like this, with a silent endpoint or without one, all endpoints keep their share.
#[track_caller]
fn check_kept(is_silent: bool, request: &str, patience: Duration) {
    let silence = Rc::new(Cell::new(is_silent));
    let asked = Rc::clone(&silence);
    let changes = [(TWO, &*format!("{THREE}, balance: round_robin")), NO_RETRY];
    let world = World::configured(Some(ALLOW), &changes)
        .with_endpoints(move |endpoint: SocketAddr| named(endpoint, &asked));
    let (found, _) = world.run(async |world, _| {
        for _ in 0..30 {
            drop(tokio::time::timeout(patience, world.caller().await.ask(request)).await);
        }
        silence.set(false);
        statuses(world, 12).await
    });
    assert_eq!(found, BTreeMap::from([(201, 4), (202, 4), (203, 4)]), "{request}");
}

#[test]
fn what_is_the_callers_doing_says_nothing_of_an_endpoint() {
    let forever = Duration::from_secs(60);
    check_kept(true, GET, Duration::from_millis(100));
    let call = "POST /api/x HTTP/1.1\nHost: a.test\nContent-Type: application/grpc\nGrpc-Timeout: 100m\nContent-Length: 0\n\n";
    check_kept(true, call, forever);
    let head = "POST /api/x HTTP/1.1\nHost: a.test\nTransfer-Encoding: chunked\n\n";
    check_kept(false, &format!("{head}zz\n"), forever);
    check_kept(false, &format!("{head}11000\n{}\n0\n\n", "x".repeat(0x11000)), forever);
}

/// The time of the route, or that of each try.
#[test]
fn who_waits_for_a_place_until_its_time_is_over_says_nothing_of_an_endpoint() {
    check_queued("timeout: 3s");
    check_queued("retry: { attempts_max: 2, on: [connect_failure], per_try_timeout: 3s }");
}

#[track_caller]
fn check_queued(time: &str) {
    let changes = [
        (TWO, &*format!("{THREE}, balance: round_robin, connections_max: 1")),
        (NO_RETRY.0, &*format!(", {time} }}")),
    ];
    let world = World::configured(Some(ALLOW), &changes)
        .with_endpoints(|endpoint: SocketAddr| named(endpoint, &Rc::default()));
    let (found, _) = world.run(async |world, caller| {
        let mut holder = caller.shake_hands().await;
        holder.say(&GET.replace("/api/x", "/api/held").replace('\n', "\r\n")).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let waiting = statuses(world, 30).await;
        drop(holder);
        (waiting, statuses(world, 12).await)
    });
    assert_eq!(found.0, BTreeMap::from([(504, 30)]));
    assert_eq!(found.1, BTreeMap::from([(201, 4), (202, 4), (203, 4)]));
}

/// The first one that is asked says nothing, the others take longer than it leaves them of the time.
#[test]
fn an_endpoint_that_had_little_time_is_not_blamed_for_the_rest() {
    let balance = "balance: { ring_hash: spiffe_id }, outlier: { ejected_percent_max: 100 }";
    let retry = "timeout: 1s, retry: { attempts_max: 2, on: [timeout], per_try_timeout: 900ms }";
    let changes = [(TWO, &*format!("{THREE}, {balance}")), (NO_RETRY.0, &*format!(", {retry} }}"))];
    let first = Cell::new(None);
    let world = World::configured(Some(ALLOW), &changes).with_endpoints(move |endpoint: SocketAddr| {
        let is_first = *first.get().get_or_insert(endpoint) == endpoint;
        first.set(first.get().or(Some(endpoint)));
        if is_first {
            return silent()(0);
        }
        played(|_, mut stream: DuplexStream| async move {
            let mut heard = [0; 4096];
            while stream.read(&mut heard).await.unwrap_or(0) > 0 {
                tokio::time::sleep(Duration::from_millis(300)).await;
                drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await);
            }
        })(0)
    });
    let ((found, left_out), _) = world.run(async |world, _| {
        let found = statuses(world, 10).await;
        let in_force = world.shared.load();
        let app = in_force.routing.upstreams().find(|upstream| &*upstream.name == "app").unwrap();
        let is_out = |endpoint: &&Arc<Endpoint>| endpoint.state() == State::Ejected;
        (found, app.balancer.endpoints().iter().filter(is_out).count())
    });
    // After five the first one is left out, and it alone.
    assert_eq!((found, left_out), (BTreeMap::from([(200, 5), (504, 5)]), 1));
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
