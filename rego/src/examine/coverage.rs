//! Which lines were reached, as `opa test --coverage` tells it: an expression is covered when it was evaluated, a head
//! when its definition held.
use super::Watched;
use super::extent::Lines;
use crate::ast::Loc;
use crate::policy::{Policy, Source};
use std::collections::BTreeSet;

/// What evaluations of one policy reached, all together.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    seen: Vec<bool>,
}

/// A place in a file; rows and columns count from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The row.
    pub row: u32,
    /// The column.
    pub col: u32,
}

/// A part of a file: from its first character to the place after its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The first character.
    pub start: Position,
    /// The place after the last.
    pub end: Position,
}

/// What was reached of one file.
#[derive(Clone, Debug)]
pub struct FileCoverage {
    /// The file.
    pub file: String,
    /// What was reached.
    pub covered: Vec<Span>,
    /// What was not.
    pub not_covered: Vec<Span>,
}

impl FileCoverage {
    /// How many rows have something on them that was reached.
    pub fn covered_lines(&self) -> usize {
        rows(&self.covered).len()
    }

    /// How many rows have something on them that was not reached.
    pub fn not_covered_lines(&self) -> usize {
        rows(&self.not_covered).len()
    }

    /// The rows that have something on them that was not reached.
    pub fn not_covered_rows(&self) -> impl Iterator<Item = u32> + use<> {
        rows(&self.not_covered).into_iter()
    }
}

fn rows(spans: &[Span]) -> BTreeSet<u32> {
    spans.iter().flat_map(|span| span.start.row..=span.end.row).collect()
}

impl Coverage {
    /// Adds what an evaluation reached.
    pub fn add(&mut self, watched: &Watched) {
        if self.seen.len() < watched.seen.len() {
            self.seen.resize(watched.seen.len(), false);
        }
        for (seen, more) in self.seen.iter_mut().zip(&watched.seen) {
            *seen |= *more;
        }
    }

    /// What was reached of each source. `sources` are those that the policy was loaded from, in their order.
    pub fn report(&self, policy: &Policy, sources: &[Source<'_>]) -> Vec<FileCoverage> {
        let program = &policy.program;
        let heads: BTreeSet<Loc> = program.groups.iter().flat_map(heads_of).collect();
        let mut reports = Vec::with_capacity(sources.len());
        for (module, source) in sources.iter().enumerate() {
            let lines = Lines::of(source.text);
            let here = |loc: &&Loc| usize::from(loc.module) == module && loc.row > 0;
            let span = |loc: &Loc| Span {
                start: Position { row: loc.row, col: loc.col },
                end: lines.end(*loc, heads.contains(loc)),
            };
            let numbered = program.places.iter().zip(&self.seen).filter(|(_, seen)| **seen);
            let covered: BTreeSet<Span> = numbered.map(|(loc, _)| loc).filter(here).map(span).collect();
            let expressions = program.written.iter().filter(|(_, declares)| !declares).map(|(loc, _)| loc);
            let written = heads.iter().chain(expressions).filter(here).map(span);
            let contained = |span: &Span| {
                covered.contains(span)
                    || covered.iter().any(|have| have.start <= span.start && span.end <= have.end)
            };
            let not_covered: BTreeSet<Span> = written.filter(|span| !contained(span)).collect();
            reports.push(FileCoverage {
                file: source.name.to_owned(),
                covered: covered.iter().copied().collect(),
                not_covered: not_covered.into_iter().collect(),
            });
        }
        reports
    }
}

fn heads_of(group: &crate::ir::Group) -> Vec<Loc> {
    let mut heads = Vec::new();
    for definition in group.definitions.iter().chain(&group.default) {
        let mut branch = Some(definition);
        while let Some(definition) = branch {
            heads.push(definition.head);
            branch = definition.otherwise.as_deref();
        }
    }
    heads
}
