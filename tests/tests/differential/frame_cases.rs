//! HTTP/2 connections that servers have disagreed about: pseudo-header fields, fields that mean something on the other
//! side of a proxy alone, lengths, and frames where none belongs.

use super::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Fields, Frame, Frames, GOAWAY, HEADERS, PADDED, PING,
    PRIORITISED, PRIORITY, PUSH_PROMISE, Payload, RESET, SETTINGS, WINDOW_UPDATE, packed,
};

const WHOLE: u8 = END_HEADERS | END_STREAM;

/// Everything.
pub fn cases() -> Vec<Frames> {
    let with = FIELDS.iter().map(|more| alone(fields([GET.as_slice(), more].concat().as_slice())));
    let first = FIELDS.iter().map(|more| alone(fields([more, GET.as_slice()].concat().as_slice())));
    let pseudo = PSEUDO.iter().map(|whole| alone(fields(whole)));
    let names = GET.map(|(name, _)| name);
    let valued = |values: &[&str; 4]| {
        let all: Vec<_> = names.into_iter().zip(values.iter().copied()).collect();
        alone(fields(&all))
    };
    let values = VALUES.iter().map(valued);
    let bodies = BODIES.iter().map(|(more, body)| post(more, &[(END_STREAM, body)]));
    let trailers = TRAILERS.iter().map(|fields| ended_by(fields));
    with.chain(first)
        .chain(pseudo)
        .chain(values)
        .chain(bodies)
        .chain(trailers)
        .chain(framed())
        .chain(blocks())
        .collect()
}

pub fn fields(of: &[(&str, &str)]) -> Fields {
    of.iter().map(|(name, value)| (latin(name), latin(value))).collect()
}

/// One byte for each sign.
fn latin(text: &str) -> Vec<u8> {
    text.chars().map(|sign| u8::try_from(sign).expect("a byte")).collect()
}

/// One request without a body.
pub fn alone(fields: Fields) -> Frames {
    Frames(vec![Frame::fields(HEADERS, WHOLE, 1, &fields)])
}

/// A request whose body comes in these frames.
pub fn post(more: &[(&str, &str)], data: &[(u8, &str)]) -> Frames {
    let head = Frame::fields(HEADERS, END_HEADERS, 1, &fields(&[POST.as_slice(), more].concat()));
    let data = data.iter().map(|(flags, data)| Frame::new(DATA, *flags, 1, &latin(data)));
    Frames(std::iter::once(head).chain(data).collect())
}

/// A request with a body, and these fields behind it.
pub fn ended_by(trailers: &[(&str, &str)]) -> Frames {
    let mut frames = post(&[], &[(0, "abc")]);
    // Not a request: it has no number.
    frames.0.push(Frame::new(HEADERS, WHOLE, 1, &packed(&fields(trailers))));
    frames
}

pub const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "https"), (":authority", "a.test"), (":path", "/a")];
pub const POST: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "https"), (":authority", "a.test"), (":path", "/a")];

/// Besides those of a sound request, behind and before them.
pub const FIELDS: &[&[(&str, &str)]] = &[
    &[],
    &[("x-a", "1")],
    &[("X-A", "1")],
    &[("x_a", "1")],
    &[("x a", "1")],
    &[("x:a", "1")],
    &[("x\u{ff}", "1")],
    &[("", "1")],
    &[("x-a", "")],
    &[("x-a", " 1")],
    &[("x-a", "1 ")],
    &[("x-a", "1\r\nhost: b.test")],
    &[("x-a", "1\rb")],
    &[("x-a", "1\nb")],
    &[("x-a", "1\0b")],
    &[("x-a", "\u{7f}")],
    &[("x-a", "\u{ff}")],
    &[("x-a\r\nhost", "b.test")],
    &[("connection", "close")],
    &[("connection", "x-case")],
    &[("keep-alive", "timeout=1")],
    &[("proxy-connection", "keep-alive")],
    &[("upgrade", "h2c")],
    &[("http2-settings", "AAMAAABkAAQAAP__")],
    &[("transfer-encoding", "chunked")],
    &[("transfer-encoding", "identity")],
    &[("te", "trailers")],
    &[("te", "gzip")],
    &[("te", "trailers, chunked")],
    &[("expect", "100-continue")],
    &[("expect", "200-ok")],
    &[("host", "a.test")],
    &[("host", "b.test")],
    &[("host", "")],
    &[("host", "a.test"), ("host", "b.test")],
    &[("content-length", "0")],
    &[("content-length", "3")],
    &[("content-length", "+0")],
    &[("content-length", "")],
    &[("content-length", "0, 0")],
    &[("content-length", "0"), ("content-length", "0")],
    &[("content-length", "0"), ("content-length", "3")],
    &[("content-length", "18446744073709551616")],
    &[("cookie", "a=b"), ("cookie", "c=d")],
    &[(":x", "1")],
    &[(":status", "200")],
    &[(":method", "POST")],
    &[(":path", "/b")],
    &[(":scheme", "http")],
    &[(":authority", "b.test")],
    &[(":protocol", "websocket")],
];

/// Instead of those of a sound request.
const PSEUDO: &[&[(&str, &str)]] = &[
    &[],
    &[(":scheme", "https"), (":authority", "a.test"), (":path", "/a")],
    &[(":method", "GET"), (":authority", "a.test"), (":path", "/a")],
    &[(":method", "GET"), (":scheme", "https"), (":path", "/a")],
    &[(":method", "GET"), (":scheme", "https"), (":path", "/a"), ("host", "a.test")],
    &[(":method", "GET"), (":scheme", "https"), (":authority", "a.test")],
    &[(":path", "/a"), (":authority", "a.test"), (":scheme", "https"), (":method", "GET")],
    &[(":method", "CONNECT"), (":authority", "a.test:443")],
    &[
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":authority", "a.test"),
        (":path", "/a"),
    ],
];

/// Its method, scheme, authority and path.
const VALUES: &[[&str; 4]] = &[
    ["", "https", "a.test", "/a"],
    ["get", "https", "a.test", "/a"],
    ["G T", "https", "a.test", "/a"],
    ["GET /b HTTP/1.1\r\nx: y", "https", "a.test", "/a"],
    ["TRACE", "https", "a.test", "/a"],
    ["OPTIONS", "https", "a.test", "*"],
    ["CONNECT", "https", "a.test", "/a"],
    ["GET", "", "a.test", "/a"],
    ["GET", "http", "a.test", "/a"],
    ["GET", "HTTPS", "a.test", "/a"],
    ["GET", "ftp", "a.test", "/a"],
    ["GET", "https://b.test/b?", "a.test", "/a"],
    ["GET", "https", "", "/a"],
    ["GET", "https", "A.TEST.", "/a"],
    ["GET", "https", "a.test:99999", "/a"],
    ["GET", "https", "u@a.test", "/a"],
    ["GET", "https", "a.test/b", "/a"],
    ["GET", "https", "a.test, b.test", "/a"],
    ["GET", "https", "a.test\r\nx: y", "/a"],
    ["GET", "https", "a test", "/a"],
    ["GET", "https", "a.test", ""],
    ["GET", "https", "a.test", "a"],
    ["GET", "https", "a.test", "*"],
    ["GET", "https", "a.test", "//a"],
    ["GET", "https", "a.test", "/a b"],
    ["GET", "https", "a.test", "/a#b"],
    ["GET", "https", "a.test", "/a\0"],
    ["GET", "https", "a.test", "/a\tb"],
    ["GET", "https", "a.test", "/\u{ff}"],
    ["GET", "https", "a.test", "/../a"],
    ["GET", "https", "a.test", "http://b.test/a"],
    ["GET", "https", "a.test", "/a HTTP/1.1\r\nx: y"],
];

/// Fields of a request, and its body.
const BODIES: &[(&[(&str, &str)], &str)] = &[
    (&[], "abc"),
    (&[], ""),
    (&[("content-length", "3")], "abc"),
    (&[("content-length", "2")], "abc"),
    (&[("content-length", "4")], "abc"),
    (&[("content-length", "0")], "GET /b HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    (&[("content-length", "3"), ("content-length", "3")], "abc"),
    (&[("content-length", "3"), ("content-length", "2")], "abc"),
    (&[("content-length", "03")], "abc"),
    (&[("content-length", "3 ")], "abc"),
    (&[("transfer-encoding", "chunked")], "0\r\n\r\nGET /b HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    (&[("transfer-encoding", "chunked"), ("content-length", "5")], "0\r\n\r\n"),
    (&[("expect", "100-continue")], "abc"),
];

/// Behind a body.
pub const TRAILERS: &[&[(&str, &str)]] = &[
    &[],
    &[("x-a", "1")],
    &[("X-A", "1")],
    &[("content-length", "5")],
    &[("host", "b.test")],
    &[("transfer-encoding", "chunked")],
    &[("x-a", "1\r\n\r\nGET /b HTTP/1.1\r\nHost: a.test\r\n\r\n")],
    &[(":path", "/b")],
    &[(":x", "1")],
    &[("connection", "close")],
];

/// Frames where none belongs, and some where they do.
fn framed() -> impl Iterator<Item = Frames> {
    let whole = |stream| Frame::fields(HEADERS, WHOLE, stream, &fields(&GET));
    let begun = |stream| Frame::fields(HEADERS, END_HEADERS, stream, &fields(&POST));
    let part = |end: usize| Frame::fields(HEADERS, END_STREAM, 1, &fields(&GET[..end]));
    let rest = |flags, stream, from: usize| Frame::fields(CONTINUATION, flags, stream, &fields(&GET[from..]));
    let data = |flags, stream, data: &[u8]| Frame::new(DATA, flags, stream, data);
    let frame = Frame::new;
    let end = |stream| data(END_STREAM, stream, b"abc");
    let own = 1_u32.to_be_bytes();
    let all = [
        vec![whole(1), whole(3)],
        vec![whole(3), whole(1)],
        vec![whole(1), whole(1)],
        vec![whole(0)],
        vec![whole(2)],
        vec![whole(0x8000_0001)],
        vec![begun(1), whole(3), end(1)],
        vec![begun(1), begun(1), end(1)],
        vec![begun(1), whole(1)],
        vec![begun(1), end(1), end(1)],
        vec![begun(1), end(1), whole(1)],
        vec![begun(1), data(0, 1, b""), data(0, 1, b""), end(1)],
        vec![begun(1), data(END_STREAM | PADDED, 1, b"\x02abc\0\0")],
        vec![begun(1), data(END_STREAM | PADDED, 1, b"\x02abcGE")],
        vec![begun(1), data(END_STREAM | PADDED, 1, b"\x09abc\0\0")],
        vec![begun(1), data(END_STREAM | PADDED, 1, b"")],
        vec![begun(1), data(0, 0, b"abc"), end(1)],
        vec![begun(1), data(0, 3, b"abc"), end(1)],
        vec![data(0, 1, b"abc"), whole(1)],
        vec![begun(1), frame(RESET, 0, 1, &[0; 4])],
        vec![begun(1), frame(RESET, 0, 1, &[0; 4]), end(1)],
        vec![frame(RESET, 0, 1, &[0; 4]), whole(1)],
        vec![begun(1), frame(RESET, 0, 1, &[0; 3]), end(1)],
        vec![part(2), rest(END_HEADERS, 1, 2)],
        vec![part(2), rest(0, 1, 2), frame(CONTINUATION, END_HEADERS, 1, &[])],
        vec![part(0), rest(END_HEADERS, 1, 0)],
        vec![part(2), rest(END_HEADERS, 3, 2)],
        vec![part(2), frame(PING, 0, 0, &[0; 8]), rest(END_HEADERS, 1, 2)],
        vec![part(2), frame(0xfa, 0, 1, b"x"), rest(END_HEADERS, 1, 2)],
        vec![part(2), data(END_STREAM, 1, b"abc"), rest(END_HEADERS, 1, 2)],
        vec![part(4), whole(3)],
        vec![rest(END_HEADERS, 1, 0)],
        vec![whole(1), rest(END_HEADERS, 1, 0)],
        vec![frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 1]), whole(1)],
        vec![frame(PRIORITY, 0, 1, &[&own[..], &[1]].concat()), whole(1)],
        vec![frame(PRIORITY, 0, 0, &[0, 0, 0, 3, 1]), whole(1)],
        vec![frame(PRIORITY, 0, 1, &[0; 4]), whole(1)],
        vec![frame(SETTINGS, 0, 0, &[0; 5]), whole(1)],
        vec![frame(SETTINGS, 0, 1, &[]), whole(1)],
        vec![frame(SETTINGS, ACK, 0, &[0; 6]), whole(1)],
        vec![frame(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 9]), whole(1)],
        vec![frame(SETTINGS, 0, 0, &[0, 4, 0xff, 0xff, 0xff, 0xff]), whole(1)],
        vec![frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 1]), whole(1)],
        vec![frame(SETTINGS, 0, 0, &[0xff, 0xff, 0, 0, 0, 1]), whole(1)],
        vec![frame(WINDOW_UPDATE, 0, 0, &[0; 4]), whole(1)],
        vec![begun(1), frame(WINDOW_UPDATE, 0, 1, &[0; 4]), end(1)],
        vec![frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]), whole(1)],
        vec![frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]), whole(1)],
        vec![frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2]), whole(1)],
        vec![begun(1), frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2]), end(1)],
        vec![frame(PING, 0, 0, &[0; 7]), whole(1)],
        vec![frame(PING, 0, 1, &[0; 8]), whole(1)],
        vec![frame(GOAWAY, 0, 0, &[0; 8]), whole(1)],
        vec![frame(0xfa, 0xff, 0, b"x"), whole(1)],
        vec![Frame { flags: 0xd2 | WHOLE, ..whole(1) }],
        vec![Frame { lie: 1, ..whole(1) }],
        vec![Frame { lie: -1, ..whole(1) }],
        vec![begun(1), Frame { lie: -1, ..end(1) }, whole(3)],
        vec![begun(1), Frame { lie: 9, ..end(1) }, whole(3)],
    ];
    all.into_iter().map(Frames)
}

/// Field blocks that are packed wrongly, or strangely.
fn blocks() -> impl Iterator<Item = Frames> {
    // `GET https://a/x` by the static table.
    let short = [0x82, 0x87, 0x04, 2, b'/', b'x', 0x01, 1, b'a'];
    let frame = |flags, before: Vec<u8>, behind: &[u8]| {
        let payload = Payload::Packed(before, behind.to_vec());
        Frames(vec![Frame { payload, ..Frame::new(HEADERS, flags | WHOLE, 1, &[]) }])
    };
    let with = |before: &[u8], behind: &[u8]| frame(0, [before, &short].concat(), behind);
    let all = [
        with(&[], &[]),
        with(&[0x20], &[]),
        with(&[0x3f, 0xe1, 0x1f], &[]),
        with(&[0x3f, 0xe1, 0xff, 0xff, 0xff, 0x0f], &[]),
        with(&[], &[0x20]),
        with(&[], &[0x80]),
        with(&[], &[0xff, 0x80, 0x0f]),
        with(&[], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
        with(&[], &[0x40, 1, b'a', 1, b'b', 0xbe]),
        with(&[], &[0xbe]),
        with(&[], &[0, 5, b'a']),
        with(&[], &[0]),
        with(&[], &[0, 1, b'a', 0x81, 0xff]),
        with(&[], &[0, 1, b'a', 0x84, 0xff, 0xff, 0xff, 0xff]),
        with(&[], &[0, 1, b'a', 0x81, 0x1f]),
        with(&[], &[0x10, 1, b'a', 1, b'b']),
    ];
    let prioritised = |flags, before: &[u8]| frame(flags, [before, &packed(&fields(&GET))].concat(), &[]);
    let odd = [
        prioritised(PRIORITISED, &[0, 0, 0, 3, 1]),
        prioritised(PRIORITISED, &[0, 0, 0, 1, 1]),
        prioritised(PADDED, &[0]),
        prioritised(PADDED, &[0xff]),
        prioritised(PADDED | PRIORITISED, &[0, 0, 0, 0, 3, 1]),
    ];
    all.into_iter().chain(odd)
}
