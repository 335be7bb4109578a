//! Policies that nobody wrote, against real OPA and against ourselves.
mod bodies;
mod documents;
mod mistyped;
mod modules;
mod opa;
mod properties;
mod reduce;
mod rows;
mod terms;
mod tests;

use crate::ast::Version;
use crate::builtins::Context;
use crate::{HaltCode, Limits, LoadError, Policy, Source, Value};

/// Modules, data and inputs.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) modules: Vec<String>,
    pub(crate) version: Version,
    pub(crate) data: String,
    pub(crate) inputs: Vec<Option<String>>,
    /// Whether errors of builtins end an evaluation.
    pub(crate) strict: bool,
}

/// What a document is. Values are in JSON as OPA prints it.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Value(String),
    Undefined,
    Error(#[expect(dead_code, reason = "for messages")] String),
}

impl PartialEq for Answer {
    /// One error is as good as another.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Value(a), Self::Value(b)) => a == b,
            (Self::Undefined, Self::Undefined) | (Self::Error(_), Self::Error(_)) => true,
            _ => false,
        }
    }
}

/// Steps after which a case is left out.
const STEPS: u64 = 2_000_000;

impl Case {
    pub(crate) fn load(&self) -> Result<Policy, LoadError> {
        let names: Vec<String> = (0..self.modules.len()).map(|index| format!("m{index}.rego")).collect();
        let sources = self.modules.iter().zip(&names);
        let sources: Vec<Source<'_>> =
            sources.map(|(text, name)| Source { name, text, version: self.version }).collect();
        Policy::load(&sources)
    }

    /// Without the line that does not compile, or without the rule if it is its head; nothing if there is none.
    pub(crate) fn without_line(&self, module: usize, row: usize) -> Option<Self> {
        let mut case = self.clone();
        let lines: Vec<&str> = self.modules.get(module)?.lines().collect();
        let inside = |line: &str| line.starts_with(['\t', '}']);
        let at = row.checked_sub(1)?;
        let mut from = at;
        while inside(lines.get(from)?) {
            from -= 1;
        }
        let length = 1 + lines[from + 1..].iter().take_while(|line| inside(line)).count();
        let few = lines[from + 1..from + length].iter().filter(|line| line.starts_with('\t')).count() < 2;
        let gone =
            if at == from || few || !lines[at].starts_with('\t') { from..from + length } else { at..at + 1 };
        if lines[gone.clone()].iter().any(|line| line.starts_with("package") || line.is_empty()) {
            return None;
        }
        let kept = lines.iter().enumerate().filter(|(index, _)| !gone.contains(index));
        case.modules[module] = kept.map(|(_, line)| format!("{line}\n")).collect();
        Some(case)
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits { steps: STEPS, deadline: None, strict_builtin_errors: self.strict }
    }

    /// The documents that are asked for: each package, then each rule.
    pub(crate) fn documents(&self, policy: &Policy) -> (Vec<Vec<String>>, Vec<Vec<String>>) {
        let mut packages: Vec<Vec<String>> = policy
            .packages()
            .iter()
            .map(|package| package.iter().map(|name| name.to_string()).collect())
            .collect();
        packages.sort();
        packages.dedup();
        let name = |part: &Value| part.as_str().map(str::to_owned);
        // OPA's server takes no empty part of a path, and takes digits for a number.
        let name = |part: &Value| name(part).filter(|name| name.parse::<f64>().is_err() && !name.is_empty());
        let rules = policy.rules().filter_map(|path| path.iter().map(name).collect()).collect();
        (packages, rules)
    }
}

/// What we answer; `None` beyond the budget.
pub(crate) fn ours(
    policy: &Policy,
    case: &Case,
    path: &[String],
    input: Option<&str>,
    context: &mut Context,
) -> Option<Answer> {
    let names: Vec<&str> = path.iter().map(String::as_str).collect();
    let Some(entry) = policy.entry(&names) else { return Some(Answer::Undefined) };
    let data = Value::from_json(&case.data).unwrap();
    let input = input.map(|input| Value::from_json(input).unwrap());
    Some(match policy.evaluate(&entry, &data, input, context, case.limits()) {
        Ok(Some(value)) => Answer::Value(as_json(&value).to_json()),
        Ok(None) => Answer::Undefined,
        Err(halt) if halt.code == HaltCode::Budget => return None,
        Err(halt) => {
            assert_ne!(halt.code, HaltCode::Internal, "{halt}\n{case:?}");
            Answer::Error(halt.to_string())
        }
    })
}

/// As OPA prints it: sets are arrays, and keys their text.
fn as_json(value: &Value) -> Value {
    match value {
        Value::Array(items) => Value::array(items.iter().map(as_json)),
        Value::Set(items) => Value::array(items.iter().map(as_json)),
        Value::Object(members) => Value::object(members.iter().map(|(key, value)| {
            let key = match key {
                Value::String(_) => key.clone(),
                other => Value::from(as_json(other).to_json()),
            };
            (key, as_json(value))
        })),
        other => other.clone(),
    }
}
