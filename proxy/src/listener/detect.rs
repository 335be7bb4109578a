//! What a captured connection begins with, where that decides on its route: an HTTP request, TLS for a server, or something
//! else. Whatever was read goes on.
use super::client_hello::{HANDSHAKE, server_name};
use super::handshake::Protocol;
use super::local::HTTP2_BEGINNING;
use crate::routing::Choices;
use crate::upstream::BoxIo;
use bytes::BytesMut;
use std::io;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

/// What is looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    choices: Choices,
    /// The longest request line, in bytes.
    line_bytes_max: usize,
}

/// What the first bytes show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) protocol: Protocol,
    /// The name that TLS asks for, which is passed through.
    pub(super) server_name: Option<String>,
}

impl Shown {
    pub(super) fn stream(server_name: Option<String>) -> Self {
        Self { protocol: Protocol::Tcp, server_name }
    }

    fn requests(protocol: Protocol) -> Self {
        Self { protocol, server_name: None }
    }
}

impl Question {
    pub(super) fn new(choices: Choices, line_bytes_max: usize) -> Self {
        Self { choices, line_bytes_max }
    }

    /// Reads until the answer shows, or until the time is over: who waits for the other side to speak first is a stream.
    pub(super) async fn ask(self, io: &mut BoxIo, timeout: Duration) -> io::Result<(BytesMut, Shown)> {
        let mut seen = BytesMut::with_capacity(1024);
        let until = Instant::now() + timeout;
        loop {
            if let Some(shown) = self.answer(&seen) {
                return Ok((seen, shown));
            }
            match tokio::time::timeout_at(until, io.read_buf(&mut seen)).await {
                Err(_) | Ok(Ok(0)) => return Ok((seen, Shown::stream(None))),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error),
            }
        }
    }

    /// What these bytes show, or nothing yet.
    fn answer(self, seen: &[u8]) -> Option<Shown> {
        if *seen.first()? == HANDSHAKE {
            return server_name(seen).map(Shown::stream);
        }
        if !self.choices.requests {
            return Some(Shown::stream(None));
        }
        if seen.starts_with(HTTP2_BEGINNING) {
            return Some(Shown::requests(Protocol::Http2));
        }
        match begins_request(seen, self.line_bytes_max)? {
            true => Some(Shown::requests(Protocol::Http1)),
            false => Some(Shown::stream(None)),
        }
    }
}

/// The longest method.
const METHOD_BYTES_MAX: usize = 32;

/// Whether bytes begin with a request line of HTTP/1 (RFC 9112 §3); nothing as long as they may.
fn begins_request(bytes: &[u8], line_bytes_max: usize) -> Option<bool> {
    let Some(end) = memchr::memchr(b'\n', bytes) else {
        return (bytes.len() > line_bytes_max || !may_begin_request(bytes)).then_some(false);
    };
    let line = bytes.get(..end).unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut parts = line.split(|byte| *byte == b' ');
    let (method, target, version) = (parts.next(), parts.next(), parts.next());
    let is_version = |version: &[u8]| matches!(version, [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor] if minor.is_ascii_digit());
    Some(
        end <= line_bytes_max
            && may_begin_request(line)
            && method.is_some_and(|method| !method.is_empty())
            && target.is_some_and(|target| !target.is_empty())
            && version.is_some_and(is_version)
            && parts.next().is_none(),
    )
}

/// Whether bytes are a method, if not all of it, and no control characters behind it.
fn may_begin_request(bytes: &[u8]) -> bool {
    let (method, rest) = match memchr::memchr(b' ', bytes) {
        Some(end) => bytes.split_at(end),
        None => (bytes, &[][..]),
    };
    let rest = rest.strip_suffix(b"\r").unwrap_or(rest);
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    method.len() <= METHOD_BYTES_MAX && method.iter().all(is_token) && !rest.iter().any(u8::is_ascii_control)
}

#[cfg(test)]
mod tests {
    use super::super::client_hello::tests::hello_for;
    use super::*;
    use crate::pipeline::Begun;
    use tokio::io::AsyncWriteExt;

    const BOTH: Choices = Choices { requests: true, streams: true, names: false };
    const NAMES: Choices = Choices { requests: false, streams: true, names: true };

    /// What is said in these pieces, a moment apart, is taken for this and at once, or only once the time is over; and
    /// nothing of it is lost.
    async fn check(choices: Choices, pieces: &[&[u8]], expected: Shown, is_at_once: bool) {
        let (mut caller, ours) = tokio::io::duplex(4096);
        let said = pieces.concat();
        let all: Vec<_> = pieces.iter().map(|piece| piece.to_vec()).collect();
        let speaking = tokio::spawn(async move {
            for piece in all {
                caller.write_all(&piece).await.unwrap();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            caller
        });
        let (mut io, began): (BoxIo, _) = (Box::new(ours), Instant::now());
        let asking = Question::new(choices, 1024).ask(&mut io, Duration::from_millis(100));
        let (seen, shown) = asking.await.unwrap();
        let text = String::from_utf8_lossy(&said).into_owned();
        assert_eq!(shown, expected, "{text:?}");
        assert_eq!(
            began.elapsed() < Duration::from_millis(90),
            is_at_once,
            "{text:?}: {:?}",
            began.elapsed()
        );
        drop(speaking.await.unwrap());
        let mut rest = Vec::new();
        Begun::new(seen.freeze(), io).read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, said, "{text:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_is_known_by_its_line_or_by_the_preface_of_http2() {
        let http1 = || Shown::requests(Protocol::Http1);
        check(BOTH, &[b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"], http1(), true).await;
        check(BOTH, &[b"G", b"ET /", b"x HTTP/1", b".1\r", b"\n"], http1(), true).await;
        check(BOTH, &[b"BREW coffee://pot HTTP/1.0\n"], http1(), true).await;
        let http2 = Shown::requests(Protocol::Http2);
        check(BOTH, &[b"PRI * HT", b"TP/2.0\r\n\r\nSM\r\n\r\n"], http2, true).await;
    }

    #[tokio::test(start_paused = true)]
    async fn tls_is_known_by_its_hello_and_names_its_server() {
        let named = || Shown::stream(Some("orders.test".to_owned()));
        let hello = hello_for("orders.test");
        check(BOTH, &[&hello], named(), true).await;
        check(NAMES, &[&hello], named(), true).await;
        check(BOTH, &[&hello[..1], &hello[1..60], &hello[60..]], named(), true).await;
        check(BOTH, &[&hello[..90]], Shown::stream(None), false).await;
    }

    proptest::proptest! {
        #[test]
        fn an_answer_stands_whatever_comes_behind_it(
            said in "(GET|[!-~]{0,40})? ?[ -~]{0,20}( HTTP/1.1)?\r?\n?[\\x00-\\xff]{0,9}",
            end in 0_usize..64,
        ) {
            let bytes = said.as_bytes();
            let question = Question::new(BOTH, 30);
            if let Some(shown) = question.answer(&bytes[..end.min(bytes.len())]) {
                proptest::prop_assert_eq!(question.answer(bytes), Some(shown));
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn all_else_is_a_stream() {
        let stream = || Shown::stream(None);
        for said in
            ["SSH-2.0-x\r\n", "*1\r\n$4\r\nPING\r\n", "EHLO a\r\n", "\0\0\0\u{8}", "GET / HTTP/2.0\r\n"]
        {
            check(BOTH, &[said.as_bytes()], stream(), true).await;
        }
        check(BOTH, &[b"GET  / HTTP/1.1\r\n"], stream(), true).await;
        check(BOTH, &[b"GET /\t HTTP/1.1"], stream(), true).await;
        check(BOTH, &[b"GET /", &[b'a'; 1100]], stream(), true).await;
        check(BOTH, &[&[b'A'; 33]], stream(), true).await;
        check(NAMES, &[b"GET / HTTP/1.1\r\n"], stream(), true).await;
        // Who says nothing, or not enough, until the time is over.
        check(BOTH, &[], stream(), false).await;
        check(BOTH, &[b"GET / HT"], stream(), false).await;
    }
}
