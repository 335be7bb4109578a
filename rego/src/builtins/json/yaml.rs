//! The YAML of `sigs.k8s.io/yaml`, that is YAML 1.1 as Go's `yaml.v2` reads it, and turned into JSON. Of it we read what
//! has one meaning to every reader: one document in plain block or flow style. What is more, is refused as a whole.
mod emit;
mod read;
mod resolve;

use super::{unreadable, weigh};
use crate::Value;
use crate::builtins::{BuiltinError, Context, Outcome, arg, text};

/// Why a text has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fault {
    /// It is no YAML, or none that JSON can express.
    Invalid(String),
    /// It may be, but we do not read it.
    Refused(&'static str),
}

fn refused(why: &str) -> BuiltinError {
    BuiltinError::Budget(format!("YAML that is not plain enough to be read as OPA reads it: {why}"))
}

fn read(context: &mut Context, text: &str) -> Result<Result<Value, String>, BuiltinError> {
    context.charge_bytes(text.len().saturating_mul(16))?;
    if super::is_json(text) {
        let value = Value::from_json(text).map_err(|error| unreadable(&error))?;
        read::check_json(text).map_err(refused)?;
        return Ok(resolve::numbers(&value));
    }
    match read::document(text) {
        Ok(value) => Ok(Ok(value)),
        Err(Fault::Invalid(why)) => Ok(Err(why)),
        Err(Fault::Refused(why)) => Err(refused(why)),
    }
}

pub(super) fn unmarshal(context: &mut Context, args: &[Value]) -> Outcome {
    read(context, text(args, 0)?)?.map(Some).map_err(BuiltinError::Failed)
}

pub(super) fn is_valid(context: &mut Context, args: &[Value]) -> Outcome {
    let Ok(text) = text(args, 0) else { return Ok(Some(Value::Bool(false))) };
    Ok(Some(Value::Bool(read(context, text)?.is_ok())))
}

pub(super) fn marshal(context: &mut Context, args: &[Value]) -> Outcome {
    let value = arg(args, 0)?;
    weigh(context, value)?;
    // Every line of what lies deep within is indented.
    context.charge_bytes(value.to_json().len().saturating_mul(4))?;
    match emit::document(context, value)? {
        Ok(text) => Ok(Some(Value::from(text))),
        Err(Fault::Invalid(why)) => Err(BuiltinError::Failed(why)),
        Err(Fault::Refused(why)) => Err(refused(why)),
    }
}

#[cfg(test)]
mod tests;
