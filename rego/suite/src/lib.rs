//! OPA's compliance cases: each a few modules, a query and what it must answer. A case passes, is refused at load with
//! its reason, or is wrong; wrong is never right.
mod cases;
pub mod diagnostics;
mod examples;
mod judge;

pub use cases::{Case, from_archive, from_folder};
pub use examples::from_documentation;
pub use judge::{Outcome, judge};

use std::collections::BTreeMap;

/// What came out, in numbers.
#[derive(Debug, Default)]
pub struct Tally {
    /// Cases in all.
    pub cases: usize,
    /// Those that answer as OPA does.
    pub passed: usize,
    /// Those whose modules are refused at load, by reason.
    pub refused: BTreeMap<String, usize>,
    /// Those that answer otherwise: what, and how.
    pub wrong: Vec<(String, String)>,
}

impl Tally {
    /// Judges cases.
    pub fn of<'c>(cases: impl IntoIterator<Item = &'c Case>) -> Self {
        let mut tally = Self::default();
        for case in cases {
            tally.cases += 1;
            match judge(case) {
                Outcome::Passed => tally.passed += 1,
                Outcome::Refused(why) => *tally.refused.entry(why).or_default() += 1,
                Outcome::Wrong(how) => tally.wrong.push((case.note.clone(), how)),
            }
        }
        tally
    }
}
