//! A key server on a loopback socket that answers as it is told, and the keeper in front of it.

use std::sync::Mutex;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::clock::SystemClock;
use crate::config::{Plaintext, TrustRoots};

const PATIENCE: Duration = Duration::from_secs(20);
/// Two different sets of one Ed25519 key each (RFC 8037 appendix A.2, and its neighbour).
const KEYS_A: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
const KEYS_B: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"b","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// What the server says next, status line to body.
#[derive(Clone)]
struct Script(Arc<Mutex<String>>, watch::Sender<usize>, Arc<Mutex<String>>);

impl Script {
    async fn start() -> (Self, String) {
        let script = Self(Arc::default(), watch::channel(0).0, Arc::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks?token=secret", listener.local_addr().unwrap());
        let told = script.clone();
        drop(tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 4096];
                let read = socket.read(&mut request).await.unwrap();
                *told.2.lock().unwrap() = String::from_utf8_lossy(&request[..read]).into_owned();
                told.1.send_modify(|asked| *asked += 1);
                let answer = told.0.lock().unwrap().clone();
                socket.write_all(answer.as_bytes()).await.unwrap();
            }
        }));
        (script, url)
    }

    fn say(&self, status: &str, headers: &str, body: &str) {
        *self.0.lock().unwrap() = format!(
            "HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
    }

    fn asked(&self) -> usize {
        *self.1.borrow()
    }

    fn last_request(&self) -> String {
        self.2.lock().unwrap().clone()
    }
}

struct World {
    updates: mpsc::Receiver<KeyUpdate>,
    wishes: mpsc::Sender<usize>,
    status: watch::Receiver<SourceStatus>,
    task: tokio::task::JoinHandle<()>,
}

impl World {
    fn start(source: KeySource, freshness: Freshness) -> Self {
        let (updates_in, updates) = mpsc::channel(4);
        let (wishes, wished) = mpsc::channel(4);
        let (status_in, status) = watch::channel(SourceStatus::Starting);
        let issuer = IssuerKeys { issuer: 3, source, freshness, status: status_in };
        let task = tokio::spawn(run(vec![issuer], Arc::new(SystemClock::new()), updates_in, wished));
        Self { updates, wishes, status, task }
    }

    async fn keys(&mut self) -> Option<Arc<KeySet>> {
        let update = tokio::time::timeout(PATIENCE, self.updates.recv()).await.unwrap().unwrap();
        assert_eq!(update.issuer, 3);
        update.keys
    }

    async fn status(&mut self, wanted: impl FnMut(&SourceStatus) -> bool) -> SourceStatus {
        tokio::time::timeout(PATIENCE, self.status.wait_for(wanted)).await.unwrap().unwrap().clone()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn fetcher() -> Fetcher {
    #[derive(Debug)]
    struct Time;
    impl rustls::time_provider::TimeProvider for Time {
        fn current_time(&self) -> Option<rustls_pki_types::UnixTime> {
            Some(SystemClock::new().unix_time())
        }
    }
    Fetcher::new(&TrustRoots::System, Plaintext::LoopbackOnly, Arc::new(Time)).unwrap()
}

fn url(url: &str) -> KeySource {
    KeySource::Url { url: url.to_owned(), fetcher: fetcher() }
}

fn quick() -> Freshness {
    Freshness {
        refresh: Duration::from_millis(50),
        refresh_min: Duration::from_millis(50),
        retry_first: Duration::from_millis(20),
        miss_interval: Duration::ZERO,
        ..Freshness::default()
    }
}

fn lazy() -> Freshness {
    Freshness { miss_interval: Duration::from_millis(50), ..Freshness::default() }
}

fn set(document: &str) -> Option<Arc<KeySet>> {
    Some(Arc::new(KeySet::parse(document.as_bytes()).unwrap()))
}

#[tokio::test]
async fn keys_are_fetched_and_followed() {
    let (server, address) = Script::start().await;
    server.say("200 OK", "", KEYS_A);
    let mut world = World::start(url(&address), quick());
    assert_eq!(world.keys().await, set(KEYS_A));
    assert_eq!(world.status(|status| *status == SourceStatus::Ready).await, SourceStatus::Ready);
    server.say("200 OK", "", KEYS_B);
    assert_eq!(world.keys().await, set(KEYS_B));
}

#[tokio::test]
async fn an_outage_leaves_the_keys_in_force_until_they_are_too_old() {
    let (server, address) = Script::start().await;
    server.say("200 OK", "", KEYS_A);
    let freshness = Freshness { stale_max: Duration::from_millis(1500), ..quick() };
    let mut world = World::start(url(&address), freshness);
    assert!(world.keys().await.is_some());
    for (status, body, reason) in [
        ("503 Service Unavailable", "", "answered 503"),
        ("302 Found", "", "answered 302"),
        ("200 OK", "{}", "no member `keys`"),
        ("200 OK", r#"{"keys":[]}"#, "none of the 0 keys"),
        ("200 OK", "<html>", "cannot be read"),
    ] {
        server.say(status, "", body);
        let stale = world
            .status(|now| matches!(now, SourceStatus::Stale { reason: told, .. } if told.contains(reason)))
            .await;
        let SourceStatus::Stale { reason: told, .. } = stale else { panic!() };
        assert!(!told.contains("secret"), "{told}");
    }
    assert_eq!(world.keys().await, None);
    world.status(|now| matches!(now, SourceStatus::Failing(_))).await;
    server.say("200 OK", "", KEYS_A);
    assert_eq!(world.keys().await, set(KEYS_A));
}

#[tokio::test]
async fn an_issuer_that_is_down_at_start_is_asked_until_it_answers() {
    let (server, address) = Script::start().await;
    server.say("500 Internal Server Error", "", "");
    let mut world = World::start(url(&address), quick());
    world.status(|now| matches!(now, SourceStatus::Failing(_))).await;
    server.say("200 OK", "", KEYS_A);
    assert_eq!(world.keys().await, set(KEYS_A));
}

#[tokio::test]
async fn a_missed_key_brings_the_next_fetch_forward() {
    let (server, address) = Script::start().await;
    server.say("200 OK", "cache-control: max-age=3600\r\n", KEYS_A);
    let mut world = World::start(url(&address), lazy());
    assert_eq!(world.keys().await, set(KEYS_A));
    server.say("200 OK", "", KEYS_B);
    world.wishes.send(7).await.unwrap();
    world.wishes.send(3).await.unwrap();
    assert_eq!(world.keys().await, set(KEYS_B));
    assert_eq!(server.asked(), 2);
}

#[tokio::test]
async fn many_missed_keys_are_few_fetches() {
    let (server, address) = Script::start().await;
    server.say("200 OK", "cache-control: max-age=3600\r\n", KEYS_A);
    let freshness = Freshness { miss_interval: Duration::from_millis(400), ..Freshness::default() };
    let started = Instant::now();
    let mut world = World::start(url(&address), freshness);
    assert_eq!(world.keys().await, set(KEYS_A));
    while started.elapsed() < Duration::from_millis(1000) {
        world.wishes.send(3).await.unwrap();
        tokio::task::yield_now().await;
    }
    let intervals = started.elapsed().as_millis() / 400;
    assert!(server.asked() as u128 <= 1 + intervals, "{} fetches", server.asked());
    assert!(server.asked() >= 2);
}

#[tokio::test]
async fn an_unchanged_set_is_not_sent_again() {
    let (server, address) = Script::start().await;
    server.say("200 OK", "etag: \"one\"\r\n", KEYS_A);
    let mut world = World::start(url(&address), quick());
    assert_eq!(world.keys().await, set(KEYS_A));
    server.say("304 Not Modified", "", "");
    let enough = server.asked() + 3;
    let mut asked = server.1.subscribe();
    tokio::time::timeout(PATIENCE, asked.wait_for(|asked| *asked >= enough)).await.unwrap().unwrap();
    assert!(server.last_request().contains("if-none-match: \"one\""), "{}", server.last_request());
    assert!(world.updates.try_recv().is_err());
    assert_eq!(*world.status.borrow(), SourceStatus::Ready);
    server.say("200 OK", "etag: \"two\"\r\n", KEYS_B);
    assert_eq!(world.keys().await, set(KEYS_B));
}

#[tokio::test]
async fn a_file_is_followed_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.json");
    let write = |content: &str| {
        std::fs::write(directory.path().join("fresh"), content).unwrap();
        std::fs::rename(directory.path().join("fresh"), &path).unwrap();
    };
    let mut world = World::start(KeySource::File(path.clone()), Freshness::default());
    world.status(|now| matches!(now, SourceStatus::Failing(reason) if reason.contains("keys.json"))).await;
    write(KEYS_A);
    assert_eq!(world.keys().await, set(KEYS_A));
    write("{");
    world
        .status(|now| matches!(now, SourceStatus::Stale { reason, .. } if reason.contains("not JSON")))
        .await;
    write(KEYS_B);
    assert_eq!(world.keys().await, set(KEYS_B));
}

#[test]
fn max_age_is_read_as_it_is_written() {
    let check = |value: &str, expected: Option<u64>| {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, value.parse().unwrap());
        assert_eq!(max_age(&headers), expected.map(Duration::from_secs), "{value}");
    };
    check("max-age=600", Some(600));
    check("public, Max-Age=\"600\", must-revalidate", Some(600));
    check("no-store", Some(0));
    check("private", None);
    check("max-age=x", None);
    check("s-maxage=5", None);
    assert_eq!(max_age(&HeaderMap::new()), None);
}
