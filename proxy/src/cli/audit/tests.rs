use super::*;
use crate::cli::tests::check_unread;
use crate::log::{Disk, Log, LogConfig, Now, Surroundings};
use crate::recorder::Caller;
use clap::Parser;
use postern_audit::{Decision, Ed25519Signer, Effect, Signer as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

/// Runs a command; gives its exit code and what it printed.
fn check(args: &[&str]) -> (u8, String) {
    let cli = Cli::try_parse_from(["audit"].iter().chain(args)).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = run(&cli.args, &mut out, &mut err);
    (code, String::from_utf8([out, err].concat()).unwrap())
}

/// A closed log of five decisions; gives their ids and a file with its verifier key.
fn log() -> (tempfile::TempDir, Vec<String>, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let time = AtomicU64::new(1_795_400_552_000_000_000);
    let tick = Arc::new(move || time.fetch_add(1_000_003, Ordering::Relaxed));
    let clock = tick.clone();
    let surroundings = Surroundings {
        clock: Arc::new(move || {
            let now = clock();
            Now { unix_ns: now, mono_ns: now }
        }),
        random: Arc::new(move || u128::from(tick())),
        files: Arc::new(Disk),
    };
    let mut config = LogConfig::new(directory.path().join("log"), "example.org/pay".to_owned(), 1);
    config.ring_bytes = 256 * 1024;
    config.ballast_bytes = 0;
    let signer = Ed25519Signer::generate().unwrap();
    let key = directory.path().join("audit.pub");
    let public = signer.verifying_key().clone();
    let (log, seats) = Log::open(config, surroundings, Box::new(signer)).unwrap();
    fs::write(&key, public.to_vkey(log.origin().as_str())).unwrap();
    let recorder = seats.into_iter().next().unwrap().take();
    let connection = recorder.open_connection("10.1.2.3:5".parse().unwrap()).unwrap();
    let caller =
        Caller::new(connection.id(), "10.1.2.3:5".parse().unwrap(), Some("spiffe://example.org/web".into()));
    let decide = |_| {
        let mut draft = recorder.open_exchange(&caller).unwrap();
        draft.file_decision(&Decision {
            effect: Effect::Deny,
            method: "GET",
            path: "/secret",
            ..Decision::default()
        });
        draft.id().to_owned()
    };
    let ids = (0..5).map(decide).collect();
    connection.served();
    drop(recorder);
    log.shutdown().unwrap();
    (directory, ids, key)
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_whole_log_verifies_with_its_key_and_with_the_one_beside_it() {
    let (directory, _, key) = log();
    let log = directory.path().join("log");
    let (code, out) = check(&["verify", path(&log), "--key", path(&key)]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("WHOLE   exit 0") && out.contains("5 denied"), "{out}");
    assert_eq!(check(&["verify", path(&log)]).0, 0);
    let (code, out) = check(&["verify", path(&log), "--json"]);
    assert_eq!(
        (code, serde_json::from_str::<serde_json::Value>(&out).unwrap()["class"].as_str()),
        (0, Some("whole"))
    );
}

#[test]
fn a_changed_record_is_named_with_exit_code_4() {
    let (directory, _, key) = log();
    let log = directory.path().join("log");
    let segment = log.join("seg/00000000000000000000.jsonl");
    let text = fs::read_to_string(&segment).unwrap().replacen("\"deny\"", "\"allo\"", 1);
    fs::write(&segment, text).unwrap();
    let (code, out) = check(&["verify", path(&log), "--key", path(&key)]);
    assert_eq!(code, 4, "{out}");
    assert!(
        out.contains("record 2 is not the one that was logged (seg/00000000000000000000.jsonl line 3)"),
        "{out}"
    );
}

#[test]
fn a_stranger_s_key_and_no_log_at_all_cannot_tell() {
    let ((directory, _, _), (_other, _, key)) = (log(), log());
    let log = directory.path().join("log");
    assert_eq!(check(&["verify", path(&log), "--key", path(&key)]).0, 5);
    let (code, out) = check(&["verify", path(directory.path())]);
    assert_eq!(code, 5);
    assert!(out.contains("is no audit log"), "{out}");
}

#[test]
fn a_decision_is_proved_to_who_has_only_the_key() {
    let (directory, ids, key) = log();
    let log = directory.path().join("log");
    let proof = directory.path().join("decision.tlog-proof");
    for id in &ids {
        let (code, text) = check(&["prove", id, path(&log)]);
        assert_eq!(code, 0, "{text}");
        fs::write(&proof, &text).unwrap();
        let (code, out) = check(&["verify-proof", path(&proof), "--key", path(&key)]);
        assert_eq!(code, 0, "{out}");
        assert!(out.contains(id) && out.starts_with("proved: record "), "{out}");
        fs::write(&proof, text.replacen("index ", "index 1", 1)).unwrap();
        assert_eq!(check(&["verify-proof", path(&proof), "--key", path(&key)]).0, 4);
    }
    let (code, out) = check(&["prove", "01JDCXYQ1VJ8V6E4M3Z9K7T2WB", path(&log)]);
    assert_eq!(code, 5, "{out}");
}

#[test]
fn an_earlier_checkpoint_is_the_beginning_of_this_log_and_of_no_other() {
    let ((directory, ..), (other, ..)) = (log(), log());
    let log = directory.path().join("log");
    let notes = fs::read_to_string(log.join("checkpoints.log")).unwrap();
    let first: String = notes.split_inclusive("\n\n").take(2).collect();
    let earlier = directory.path().join("earlier");
    fs::write(&earlier, first.strip_suffix('\n').unwrap()).unwrap();
    let (code, out) = check(&["consistency", path(&earlier), path(&log)]);
    assert_eq!(code, 0, "{out}");
    assert_eq!(check(&["consistency", path(&earlier), path(&other.path().join("log"))]).0, 5);
}

#[test]
fn records_are_printed_whole_or_in_a_line() {
    let (directory, ids, _) = log();
    let log = directory.path().join("log");
    let (code, out) = check(&["inspect", path(&log), "--id", &ids[3]]);
    assert_eq!((code, out.lines().count()), (0, 2), "{out}");
    assert!(out.contains("deny  spiffe://example.org/web GET /secret"), "{out}");
    let (_, out) = check(&["inspect", path(&log), "--last", "3", "--json"]);
    let kinds: Vec<_> = out
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["kind"].clone())
        .collect();
    assert_eq!(kinds, ["decision", "outcome", "stop"], "{out}");
    let newest = records_of(Some(&log), "last").unwrap();
    assert!(String::from_utf8_lossy(&newest[0].1).contains(&ids[4]));
}

#[test]
fn a_verdict_stays_when_its_reader_goes_away() {
    let ((directory, ids, key), (_other, _, stranger)) = (log(), log());
    let log = directory.path().join("log");
    let (at, key) = (path(&log), path(&key));
    check_unread(&["audit", "verify", at, "--key", key], 0);
    check_unread(&["audit", "verify", at, "--json"], 0);
    check_unread(&["audit", "verify", at, "--key", path(&stranger)], 5);
    check_unread(&["audit", "inspect", at], 0);
    check_unread(&["audit", "prove", &ids[0], at], 0);
    check_unread(&["why", "last", "--dir", at], 0);
    check_unread(&["why", &ids[0], "--dir", at, "--json"], 0);
    let segment = log.join("seg/00000000000000000000.jsonl");
    let text = fs::read_to_string(&segment).unwrap().replacen("\"deny\"", "\"allo\"", 1);
    fs::write(&segment, text).unwrap();
    check_unread(&["audit", "verify", at, "--key", key], 4);
}
