//! Other people's cases for policy languages, held against the engines as the proxy uses them. One module a suite.
//!
//! The suites' own files are not in this repository: they are read from the folder that `POSTERN_DATA` names.
#![forbid(unsafe_code)]

pub mod cedar;
pub mod opa_envoy;

use std::path::PathBuf;

/// How a suite went. Every case is in exactly one of the counts after `cases`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Cases in the suite.
    pub cases: usize,
    /// Cases in which everything is as the suite wants it.
    pub passed: usize,
    /// Cases that differ from the suite where a list says so, with a reason.
    pub listed: usize,
    /// Cases of which a part is refused that the suite takes as valid.
    pub refused: usize,
    /// Cases with another answer than the suite's, and listed ones that do not differ.
    pub wrong: usize,
    /// Cases that were not looked at.
    pub skipped: usize,
    /// Questions in all cases together.
    pub questions: usize,
    /// What was refused or wrong, for people: the first twenty.
    pub notes: Vec<String>,
}

/// How a case went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As the suite wants it.
    Passed,
    /// Denied for this reason where the suite has an answer, or refused at load.
    Refused(String),
    /// Otherwise.
    Wrong(String),
    /// None of ours, for this reason.
    Skipped(String),
}

/// Why a suite cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SuiteError {
    /// A file cannot be read.
    #[error("`{0}`: {1}")]
    File(String, std::io::Error),
    /// A file is not what it should be.
    #[error("`{0}`: {1}")]
    Json(String, serde_json::Error),
}

/// The most notes that are kept.
const NOTES_MAX: usize = 20;

impl Tally {
    fn note(&mut self, note: String) {
        if self.notes.len() < NOTES_MAX {
            self.notes.push(note);
        }
    }

    fn add(&mut self, other: Self) {
        self.cases = self.cases.saturating_add(other.cases);
        self.passed = self.passed.saturating_add(other.passed);
        self.listed = self.listed.saturating_add(other.listed);
        self.refused = self.refused.saturating_add(other.refused);
        self.wrong = self.wrong.saturating_add(other.wrong);
        self.skipped = self.skipped.saturating_add(other.skipped);
        self.questions = self.questions.saturating_add(other.questions);
        other.notes.into_iter().for_each(|note| self.note(note));
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} cases with {} questions: {} passed, {} differ as listed, {} refused, {} wrong, {} skipped",
            self.cases, self.questions, self.passed, self.listed, self.refused, self.wrong, self.skipped
        )
    }
}

/// The folder of the suites, where there is one.
pub fn data_folder() -> Option<PathBuf> {
    std::env::var_os("POSTERN_DATA").map(PathBuf::from)
}
