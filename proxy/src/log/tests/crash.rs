//! The process dies, or the power goes, at every single call that changes a file.
use super::{fake::*, *};
use postern_audit::Class;

/// What a run promised before it died.
#[derive(Default)]
struct Promised {
    filed: Vec<String>,
    durable: Vec<String>,
}

/// Twelve exchanges, each third waited for, until the log refuses.
fn run(disk: &FakeDisk) -> Promised {
    let mut promised = Promised::default();
    let Ok((log, recorder)) = open(disk, config()) else { return promised };
    for at in 0..12 {
        let Ok(mut draft) = recorder.open_exchange(&caller("spiffe://example.org/web")) else { break };
        let filed = draft.file_decision(&allow());
        promised.filed.push(draft.id().to_owned());
        if at % 3 == 0 && block_on(draft.durable(filed)).is_ok() {
            promised.durable.push(draft.id().to_owned());
        }
    }
    drop(recorder);
    drop(log);
    promised
}

/// Opens what a dead process left, and closes it properly.
fn recover(disk: &FakeDisk) -> Report {
    let (log, recorder) = open(disk, config()).unwrap();
    drop(recorder);
    log.shutdown().unwrap();
    report(disk)
}

fn calls_of_a_whole_run() -> usize {
    let disk = FakeDisk::default();
    run(&disk);
    disk.calls()
}

#[test]
fn no_filed_record_is_lost_wherever_the_process_dies() {
    for at in 0..calls_of_a_whole_run() + 4 {
        let disk = FakeDisk::with(Fault::DieAt(at));
        let promised = run(&disk);
        let disk = disk.after_process_death();
        let report = recover(&disk);
        assert_eq!(report.class, Class::Whole, "died at call {at}: {report:#?}");
        for id in &promised.filed {
            assert_eq!(kinds_of(&disk, id), ["decision", "outcome"], "died at call {at}");
        }
    }
}

#[test]
fn no_durable_record_is_lost_wherever_the_power_goes() {
    for at in 0..calls_of_a_whole_run() + 4 {
        for unsynced in [Unsynced::Lost, Unsynced::Half, Unsynced::Kept] {
            let disk = FakeDisk::with(Fault::DieAt(at));
            let promised = run(&disk);
            let disk = disk.after_power_loss(unsynced);
            let report = recover(&disk);
            assert!(
                matches!(report.class, Class::Whole | Class::WholeWithGaps),
                "at call {at}, {unsynced:?}: {report:#?}"
            );
            for id in &promised.durable {
                assert!(kinds_of(&disk, id).contains(&"decision".to_owned()), "at call {at}, {unsynced:?}");
            }
        }
    }
}

#[test]
fn a_process_that_dies_while_recovering_loses_nothing_either() {
    let disk = FakeDisk::with(Fault::DieAt(30));
    let promised = run(&disk);
    for at in 0..30 {
        let disk = disk.after_process_death();
        disk.set(Fault::DieAt(at));
        run(&disk);
        let disk = disk.after_process_death();
        let report = recover(&disk);
        assert_eq!(report.class, Class::Whole, "died at call {at}: {report:#?}");
        for id in &promised.filed {
            assert_eq!(kinds_of(&disk, id), ["decision", "outcome"], "died at call {at}");
        }
    }
}

#[test]
fn a_log_that_was_changed_while_nobody_wrote_is_not_continued() {
    let check = |tamper: &dyn Fn(&FakeDisk), expected: &dyn Fn(&LogError) -> bool| {
        let disk = FakeDisk::default();
        run(&disk);
        tamper(&disk);
        let error = open(&disk, config()).map(|_| ()).unwrap_err();
        assert!(expected(&error), "{error}");
    };
    let segment = |disk: &FakeDisk, last: bool| {
        let mut paths = disk.paths();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
        if last { paths.pop().unwrap() } else { paths.remove(0) }
    };
    check(&|disk| disk.edit(&segment(disk, true), |bytes| bytes[20] ^= 1), &|error| {
        matches!(error, LogError::Rewritten { .. } | LogError::Damaged { .. })
    });
    check(&|disk| disk.edit(&segment(disk, true), |bytes| bytes.truncate(bytes.len() - 10)), &|error| {
        matches!(error, LogError::Damaged { .. })
    });
    check(
        &|disk| {
            disk.edit(&segment(disk, true), |bytes| {
                let end = bytes[..bytes.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap();
                bytes.truncate(end + 1);
            });
        },
        &|error| matches!(error, LogError::Short { .. }),
    );
    check(&|disk| disk.forget(&Path::new(DIRECTORY).join("checkpoints.log")), &|error| {
        matches!(error, LogError::Unsigned)
    });
    check(&|disk| disk.forget(&Path::new(DIRECTORY).join("log.json")), &|error| {
        matches!(error, LogError::Description(_))
    });
    check(
        &|disk| {
            disk.edit(&Path::new(DIRECTORY).join("checkpoints.log"), |bytes| {
                let at = bytes.len() - 60;
                bytes[at] ^= 1;
            });
        },
        &|error| matches!(error, LogError::Checkpoint(_)),
    );
}
