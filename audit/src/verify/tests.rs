use super::*;
use crate::{
    id::Id,
    key::{Ed25519Signer, Signer as _},
    record::{Decision, Own, Stamp},
};
use std::collections::BTreeMap;

/// A log in memory: segments of ten records, a checkpoint every seven.
#[derive(Clone)]
struct Log {
    segments: BTreeMap<u64, (Vec<String>, Option<Vec<Hash>>)>,
    checkpoints: String,
    keys: Vec<(String, VerifyingKey)>,
}

impl Files for Log {
    fn segments(&self) -> io::Result<Vec<u64>> {
        Ok(self.segments.keys().copied().collect())
    }

    fn records(&self, first: u64) -> io::Result<Box<dyn BufRead + '_>> {
        Ok(Box::new(io::Cursor::new(self.segments[&first].0.concat().into_bytes())))
    }

    fn leaf_hashes(&self, first: u64) -> io::Result<Option<Box<dyn Read + '_>>> {
        let leaves = self.segments[&first].1.as_ref();
        Ok(leaves.map(|leaves| Box::new(io::Cursor::new(leaves.concat())) as Box<dyn Read>))
    }

    fn checkpoints(&self) -> io::Result<Box<dyn BufRead + '_>> {
        Ok(Box::new(io::Cursor::new(self.checkpoints.clone().into_bytes())))
    }
}

const ORIGIN: &str = "example.org/pay/audit/01";

fn id(index: u64) -> Id {
    Id::new(1_795_400_552_123 + index, u128::from(index))
}

/// `records` records, the first a start, the rest decisions of lane 1; `gap` is not logged but declared.
fn log(records: u64, gap: Option<&std::ops::Range<u64>>) -> Log {
    let signer = Ed25519Signer::generate().unwrap();
    let keys = vec![(ORIGIN.to_owned(), signer.verifying_key().clone())];
    let mut log = Log { segments: BTreeMap::new(), checkpoints: String::new(), keys };
    let mut tree = Tree::default();
    let mut seq = 0;
    for index in 0..records {
        let mut line = Vec::new();
        seq += 1;
        let stamp = |lane, seq| Stamp {
            id: id(index),
            unix_ns: 1_795_400_552_000_000_000 + index,
            mono_ns: index,
            lane,
            seq,
        };
        match gap {
            _ if index == 0 => {
                seq = 0;
                Own::Start { origin: ORIGIN, version: "0", mode: "async", lanes: 2, key: "" }
                    .encode(&stamp(0, 1), &mut line);
            }
            Some(gap) if seq == gap.start => {
                let (from, to) = (gap.start, gap.end - 1);
                seq = gap.end;
                Own::Gap { of: 1, from, to, reason: "ring_full" }.encode(&stamp(1, seq), &mut line);
            }
            Some(_) | None => {
                Decision { reason: "policy.allowed", ..Decision::default() }
                    .encode(&stamp(1, seq), &mut line);
            }
        }
        let hash = tree.append(&line);
        let (lines, leaves) = log.segments.entry(index / 10 * 10).or_insert((Vec::new(), Some(Vec::new())));
        lines.push(String::from_utf8(line).unwrap() + "\n");
        leaves.as_mut().unwrap().push(hash);
        if tree.size() % 7 == 0 || index + 1 == records {
            let checkpoint =
                Checkpoint { origin: ORIGIN.parse().unwrap(), size: tree.size(), root: tree.root() };
            log.checkpoints += &format!("{}\n", checkpoint.sign(&[&signer]).unwrap());
        }
    }
    log
}

fn lines(log: &mut Log, segment: u64) -> &mut Vec<String> {
    &mut log.segments.get_mut(&segment).unwrap().0
}

fn check(log: &Log) -> Report {
    verify(log, &log.keys, None)
}

/// Tampers with a log of 35 records; the first finding must name kind, index and line.
fn check_tampered(what: What, index: u64, line: Option<u64>, tamper: impl Fn(&mut Log)) {
    let mut log = log(35, None);
    tamper(&mut log);
    let report = check(&log);
    assert_eq!(report.class, Class::Tampered, "{report:#?}");
    let first = &report.findings[0];
    assert_eq!((first.what, first.index, first.line), (what, Some(index), line), "{report:#?}");
}

#[test]
fn a_log_as_it_was_written_is_whole() {
    for records in [1, 6, 7, 10, 20, 35] {
        let report = check(&log(records, None));
        assert_eq!(report.class, Class::Whole, "{report:#?}");
        assert_eq!((report.records, report.signed_size, report.unsigned_records), (records, records, 0));
        assert_eq!(report.undecided, records - 1);
    }
}

#[test]
fn a_declared_gap_is_told_and_counted() {
    let report = check(&log(35, Some(&(4..9))));
    assert_eq!((report.class, report.gap_records), (Class::WholeWithGaps, 5), "{report:#?}");
    assert_eq!(report.class.exit_code(), 3);
}

#[test]
fn every_single_flipped_byte_is_found_and_its_record_named() {
    let log = log(35, None);
    for index in [0_u64, 5, 9, 10, 34] {
        let (segment, line) = (index / 10 * 10, usize::try_from(index % 10).unwrap());
        let length = log.segments[&segment].0[line].len() - 1;
        for at in 0..length {
            let mut log = log.clone();
            let mut bytes = lines(&mut log, segment)[line].clone().into_bytes();
            bytes[at] ^= 0x01;
            let Ok(text) = String::from_utf8(bytes) else { continue };
            // A byte that becomes a line feed makes two lines of one.
            if text.matches('\n').count() != 1 {
                continue;
            }
            lines(&mut log, segment)[line] = text;
            let report = check(&log);
            assert_eq!(report.class, Class::Tampered, "{index} {at}");
            assert_eq!(
                (report.findings[0].index, report.findings[0].line),
                (Some(index), Some(line as u64 + 1)),
                "{index} {at}: {report:#?}"
            );
        }
    }
}

#[test]
fn missing_reordered_truncated_and_added_records_are_named() {
    check_tampered(What::Missing, 13, None, |log| drop(lines(log, 10).remove(3)));
    check_tampered(What::Missing, 9, None, |log| drop(lines(log, 0).pop()));
    check_tampered(What::Missing, 34, None, |log| drop(lines(log, 30).pop()));
    check_tampered(What::Missing, 12, None, |log| drop(lines(log, 10).drain(2..5)));
    check_tampered(What::Moved, 23, Some(5), |log| lines(log, 20).swap(3, 4));
    check_tampered(What::Truncated, 17, Some(8), |log| {
        lines(log, 10)[7] = "{\"v\":1,\"kind\":\"dec\n".to_owned();
    });
    check_tampered(What::Added, 12, Some(3), |log| {
        let copy = lines(log, 0)[4].clone();
        lines(log, 10).insert(2, copy);
    });
    check_tampered(What::Added, 12, Some(4), |log| {
        let copy = lines(log, 10)[2].clone();
        lines(log, 10).insert(3, copy);
    });
    check_tampered(What::Changed, 30, Some(1), |log| {
        let denied = lines(log, 30)[0].replace("none", "deny");
        lines(log, 30)[0] = denied;
    });
}

#[test]
fn a_missing_segment_is_named_by_its_records() {
    check_tampered(What::Missing, 10, None, |log| drop(log.segments.remove(&10)));
    check_tampered(What::Missing, 0, None, |log| drop(log.segments.remove(&0)));
    check_tampered(What::Missing, 30, None, |log| drop(log.segments.remove(&30)));
}

#[test]
fn changing_the_leaf_hashes_too_leaves_the_range() {
    // Records 15 to 20 lie between the checkpoints at 14 and 21; the forger fits the hash of record 16.
    check_tampered(What::Root, 14, None, |log| {
        let forged = lines(log, 10)[6].replace("none", "deny");
        let hash = crate::hash::leaf_hash(forged.trim_end().as_bytes());
        lines(log, 10)[6] = forged;
        log.segments.get_mut(&10).unwrap().1.as_mut().unwrap()[6] = hash;
    });
    check_tampered(What::Root, 14, None, |log| {
        let forged = lines(log, 10)[6].replace("none", "deny");
        lines(log, 10)[6] = forged;
        log.segments.get_mut(&10).unwrap().1 = None;
    });
}

#[test]
fn damaged_leaf_hashes_do_not_make_whole_records_suspect() {
    let mut log = log(35, None);
    log.segments.get_mut(&10).unwrap().1.as_mut().unwrap()[6] = [0; 32];
    log.segments.get_mut(&0).unwrap().1 = None;
    let report = check(&log);
    assert_eq!(report.class, Class::Whole, "{report:#?}");
    assert_eq!(report.notes.len(), 2, "{report:#?}");
}

#[test]
fn an_undeclared_hole_in_a_lane_is_found_even_under_good_signatures() {
    // The writer itself forgot three records and signed what was left.
    let mut log = log(35, Some(&(4..7)));
    let gap = log.segments[&0].0[4].clone();
    assert!(gap.contains("gap"));
    let renamed = lines(&mut log, 0)[4].replace("\"of\":1,", "");
    lines(&mut log, 0)[4] = renamed;
    let report = check(&log);
    assert!(
        report.findings.iter().any(|finding| finding.what == What::Sequence && finding.index == Some(4)),
        "{report:#?}"
    );
}

#[test]
fn a_checkpoint_that_is_changed_or_by_a_stranger_is_not_believed() {
    let mut changed = log(35, None);
    changed.checkpoints = changed.checkpoints.replacen("\n7\n", "\n8\n", 1);
    let report = check(&changed);
    assert_eq!(
        (report.class, report.findings[0].what, report.findings[0].line),
        (Class::Tampered, What::Checkpoint, Some(1)),
        "{report:#?}"
    );

    let mut stranger = log(35, None);
    stranger.keys = log(1, None).keys;
    let report = check(&stranger);
    assert_eq!((report.class, report.checkpoints_unknown_key), (Class::CannotTell, 5), "{report:#?}");
}

#[test]
fn a_log_cut_back_with_its_checkpoints_is_found_by_one_seen_before() {
    let whole = log(35, None);
    let last: Vec<&str> = whole.checkpoints.split_inclusive("\n\n").collect();
    let newest = last[last.len() - 2..].concat();
    let seen = Checkpoint::open(newest.strip_suffix('\n').unwrap(), &whole.keys, None).unwrap();
    assert_eq!(verify(&whole, &whole.keys, Some(&seen)).class, Class::Whole);
    let mut cut = whole.clone();
    cut.checkpoints = last[..last.len() - 2].concat();
    lines(&mut cut, 20).truncate(8);
    cut.segments.get_mut(&20).unwrap().1.as_mut().unwrap().truncate(8);
    cut.segments.remove(&30);
    assert_eq!(check(&cut).class, Class::Whole, "nothing inside the log can tell");
    let report = verify(&cut, &cut.keys, Some(&seen));
    assert_eq!((report.class, report.findings[0].index), (Class::Tampered, Some(28)), "{report:#?}");
}

#[test]
fn a_log_that_is_being_written_is_whole_up_to_its_last_checkpoint() {
    let mut live = log(35, None);
    let last = live.checkpoints.trim_end().rfind(ORIGIN).unwrap();
    let last = live.checkpoints.get(..last).unwrap().trim_end().rfind(ORIGIN).unwrap();
    live.checkpoints.truncate(last + 30);
    lines(&mut live, 30).push("{\"v\":1,\"ki".to_owned());
    live.segments.get_mut(&30).unwrap().1.as_mut().unwrap().truncate(3);
    let report = check(&live);
    assert_eq!(
        (report.class, report.signed_size, report.unsigned_records),
        (Class::Whole, 28, 7),
        "{report:#?}"
    );
}
