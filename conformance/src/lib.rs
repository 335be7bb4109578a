//! Other people's rules. Each numbered requirement of a specification is a [`Row`] with cases that must be accepted
//! and cases that must be refused; `cargo xtask conformance` runs them all and prints one table, which is also
//! `docs/conformance.md`.
//!
//! To add a row, write it in the file of its family in `rows/`. A row without a case of either kind fails, unless it
//! says why it is open.

mod kit;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod peers;
mod report;
mod rows;
pub mod suites;

use std::fmt::Display;

pub use report::{Report, State, markdown};

/// One requirement.
pub struct Row {
    /// Its number, as `SID-01`.
    pub id: &'static str,
    /// What is required, in a few words.
    pub requirement: &'static str,
    /// Where it stands.
    pub source: &'static str,
    /// Why nothing shows that it holds.
    pub open: Option<&'static str>,
    /// What shows that it holds.
    pub cases: Vec<Case>,
}

/// One thing to try.
pub struct Case {
    /// What is tried.
    pub name: &'static str,
    /// What has to become of it.
    pub expected: Expected,
    run: Box<dyn Fn() -> Result<(), String>>,
}

/// What has to become of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// It is accepted.
    Accepted,
    /// It is refused, and says this.
    Refused(&'static str),
}

/// A requirement that cases follow.
pub fn row(id: &'static str, requirement: &'static str, source: &'static str) -> Row {
    Row { id, requirement, source, open: None, cases: Vec::new() }
}

impl Row {
    /// Something that must be accepted.
    #[must_use]
    pub fn accepts<T, E: Display>(
        mut self,
        name: &'static str,
        attempt: impl Fn() -> Result<T, E> + 'static,
    ) -> Self {
        let run = move || attempt().map(drop).map_err(|error| error.to_string());
        self.cases.push(Case { name, expected: Expected::Accepted, run: Box::new(run) });
        self
    }

    /// Something that must be refused; the refusal's text, or its code, holds `word`.
    #[must_use]
    pub fn refuses<T, E: Display>(
        mut self,
        name: &'static str,
        word: &'static str,
        attempt: impl Fn() -> Result<T, E> + 'static,
    ) -> Self {
        let run = move || attempt().map(drop).map_err(|error| error.to_string());
        self.cases.push(Case { name, expected: Expected::Refused(word), run: Box::new(run) });
        self
    }

    /// Says why nothing shows that the requirement holds.
    #[must_use]
    pub fn open(mut self, why: &'static str) -> Self {
        self.open = Some(why);
        self
    }

    /// Tries every case.
    pub fn run(&self) -> Report {
        let failures: Vec<String> = self.cases.iter().filter_map(Case::failure).collect();
        let has = |wanted: fn(&Expected) -> bool| self.cases.iter().any(|case| wanted(&case.expected));
        let lacks_cases = !has(|expected| matches!(expected, Expected::Accepted))
            || !has(|expected| matches!(expected, Expected::Refused(_)));
        let state = match self.open {
            Some(why) if failures.is_empty() => State::Open(why.to_owned()),
            None if failures.is_empty() && !lacks_cases => State::Pass,
            None if failures.is_empty() => {
                State::Fail(vec!["the row lacks an accepting or a refusing case".to_owned()])
            }
            Some(_) | None => State::Fail(failures),
        };
        Report {
            id: self.id,
            requirement: self.requirement,
            source: self.source,
            cases: self.cases.len(),
            state,
        }
    }
}

impl Case {
    /// What is wrong, if anything is.
    fn failure(&self) -> Option<String> {
        let found = (self.run)();
        let name = self.name;
        match (self.expected, found) {
            (Expected::Accepted, Ok(())) => None,
            (Expected::Accepted, Err(error)) => Some(format!("{name}: refused: {error}")),
            (Expected::Refused(_), Ok(())) => Some(format!("{name}: accepted")),
            (Expected::Refused(word), Err(error)) if error.contains(word) => None,
            (Expected::Refused(word), Err(error)) => {
                Some(format!("{name}: refused by `{error}`, which does not say `{word}`"))
            }
        }
    }
}

/// Every row, in the order of the table.
pub fn all() -> Vec<Row> {
    rows::all()
}
