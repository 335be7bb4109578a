//! What people who write policies need beside the decision itself: tests, explanations, templates, measurements. Pure,
//! as the rest of the crate: files come in as bytes, reports go out as text, and the clock is the caller's.
mod ask;
mod asked;
mod bench;
mod cases;
mod cedar;
#[cfg(test)]
mod cedar_tests;
mod check;
mod coverage;
mod diff;
mod explain;
mod files;
mod recorded;
mod replay;
#[cfg(test)]
mod replay_tests;
mod report;
mod rule_tests;
mod shown;
#[cfg(test)]
mod shown_tests;
mod suite;
mod template;
#[cfg(test)]
mod tests;
mod value;

pub use ask::{differences, verdict, with_query};
pub use asked::Asked;
pub use bench::{Figures, figures};
pub use cases::{
    CASES_FILE, Case, CasesError, Decides, Expect, Language, NOW_NS, Request, TABLE_BYTES_MAX, Table, Wording,
};
pub use cedar::{ConditionCoverage, PolicyCoverage};
pub use check::{
    CODES, Code, FINDINGS_MAX, Finding, Findings, Severity, check, findings_json, findings_junit,
    findings_plain, findings_sarif,
};
pub use diff::{Change, Difference, Kind, Side, compared, over, requests_of};
pub use explain::{Answer, EvalError, Inquiry, Question};
pub use files::{is_test_file, without_tests};
pub use replay::{Replay, ReplayReport};
pub use report::{json, junit, plain, sarif};
pub use shown::{deceives, shown, shown_json, shown_lines};
pub use suite::{NameFilter, Outcome, Report, Selection, Suite, SuiteError, TestResult};
pub use template::{TEMPLATES, Template, template};
