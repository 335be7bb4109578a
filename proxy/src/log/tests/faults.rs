//! A disk that fails or is full, and a ring that is.
use super::{fake::*, *};
use postern_audit::Class;

fn deny() -> Decision<'static> {
    Decision { effect: Effect::Deny, reason: "policy.denied", ..allow() }
}

/// Calls that opening a log takes.
fn calls_to_open() -> usize {
    let disk = FakeDisk::default();
    let (log, _recorder) = open(&disk, config()).unwrap();
    let calls = disk.calls();
    drop(log);
    calls
}

#[test]
fn a_sync_that_fails_once_is_survived_in_a_new_segment() {
    let disk = FakeDisk::default();
    let (log, recorder) = open(&disk, config()).unwrap();
    disk.set(Fault::SyncFails { from: 0, times: 1 });
    let (id, draft, filed) = decide(&recorder);
    block_on(draft.durable(filed)).unwrap();
    assert_eq!(log.handle().health().condition, Condition::Degraded);
    drop((draft, recorder));
    log.shutdown().unwrap();
    assert_eq!(kinds_of(&disk, &id), ["decision", "outcome"]);
    let report = report(&disk);
    assert_eq!((report.class, report.segments), (Class::Whole, 2), "{report:#?}");
}

#[test]
fn a_disk_that_keeps_failing_admits_nothing_and_tells_who_waits() {
    let disk = FakeDisk::default();
    let (log, recorder) = open(&disk, config()).unwrap();
    disk.set(Fault::SyncFails { from: 0, times: usize::MAX });
    let (_, draft, filed) = decide(&recorder);
    assert_eq!(block_on(draft.durable(filed)), Err(Unavailable::Log(Condition::DiskFailed)));
    let refused = recorder.open_exchange(&caller("spiffe://example.org/web")).map(|_| ());
    assert_eq!(refused, Err(Unavailable::Log(Condition::DiskFailed)));
    assert!(recorder.open_connection("192.0.2.1:1".parse().unwrap()).is_err());
    drop((draft, recorder));
    assert!(log.shutdown().is_err());
}

#[test]
fn a_full_disk_refuses_until_there_is_room_and_loses_nothing() {
    let disk = FakeDisk::default();
    let (log, recorder) = open(&disk, config()).unwrap();
    let handle = log.handle();
    disk.set(Fault::FullFrom(0));
    let (id, draft, filed) = decide(&recorder);
    assert_eq!(block_on(draft.durable(filed)), Err(Unavailable::Log(Condition::DiskFull)));
    disk.set(Fault::None);
    until("the log admits again", || handle.health().condition == Condition::Ok);
    block_on(draft.durable(filed)).unwrap();
    drop((draft, recorder));
    log.shutdown().unwrap();
    assert_eq!(kinds_of(&disk, &id), ["decision", "outcome"]);
    assert_eq!(report(&disk).class, Class::Whole);
}

#[test]
fn a_log_cannot_be_opened_on_a_disk_without_room() {
    for at in 0..calls_to_open() {
        assert!(open(&FakeDisk::with(Fault::FullFrom(at)), config()).is_err(), "{at}");
    }
}

#[test]
fn one_caller_cannot_fill_the_ring_for_all() {
    let disk = FakeDisk::default();
    let (log, recorder) = open(&disk, config()).unwrap();
    let (greedy, other) = (caller("spiffe://example.org/greedy"), caller("spiffe://example.org/other"));
    let mut held = Vec::new();
    let refused = loop {
        match recorder.open_exchange(&greedy) {
            Ok(draft) => held.push(draft),
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused, Unavailable::Share);
    assert!((2..=4).contains(&held.len()), "{}", held.len());
    let draft = recorder.open_exchange(&other).unwrap();
    drop((draft, held, recorder));
    log.shutdown().unwrap();
}

#[test]
fn callers_in_plain_text_cannot_fill_the_ring_from_however_many_addresses() {
    let disk = FakeDisk::default();
    let (log, recorder) = open(&disk, config()).unwrap();
    let mut held = Vec::new();
    let refused = loop {
        let source = format!("192.0.2.{}:5000", held.len()).parse().unwrap();
        match recorder.open_exchange(&Caller::in_plain_text(Id::new(1, 1), source)) {
            Ok(draft) => held.push(draft),
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused, Unavailable::Share);
    let draft = recorder.open_exchange(&caller("spiffe://example.org/web")).unwrap();
    drop((draft, held, recorder));
    log.shutdown().unwrap();
}

#[test]
fn a_decided_stream_holds_no_more_than_its_outcome() {
    let disk = FakeDisk::default();
    let (log, recorder) = open(&disk, config()).unwrap();
    let mut streams = Vec::new();
    for at in 0..100 {
        let caller = caller(&format!("spiffe://example.org/{}", at % 10));
        let mut draft = recorder.open_exchange(&caller).unwrap();
        let filed = draft.file_decision(&allow());
        block_on(draft.durable(filed)).unwrap();
        streams.push(draft);
    }
    drop((streams, recorder));
    log.shutdown().unwrap();
    assert_eq!(report(&disk).allowed, 100);
}

#[test]
fn who_waits_for_a_place_gets_it_when_it_is_there() {
    let disk = FakeDisk::default();
    let (log, recorder) = open(&disk, config()).unwrap();
    let caller = caller("spiffe://example.org/web");
    let mut held: Vec<_> = std::iter::from_fn(|| recorder.open_exchange(&caller).ok()).collect();
    let never = std::future::pending();
    let waiting = async { recorder.open_exchange_within(&caller, never).await.map(drop) };
    let freeing = async {
        let mut draft = held.pop().unwrap();
        let filed = draft.file_decision(&allow());
        draft.durable(filed).await.unwrap();
        drop(draft);
    };
    let (waited, ()) = block_on(async { tokio::join!(waiting, freeing) });
    assert_eq!(waited, Ok(()));
    let refused = block_on(recorder.open_exchange_within(&caller, std::future::ready(()))).map(drop);
    assert_eq!(refused, Ok(()), "there is a place again");
    held.extend(std::iter::from_fn(|| recorder.open_exchange(&caller).ok()));
    let refused = block_on(recorder.open_exchange_within(&caller, std::future::ready(()))).map(drop);
    assert_eq!(refused, Err(Unavailable::Share));
    drop((held, recorder));
    log.shutdown().unwrap();
}

#[test]
fn best_effort_drops_allows_before_denies_and_declares_each() {
    let disk = FakeDisk::default();
    let mut config = config();
    config.mode = Mode::BestEffort;
    let (log, recorder) = open(&disk, config).unwrap();
    // The disk fails: nothing leaves the ring any more.
    disk.set(Fault::SyncFails { from: 0, times: usize::MAX });
    let (mut allowed, mut denied) = (0_u64, Vec::new());
    for at in 0..2000 {
        let caller = caller(&format!("spiffe://example.org/{at}"));
        let Ok(mut draft) = recorder.open_exchange(&caller) else { break };
        if at % 20 == 0 {
            draft.file_decision(&deny());
            denied.push(draft.id().to_owned());
        } else {
            draft.file_decision(&allow());
            allowed += 1;
        }
    }
    let dropped = log.handle().health().gap_records;
    assert!(dropped > 1000, "{dropped}");
    drop(recorder);
    drop(log);
    let disk = disk.after_process_death();
    let (log, recorder) = open(&disk, super::config()).unwrap();
    drop(recorder);
    log.shutdown().unwrap();
    let report = report(&disk);
    assert_eq!((report.class, report.gap_records), (Class::WholeWithGaps, dropped), "{report:#?}");
    assert_eq!(report.denied, denied.len() as u64);
    assert!(report.allowed < allowed);
    assert!(denied.iter().all(|id| kinds_of(&disk, id).contains(&"decision".to_owned())));
}
