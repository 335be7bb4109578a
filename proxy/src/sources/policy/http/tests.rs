use super::*;
use crate::clock::{SystemClock, TlsTime};
use crate::config::{Plaintext, TrustRoots};
use crate::sources::identity::SourceStatus;
use crate::sources::policy::BundleCandidate;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

/// A server that gives the prepared answers one after the other, and tells what it was asked.
async fn serve(answers: Vec<String>) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/bundle.tar.gz", listener.local_addr().unwrap());
    let (asked, requests) = mpsc::channel(answers.len());
    tokio::spawn(async move {
        for answer in answers {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(socket.read_u8().await.unwrap());
            }
            asked.send(String::from_utf8(head).unwrap().to_ascii_lowercase()).await.unwrap();
            socket.write_all(answer.as_bytes()).await.unwrap();
            socket.shutdown().await.unwrap();
        }
    });
    (url, requests)
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

struct Following {
    requests: mpsc::Receiver<String>,
    found: mpsc::Receiver<BundleCandidate>,
    states: watch::Receiver<SourceStatus>,
}

async fn start(answers: Vec<String>, long_poll_s: u64) -> Following {
    let (url, requests) = serve(answers).await;
    let time = Arc::new(TlsTime(Arc::new(SystemClock::new())));
    let roots = TrustRoots::Files(Vec::new());
    let fetcher = Fetcher::new(&roots, Plaintext::LoopbackOnly, time).unwrap();
    let (candidates, found) = mpsc::channel(4);
    let (status, states) = watch::channel(SourceStatus::Starting);
    let outlet = Outlet { name: "authz".to_owned(), candidates, status, last: None };
    let server = Server {
        url,
        fetcher,
        long_poll: Duration::from_secs(long_poll_s),
        poll_interval: Duration::from_millis(20),
    };
    tokio::spawn(follow(server, 64, Arc::new(SystemClock::new()), outlet));
    Following { requests, found, states }
}

const LONG: &str = "Content-Type: application/vnd.openpolicyagent.bundles\r\n";

#[tokio::test]
async fn an_entity_tag_is_sent_back_and_unchanged_bundles_are_not_offered_again() {
    let mut following = start(
        vec![
            answer("200 OK", "ETag: \"one\"\r\n", "first"),
            answer("304 Not Modified", "", ""),
            answer("200 OK", "ETag: \"two\"\r\n", "first"),
            answer("200 OK", "", "second"),
            answer("304 Not Modified", "", ""),
        ],
        0,
    )
    .await;
    let first = following.requests.recv().await.unwrap();
    assert!(first.contains("prefer: modes=snapshot\r\n") && !first.contains("if-none-match"), "{first}");
    assert!(following.requests.recv().await.unwrap().contains("if-none-match: \"one\"\r\n"));
    assert!(following.requests.recv().await.unwrap().contains("if-none-match: \"one\"\r\n"));
    assert!(following.requests.recv().await.unwrap().contains("if-none-match: \"two\"\r\n"));
    let fifth = following.requests.recv().await.unwrap();
    assert!(!fifth.contains("if-none-match"), "an answer without a tag ends the old one: {fifth}");
    let mut bodies = Vec::new();
    for _ in 0..2 {
        let candidate = following.found.recv().await.unwrap();
        bodies.push((candidate.archive, candidate.etag));
    }
    assert_eq!(bodies, [("first".into(), Some("\"one\"".to_owned())), ("second".into(), None)]);
}

#[tokio::test]
async fn a_server_that_long_polls_is_asked_to_wait_and_one_that_does_not_is_not() {
    let waits = |request: &str| request.contains("prefer: modes=snapshot;wait=7\r\n");
    let mut long = start(
        vec![
            answer("200 OK", &format!("{LONG}ETag: \"a\"\r\n"), "x"),
            answer("304 Not Modified", "", ""),
            answer("304 Not Modified", LONG, ""),
        ],
        7,
    )
    .await;
    for _ in 0..3 {
        assert!(waits(&long.requests.recv().await.unwrap()));
    }
    let plain = answer("200 OK", "Content-Type: application/gzip\r\n", "x");
    let mut short = start(vec![plain.clone(), plain.clone(), plain], 7).await;
    assert!(waits(&short.requests.recv().await.unwrap()));
    for _ in 0..2 {
        assert!(!waits(&short.requests.recv().await.unwrap()));
    }
}

#[tokio::test]
async fn failures_are_told_and_the_next_success_ends_them() {
    for bad in [
        answer("500 Internal Server Error", "", "x"),
        answer("404 Not Found", "", "x"),
        answer("304 Not Modified", "", ""),
        answer("302 Found", "Location: http://127.0.0.1:1/\r\n", ""),
        answer("200 OK", "", ""),
        answer("200 OK", "", &"x".repeat(65)),
        "nonsense".to_owned(),
    ] {
        let mut following = start(vec![bad.clone(), answer("200 OK", "", "good")], 0).await;
        following.states.wait_for(|status| matches!(status, SourceStatus::Failing(_))).await.unwrap();
        assert_eq!(following.found.recv().await.unwrap().archive, "good", "{bad}");
        following.states.wait_for(|status| *status == SourceStatus::Ready).await.unwrap();
    }
}
