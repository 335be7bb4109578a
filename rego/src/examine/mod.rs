//! Looking at a policy while it is evaluated: which of its lines were reached, what it prints, which definitions were
//! tried and where each came to its end, and the rules that are its tests.
mod coverage;
mod extent;
#[cfg(test)]
mod tests;
mod told;

pub use coverage::{Coverage, FileCoverage, Position, Span};
pub use told::{Attempt, Unmet};

use crate::Value;
use crate::ast::{Loc, Str};
use crate::builtins::Context;
use crate::eval::observe::Observer;
use crate::eval::{Halt, Limits, Machine};
use crate::policy::{Entry, Policy, Source};

/// A rule that is a test.
#[derive(Clone, Debug)]
pub struct TestRule {
    /// The path below `data`. The second test of a name is `test_x#01`, as in OPA.
    pub path: Vec<Str>,
    /// Where it stands.
    pub loc: Loc,
    /// Whether it is not to be run yet: its name begins with `todo_test_`.
    pub todo: bool,
    /// Whether its value tells the outcome of each of its cases by their names.
    pub by_case: bool,
}

/// What is watched, and over what.
#[derive(Debug)]
pub struct Watch<'a> {
    /// The data.
    pub data: &'a Value,
    /// The input.
    pub input: Option<Value>,
    /// What it may cost.
    pub limits: Limits,
    /// The sources that the policy was loaded from, if the attempts to make definitions hold are asked for.
    pub attempts: Option<&'a [Source<'a>]>,
}

/// What was watched.
#[derive(Debug)]
pub struct Watched {
    /// The value; `None` is undefined.
    pub value: Result<Option<Value>, Halt>,
    /// What `print` said, a line each.
    pub printed: String,
    /// Whether it said more than is kept.
    pub cut: bool,
    /// The cases that a test named.
    pub cases: Vec<Value>,
    /// The attempts, in order.
    pub attempts: Vec<Attempt>,
    seen: Vec<bool>,
}

impl Policy {
    /// The tests, in the order of the sources. A policy loaded by [`Policy::load`] has none.
    pub fn tests(&self) -> impl Iterator<Item = TestRule> {
        self.program.tests.iter().map(|test| TestRule {
            path: test.path.clone(),
            loc: test.loc,
            todo: test.path.last().is_some_and(|name| name.starts_with(crate::compile::TODO_PREFIX)),
            by_case: test.by_case,
        })
    }

    /// The value of an entry, and what was seen on the way to it.
    pub fn watch(&self, entry: &Entry, watch: Watch<'_>, context: &mut Context) -> Watched {
        let mut machine = Machine::new(&self.program, watch.data.clone(), watch.input, context, watch.limits);
        let observer = Observer::new(self.program.places.len(), watch.attempts.is_some());
        machine.observer = Some(Box::new(observer));
        let value = match entry.group {
            Some(group) => machine.group_value(group),
            None => machine.document(&entry.path),
        };
        let value = value.and_then(|value| match machine.first_error.take() {
            Some(halt) if watch.limits.strict_builtin_errors => Err(halt),
            _ => Ok(value.and_then(|value| entry.below(value))),
        });
        let observer = machine.observer.take().map(|observer| *observer).unwrap_or_default();
        let attempts = match (&observer.attempts, watch.attempts) {
            (Some(tried), Some(sources)) => told::attempts(&self.program, sources, tried),
            _ => Vec::new(),
        };
        Watched {
            value,
            printed: observer.printed,
            cut: observer.cut,
            cases: observer.cases,
            attempts,
            seen: observer.seen,
        }
    }
}
