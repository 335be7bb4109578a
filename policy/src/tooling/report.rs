//! Results of tests, for people and for machines.
use super::cedar;
use super::coverage;
use super::shown::shown;
use super::suite::{Outcome, Report, TestResult};
use serde_json::{Value, json};

/// For people: what failed, with why, and the sums.
pub fn plain(report: &Report, verbose: bool) -> String {
    let mut out = String::new();
    for result in report.results.iter().filter(|result| verbose || result.outcome != Outcome::Passed) {
        let outcome = result.outcome.word().to_uppercase();
        out.push_str(&format!("{outcome:5}  {}:{}  {}\n", result.file, result.row, shown(&result.name)));
        for (name, passed) in result.parts.iter().filter(|(_, passed)| verbose || !passed) {
            out.push_str(&format!("         {}  {}\n", if *passed { "pass" } else { "FAIL" }, shown(name)));
        }
        result.messages.iter().for_each(|message| out.push_str(&format!("         {}\n", shown(message))));
        if let Some(unmet) = result.nearest.and_then(|nearest| result.attempts.get(nearest)?.unmet.as_ref()) {
            out.push_str(&format!(
                "         first condition that does not hold: {}  {}\n",
                unmet.place,
                shown(&unmet.text)
            ));
            for (name, value) in &unmet.values {
                let value = value.as_ref().map_or_else(|| "undefined".to_owned(), ToString::to_string);
                let value: String = value.chars().take(160).collect();
                out.push_str(&format!("           {} is {}\n", shown(name), shown(&value)));
            }
        }
        if !result.output.is_empty() {
            out.push_str("         printed:\n");
            result.output.lines().for_each(|line| out.push_str(&format!("           {}\n", shown(line))));
        }
    }
    if let Some(files) = &report.coverage {
        coverage::plain(files, &mut out);
        cedar::plain(&report.policies, &mut out);
    }
    if !out.is_empty() {
        out.push('\n');
    }
    let counts = [Outcome::Passed, Outcome::Failed, Outcome::Errored, Outcome::Skipped];
    let counts = counts.map(|outcome| (outcome, report.count(outcome)));
    let shown: Vec<String> = counts
        .iter()
        .filter(|(outcome, count)| *count > 0 || *outcome == Outcome::Passed)
        .map(|(outcome, count)| format!("{count} {}", counted(*outcome)))
        .collect();
    out.push_str(&shown.join(", "));
    out.push('\n');
    out
}

fn counted(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "passed",
        Outcome::Failed => "failed",
        Outcome::Errored => "ended in errors",
        Outcome::Skipped => "skipped",
    }
}

/// One JSON document.
pub fn json(report: &Report) -> Value {
    let tests: Vec<Value> = report.results.iter().map(test_json).collect();
    let mut told = json!({
        "passed": report.count(Outcome::Passed),
        "failed": report.count(Outcome::Failed),
        "errors": report.count(Outcome::Errored),
        "skipped": report.count(Outcome::Skipped),
        "tests": tests,
    });
    if let (Some(files), Some(told)) = (&report.coverage, told.as_object_mut()) {
        let mut covered = coverage::json(files);
        if let (false, Some(covered)) = (report.policies.is_empty(), covered.as_object_mut()) {
            covered.insert("policies".to_owned(), cedar::json(&report.policies));
        }
        told.insert("coverage".to_owned(), covered);
    }
    told
}

fn test_json(result: &TestResult) -> Value {
    let parts: Vec<Value> =
        result.parts.iter().map(|(name, passed)| json!({"name": name, "passed": passed})).collect();
    json!({
        "name": result.name,
        "kind": if result.is_case { "case" } else { "rule" },
        "location": {"file": result.file, "row": result.row},
        "outcome": result.outcome.word(),
        "messages": result.messages,
        "output": result.output,
        "cases": parts,
        "duration_ns": result.duration_ns,
    })
}

/// JUnit's XML.
pub fn junit(report: &Report) -> String {
    let total: usize = [Outcome::Passed, Outcome::Failed, Outcome::Errored, Outcome::Skipped]
        .into_iter()
        .map(|outcome| report.results.iter().filter(|result| result.outcome == outcome).count())
        .sum();
    let of = |outcome| report.results.iter().filter(|result| result.outcome == outcome).count();
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    out.push_str(&format!(
        "  <testsuite name=\"postern policy test\" tests=\"{total}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\">\n",
        of(Outcome::Failed),
        of(Outcome::Errored),
        of(Outcome::Skipped)
    ));
    for result in &report.results {
        let (seconds, nanos) = (result.duration_ns / 1_000_000_000, result.duration_ns % 1_000_000_000);
        out.push_str(&format!(
            "    <testcase classname=\"{}\" name=\"{}\" file=\"{}\" line=\"{}\" time=\"{seconds}.{nanos:09}\">\n",
            xml(&result.file),
            xml(&result.name),
            xml(&result.file),
            result.row
        ));
        let why = xml(&why(result));
        match result.outcome {
            Outcome::Passed => {}
            Outcome::Failed => out.push_str(&format!("      <failure message=\"{why}\"/>\n")),
            Outcome::Errored => out.push_str(&format!("      <error message=\"{why}\"/>\n")),
            Outcome::Skipped => out.push_str("      <skipped/>\n"),
        }
        if !result.output.is_empty() {
            out.push_str(&format!("      <system-out>{}</system-out>\n", xml(&result.output)));
        }
        out.push_str("    </testcase>\n");
    }
    out.push_str("  </testsuite>\n</testsuites>\n");
    out
}

fn why(result: &TestResult) -> String {
    let failed = result.parts.iter().filter(|(_, passed)| !passed).map(|(name, _)| format!("case {name}"));
    result.messages.iter().cloned().chain(failed).collect::<Vec<_>>().join("; ")
}

/// Text in XML: what the format cannot hold at all is left out.
pub(super) fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push_str("&#9;"),
            '\u{fffe}' | '\u{ffff}' => {}
            char if char < ' ' => {}
            char => out.push(char),
        }
    }
    out
}

/// A path as a reference of RFC 3986, as SARIF wants it: 3.4.3 of its specification.
pub(super) fn uri(path: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(byte);
    path.bytes()
        .map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// SARIF 2.1.0: what failed, each at its place.
pub fn sarif(report: &Report) -> Value {
    let failed =
        report.results.iter().filter(|result| matches!(result.outcome, Outcome::Failed | Outcome::Errored));
    let results: Vec<Value> = failed
        .map(|result| {
            let why = why(result);
            let text = if why.is_empty() { result.name.clone() } else { format!("{}: {why}", result.name) };
            json!({
                "ruleId": if result.is_case { "policy-case" } else { "policy-test" },
                "level": "error",
                "message": {"text": text},
                "locations": [{"physicalLocation": {
                    "artifactLocation": {"uri": uri(&result.file)},
                    "region": {"startLine": result.row.max(1)},
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
                "rules": [{"id": "policy-test"}, {"id": "policy-case"}],
            }},
            "results": results,
        }],
    })
}
