//! What tests reached, in the words of `opa test --coverage`.
use crate::engine::rego::examine::Examined;
use postern_rego::{Coverage, FileCoverage, Span};
use serde_json::{Map, Value, json};

pub(super) fn of(reached: &Coverage, examined: &Examined) -> Vec<FileCoverage> {
    reached.report(&examined.policy, &examined.sources())
}

/// Rows reached, rows not reached, and the share in percent.
pub(super) fn share(files: &[FileCoverage]) -> (usize, usize, f64) {
    let covered: usize = files.iter().map(FileCoverage::covered_lines).sum();
    let not_covered: usize = files.iter().map(FileCoverage::not_covered_lines).sum();
    (covered, not_covered, percent(covered, not_covered))
}

fn percent(covered: usize, not_covered: usize) -> f64 {
    let all = covered.saturating_add(not_covered);
    if all == 0 { 0.0 } else { 100.0 * (covered as f64) / (all as f64) }
}

pub(super) fn plain(files: &[FileCoverage], out: &mut String) {
    out.push('\n');
    for file in files {
        let (covered, not_covered) = (file.covered_lines(), file.not_covered_lines());
        let share = percent(covered, not_covered);
        out.push_str(&format!(
            "{share:6.1} %  {}  ({covered} of {} lines)\n",
            file.file,
            covered + not_covered
        ));
        for row in file.not_covered_rows() {
            out.push_str(&format!("          not covered: {}:{row}\n", file.file));
        }
    }
    let (covered, not_covered, share) = share(files);
    out.push_str(&format!("{share:6.1} %  all  ({covered} of {} lines)\n", covered + not_covered));
}

pub(super) fn json(files: &[FileCoverage]) -> Value {
    let spans = |spans: &[Span]| -> Vec<Value> {
        let at = |position: postern_rego::Position| json!({"row": position.row, "col": position.col});
        spans.iter().map(|span| json!({"start": at(span.start), "end": at(span.end)})).collect()
    };
    let mut told = Map::new();
    for file in files {
        let (covered, not_covered) = (file.covered_lines(), file.not_covered_lines());
        let report = json!({
            "covered": spans(&file.covered),
            "not_covered": spans(&file.not_covered),
            "covered_lines": covered,
            "not_covered_lines": not_covered,
            "coverage": percent(covered, not_covered),
        });
        told.insert(file.file.clone(), report);
    }
    let (covered, not_covered, share) = share(files);
    json!({"files": told, "covered_lines": covered, "not_covered_lines": not_covered, "coverage": share})
}
