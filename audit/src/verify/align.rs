//! Which records differ from the leaf hashes kept for them, and how.
use super::{
    load::Segment,
    report::{Finding, What},
};
use crate::hash::Hash;
use std::collections::{HashMap, HashSet};

/// The differences between a segment's records and `leaves`, in the order of the leaves.
pub(super) fn differences(segment: &Segment, leaves: &[Hash]) -> Vec<Finding> {
    if segment.hashes == leaves {
        return Vec::new();
    }
    let place: HashMap<&Hash, usize> = leaves.iter().enumerate().map(|(at, leaf)| (leaf, at)).collect();
    let found: HashSet<&Hash> = segment.hashes.iter().collect();
    let mut findings = Vec::new();
    let mut taken = HashSet::new();
    // Where the next record belongs if nothing else is amiss.
    let mut next = 0;
    for (line, hash) in segment.hashes.iter().enumerate() {
        match place.get(hash) {
            Some(at) if !taken.insert(*at) => findings.push(at_line(segment, line, *at, What::Added)),
            Some(at) if *at < next => findings.push(at_line(segment, line, *at, What::Moved)),
            Some(at) => next = at + 1,
            None => {
                let belongs_here = leaves.get(next).is_some_and(|leaf| !found.contains(leaf));
                if belongs_here {
                    let what = if segment.is_complete(line) { What::Changed } else { What::Truncated };
                    taken.insert(next);
                    findings.push(at_line(segment, line, next, what));
                    next += 1;
                } else {
                    findings.push(at_line(segment, line, next, What::Added));
                }
            }
        }
    }
    let absent = (0..leaves.len()).filter(|at| !taken.contains(at));
    findings.extend(ranges(absent).into_iter().map(|(from, to)| missing(segment, from, to)));
    findings.sort_by_key(|finding| finding.index);
    findings
}

fn at_line(segment: &Segment, line: usize, at: usize, what: What) -> Finding {
    let index = segment.first + at as u64;
    let detail = match what {
        What::Changed => format!("record {index} is not the one that was logged"),
        What::Truncated => format!("record {index} is cut off"),
        What::Moved => format!("record {index} is not in its place"),
        What::Added => format!("before record {index} stands a record that was not logged there"),
        What::Missing | What::Root | What::Checkpoint | What::Sequence | What::Unreadable => {
            format!("record {index}")
        }
    };
    Finding {
        index: Some(index),
        count: 1,
        segment: Some(segment.first),
        line: Some(line as u64 + 1),
        id: segment.id(line),
        ..Finding::of(what, detail)
    }
}

fn missing(segment: &Segment, from: usize, to: usize) -> Finding {
    let (first, last) = (segment.first + from as u64, segment.first + to as u64);
    let detail = if first == last {
        format!("record {first} is missing")
    } else {
        format!("records {first} to {last} are missing")
    };
    Finding {
        index: Some(first),
        count: last - first + 1,
        segment: Some(segment.first),
        ..Finding::of(What::Missing, detail)
    }
}

/// Runs of neighbours as (first, last).
fn ranges(numbers: impl Iterator<Item = usize>) -> Vec<(usize, usize)> {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            Some(_) | None => ranges.push((number, number)),
        }
    }
    ranges
}
