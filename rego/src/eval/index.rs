//! Which definitions of a rule can hold for an input, by the conditions that compare a field of it with a constant.
use crate::Value;
use crate::ir::Definition;

/// The index of a group's definitions.
#[derive(Debug, Default)]
pub(crate) struct Index;

/// The definitions that can hold.
#[derive(Debug)]
pub(crate) struct Candidates;

impl Index {
    pub(crate) fn of(_definitions: &[Definition]) -> Self {
        Self
    }

    pub(crate) fn candidates(&self, _input: Option<&Value>) -> Candidates {
        Candidates
    }
}

impl Candidates {
    pub(crate) fn of<'p>(&self, definitions: &'p [Definition]) -> impl Iterator<Item = &'p Definition> {
        definitions.iter()
    }
}
