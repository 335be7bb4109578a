//! What can be said of a loaded set without evaluating it: what an entry never asks, and what no index helps.
use crate::Value;
use crate::ast::{Loc, Term};
use crate::policy::{Entry, Policy};
use crate::reads::{self, Walk};

/// A rule whose definitions are tried one by one.
#[derive(Clone, Debug)]
pub struct Unindexed {
    /// The path below `data`.
    pub path: Vec<Value>,
    /// Where the first of its definitions stands.
    pub loc: Loc,
    /// How many definitions are tried for every question.
    pub tried: usize,
    /// How many there are.
    pub definitions: usize,
}

impl Policy {
    /// The definitions that an entry never asks, with the paths of their rules below `data`.
    pub fn unreached(&self, entry: &Entry) -> Vec<(Vec<Value>, Loc)> {
        let reached = Walk::from(&self.program, &reads::roots(&self.program, &entry.path)).seen;
        let groups = self.program.groups.iter().enumerate().filter(|(id, _)| !reached.contains(id));
        let mut found: Vec<(Vec<Value>, Loc)> = groups
            .flat_map(|(_, group)| {
                let all = group.definitions.iter().chain(&group.default);
                all.map(|definition| (group.path.clone(), definition.loc))
            })
            .collect();
        found.sort_by_key(|(_, loc)| *loc);
        found
    }

    /// Where the definitions begin, in order.
    pub fn definitions(&self) -> Vec<Loc> {
        let all = self.program.groups.iter().flat_map(|group| group.definitions.iter().chain(&group.default));
        let mut found: Vec<Loc> = all.map(|definition| definition.loc).collect();
        found.sort_unstable();
        found
    }

    /// The rules of which more than this many definitions are tried for every question, because no condition of theirs
    /// compares a field of the input, or an argument, with constants.
    pub fn unindexed(&self, more_than: usize) -> Vec<Unindexed> {
        let of = |group: &crate::ir::Group| {
            let definitions = group.definitions.len();
            let tried = group.index.always_tried(definitions);
            let loc = group.definitions.first()?.loc;
            (tried > more_than).then(|| Unindexed { path: group.path.clone(), loc, tried, definitions })
        };
        self.program.groups.iter().filter_map(of).collect()
    }
}

impl Term {
    /// Its value, if it is written out whole.
    pub fn constant(&self) -> Option<Value> {
        crate::compile::constant(self)
    }
}
