//! What waits for room at one end must not be held at the other: blocked uploads, windows that stay shut, ends that
//! nobody sees.
use super::peers::{CallerBody, echo, h2c, hasty, played, silent};
use super::world::{Upstream, World};
use super::{ALLOW, DENY, GET, only, text};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Frame;
use serde_json::Value;
use std::cell::Cell;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

const LARGE: (&str, &str) = ("body_bytes_max: 64KiB", "body_bytes_max: 64MiB");
const ONE_ENDPOINT: (&str, &str) = ("127.0.0.1:1, 127.0.0.1:2]", "127.0.0.1:1]");

fn empty() -> CallerBody {
    Empty::new().map_err(|never| match never {}).boxed()
}

fn get(path: &str) -> Request<CallerBody> {
    Request::get(format!("https://a.test{path}")).body(empty()).unwrap()
}

fn ends(records: &[Value]) -> Vec<(String, String)> {
    let outcomes = records.iter().filter(|record| record["kind"] == "outcome");
    outcomes.map(|r| (text(r, "end").to_owned(), text(r, "reason").to_owned())).collect()
}

fn end(end: &str, reason: &str) -> (String, String) {
    (end.to_owned(), reason.to_owned())
}

/// An HTTP/2 upstream that lets so many streams be open, sends the head of an answer at once and reads nothing, until
/// its stream is reset; `/ok` is simply answered. Counts the streams that are open.
fn unreading(streams_max: u32) -> (Upstream, Rc<Cell<usize>>) {
    let open = Rc::new(Cell::new(0));
    let count = Rc::clone(&open);
    let upstream = played(move |_, stream| {
        let open = Rc::clone(&count);
        async move {
            let mut builder = h2::server::Builder::new();
            builder.max_concurrent_streams(streams_max);
            let mut connection = builder.handshake::<DuplexStream, Bytes>(stream).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let open = Rc::clone(&open);
                drop(tokio::task::spawn_local(async move {
                    if request.uri().path().ends_with("/ok") {
                        drop(respond.send_response(Response::new(()), true));
                        return;
                    }
                    let _unread = request;
                    open.set(open.get() + 1);
                    let mut answer = respond.send_response(Response::new(()), false).unwrap();
                    drop(std::future::poll_fn(|cx| answer.poll_reset(cx)).await);
                    open.set(open.get() - 1);
                }));
            }
        }
    });
    (upstream, open)
}

#[test]
fn a_call_that_its_caller_resets_ends_at_an_upstream_that_does_not_read() {
    let (upstream, open) = unreading(100);
    let world = World::configured(Some(ALLOW), &[LARGE]).with_upstream(upstream);
    let (was_open, records) = world.run(async |_, caller| {
        let mut client = caller.speak_bare_http2().await.ready().await.unwrap();
        let request = Request::post("https://a.test/calls/x").body(()).unwrap();
        let (answer, mut upload) = client.send_request(request, false).unwrap();
        upload.send_data(Bytes::from(vec![0; 512 * 1024]), false).unwrap();
        let _answer = answer.await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let was_open = open.get();
        upload.send_reset(h2::Reason::CANCEL);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(open.get(), 0, "streams open at the upstream");
        was_open
    });
    assert_eq!(was_open, 1);
    assert_eq!(ends(&records), [end("client_gone", "")]);
}

#[test]
fn blocked_uploads_of_one_caller_leave_the_shared_connection_to_others() {
    let (upstream, open) = unreading(100);
    let changes = [LARGE, ("drain_grace: 1s", "drain_grace: 1s, http2_streams_max: 300")];
    let world = World::configured(Some(ALLOW), &changes).with_upstream(upstream);
    let (status, _) = world.run(async |world, caller| {
        let client = caller.speak_bare_http2().await;
        for _ in 0..120 {
            let mut client = client.clone().ready().await.unwrap();
            let request = Request::post("https://a.test/calls/x").body(()).unwrap();
            let (answer, mut upload) = client.send_request(request, false).unwrap();
            upload.send_data(Bytes::from(vec![0; 512 * 1024]), false).unwrap();
            drop(answer.await.unwrap());
            upload.send_reset(h2::Reason::CANCEL);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(open.get(), 0, "streams open at the upstream");
        let mut other = world.caller().await.speak_http2().await;
        other.send_request(get("/calls/ok")).await.unwrap().status()
    });
    assert_eq!(status, 200);
}

#[test]
fn a_blocked_upload_is_ended_when_nothing_moves_and_the_caller_sees_it() {
    let (upstream, open) = unreading(100);
    let world = World::configured(Some(ALLOW), &[LARGE]).with_upstream(upstream);
    let (took, records) = world.run(async |_, caller| {
        let mut client = caller.speak_bare_http2().await.ready().await.unwrap();
        let request = Request::post("https://a.test/calls/x").body(()).unwrap();
        let (answer, mut upload) = client.send_request(request, false).unwrap();
        upload.send_data(Bytes::from(vec![0; 512 * 1024]), false).unwrap();
        let mut body = answer.await.unwrap().into_body();
        let began = Instant::now();
        let ended = tokio::time::timeout(Duration::from_secs(1000), body.data()).await;
        assert!(matches!(ended, Ok(Some(Err(_)))), "the caller sees the end: {ended:?}");
        assert_eq!(open.get(), 0, "streams open at the upstream");
        began.elapsed()
    });
    assert!((299..303).contains(&took.as_secs()), "{took:?}");
    assert_eq!(ends(&records), [end("timeout", "upstream.timeout")]);
}

#[test]
fn an_upload_that_waits_for_room_after_the_whole_answer_frees_its_connection() {
    let early = played(|number, mut stream| async move {
        drop(stream.read(&mut [0; 64]).await);
        if number == 0 {
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await);
        std::future::pending::<()>().await;
    });
    let changes = [LARGE, ("127.0.0.1:1, 127.0.0.1:2]", "127.0.0.1:1], connections_max: 1")];
    let world = World::configured(Some(ALLOW), &changes).with_upstream(early);
    let ((first, second), records) = world.run(async |world, caller| {
        let mut conversation = caller.shake_hands().await;
        conversation.say("POST /api/up HTTP/1.1\r\nHost: a.test\r\nContent-Length: 8000000\r\n\r\n").await;
        let upload = "x".repeat(8_000_000);
        drop(tokio::time::timeout(Duration::from_secs(5), conversation.try_say(&upload)).await);
        let first = conversation.hear().await;
        (first, world.caller().await.ask(GET).await)
    });
    assert!(first.starts_with("HTTP/1.1 200 "), "{first}");
    assert!(second.starts_with("HTTP/1.1 200 "), "{second}");
    assert_eq!(ends(&records), [end("done", ""), end("done", "")]);
}

#[test]
fn an_upstream_that_stops_reading_late_is_given_up_in_the_routes_time_too() {
    let changes = [LARGE, ("retry:", "timeout: 4s, retry:")];
    let (took, records) =
        World::configured(Some(ALLOW), &changes).with_upstream(silent()).run(async |_, caller| {
            let mut conversation = caller.shake_hands().await;
            conversation
                .say("POST /api/up HTTP/1.1\r\nHost: a.test\r\nContent-Length: 8000000\r\n\r\n")
                .await;
            tokio::time::sleep(Duration::from_secs(6)).await;
            let began = Instant::now();
            let upload = "x".repeat(8_000_000);
            drop(tokio::time::timeout(Duration::from_secs(2), conversation.try_say(&upload)).await);
            conversation.hear().await;
            began.elapsed()
        });
    assert!((3..10).contains(&took.as_secs()), "{took:?}");
    assert_eq!(ends(&records), [end("refused", "upstream.timeout")]);
}

#[test]
fn an_upload_that_moves_keeps_a_quiet_answer_alive() {
    let quiet = h2c(async |request: Request<hyper::body::Incoming>| {
        let (said, heard) = mpsc::channel::<Bytes>(1);
        drop(tokio::task::spawn_local(async move {
            drop(request.into_body().collect().await);
            drop(said.send(Bytes::from("done")).await);
        }));
        let parts = futures_util::stream::unfold(heard, async |mut heard| {
            heard.recv().await.map(|part| (Ok::<_, Infallible>(Frame::data(part)), heard))
        });
        Ok::<_, std::io::Error>(Response::new(StreamBody::new(Box::pin(parts))))
    });
    let (answer, records) = World::new(Some(ALLOW)).with_upstream(quiet).run(async |_, caller| {
        let mut caller = caller.speak_http2().await;
        let (parts, body) = mpsc::channel(4);
        let body = super::bodies::spoken(body);
        let request = Request::post("https://a.test/calls/up").body(body).unwrap();
        let answer = caller.send_request(request).await.unwrap();
        drop(tokio::task::spawn_local(async move {
            for _ in 0..40 {
                drop(parts.send(Bytes::from("x")).await);
                tokio::time::sleep(Duration::from_secs(10)).await;
            }
        }));
        answer.into_body().collect().await.map(http_body_util::Collected::to_bytes).ok()
    });
    assert_eq!(answer, Some(Bytes::from("done")));
    assert_eq!(ends(&records), [end("done", "")]);
}

#[test]
fn an_answer_with_trailers_is_whole_and_its_connection_is_used_again() {
    let made = Rc::new(Cell::new(0));
    let counter = Rc::clone(&made);
    let upstream = played(move |_, mut stream| {
        counter.set(counter.get() + 1);
        async move {
            let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-t\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n";
            while stream.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {
                drop(stream.write_all(answer.as_bytes()).await);
            }
        }
    });
    let world = World::configured(Some(ALLOW), &[ONE_ENDPOINT]).with_upstream(upstream);
    let (trailers, records) = world.run(async |_, caller| {
        let mut caller = caller.speak_http2().await;
        let mut trailers = Vec::new();
        for _ in 0..2 {
            let answer = caller.send_request(get("/api/x")).await.unwrap();
            let answer = answer.into_body().collect().await.unwrap();
            trailers.push(answer.trailers().unwrap()["x-t"].clone());
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        trailers
    });
    assert_eq!(trailers, ["1", "1"]);
    assert_eq!((ends(&records), made.get()), (vec![end("done", ""), end("done", "")], 1));
}

#[test]
fn a_request_with_trailers_is_whole_and_its_connection_is_used_again() {
    let made = Rc::new(Cell::new(0));
    let (counter, inner) = (Rc::clone(&made), echo(&Rc::default()));
    let upstream: Upstream = Rc::new(move |number| {
        counter.set(counter.get() + 1);
        inner(number)
    });
    let world = World::configured(Some(ALLOW), &[ONE_ENDPOINT]).with_upstream(upstream);
    let ((), _) = world.run(async |_, caller| {
        let mut conversation = caller.shake_hands().await;
        for _ in 0..3 {
            let request = "POST /api/x HTTP/1.1\nHost: a.test\nTransfer-Encoding: chunked\nTrailer: x-t\n\n2\nok\n0\nX-T: 1\n\n";
            let answer = conversation.ask(request).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    assert_eq!(made.get(), 1, "connections made");
}

#[test]
fn an_upstream_that_takes_one_call_at_a_time_is_given_each_on_a_connection_of_its_own() {
    let made = Rc::new(Cell::new(0));
    let counter = Rc::clone(&made);
    let upstream = played(move |_, stream| {
        counter.set(counter.get() + 1);
        async move {
            let mut builder = h2::server::Builder::new();
            builder.max_concurrent_streams(1);
            let mut connection = builder.handshake::<DuplexStream, Bytes>(stream).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                drop(tokio::task::spawn_local(async move {
                    if request.uri().path().ends_with("/long") {
                        tokio::time::sleep(Duration::from_secs(10)).await;
                    }
                    drop(respond.send_response(Response::new(()), true));
                }));
            }
        }
    });
    let (took, _) = World::new(Some(ALLOW)).with_upstream(upstream).run(async |_, caller| {
        let mut caller = caller.speak_http2().await;
        caller.send_request(get("/calls/short")).await.unwrap();
        let long = tokio::task::spawn_local(caller.send_request(get("/calls/long")));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let began = Instant::now();
        caller.send_request(get("/calls/short")).await.unwrap();
        let took = began.elapsed();
        assert_eq!(long.await.unwrap().unwrap().status(), 200);
        took
    });
    assert_eq!((took.as_secs(), made.get()), (0, 2));
}

#[test]
fn a_connection_that_swallows_everything_costs_one_call() {
    let upstream = played(move |_, stream| async move {
        let service = hyper::service::service_fn(async |_: Request<hyper::body::Incoming>| {
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("ok"))))
        });
        let builder = hyper::server::conn::http2::Builder::new(crate::upstream::LocalExecutor);
        let mut serving = Box::pin(builder.serve_connection(hyper_util::rt::TokioIo::new(stream), service));
        drop(tokio::time::timeout(Duration::from_secs(1), &mut serving).await);
        // The socket stays open, and nothing comes any more.
        std::future::pending::<()>().await;
    });
    let changes = [("upstream: calls }", "upstream: calls, timeout: 2s }")];
    let (statuses, _) =
        World::configured(Some(ALLOW), &changes).with_upstream(upstream).run(async |_, caller| {
            let mut caller = caller.speak_http2().await;
            let mut statuses = vec![caller.send_request(get("/calls/x")).await.unwrap().status().as_u16()];
            tokio::time::sleep(Duration::from_secs(2)).await;
            for _ in 0..2 {
                statuses.push(caller.send_request(get("/calls/x")).await.unwrap().status().as_u16());
            }
            statuses
        });
    assert_eq!(statuses, [200, 504, 200]);
}

/// Under this policy, a caller whose window stays shut is answered: how its exchange ends, and after how long.
fn shut(policy: &str) -> (Vec<(String, String)>, u64) {
    let upstream =
        h2c(async |_| Ok::<_, std::io::Error>(Response::new(Full::new(Bytes::from(vec![b'x'; 10_000])))));
    let (took, records) = World::new(Some(policy)).with_upstream(upstream).run(async |_, mut caller| {
        std::sync::Arc::make_mut(&mut caller.tls).alpn_protocols = vec![b"h2".to_vec()];
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(0);
        let stream = caller.shake_hands().await.0;
        let (client, connection) = builder.handshake::<_, Bytes>(stream).await.unwrap();
        drop(tokio::task::spawn_local(connection));
        let request = Request::get("https://a.test/calls/x").body(()).unwrap();
        let (answer, _) = client.ready().await.unwrap().send_request(request, true).unwrap();
        let mut body = answer.await.unwrap().into_body();
        let began = Instant::now();
        let ended = tokio::time::timeout(Duration::from_secs(1000), body.data()).await;
        assert!(matches!(ended, Ok(Some(Err(_)))), "the stream is reset: {ended:?}");
        began.elapsed().as_secs()
    });
    (ends(&records), took)
}

#[test]
fn a_caller_whose_window_stays_shut_is_let_go() {
    let (found, took) = shut(DENY);
    assert_eq!(found, [end("refused", "policy.denied")]);
    assert!((299..303).contains(&took), "{took}");
    let (_, took) = shut(ALLOW);
    assert!((299..303).contains(&took), "{took}");
}

#[test]
fn ninety_answers_that_nobody_reads_do_not_stall_another() {
    let upstream = h2c(async |request: Request<hyper::body::Incoming>| {
        let is_large = request.uri().path().ends_with("/large");
        let body = if is_large { Bytes::from(vec![b'x'; 1024 * 1024]) } else { Bytes::from("small") };
        Ok::<_, std::io::Error>(Response::new(Full::new(body)))
    });
    let (answer, _) = World::new(Some(ALLOW)).with_upstream(upstream).run(async |_, caller| {
        let mut caller = caller.speak_http2().await;
        let mut unread = Vec::new();
        for _ in 0..95 {
            unread.push(caller.send_request(get("/calls/large")).await.unwrap());
        }
        let small = caller.send_request(get("/calls/small")).await.unwrap();
        small.into_body().collect().await.unwrap().to_bytes()
    });
    assert_eq!(answer, Bytes::from("small"));
}

#[test]
fn uploads_that_stand_still_leave_the_callers_connection_to_others() {
    let (upstream, _) = unreading(100);
    let (room, _) =
        World::configured(Some(ALLOW), &[LARGE]).with_upstream(upstream).run(async |_, caller| {
            let client = caller.speak_bare_http2().await;
            let mut held = Vec::new();
            for _ in 0..8 {
                let mut client = client.clone().ready().await.unwrap();
                let request = Request::post("https://a.test/calls/x").body(()).unwrap();
                let (answer, mut upload) = client.send_request(request, false).unwrap();
                upload.send_data(Bytes::from(vec![0; 512 * 1024]), false).unwrap();
                held.push((answer.await.unwrap(), upload));
            }
            let mut client = client.ready().await.unwrap();
            let request = Request::post("https://a.test/calls/x").body(()).unwrap();
            let (_answer, mut upload) = client.send_request(request, false).unwrap();
            upload.reserve_capacity(16 * 1024);
            let room = std::future::poll_fn(|cx| upload.poll_capacity(cx));
            tokio::time::timeout(Duration::from_secs(5), room).await.unwrap().unwrap().unwrap()
        });
    assert_eq!(room, 16 * 1024, "what the next upload may send");
}

#[test]
fn a_body_that_oversteps_before_the_answer_is_the_callers_doing() {
    let request = format!(
        "POST /api/up HTTP/1.1\nHost: a.test\nTransfer-Encoding: chunked\n\n11000\n{}\n0\n\n",
        "x".repeat(0x11000)
    );
    let (answer, records) = World::new(Some(ALLOW)).run(async |_, caller| caller.ask(&request).await);
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert_eq!(text(only(&records, "outcome"), "reason"), "body.too_large");
}

/// What becomes of a stream whose caller goes on sending after this answer, within half a second.
fn after(policy: &str, path: &'static str) -> (u16, bool) {
    let answers = h2c(async |_| Ok::<_, std::io::Error>(Response::new(Full::new(Bytes::from("enough")))));
    let (found, _) = World::new(Some(policy)).with_upstream(answers).run(async |_, caller| {
        let mut client = caller.speak_bare_http2().await.ready().await.unwrap();
        let request =
            Request::post(format!("https://a.test{path}")).header("content-type", "application/json");
        let (answer, mut upload) = client.send_request(request.body(()).unwrap(), false).unwrap();
        upload.send_data(Bytes::from(vec![b'x'; 2048]), false).unwrap();
        let answer = answer.await.unwrap();
        let status = answer.status().as_u16();
        let mut body = answer.into_body();
        while let Some(part) = body.data().await {
            part.unwrap();
        }
        let reset = std::future::poll_fn(|cx| upload.poll_reset(cx));
        (status, tokio::time::timeout(Duration::from_millis(500), reset).await.is_ok())
    });
    found
}

#[test]
fn a_caller_that_is_answered_early_is_heard_out_for_a_while() {
    let not_reset = |status| (status, false);
    assert_eq!(after(DENY, "/calls/x"), not_reset(403));
    assert_eq!(after(ALLOW, "/nowhere"), not_reset(404));
    assert_eq!(after(super::READS_BODY, "/calls/x"), not_reset(413));
    assert_eq!(after(ALLOW, "/calls/x"), not_reset(200));
}

/// A request with a short body, to an upstream that answers whole with this status, opens no window and resets nothing:
/// when the exchange has ended none of its streams is open.
#[track_caller]
fn check_unsent(status: u16, attempts: u64) {
    let open = Rc::default();
    let upstream = hasty(status, &open);
    let retry = "upstream: calls, retry: { attempts_max: 2, on: [gateway_error], methods: [POST] } }";
    let world = World::configured(Some(ALLOW), &[("upstream: calls }", retry)]).with_upstream(upstream);
    let ((), records) = world.run(async |_, caller| {
        let request = "POST /calls/x HTTP/1.1\nHost: a.test\nContent-Length: 4\n\nbody";
        let answer = caller.ask(request).await;
        assert_eq!(super::status(&answer), status, "{answer}");
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(open.get(), 0, "streams open at the upstream after {attempts} attempts");
    });
    assert_eq!(only(&records, "outcome")["attempts"], attempts);
}

#[test]
fn what_is_left_of_a_short_body_is_let_go_with_its_exchange() {
    check_unsent(200, 1);
    check_unsent(503, 2);
}
