//! Peers that are gone without a word, and peers that only take their time.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use postern_tests::process::wait;
use postern_tests::upstream::Speaks;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::far::{Far, endpoints};
use crate::{LIMIT, facts, logged};

/// After how long nobody is held for present of whom nothing is heard.
const GONE_AFTER: Duration = Duration::from_secs(30);

/// A sidecar for raw streams, and the socket of the upstream, whose streams are the test's.
fn streams() -> Option<(Far, TcpListener)> {
    let raw = |upstream: &mut Value, listener: &mut Value| {
        upstream["protocol"] = json!("tcp");
        listener["protocol"] = json!("tcp");
        listener["routes"] = json!([{ "match": {}, "upstream": "app" }]);
    };
    let far = Far::start(Speaks::Http1, 1, raw)?;
    let listener = far.net.server.within(0, || TcpListener::bind(endpoints()[0]).expect("a free port"));
    Some((far, listener))
}

#[test]
fn callers_and_upstreams_are_asked_whether_they_are_there() {
    let Some((far, listener)) = streams() else { return };
    far.beside(|| async {
        let _caller = far.caller.stream(far.scene.listener).await.expect("the sidecar is there");
        let _upstream = listener.accept().expect("a stream");
        let all =
            || far.net.client.run(Path::new("ss"), &["-tnoH", "state", "established"]).expect_code(0).out;
        let is_asked = |local: Option<SocketAddr>, peer: Option<SocketAddr>| {
            // What is received and sent, where from, where to, and what is waited for.
            let all = all();
            let mut sockets = all.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            sockets.any(|socket| {
                let is = |at: usize, address: Option<SocketAddr>| {
                    address.is_none_or(|address| socket.get(at) == Some(&address.to_string().as_str()))
                };
                is(2, local) && is(3, peer) && socket.last().is_some_and(|timer| timer.contains("keepalive"))
            })
        };
        for (who, local, peer) in
            [("the caller", Some(far.scene.listener), None), ("the upstream", None, Some(endpoints()[0]))]
        {
            wait(who, LIMIT, || is_asked(local, peer).then_some(()));
        }
    });
}

/// What becomes of three streams when the way falls silent: one on which nothing is said, one on which something is under
/// way, and one whose reader rests for longer than anybody is waited for while the way is there.
#[test]
#[ignore = "takes as long as peers are waited for"]
fn who_is_gone_without_a_word_is_given_up_in_half_a_minute_and_who_only_rests_is_not() {
    let Some((far, listener)) = streams() else { return };
    far.beside(|| async {
        let open = || async {
            let caller = far.caller.stream(far.scene.listener).await.expect("the sidecar is there");
            let (upstream, _) = listener.accept().expect("a stream");
            (caller, upstream)
        };
        rests(open().await).await;
        let (mut idle, _idle) = open().await;
        let (mut busy, _busy) = open().await;
        far.net.on_the_way(&["drop"]);
        let began = Instant::now();
        busy.write_all(b"is anybody there?").await.expect("the sidecar takes it");
        busy.flush().await.expect("the sidecar takes it");
        for (name, stream) in [("idle", &mut idle), ("busy", &mut busy)] {
            let limit = (GONE_AFTER + Duration::from_secs(5)).saturating_sub(began.elapsed());
            let ended = tokio::time::timeout(limit, stream.read(&mut [0])).await;
            println!("{name}: {ended:?} after {:?}", began.elapsed());
            assert!(matches!(ended, Ok(Ok(0) | Err(_))), "{name}: {ended:?} after {:?}", began.elapsed());
        }
        assert!(began.elapsed() > Duration::from_secs(5), "a moment of silence is no end");
    });
    let ended = facts(&logged(&far.stop(), "outcome"), ["end"]);
    assert_eq!(ended, [["done"], ["upstream_error"], ["upstream_error"]]);
}

/// The upstream takes nothing for a while, and then all of it.
async fn rests((mut caller, upstream): (tokio_rustls::client::TlsStream<tokio::net::TcpStream>, TcpStream)) {
    const LENGTH: usize = 16 << 20;
    let resting = tokio::task::spawn_blocking(move || {
        std::thread::sleep(GONE_AFTER + Duration::from_secs(15));
        let mut upstream = upstream;
        std::io::copy(&mut upstream, &mut std::io::sink()).expect("all of it")
    });
    caller.write_all(&vec![b'x'; LENGTH]).await.expect("all of it is taken");
    caller.shutdown().await.expect("the end is taken");
    let taken = resting.await.expect("no panic");
    assert_eq!(usize::try_from(taken).expect("a length"), LENGTH);
}
