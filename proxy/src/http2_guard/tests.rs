use super::{Floods, Guarded, Other, guard};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::Instant;

const PER_SECOND: u32 = 100;
/// What may come at once.
const BURST: usize = 1_000;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const PING: &[u8] = &[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const PRIORITY: &[u8] = &[0, 0, 5, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 9];
const WINDOW: &[u8] = &[0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const RESET: &[u8] = &[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8];
const UNKNOWN: &[u8] = &[0, 0, 1, 0xb0, 0, 0, 0, 0, 0, 7];
const EMPTY: &[u8] = &[0, 0, 0, 0, 0, 0, 0, 0, 1];
const BYTE: &[u8] = &[0, 0, 1, 0, 0, 0, 0, 0, 1, 7];
const LAST_BYTE: &[u8] = &[0, 0, 1, 0, 1, 0, 0, 0, 1, 7];
const MESSAGE: &[u8] = &[0, 0, 5, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0];
const HEADERS: &[u8] = &[0, 0, 1, 1, 5, 0, 0, 0, 9, 0x82];
const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0xb];

/// The guard, with what stands in the place of hyper and of the other side on its two sides.
fn watched(other: Other) -> (Guarded<DuplexStream>, Floods, DuplexStream) {
    let (ours, theirs) = duplex(16 * 1024 * 1024);
    let (guarded, floods) = guard(ours, other, PER_SECOND);
    (guarded, floods, theirs)
}

async fn read(guarded: &mut Guarded<DuplexStream>, bytes: usize) -> std::io::Result<()> {
    guarded.read_exact(&mut vec![0; bytes]).await.map(drop)
}

/// So many frames pass, and none more. They arrive in pieces of every size.
async fn check(frame: &[u8], passes: Option<usize>, name: &str) {
    let stream = [PREFACE, HEADERS, &frame.repeat(passes.unwrap_or(10 * BURST))].concat();
    for piece in [1, 7, 4096] {
        let (mut guarded, floods, mut theirs) = watched(Other::Client);
        for bytes in stream.chunks(piece) {
            theirs.write_all(bytes).await.unwrap();
            read(&mut guarded, bytes.len()).await.unwrap();
        }
        assert_eq!(floods.found(), None, "{name}: {piece}");
        if passes.is_none() {
            continue;
        }
        theirs.write_all(frame).await.unwrap();
        // The caller hears why, and what it sends meanwhile is thrown away.
        theirs.write_all(frame).await.unwrap();
        let mut heard = Vec::new();
        let (failed, listened) = tokio::join!(read(&mut guarded, 2 * frame.len()), async {
            theirs.read_to_end(&mut heard).await.unwrap();
            drop(theirs);
        });
        assert!(failed.is_err(), "{name}: {piece}");
        assert_eq!(heard, GOAWAY, "{name}: {piece}");
        assert_eq!(floods.found().map(|(kind, _)| kind), Some(name));
        let () = listened;
    }
}

#[tokio::test(start_paused = true)]
async fn frames_that_carry_nothing_are_counted() {
    check(PING, Some(BURST), "ping").await;
    check(SETTINGS, Some(BURST), "settings").await;
    check(PRIORITY, Some(BURST), "priority").await;
    check(WINDOW, Some(BURST), "window_update").await;
    check(RESET, Some(BURST), "reset").await;
    check(UNKNOWN, Some(BURST), "unknown").await;
    check(BYTE, Some(BURST), "tiny_data").await;
}

#[tokio::test(start_paused = true)]
async fn requests_and_their_bytes_are_not() {
    check(HEADERS, None, "headers").await;
    check(MESSAGE, None, "messages").await;
    check(LAST_BYTE, None, "the end of a body").await;
    check(&[&[0, 0, 17, 0, 0, 0, 0, 0, 1], PING].concat(), None, "a ping in a payload").await;
}

#[tokio::test(start_paused = true)]
async fn the_budget_refills_with_time() {
    let (mut guarded, floods, mut theirs) = watched(Other::Client);
    theirs.write_all(PREFACE).await.unwrap();
    read(&mut guarded, PREFACE.len()).await.unwrap();
    for _ in 0..BURST / 100 + 60 {
        theirs.write_all(&PING.repeat(100)).await.unwrap();
        read(&mut guarded, PING.len() * 100).await.unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert_eq!(floods.found(), None);
}

/// Whether the other side may go on answering each of `ours` by `answer`.
async fn earned(other: Other, ours: &[u8], answer: &[u8]) -> bool {
    let (mut guarded, floods, mut theirs) = watched(other);
    match other {
        Other::Client => {
            theirs.write_all(PREFACE).await.unwrap();
            read(&mut guarded, PREFACE.len()).await.unwrap();
        }
        Other::Server => guarded.write_all(PREFACE).await.unwrap(),
    }
    for _ in 0..10 * BURST {
        guarded.write_all(ours).await.unwrap();
        theirs.write_all(answer).await.unwrap();
        if read(&mut guarded, answer.len()).await.is_err() {
            break;
        }
    }
    floods.found().is_none()
}

#[tokio::test(start_paused = true)]
async fn what_this_side_sends_may_be_answered() {
    for other in [Other::Client, Other::Server] {
        let earned = async |ours: &[u8], answer: &[u8]| earned(other, ours, answer).await;
        assert!(
            earned(MESSAGE, &[WINDOW, WINDOW, PING].concat()).await,
            "each message opens both windows anew: {other:?}"
        );
        assert!(earned(HEADERS, RESET).await, "what has been answered may be reset: {other:?}");
        assert!(!earned(EMPTY, WINDOW).await, "nothing was sent: {other:?}");
        assert!(!earned(PING, PING).await, "an answered PING is no reason for the next: {other:?}");
        assert!(!earned(SETTINGS, SETTINGS).await, "{other:?}");
    }
}

/// What one caller has sent in small pieces must not end the connection of all the others.
#[tokio::test(start_paused = true)]
async fn single_bytes_are_paid_for_by_callers_and_not_by_upstreams() {
    for (other, passes) in [(Other::Client, false), (Other::Server, true)] {
        let pongs = earned(other, MESSAGE, &BYTE.repeat(10)).await;
        assert_eq!(pongs, passes, "a block of pings, each answered by a frame of its own: {other:?}");
        assert_eq!(earned(other, &[], BYTE).await, passes, "an answer by single bytes: {other:?}");
        assert_eq!(earned(other, BYTE, WINDOW).await, passes, "a window opened by single bytes: {other:?}");
        assert!(!earned(other, MESSAGE, &EMPTY.repeat(10)).await, "frames without a byte: {other:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn streams_that_this_side_has_to_break_are_paid_for_too() {
    let (mut guarded, floods, _theirs) = watched(Other::Client);
    for _ in 0..BURST {
        guarded.write_all(RESET).await.unwrap();
    }
    assert_eq!(floods.found(), None);
    guarded.write_all(RESET).await.unwrap();
    assert!(guarded.write_all(RESET).await.is_err());
    assert_eq!(floods.found(), Some(("refused_stream", 1_001)));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_said_in_the_midst_of_a_frame_and_nobody_is_waited_for() {
    let (mut guarded, floods, mut theirs) = watched(Other::Client);
    guarded.write_all(&MESSAGE[..11]).await.unwrap();
    theirs.write_all(&[PREFACE, &PING.repeat(BURST + 1)].concat()).await.unwrap();
    let began = Instant::now();
    assert!(read(&mut guarded, 1 << 20).await.is_err());
    assert_eq!(floods.found(), Some(("ping", 1_001)));
    assert_eq!(began.elapsed(), Duration::from_secs(1), "the caller neither speaks nor goes");
    drop(guarded);
    let mut heard = Vec::new();
    theirs.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, MESSAGE[..11]);
}

#[tokio::test(start_paused = true)]
async fn a_server_is_watched_as_a_client_is() {
    let (ours, mut theirs) = duplex(1 << 20);
    let (mut guarded, floods) = guard(ours, Other::Server, PER_SECOND);
    guarded.write_all(PREFACE).await.unwrap();
    theirs.write_all(&PING.repeat(BURST + 1)).await.unwrap();
    assert!(read(&mut guarded, 1 << 20).await.is_err());
    assert_eq!(floods.found(), Some(("ping", 1_001)));
}
