//! Two processes, one directory: two logs, and never two writers of one.
use super::*;
use crate::log::beside::{self, Company, places};

/// A process that writes, opened over the same directory as the others.
struct Process {
    log: Log,
    recorder: Recorder,
}

impl Process {
    fn start(config: &LogConfig, company: Company) -> Result<Self, LogError> {
        let surroundings = || surroundings(Arc::new(Disk));
        let (log, seats) = beside::open(config, surroundings, || Ok::<_, LogError>(signer()), company)?;
        Ok(Self { log, recorder: seats.into_iter().next().unwrap().take() })
    }

    fn decide(&self) -> String {
        let mut draft = self.recorder.open_exchange(&caller("spiffe://example.org/web")).unwrap();
        draft.file_decision(&allow());
        draft.id().to_owned()
    }

    fn stop(self) {
        drop(self.recorder);
        self.log.shutdown().unwrap();
    }
}

fn directory() -> (tempfile::TempDir, LogConfig) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config();
    config.directory = folder.path().join("audit");
    config.ballast_bytes = 0;
    (folder, config)
}

/// Each log of the directory is whole, and each id is in as many of them as is said.
fn check(config: &LogConfig, logs: usize, ids: &[&str]) {
    let begun: Vec<_> = places(&config.directory).filter(|place| place.join("seg").is_dir()).collect();
    assert_eq!(begun.len(), logs, "{begun:?}");
    let mut text = String::new();
    for place in begun {
        let files = DirectoryFiles::open(&place).unwrap();
        let report = verify(&files, &files.keys().unwrap(), None);
        assert_eq!(report.class, postern_audit::Class::Whole, "{}: {report:#?}", place.display());
        for first in postern_audit::Files::segments(&files).unwrap() {
            postern_audit::Files::records(&files, first).unwrap().read_to_string(&mut text).unwrap();
        }
    }
    for id in ids {
        let decided = text.lines().filter(|line| line.contains(id) && line.contains(r#""kind":"decision""#));
        assert_eq!(decided.count(), 1, "{id}");
    }
}

#[test]
fn a_process_that_replaces_another_writes_a_log_of_its_own_until_both_have_ended() {
    let (_folder, config) = directory();
    let old = Process::start(&config, Company::Alone).unwrap();
    let before = old.decide();
    let new = Process::start(&config, Company::Beside).unwrap();
    let (late, early) = (old.decide(), new.decide());
    assert_ne!(old.log.origin(), new.log.origin(), "a name stands for one tree");
    old.stop();
    // The first place is free again, and is where the third one writes.
    let third = Process::start(&config, Company::Beside).unwrap();
    let last = third.decide();
    new.stop();
    third.stop();
    check(&config, 2, &[&before, &late, &early, &last]);
}

#[test]
fn a_process_that_is_to_be_alone_does_not_start_beside_one_that_writes_anywhere() {
    let (_folder, config) = directory();
    let old = Process::start(&config, Company::Alone).unwrap();
    let refused = Process::start(&config, Company::Alone).map(|_| ()).unwrap_err();
    assert!(matches!(refused, LogError::InUse(_)), "{refused}");
    let new = Process::start(&config, Company::Beside).unwrap();
    old.stop();
    let refused = Process::start(&config, Company::Alone).map(|_| ()).unwrap_err();
    assert!(matches!(refused, LogError::InUse(_)), "{refused}");
    new.stop();
    check(&config, 2, &[]);
}

#[test]
fn what_a_process_left_in_a_log_beside_is_written_there_by_the_next_start() {
    let (folder, config) = directory();
    let old = Process::start(&config, Company::Alone).unwrap();
    let new = Process::start(&config, Company::Beside).unwrap();
    let filed = new.decide();
    // As after a death of the process: the files as they are, and nobody who has the lock.
    let copy = folder.path().join("copy");
    let copied = std::process::Command::new("cp").arg("-r").arg(&config.directory).arg(&copy).status();
    assert!(copied.unwrap().success());
    new.stop();
    old.stop();
    let config = LogConfig { directory: copy, ..config };
    Process::start(&config, Company::Alone).unwrap().stop();
    check(&config, 2, &[&filed]);
    let records = |config: &LogConfig| {
        let files = DirectoryFiles::open(&places(&config.directory).nth(1).unwrap()).unwrap();
        verify(&files, &files.keys().unwrap(), None).records
    };
    let settled = records(&config);
    Process::start(&config, Company::Alone).unwrap().stop();
    assert_eq!(records(&config), settled, "a log that has ended is left alone");
}
