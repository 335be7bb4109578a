//! SIGKILL at any moment, with real files and a real process.
use super::*;
use postern_audit::Class;
use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
};

const CHILD: &str = "POSTERN_LOG_KILL_CHILD";

fn real_config(directory: &Path) -> LogConfig {
    LogConfig { directory: directory.to_owned(), ballast_bytes: 0, segment_bytes_max: 64 * 1024, ..config() }
}

fn open_real(directory: &Path) -> (Log, Recorder) {
    let (log, seats) = Log::open(real_config(directory), surroundings(Arc::new(Disk)), signer()).unwrap();
    (log, seats.into_iter().next().unwrap().take())
}

/// Runs only as the child of the tests below: files exchanges for ever, and names each after it was filed.
#[test]
fn child_that_files_until_it_is_killed() {
    let Some(directory) = std::env::var_os(CHILD) else { return };
    let (_log, recorder) = open_real(Path::new(&directory));
    let caller = caller("spiffe://example.org/web");
    let mut out = std::io::stdout();
    loop {
        let draft = block_on(recorder.open_exchange_within(&caller, std::future::pending()));
        let mut draft = draft.unwrap();
        draft.file_decision(&allow());
        writeln!(out, "filed {}", draft.id()).unwrap();
        out.flush().unwrap();
    }
}

fn kill_times(times: usize) {
    let directory = tempfile::tempdir().unwrap();
    let mut filed = Vec::new();
    for round in 0..times {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "log::tests::kill::child_that_files_until_it_is_killed"])
            .env(CHILD, directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut reader = BufReader::new(child.stdout.take().unwrap());
        // At another moment each time.
        let before = filed.len();
        let mut line = String::new();
        while filed.len() < before + 1 + (round * 37) % 211 {
            line.clear();
            assert_ne!(reader.read_line(&mut line).unwrap(), 0, "the child died by itself in round {round}");
            filed.extend(line.trim().strip_prefix("filed ").map(str::to_owned));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        for line in reader.lines().map_while(Result::ok).filter(|line| line.len() == 32) {
            filed.extend(line.strip_prefix("filed ").map(str::to_owned));
        }
    }
    let (log, recorder) = open_real(directory.path());
    drop(recorder);
    let origin = log.origin().to_string();
    log.shutdown().unwrap();
    let files = DirectoryFiles::open(directory.path()).unwrap();
    let keys: Vec<_> = keys().into_iter().map(|(_, key)| (origin.clone(), key)).collect();
    let report = verify(&files, &keys, None);
    assert_eq!(report.class, Class::Whole, "{report:#?}");
    let decisions = decisions(&files);
    let lost: Vec<_> = filed.iter().filter(|id| !decisions.contains(*id)).collect();
    assert!(lost.is_empty(), "{} of {} lost: {lost:?}", lost.len(), filed.len());
}

fn decisions(files: &DirectoryFiles) -> std::collections::HashSet<String> {
    use postern_audit::Files as _;
    let mut ids = std::collections::HashSet::new();
    for first in files.segments().unwrap() {
        for line in files.records(first).unwrap().lines() {
            let line: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
            if line["kind"] == "decision" {
                ids.insert(line["id"].as_str().unwrap().to_owned());
            }
        }
    }
    ids
}

#[test]
fn twenty_kills_lose_no_filed_decision() {
    kill_times(20);
}

#[test]
#[ignore = "minutes; tier 2"]
fn five_hundred_kills_lose_no_filed_decision() {
    kill_times(500);
}
