//! What people who write policies need beside the decision itself: tests, explanations, templates, measurements. Pure,
//! as the rest of the crate: files come in as bytes, reports go out as text, and the clock is the caller's.
mod ask;
mod bench;
mod cases;
mod coverage;
mod explain;
mod files;
mod report;
mod rule_tests;
mod suite;
mod template;
#[cfg(test)]
mod tests;
mod value;

pub use ask::{differences, verdict, with_query};
pub use bench::{Figures, figures};
pub use cases::{
    CASES_FILE, Case, CasesError, Decides, Expect, Language, NOW_NS, Request, TABLE_BYTES_MAX, Table, Wording,
};
pub use explain::{Answer, EvalError, Inquiry, Question};
pub use files::{is_test_file, without_tests};
pub use report::{json, junit, plain, sarif};
pub use suite::{NameFilter, Outcome, Report, Selection, Suite, SuiteError, TestResult};
pub use template::{TEMPLATES, Template, template};
