//! From the value of the entry point to an answer: a boolean, or the object of the OPA-Envoy plugin.
//!
//! Everything else is no answer, and no answer is a deny: a policy that says `"false"`, `0` or a set must not be read
//! with anybody's idea of truth.
use crate::engine::{Answer, NoAnswer};
use crate::header::{self, FIELDS_MAX};
use crate::verdict::{Decision, MESSAGE_BYTES_MAX, Obligations, PolicyId, truncated};
use postern_rego::Value;

/// The most names in `reasons`.
const REASONS_MAX: usize = 32;
/// The most bytes of a body that a policy gives for a deny.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// Reads the value of the entry point.
pub(super) fn answer(value: &Value, entry: &str) -> Result<Answer, NoAnswer> {
    match value {
        Value::Bool(allowed) => Ok(Answer {
            decision: decision(*allowed),
            reasons: vec![PolicyId::new(entry)],
            message: None,
            obligations: Obligations::default(),
        }),
        Value::Object(_) => object(value, entry),
        Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Set(_) => {
            Err(NoAnswer::ResultType(kind(value).to_owned()))
        }
    }
}

fn decision(allowed: bool) -> Decision {
    if allowed { Decision::Allow } else { Decision::Deny }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Set(_) => "a set",
        Value::Object(_) => "an object",
    }
}

fn member<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    value.member(name)
}

fn object(value: &Value, entry: &str) -> Result<Answer, NoAnswer> {
    let allowed = match member(value, "allowed") {
        Some(Value::Bool(allowed)) => *allowed,
        Some(other) => {
            return Err(NoAnswer::ResultType(format!("an object whose `allowed` is {}", kind(other))));
        }
        None => return Err(NoAnswer::ResultType("an object without `allowed`".to_owned())),
    };
    let mut obligations = Obligations::default();
    if allowed {
        if let Some(fields) = member(value, "headers") {
            obligations.request_headers_set = fields_of("headers", fields)?;
        }
        if let Some(fields) = member(value, "response_headers_to_add") {
            obligations.response_headers_set = fields_of("response_headers_to_add", fields)?;
        }
        if let Some(names) = member(value, "request_headers_to_remove") {
            obligations.request_headers_remove = names_of(names)?;
        }
        for unsupported in ["query_parameters_to_set", "query_parameters_to_remove"] {
            if member(value, unsupported).is_some_and(|v| !is_empty(v)) {
                return Err(NoAnswer::Obligation(format!("`{unsupported}` cannot be applied here")));
            }
        }
    } else {
        if let Some(fields) = member(value, "headers") {
            obligations.deny_headers = fields_of("headers", fields)?;
        }
        obligations.deny_body = member(value, "body").map(body).transpose()?;
        obligations.deny_status = member(value, "http_status").map(status).transpose()?;
    }
    let message = match member(value, "reason") {
        Some(Value::String(text)) => Some(truncated(text.to_string())),
        Some(other) => {
            return Err(NoAnswer::ResultType(format!("an object whose `reason` is {}", kind(other))));
        }
        None => None,
    };
    let mut reasons = member(value, "reasons").map(reasons).transpose()?.unwrap_or_default();
    if reasons.is_empty() {
        reasons.push(PolicyId::new(entry));
    }
    Ok(Answer { decision: decision(allowed), reasons, message, obligations })
}

fn string(value: &Value) -> Option<&str> {
    if let Value::String(text) = value { Some(text) } else { None }
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(|members| members.is_empty())
        || value.as_array().is_some_and(|items| items.is_empty())
        || value.as_set().is_some_and(|items| items.is_empty())
}

fn obligation<T>(what: String) -> Result<T, NoAnswer> {
    Err(NoAnswer::Obligation(what))
}

fn items(value: &Value) -> Option<Vec<&Value>> {
    match value {
        Value::Array(items) => Some(items.iter().collect()),
        Value::Set(items) => Some(items.iter().collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => None,
    }
}

fn reasons(value: &Value) -> Result<Vec<PolicyId>, NoAnswer> {
    let refuse = || NoAnswer::ResultType("an object whose `reasons` is no list of strings".to_owned());
    let items = items(value).ok_or_else(refuse)?;
    let mut reasons = Vec::new();
    for item in items.into_iter().take(REASONS_MAX) {
        let name = string(item).filter(|name| name.len() <= MESSAGE_BYTES_MAX).ok_or_else(refuse)?;
        reasons.push(PolicyId::new(name));
    }
    Ok(reasons)
}

/// An object of name to value or values, or a list of such objects.
fn fields_of(what: &str, value: &Value) -> Result<Vec<(String, String)>, NoAnswer> {
    let mut fields = Vec::new();
    match items(value) {
        Some(objects) => {
            for object in objects {
                take_fields(what, object, &mut fields)?;
            }
        }
        None => take_fields(what, value, &mut fields)?,
    }
    Ok(fields)
}

fn take_fields(what: &str, value: &Value, fields: &mut Vec<(String, String)>) -> Result<(), NoAnswer> {
    let Some(members) = value.as_object() else {
        return obligation(format!("`{what}` is {}, not an object of header fields", kind(value)));
    };
    for (name, value) in members {
        let Value::String(name) = name else {
            return obligation(format!("`{what}` has a name that is {}", kind(name)));
        };
        let values = items(value).unwrap_or_else(|| vec![value]);
        for value in values {
            let Value::String(text) = value else {
                return obligation(format!(
                    "`{what}`: the value of `{name}` is {}, not a string",
                    kind(value)
                ));
            };
            fields
                .push(header::checked(name, text).map_err(|error| NoAnswer::Obligation(error.to_string()))?);
            if fields.len() > FIELDS_MAX {
                return obligation(format!("`{what}` sets more than {FIELDS_MAX} fields"));
            }
        }
    }
    Ok(())
}

fn names_of(value: &Value) -> Result<Vec<String>, NoAnswer> {
    let Some(items) = items(value).filter(|items| items.len() <= FIELDS_MAX) else {
        return obligation("`request_headers_to_remove` is no list of header names, or too long".to_owned());
    };
    let mut names = Vec::new();
    for item in items {
        let Some(name) = string(item) else {
            return obligation(format!("`request_headers_to_remove` holds {}", kind(item)));
        };
        names.push(header::checked_name(name).map_err(|error| NoAnswer::Obligation(error.to_string()))?);
    }
    Ok(names)
}

fn body(value: &Value) -> Result<String, NoAnswer> {
    match string(value) {
        Some(text) if text.len() <= BODY_BYTES_MAX => Ok(text.to_owned()),
        Some(_) => obligation(format!("`body` is longer than {BODY_BYTES_MAX} bytes")),
        None => obligation(format!("`body` is {}, not a string", kind(value))),
    }
}

fn status(value: &Value) -> Result<u16, NoAnswer> {
    match value.as_i64().and_then(|status| u16::try_from(status).ok()) {
        Some(status) if (400..600).contains(&status) => Ok(status),
        Some(_) | None => obligation("`http_status` of a deny is no whole number from 400 to 599".to_owned()),
    }
}
