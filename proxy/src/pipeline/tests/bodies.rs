//! Bodies that stand still, overstep or are left unread, in either direction: who is to blame, and what is let go.
use super::peers::{CallerBody, h2c, played, silent};
use super::world::{Upstream, World};
use super::{ALLOW, GET, READS_BODY, check, only, text};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use serde_json::Value;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

const HEAD: &str = "POST /api/up HTTP/1.1\r\nHost: a.test\r\n";

/// An upstream whose answer has no end.
fn endless() -> Upstream {
    played(|_, mut stream| async move {
        drop(stream.read(&mut [0; 4096]).await);
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n";
        let mut sent = stream.write_all(head.as_bytes()).await;
        while sent.is_ok() {
            sent = stream.write_all(&[b'x'; 16 * 1024]).await;
        }
    })
}

/// A body of which the test says when each part comes.
pub(super) fn spoken(parts: mpsc::Receiver<Bytes>) -> CallerBody {
    let stream = futures_util::stream::unfold(parts, async |mut parts| {
        parts.recv().await.map(|part| (Ok::<_, std::io::Error>(Frame::data(part)), parts))
    });
    BodyExt::boxed(StreamBody::new(stream))
}

fn post(path: &str, body: CallerBody) -> Request<CallerBody> {
    Request::post(format!("https://a.test{path}"))
        .header("content-type", "application/json")
        .body(body)
        .unwrap()
}

fn ending(records: &[Value]) -> (String, String) {
    let outcome = only(records, "outcome");
    (text(outcome, "end").to_owned(), text(outcome, "reason").to_owned())
}

fn is(end: &str, reason: &str) -> (String, String) {
    (end.to_owned(), reason.to_owned())
}

#[test]
fn a_caller_that_does_not_read_its_answer_is_let_go() {
    let world = World::new(Some(ALLOW)).with_upstream(endless());
    let (closed, records) = world.run(async |_, caller| {
        let mut conversation = caller.shake_hands().await;
        conversation.say(&GET.replace('\n', "\r\n")).await;
        // The route's streams may stand still for five minutes.
        tokio::time::sleep(Duration::from_secs(310)).await;
        conversation.read_to_end().await
    });
    assert!(closed < 1_000_000, "{closed} bytes were on their way");
    assert_eq!(ending(&records), is("timeout", "conn.reader_stalled"));
}

#[test]
fn a_stream_that_its_caller_does_not_read_is_let_go_and_its_neighbours_are_not() {
    let world = World::new(Some(ALLOW)).with_upstream(endless());
    let (status, records) = world.run(async |_, caller| {
        let mut caller = caller.speak_http2().await;
        let get = || Request::get("https://a.test/api/x").body(spoken(mpsc::channel(1).1)).unwrap();
        let unread = caller.send_request(get()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(310)).await;
        let neighbour = caller.send_request(get()).await.unwrap();
        assert!(unread.into_body().collect().await.is_err(), "the stream was reset");
        neighbour.status()
    });
    assert_eq!(status, 200);
    let reasons: Vec<_> =
        records.iter().filter(|r| r["kind"] == "outcome").map(|r| text(r, "reason")).collect();
    assert!(reasons.contains(&"conn.reader_stalled"), "{reasons:?}");
}

#[test]
fn an_upstream_that_falls_silent_in_its_answer_is_given_up() {
    let stalled = played(|_, mut stream| async move {
        drop(stream.read(&mut [0; 4096]).await);
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").await);
        std::future::pending::<()>().await;
    });
    let world = World::new(Some(ALLOW)).with_upstream(stalled);
    let (_, records) = world.run(async |_, caller| {
        let mut conversation = caller.shake_hands().await;
        conversation.say(&GET.replace('\n', "\r\n")).await;
        conversation.read_to_end().await
    });
    assert_eq!(ending(&records), is("timeout", "upstream.timeout"));
}

#[test]
fn an_upload_that_nobody_waits_for_any_more_frees_its_connection() {
    let ended = Rc::new(Cell::new(false));
    let noted = Rc::clone(&ended);
    let early = played(move |_, mut stream| {
        let noted = Rc::clone(&noted);
        async move {
            drop(stream.read(&mut [0; 4096]).await);
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await);
            while stream.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {}
            noted.set(true);
        }
    });
    let world = World::new(Some(ALLOW)).with_upstream(early);
    let (answer, records) = world.run(async |_, caller| {
        let mut conversation = caller.shake_hands().await;
        conversation.say(&format!("{HEAD}Content-Length: 1000\r\n\r\n0123456789")).await;
        let answer = conversation.hear().await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(ended.get(), "the upstream connection is closed");
        answer
    });
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok"), "{answer}");
    assert_eq!(ending(&records), is("done", ""));
}

#[test]
fn a_body_that_oversteps_after_the_head_of_the_answer_is_the_callers_doing() {
    let early = played(|_, mut stream| async move {
        drop(stream.read(&mut [0; 4096]).await);
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n").await);
        while stream.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {}
    });
    let world = World::new(Some(ALLOW)).with_upstream(early);
    let (_, records) = world.run(async |_, caller| {
        let mut conversation = caller.shake_hands().await;
        conversation.say(&format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n")).await;
        conversation.hear().await;
        // The listener takes bodies of 64 KiB.
        conversation.say(&format!("11000\r\n{}\r\n", "x".repeat(0x11000))).await;
        conversation.read_to_end().await
    });
    assert_eq!(ending(&records), is("refused", "body.too_large"));
}

#[test]
fn an_upstream_that_stops_reading_an_upload_is_to_blame_for_it() {
    let world = World::configured(Some(ALLOW), &[("body_bytes_max: 64KiB", "body_bytes_max: 64MiB")]);
    let (answer, records) = world.with_upstream(silent()).run(async |_, caller| {
        let mut conversation = caller.shake_hands().await;
        conversation.say(&format!("{HEAD}Content-Length: 8000000\r\n\r\n")).await;
        // Whoever does not read cannot be written to for ever.
        let upload = "x".repeat(8_000_000);
        drop(tokio::time::timeout(Duration::from_secs(60), conversation.try_say(&upload)).await);
        conversation.hear().await
    });
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    assert_eq!(ending(&records), is("refused", "upstream.timeout"));
}

#[test]
fn an_http2_caller_whose_body_policy_does_not_want_hears_why() {
    let (status, records) = World::new(Some(READS_BODY)).run(async |_, caller| {
        let mut caller = caller.speak_http2().await;
        let (parts, body) = mpsc::channel(4);
        let answer = caller.send_request(post("/api/p", spoken(body)));
        // No length is announced, and policy reads 1 KiB.
        let upload = async {
            for _ in 0..8 {
                drop(parts.send(Bytes::from(vec![b'x'; 1024])).await);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            drop(parts);
        };
        let (answer, ()) = tokio::join!(answer, upload);
        answer.unwrap().status().as_u16()
    });
    assert_eq!((status, text(only(&records, "decision"), "reason")), (413, "body.too_large"));
}

#[test]
fn the_bodies_that_policy_reads_are_bounded_together() {
    let changes =
        [("policy_body_bytes_max: 1KiB", "policy_body_bytes_max: 1KiB, policy_bodies_bytes_max: 1KiB")];
    let ((second, third), records) = World::configured(Some(READS_BODY), &changes).run(async |_, caller| {
        let mut caller = caller.speak_http2().await;
        let whole = || Full::new(Bytes::from("{\"amount\":1}")).map_err(|never| match never {}).boxed();
        let (parts, body) = mpsc::channel(4);
        let mut other = caller.clone();
        let slow =
            tokio::task::spawn_local(async move { other.send_request(post("/api/p", spoken(body))).await });
        tokio::time::sleep(Duration::from_millis(10)).await;
        let second = caller.send_request(post("/api/p", whole())).await.unwrap().status().as_u16();
        parts.send(Bytes::from("{\"amount\":1}")).await.unwrap();
        drop(parts);
        assert_eq!(slow.await.unwrap().unwrap().status(), 200);
        (second, caller.send_request(post("/api/p", whole())).await.unwrap().status().as_u16())
    });
    assert_eq!((second, third), (503, 200));
    assert!(records.iter().any(|record| record["reason"] == "limit.policy_bodies"), "{records:#?}");
}

#[test]
fn an_early_answer_over_http2_reaches_a_caller_that_still_sends() {
    let early = h2c(async |_| {
        let body: Full<Bytes> = Full::new(Bytes::from("enough"));
        Ok::<Response<Full<Bytes>>, std::io::Error>(Response::new(body))
    });
    let world = World::new(Some(ALLOW)).with_upstream(early);
    let (answer, records) = world.run(async |_, caller| {
        let mut caller = caller.speak_http2().await;
        let (parts, body) = mpsc::channel(4);
        let request = post("/calls/up", spoken(body));
        parts.send(Bytes::from("some")).await.unwrap();
        let answer = caller.send_request(request).await.unwrap();
        let answer = answer.into_body().collect().await.unwrap().to_bytes();
        drop(parts);
        answer
    });
    assert_eq!(answer, Bytes::from("enough"));
    assert_eq!(ending(&records), is("done", ""));
}

#[test]
fn a_head_is_taken_along_by_a_request_that_the_log_has_no_place_for() {
    let changes =
        [("drain_grace: 1s", "drain_grace: 1s, http2_streams_max: 1000"), ("retry:", "timeout: 1h, retry:")];
    let world = World::configured(Some(ALLOW), &changes).with_ring_bytes(256 * 1024).with_upstream(silent());
    let ((full, after), records) = world.run(async |world, caller| {
        let mut holder = caller.speak_http2().await;
        let get = || Request::get("https://a.test/api/held").body(spoken(mpsc::channel(1).1)).unwrap();
        let mut conversation = world.caller().await.shake_hands().await;
        let mut held = Vec::new();
        let mut full = String::new();
        // The log's writer has a clock of its own, so this looks until there is no room left.
        for _ in 0..1000 {
            held.extend((0..20).map(|_| tokio::task::spawn_local(holder.send_request(get()))));
            tokio::time::sleep(Duration::from_secs(1)).await;
            full = conversation.ask("GET /nowhere HTTP/1.1\nHost: a.test\n\n").await;
            if full.starts_with("HTTP/1.1 503 ") {
                break;
            }
        }
        held.into_iter().for_each(|call| call.abort());
        let mut after = String::new();
        for _ in 0..1000 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            after = conversation.ask("GET /elsewhere HTTP/1.1\nHost: a.test\n\n").await;
            if !after.starts_with("HTTP/1.1 503 ") {
                break;
            }
            std::thread::yield_now();
        }
        (full, after)
    });
    assert!(full.starts_with("HTTP/1.1 503 "), "{full}");
    assert!(after.starts_with("HTTP/1.1 404 "), "{after}");
    assert!(records.iter().any(|record| record["path"] == "/elsewhere"), "{records:#?}");
}

#[test]
fn what_is_not_the_callers_doing_does_not_count_against_it() {
    let (statuses, _) = World::new(None).run(async |_, caller| {
        let mut conversation = caller.shake_hands().await;
        let mut statuses = Vec::new();
        for _ in 0..210 {
            statuses.push(conversation.ask(GET).await.get(9..12).unwrap_or_default().to_owned());
        }
        statuses
    });
    assert!(statuses.iter().all(|status| status == "503"), "{statuses:?}");
}

#[test]
fn a_demand_of_policy_that_cannot_be_met_is_recorded_as_the_deny_that_it_is() {
    let policy = "package authz\nimport rego.v1\ndecision := {\"allowed\": true, \"headers\": {\"x-spiffe-id\": \"spiffe://evil/x\"}}";
    check(Some(policy), GET, (403, "deny", "policy.obligation"));
}

#[test]
fn a_header_that_policy_adds_keeps_all_its_values_and_one_that_it_sets_the_last() {
    let policy = "package authz\nimport rego.v1\ndecision := {\"allowed\": true, \"headers\": {\"x-up\": [\"1\", \"2\"]}, \"response_headers_to_add\": {\"x-down\": [\"3\", \"4\"]}}";
    let world = World::new(Some(policy));
    let seen = Rc::clone(&world.seen);
    let request = "GET /api/x HTTP/1.1\nHost: a.test\nX-Up: 0\n\n";
    let (answer, _) = world.run(async |_, caller| caller.ask(request).await);
    let down: Vec<_> = answer.lines().filter(|line| line.starts_with("x-down")).collect();
    assert_eq!(down, ["x-down: 3", "x-down: 4"], "{answer}");
    let up: Vec<_> = seen.borrow()[0].headers().get_all("x-up").iter().cloned().collect();
    assert_eq!(up, ["2"]);
}

/// The body of which nobody says how long it is, as the service got it.
fn arrived(method: &str, is_http2: bool) -> Bytes {
    let world = World::new(Some(ALLOW));
    let seen = Rc::clone(&world.seen);
    let head = format!("{method} /api/x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n");
    world.run(async |_, caller| {
        if is_http2 {
            let mut caller = caller.speak_http2().await;
            let (said, body) = mpsc::channel(1);
            said.send(Bytes::from_static(b"abc")).await.unwrap();
            drop(said);
            let ask = Request::builder().method(method).uri("https://a.test/api/x");
            drop(caller.send_request(ask.body(spoken(body)).unwrap()).await.unwrap());
        } else {
            let mut conversation = caller.shake_hands().await;
            conversation.say(&format!("{head}\r\n3\r\nabc\r\n0\r\n\r\n")).await;
            conversation.hear().await;
        }
    });
    seen.take().remove(0).into_body()
}

#[test]
fn a_body_without_a_length_reaches_the_service_whatever_the_method() {
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "POST"] {
        for is_http2 in [false, true] {
            assert_eq!(arrived(method, is_http2), "abc", "{method}, over HTTP/2: {is_http2}");
        }
    }
}

#[test]
fn nothing_is_read_behind_a_request_that_is_none_and_behind_a_refused_one_the_next() {
    let next = "GET /api/next HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
    let rows = [
        ("POST _a", "400", 0),
        ("POST /api/../b", "400", 0),
        ("POST /api/x#y", "400", 0),
        ("P-ST /api/x", "405", 0),
        ("POST /elsewhere", "404", 1),
    ];
    for (line, status, forwarded) in rows {
        let world = World::new(Some(ALLOW));
        let seen = Rc::clone(&world.seen);
        let first = format!("{line} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc");
        let (answer, _) = world.run(async |_, caller| {
            let mut conversation = caller.shake_hands().await;
            conversation.say(&format!("{first}{next}")).await;
            let answer = conversation.hear().await;
            conversation.read_to_end().await;
            answer
        });
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{line}: {answer}");
        assert_eq!(seen.borrow().len(), forwarded, "{line}: {answer}");
    }
}

#[test]
fn an_upload_that_stands_still_ends_when_its_time_is_over_and_not_when_that_of_the_upstream_is() {
    let route = "upstream: app, retry: { attempts_max: 2, on: [connect_failure] } }";
    let world = World::configured(Some(ALLOW), &[(route, "upstream: app, stream_idle_timeout: 2s }")]);
    let (took, records) = world.run(async |_, caller| {
        let mut conversation = caller.shake_hands().await;
        let began = tokio::time::Instant::now();
        conversation.say(&format!("{HEAD}Content-Length: 10\r\n\r\nabc")).await;
        let answer = conversation.hear().await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        began.elapsed()
    });
    assert!((2..=4).contains(&took.as_secs()), "{took:?}: {records:#?}");
}

/// Trailers of a body that policy has read, as the upstream behind this path got them.
fn trailers_behind(path: &str) -> String {
    let heard: Rc<std::cell::RefCell<String>> = Rc::default();
    let (by_http1, by_h2c) = (Rc::clone(&heard), Rc::clone(&heard));
    let http1 = played(move |_, mut stream| {
        let heard = Rc::clone(&by_http1);
        async move {
            let mut all = Vec::new();
            while !all.ends_with(b"\r\n\r\n") || !all.windows(3).any(|part| part == b"99}") {
                if stream.read_buf(&mut all).await.unwrap_or(0) == 0 {
                    return;
                }
            }
            let text = String::from_utf8(all).unwrap().to_lowercase();
            let trailers = text.split_once("99}\r\n0\r\n").map_or("", |(_, trailers)| trailers);
            heard.replace(trailers.trim_end().to_owned());
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await);
        }
    });
    let h2c = h2c(move |request: Request<hyper::body::Incoming>| {
        let heard = Rc::clone(&by_h2c);
        async move {
            let body = request.into_body().collect().await.map_err(std::io::Error::other)?;
            let trailers = body.trailers().cloned().unwrap_or_default();
            let lines = trailers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
            heard.replace(lines.collect::<Vec<_>>().join("\r\n"));
            Ok::<_, std::io::Error>(Response::new(Full::new(Bytes::new())))
        }
    });
    let world = World::new(Some(READS_BODY))
        .with_endpoints(move |endpoint| if endpoint.port() == 3 { h2c(0) } else { http1(0) });
    let request = format!(
        "POST {path} HTTP/1.1\nHost: a.test\nContent-Type: application/json\nTransfer-Encoding: chunked\nTrailer: x-sum\n\nd\n{{\"amount\":99}}\n0\nX-Sum: 7\nCookie: a=b\n\n"
    );
    let (answer, _) = world.run(async |_, caller| caller.ask(&request).await);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    heard.take()
}

#[test]
fn trailers_travel_behind_a_body_that_policy_has_read() {
    assert_eq!(trailers_behind("/calls/x"), "x-sum: 7");
    assert_eq!(trailers_behind("/api/x"), "x-sum: 7");
}
