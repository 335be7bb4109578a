//! Calls that share one connection to an HTTP/2 upstream: what becomes of one is nothing to the others.
use super::peers::{CallerBody, h2c, played};
use super::world::{Upstream, World};
use super::{ALLOW, only, text};
use crate::upstream::LocalExecutor;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

const LARGE_BYTES: usize = 4 * 1024 * 1024;

fn call(path: &str) -> Request<CallerBody> {
    let body = Empty::new().map_err(|never| match never {}).boxed();
    Request::get(format!("https://a.test/calls{path}")).body(body).unwrap()
}

type Answered = Result<Response<Full<Bytes>>, std::io::Error>;

/// `/large` has a large answer, `/broken` and `/silent` none, and `/held` has one after a while.
async fn answer(request: Request<Incoming>) -> Answered {
    let body = match request.uri().path() {
        "/calls/large" => Bytes::from(vec![b'x'; LARGE_BYTES]),
        "/calls/silent" => std::future::pending().await,
        "/calls/broken" => return Err(std::io::ErrorKind::Other.into()),
        "/calls/held" => {
            tokio::time::sleep(Duration::from_secs(5)).await;
            Bytes::from("held")
        }
        _ => Bytes::from("small"),
    };
    Ok(Response::new(Full::new(body)))
}

/// An upstream like `inner`, and how many connections were made to it.
fn counted(inner: &Upstream) -> (Upstream, Rc<Cell<usize>>) {
    let made = Rc::new(Cell::new(0));
    let (counter, inner) = (Rc::clone(&made), Rc::clone(inner));
    let upstream: Upstream = Rc::new(move |number| {
        counter.set(counter.get() + 1);
        inner(number)
    });
    (upstream, made)
}

#[test]
fn answers_that_nobody_reads_do_not_stall_their_neighbours() {
    let world = World::new(Some(ALLOW)).with_upstream(h2c(answer));
    let (status, _) = world.run(async |_, caller| {
        let mut caller = caller.speak_http2().await;
        let mut unread = Vec::new();
        for _ in 0..16 {
            unread.push(caller.send_request(call("/large")).await.unwrap());
        }
        let small = caller.send_request(call("/small")).await.unwrap();
        (small.status(), small.into_body().collect().await.unwrap().to_bytes())
    });
    assert_eq!(status, (http::StatusCode::OK, Bytes::from("small")));
}

#[test]
fn a_call_that_fails_leaves_the_connection_to_its_neighbours() {
    let (upstream, made) = counted(&h2c(answer));
    let world = World::new(Some(ALLOW)).with_upstream(upstream);
    let (statuses, _) = world.run(async |_, caller| {
        let mut caller = caller.speak_http2().await;
        let held = caller.send_request(call("/held"));
        let mut other = caller.clone();
        let failing = async move { other.send_request(call("/broken")).await.unwrap().status().as_u16() };
        let (held, broken) = tokio::join!(held, failing);
        let held = held.unwrap().into_body().collect().await.unwrap().to_bytes();
        let after = caller.send_request(call("/small")).await.unwrap().status().as_u16();
        (held, broken, after)
    });
    assert_eq!(statuses, (Bytes::from("held"), 502, 200));
    assert_eq!(made.get(), 1, "connections made");
}

#[test]
fn calls_that_come_at_once_share_the_connection_that_the_first_of_them_makes() {
    let (upstream, made) = counted(&h2c(answer));
    let world = World::new(Some(ALLOW)).with_upstream(upstream);
    let ((), _) = world.run(async |_, caller| {
        let caller = caller.speak_http2().await;
        let call = |mut caller: hyper::client::conn::http2::SendRequest<CallerBody>| async move {
            assert_eq!(caller.send_request(call("/held")).await.unwrap().status(), 200);
        };
        tokio::join!(call(caller.clone()), call(caller.clone()), call(caller.clone()));
    });
    assert_eq!(made.get(), 1, "connections made");
}

#[test]
fn a_connection_that_carries_all_it_may_is_joined_by_another() {
    let changes = [("drain_grace: 1s", "drain_grace: 1s, http2_streams_max: 200")];
    let (upstream, made) = counted(&h2c(answer));
    let world = World::configured(Some(ALLOW), &changes).with_upstream(upstream);
    let ((), _) = world.run(async |_, caller| {
        let caller = caller.speak_http2().await;
        let calls = (0..150).map(|_| {
            let mut caller = caller.clone();
            async move { caller.send_request(call("/held")).await.unwrap().status() }
        });
        let statuses = futures_util::future::join_all(calls).await;
        assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    });
    assert_eq!(made.get(), 2, "connections made");
}

/// Waits so long, and goes.
async fn give_up(caller: &hyper::client::conn::http2::SendRequest<CallerBody>, after: Duration) {
    let mut caller = caller.clone();
    drop(tokio::time::timeout(after, caller.send_request(call("/silent"))).await);
}

#[test]
fn a_connection_that_says_nothing_is_used_where_there_can_be_no_other() {
    let changes = [("protocol: h2c", "protocol: h2c, connections_max: 1")];
    let world = World::configured(Some(ALLOW), &changes).with_upstream(h2c(answer));
    let (took, _) = world.run(async |_, caller| {
        let mut caller = caller.speak_http2().await;
        let held = tokio::task::spawn_local(caller.clone().send_request(call("/held")));
        give_up(&caller, Duration::from_millis(1500)).await;
        let began = tokio::time::Instant::now();
        assert_eq!(caller.send_request(call("/small")).await.unwrap().status(), 200);
        let took = began.elapsed();
        assert_eq!(held.await.unwrap().unwrap().status(), 200);
        took
    });
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn what_callers_take_back_at_once_is_no_silence_however_long_they_rest_in_between() {
    let (upstream, made) = counted(&h2c(answer));
    let world = World::new(Some(ALLOW)).with_upstream(upstream);
    let ((), _) = world.run(async |_, caller| {
        let mut caller = caller.speak_http2().await;
        for _ in 0..3 {
            give_up(&caller, Duration::from_millis(10)).await;
            tokio::time::sleep(Duration::from_secs(20)).await;
        }
        assert_eq!(caller.send_request(call("/small")).await.unwrap().status(), 200);
    });
    assert_eq!(made.get(), 1, "connections made");
}

#[test]
fn a_call_after_the_connection_went_away_is_made_on_a_new_one() {
    let (upstream, made) = counted(&played(|_, stream| async move {
        let service = hyper::service::service_fn(answer);
        let serving = hyper::server::conn::http2::Builder::new(LocalExecutor)
            .serve_connection(TokioIo::new(stream), service);
        // Goes away without a word.
        drop(tokio::time::timeout(Duration::from_secs(1), serving).await);
    }));
    let world = World::new(Some(ALLOW)).with_upstream(upstream);
    let (statuses, _) = world.run(async |_, caller| {
        let mut caller = caller.speak_http2().await;
        let first = caller.send_request(call("/small")).await.unwrap().status().as_u16();
        tokio::time::sleep(Duration::from_secs(2)).await;
        (first, caller.send_request(call("/small")).await.unwrap().status().as_u16())
    });
    assert_eq!((statuses, made.get()), ((200, 200), 2));
}

#[test]
fn an_upstream_that_cannot_be_reached_is_asked_once_for_all_who_wait() {
    let (upstream, made) =
        counted(&(Rc::new(|_| Err(std::io::ErrorKind::ConnectionRefused.into())) as Upstream));
    let world = World::new(Some(ALLOW)).with_upstream(upstream);
    let (statuses, records) = world.run(async |_, caller| {
        let caller = caller.speak_http2().await;
        let call = |mut caller: hyper::client::conn::http2::SendRequest<CallerBody>| async move {
            caller.send_request(call("/small")).await.unwrap().status().as_u16()
        };
        tokio::join!(call(caller.clone()), call(caller.clone()))
    });
    assert_eq!(statuses, (503, 503));
    assert_eq!(made.get(), 1, "connections tried");
    let outcomes = records.iter().filter(|record| record["kind"] == "outcome");
    assert!(outcomes.into_iter().all(|outcome| text(outcome, "reason") == "upstream.connect_failed"));
}

#[test]
fn a_connection_that_could_not_be_made_is_one_failure_however_many_wait_for_it() {
    let inner = h2c(answer);
    let upstream: Upstream = Rc::new(move |number| match number {
        0 => Err(std::io::ErrorKind::ConnectionRefused.into()),
        _ => inner(number),
    });
    let changes = [("[127.0.0.1:3]", "[127.0.0.1:3, 127.0.0.1:4]")];
    let world = World::configured(Some(ALLOW), &changes).with_upstream(upstream);
    let ((mut statuses, metrics), _) = world.run(async |world, caller| {
        let caller = caller.speak_http2().await;
        let calls = (0..16).map(|_| {
            let mut caller = caller.clone();
            async move { caller.send_request(call("/small")).await.unwrap().status().as_u16() }
        });
        (futures_util::future::join_all(calls).await, world.metrics.encode())
    });
    statuses.sort_unstable();
    assert!(statuses[..8] == [200; 8] && statuses[8..] == [503; 8], "{statuses:?}");
    for line in [
        "postern_upstream_connect_failures_total{upstream=\"calls\"} 1",
        "postern_upstream_ejections_total{upstream=\"calls\",reason=\"consecutive\"} 0",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
}

#[test]
fn a_refused_head_request_over_http2_is_answered_without_a_body() {
    let world = World::new(Some(super::DENY));
    let (answer, records) = world.run(async |_, caller| {
        let mut caller = caller.speak_http2().await;
        let mut request = call("/x");
        *request.method_mut() = http::Method::HEAD;
        let (parts, body) = caller.send_request(request).await.unwrap().into_parts();
        (parts, body.collect().await.unwrap().to_bytes())
    });
    assert_eq!((answer.0.status.as_u16(), answer.1), (403, Bytes::new()));
    let length: usize = answer.0.headers["content-length"].to_str().unwrap().parse().unwrap();
    assert!(length > 0, "it says how long the answer to GET would be");
    assert_eq!(only(&records, "outcome")["response_bytes"], 0);
}

#[test]
fn an_upstream_that_sends_frames_without_end_is_left() {
    let upstream = played(|_, stream| async move {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let flood = async {
            writer.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await?;
            loop {
                writer.write_all(&[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]).await?;
            }
        };
        let mut ignored = tokio::io::sink();
        let ended: (std::io::Result<()>, _) = tokio::join!(flood, tokio::io::copy(&mut reader, &mut ignored));
        drop(ended);
    });
    let ((status, took), _) = World::new(Some(ALLOW)).with_upstream(upstream).run(async |_, caller| {
        let mut caller = caller.speak_http2().await;
        let began = tokio::time::Instant::now();
        let status = caller.send_request(call("/small")).await.unwrap().status().as_u16();
        (status, began.elapsed().as_secs())
    });
    assert_eq!(status, 502);
    assert!(took <= 1, "{took} s: it is left long before its time is over");
}

#[test]
fn callers_that_go_away_at_once_leave_the_connection_to_the_next() {
    let (upstream, made) = counted(&h2c(answer));
    let world = World::new(Some(ALLOW)).with_upstream(upstream);
    let (status, _) = world.run(async |_, caller| {
        let mut caller = caller.speak_http2().await;
        // An answer that goes on for long is under way too, and shows no silence.
        let _endless = caller.send_request(call("/large")).await.unwrap();
        caller.send_request(call("/small")).await.unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
        for _ in 0..20 {
            let held = caller.send_request(call("/held"));
            drop(tokio::time::timeout(Duration::from_millis(20), held).await);
        }
        caller.send_request(call("/small")).await.unwrap().status().as_u16()
    });
    assert_eq!((status, made.get()), (200, 1));
}
