//! What is tried again, how often, and what is never sent twice.
use super::peers::{h2c, played};
use super::world::{Upstream, World};
use super::{ALLOW, only, text};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::Instant;

const ONE: (&str, &str) = ("127.0.0.1:1, 127.0.0.1:2]", "127.0.0.1:1]");
const GET: &str = "GET /api/x HTTP/1.1\nHost: a.test\n\n";
const POST: &str = "POST /api/x HTTP/1.1\nHost: a.test\nContent-Length: 4\n\nbody";
const PUT: &str = "PUT /api/x HTTP/1.1\nHost: a.test\nContent-Length: 4\n\nbody";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const BUSY: &str = "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy";

/// What came of a request whose upstream plays one part an attempt.
#[derive(Debug)]
struct Told {
    answer: String,
    /// What reached the upstream, one text an attempt.
    seen: Vec<String>,
    took: Duration,
    records: Vec<serde_json::Value>,
}

/// Asks once under a retry rule; each new connection of the upstream, and each request on it, is answered by the next of
/// `parts`. An empty part closes the connection without an answer, `-` keeps quiet for ever.
fn ask(retry: &str, parts: &[&'static str], request: &str) -> Told {
    let rule = format!("timeout: 10s, retry: {retry} }}");
    let changes = [ONE, ("retry: { attempts_max: 2, on: [connect_failure] } }", rule.as_str())];
    let seen: Rc<RefCell<Vec<String>>> = Rc::default();
    let world = World::configured(Some(ALLOW), &changes).with_upstream(parts_of(parts, &seen));
    let ((answer, took), records) = world.run(async |_, caller| {
        let began = Instant::now();
        (caller.ask(request).await, began.elapsed())
    });
    let seen = seen.borrow().clone();
    Told { answer, seen, took, records }
}

fn parts_of(parts: &[&'static str], seen: &Rc<RefCell<Vec<String>>>) -> Upstream {
    let (parts, seen, next) = (parts.to_vec(), Rc::clone(seen), Rc::new(Cell::new(0)));
    played(move |_, mut stream: DuplexStream| {
        let (parts, seen, next) = (parts.clone(), Rc::clone(&seen), Rc::clone(&next));
        async move {
            while let Some(request) = hear(&mut stream).await {
                seen.borrow_mut().push(request);
                let part = parts[next.get()];
                next.set(next.get() + 1);
                match part {
                    "" => return,
                    "-" => std::future::pending().await,
                    part => stream.write_all(part.as_bytes()).await.unwrap(),
                }
            }
        }
    })
}

/// One request with its body, by its content length.
async fn hear(stream: &mut DuplexStream) -> Option<String> {
    let mut heard = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&heard).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return Some(text);
            }
        }
        if stream.read_buf(&mut heard).await.unwrap_or(0) == 0 {
            return None;
        }
    }
}

/// The status that the caller gets, and how many attempts reached the upstream.
fn check(retry: &str, parts: &[&'static str], request: &str, (status, attempts): (u16, usize)) -> Told {
    let told = ask(retry, parts, request);
    assert!(told.answer.starts_with(&format!("HTTP/1.1 {status} ")), "{retry} {parts:?}: {told:#?}");
    assert_eq!(told.seen.len(), attempts, "{retry} {parts:?}: {told:#?}");
    let outcome = only(&told.records, "outcome");
    assert_eq!(outcome["attempts"], attempts, "{outcome}");
    only(&told.records, "decision");
    told
}

#[test]
fn a_request_that_may_be_done_twice_is_sent_again_after_what_the_route_names() {
    check("{ attempts_max: 2, on: [gateway_error] }", &[BUSY, OK], GET, (200, 2));
    check("{ attempts_max: 2, statuses: [503] }", &[BUSY, OK], GET, (200, 2));
    check("{ attempts_max: 2, on: [reset] }", &["", OK], GET, (200, 2));
    check("{ attempts_max: 2, on: [timeout], per_try_timeout: 1s }", &["-", OK], GET, (200, 2));
    check("{ attempts_max: 3, on: [gateway_error] }", &[BUSY, BUSY, OK], GET, (200, 3));
}

/// What the record says of the attempts before the last one.
fn check_tried(retry: &str, parts: &[&'static str], expected: &[(&str, serde_json::Value)]) {
    let told = ask(retry, parts, GET);
    let outcome = only(&told.records, "outcome");
    let tried: Vec<_> = outcome["tried"].as_array().into_iter().flatten().collect();
    assert_eq!(tried.len(), expected.len(), "{outcome}");
    for (tried, (member, value)) in tried.iter().zip(expected) {
        assert_eq!(&tried[member], value, "{outcome}");
        assert_eq!(tried["endpoint"], "127.0.0.1:1");
        assert!(tried["duration_ns"].is_u64());
    }
}

#[test]
fn attempts_after_which_another_one_was_made_are_in_the_record() {
    check_tried("{ attempts_max: 2, on: [gateway_error] }", &[OK], &[]);
    check_tried("{ attempts_max: 2, on: [reset] }", &[BUSY], &[]);
    let (busy, broken) = (("status", 503.into()), ("reason", "upstream.protocol".into()));
    check_tried("{ attempts_max: 2, on: [gateway_error] }", &[BUSY, BUSY], std::slice::from_ref(&busy));
    check_tried(
        "{ attempts_max: 4, on: [gateway_error, reset] }",
        &[BUSY, "", BUSY, OK],
        &[busy.clone(), broken, busy],
    );
    let late = ("reason", "upstream.timeout".into());
    check_tried("{ attempts_max: 2, on: [timeout], per_try_timeout: 1s }", &["-", OK], &[late]);
}

#[test]
fn what_the_route_does_not_name_is_passed_on() {
    check("{ attempts_max: 2, on: [reset] }", &[BUSY], GET, (503, 1));
    check("{ attempts_max: 2, on: [gateway_error] }", &[""], GET, (502, 1));
    check("{ attempts_max: 2, statuses: [500] }", &[BUSY], GET, (503, 1));
}

#[test]
fn the_last_answer_is_the_callers_when_no_attempt_is_left() {
    let told = check("{ attempts_max: 2, on: [gateway_error] }", &[BUSY, BUSY], GET, (503, 2));
    assert!(told.answer.ends_with("busy"), "{told:#?}");
}

#[test]
fn a_post_is_never_sent_twice_unless_the_route_says_so() {
    check("{ attempts_max: 2, on: [gateway_error, reset] }", &[BUSY], POST, (503, 1));
    check("{ attempts_max: 2, on: [gateway_error, reset] }", &[""], POST, (502, 1));
    check("{ attempts_max: 2, on: [timeout], per_try_timeout: 1s }", &["-"], POST, (504, 1));
    let told =
        check("{ attempts_max: 2, on: [gateway_error], methods: [POST] }", &[BUSY, OK], POST, (200, 2));
    assert!(told.seen.iter().all(|request| request.ends_with("\r\n\r\nbody")), "{told:#?}");
}

#[test]
fn a_body_is_sent_again_whole_and_counted_once() {
    let told = check("{ attempts_max: 3, on: [gateway_error, reset] }", &[BUSY, "", OK], PUT, (200, 3));
    assert!(told.seen.iter().all(|request| request.ends_with("\r\n\r\nbody")), "{told:#?}");
    assert_eq!(only(&told.records, "outcome")["request_bytes"], 4);
    // One that was not kept is not sent again.
    let rule = "{ attempts_max: 2, on: [gateway_error], body_bytes_max: 3B }";
    check(rule, &[BUSY], PUT, (503, 1));
}

#[test]
fn attempts_wait_as_the_upstream_asks() {
    let rule = "{ attempts_max: 2, on: [gateway_error] }";
    let later = "HTTP/1.1 503 Busy\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n";
    let told = check(rule, &[later, OK], GET, (200, 2));
    assert!(told.took >= Duration::from_secs(2), "{told:#?}");
    // What would come after the caller's time is not waited for: it gets the answer that there is.
    let much_later = "HTTP/1.1 503 Busy\r\nRetry-After: 20\r\nContent-Length: 0\r\n\r\n";
    let told = check(rule, &[much_later], GET, (503, 1));
    assert!(told.took < Duration::from_secs(1), "{told:#?}");
    let never = "HTTP/1.1 503 Busy\r\ngrpc-retry-pushback-ms: -1\r\nContent-Length: 0\r\n\r\n";
    check(rule, &[never], GET, (503, 1));
}

#[test]
fn all_attempts_share_the_routes_time() {
    let rule = "{ attempts_max: 5, on: [timeout], per_try_timeout: 4s }";
    let told = check(rule, &["-", "-", "-"], GET, (504, 3));
    assert!((10..11).contains(&told.took.as_secs()), "{told:#?}");
    assert_eq!(text(only(&told.records, "outcome"), "reason"), "upstream.timeout");
}

#[test]
fn a_connection_that_brought_a_short_failure_serves_again() {
    let connections = Rc::new(Cell::new(0));
    let counted = Rc::clone(&connections);
    let upstream = played(move |number, mut stream: DuplexStream| {
        counted.set(number + 1);
        async move {
            let mut parts = [BUSY, OK].into_iter();
            while hear(&mut stream).await.is_some() {
                stream.write_all(parts.next().unwrap().as_bytes()).await.unwrap();
            }
        }
    });
    let changes =
        [ONE, ("on: [connect_failure] } }", "on: [gateway_error], backoff: 1s, backoff_max: 1s } }")];
    let world = World::configured(Some(ALLOW), &changes).with_upstream(upstream);
    let (answer, _) = world.run(async |_, caller| caller.ask(GET).await);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(connections.get(), 1);
}

#[test]
fn without_budget_no_attempt_is_repeated() {
    let changes = [
        (ONE.0, "127.0.0.1:1], retry_budget: { percent: 0, per_second: 2 }"),
        ("on: [connect_failure] } }", "on: [gateway_error] } }"),
    ];
    let seen: Rc<RefCell<Vec<String>>> = Rc::default();
    let world = World::configured(Some(ALLOW), &changes).with_upstream(parts_of(&[BUSY; 20], &seen));
    let (_, records) = world.run(async |world, caller| {
        drop(caller.ask(GET).await);
        for _ in 0..4 {
            drop(world.caller().await.ask(GET).await);
        }
    });
    let attempts: Vec<u64> = records.iter().filter_map(|record| record["attempts"].as_u64()).collect();
    assert_eq!(attempts, [2, 2, 1, 1, 1], "the clock stands still: nothing is refilled");
    assert_eq!(seen.borrow().len(), 7);
}

/// The status that the caller of a POST gets whose upstream answers over HTTP/2, but ends the first stream in some way.
fn refused(how: &'static str, retry: &str) -> u16 {
    let upstream = played(move |number, mut stream: DuplexStream| async move {
        if (number, how) == (0, "gone") {
            return go_away(&mut stream).await;
        }
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            match (number, how) {
                (0, "reset") => respond.send_reset(h2::Reason::INTERNAL_ERROR),
                (0, "broken") => {
                    connection.abrupt_shutdown(h2::Reason::INTERNAL_ERROR);
                    drop(std::future::poll_fn(|cx| connection.poll_closed(cx)).await);
                    return;
                }
                _ => drop(respond.send_response(Response::new(()), true).unwrap()),
            }
        }
    });
    let calls = format!("upstream: calls, retry: {retry} }}");
    let world = World::configured(Some(ALLOW), &[("upstream: calls }", &calls)]).with_upstream(upstream);
    let request = POST.replace("/api/x", "/calls/x");
    let (answer, _) = world.run(async |_, caller| caller.ask(&request).await);
    super::status(&answer)
}

/// Goes away in the middle of a connection and names no stream as the last that it looked at (RFC 9113 §6.8).
async fn go_away(stream: &mut DuplexStream) {
    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    const GOAWAY: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    stream.write_all(SETTINGS).await.unwrap();
    let mut heard = Vec::new();
    // The request's body is the last of it.
    while !heard.ends_with(b"body") {
        stream.read_buf(&mut heard).await.unwrap();
    }
    stream.write_all(GOAWAY).await.unwrap();
    while stream.read_buf(&mut heard).await.is_ok_and(|read| read > 0) {}
}

#[test]
fn a_stream_that_the_upstream_went_away_without_looking_at_is_opened_again() {
    assert_eq!(refused("gone", "{ attempts_max: 2, on: [refused_stream] }"), 200);
    assert_eq!(refused("gone", "{ attempts_max: 2, on: [connect_failure] }"), 502);
}

#[test]
fn a_stream_that_the_upstream_may_have_looked_at_is_not_opened_again() {
    for how in ["reset", "broken"] {
        assert_eq!(refused(how, "{ attempts_max: 2, on: [refused_stream, connect_failure, reset] }"), 502);
    }
}

#[test]
fn a_refused_stream_is_opened_again_on_the_same_connection() {
    let refusals = Rc::new(Cell::new(0));
    let counted = Rc::clone(&refusals);
    let upstream = played(move |_, stream: DuplexStream| {
        let counted = Rc::clone(&counted);
        async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                if counted.get() == 0 {
                    counted.set(1);
                    respond.send_reset(h2::Reason::REFUSED_STREAM);
                } else {
                    let mut body = request.into_body();
                    drop(tokio::task::spawn_local(async move {
                        let data = body.data().await.unwrap().unwrap();
                        assert_eq!(data, "body");
                        respond.send_response(Response::new(()), true).unwrap();
                    }));
                }
            }
        }
    });
    let calls = ("upstream: calls }", "upstream: calls, retry: { attempts_max: 2, on: [refused_stream] } }");
    let world = World::configured(Some(ALLOW), &[calls]).with_upstream(upstream);
    let request = POST.replace("/api/x", "/calls/x");
    let (answer, records) = world.run(async |_, caller| caller.ask(&request).await);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(only(&records, "outcome")["attempts"], 2);
}

#[test]
fn a_grpc_call_that_ended_with_unavailable_alone_is_made_again_where_the_route_says_so() {
    let asked = Rc::new(Cell::new(0));
    let counted = Rc::clone(&asked);
    let upstream = h2c(move |request: Request<hyper::body::Incoming>| {
        let counted = Rc::clone(&counted);
        async move {
            counted.set(counted.get() + 1);
            drop(request.into_body().collect().await);
            let status = if counted.get() == 1 { "14" } else { "0" };
            let response = Response::builder().header("grpc-status", status);
            Ok::<_, std::io::Error>(response.body(Full::new(Bytes::new())).unwrap())
        }
    });
    let rule = "upstream: calls, retry: { attempts_max: 2, on: [grpc_unavailable], methods: [POST] } }";
    let world = World::configured(Some(ALLOW), &[("upstream: calls }", rule)]).with_upstream(upstream);
    let request = "POST /calls/Get HTTP/1.1\nHost: a.test\nContent-Type: application/grpc\nContent-Length: 5\n\n\0\0\0\0\0";
    let (answer, _) = world.run(async |_, caller| caller.ask(request).await);
    assert!(answer.contains("grpc-status: 0"), "{answer}");
    assert_eq!(asked.get(), 2);
}

#[test]
fn every_attempt_has_its_own_time_also_where_the_body_was_not_yet_sent_before_it() {
    let upstream: Upstream = Rc::new(|number| {
        let part = match number {
            0 => return Err(std::io::ErrorKind::ConnectionRefused.into()),
            1 => "-",
            _ => OK,
        };
        parts_of(&[part], &Rc::default())(0)
    });
    let rule =
        "timeout: 10s, retry: { attempts_max: 3, on: [connect_failure, timeout], per_try_timeout: 1s }";
    let changes = [ONE, ("retry: { attempts_max: 2, on: [connect_failure] }", rule)];
    let world = World::configured(Some(ALLOW), &changes).with_upstream(upstream);
    let ((answer, took), records) = world.run(async |_, caller| {
        let mut conversation = caller.shake_hands().await;
        let (head, body) = PUT.split_at(PUT.len() - "body".len());
        conversation.say(&head.replace('\n', "\r\n")).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let began = Instant::now();
        (conversation.ask(body).await, began.elapsed())
    });
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(only(&records, "outcome")["attempts"], 3);
    assert!(took < Duration::from_secs(2), "{took:?}");
}
