//! Findings, for people and for machines.
use super::{CODES, Findings, Severity};
use crate::tooling::report::{uri, xml};
use crate::tooling::shown::shown;
use serde_json::{Value, json};

/// For people: a line for each finding, and the sums.
pub fn findings_plain(findings: &Findings) -> String {
    let mut out = String::new();
    for one in &findings.all {
        let (severity, id) = (one.code.severity.word(), one.code.id);
        let (file, said) = (shown(&one.file), shown(&one_line(&one.said())));
        out.push_str(&format!("{file}:{}:{} {severity}[{id}]: {said}\n", one.row, one.col));
    }
    if !out.is_empty() {
        out.push('\n');
    }
    let counted = |severity, one: &str| {
        let count = findings.count(severity);
        format!("{count} {one}{}", if count == 1 { "" } else { "s" })
    };
    out.push_str(&format!(
        "{}, {}, {} in {} file{}\n",
        counted(Severity::Error, "error"),
        counted(Severity::Warning, "warning"),
        counted(Severity::Note, "note"),
        findings.files.len(),
        if findings.files.len() == 1 { "" } else { "s" }
    ));
    if findings.left_out > 0 {
        out.push_str(&format!("{} more are not told: mend these, and check again\n", findings.left_out));
    }
    if let Some(unasked) = findings.unasked {
        out.push_str(&format!("{unasked}\n"));
    }
    out
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// One JSON document.
pub fn findings_json(findings: &Findings) -> Value {
    let all: Vec<Value> = findings
        .all
        .iter()
        .map(|one| {
            json!({
                "code": one.code.id,
                "severity": one.code.severity.word(),
                "file": one.file,
                "row": one.row,
                "col": one.col,
                "what": one.what,
                "mend": one.mend,
            })
        })
        .collect();
    json!({
        "errors": findings.count(Severity::Error),
        "warnings": findings.count(Severity::Warning),
        "notes": findings.count(Severity::Note),
        "files": findings.files,
        "findings": all,
        "left_out": findings.left_out,
        "not_asked": findings.unasked,
    })
}

/// SARIF 2.1.0.
pub fn findings_sarif(findings: &Findings) -> Value {
    let rules: Vec<Value> = CODES
        .iter()
        .map(|code| {
            json!({
                "id": code.id,
                "shortDescription": {"text": code.title},
                "help": {"text": code.mend},
                "defaultConfiguration": {"level": code.severity.word()},
            })
        })
        .collect();
    let results: Vec<Value> = findings
        .all
        .iter()
        .map(|one| {
            json!({
                "ruleId": one.code.id,
                "level": one.code.severity.word(),
                "message": {"text": one.said()},
                "locations": [{"physicalLocation": {
                    "artifactLocation": {"uri": uri(&one.file)},
                    "region": {"startLine": one.row.max(1), "startColumn": one.col.max(1)},
                }}],
            })
        })
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "postern",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

/// JUnit's XML: a file is a test case, and fails by what weighs at least so much.
pub fn findings_junit(findings: &Findings, refused: Severity) -> String {
    let mut files: Vec<&str> = findings.files.iter().map(String::as_str).collect();
    files.extend(findings.all.iter().map(|one| one.file.as_str()));
    files.sort_unstable();
    files.dedup();
    let failed =
        |file: &&&str| findings.all.iter().any(|one| one.file == **file && one.code.severity <= refused);
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    out.push_str(&format!(
        "  <testsuite name=\"postern policy check\" tests=\"{}\" failures=\"{}\">\n",
        files.len(),
        files.iter().filter(failed).count()
    ));
    for file in files {
        let named = xml(file);
        out.push_str(&format!(
            "    <testcase classname=\"policy check\" name=\"{named}\" file=\"{named}\">\n"
        ));
        let (errors, others): (Vec<_>, Vec<_>) =
            findings.all.iter().filter(|one| one.file == file).partition(|one| one.code.severity <= refused);
        for one in errors {
            let message = xml(&format!("{}:{}: {}", one.row, one.col, one.said()));
            out.push_str(&format!("      <failure type=\"{}\" message=\"{message}\"/>\n", one.code.id));
        }
        if !others.is_empty() {
            out.push_str("      <system-out>");
            for one in others {
                let (severity, id) = (one.code.severity.word(), one.code.id);
                let line = format!("{}:{} {severity}[{id}]: {}\n", one.row, one.col, one.said());
                out.push_str(&xml(&line));
            }
            out.push_str("</system-out>\n");
        }
        out.push_str("    </testcase>\n");
    }
    out.push_str("  </testsuite>\n</testsuites>\n");
    out
}
