//! Over HTTP/1.1.

use std::io::Write;
use std::net::TcpStream;

use crate::Expected::{self, Cut, Passed, Refused};
use crate::{Play, Script, Upstream, read_until, say};

const PROTOCOL: &str = "upstream.protocol";
const GOOD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood";

/// What it says, how often the last part of it (behind `|`), and what the caller sees.
const CASES: &[(&str, usize, Expected)] = &[
    // Where does it end?
    ("HTTP/1.1 200 OK\r\nContent-Length: 3, 4\r\n\r\nabcd", 0, Refused(PROTOCOL)),
    ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 0, Refused(PROTOCOL)),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        0,
        Refused(PROTOCOL),
    ),
    ("HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nabc", 0, Refused(PROTOCOL)),
    ("HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\nabc", 0, Refused(PROTOCOL)),
    ("HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551619\r\n\r\nabc", 0, Refused(PROTOCOL)),
    ("HTTP/1.1 200 OK\r\nContent-Length : 3\r\n\r\nabc", 0, Refused(PROTOCOL)),
    // Is it a head?
    ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX: a\rb\r\n\r\nabc", 0, Refused(PROTOCOL)),
    ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX: a\0b\r\n\r\nabc", 0, Refused(PROTOCOL)),
    ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nno colon\r\n\r\nabc", 0, Refused(PROTOCOL)),
    ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX: a\r\n folded\r\n\r\nabc", 0, Refused(PROTOCOL)),
    ("HTTP/1.1 20 OK\r\nContent-Length: 3\r\n\r\nabc", 0, Refused(PROTOCOL)),
    ("HTTP/1.1 2000 OK\r\nContent-Length: 3\r\n\r\nabc", 0, Refused(PROTOCOL)),
    ("HTTP/1.1 000 OK\r\nContent-Length: 3\r\n\r\nabc", 0, Refused(PROTOCOL)),
    ("HTTP/2.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", 0, Refused(PROTOCOL)),
    ("200 OK\r\n\r\n", 0, Refused(PROTOCOL)),
    ("SSH-2.0-OpenSSH_9.2\r\n", 0, Refused(PROTOCOL)),
    ("", 0, Refused(PROTOCOL)),
    ("HTTP/1.1 200", 0, Refused(PROTOCOL)),
    // Nobody asked to switch.
    (
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        0,
        Refused(PROTOCOL),
    ),
    // Endless heads, lines, and announcements.
    (
        "HTTP/1.1 200 OK\r\nX: |aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        10_000_000,
        Refused(PROTOCOL),
    ),
    (
        "HTTP/1.1 200 OK\r\n|X: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n",
        10_000_000,
        Refused(PROTOCOL),
    ),
    (
        "HTTP/1.1 200 |OK OK OK OK OK OK OK OK OK OK OK OK OK OK OK OK OK OK OK ",
        10_000_000,
        Refused(PROTOCOL),
    ),
    ("|HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n", 10_000_000, Refused(PROTOCOL)),
    ("|HTTP/1.1 100 Continue\r\n\r\n", 10_000_000, Refused(PROTOCOL)),
    // Once it has begun it can only be cut.
    ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", 0, Cut),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", 0, Cut),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\ng\r\n", 0, Cut),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", 0, Cut),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nf0000000000000003\r\nabc\r\n0\r\n\r\n", 0, Cut),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;|aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        10_000_000,
        Cut,
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n|X: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n",
        10_000_000,
        Cut,
    ),
    // A second answer to one question is nobody's.
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        0,
        Passed(200, "abc"),
    ),
    ("HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", 0, Passed(204, "")),
    ("HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil", 0, Passed(304, "")),
    (
        "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        0,
        Passed(200, "abc"),
    ),
];

fn serve(mut stream: TcpStream, script: &Script) {
    while read_until(&mut stream, b"\r\n\r\n").is_some() {
        let Some(number) = script.due() else {
            say(&mut stream, GOOD.as_bytes(), 1);
            continue;
        };
        let (text, times, expected) = CASES[number];
        let (first, again) = text.split_once('|').unwrap_or((text, ""));
        drop(stream.write_all(first.as_bytes()));
        say(&mut stream, again.as_bytes(), times);
        if matches!(expected, Passed(..)) && !text.contains("evil") {
            continue;
        }
        // What ends in the middle ends with the connection; else it stays open, for who would use it again.
        let is_part = ["", "HTTP/1.1 200", "SSH-2.0-OpenSSH_9.2\r\n"].contains(&text)
            || text.ends_with("\r\nabc")
            || text.ends_with("abc\r\n");
        if !is_part && read_until(&mut stream, b"\r\n\r\n").is_some() {
            script.reused.lock().expect("nobody panicked").push(number);
        }
        return;
    }
}

#[test]
fn what_is_no_answer_over_http1_is_the_upstreams_failure_and_reaches_nobody_else() {
    let play = Play::new(Upstream::start(serve), "http1");
    for (number, (text, _, expected)) in CASES.iter().enumerate() {
        play.check(number, &format!("{text:?}"), *expected);
    }
    play.finish();
}
