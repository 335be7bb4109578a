//! Every limit of the configuration does what it says: one row a key, at another value than the default.
use super::peers::{echo, h2c, silent};
use super::world::{MEMORY_BYTES, Upstream, World};
use super::{ALLOW, DENY, GET, READS_BODY, text};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use serde_json::Value;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// With this limit on the listener, a request is answered with this status and the log has this reason.
fn check(limit: &str, request: &str, (status, reason): (u16, &str)) {
    let changes = [("drain_grace: 1s", &*format!("drain_grace: 1s, {limit}"))];
    let policy = if request.contains("application/json") { READS_BODY } else { ALLOW };
    let (answer, records) =
        World::configured(Some(policy), &changes).run(async |_, caller| caller.ask(request).await);
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{limit}: {answer}");
    assert!(has(&records, reason), "{limit}: {records:#?}");
}

fn has(records: &[Value], reason: &str) -> bool {
    records.iter().any(|record| text(record, "reason") == reason)
}

/// How the log says that a connection was broken.
fn broken(records: &[Value]) -> String {
    let ended = records.iter().find(|record| record["kind"] == "conn");
    ended.map_or_else(String::new, |record| record["protocol_errors"].to_string())
}

#[test]
fn what_a_request_may_be_is_bounded() {
    let long = format!("GET /api/x HTTP/1.1\nHost: a.test\nX-Long: {}\n\n", "x".repeat(400));
    check("header_line_bytes_max: 300B, token_bytes_max: 256B", &long, (431, "request.header_too_large"));
    let lines: String = (0..8).map(|n| format!("X-{n}: {}\n", "x".repeat(200))).collect();
    let many = format!("GET /api/x HTTP/1.1\nHost: a.test\n{lines}\n");
    let limit = "header_bytes_max: 1KiB, header_line_bytes_max: 512B, token_bytes_max: 256B";
    check(limit, &many, (431, "request.head_too_large"));
    check("header_count_max: 8", &many, (431, "request.header_count"));
    let post = "POST /api/p HTTP/1.1\nHost: a.test\nContent-Type: application/json\nContent-Length: 5\n\n{";
    check("policy_body_timeout: 100ms", post, (408, "body.timeout"));
}

#[test]
fn a_token_may_have_so_many_bytes() {
    let issuers = "tokens: [{ issuer: https://idp.test, audiences: [a], algorithms: [ES256], keys: { file: /nowhere } }]\npolicy:";
    let changes = [
        ("policy:", issuers),
        ("drain_grace: 1s", "drain_grace: 1s, token_bytes_max: 256B"),
        ("explain: detail", "explain: detail, tokens: required"),
    ];
    let request =
        format!("GET /told/x HTTP/1.1\nHost: a.test\nAuthorization: Bearer {}\n\n", "x".repeat(257));
    let (answer, records) =
        World::configured(Some(ALLOW), &changes).run(async |_, caller| caller.ask(&request).await);
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(has(&records, "token.too_large"), "{records:#?}");
}

#[test]
fn a_handshake_has_so_much_time() {
    let changes = [("drain_grace: 1s", "drain_grace: 1s, handshake_timeout: 2s")];
    let (took, records) = World::configured(Some(ALLOW), &changes).run(async |_, mut caller| {
        let began = Instant::now();
        let read = tokio::io::AsyncReadExt::read(&mut caller.io, &mut [0; 64]).await;
        assert_eq!(read.unwrap(), 0, "the connection is closed");
        began.elapsed()
    });
    assert_eq!(took.as_secs(), 2);
    assert!(has(&records, "conn.handshake_timeout"), "{records:#?}");
}

/// How long a connection lasts that says this after its handshake, and how the log says that it was broken.
fn lasts(limit: &str, said: &str) -> (u64, String) {
    let changes = [("drain_grace: 1s", &*format!("drain_grace: 1s, {limit}"))];
    let (took, records) = World::configured(Some(ALLOW), &changes).run(async |_, caller| {
        let mut conversation = caller.shake_hands().await;
        conversation.say(&said.replace('\n', "\r\n")).await;
        let began = Instant::now();
        conversation.read_to_end().await;
        began.elapsed()
    });
    (took.as_secs(), broken(&records))
}

#[test]
fn a_connection_lasts_as_long_as_it_may() {
    assert_eq!(
        lasts("header_timeout: 3s", "GET /api/x HTTP/1.1\nHost:"),
        (3, "{\"slow_head\":1}".to_owned())
    );
    assert_eq!(lasts("idle_timeout: 7s", GET), (7, String::new()));
    let (age, broken) = lasts("connection_age_max: 20s", "");
    assert!((18..=22).contains(&age) && broken.is_empty(), "{age} s, {broken}");
}

#[test]
fn a_connection_that_does_not_end_when_it_drains_is_closed_after_the_grace() {
    let ((), records) = World::new(Some(ALLOW)).with_upstream(silent()).run(async |_, caller| {
        let mut conversation = caller.shake_hands().await;
        conversation.say(&GET.replace('\n', "\r\n")).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        // The caller stays, the worker drains.
        std::mem::forget(conversation);
    });
    assert_eq!(broken(&records), "{\"overstayed\":1}", "{records:#?}");
}

#[test]
fn refusals_are_counted_by_the_second() {
    let changes = [("drain_grace: 1s", "drain_grace: 1s, refusals_per_second_max: 2")];
    let (statuses, _) = World::configured(Some(DENY), &changes).run(async |_, caller| {
        let mut conversation = caller.shake_hands().await;
        let mut statuses = Vec::new();
        for _ in 0..5 {
            statuses.push(conversation.ask(GET).await.get(9..12).unwrap_or_default().to_owned());
        }
        statuses
    });
    assert_eq!(statuses, ["403", "403", "403", "403", "429"]);
}

#[test]
fn an_http2_connection_carries_so_many_streams() {
    let changes = [("drain_grace: 1s", "drain_grace: 1s, http2_streams_max: 7")];
    let (streams, _) = World::configured(Some(ALLOW), &changes).run(async |_, caller| {
        let mut client = caller.speak_bare_http2().await;
        let request = Request::get("https://a.test/api/x").body(()).unwrap();
        client.send_request(request, true).unwrap().0.await.unwrap();
        client.current_max_send_streams()
    });
    assert_eq!(streams, 7);
}

/// An upstream that cannot be reached, nor is refused.
fn black_hole() -> Upstream {
    Rc::new(|_| Err(std::io::ErrorKind::WouldBlock.into()))
}

/// How long it takes until the answer has come, and its status.
fn answered(changes: &[(&str, &str)], upstream: Option<Upstream>) -> (u64, String) {
    let mut world = World::configured(Some(ALLOW), changes);
    if let Some(upstream) = upstream {
        world = world.with_upstream(upstream);
    }
    let (found, _) = world.run(async |_, caller| {
        let mut conversation = caller.shake_hands().await;
        let began = Instant::now();
        let answer = conversation.ask(GET).await;
        (began.elapsed().as_secs(), answer.get(9..12).unwrap_or_default().to_owned())
    });
    found
}

#[test]
fn an_upstream_has_so_much_time() {
    let connect = [
        ("127.0.0.1:2]", "127.0.0.1:2], connect_timeout: 3s"),
        (", retry: { attempts_max: 2, on: [connect_failure] }", ""),
    ];
    assert_eq!(answered(&connect, Some(black_hole())), (3, "503".to_owned()));
    let route = [("retry:", "timeout: 4s, retry:")];
    assert_eq!(answered(&route, Some(silent())), (4, "504".to_owned()));
}

/// How many connections `calls` makes to an upstream that answers, under these changes.
fn connections(
    changes: &[(&str, &str)],
    (request, inner): (&str, Upstream),
    pause: Duration,
) -> (usize, Vec<String>) {
    let made = Rc::new(std::cell::Cell::new(0));
    let counter = Rc::clone(&made);
    let counted: Upstream = Rc::new(move |number| {
        counter.set(counter.get() + 1);
        inner(number)
    });
    let (statuses, _) =
        World::configured(Some(ALLOW), changes).with_upstream(counted).run(async |_, caller| {
            let mut conversation = caller.shake_hands().await;
            let first = conversation.ask(request).await;
            tokio::time::sleep(pause).await;
            let second = conversation.ask(request).await;
            [first, second]
                .iter()
                .map(|answer| answer.get(9..12).unwrap_or_default().to_owned())
                .collect::<Vec<_>>()
        });
    (made.get(), statuses)
}

#[test]
fn an_idle_upstream_connection_is_kept_for_a_while() {
    let kept = [("127.0.0.1:1, 127.0.0.1:2]", "127.0.0.1:1], idle_timeout: 10s")];
    let twice = vec!["200".to_owned(), "200".to_owned()];
    let http1 = || (GET, echo(&Rc::default()));
    assert_eq!(connections(&kept, http1(), Duration::from_secs(8)), (1, twice.clone()));
    assert_eq!(connections(&kept, http1(), Duration::from_secs(12)), (2, twice.clone()));
    let kept = [("protocol: h2c", "protocol: h2c, idle_timeout: 10s")];
    let answer = async |_| Ok::<_, std::io::Error>(Response::new(Full::new(Bytes::from("ok"))));
    let http2 = || ("GET /calls/x HTTP/1.1\nHost: a.test\n\n", h2c(answer));
    assert_eq!(connections(&kept, http2(), Duration::from_secs(8)), (1, twice.clone()));
    assert_eq!(connections(&kept, http2(), Duration::from_secs(12)), (2, twice));
}

type Changes<'c> = &'c [(&'c str, &'c str)];

/// How many connections two requests need that come 12 s one after the other, with a reload right behind the first.
fn connections_across(
    (before, after): (Changes<'_>, Changes<'_>),
    (request, inner): (&str, Upstream),
) -> usize {
    let made = Rc::new(std::cell::Cell::new(0));
    let counter = Rc::clone(&made);
    let counted: Upstream = Rc::new(move |number| {
        counter.set(counter.get() + 1);
        inner(number)
    });
    World::configured(Some(ALLOW), before).with_upstream(counted).run(async |world, caller| {
        let mut conversation = caller.shake_hands().await;
        assert!(conversation.ask(request).await.starts_with("HTTP/1.1 200 "));
        world.reload(after);
        tokio::time::sleep(Duration::from_secs(12)).await;
        assert!(conversation.ask(request).await.starts_with("HTTP/1.1 200 "));
    });
    made.get()
}

#[test]
fn a_reload_says_how_long_an_idle_upstream_connection_is_kept() {
    let kept = |timeout: &str| format!("127.0.0.1:1], idle_timeout: {timeout}");
    let (short, long) = (kept("10s"), kept("20s"));
    let of = |kept| [("127.0.0.1:1, 127.0.0.1:2]", kept)];
    let (short, long) = (of(short.as_str()), of(long.as_str()));
    let http1 = || (GET, echo(&Rc::default()));
    assert_eq!(connections_across((&short, &long), http1()), 1);
    assert_eq!(connections_across((&long, &short), http1()), 2);
    let kept = |timeout: &str| format!("protocol: h2c, idle_timeout: {timeout}");
    let (short, long) = (kept("10s"), kept("20s"));
    let of = |kept| [("protocol: h2c", kept)];
    let (short, long) = (of(short.as_str()), of(long.as_str()));
    let answer = async |_| Ok::<_, std::io::Error>(Response::new(Full::new(Bytes::from("ok"))));
    let http2 = || ("GET /calls/x HTTP/1.1\nHost: a.test\n\n", h2c(answer));
    assert_eq!(connections_across((&short, &long), http2()), 1);
    assert_eq!(connections_across((&long, &short), http2()), 2);
}

#[test]
fn an_upstream_has_so_many_connections() {
    let changes = [("127.0.0.1:1, 127.0.0.1:2]", "127.0.0.1:1], connections_max: 1, pending_max: 0")];
    let world = World::configured(Some(ALLOW), &changes).with_upstream(silent());
    let ((status, metrics), records) = world.run(async |world, caller| {
        let mut held = caller.shake_hands().await;
        held.say(&GET.replace('\n', "\r\n")).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        (world.caller().await.ask(GET).await, world.metrics.encode())
    });
    assert!(status.starts_with("HTTP/1.1 503 "), "{status}");
    assert!(has(&records, "upstream.overflow"), "{records:#?}");
    // Nothing was connected that could have failed.
    assert!(metrics.contains("postern_upstream_connect_failures_total{upstream=\"app\"} 0"), "{metrics}");
}

#[test]
fn an_upstream_that_speaks_http2_is_spoken_to_in_it() {
    let answer = async |request: Request<hyper::body::Incoming>| {
        let spoken = format!("{:?}", request.version());
        Ok::<_, std::io::Error>(Response::new(Full::new(Bytes::from(spoken))))
    };
    let (body, _) = World::new(Some(ALLOW)).with_upstream(h2c(answer)).run(async |_, caller| {
        let mut caller = caller.speak_http2().await;
        let body = Empty::new().map_err(|never| match never {}).boxed();
        let request = Request::get("https://a.test/calls/x").body(body).unwrap();
        caller.send_request(request).await.unwrap().into_body().collect().await.unwrap().to_bytes()
    });
    assert_eq!(body, Bytes::from("HTTP/2.0"));
}

#[test]
fn where_memory_is_short_nothing_is_begun() {
    let (answers, records) = World::new(Some(ALLOW)).run(async |world, caller| {
        let mut conversation = caller.shake_hands().await;
        let mut answers = Vec::new();
        for used in [0, MEMORY_BYTES, MEMORY_BYTES / 2] {
            world.use_memory(used);
            answers.push(conversation.ask(GET).await);
        }
        answers
    });
    let statuses: Vec<_> = answers.iter().map(|answer| answer.get(9..12).unwrap_or_default()).collect();
    assert_eq!(statuses, ["200", "503", "200"]);
    assert!(answers[1].contains("\r\nretry-after: 1\r\n"), "{}", answers[1]);
    assert!(has(&records, "limit.memory"), "{records:#?}");
}
