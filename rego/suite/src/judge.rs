//! One case: load, ask, compare.
use crate::Case;
use postern_rego::builtins::Context;
use postern_rego::{HaltCode, Limits, Policy, QueryError, Source, Value};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What came of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As OPA.
    Passed,
    /// Refused at load.
    Refused(String),
    /// Not as OPA.
    Wrong(String),
}

/// Judges a case.
pub fn judge(case: &Case) -> Outcome {
    match catch_unwind(AssertUnwindSafe(|| run(case))) {
        Ok(outcome) => outcome,
        Err(_) => Outcome::Wrong("a panic".to_owned()),
    }
}

fn context() -> Context {
    #[expect(
        clippy::disallowed_methods,
        reason = "cases about certificates mean the time at which they are run"
    )]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Context::new(u64::try_from(now.as_nanos()).unwrap_or(0), 1)
}

fn of_json(json: &serde_json::Value) -> Value {
    Value::from_json(&json.to_string()).unwrap_or(Value::Null)
}

fn input(case: &Case, limits: Limits) -> Result<Option<Value>, String> {
    match (&case.input_term, &case.input) {
        (Some(term), _) => {
            let mut policy = Policy::load(&[]).map_err(|error| error.to_string())?;
            let rows = policy.query(&format!("x = {term}"), Value::object([]), None, &mut context(), limits);
            let mut rows = rows.map_err(|error| format!("input_term: {error}"))?;
            Ok(rows.pop().and_then(|mut row| row.remove("x")))
        }
        (None, Some(json)) => Ok(Some(of_json(json))),
        (None, None) => Ok(None),
    }
}

fn run(case: &Case) -> Outcome {
    let limits = Limits { steps: 50_000_000, deadline: None, strict_builtin_errors: case.strict_error };
    let input = match input(case, limits) {
        Ok(input) => input,
        Err(why) => return Outcome::Refused(why),
    };
    let names: Vec<String> = (0..case.modules.len()).map(|index| format!("test-{index}.rego")).collect();
    let sources: Vec<Source<'_>> = case
        .modules
        .iter()
        .zip(&names)
        .map(|(text, name)| Source { name, text, version: case.version })
        .collect();
    let mut policy = match Policy::load(&sources) {
        Ok(policy) => policy,
        Err(error) => return Outcome::Refused(error.what),
    };
    let data = case.data.as_ref().map_or_else(|| Value::object([]), of_json);
    match policy.query(&case.query, data, input, &mut context(), limits) {
        Ok(rows) => results(case, rows),
        Err(QueryError::Refused(error)) => Outcome::Refused(error.what),
        Err(QueryError::Halted(halt)) => {
            if matches!(halt.code, HaltCode::Budget) {
                return Outcome::Refused(halt.message);
            }
            let code = match halt.code {
                HaltCode::Conflict => "eval_conflict_error",
                HaltCode::Type => "eval_type_error",
                HaltCode::Builtin => "eval_builtin_error",
                _ => "other",
            };
            match (&case.want_error_code, &case.want_error) {
                (Some(want), _) if want == code => Outcome::Passed,
                (None, Some(_)) => Outcome::Passed,
                (want, _) => Outcome::Wrong(format!("wanted {want:?}, got {code}: {halt}")),
            }
        }
    }
}

fn results(case: &Case, rows: Vec<std::collections::BTreeMap<postern_rego::ast::Str, Value>>) -> Outcome {
    let Some(wanted) = &case.want_result else {
        return Outcome::Wrong(format!(
            "wanted {:?} {:?}, got {rows:?}",
            case.want_error_code, case.want_error
        ));
    };
    let want = Value::set(wanted.iter().map(|row| of_json(&serde_json::Value::Object(row.clone()))));
    let got = Value::set(rows.into_iter().map(|row| {
        Value::object(row.into_iter().map(|(name, value)| {
            let value = as_json(&value);
            (Value::String(name), if case.sort_bindings { sorted(&value) } else { value })
        }))
    }));
    if want == got { Outcome::Passed } else { Outcome::Wrong(format!("wanted {want}, got {got}")) }
}

/// Sets as lists, keys as their text.
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

fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => {
            let mut items = items.to_vec();
            items.sort();
            Value::array(items)
        }
        other => other.clone(),
    }
}
