//! What verification found.
use serde::Serialize;
use std::collections::BTreeSet;

/// Findings kept in full; more are only counted.
const FINDINGS_MAX: usize = 100;
const GAPS_MAX: usize = 1000;

/// The verdict, with the exit code of `postern audit verify`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Every signed record is as it was logged.
    Whole,
    /// The same, and the log itself declares records that it could not take.
    WholeWithGaps,
    /// Something was changed, removed, added or moved.
    Tampered,
    /// Nothing can be said: no known key signed, or a file cannot be read.
    #[default]
    CannotTell,
}

impl Class {
    /// 0 whole, 3 whole with declared gaps, 4 tampered, 5 cannot tell.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Whole => 0,
            Self::WholeWithGaps => 3,
            Self::Tampered => 4,
            Self::CannotTell => 5,
        }
    }
}

/// What kind of thing is amiss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A record's bytes are not those that were logged.
    Changed,
    /// A record is cut off.
    Truncated,
    /// Records are missing.
    Missing,
    /// A record stands where it does not belong.
    Moved,
    /// A record that was not logged, or not there.
    Added,
    /// Records differ from a signed root and their leaf hashes do too: only the range is known.
    Root,
    /// A checkpoint is malformed, wrongly signed, or contradicts an earlier one.
    Checkpoint,
    /// A lane's numbers have a hole that no gap declares.
    Sequence,
    /// A line that is no record.
    Unreadable,
}

/// One thing that is amiss, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind.
    pub what: What,
    /// Index of the first record concerned, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// How many records are concerned.
    pub count: u64,
    /// The segment, by the index of its first record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segment: Option<u64>,
    /// The line in the segment, or in `checkpoints.log`, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The id the record bears.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The same in words.
    pub detail: String,
}

impl Finding {
    pub(super) fn of(what: What, detail: String) -> Self {
        Self { what, index: None, count: 1, segment: None, line: None, id: None, detail }
    }
}

/// Records that the log says it does not have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeclaredGap {
    /// The lane they are missing in.
    pub lane: u16,
    /// The first missing number.
    pub from: u64,
    /// The last missing number.
    pub to: u64,
    /// How many.
    pub count: u64,
    /// Why.
    pub reason: String,
    /// Index of the record that declares it.
    pub index: u64,
}

/// The result of verifying a log.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The verdict.
    pub class: Class,
    /// The log's name.
    pub origin: Option<String>,
    /// Records read.
    pub records: u64,
    /// Segments read.
    pub segments: u64,
    /// Checkpoints read.
    pub checkpoints: u64,
    /// Checkpoints that a known key signed.
    pub checkpoints_signed: u64,
    /// Checkpoints that only unknown keys signed.
    pub checkpoints_unknown_key: u64,
    /// The line of `checkpoints.log` where the last signed one begins.
    pub last_checkpoint_line: Option<u64>,
    /// Up to this many records, everything was compared with a signed root.
    pub signed_size: u64,
    /// Records behind the last signed root: not provable yet.
    pub unsigned_records: u64,
    /// Decisions that allowed.
    pub allowed: u64,
    /// Decisions that denied.
    pub denied: u64,
    /// Exchanges that ended before a decision.
    pub undecided: u64,
    /// Time of the first record.
    pub from: Option<String>,
    /// Time of the last record.
    pub to: Option<String>,
    /// Revisions of policy that decided, at most 1000.
    pub policy_revisions: BTreeSet<String>,
    /// Declared gaps, at most 1000 in full.
    pub gaps: Vec<DeclaredGap>,
    /// Records in all declared gaps.
    pub gap_records: u64,
    /// What is amiss, at most 100 in full.
    pub findings: Vec<Finding>,
    /// Findings beyond those.
    pub findings_more: u64,
    /// Why nothing can be said.
    pub cannot_tell: Vec<String>,
    /// What a reader should know.
    pub notes: Vec<String>,
    #[serde(skip)]
    pub(super) unknown_versions: BTreeSet<u64>,
    #[serde(skip)]
    later: Vec<Finding>,
}

impl Report {
    pub(super) fn find(&mut self, finding: Finding) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        } else {
            self.findings_more += 1;
        }
    }

    /// Keeps a finding until those that explain it better are there.
    pub(super) fn find_later(&mut self, finding: Finding) {
        if self.later.len() < FINDINGS_MAX {
            self.later.push(finding);
        }
    }

    pub(super) fn declare(&mut self, gap: DeclaredGap) {
        self.gap_records = self.gap_records.saturating_add(gap.count);
        if self.gaps.len() < GAPS_MAX {
            self.gaps.push(gap);
        }
    }

    pub(super) fn judge(&mut self) {
        for finding in std::mem::take(&mut self.later) {
            let explained = |known: &Finding| known.segment == finding.segment && known.line == finding.line;
            if !self.findings.iter().any(explained) {
                self.find(finding);
            }
        }
        if !self.unknown_versions.is_empty() {
            self.cannot_tell.push("the log has records of a version this verifier does not know".to_owned());
        }
        self.class = if !self.findings.is_empty() {
            Class::Tampered
        } else if !self.cannot_tell.is_empty() {
            Class::CannotTell
        } else if !self.gaps.is_empty() {
            Class::WholeWithGaps
        } else {
            Class::Whole
        };
    }
}
