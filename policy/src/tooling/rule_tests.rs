//! Rules that are tests, run as `opa test` runs them: a test passes when its value is `true`.
use super::suite::{Outcome, Selection, TestResult};
use crate::engine::rego::examine::Examined;
use postern_rego::{Coverage, TestRule, Value, Watched};
use std::collections::BTreeMap;

/// The most steps of one test: about as many as a second has time for.
const STEPS_MAX: u64 = 10_000_000;
/// The most cases of one test that are told.
const PARTS_MAX: usize = 10_000;

pub(super) fn run(
    examined: &Examined,
    selection: &Selection,
    now_ns: u64,
    clock: &dyn Fn() -> u64,
    reached: &mut Coverage,
) -> Vec<TestResult> {
    let mut results = Vec::new();
    for test in examined.policy.tests() {
        let name = format!("data.{}", test.path.join("."));
        if !selection.takes(&name) {
            continue;
        }
        let mut result = TestResult {
            name,
            is_case: false,
            file: examined.file(test.loc).to_owned(),
            row: test.loc.row,
            outcome: Outcome::Skipped,
            messages: Vec::new(),
            output: String::new(),
            parts: Vec::new(),
            attempts: Vec::new(),
            nearest: None,
            duration_ns: 0,
        };
        if !test.todo {
            let began = clock();
            let watched = examined.test(&test, now_ns, STEPS_MAX);
            result.duration_ns = clock().saturating_sub(began);
            if let Some(watched) = watched {
                reached.add(&watched);
                judge(examined, &test, watched, &mut result);
            } else {
                result.outcome = Outcome::Errored;
                result.messages.push("a function is no test: it has no value of its own".to_owned());
            }
        }
        results.push(result);
    }
    results
}

fn judge(examined: &Examined, test: &TestRule, watched: Watched, result: &mut TestResult) {
    result.output = watched.printed;
    if watched.cut {
        result.output.push_str("… (more was printed)\n");
    }
    let value = match watched.value {
        Ok(value) => value,
        Err(halt) => {
            result.outcome = Outcome::Errored;
            result.messages.push(format!("{}: {}", examined.policy.place(halt.loc), halt.message));
            return;
        }
    };
    let passed = if test.by_case {
        let mut parts = BTreeMap::new();
        flatten(value.as_ref(), &mut Vec::new(), &mut parts);
        for case in watched.cases {
            add_case(&case, &mut parts);
        }
        let passed = parts.values().all(|passed| *passed);
        result.parts = parts.into_iter().map(|(name, passed)| (name.join("/"), passed)).collect();
        value.is_some() && passed
    } else {
        value == Some(Value::Bool(true))
    };
    result.outcome = if passed { Outcome::Passed } else { Outcome::Failed };
    if passed {
        return;
    }
    match value {
        None => result.messages.push("undefined".to_owned()),
        Some(value) if !test.by_case => {
            let text: String = value.to_string().chars().take(256).collect();
            result.messages.push(format!("its value is {text}, not true"));
        }
        Some(_) => {}
    }
    result.nearest = super::explain::nearest(&watched.attempts);
    result.attempts = watched.attempts;
}

/// The outcomes by the names of cases: what is no object is the outcome.
fn flatten(value: Option<&Value>, path: &mut Vec<String>, parts: &mut BTreeMap<Vec<String>, bool>) {
    match value {
        Some(Value::Object(members)) if !members.is_empty() || path.is_empty() => {
            for (key, value) in members.iter() {
                path.push(word(key));
                flatten(Some(value), path, parts);
                path.pop();
            }
        }
        Some(Value::Object(_)) => add(path, true, parts),
        Some(value) => add(path, *value == Value::Bool(true), parts),
        None => {}
    }
}

/// A case that began and has no outcome did not hold.
fn add_case(case: &Value, parts: &mut BTreeMap<Vec<String>, bool>) {
    let Value::Array(names) = case else { return };
    let path: Vec<String> = names.iter().map(word).collect();
    let known = parts.keys().any(|have| have.starts_with(&path));
    if !known {
        add(&path, false, parts);
    }
}

fn add(path: &[String], passed: bool, parts: &mut BTreeMap<Vec<String>, bool>) {
    if parts.len() < PARTS_MAX {
        parts.insert(path.to_vec(), passed);
    }
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
