//! Over HTTP/2, frame by frame.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::Expected::{self, Cut, Passed, Refused};
use crate::{Play, Script, Upstream, say};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// `:status: 200`, from the static table.
const OK: &[u8] = &[0x88];
/// `:status: 103` and `:status: 99`, literals that are not indexed.
const EARLY: &[u8] = b"\x08\x03103";
const STRANGE: &[u8] = b"\x08\x0299";

const PROTOCOL: &str = "upstream.protocol";

/// What is said on the stream of the request, what is said again and again behind it, and what the caller sees.
struct Case {
    what: &'static str,
    first: &'static [(u8, u8, &'static [u8])],
    again: Option<(u8, u8, &'static [u8])>,
    expected: Expected,
}

const fn case(
    what: &'static str,
    first: &'static [(u8, u8, &'static [u8])],
    again: Option<(u8, u8, &'static [u8])>,
    expected: Expected,
) -> Case {
    Case { what, first, again, expected }
}

/// Frames of the connection itself are sent on stream 0.
const OF_CONNECTION: &[u8] = &[SETTINGS, PING, GOAWAY];

const CASES: &[Case] = &[
    case("a push", &[(PUSH_PROMISE, END_HEADERS, b"\0\0\0\x02\x82\x84\x86")], None, Refused(PROTOCOL)),
    case("a reset before the head", &[(RST_STREAM, 0, b"\0\0\0\x02")], None, Refused(PROTOCOL)),
    case("a reset behind the head", &[(HEADERS, END_HEADERS, OK), (RST_STREAM, 0, b"\0\0\0\x02")], None, Cut),
    case("a body before the head", &[(DATA, 0, b"abc")], None, Refused(PROTOCOL)),
    case(
        "a head without a status",
        &[(HEADERS, END_HEADERS | END_STREAM, b"\0\x01x\x01y")],
        None,
        Refused(PROTOCOL),
    ),
    case("a status of two digits", &[(HEADERS, END_HEADERS | END_STREAM, STRANGE)], None, Refused(PROTOCOL)),
    case(
        "a name in capitals",
        &[(HEADERS, END_HEADERS | END_STREAM, b"\x88\0\x01X\x01y")],
        None,
        Refused(PROTOCOL),
    ),
    case(
        "a value of two lines",
        &[(HEADERS, END_HEADERS | END_STREAM, b"\x88\0\x01x\x04a\r\nb")],
        None,
        Refused(PROTOCOL),
    ),
    case(
        "a field of a hop",
        &[(HEADERS, END_HEADERS | END_STREAM, b"\x88\0\x0aconnection\x05close")],
        None,
        Refused(PROTOCOL),
    ),
    case(
        "no HPACK",
        &[(HEADERS, END_HEADERS | END_STREAM, b"\xff\xff\xff\xff\xff")],
        None,
        Refused(PROTOCOL),
    ),
    case(
        "less than its length",
        &[(HEADERS, END_HEADERS, b"\x88\x0f\x0d\x015"), (DATA, END_STREAM, b"abc")],
        None,
        Cut,
    ),
    case(
        "more than its length",
        &[(HEADERS, END_HEADERS, b"\x88\x0f\x0d\x012"), (DATA, END_STREAM, b"abc")],
        None,
        Cut,
    ),
    case("a window of nothing more", &[(WINDOW_UPDATE, 0, b"\0\0\0\0")], None, Refused(PROTOCOL)),
    case(
        "a frame in the midst of a head",
        &[(HEADERS, 0, OK), (DATA, END_STREAM, b"abc")],
        None,
        Refused(PROTOCOL),
    ),
    case(
        "heads without an end",
        &[(HEADERS, 0, OK)],
        Some((CONTINUATION, 0, b"\0\x01x\x20aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")),
        Refused(PROTOCOL),
    ),
    // Nothing counts them over HTTP/2: the route's timeout ends it.
    case(
        "announcements without an end",
        &[],
        Some((HEADERS, END_HEADERS, EARLY)),
        Refused("upstream.timeout"),
    ),
    case("empty parts without an end", &[(HEADERS, END_HEADERS, OK)], Some((DATA, 0, b"")), Cut),
    case(
        "it goes",
        &[(GOAWAY, 0, b"\0\0\0\0\0\0\0\x0b")],
        Some((GOAWAY, 0, b"\0\0\0\0\0\0\0\x0b")),
        Refused(PROTOCOL),
    ),
    case(
        "settings before the answer",
        &[(SETTINGS, 0, b""), (HEADERS, END_HEADERS, OK), (DATA, END_STREAM, b"abc")],
        None,
        Passed(200, "abc"),
    ),
    case(
        "an early hint",
        &[(HEADERS, END_HEADERS, EARLY), (HEADERS, END_HEADERS, OK), (DATA, END_STREAM, b"abc")],
        None,
        Passed(200, "abc"),
    ),
];

/// How often at most.
const AGAIN: usize = 3_000_000;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short one").to_be_bytes();
    let stream = if OF_CONNECTION.contains(&kind) { 0 } else { stream };
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// One frame: its kind, its flags, its stream and its payload.
fn hear(stream: &mut TcpStream) -> Option<(u8, u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).ok()?;
    let [a, b, c, kind, flags, id @ ..] = head;
    let mut payload = vec![0; usize::try_from(u32::from_be_bytes([0, a, b, c])).ok()?];
    stream.read_exact(&mut payload).ok()?;
    Some((kind, flags, u32::from_be_bytes(id), payload))
}

fn converse(mut stream: TcpStream, script: &Script) -> Option<()> {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).ok()?;
    // A table of no size, so that every head can be read without one.
    stream.write_all(&frame(SETTINGS, 0, 0, b"\0\x01\0\0\0\0")).ok()?;
    loop {
        let (kind, flags, id, payload) = hear(&mut stream)?;
        match kind {
            SETTINGS if flags & ACK == 0 => stream.write_all(&frame(SETTINGS, ACK, 0, b"")).ok()?,
            PING if flags & ACK == 0 => stream.write_all(&frame(PING, ACK, 0, &payload)).ok()?,
            HEADERS => answer(&mut stream, id, script.due())?,
            _ => {}
        }
    }
}

fn answer(stream: &mut TcpStream, id: u32, number: Option<usize>) -> Option<()> {
    let Some(number) = number else {
        let good = [frame(HEADERS, END_HEADERS, id, OK), frame(DATA, END_STREAM, id, b"good")].concat();
        return stream.write_all(&good).ok();
    };
    for (kind, flags, payload) in CASES[number].first {
        stream.write_all(&frame(*kind, *flags, id, payload)).ok()?;
    }
    if let Some((kind, flags, payload)) = CASES[number].again {
        let many = frame(kind, flags, id, payload).repeat(64);
        say(stream, &many, AGAIN / 64);
    }
    Some(())
}

#[test]
fn what_is_no_answer_over_http2_is_the_upstreams_failure_and_reaches_nobody_else() {
    let serve = |stream: TcpStream, script: &Script| {
        converse(stream, script);
    };
    let play = Play::new(Upstream::start(serve), "h2c");
    for (number, case) in CASES.iter().enumerate() {
        play.check(number, case.what, case.expected);
    }
    play.finish();
}
