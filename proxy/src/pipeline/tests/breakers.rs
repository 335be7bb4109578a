//! How much of an upstream may be in use at one time, and what becomes of what is too much.
use super::peers::{Caller, h2c, played};
use super::world::World;
use super::{ALLOW, text};
use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

const GET: &str = "GET /api/x HTTP/1.1\nHost: a.test\n\n";
const CALL: &str = "GET /calls/x HTTP/1.1\nHost: a.test\n\n";

/// An upstream that takes a second for each answer; and how many connections it has seen.
fn slow() -> (super::world::Upstream, Rc<Cell<usize>>) {
    let connections = Rc::new(Cell::new(0));
    let counted = Rc::clone(&connections);
    let upstream = played(move |number, mut stream: DuplexStream| {
        counted.set(number + 1);
        async move {
            let mut heard = [0; 4096];
            while stream.read(&mut heard).await.unwrap_or(0) > 0 {
                tokio::time::sleep(Duration::from_secs(1)).await;
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            }
        }
    });
    (upstream, connections)
}

/// The same over HTTP/2.
fn slow_h2c() -> super::world::Upstream {
    h2c(async |_| {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok::<_, std::io::Error>(Response::new(Full::new(Bytes::from("ok"))))
    })
}

/// So many callers ask at once; the statuses that they get, sorted, and the reasons of those that were refused.
fn crowd(world: World, request: &'static str, callers: usize) -> (Vec<u16>, Vec<String>) {
    let (statuses, records) = world.run(async |world, first| {
        let mut asking = vec![tokio::task::spawn_local(first.ask(request))];
        for _ in 1..callers {
            asking.push(tokio::task::spawn_local(world.caller().await.ask(request)));
        }
        let mut statuses = Vec::new();
        for asked in asking {
            statuses.push(super::status(&asked.await.unwrap()));
        }
        statuses.sort_unstable();
        statuses
    });
    let refused = records.iter().filter(|record| record["end"] == "refused");
    (statuses, refused.map(|record| text(record, "reason").to_owned()).collect())
}

#[test]
fn who_finds_every_connection_in_use_waits_for_one() {
    let (upstream, connections) = slow();
    let changes = [("127.0.0.1:1, 127.0.0.1:2]", "127.0.0.1:1], connections_max: 2")];
    let world = World::configured(Some(ALLOW), &changes).with_upstream(upstream);
    assert_eq!(crowd(world, GET, 6), (vec![200; 6], vec![]));
    assert_eq!(connections.get(), 2);
    let changes = [("protocol: h2c", "protocol: h2c, connections_max: 1")];
    let world = World::configured(Some(ALLOW), &changes).with_upstream(slow_h2c());
    assert_eq!(crowd(world, CALL, 6), (vec![200; 6], vec![]));
}

#[test]
fn upstreams_that_have_an_endpoint_in_common_have_connections_of_their_own() {
    let (upstream, connections) = slow();
    let changes = [
        ("127.0.0.1:1, 127.0.0.1:2]", "127.0.0.1:1], connections_max: 1"),
        ("127.0.0.1:3], protocol: h2c", "127.0.0.1:1]"),
    ];
    let world = World::configured(Some(ALLOW), &changes).with_upstream(upstream);
    let (took, _) = world.run(async |world, first| {
        let began = tokio::time::Instant::now();
        let (first, second) = (first.ask(GET), world.caller().await.ask(CALL));
        let (first, second) = tokio::join!(tokio::task::spawn_local(first), tokio::task::spawn_local(second));
        assert_eq!([first, second].map(|answer| super::status(&answer.unwrap())), [200; 2]);
        assert_eq!(super::status(&world.caller().await.ask(CALL).await), 200);
        began.elapsed().as_secs()
    });
    // One second for two at once, and one for the third, which has a connection to go by.
    assert_eq!((took, connections.get()), (2, 2));
}

/// One of them makes the connection, and all share it at once, however long that one takes.
#[test]
fn a_connection_that_is_made_has_room_for_everybody_who_waits() {
    let upstream = h2c(async |request: http::Request<hyper::body::Incoming>| {
        let is_long = request.uri().path().ends_with("/long");
        tokio::time::sleep(Duration::from_secs(if is_long { 10 } else { 0 })).await;
        Ok::<_, std::io::Error>(Response::new(Full::new(Bytes::from("ok"))))
    });
    let changes = [("protocol: h2c", "protocol: h2c, connections_max: 1")];
    let world = World::configured(Some(ALLOW), &changes).with_upstream(upstream);
    let (waited, _) = world.run(async |world, first| {
        let in_force = world.shared.load();
        let calls = in_force.routing.upstreams().find(|upstream| &*upstream.name == "calls").unwrap();
        // As by another worker.
        let elsewhere = calls.breaker.connections.take().unwrap();
        let ask = |caller: Caller, request: &'static str| {
            tokio::task::spawn_local(async move {
                assert_eq!(super::status(&caller.ask(request).await), 200);
                tokio::time::Instant::now()
            })
        };
        let mut asking = vec![ask(first, "GET /calls/long HTTP/1.1\nHost: a.test\n\n")];
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            asking.push(ask(world.caller().await, CALL));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(elsewhere);
        let freed = tokio::time::Instant::now();
        let mut waited = Vec::new();
        for asked in asking {
            waited.push((asked.await.unwrap() - freed).as_secs());
        }
        waited
    });
    assert_eq!(waited, [10, 0, 0, 0, 0, 0]);
}

/// The one whose connection is being made waits too.
#[test]
fn more_than_may_wait_are_refused_at_once() {
    let changes = [("127.0.0.1:1, 127.0.0.1:2]", "127.0.0.1:1], connections_max: 1, pending_max: 3")];
    let world = World::configured(Some(ALLOW), &changes).with_upstream(slow().0);
    let refused = vec!["upstream.overflow".to_owned(); 3];
    assert_eq!(crowd(world, GET, 6), (vec![200, 200, 200, 503, 503, 503], refused));
}

#[test]
fn more_requests_than_the_upstream_may_have_in_hand_are_refused_at_once() {
    let refused = vec!["upstream.overflow".to_owned(); 4];
    let changes = [("127.0.0.1:1, 127.0.0.1:2]", "127.0.0.1:1], requests_max: 2")];
    let world = World::configured(Some(ALLOW), &changes).with_upstream(slow().0);
    assert_eq!(crowd(world, GET, 6), (vec![200, 200, 503, 503, 503, 503], refused.clone()));
    let changes = [("protocol: h2c", "protocol: h2c, requests_max: 2")];
    let world = World::configured(Some(ALLOW), &changes).with_upstream(slow_h2c());
    assert_eq!(crowd(world, CALL, 6), (vec![200, 200, 503, 503, 503, 503], refused));
}

#[test]
fn what_is_full_says_when_to_come_back_and_is_not_tried_again() {
    let changes =
        [("127.0.0.1:1, 127.0.0.1:2]", "127.0.0.1:1, 127.0.0.1:2], connections_max: 1, pending_max: 0")];
    let world = World::configured(Some(ALLOW), &changes).with_upstream(slow().0);
    let (answer, records) = world.run(async |_, caller| caller.ask(GET).await);
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: 1\r\n"), "{answer}");
    let attempts: Vec<_> = records.iter().filter_map(|record| record["attempts"].as_u64()).collect();
    assert_eq!(attempts, [1]);
}

#[test]
fn a_place_in_hand_comes_back_when_the_caller_goes_away() {
    let changes = [("127.0.0.1:1, 127.0.0.1:2]", "127.0.0.1:1], requests_max: 1, connections_max: 1")];
    let world = World::configured(Some(ALLOW), &changes).with_upstream(slow().0);
    let (answer, _) = world.run(async |world, caller| {
        let mut conversation = caller.shake_hands().await;
        conversation.say(&GET.replace('\n', "\r\n")).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(conversation);
        tokio::time::sleep(Duration::from_millis(100)).await;
        world.caller().await.ask(GET).await
    });
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

/// It begins at its least; once answers have come as quickly as ever, the limit has room for more.
#[test]
fn a_limit_that_is_found_out_follows_the_answers() {
    let adaptive = "adaptive_concurrency: { concurrency_min: 2, requests_min: 2, window: 10ms }";
    let changed = format!("127.0.0.1:1], {adaptive}");
    let changes = [("127.0.0.1:1, 127.0.0.1:2]", &*changed)];
    let refused = vec!["upstream.overflow".to_owned(); 4];
    let world = World::configured(Some(ALLOW), &changes).with_upstream(slow().0);
    assert_eq!(crowd(world, GET, 6), (vec![200, 200, 503, 503, 503, 503], refused));

    let world = World::configured(Some(ALLOW), &changes).with_upstream(slow().0);
    let (limits, _) = world.run(async |world, _| {
        let mut limits = Vec::new();
        for _ in 0..3 {
            let asking = [world.caller().await.ask(GET), world.caller().await.ask(GET)];
            let asked = futures_util::future::join_all(asking).await;
            assert!(asked.iter().all(|answer| super::status(answer) == 200), "{asked:?}");
            world.clock.advance(Duration::from_millis(20));
            let metrics = world.metrics.encode();
            let limit = metrics
                .lines()
                .find(|line| line.starts_with("postern_upstream_concurrency_limit{upstream=\"app\""));
            limits.push(limit.and_then(|line| line.split(' ').next_back()?.parse::<usize>().ok()));
        }
        limits
    });
    assert_eq!(limits, [Some(3), Some(4), Some(6)]);
}
