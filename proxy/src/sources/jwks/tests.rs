//! A key server on a loopback socket that answers as it is told, and the keeper in front of it.

use std::sync::Mutex;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::clock::SystemClock;
use crate::config::{Plaintext, TrustRoots};
use crate::telemetry::Metrics;
use crate::telemetry::metrics::MetricsPlan;

const ISSUER: &str = "https://idp.example";

const PATIENCE: Duration = Duration::from_secs(20);
/// Two different sets of one Ed25519 key each (RFC 8037 appendix A.2, and its neighbour).
const KEYS_A: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
const KEYS_B: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"b","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// A shared secret, and RSA of 8 bits.
const WEAK: &str =
    r#"{"keys":[{"kty":"oct","kid":"a","k":"AAAA"},{"kty":"RSA","kid":"a","n":"_w","e":"AQAB"}]}"#;

/// What the server says next, status line to body; to metadata requests apart, if it is told.
#[derive(Clone)]
struct Script(Arc<Mutex<String>>, watch::Sender<usize>, Arc<Mutex<String>>, Arc<Mutex<Option<String>>>);

impl Script {
    async fn start() -> (Self, String) {
        let script = Self(Arc::default(), watch::channel(0).0, Arc::default(), Arc::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks?token=secret", listener.local_addr().unwrap());
        let told = script.clone();
        drop(tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 4096];
                let read = socket.read(&mut request).await.unwrap();
                let request = String::from_utf8_lossy(&request[..read]).into_owned();
                let metadata = told.3.lock().unwrap().clone().filter(|_| request.contains("/.well-known/"));
                *told.2.lock().unwrap() = request;
                told.1.send_modify(|asked| *asked += 1);
                let answer = metadata.unwrap_or_else(|| told.0.lock().unwrap().clone());
                // Who has had enough hangs up.
                drop(socket.write_all(answer.as_bytes()).await);
            }
        }));
        (script, url)
    }

    fn say(&self, status: &str, headers: &str, body: &str) {
        *self.0.lock().unwrap() = answer(status, headers, body);
    }

    fn say_of_itself(&self, status: &str, headers: &str, body: &str) {
        *self.3.lock().unwrap() = Some(answer(status, headers, body));
    }

    fn asked(&self) -> usize {
        *self.1.borrow()
    }

    fn last_request(&self) -> String {
        self.2.lock().unwrap().clone()
    }
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}")
}

struct World {
    updates: mpsc::Receiver<KeyUpdate>,
    wishes: mpsc::Sender<Wish>,
    status: watch::Receiver<KeyStatus>,
    metrics: Metrics,
    task: tokio::task::JoinHandle<()>,
}

impl World {
    fn start(source: KeySource, freshness: Freshness) -> Self {
        Self::start_with(source, freshness, (Document::Jwks, None))
    }

    fn start_with(
        source: KeySource,
        freshness: Freshness,
        (document, last_good): (Document, Option<LastGood>),
    ) -> Self {
        let (updates_in, updates) = mpsc::channel(4);
        let (wishes, wished) = mpsc::channel(4);
        let (issuer, status, metrics) = issuer(3, source, freshness);
        let issuer = IssuerKeys { document, last_good, ..issuer };
        let task = tokio::spawn(run(vec![issuer], Arc::new(SystemClock::new()), updates_in, wished));
        Self { updates, wishes, status, metrics, task }
    }

    async fn keys(&mut self) -> Option<Arc<KeySet>> {
        let update = tokio::time::timeout(PATIENCE, self.updates.recv()).await.unwrap().unwrap();
        assert_eq!(update.issuer, 3);
        update.keys
    }

    async fn status(&mut self, mut wanted: impl FnMut(&SourceStatus) -> bool) -> SourceStatus {
        let found = self.status.wait_for(|status| wanted(&status.source));
        tokio::time::timeout(PATIENCE, found).await.unwrap().unwrap().source.clone()
    }

    fn metric(&self, series: &str) -> f64 {
        let text = self.metrics.encode();
        let line = text.lines().find(|line| line.starts_with(series));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_else(|| panic!("{text}"))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn issuer(
    place: usize,
    source: KeySource,
    freshness: Freshness,
) -> (IssuerKeys, watch::Receiver<KeyStatus>, Metrics) {
    let metrics = Metrics::new(&MetricsPlan { version: "1", started_unix_s: 1, reasons: &[] });
    metrics.keys.issuers(&[ISSUER]);
    let starting = KeyStatus { source: SourceStatus::Starting, valid_until: None };
    let (status, seen) = watch::channel(starting);
    let issuer = IssuerKeys {
        issuer: place,
        name: ISSUER.to_owned(),
        source,
        document: Document::Jwks,
        freshness,
        last_good: None,
        status,
        metrics: metrics.keys.clone(),
    };
    (issuer, seen, metrics)
}

fn fetcher() -> Fetcher {
    #[derive(Debug)]
    struct Time;
    impl rustls::time_provider::TimeProvider for Time {
        fn current_time(&self) -> Option<UnixTime> {
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

fn lacks_a_key(issuer: usize) -> Wish {
    Wish { issuer, without_keys: false }
}

fn lazy() -> Freshness {
    Freshness { miss_interval: Duration::from_secs(3600), ..Freshness::default() }
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
    let freshness = Freshness { stale_max: Duration::from_secs(4), ..quick() };
    let mut world = World::start(url(&address), freshness);
    assert!(world.keys().await.is_some());
    for (status, body, reason) in [
        ("503 Service Unavailable", "", "answered 503"),
        ("302 Found", "", "answered 302"),
        ("200 OK", "{}", "no member `keys`"),
        ("200 OK", r#"{"keys":[]}"#, "none of the 0 keys"),
        ("200 OK", "<html>", "cannot be read"),
        ("200 HTML", "<html>", "`text/html`, which is no JSON"),
        ("200 OK", WEAK, "none of the 2 keys"),
        ("200 OK", &*" ".repeat(10 * 1024 * 1024), "more than 524288 bytes"),
    ] {
        let headers =
            if status.ends_with("HTML") { "content-type: text/html; charset=utf-8\r\n" } else { "" };
        server.say(status, headers, body);
        let stale = world
            .status(|now| matches!(now, SourceStatus::Stale { reason: told, .. } if told.contains(reason)))
            .await;
        let SourceStatus::Stale { reason: told, .. } = stale else { panic!() };
        assert!(!told.contains("secret"), "{told}");
    }
    let until = world.status.borrow().valid_until.unwrap().as_secs();
    assert!(until.abs_diff(SystemClock::new().unix_time().as_secs()) <= 10, "{until}");
    assert_eq!(world.keys().await, None);
    world.status(|now| matches!(now, SourceStatus::Failing(_))).await;
    assert_eq!(world.status.borrow().valid_until, None);
    assert_eq!(world.metric("postern_key_set_valid_until_timestamp_seconds{"), 0.0);
    let count = |result| {
        world.metric(&format!("postern_key_set_refreshes_total{{issuer=\"{ISSUER}\",result=\"{result}\"}}"))
    };
    assert!(count("loaded") >= 1.0 && count("unavailable") >= 2.0 && count("refused") >= 5.0);
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
    world.wishes.send(lacks_a_key(7)).await.unwrap();
    // From before the keys came.
    world.wishes.send(Wish { issuer: 3, without_keys: true }).await.unwrap();
    world.wishes.send(lacks_a_key(3)).await.unwrap();
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
        world.wishes.send(lacks_a_key(3)).await.unwrap();
        tokio::task::yield_now().await;
    }
    // The one at the start, the one that the first wish brings, and one an interval.
    let intervals = started.elapsed().as_millis() / 400;
    assert!(server.asked() as u128 <= 2 + intervals, "{} fetches", server.asked());
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
    assert_eq!(world.status.borrow().source, SourceStatus::Ready);
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

#[tokio::test]
async fn an_issuer_that_hangs_delays_no_other() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hanging = format!("http://{}/jwks", silent.local_addr().unwrap());
    let (server, address) = Script::start().await;
    server.say("200 OK", "content-type: application/jwk-set+json\r\n", KEYS_A);
    let (updates_in, mut updates) = mpsc::channel(4);
    let (wishes, wished) = mpsc::channel(4);
    let freshness = Freshness { timeout: Duration::from_secs(600), ..lazy() };
    let issuers = vec![issuer(0, url(&hanging), freshness).0, issuer(1, url(&address), freshness).0];
    let task = tokio::spawn(run(issuers, Arc::new(SystemClock::new()), updates_in, wished));
    let update = tokio::time::timeout(PATIENCE, updates.recv()).await.unwrap().unwrap();
    assert_eq!((update.issuer, update.keys), (1, set(KEYS_A)));
    server.say("200 OK", "", KEYS_B);
    // Wishes for the one that hangs wait in front of its own door.
    for _ in 0..8 {
        wishes.send(lacks_a_key(0)).await.unwrap();
    }
    wishes.send(lacks_a_key(1)).await.unwrap();
    let update = tokio::time::timeout(PATIENCE, updates.recv()).await.unwrap().unwrap();
    assert_eq!((update.issuer, update.keys), (1, set(KEYS_B)));
    task.abort();
}

fn discovery(address: &str) -> (String, KeySource) {
    let issuer = address.split("/jwks").next().unwrap().to_owned();
    let url = format!("{issuer}/.well-known/openid-configuration");
    (issuer.clone(), KeySource::Discovery { issuer, url, fetcher: fetcher() })
}

#[tokio::test]
async fn an_issuer_says_itself_where_its_keys_are() {
    let (server, address) = Script::start().await;
    let (issuer, source) = discovery(&address);
    let metadata = |issuer: &str, keys: &str| format!(r#"{{"issuer":"{issuer}","jwks_uri":"{keys}"}}"#);
    let (elsewhere, moved) = Script::start().await;
    server.say("200 OK", "", KEYS_A);
    elsewhere.say("200 OK", "", KEYS_B);
    server.say_of_itself("200 OK", "content-type: application/json\r\n", &metadata(&issuer, &address));
    let mut world = World::start(source, quick());
    assert_eq!(world.keys().await, set(KEYS_A));
    for (status, headers, body, reason) in [
        ("200 OK", "", metadata(&format!("{issuer}/"), &address), "are those of the issuer"),
        ("200 OK", "", metadata("https://evil.example", &address), "`https://evil.example`"),
        ("200 OK", "", format!(r#"{{"issuer":"{issuer}"}}"#), "no `jwks_uri`"),
        ("200 OK", "", metadata(&issuer, "ftp://127.0.0.1/k"), "scheme `ftp`"),
        ("200 OK", "", metadata(&issuer, "http://192.0.2.1/k"), "beyond loopback"),
        ("200 OK", "", "<html>".to_owned(), "cannot be read"),
        ("200 OK", "", " ".repeat(129 * 1024), "more than 131072 bytes"),
        ("200 OK", "content-type: text/html\r\n", metadata(&issuer, &address), "no JSON"),
        ("302 Found", &*format!("location: {moved}\r\n"), String::new(), "answered 302"),
        ("404 Not Found", "", String::new(), "answered 404"),
    ] {
        server.say_of_itself(status, headers, &body);
        world
            .status(|now| matches!(now, SourceStatus::Stale { reason: told, .. } if told.contains(reason)))
            .await;
    }
    assert_eq!(elsewhere.asked(), 0, "a redirect was followed");
    server.say_of_itself("200 OK", "", &metadata(&issuer, &moved));
    assert_eq!(world.keys().await, set(KEYS_B));
}

#[tokio::test]
async fn the_keys_of_the_last_run_serve_until_they_are_too_old() {
    let folder = tempfile::tempdir().unwrap();
    let (server, address) = Script::start().await;
    server.say("200 OK", "", KEYS_A);
    let place = || LastGood::new(folder.path(), ISSUER, &address);
    let mut first = World::start_with(url(&address), quick(), (Document::Jwks, Some(place())));
    assert_eq!(first.keys().await, set(KEYS_A));
    let now = SystemClock::new().unix_time();
    let kept = |age_max| place().load(now, age_max).ok().flatten();
    first.status(|now| *now == SourceStatus::Ready).await;
    let look = async {
        while kept(Duration::from_secs(60)).is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.unwrap();
    drop(first);

    server.say("503 Service Unavailable", "", "");
    let mut offline = World::start_with(url(&address), quick(), (Document::Jwks, Some(place())));
    assert_eq!(offline.keys().await, set(KEYS_A));
    offline
        .status(|now| matches!(now, SourceStatus::Stale { reason, .. } if reason.contains("answered 503")))
        .await;
    let until = offline.status.borrow().valid_until.unwrap().as_secs();
    assert!(until <= now.as_secs() + 24 * 3600 + 1, "their age begins when they were fetched: {until}");
    server.say("200 OK", "", KEYS_B);
    assert_eq!(offline.keys().await, set(KEYS_B));
    drop(offline);

    // Of a day ago.
    let long_ago = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs() - 24 * 3600));
    place().store(&Kept { document: KEYS_A.into(), fetched_at: long_ago }).unwrap();
    check_not_taken(&server, &address, place()).await;
    // Nothing that verifies a token.
    place().store(&Kept { document: b"{}".to_vec(), fetched_at: now }).unwrap();
    check_not_taken(&server, &address, place()).await;
}

/// With a server that is down: the first keys are those that it has when it is back.
async fn check_not_taken(server: &Script, address: &str, place: LastGood) {
    server.say("503 Service Unavailable", "", "");
    let mut world = World::start_with(url(address), quick(), (Document::Jwks, Some(place)));
    world.status(|now| matches!(now, SourceStatus::Failing(_))).await;
    server.say("200 OK", "", KEYS_B);
    assert_eq!(world.keys().await, set(KEYS_B));
}

#[tokio::test]
async fn the_keys_of_the_last_run_grow_old_while_the_server_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let (server, address) = Script::start().await;
    server.say("503 Service Unavailable", "", "");
    let place = LastGood::new(folder.path(), ISSUER, &address);
    let now = SystemClock::new().unix_time().as_secs();
    let fetched_at = UnixTime::since_unix_epoch(Duration::from_secs(now - 97));
    place.store(&Kept { document: KEYS_A.into(), fetched_at }).unwrap();
    let freshness = Freshness { stale_max: Duration::from_secs(100), ..quick() };
    let mut world = World::start_with(url(&address), freshness, (Document::Jwks, Some(place)));
    assert_eq!(world.keys().await, set(KEYS_A));
    assert_eq!(world.keys().await, None);
}

#[tokio::test]
async fn a_trust_domains_keys_are_those_of_its_bundle() {
    let (server, address) = Script::start().await;
    let bundle = KEYS_A.replacen(r#""kid""#, r#""use":"jwt-svid","kid""#, 1);
    server.say("200 OK", "", &bundle);
    let mut world = World::start_with(url(&address), quick(), (Document::SpiffeBundle, None));
    assert_eq!(world.keys().await, set(KEYS_A));
    // A bundle may lose its last authority, and then verifies nothing (Trust_Domain_and_Bundle §4.1.3).
    server.say("200 OK", "", KEYS_A);
    assert_eq!(world.keys().await.map(|keys| keys.len()), Some(0));
}
