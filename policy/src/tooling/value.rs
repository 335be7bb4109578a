//! Values as JSON, for reports.
use postern_rego::Value;

/// A value as JSON; a set becomes an array, a key that is no string its notation in Rego.
pub(super) fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Number(number) => serde_json::from_str(&number.to_string()).unwrap_or(serde_json::Value::Null),
        Value::String(text) => text.as_ref().into(),
        Value::Array(items) => items.iter().map(json).collect(),
        Value::Set(items) => items.iter().map(json).collect(),
        Value::Object(members) => {
            let key = |key: &Value| key.as_str().map_or_else(|| key.to_string(), str::to_owned);
            serde_json::Value::Object(members.iter().map(|(name, value)| (key(name), json(value))).collect())
        }
    }
}
