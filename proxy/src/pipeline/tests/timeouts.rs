//! Whose time a request takes: what it spends on the way to its answer counts against the route, what its caller takes to
//! send the body does not.
use super::peers::{Conversation, played};
use super::world::{Upstream, World};
use super::{ALLOW, only, text};
use crate::upstream::{Connect, Connecting};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

const GET: &str = "GET /api/x HTTP/1.1\r\nHost: a.test\r\n\r\n";
const POST: &str = "POST /api/x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 8\r\n\r\n";

/// A network on which every connection takes so long to be made.
struct Slow(Duration, Upstream);

impl std::fmt::Debug for Slow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Slow").field(&self.0).finish_non_exhaustive()
    }
}

impl Connect for Slow {
    fn connect(&self, _: SocketAddr) -> Connecting {
        let (time, upstream) = (self.0, Rc::clone(&self.1));
        Box::pin(async move {
            tokio::time::sleep(time).await;
            upstream(0)
        })
    }
}

/// An upstream that has heard all of a request, and answers it so much later.
fn answering_after(time: Duration) -> Upstream {
    played(move |_, mut stream| async move {
        let mut heard = Vec::new();
        let is_whole = |heard: &[u8]| heard.starts_with(b"GET") || heard.ends_with(b"12345678");
        while !is_whole(&heard) {
            if stream.read_buf(&mut heard).await.unwrap_or(0) == 0 {
                return;
            }
        }
        tokio::time::sleep(time).await;
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await);
        // The connection stays until the other side has had enough.
        drop(stream.read(&mut [0; 64]).await);
    })
}

/// What the caller of a route with `rule` is answered, and when, in tenths of a second, where connecting takes 0.8 s and
/// answering so many tenths; each part of the body comes so many tenths after the one before.
fn check(rule: &str, (parts, answer): (&[(&str, u64)], u64), expected: (u16, u64)) {
    let tenths = |count: u64| Duration::from_millis(100 * count);
    let route = format!("{rule} }}");
    let changes = [("retry: { attempts_max: 2, on: [connect_failure] } }", route.as_str())];
    let network = Slow(tenths(8), answering_after(tenths(answer)));
    let world = World::configured(Some(ALLOW), &changes).with_network(Rc::new(network), [1, 2, 3, 4]);
    let ((heard, took), records) = world.run(async |_, caller| {
        let Conversation(stream) = caller.shake_hands().await;
        let (reading, mut writing) = tokio::io::split(stream);
        let began = Instant::now();
        let saying = async {
            for (part, after) in parts {
                tokio::time::sleep(tenths(*after)).await;
                drop(writing.write_all(part.as_bytes()).await);
                drop(writing.flush().await);
            }
            std::future::pending::<()>().await;
        };
        let mut head = tokio::io::BufReader::new(reading);
        let mut line = String::new();
        tokio::select! {
            () = saying => {}
            _ = tokio::io::AsyncBufReadExt::read_line(&mut head, &mut line) => {}
        }
        (line, began.elapsed())
    });
    let (status, after) = expected;
    assert_eq!((super::status(&heard), took.as_millis() / 100), (status, after.into()), "{rule} {parts:?}");
    let reason = text(only(&records, "outcome"), "reason");
    assert_eq!(reason, if status == 200 { "" } else { "upstream.timeout" }, "{rule} {parts:?}");
}

const WHOLE: &[(&str, u64)] = &[(POST, 0), ("12345678", 0)];
const SLOWLY: &[(&str, u64)] = &[(POST, 0), ("1234", 20), ("5678", 20)];

#[test]
fn connecting_takes_of_the_time_of_a_request_with_a_body_as_of_any_other() {
    check("timeout: 1s", (&[(GET, 0)], 30), (504, 10));
    check("timeout: 1s", (WHOLE, 30), (504, 10));
    check("timeout: 1s", (WHOLE, 1), (200, 9));
    let tries = "timeout: 5s, retry: { attempts_max: 2, on: [reset], per_try_timeout: 1s }";
    check(tries, (&[(GET, 0)], 30), (504, 10));
    check(tries, (WHOLE, 30), (504, 10));
    check(tries, (WHOLE, 1), (200, 9));
}

#[test]
fn what_a_caller_takes_to_send_its_body_takes_nothing_of_the_time() {
    check("timeout: 1s", (SLOWLY, 1), (200, 41));
    // What was left when the body was asked for is left when it has ended.
    check("timeout: 1s", (SLOWLY, 30), (504, 42));
    let tries = "timeout: 5s, retry: { attempts_max: 2, on: [reset], per_try_timeout: 1s }";
    check(tries, (SLOWLY, 1), (200, 41));
    check(tries, (SLOWLY, 30), (504, 42));
}

#[test]
fn a_connection_that_is_not_made_in_time_ends_the_attempt_though_its_body_was_never_asked_for() {
    check("timeout: 500ms", (WHOLE, 0), (504, 5));
    let tries = "timeout: 5s, retry: { attempts_max: 2, on: [reset], per_try_timeout: 500ms }";
    check(tries, (WHOLE, 0), (504, 5));
}
