//! The `schema` builtins: JSON Schema (drafts 4, 6 and 7, and what they have in common) as `gojsonschema` means it, which
//! OPA carries with it. What a schema would have to load from elsewhere is refused.
mod compile;
mod exact;
mod format;
mod keywords;
mod references;
mod report;
mod validate;

use super::{Builtin, BuiltinError, Context, Outcome, arg};
use crate::Value;
use crate::value::json::is_json;
use compile::Schema;
use std::sync::Arc;

pub(super) const TABLE: &[Builtin] = &[
    Builtin::pure("json.match_schema", 2, match_schema),
    Builtin::pure("json.verify_schema", 1, verify_schema),
];

/// Why there is no schema.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fault {
    /// It is none: why.
    Invalid(String),
    /// We cannot tell as OPA would, or it costs too much.
    Refused(BuiltinError),
}

impl From<BuiltinError> for Fault {
    fn from(error: BuiltinError) -> Self {
        Self::Refused(error)
    }
}

impl Fault {
    fn refused(why: String) -> Self {
        Self::Refused(BuiltinError::Budget(why))
    }

    fn failed(self) -> BuiltinError {
        match self {
            Self::Invalid(why) => BuiltinError::Failed(why),
            Self::Refused(error) => error,
        }
    }
}

fn match_schema(context: &mut Context, args: &[Value]) -> Outcome {
    let (document, _) = load(context, arg(args, 0)?).map_err(Fault::failed)?;
    let schema = schema(context, arg(args, 1)?).map_err(Fault::failed)?;
    let errors = schema.validate(context, &document)?;
    let valid = Value::Bool(errors.is_empty());
    Ok(Some(Value::array([valid, Value::array(errors.iter().map(report::Error::to_value))])))
}

fn verify_schema(context: &mut Context, args: &[Value]) -> Outcome {
    match schema(context, arg(args, 0)?) {
        Ok(_) => Ok(Some(Value::array([Value::Bool(true), Value::Null]))),
        Err(Fault::Invalid(why)) => {
            Ok(Some(Value::array([Value::Bool(false), Value::from(format!("jsonschema: {why}"))])))
        }
        Err(Fault::Refused(error)) => Err(error),
    }
}

/// A document, given as a value or as its text: the value that JSON has for it, and the text.
fn load(context: &mut Context, value: &Value) -> Result<(Value, String), Fault> {
    context.charge_values([value])?;
    let text = match value {
        Value::String(text) => {
            context.charge_bytes(text.len().saturating_mul(4))?;
            if !is_json(text) {
                return Err(Fault::Invalid("invalid JSON string".to_owned()));
            }
            text.as_ref().to_owned()
        }
        Value::Array(_) | Value::Object(_) => value.to_json(),
        _ => return Err(Fault::Invalid("wrong type, expected string or object".to_owned())),
    };
    // What is JSON and cannot be read is beyond a bound of ours.
    let document = Value::from_json(&text).map_err(|error| Fault::refused(error.0))?;
    Ok((document, text))
}

/// The schema that an operand is. Charged alike whether it was compiled before or not.
fn schema(context: &mut Context, value: &Value) -> Result<Arc<Schema>, Fault> {
    let (document, text) = load(context, value)?;
    context.charge_bytes(text.len().saturating_mul(64))?;
    let schema = context.patterns.get("schema", &text, || Schema::compile(&document))?;
    for (pattern, wrong) in &schema.patterns {
        if !is_pattern(context, pattern)? {
            return Err(Fault::Invalid(wrong.clone()));
        }
    }
    Ok(schema)
}

/// Whether a text is a regular expression.
fn is_pattern(context: &mut Context, pattern: &str) -> Result<bool, BuiltinError> {
    Ok(regex(context, "regex.is_valid", &[pattern])? == Some(Value::Bool(true)))
}

/// Whether a regular expression finds itself in a text.
fn matches(context: &mut Context, pattern: &str, text: &str) -> Result<bool, BuiltinError> {
    Ok(regex(context, "regex.match", &[pattern, text])? == Some(Value::Bool(true)))
}

fn regex(context: &mut Context, name: &str, operands: &[&str]) -> Outcome {
    let operands: Vec<Value> = operands.iter().map(|operand| Value::from(*operand)).collect();
    match super::lookup(name) {
        Some(builtin) => (builtin.call)(context, &operands),
        None => Err(BuiltinError::Budget(format!("there is no `{name}` to judge a schema's pattern with"))),
    }
}

#[cfg(test)]
mod tests;
