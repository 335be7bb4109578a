//! Callers that are somebody and mean harm: what HTTP/2 lets them send without end ends, costs no memory, keeps nobody
//! else waiting, and is named in the log.

use std::fs;
use std::path::Path;
use std::time::Duration;

use postern_tests::load::Pressure;
use postern_tests::sidecar::{assert_log_is_whole, records};
use postern_tests::{Load, Scene, Sidecar, Version};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

const OPEN: &str = "package postern.authz\n\ndecision := {\"allowed\": true}\n";

/// Longest time for one flood. The debug build reads some hundred thousand frames a second.
const LIMIT: Duration = Duration::from_secs(60);
/// What one flood may leave behind in memory, and all of them together.
const GROWTH_BYTES_MAX: u64 = 10 * 1024 * 1024;
/// What one flood may leave behind in the log. A stream that was begun is an exchange, with its entries.
const LOG_BYTES_MAX: u64 = 512 * 1024;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PRIORITISED: u8 = 0x20;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// `GET https://a/x` in HPACK, nothing of it kept.
const HEAD: &[u8] = &[0x82, 0x87, 0x04, 2, b'/', b'x', 0x01, 1, b'a'];
/// The same as a POST.
const POST: &[u8] = &[0x83, 0x87, 0x04, 2, b'/', b'x', 0x01, 1, b'a'];

/// What somebody sends: something first, then the n-th of so many.
struct Flood<'a> {
    name: &'static str,
    first: Vec<u8>,
    times: u32,
    nth: &'a dyn Fn(u32) -> Vec<u8>,
    /// Whether what comes back is read meanwhile.
    is_heard: bool,
}

/// How a connection ended.
#[derive(Debug)]
struct End {
    /// The error code of a GOAWAY.
    goaway: Option<u32>,
    is_closed: bool,
}

/// Sends all of it, or as much as is taken, and reads to the end.
async fn pour(scene: &Scene, flood: &Flood<'_>) -> End {
    let caller = scene.caller(&format!("/{}", flood.name));
    let stream = caller.secured(scene.listener, Some(Version::Http2)).await.expect("a connection");
    let (mut reader, mut writer) = tokio::io::split(stream);
    let over = tokio::sync::Notify::new();
    let reading = async {
        if !flood.is_heard {
            over.notified().await;
        }
        let mut heard = Vec::new();
        let is_closed = tokio::time::timeout(LIMIT, reader.read_to_end(&mut heard)).await.is_ok();
        (heard, is_closed)
    };
    let writing = async {
        drop(tokio::time::timeout(LIMIT, write(&mut writer, flood)).await);
        over.notify_one();
    };
    let ((heard, is_closed), ()) = tokio::join!(reading, writing);
    End { goaway: goaway(&heard), is_closed }
}

async fn write(writer: &mut (impl AsyncWrite + Unpin), flood: &Flood<'_>) -> std::io::Result<()> {
    let preface = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", frame(SETTINGS, 0, 0, &[]).as_slice()].concat();
    writer.write_all(&[preface, flood.first.clone()].concat()).await?;
    let mut batch = Vec::new();
    for n in 0..flood.times {
        batch.extend((flood.nth)(n));
        if batch.len() > 16_384 || n + 1 == flood.times {
            writer.write_all(&batch).await?;
            batch.clear();
        }
    }
    // Whoever is still connected goes.
    writer.shutdown().await
}

/// The error code of the last GOAWAY.
fn goaway(mut heard: &[u8]) -> Option<u32> {
    let mut code = None;
    while let [a, b, c, kind, _, _, _, _, _, rest @ ..] = heard {
        let length = usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).expect("a length");
        let Some((payload, after)) = rest.split_at_checked(length) else { break };
        if let (7, Some(bytes)) = (kind, payload.get(4..8)) {
            code = Some(u32::from_be_bytes(bytes.try_into().expect("four bytes")));
        }
        heard = after;
    }
    code
}

const PROTOCOL_ERROR: u32 = 1;
const CALM: u32 = 0xb;

fn memory(sidecar: &Sidecar) -> u64 {
    let statm = fs::read_to_string(format!("/proc/{}/statm", sidecar.running.id())).expect("a process");
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("pages") * 4096
}

fn bytes_in(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).expect("a folder").flatten();
    entries
        .map(|e| if e.path().is_dir() { bytes_in(&e.path()) } else { e.metadata().map_or(0, |m| m.len()) })
        .sum()
}

/// The flood ends with this GOAWAY (none: it is answered to its end, request by request); others are served meanwhile.
fn check(scene: &Scene, (sidecar, others): (&Sidecar, &Load), flood: &Flood<'_>, goaway: Option<u32>) {
    let before = (memory(sidecar), bytes_in(&scene.audit()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let end = runtime.block_on(pour(scene, flood));
    others.wait_for_answers(2, Duration::from_secs(10));
    let grown = memory(sidecar).saturating_sub(before.0);
    let logged = bytes_in(&scene.audit()).saturating_sub(before.1);
    let name = flood.name;
    println!("{name}: {end:?}, {} KiB more memory, {} KiB more log", grown / 1024, logged / 1024);
    assert!(end.is_closed, "{name}: {end:?}");
    assert_eq!(end.goaway.filter(|code| *code != 0), goaway, "{name}: {end:?}");
    assert!(grown < GROWTH_BYTES_MAX, "{name}: {grown} bytes more memory");
    assert!(logged < LOG_BYTES_MAX, "{name}: {logged} bytes more log");
}

/// What the log has of the connections of each caller: the reason, and what was broken.
fn entries(scene: &Scene) -> Vec<(String, String, String)> {
    let text = records(&scene.audit());
    let all = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let ended = all.filter(|record| record["kind"] == "conn");
    let member = |record: &Value, name: &str| record[name].as_str().unwrap_or_default().to_owned();
    ended.map(|r| (member(&r, "peer"), member(&r, "reason"), r["protocol_errors"].to_string())).collect()
}

/// Has all of them sent to one sidecar, and looks in its log for how each connection ended.
fn check_all(floods: &[(Flood<'_>, Option<u32>, &str)]) {
    let mut scene = Scene::new();
    scene.write_policy(OPEN);
    scene.config["workers"] = 1.into();
    let sidecar = scene.start();
    let pressure = Pressure { callers: 2, pause: Duration::from_millis(20), version: Version::Http2 };
    let others = Load::start(&scene.caller("/other"), scene.listener, "/x", pressure);
    others.wait_for_answers(20, Duration::from_secs(20));
    let before = memory(&sidecar);
    for (flood, goaway, _) in floods {
        check(&scene, (&sidecar, &others), flood, *goaway);
    }
    let grown = memory(&sidecar).saturating_sub(before);
    assert!(grown < GROWTH_BYTES_MAX, "{grown} bytes more memory in the end");
    assert_eq!(others.stop().failures, Vec::<String>::new(), "others");
    sidecar.stop();
    assert_log_is_whole(&scene.audit());
    let entries = entries(&scene);
    for (flood, _, reason) in floods {
        let peer = format!("spiffe://example.org/{}", flood.name);
        let found = entries.iter().find(|entry| entry.0 == peer);
        assert_eq!(found.map_or("", |entry| entry.1.as_str()), *reason, "{}: {found:?}", flood.name);
    }
}

/// The stream of the n-th request.
fn stream(n: u32) -> u32 {
    2 * n + 1
}

#[test]
fn frames_that_carry_nothing_end_their_connection() {
    const TIMES: u32 = 1_000_000;
    let open = || frame(HEADERS, END_HEADERS, 1, POST);
    let row = |name, first, nth: &'static dyn Fn(u32) -> Vec<u8>| {
        (Flood { name, first, times: TIMES, nth, is_heard: true }, Some(CALM), "conn.http2_flood")
    };
    check_all(&[
        row("ping", vec![], &|_| frame(PING, 0, 0, &[7; 8])),
        row("ping-ack", vec![], &|_| frame(PING, 1, 0, &[7; 8])),
        row("settings", vec![], &|_| frame(SETTINGS, 0, 0, &[])),
        row("priority", vec![], &|_| frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 9])),
        row("window-update", vec![], &|_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        row("unknown", vec![], &|_| frame(0xb0, 0, 0, &[7])),
        row("data", open(), &|_| frame(DATA, 0, 1, &[7])),
        row("empty-data", open(), &|_| frame(DATA, 0, 1, &[])),
        row("refused", (0..101).flat_map(|n| frame(HEADERS, END_HEADERS, stream(n), POST)).collect(), &|n| {
            frame(HEADERS, END_HEADERS, stream(n + 101), POST)
        }),
    ]);
}

#[test]
fn who_does_not_read_the_answers_ends_like_who_does() {
    let ping = |_| frame(PING, 0, 0, &[7; 8]);
    let deaf = Flood { name: "deaf", first: vec![], times: 1_000_000, nth: &ping, is_heard: false };
    // It has not read what there was to read, so that its connection is reset.
    check_all(&[(deaf, None, "conn.http2_flood")]);
}

/// The log has as many of the requests as h2 handed on before it ended the connection.
#[test]
fn streams_that_are_reset_or_broken_end_their_connection() {
    const TIMES: u32 = 100_000;
    let row = |name, nth: &'static dyn Fn(u32) -> Vec<u8>, goaway, reason| {
        (Flood { name, first: vec![], times: TIMES, nth, is_heard: true }, Some(goaway), reason)
    };
    let broken = |name, nth| row(name, nth, CALM, "conn.http2_flood");
    // What h2 takes for a fault of the connection, at once.
    let wrong = |name, nth| row(name, nth, PROTOCOL_ERROR, "conn.protocol");
    check_all(&[
        broken("rapid-reset", &|n| {
            let end = frame(HEADERS, END_HEADERS | END_STREAM, stream(n), HEAD);
            [end, frame(RESET, 0, stream(n), &[0, 0, 0, 8])].concat()
        }),
        wrong("window-of-none", &|n| {
            let open = frame(HEADERS, END_HEADERS, stream(n), POST);
            [open, frame(WINDOW_UPDATE, 0, stream(n), &[0; 4])].concat()
        }),
        broken("window-overflow", &|n| {
            let open = frame(HEADERS, END_HEADERS, stream(n), POST);
            [open, frame(WINDOW_UPDATE, 0, stream(n), &[0x7f, 0xff, 0xff, 0xff])].concat()
        }),
        broken("own-dependency", &|n| {
            let payload = [&stream(n).to_be_bytes()[..], &[9], HEAD].concat();
            frame(HEADERS, END_HEADERS | END_STREAM | PRIORITISED, stream(n), &payload)
        }),
        wrong("late-headers", &|n| {
            let end = frame(HEADERS, END_HEADERS | END_STREAM, stream(n), HEAD);
            [end.clone(), end].concat()
        }),
        wrong("late-data", &|n| {
            let end = frame(HEADERS, END_HEADERS | END_STREAM, stream(n), HEAD);
            [end, frame(DATA, 0, stream(n), &[7; 5])].concat()
        }),
    ]);
}

#[test]
fn heads_that_are_too_much_are_refused_and_keep_no_memory() {
    let row = |name, first, times, nth: &'static dyn Fn(u32) -> Vec<u8>, goaway, reason| {
        (Flood { name, first, times, nth, is_heard: true }, goaway, reason)
    };
    let begun = || frame(HEADERS, END_STREAM, 1, HEAD);
    check_all(&[
        row(
            "empty-continuations",
            begun(),
            1_000_000,
            &|_| frame(CONTINUATION, 0, 1, &[]),
            Some(CALM),
            "conn.http2_flood",
        ),
        row(
            "full-continuations",
            begun(),
            1_000,
            &|_| frame(CONTINUATION, 0, 1, &literal(16_000)),
            Some(CALM),
            "conn.http2_flood",
        ),
        row(
            "hpack-bomb",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &[HEAD, &indexed(4_000)].concat()),
            1_000,
            &|n| frame(HEADERS, END_HEADERS | END_STREAM, stream(n + 1), &[HEAD, &[0xbe; 16_000]].concat()),
            Some(CALM),
            "conn.http2_flood",
        ),
        row(
            "table-sizes",
            vec![],
            100,
            &|n| {
                let sizes = [0x20, 0x3f, 0xe1, 0x1f].repeat(4_000);
                frame(HEADERS, END_HEADERS | END_STREAM, stream(n), &[&sizes, HEAD].concat())
            },
            None,
            "",
        ),
        row(
            "cookie-crumbs",
            vec![],
            1_000,
            &|n| {
                frame(
                    HEADERS,
                    END_HEADERS | END_STREAM,
                    stream(n),
                    &[HEAD, &[0x0f, 0x11, 1, b'c'].repeat(4_000)].concat(),
                )
            },
            Some(CALM),
            "conn.http2_flood",
        ),
    ]);
}

/// A header field that is not kept.
fn literal(bytes: usize) -> Vec<u8> {
    let value = [&[0x7f], length(bytes).as_slice(), &vec![b'x'; bytes]].concat();
    [&[0x00, 1, b'k'], value.as_slice()].concat()
}

/// One that is kept in the table, as its newest.
fn indexed(bytes: usize) -> Vec<u8> {
    [&[0x40, 1, b'k', 0x7f], length(bytes).as_slice(), &vec![b'x'; bytes]].concat()
}

/// What follows a prefix of seven ones (RFC 7541 section 5.1).
fn length(bytes: usize) -> Vec<u8> {
    let mut rest = bytes - 127;
    let mut all = Vec::new();
    while rest >= 128 {
        all.push(u8::try_from(rest % 128).expect("seven bits") | 0x80);
        rest /= 128;
    }
    all.push(u8::try_from(rest).expect("seven bits"));
    all
}

/// A caller that asks for new keys again and again over this version of HTTP.
fn rekey(version: Version) {
    let scene = Scene::new();
    scene.write_policy(OPEN);
    let sidecar = scene.start();
    let before = memory(&sidecar);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let caller = scene.caller("/rekeying");
    let failed = runtime.block_on(async {
        let mut stream = caller.secured(scene.listener, Some(version)).await.expect("a connection");
        // Once the sidecar says something its handshake has ended. Over HTTP/2 it speaks first.
        if version == Version::Http1 {
            stream.write_all(b"GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n").await.expect("a request");
        }
        assert!(stream.read(&mut [0; 4096]).await.expect("its words") > 0);
        let updates = async {
            for _ in 0..100_000 {
                stream.get_mut().1.refresh_traffic_keys().expect("an update");
                stream.flush().await?;
            }
            stream.read_to_end(&mut Vec::new()).await.map(drop)
        };
        tokio::time::timeout(LIMIT, updates).await.expect("an end")
    });
    assert!(failed.is_err(), "{version:?}: {failed:?}");
    let grown = memory(&sidecar).saturating_sub(before);
    assert!(grown < GROWTH_BYTES_MAX, "{version:?}: {grown} bytes more memory");
    sidecar.stop();
    let [peer, reason, what] =
        ["spiffe://example.org/rekeying", "conn.protocol", "{\"tls\":1}"].map(str::to_owned);
    assert_eq!(entries(&scene), [(peer, reason, what)], "{version:?}");
}

#[test]
fn new_keys_without_end_end_the_connection() {
    rekey(Version::Http1);
    rekey(Version::Http2);
}
