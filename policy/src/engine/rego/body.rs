//! `input.parsed_body` and `input.truncated_body`: what the OPA-Envoy plugin makes of a body, by its content type.
use super::input::{InputError, pairs};
use super::value;
use crate::document::{self, DocumentLimits};
use crate::engine::multipart;
use crate::query::{Body, Http};
use postern_rego::Value;
use std::collections::BTreeMap;

/// The deepest JSON body that a policy gets to see.
const BODY_LIMITS: DocumentLimits = DocumentLimits { depth_max: 32, values_max: 100_000 };

/// The body's value, and whether a part of the body is missing.
///
/// The content types are looked for as the plugin looks for them, anywhere in the field. `x-envoy-auth-partial-body`
/// is not read: here it would be the caller's word.
pub(super) fn parsed_body(http: &Http<'_>) -> Result<(Value, bool), InputError> {
    let bytes = match http.body {
        Body::NotRead | Body::Whole([]) => return Ok((Value::Null, false)),
        Body::Stream => return Ok((Value::Null, true)),
        Body::Whole(bytes) => bytes,
    };
    let content_type = http.headers.get("content-type").unwrap_or("");
    let read = if content_type.contains("application/json") {
        json
    } else if content_type.contains("application/grpc") {
        // It takes a descriptor to read one.
        return Ok((Value::Null, false));
    } else if content_type.contains("application/x-www-form-urlencoded") {
        form
    } else if content_type.contains("multipart/form-data") {
        fields
    } else {
        return Ok((Value::Null, false));
    };
    if is_cut_short(http, bytes)? {
        return Ok((Value::Null, true));
    }
    Ok((read(bytes, content_type)?, false))
}

fn is_cut_short(http: &Http<'_>, bytes: &[u8]) -> Result<bool, InputError> {
    let Some(announced) = http.headers.get("content-length") else { return Ok(false) };
    let announced: i64 =
        announced.parse().map_err(|_| InputError::Body("`content-length` is no number".to_owned()))?;
    Ok(usize::try_from(announced).is_ok_and(|announced| announced > bytes.len()))
}

fn json(bytes: &[u8], _content_type: &str) -> Result<Value, InputError> {
    let document =
        document::parse(bytes, BODY_LIMITS).map_err(|error| InputError::Body(error.to_string()))?;
    value::of_document(&document).map_err(|error| InputError::Body(error.to_string()))
}

fn form(bytes: &[u8], _content_type: &str) -> Result<Value, InputError> {
    let text =
        std::str::from_utf8(bytes).map_err(|_| InputError::Body("the form is not UTF-8".to_owned()))?;
    pairs(text).map_err(|error| InputError::Body(error.to_string()))
}

/// Name to values. A file's bytes that are no text are shown with the replacement character in their place.
fn fields(bytes: &[u8], content_type: &str) -> Result<Value, InputError> {
    let refused = |what: &str| InputError::Body(what.to_owned());
    let Some(boundary) = multipart::boundary(content_type).map_err(refused)? else { return Ok(Value::Null) };
    let mut values: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for part in multipart::parts(bytes, &boundary).map_err(refused)? {
        let value = if part.is_json {
            json(part.content, "")?
        } else {
            Value::from(String::from_utf8_lossy(part.content).into_owned())
        };
        values.entry(part.name).or_default().push(value);
    }
    Ok(Value::object(values.into_iter().map(|(name, values)| (Value::from(name), Value::array(values)))))
}
