//! JSON in and out, number literals kept, as Go's `encoding/json` reads and writes it.
use super::{Object, Value};
use crate::Number;
use std::fmt;

/// Why a text is not JSON, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JsonError(pub String);

impl Value {
    /// Reads one JSON text. Of members with one name the last counts, as in Go. Nesting beyond 128 is refused.
    ///
    /// # Errors
    /// [`JsonError`]: what is wrong and where.
    pub fn from_json(text: &str) -> Result<Self, JsonError> {
        let json: serde_json::Value = serde_json::from_str(text).map_err(|e| JsonError(e.to_string()))?;
        of(&json)
    }
}

fn of(json: &serde_json::Value) -> Result<Value, JsonError> {
    Ok(match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(value) => Value::Bool(*value),
        serde_json::Value::Number(number) => {
            let literal = number.to_string();
            Value::Number(Number::parse(&literal).ok_or(JsonError(format!("number {literal}")))?)
        }
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(items) => Value::Array(items.iter().map(of).collect::<Result<_, _>>()?),
        serde_json::Value::Object(members) => {
            let members = members.iter().map(|(k, v)| Ok((Value::from(k.as_str()), of(v)?)));
            Value::Object(members.collect::<Result<Object, JsonError>>()?)
        }
    })
}

/// Rego's own notation: JSON, but sets and keys of any type.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::String(text) => write!(f, "{text:?}"),
            Self::Array(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
            Self::Object(object) => {
                f.write_str("{")?;
                for (index, (key, value)) in object.iter().enumerate() {
                    write!(f, "{}{key}: {value}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str("}")
            }
            Self::Set(set) if set.is_empty() => f.write_str("set()"),
            Self::Set(set) => {
                f.write_str("{")?;
                for (index, item) in set.iter().enumerate() {
                    write!(f, "{}{item}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str("}")
            }
        }
    }
}
