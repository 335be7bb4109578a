//! Bytes in, heads or a refusal out.
use super::{HeadFault, HeadTracker, RawHead, TargetForm, guard};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Targets of the heads up to the first refusal, and its reason. A stream that ends clean ends in `Untracked`.
fn read(chunks: &[&[u8]]) -> (Vec<String>, HeadFault) {
    let mut tracker = HeadTracker::new((&RawHead::LIMITS).into());
    for chunk in chunks {
        tracker.feed(chunk);
    }
    let mut targets = Vec::new();
    loop {
        match tracker.take() {
            RawHead::Seen(head) => targets.push(String::from_utf8_lossy(&head.target).into_owned()),
            RawHead::Refused(fault) => return (targets, fault),
        }
    }
}

#[track_caller]
fn check(stream: &str, targets: &[&str], fault: HeadFault) {
    let (seen, reason) = read(&[stream.as_bytes()]);
    assert_eq!(
        (seen.iter().map(String::as_str).collect::<Vec<_>>(), reason),
        (targets.to_vec(), fault),
        "{stream:?}"
    );
}

const CLEAN: HeadFault = HeadFault::Untracked;
const NEXT: &str = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn each_request_of_a_connection_has_its_head() {
    check(NEXT, &["/next"], CLEAN);
    check(&format!("POST /1 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc{NEXT}"), &["/1", "/next"], CLEAN);
    check(&format!("POST /1 HTTP/1.1\r\nContent-Length: 0\r\n\r\n{NEXT}"), &["/1", "/next"], CLEAN);
    check(&format!("GET /1 HTTP/1.0\r\n\r\n\r\n\r\n{NEXT}"), &["/1", "/next"], CLEAN);
}

#[test]
fn a_chunked_body_ends_where_its_last_chunk_ends() {
    for body in [
        "0\r\n\r\n",
        "3\r\nabc\r\n0\r\n\r\n",
        "A;ext=\"v\"\r\n0123456789\r\n0;last\r\n\r\n",
        "3 \r\nG\r\n\r\n0\r\nX-Sum: 1\r\n\r\n",
        "0003\r\n\r\n\n\r\n000\r\n\r\n",
    ] {
        check(
            &format!("POST /1 HTTP/1.1\r\ntransfer-encoding:\tChunked \r\n\r\n{body}{NEXT}"),
            &["/1", "/next"],
            CLEAN,
        );
    }
}

#[test]
fn a_body_that_looks_like_a_request_is_none() {
    let length = NEXT.len();
    check(&format!("POST /1 HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{NEXT}"), &["/1"], CLEAN);
}

#[test]
fn a_head_with_two_lengths_poisons_the_connection() {
    for (lines, fault) in [
        ("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", HeadFault::FramingConflict),
        ("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", HeadFault::FramingConflict),
        ("Content-Length: 3\r\nContent-Length: 3\r\n", HeadFault::ContentLength),
        ("Content-Length: 3\r\nContent-Length: 4\r\n", HeadFault::ContentLength),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", HeadFault::TransferEncoding),
    ] {
        check(&format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n0\r\n\r\n{NEXT}"), &[], fault);
    }
}

#[test]
fn a_content_length_is_one_decimal_number() {
    for value in
        ["3, 3", "+3", "0x3", "3_0", "-1", "", "18446744073709551616", "9223372036854775808", "3 3", "３"]
    {
        check(&format!("POST / HTTP/1.1\r\nContent-Length: {value}\r\n\r\n"), &[], HeadFault::ContentLength);
    }
}

#[test]
fn a_transfer_encoding_is_exactly_chunked() {
    for value in [
        "xchunked",
        "chunked, identity",
        "identity",
        "\"chunked\"",
        "chunked;x",
        ",chunked",
        "chunked,",
        "gzip, chunked",
        "chunked, chunked",
        "",
    ] {
        check(
            &format!("POST / HTTP/1.1\r\nTransfer-Encoding: {value}\r\n\r\n"),
            &[],
            HeadFault::TransferEncoding,
        );
    }
    check("POST / HTTP/1.1\r\nTransfer-Encoding: \x0bchunked\r\n\r\n", &[], HeadFault::HeaderValue);
    check("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", &[], HeadFault::TransferEncoding);
}

#[test]
fn lines_end_in_cr_lf_and_nothing_else() {
    check("GET / HTTP/1.1\nHost: a\n\n", &[], HeadFault::BareLf);
    check("GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n", &[], HeadFault::BareLf);
    check("GET / HTTP/1.1\r\nHost: a\r\n\n", &[], HeadFault::BareLf);
    check("\nGET / HTTP/1.1\r\n\r\n", &[], HeadFault::BareLf);
    check("GET / HTTP/1.1\r\nX: a\rb\r\n\r\n", &[], HeadFault::HeaderValue);
    check("GET / HTTP/1.1\r\nX: a\0b\r\n\r\n", &[], HeadFault::HeaderValue);
    check("GET / HTTP/1.1\r\nX: a\r\r\n\r\n", &[], HeadFault::HeaderValue);
}

#[test]
fn folded_and_misspelt_headers_are_refused() {
    check("GET / HTTP/1.1\r\nX-A: 1\r\n two\r\n\r\n", &[], HeadFault::ObsFold);
    check("POST / HTTP/1.1\r\nTransfer-Encoding:\r\n chunked\r\n\r\n", &[], HeadFault::TransferEncoding);
    check("GET / HTTP/1.1\r\n\tX: 1\r\n\r\n", &[], HeadFault::ObsFold);
    for line in ["Content-Length : 3", ": 3", "no colon", "a b: 1", "a(b): 1", "\u{e9}: 1", "a\0: 1"] {
        check(&format!("GET / HTTP/1.1\r\n{line}\r\n\r\n"), &[], HeadFault::HeaderName);
    }
}

#[test]
fn a_request_line_has_three_parts_and_a_known_version() {
    for line in [
        "GET /",
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET /\t HTTP/1.1",
        " GET / HTTP/1.1",
        "G:<>(e) / HTTP/1.1",
        "x",
    ] {
        check(&format!("{line}\r\n\r\n"), &[], HeadFault::RequestLine);
    }
    for version in ["HTTP/2.0", "HTTP/1.2", "http/1.1", "HTTP/1.11", ""] {
        check(&format!("PRI * {version}\r\n\r\nSM\r\n\r\n"), &[], HeadFault::Version);
    }
}

#[test]
fn a_malformed_chunk_poisons_what_comes_after() {
    for body in [
        "1;a\nb\r\nZ\r\n0\r\n\r\n",
        "1;a\rb\r\nZ\r\n0\r\n\r\n",
        "+1\r\nZ\r\n0\r\n\r\n",
        "0x1\r\nZ\r\n0\r\n\r\n",
        "1\nZ\r\n0\r\n\r\n",
        " 1\r\nZ\r\n0\r\n\r\n",
        "\r\n0\r\n\r\n",
        "f0000000000000003\r\n",
        "10000000000000001\r\n",
        "1\r\nZZ\r\n0\r\n\r\n",
        "1\r\nZ\n0\r\n\r\n",
        "0\r\nX: 1\n\r\n",
        "0\r\n X: 1\r\n\r\n",
        "0\r\nX y: 1\r\n\r\n",
        "1 1\r\nZ\r\n0\r\n\r\n",
    ] {
        check(
            &format!("POST /1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{body}{NEXT}"),
            &["/1"],
            HeadFault::Chunk,
        );
    }
}

#[test]
fn heads_are_limited_in_every_direction() {
    let limits = RawHead::LIMITS;
    let long = "a".repeat(limits.header_line_bytes_max + 64);
    check(&format!("GET /{long}"), &[], HeadFault::TargetTooLong);
    check(&format!("GET / HTTP/1.1\r\nX: {long}"), &[], HeadFault::HeaderTooLarge);
    let many = "x: 1\r\n".repeat(limits.header_count_max + 1);
    check(&format!("GET / HTTP/1.1\r\n{many}\r\n"), &[], HeadFault::HeaderCount);
    let wide = format!("x: {}\r\n", "a".repeat(limits.header_line_bytes_max - 1)).repeat(6);
    check(&format!("GET / HTTP/1.1\r\n{wide}\r\n"), &[], HeadFault::HeadTooLarge);
    check(&"\r\n".repeat(limits.header_bytes_max), &[], HeadFault::HeadTooLarge);
    let trailers = format!("x: {}\r\n", "a".repeat(limits.header_line_bytes_max - 1)).repeat(6);
    let chunked = format!("POST /1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{trailers}");
    check(&chunked, &["/1"], HeadFault::Chunk);
}

#[test]
fn requests_sent_far_ahead_poison_the_connection() {
    let (targets, fault) = read(&[NEXT.repeat(1000).as_bytes()]);
    assert_eq!((targets.len(), fault), (256, HeadFault::Pipelined));
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(8000));
    let (targets, fault) = read(&[long.repeat(20).as_bytes()]);
    assert_eq!((targets.len(), fault), (8, HeadFault::Pipelined));
}

#[test]
fn a_poisoned_connection_stays_refused() {
    let mut tracker = HeadTracker::new((&RawHead::LIMITS).into());
    tracker.feed(b"GET / HTTP/1.1\nHost: a\n\n");
    for _ in 0..3 {
        assert_eq!(tracker.take(), RawHead::Refused(HeadFault::BareLf));
        tracker.feed(NEXT.as_bytes());
    }
}

#[test]
fn a_head_says_what_the_parsed_request_hides() {
    let read = |target: &str, lines: &str| match RawHead::read(
        format!("GET {target} HTTP/1.1\r\n{lines}\r\n").as_bytes(),
    ) {
        RawHead::Seen(head) => head,
        RawHead::Refused(fault) => panic!("{target}: {fault}"),
    };
    for (target, form) in [
        ("/a?b", TargetForm::Origin),
        ("http://a/b", TargetForm::Absolute),
        ("a+b.c-1://x", TargetForm::Absolute),
        ("*", TargetForm::Asterisk),
        ("a.test:80", TargetForm::Authority),
        ("admin", TargetForm::Authority),
        ("://a", TargetForm::Authority),
        ("1a://b", TargetForm::Authority),
    ] {
        let head = read(target, "");
        assert_eq!((head.form(), &*head.target, head.has_fragment()), (form, target.as_bytes(), false));
    }
    assert!(read("/a#b", "").has_fragment());
    assert_eq!(read("/", "Host: a\r\nhost:b\r\nX-Host: c\r\n").hosts(), 2);
    assert!(read("/a?b", "").is_of(&"/a?b".parse().unwrap()));
    assert!(!read("/a?b", "").is_of(&"/a?c".parse().unwrap()));
    assert!(read("HTTP://a.test", "").is_of(&"http://a.test".parse().unwrap()));
    assert!(!read("http://a.test/b", "").is_of(&"http://b.test/b".parse().unwrap()));
}

/// A connection's worth of requests, well-formed and not.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "GET / HTTP/1.1\r\n",
        "POST /x?y HTTP/1.1\r\n",
        "HEAD http://a/b HTTP/1.0\r\n",
        "Host: a\r\n",
        "Content-Length: 5\r\n",
        "Content-Length: 0\r\n",
        "Transfer-Encoding: chunked\r\n",
        "X: 1\r\n",
        "\r\n",
        "hello",
        "5\r\nhello\r\n",
        "0\r\n\r\n",
        "3;x=y\r\nabc\r\n",
        "\n",
        "\r",
        " ",
        ":",
    ]);
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, ..ProptestConfig::default() })]

    #[test]
    fn the_heads_are_the_same_however_the_bytes_are_cut(bytes in stream(), cuts in prop::collection::vec(1usize..20, 0..40)) {
        let whole = read(&[&bytes]);
        let mut rest = bytes.as_slice();
        let mut chunks = Vec::new();
        for cut in cuts {
            let (chunk, after) = rest.split_at(cut.min(rest.len()));
            chunks.push(chunk);
            rest = after;
        }
        chunks.push(rest);
        prop_assert_eq!(&read(&chunks), &whole);
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(read(&single), whole);
    }

    #[test]
    fn any_bytes_are_judged_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let (heads, _) = read(&[&bytes]);
        prop_assert!(heads.len() <= bytes.len());
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn a_head_has_begun_from_its_first_byte_to_its_last() {
    let (mut client, server) = tokio::io::duplex(1024);
    let (mut stream, heads) = guard(server, &RawHead::LIMITS);
    let mut buffer = [0; 1024];
    let started = tokio::time::Instant::now();
    for (sent, begun) in [
        ("GET / HT", true),
        ("TP/1.1\r\nHost: a\r\n", true),
        ("Content-Length: 3\r\n\r\nab", false),
        ("cG", true),
        ("ET /2 HTTP/1.1\r\n\r\n", false),
    ] {
        client.write_all(sent.as_bytes()).await.unwrap();
        let read = stream.read(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..read], sent.as_bytes());
        assert_eq!(heads.begun().is_some(), begun, "{sent}");
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
    }
    client.write_all(b"GET /3").await.unwrap();
    stream.read_exact(&mut [0; 6]).await.unwrap();
    assert_eq!(heads.begun(), Some(started + std::time::Duration::from_secs(5)));
}

#[tokio::test(flavor = "current_thread")]
async fn a_poisoned_head_counts_as_arriving_until_its_request_is_refused() {
    let (mut client, server) = tokio::io::duplex(1024);
    let (mut stream, heads) = guard(server, &RawHead::LIMITS);
    client.write_all(b"GET / HTTP/1.1\nHost: a").await.unwrap();
    stream.read_exact(&mut [0; 22]).await.unwrap();
    assert!(heads.begun().is_some() && heads.is_poisoned());
    assert_eq!(heads.next(), RawHead::Refused(HeadFault::BareLf));
    assert_eq!(heads.begun(), None);
}
