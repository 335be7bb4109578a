//! The same bytes to hyper and to the guard: each request that hyper hands on has its own head, or is refused.
use super::{HeadFault, HeadTracker, RawHead, guard};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use std::cell::RefCell;
use std::convert::Infallible;
use std::io::Read;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What hyper and the guard made of one connection.
#[derive(Debug)]
struct Observed {
    /// What the guard said of each request that hyper handed on, in order.
    requests: Vec<RawHead>,
    /// Requests whose parsed form is not that of their head.
    strangers: Vec<String>,
    /// Whether hyper found nothing to complain of.
    is_clean: bool,
}

/// Gives `chunks` to a guarded hyper server, one read each, and reads every body to its end.
fn observe(chunks: &[&[u8]]) -> Observed {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (client, server) = tokio::io::duplex(1 << 20);
        let (stream, heads) = guard(server, &RawHead::LIMITS);
        let seen = RefCell::new((Vec::new(), Vec::new()));
        let service = hyper::service::service_fn(|request: Request<Incoming>| {
            let (head, (requests, strangers)) = (heads.next(), &mut *seen.borrow_mut());
            if let RawHead::Seen(head) = &head {
                let hosts = request.headers().get_all(http::header::HOST).iter().count();
                let is_same = head.is_of(request.uri()) || head.has_fragment();
                if !is_same || head.hosts() as usize != hosts {
                    strangers.push(format!("{head:?} is not {request:?}"));
                }
            }
            requests.push(head);
            async move {
                // A broken body ends the connection; hyper sees to that itself.
                drop(request.into_body().collect().await);
                Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
            }
        });
        let served = hyper::server::conn::http1::Builder::new()
            .half_close(true)
            .serve_connection(TokioIo::new(stream), service);
        let (mut answers, mut requests) = tokio::io::split(client);
        let send = async {
            for chunk in chunks {
                if requests.write_all(chunk).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            drop(requests.shutdown().await);
        };
        let mut sink = Vec::new();
        let (outcome, (), _) = tokio::join!(served, send, answers.read_to_end(&mut sink));
        let (requests, strangers) = seen.take();
        Observed { requests, strangers, is_clean: outcome.is_ok() }
    })
}

/// How many heads the guard sees in the whole stream, and why there are no more.
fn track(stream: &[u8]) -> (usize, HeadFault) {
    let mut tracker = HeadTracker::new((&RawHead::LIMITS).into());
    tracker.feed(stream);
    let mut heads = 0;
    loop {
        match tracker.take() {
            RawHead::Seen(_) => heads += 1,
            RawHead::Refused(fault) => return (heads, fault),
        }
    }
}

/// What must hold for every stream of bytes.
fn check(chunks: &[&[u8]]) -> Result<Observed, String> {
    let stream = chunks.concat();
    let observed = observe(chunks);
    let shown = String::from_utf8_lossy(&stream);
    if !observed.strangers.is_empty() {
        return Err(format!("{shown:?}: {:?}", observed.strangers));
    }
    if observed.requests.contains(&RawHead::Refused(HeadFault::Untracked)) {
        return Err(format!("{shown:?}: hyper hands on more than the guard sees: {:?}", observed.requests));
    }
    let mut after_refusal = observed.requests.iter().skip_while(|head| matches!(head, RawHead::Seen(_)));
    if after_refusal.any(|head| matches!(head, RawHead::Seen(_))) {
        return Err(format!("{shown:?}: a head is trusted after a refusal: {:?}", observed.requests));
    }
    let (heads, fault) = track(&stream);
    let keeps_alive = !["HTTP/1.0", "connection", "upgrade", "connect "]
        .iter()
        .any(|word| shown.to_ascii_lowercase().contains(&word.to_ascii_lowercase()));
    if observed.is_clean && fault == HeadFault::Untracked && keeps_alive && observed.requests.len() != heads {
        return Err(format!("{shown:?}: hyper hands on {}, the guard sees {heads}", observed.requests.len()));
    }
    Ok(observed)
}

fn request() -> impl Strategy<Value = String> {
    let target =
        prop::sample::select(vec!["/", "/a/b?c", "/a#b", "http://a.test/x", "http://a.test", "*", "/%2e%2e"]);
    let method = prop::sample::select(vec!["GET", "POST", "OPTIONS", "DELETE", "PROPFIND"]);
    let header = prop::sample::select(vec![
        "Host: a.test\r\n",
        "host:a.test\r\n",
        "X-A: 1\r\n",
        "X-B:\t\u{e9} \r\n",
        "Expect: 100-continue\r\n",
        "Content-Length: 3\r\n",
        "Content-Length: 003\r\n",
        "Content-Length: 3, 3\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "X-C: a\n",
        " folded\r\n",
        "X-D : 1\r\n",
    ]);
    let body = prop::sample::select(vec![
        "",
        "",
        "abc",
        "0\r\n\r\n",
        "3\r\nabc\r\n0\r\n\r\n",
        "3;x\r\nabc\r\n0\r\nX-T: 1\r\n\r\n",
        "3\nabc\r\n0\r\n\r\n",
        "\r\n",
        "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n",
    ]);
    (method, target, prop::collection::vec(header, 0..4), body).prop_map(|(method, target, headers, body)| {
        format!("{method} {target} HTTP/1.1\r\n{}\r\n{body}", headers.concat())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

    #[test]
    fn hyper_hands_on_no_request_without_its_head(
        requests in prop::collection::vec(request(), 1..4),
        size in prop::sample::select(vec![1usize, 7, 64, 4096]),
    ) {
        let stream = requests.concat().into_bytes();
        let chunks: Vec<&[u8]> = stream.chunks(size).collect();
        prop_assert_eq!(check(&chunks).map(drop), Ok(()));
    }
}

/// llhttp's own notation: `\r`, `\n`, `\t`, `\f` and `\xNN` are that byte, a line break in the file is CR LF, and one
/// behind a backslash is nothing.
fn llhttp_bytes(raw: &str) -> Vec<u8> {
    let joined = raw.replace("\\\n", "").replace('\n', "\r\n");
    let mut bytes = Vec::new();
    let mut rest = joined.as_str();
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend_from_slice(before.as_bytes());
        let (byte, taken) = match after.as_bytes().first() {
            Some(b'r') => (b'\r', 1),
            Some(b'n') => (b'\n', 1),
            Some(b't') => (b'\t', 1),
            Some(b'f') => (0x0c, 1),
            Some(b'x') => (u8::from_str_radix(after.get(1..3).unwrap(), 16).unwrap(), 3),
            Some(_) | None => (b'\\', 0),
        };
        bytes.push(byte);
        rest = after.get(taken..).unwrap();
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

/// llhttp's cases, where `POSTERN_DATA` has them: `llhttp/llhttp-cases.json.gz`.
#[expect(clippy::print_stdout, reason = "a skipped test says so where the suite looks for it")]
fn llhttp_cases() -> Vec<serde_json::Value> {
    let Some(data) = std::env::var_os("POSTERN_DATA") else {
        let thread = std::thread::current();
        println!("SKIPPED {}: POSTERN_DATA is not set", thread.name().unwrap_or("a test"));
        return Vec::new();
    };
    let file = std::fs::File::open(std::path::Path::new(&data).join("llhttp/llhttp-cases.json.gz")).unwrap();
    let mut json = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut json).unwrap();
    serde_json::from_str(&json).unwrap()
}

/// Cases that llhttp refuses and that pass here, each with what becomes of it.
const PASSED: &[(&str, &str)] = &[
    ("No restart when keep-alive is off (1.0)", "the connection ends; the version is refused by `normalise`"),
    ("CRLF between requests, explicit `close`", "the connection ends before the second request"),
    (
        "CRLF between requests, explicit `close` followed by tab",
        "the connection ends before the second request",
    ),
    ("HTTP protocol and ANNOUNCE method", "the method is refused by `normalise`"),
    ("Invalid method", "the method is refused by `normalise`"),
    ("Disallow UTF-8 in URI path in strict mode", "the path is refused by `normalise`"),
    ("No extension after semicolon", "extensions are not forwarded"),
    ("Unbalanced chunk extensions quoting", "extensions are not forwarded"),
    ("Space after chunk header", "the chunk is written anew"),
];

#[test]
fn llhttp_cases_are_framed_as_hyper_frames_them_and_refused_where_llhttp_refuses() {
    let mut passed = Vec::new();
    let cases = llhttp_cases();
    for case in &cases {
        let Some(kind) = case["meta"]["type"].as_str().filter(|kind| kind.starts_with("request")) else {
            continue;
        };
        let stream = llhttp_bytes(case["raw"].as_str().unwrap());
        let observed = check(&[&stream]).unwrap();
        check(&stream.chunks(1).collect::<Vec<_>>()).unwrap();
        let is_refused = !observed.is_clean || track(&stream).1 != HeadFault::Untracked;
        if case["error"] == true && kind == "request" && !is_refused {
            passed.push(case["title"].as_str().unwrap());
        }
    }
    let mut expected: Vec<_> = PASSED.iter().map(|(title, _)| *title).collect();
    expected.retain(|_| !cases.is_empty());
    passed.sort_unstable();
    expected.sort_unstable();
    assert_eq!(passed, expected);
}
