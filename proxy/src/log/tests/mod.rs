mod beside;
mod crash;
mod fake;
mod faults;
mod kill;

use super::*;
use crate::recorder::{Caller, Draft, Recorder};
use fake::{FakeDisk, FakeFiles};
use postern_audit::{Cache, Decision, Ed25519Signer, Effect, Report, signer_from_pem, verify};
use std::{
    path::Path,
    rc::Rc,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

const DIRECTORY: &str = "/log";
const ORIGIN: &str = "example.org/pay";

/// One key for all logs of these tests: a log that is opened again must know who signed it.
fn signer() -> Box<dyn Signer> {
    static KEY: OnceLock<String> = OnceLock::new();
    let pem = KEY.get_or_init(|| include_str!("key.pem").to_owned());
    signer_from_pem(pem.as_bytes()).unwrap()
}

fn surroundings(files: Arc<dyn FileOps>) -> Surroundings {
    static TIME: AtomicU64 = AtomicU64::new(1_795_400_552_000_000_000);
    let tick = || TIME.fetch_add(1_000_003, Ordering::Relaxed);
    let clock = move || {
        let now = tick();
        Now { unix_ns: now, mono_ns: now }
    };
    Surroundings { clock: Arc::new(clock), random: Arc::new(move || u128::from(tick())), files }
}

fn config() -> LogConfig {
    let mut config = LogConfig::new(DIRECTORY.into(), ORIGIN.to_owned(), 1);
    config.ring_bytes = 256 * 1024;
    config.connection_ring_bytes = 16 * 1024;
    config.commit_interval_ms = 1;
    config.checkpoint_interval_ms = 5;
    config.segment_bytes_max = 8 * 1024;
    config
}

fn open(disk: &FakeDisk, config: LogConfig) -> Result<(Log, Recorder), LogError> {
    let (log, seats) = Log::open(config, surroundings(Arc::new(disk.clone())), signer())?;
    Ok((log, seats.into_iter().next().unwrap().take()))
}

fn caller(peer: &str) -> Rc<Caller> {
    let id = Id::new(1, 1);
    Caller::new(id, "10.1.2.3:5000".parse().unwrap(), Some(Arc::from(peer)))
}

fn allow() -> Decision<'static> {
    Decision {
        method: "GET",
        path: "/accounts/42",
        effect: Effect::Allow,
        reason: "policy.allowed",
        rules: &["bank.read"],
        cache: Cache::Miss,
        ..Decision::default()
    }
}

fn keys() -> Vec<(String, VerifyingKey)> {
    vec![("".to_owned(), signer().verifying_key().clone())]
}

/// Verifies the log of a fake disk with the key under the name it chose.
fn report(disk: &FakeDisk) -> Report {
    let path = Path::new(DIRECTORY);
    let mut description = String::new();
    disk.read(&path.join("log.json")).unwrap().read_to_string(&mut description).unwrap();
    let description: serde_json::Value = serde_json::from_str(&description).unwrap();
    let origin = description["origin"].as_str().unwrap().to_owned();
    let keys: Vec<_> = keys().into_iter().map(|(_, key)| (origin.clone(), key)).collect();
    verify(&FakeFiles(disk, path), &keys, None)
}

/// The lines of the log, in order.
fn lines(disk: &FakeDisk) -> Vec<serde_json::Value> {
    use postern_audit::Files as _;
    let files = FakeFiles(disk, Path::new(DIRECTORY));
    let mut lines = Vec::new();
    for first in files.segments().unwrap() {
        let mut text = String::new();
        files.records(first).unwrap().read_to_string(&mut text).unwrap();
        lines.extend(text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()));
    }
    lines
}

fn kinds_of(disk: &FakeDisk, id: &str) -> Vec<String> {
    let lines = lines(disk);
    let of_id = lines.iter().filter(|line| line["id"] == id);
    of_id.map(|line| line["kind"].as_str().unwrap().to_owned()).collect()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// Waits until the writer thread got somewhere; fails when it does not within ten seconds.
fn until(what: &str, done: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if done() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    panic!("not within ten seconds: {what}");
}

fn decide(recorder: &Recorder) -> (String, Draft, Filed) {
    let mut draft = recorder.open_exchange(&caller("spiffe://example.org/web")).unwrap();
    let filed = draft.file_decision(&allow());
    (draft.id().to_owned(), draft, filed)
}

#[test]
fn an_exchange_is_two_records_of_one_id_and_the_log_is_whole() {
    let disk = FakeDisk::default();
    let (log, recorder) = open(&disk, config()).unwrap();
    let (id, mut draft, _) = decide(&recorder);
    draft.outcome_mut().status = 200;
    draft.outcome_mut().end = Some(postern_audit::End::Done);
    drop(draft);
    drop(recorder);
    log.shutdown().unwrap();
    assert_eq!(kinds_of(&disk, &id), ["decision", "outcome"]);
    let kinds: Vec<_> = lines(&disk).iter().map(|line| line["kind"].as_str().unwrap().to_owned()).collect();
    assert_eq!(kinds, ["start", "key", "decision", "outcome", "stop"]);
    let report = report(&disk);
    assert_eq!((report.class, report.unsigned_records), (postern_audit::Class::Whole, 0), "{report:#?}");
}

#[test]
fn an_exchange_that_was_never_decided_is_recorded_with_its_caller() {
    let disk = FakeDisk::default();
    let (log, recorder) = open(&disk, config()).unwrap();
    let draft = recorder.open_exchange(&caller("spiffe://example.org/web")).unwrap();
    let id = draft.id().to_owned();
    drop(draft);
    drop(recorder);
    log.shutdown().unwrap();
    let lines = lines(&disk);
    let decision = lines.iter().find(|line| line["id"] == id.as_str()).unwrap();
    assert_eq!(decision["decision"], "none");
    assert_eq!(decision["peer"], "spiffe://example.org/web");
    assert_eq!(decision["src"], "10.1.2.3:5000");
    assert_eq!(kinds_of(&disk, &id), ["decision", "outcome"]);
}

#[test]
fn a_panicking_exchange_says_so() {
    let disk = FakeDisk::default();
    let (log, recorder) = open(&disk, config()).unwrap();
    let (id, draft, _) = decide(&recorder);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _draft = draft;
        panic!("a fault in a handler");
    }));
    assert!(panicked.is_err());
    drop(recorder);
    log.shutdown().unwrap();
    let lines = lines(&disk);
    let outcome = lines.iter().find(|line| line["id"] == id.as_str() && line["kind"] == "outcome").unwrap();
    assert_eq!(outcome["end"], "panic");
}

#[test]
fn many_exchanges_fill_many_segments_and_a_second_run_goes_on() {
    let disk = FakeDisk::default();
    let mut ids = Vec::new();
    for run in 0..3 {
        let (log, recorder) = open(&disk, config()).unwrap();
        for _ in 0..100 {
            let (id, draft, filed) = decide(&recorder);
            if ids.len() % 10 == 0 {
                block_on(draft.durable(filed)).unwrap();
            }
            ids.push(id);
        }
        drop(recorder);
        log.shutdown().unwrap();
        let report = report(&disk);
        assert_eq!(report.class, postern_audit::Class::Whole, "run {run}: {report:#?}");
        assert_eq!(report.allowed, (run + 1) * 100);
    }
    assert!(report(&disk).segments > 10);
    assert!(ids.iter().all(|id| kinds_of(&disk, id).len() == 2));
}

#[test]
fn a_refused_connection_is_recorded_and_a_flood_of_them_is_summed_up() {
    let disk = FakeDisk::default();
    let (log, recorder) = open(&disk, config()).unwrap();
    let source = "192.0.2.7:999".parse().unwrap();
    let end = postern_audit::ConnectionEnd {
        listener: "app",
        source,
        tls: postern_audit::Tls::AsAsked,
        peer: "",
        sni: "",
        reason: "tls.no_certificate",
        detail: "",
        protocol_errors: &[],
        exchanges: 0,
        duration_ns: 0,
    };
    for _ in 0..1000 {
        recorder.open_connection(source).unwrap().file(&end);
    }
    recorder.open_connection(source).unwrap().served();
    drop(recorder.open_connection(source).unwrap());
    drop(recorder);
    log.shutdown().unwrap();
    let lines = lines(&disk);
    let single = lines.iter().filter(|line| line["kind"] == "conn").count() as u64;
    let sum = |key: &str| -> u64 { lines.iter().filter_map(|line| line["reasons"][key].as_u64()).sum() };
    assert!(single >= 16, "{single}");
    assert_eq!(single + sum("tls.no_certificate"), 1000);
    assert_eq!(sum("conn.abandoned"), 1);
    assert_eq!(report(&disk).class, postern_audit::Class::Whole);
}

#[test]
fn two_processes_do_not_write_one_log() {
    let disk = FakeDisk::default();
    let (_log, _recorder) = open(&disk, config()).unwrap();
    assert!(matches!(open(&disk, config()).map(|_| ()), Err(LogError::InUse(_))));
}

#[test]
fn another_key_is_refused_unless_the_earlier_one_is_named() {
    let disk = FakeDisk::default();
    drop(open(&disk, config()).unwrap());
    let open_with = |config: LogConfig| {
        let other = Box::new(Ed25519Signer::generate().unwrap());
        Log::open(config, surroundings(Arc::new(disk.clone())), other).map(|_| ())
    };
    assert!(matches!(open_with(config()), Err(LogError::Checkpoint(_))));
    let mut knows = config();
    knows.previous_keys = vec![signer().verifying_key().clone()];
    assert!(open_with(knows).is_ok());
}
