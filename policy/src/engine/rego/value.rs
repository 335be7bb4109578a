//! From documents and claims to the engine's values, number literals kept.
use crate::document::Document;
use regorus::Value;
use std::collections::BTreeMap;

/// Why a number has no value in the engine.
#[derive(Debug, thiserror::Error)]
#[error("number `{0}` cannot be represented")]
pub(super) struct NotRepresentable(String);

pub(super) fn of_document(document: &Document) -> Result<Value, NotRepresentable> {
    Ok(match document {
        Document::Null => Value::Null,
        Document::Bool(value) => Value::from(*value),
        Document::Number(literal) => number(literal)?,
        Document::String(text) => Value::from(text.as_str()),
        Document::Array(items) => Value::from(items.iter().map(of_document).collect::<Result<Vec<_>, _>>()?),
        Document::Object(members) => {
            let mut object = BTreeMap::new();
            for (name, value) in members {
                object.insert(Value::from(name.as_str()), of_document(value)?);
            }
            Value::from(object)
        }
    })
}

/// Claims are bounded by the token they stood in.
pub(super) fn of_json(json: &serde_json::Value) -> Result<Value, NotRepresentable> {
    Ok(match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(value) => Value::from(*value),
        serde_json::Value::Number(literal) => number(&literal.to_string())?,
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(items) => {
            Value::from(items.iter().map(of_json).collect::<Result<Vec<_>, _>>()?)
        }
        serde_json::Value::Object(members) => of_members(members)?,
    })
}

pub(super) fn of_members(
    members: &serde_json::Map<String, serde_json::Value>,
) -> Result<Value, NotRepresentable> {
    let mut object = BTreeMap::new();
    for (name, value) in members {
        object.insert(Value::from(name.as_str()), of_json(value)?);
    }
    Ok(Value::from(object))
}

/// A literal with a large exponent is kept away from the engine, which would expand it to its digits.
fn number(literal: &str) -> Result<Value, NotRepresentable> {
    const EXPONENT_MAX: i64 = 400;
    const LITERAL_BYTES_MAX: usize = 128;
    let refuse = || NotRepresentable(literal.chars().take(32).collect());
    if let Ok(small) = literal.parse::<i64>() {
        return Ok(Value::from(small));
    }
    let exponent = literal.split_once(['e', 'E']).map_or("0", |(_, exponent)| exponent);
    let fits = exponent.parse::<i64>().is_ok_and(|e| e.abs() <= EXPONENT_MAX);
    if !fits || literal.len() > LITERAL_BYTES_MAX {
        return Err(refuse());
    }
    Value::from_numeric_string(literal).map_err(|_| refuse())
}
