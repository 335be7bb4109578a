//! From the value of the entry point to an answer: a boolean, or the object of the OPA-Envoy plugin.
//!
//! Everything else is no answer, and no answer is a deny: a policy that says `"false"`, `0` or a set must not be read
//! with anybody's idea of truth.
use crate::engine::{Answer, NoAnswer};
use crate::header::{self, FIELDS_MAX};
use crate::parameter;
use crate::verdict::{Decision, MESSAGE_BYTES_MAX, Obligations, PolicyId, truncated};
use postern_rego::Value;

/// The most names in `reasons`.
const REASONS_MAX: usize = 32;
/// The most bytes of `dynamic_metadata`, as JSON.
const METADATA_BYTES_MAX: usize = 4 * 1024;
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
            metadata: None,
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
    let obligations = if allowed { of_allow(value)? } else { of_deny(value)? };
    let metadata = member(value, "dynamic_metadata").map(metadata).transpose()?;
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
    Ok(Answer { decision: decision(allowed), reasons, message, obligations, metadata })
}

fn of_allow(value: &Value) -> Result<Obligations, NoAnswer> {
    let fields = |what: &str| member(value, what).map_or(Ok(Vec::new()), |fields| fields_of(what, fields));
    let names = |what: &str, check: Check| {
        member(value, what).map_or(Ok(Vec::new()), |names| names_of(what, names, check))
    };
    Ok(Obligations {
        request_headers_set: last_of_each(fields("headers")?),
        response_headers_add: fields("response_headers_to_add")?,
        request_headers_remove: names("request_headers_to_remove", |name| {
            header::checked_name(name).map_err(|error| error.to_string())
        })?,
        query_set: member(value, "query_parameters_to_set").map_or(Ok(Vec::new()), parameters_of)?,
        query_remove: names("query_parameters_to_remove", parameter::checked_name)?,
        ..Obligations::default()
    })
}

fn of_deny(value: &Value) -> Result<Obligations, NoAnswer> {
    Ok(Obligations {
        deny_headers: member(value, "headers")
            .map_or(Ok(Vec::new()), |fields| fields_of("headers", fields))?,
        deny_body: member(value, "body").map(body).transpose()?,
        deny_status: member(value, "http_status").map(status).transpose()?,
        ..Obligations::default()
    })
}

fn string(value: &Value) -> Option<&str> {
    if let Value::String(text) = value { Some(text) } else { None }
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

/// Of several values of a field the last counts, as it does where Envoy sets them.
fn last_of_each(fields: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut kept: Vec<(String, String)> = Vec::with_capacity(fields.len());
    for (name, value) in fields {
        match kept.iter_mut().find(|(have, _)| *have == name) {
            Some((_, last)) => *last = value,
            None => kept.push((name, value)),
        }
    }
    kept
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

/// What a name must be, and its spelling then.
type Check = fn(&str) -> Result<String, String>;

fn names_of(what: &str, value: &Value, check: Check) -> Result<Vec<String>, NoAnswer> {
    let Some(items) = items(value).filter(|items| items.len() <= FIELDS_MAX) else {
        return obligation(format!("`{what}` is no list of names, or too long"));
    };
    let mut names = Vec::new();
    for item in items {
        let Some(name) = string(item) else {
            return obligation(format!("`{what}` holds {}", kind(item)));
        };
        names.push(check(name).map_err(NoAnswer::Obligation)?);
    }
    Ok(names)
}

/// An object of name to value. Of several values of a name the last counts, as it does where Envoy sets them.
fn parameters_of(value: &Value) -> Result<Vec<(String, String)>, NoAnswer> {
    const WHAT: &str = "query_parameters_to_set";
    let Some(members) = value.as_object() else {
        return obligation(format!("`{WHAT}` is {}, not an object of parameters", kind(value)));
    };
    let mut parameters = Vec::new();
    for (name, value) in members {
        let Value::String(name) = name else {
            return obligation(format!("`{WHAT}` has a name that is {}", kind(name)));
        };
        let name = parameter::checked_name(name).map_err(NoAnswer::Obligation)?;
        let mut last = None;
        for value in items(value).unwrap_or_else(|| vec![value]) {
            let Some(text) = string(value) else {
                return obligation(format!(
                    "`{WHAT}`: the value of `{name}` is {}, not a string",
                    kind(value)
                ));
            };
            last = Some(parameter::checked_value(&name, text).map_err(NoAnswer::Obligation)?);
        }
        parameters.extend(last.map(|value| (name, value)));
        if parameters.len() > FIELDS_MAX {
            return obligation(format!("`{WHAT}` sets more than {FIELDS_MAX} parameters"));
        }
    }
    Ok(parameters)
}

fn metadata(value: &Value) -> Result<String, NoAnswer> {
    if value.as_object().is_none() {
        return obligation(format!("`dynamic_metadata` is {}, not an object", kind(value)));
    }
    let text = value.to_json();
    if text.len() > METADATA_BYTES_MAX {
        return obligation(format!("`dynamic_metadata` is longer than {METADATA_BYTES_MAX} bytes of JSON"));
    }
    Ok(text)
}

fn body(value: &Value) -> Result<String, NoAnswer> {
    match string(value) {
        Some(text) if text.len() <= BODY_BYTES_MAX => Ok(text.to_owned()),
        Some(_) => obligation(format!("`body` is longer than {BODY_BYTES_MAX} bytes")),
        None => obligation(format!("`body` is {}, not a string", kind(value))),
    }
}

/// The statuses that the plugin takes: those that both Go and Envoy have a name for. One that is not final is no answer.
fn status(value: &Value) -> Result<u16, NoAnswer> {
    let status = value.as_i64().and_then(|status| u16::try_from(status).ok());
    match status.filter(|status| is_known(*status)) {
        Some(status) => Ok(status),
        None => obligation("`http_status` is no number of a final status that HTTP knows".to_owned()),
    }
}

fn is_known(status: u16) -> bool {
    matches!(
        status,
        200..=208 | 226 | 300..=305 | 307 | 308 | 400..=417 | 421..=424 | 426 | 428 | 429 | 431 | 500..=508 | 510 | 511
    )
}
