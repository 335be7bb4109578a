//! The contiguous numbers of each lane: a record that never reached the tree leaves a hole here.
use super::report::{DeclaredGap, Finding, Report, What};
use crate::record::{self, RecordHead};
use std::collections::BTreeMap;

const REVISIONS_MAX: usize = 1000;

/// The last number seen in each lane since the last `start`.
#[derive(Default)]
pub(super) struct Lanes {
    last: BTreeMap<u16, u64>,
    findings: Vec<Finding>,
}

/// Index, segment and line of a record.
type Place = (u64, u64, u64);

impl Lanes {
    pub(super) fn see(&mut self, head: &RecordHead<'_>, place: Place, report: &mut Report) {
        count(head, report);
        if head.kind == "start" {
            self.last.clear();
        }
        if let (Some(of), Some(from), Some(to)) = (head.of, head.from, head.to) {
            self.gap((of, from, to), head, place, report);
        }
        let last = self.last.entry(head.w).or_default();
        let expected = *last + 1;
        if head.wseq != expected {
            self.findings.push(sequence(place, head.w, expected, head.wseq));
        }
        self.last.insert(head.w, head.wseq);
        // Lane 0 counts the record that carries the list.
        for (lane, filed) in (0_u16..).zip(head.lanes()) {
            let last = self.last.insert(lane, *filed).unwrap_or_default();
            if last != *filed {
                self.findings.push(sequence(place, lane, last + 1, *filed + 1));
            }
        }
    }

    fn gap(
        &mut self,
        (of, from, to): (u16, u64, u64),
        head: &RecordHead<'_>,
        place: Place,
        report: &mut Report,
    ) {
        let last = self.last.insert(of, to).unwrap_or_default();
        if last + 1 != from {
            self.findings.push(sequence(place, of, last + 1, from));
        }
        let reason = head.reason.as_ref().and_then(|reason| reason.as_str()).unwrap_or("unknown").to_owned();
        report.declare(DeclaredGap {
            lane: of,
            from,
            to,
            count: to.saturating_sub(from).saturating_add(1),
            reason,
            index: place.0,
        });
    }

    pub(super) fn finish(&mut self, report: &mut Report) {
        self.findings.drain(..).for_each(|finding| report.find(finding));
    }
}

fn count(head: &RecordHead<'_>, report: &mut Report) {
    if head.v != record::VERSION && report.unknown_versions.insert(head.v) {
        report.notes.push(format!("records of version {} are newer than this verifier", head.v));
    }
    match head.decision.as_deref() {
        Some("allow") => report.allowed += 1,
        Some("deny") => report.denied += 1,
        Some(_) => report.undecided += 1,
        None => {}
    }
    if report.from.is_none() {
        report.from = Some(head.ts.to_string());
    }
    report.to = Some(head.ts.to_string());
    // What a decision names is a whole policy set; a bundle's own record names the bundle.
    if head.decision.is_some()
        && let Some(revision) = head.bundle_rev.as_ref().and_then(|revision| revision.as_str())
        && report.policy_revisions.len() < REVISIONS_MAX
        && !report.policy_revisions.contains(revision)
    {
        report.policy_revisions.insert(revision.to_owned());
    }
}

fn sequence((index, segment, line): Place, lane: u16, expected: u64, found: u64) -> Finding {
    let detail = if found > expected {
        format!(
            "before record {index}: numbers {expected} to {} of lane {lane} are missing and no gap declares them",
            found - 1
        )
    } else {
        format!("record {index}: lane {lane} counts {found} where {expected} belongs")
    };
    Finding {
        index: Some(index),
        count: 1,
        segment: Some(segment),
        line: Some(line),
        ..Finding::of(What::Sequence, detail)
    }
}
