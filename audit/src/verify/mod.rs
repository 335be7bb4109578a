//! Verification of a whole log over readers: is every record there, as it was, in its place?
//!
//! Three witnesses are heard. The **signed roots** say whether all records up to a size are unchanged. The
//! **leaf hashes** kept beside each segment, where a signed root confirms them, say which record is not. The
//! **lane numbers** inside the records say what was never written at all.
mod align;
mod lanes;
mod load;
mod report;
#[cfg(test)]
mod tests;

pub use report::{Class, DeclaredGap, Finding, Report, What};

use crate::{
    checkpoint::{Checkpoint, Origin},
    hash::Hash,
    key::VerifyingKey,
    tree::Tree,
};
use lanes::Lanes;
use load::{Segment, Signed};
use std::{
    collections::VecDeque,
    io::{self, BufRead, Read},
};

/// The files of a log, as the verifier reads them.
pub trait Files {
    /// The index of the first record of each segment, ascending.
    ///
    /// # Errors
    /// The directory cannot be read.
    fn segments(&self) -> io::Result<Vec<u64>>;
    /// The records of the segment that begins at `first`.
    ///
    /// # Errors
    /// The file cannot be read.
    fn records(&self, first: u64) -> io::Result<Box<dyn BufRead + '_>>;
    /// The leaf hashes of the segment that begins at `first`, if they are kept.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    fn leaf_hashes(&self, first: u64) -> io::Result<Option<Box<dyn Read + '_>>>;
    /// All signed checkpoints, oldest first.
    ///
    /// # Errors
    /// The file cannot be read.
    fn checkpoints(&self) -> io::Result<Box<dyn BufRead + '_>>;
}

/// Verifies a log with the keys it may be signed by. `seen` is a checkpoint of the same log known from
/// elsewhere: with it, a log cut back to an older state is found.
///
/// Memory is bounded by the largest segment and the number of checkpoints. Never fails: what cannot be read is
/// [`Class::CannotTell`], with the reason.
pub fn verify(files: &dyn Files, keys: &[(String, VerifyingKey)], seen: Option<&Checkpoint>) -> Report {
    let mut walk = Walk { report: Report::default(), ..Walk::default() };
    if let Err(error) = walk.run(files, keys, seen) {
        walk.report.cannot_tell.push(format!("the log cannot be read: {error}"));
    }
    walk.finish()
}

#[derive(Default)]
struct Walk {
    report: Report,
    /// Over the records as they are.
    records: Tree,
    /// Over the leaf hashes as they are kept.
    leaves: Tree,
    signed: VecDeque<Signed>,
    /// Where records and leaf hashes differ and no signed root has said yet which of the two is wrong.
    pending: Vec<Finding>,
    /// `records` was taken from `leaves` since the last signed root, because records were missing or too many.
    replaced: bool,
    /// A signed root was not met: nothing behind it can be checked against a root.
    astray: bool,
    lanes: Lanes,
}

impl Walk {
    fn run(
        &mut self,
        files: &dyn Files,
        keys: &[(String, VerifyingKey)],
        seen: Option<&Checkpoint>,
    ) -> io::Result<()> {
        // The checkpoints first: in a log that is being written, records only grow behind them.
        let mut signed = load::checkpoints(&mut files.checkpoints()?, keys, &mut self.report)?;
        self.report.origin = signed.first().map(|first: &Signed| first.checkpoint.origin.to_string());
        if let Some(seen) = seen {
            self.add_seen(&mut signed, seen);
        }
        if signed.is_empty() {
            self.report.cannot_tell.push("no checkpoint is signed by a known key".to_owned());
        }
        self.signed = signed.into();
        let segments = files.segments()?;
        self.report.segments = segments.len() as u64;
        for (at, first) in segments.iter().enumerate() {
            let segment = load::segment(files, *first, &mut self.lanes, &mut self.report)?;
            let is_last = at + 1 == segments.len();
            self.segment(&segment, is_last);
        }
        Ok(())
    }

    fn add_seen(&mut self, signed: &mut Vec<Signed>, seen: &Checkpoint) {
        let origin = |signed: &Signed| -> Origin { signed.checkpoint.origin.clone() };
        if let Some(found) = signed.first().map(origin).filter(|found| *found != seen.origin) {
            self.report.find(Finding::of(
                What::Checkpoint,
                format!("this is the log `{found}`, the checkpoint seen before is of `{}`", seen.origin),
            ));
            return;
        }
        let at = signed.partition_point(|other| other.checkpoint.size <= seen.size);
        signed.insert(at, Signed { checkpoint: seen.clone(), line: 0 });
    }

    fn segment(&mut self, segment: &Segment, is_last: bool) {
        let first = segment.first;
        self.enter(first);
        let leaves = self.leaves_of(segment, is_last);
        self.pending.extend(align::differences(segment, &leaves));
        let longest = segment.hashes.len().max(leaves.len());
        for at in 0..longest {
            if let Some(hash) = segment.hashes.get(at) {
                self.records.append_hash(*hash);
            }
            if let Some(hash) = leaves.get(at) {
                self.leaves.append_hash(*hash);
            }
            self.meet(first + at as u64 + 1);
        }
        self.report.records += segment.hashes.len() as u64;
        if segment.torn && is_last {
            self.report.notes.push(format!("the last line of segment {first} is not complete yet"));
        }
    }

    /// The segment's leaf hashes; where none are kept, those of its records.
    fn leaves_of(&mut self, segment: &Segment, is_last: bool) -> Vec<Hash> {
        let Some(leaves) = &segment.leaves else {
            self.report.notes.push(format!(
                "segment {} has no leaf hashes: a changed record could only be narrowed down",
                segment.first
            ));
            return segment.hashes.clone();
        };
        // Hashes are written after their records: a log that is being written may lack the last ones.
        if is_last && segment.hashes.starts_with(leaves) { segment.hashes.clone() } else { leaves.clone() }
    }

    /// Checks that the segment begins where the one before it ended.
    fn enter(&mut self, first: u64) {
        let (records, leaves) = (self.records.size(), self.leaves.size());
        if leaves == first && records == first {
            // As it should be.
        } else if leaves == first {
            // A record was taken away or put in before, and the hashes say where.
            self.records = self.leaves.clone();
            self.replaced = true;
        } else if records == first {
            self.leaves = self.records.clone();
        } else if !self.astray || first > leaves {
            self.astray = true;
            let (from, to) = (leaves.min(first), leaves.max(first));
            let finding = if first > leaves {
                let missing = Finding::of(
                    What::Missing,
                    format!("records {from} to {} are missing: no segment holds them", to - 1),
                );
                Finding { index: Some(from), count: to - from, segment: Some(first), ..missing }
            } else {
                let added = Finding::of(
                    What::Added,
                    format!("the segment before {first} holds {} records too many", to - from),
                );
                Finding { index: Some(from), count: to - from, segment: Some(first), ..added }
            };
            self.report.find(finding);
        }
    }

    /// Compares with every checkpoint signed at this size.
    fn meet(&mut self, size: u64) {
        while self.signed.front().is_some_and(|next| next.checkpoint.size <= size) {
            let Some(signed) = self.signed.pop_front() else { return };
            if signed.checkpoint.size == size && !self.astray {
                self.compare(&signed);
            }
        }
    }

    fn compare(&mut self, signed: &Signed) {
        let size = signed.checkpoint.size;
        let agrees = |tree: &Tree| tree.size() == size && tree.root() == signed.checkpoint.root;
        if !self.replaced && agrees(&self.records) {
            let damaged = self.settle(size);
            if !damaged.is_empty() {
                self.report.notes.push(format!(
                    "{} leaf hashes before {size} are damaged; the records are whole",
                    damaged.len()
                ));
            }
            self.leaves = self.records.clone();
        } else if agrees(&self.leaves) {
            for finding in self.settle(size) {
                self.report.find(finding);
            }
            self.records = self.leaves.clone();
            self.replaced = false;
        } else {
            let from = self.report.signed_size;
            for finding in self.settle(size) {
                self.report.find(finding);
            }
            let detail = format!(
                "records {from} to {} do not have the root that was signed for them; their leaf hashes do not tell which",
                size.saturating_sub(1)
            );
            self.report.find(Finding {
                index: Some(from),
                count: size.saturating_sub(from),
                ..Finding::of(What::Root, detail)
            });
            self.astray = true;
            return;
        }
        self.report.signed_size = size;
    }

    /// Takes the pending differences before `size`.
    fn settle(&mut self, size: u64) -> Vec<Finding> {
        let (before, after) = self
            .pending
            .drain(..)
            .partition(|finding: &Finding| finding.index.is_none_or(|index| index < size));
        self.pending = after;
        before
    }

    fn finish(mut self) -> Report {
        for finding in std::mem::take(&mut self.pending) {
            self.report.find(finding);
        }
        let records = self.report.records;
        let beyond = self.signed.pop_back();
        if let Some(last) = beyond.filter(|last| !self.astray && last.checkpoint.size > self.leaves.size()) {
            let to = last.checkpoint.size;
            let detail = format!(
                "records {records} to {} are missing: the log ends before its last checkpoint",
                to - 1
            );
            self.report.find(Finding {
                index: Some(records),
                count: to - records,
                ..Finding::of(What::Missing, detail)
            });
        }
        self.report.unsigned_records = records.saturating_sub(self.report.signed_size);
        self.lanes.finish(&mut self.report);
        self.report.judge();
        self.report
    }
}
