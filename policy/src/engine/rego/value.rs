//! From documents and claims to values, number literals kept.
use crate::document::Document;
use postern_rego::{Number, Value};

/// Why a number has no value: it is too long, or too large to be written out.
#[derive(Debug, thiserror::Error)]
#[error("number `{0}` cannot be represented")]
pub(super) struct NotRepresentable(String);

pub(super) fn of_document(document: &Document) -> Result<Value, NotRepresentable> {
    Ok(match document {
        Document::Null => Value::Null,
        Document::Bool(value) => Value::from(*value),
        Document::Number(literal) => number(literal)?,
        Document::String(text) => Value::from(text.as_str()),
        Document::Array(items) => Value::Array(items.iter().map(of_document).collect::<Result<_, _>>()?),
        Document::Object(members) => {
            let members =
                members.iter().map(|(name, value)| Ok((Value::from(name.as_str()), of_document(value)?)));
            Value::Object(members.collect::<Result<_, _>>()?)
        }
    })
}

/// Claims are bounded by the token they stood in.
fn of_json(json: &serde_json::Value) -> Result<Value, NotRepresentable> {
    Ok(match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(value) => Value::from(*value),
        serde_json::Value::Number(literal) => number(&literal.to_string())?,
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(items) => Value::Array(items.iter().map(of_json).collect::<Result<_, _>>()?),
        serde_json::Value::Object(members) => of_members(members)?,
    })
}

pub(super) fn of_members(
    members: &serde_json::Map<String, serde_json::Value>,
) -> Result<Value, NotRepresentable> {
    let members = members.iter().map(|(name, value)| Ok((Value::from(name.as_str()), of_json(value)?)));
    Ok(Value::Object(members.collect::<Result<_, _>>()?))
}

/// A literal with a large exponent is refused: a policy could make something of its digits.
fn number(literal: &str) -> Result<Value, NotRepresentable> {
    const EXPONENT_MAX: i64 = 400;
    const LITERAL_BYTES_MAX: usize = 128;
    let refuse = || NotRepresentable(literal.chars().take(32).collect());
    let exponent = literal.split_once(['e', 'E']).map_or("0", |(_, exponent)| exponent);
    let fits = exponent.parse::<i64>().is_ok_and(|e| e.abs() <= EXPONENT_MAX);
    if !fits || literal.len() > LITERAL_BYTES_MAX {
        return Err(refuse());
    }
    Number::parse(literal).map(Value::Number).ok_or_else(refuse)
}
