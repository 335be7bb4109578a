//! The `json` builtins: JSON and YAML as text, and objects taken apart by paths.
mod patch;
mod paths;
mod yaml;

use super::{Builtin, BuiltinError, Context, Outcome, arg, object, operand, text};
use crate::Value;
use crate::value::JsonError;
use crate::value::json::{is_json, json_members, write_json_string};

pub(super) const TABLE: &[Builtin] = &[
    Builtin::pure("json.filter", 2, paths::filter),
    Builtin::pure("json.is_valid", 1, is_valid),
    Builtin::pure("json.marshal", 1, marshal),
    Builtin::pure("json.marshal_with_options", 2, marshal_with_options),
    Builtin::pure("json.patch", 2, patch::patch),
    Builtin::pure("json.remove", 2, paths::remove),
    Builtin::pure("json.unmarshal", 1, unmarshal),
    Builtin::pure("yaml.is_valid", 1, yaml::is_valid),
    Builtin::pure("yaml.marshal", 1, yaml::marshal),
    Builtin::pure("yaml.unmarshal", 1, yaml::unmarshal),
];

/// How deep a value may nest that a builtin goes into: as deep as input may, and as a policy may put it into.
const MAX_DEPTH: usize = 256;

/// Charges for going through a whole value, as often as its parts occur in it, and refuses one that nests too deep.
pub(super) fn weigh(context: &mut Context, value: &Value) -> Result<(), BuiltinError> {
    weigh_below(context, value, 0)
}

fn weigh_below(context: &mut Context, value: &Value, depth: usize) -> Result<(), BuiltinError> {
    let mut scale = Scale { context, bytes: 0 };
    scale.add(value, depth)?;
    let Scale { context, bytes } = scale;
    context.charge_bytes(bytes)
}

struct Scale<'a> {
    context: &'a mut Context,
    bytes: usize,
}

impl Scale<'_> {
    fn add(&mut self, value: &Value, depth: usize) -> Result<(), BuiltinError> {
        if depth > MAX_DEPTH {
            return Err(BuiltinError::Budget(format!("a value nests deeper than {MAX_DEPTH}")));
        }
        self.put(16)?;
        match value {
            Value::String(text) => self.put(text.len()),
            Value::Array(items) => items.iter().try_for_each(|item| self.add(item, depth + 1)),
            Value::Set(items) => items.iter().try_for_each(|item| self.add(item, depth + 1)),
            Value::Object(object) => object.iter().try_for_each(|(key, value)| {
                self.add(key, depth + 1)?;
                self.add(value, depth + 1)
            }),
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
        }
    }

    fn put(&mut self, bytes: usize) -> Result<(), BuiltinError> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes >= 4096 {
            self.context.charge_bytes(std::mem::take(&mut self.bytes))?;
        }
        Ok(())
    }
}

fn marshal(context: &mut Context, args: &[Value]) -> Outcome {
    let value = arg(args, 0)?;
    weigh(context, value)?;
    Ok(Some(Value::from(value.to_json())))
}

fn marshal_with_options(context: &mut Context, args: &[Value]) -> Outcome {
    let value = arg(args, 0)?;
    let (mut prefix, mut indent, mut pretty, mut asked) = ("", "\t", None, false);
    for (key, option) in object(args, 1)? {
        let wrong =
            |expected: &str| BuiltinError::Type(format!("operand 2 key {key} failed cast to {expected}"));
        match key.as_str() {
            Some("prefix") => prefix = option.as_str().ok_or_else(|| wrong("string"))?,
            Some("indent") => indent = option.as_str().ok_or_else(|| wrong("string"))?,
            Some("pretty") => {
                let Value::Bool(option) = option else { return Err(wrong("bool")) };
                pretty = Some(*option);
                continue;
            }
            Some(_) => {
                return Err(BuiltinError::Type(format!("operand 2 object contained unknown key {key}")));
            }
            None => return Err(operand(1, "object with strings as keys", key)),
        }
        asked = true;
    }
    weigh(context, value)?;
    if !pretty.unwrap_or(asked) {
        return Ok(Some(Value::from(value.to_json())));
    }
    let mut page = Page { context, prefix, indent, text: prefix.to_owned() };
    page.value(value, 0)?;
    Ok(Some(Value::from(page.text)))
}

/// JSON with a line for every item, as Go's `MarshalIndent` sets it.
struct Page<'a> {
    context: &'a mut Context,
    prefix: &'a str,
    indent: &'a str,
    text: String,
}

impl Page<'_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), BuiltinError> {
        match value {
            Value::Array(items) => self.items(items.iter(), depth),
            Value::Set(items) => self.items(items.iter(), depth),
            Value::Object(object) if !object.is_empty() => {
                self.text.push('{');
                for (index, (name, value)) in json_members(object).into_iter().enumerate() {
                    self.line(index > 0, depth + 1)?;
                    write_json_string(&name, &mut self.text);
                    self.text.push_str(": ");
                    self.value(value, depth + 1)?;
                }
                self.line(false, depth)?;
                self.text.push('}');
                Ok(())
            }
            scalar => {
                self.text.push_str(&scalar.to_json());
                Ok(())
            }
        }
    }

    fn items<'v>(
        &mut self,
        items: impl ExactSizeIterator<Item = &'v Value>,
        depth: usize,
    ) -> Result<(), BuiltinError> {
        let empty = items.len() == 0;
        self.text.push('[');
        for (index, item) in items.enumerate() {
            self.line(index > 0, depth + 1)?;
            self.value(item, depth + 1)?;
        }
        if !empty {
            self.line(false, depth)?;
        }
        self.text.push(']');
        Ok(())
    }

    fn line(&mut self, comma: bool, depth: usize) -> Result<(), BuiltinError> {
        let length = self.indent.len().saturating_mul(depth).saturating_add(self.prefix.len());
        self.context.charge_bytes(length)?;
        self.text.push_str(if comma { ",\n" } else { "\n" });
        self.text.push_str(self.prefix);
        self.text.extend(std::iter::repeat_n(self.indent, depth));
        Ok(())
    }
}

fn unmarshal(context: &mut Context, args: &[Value]) -> Outcome {
    let text = text(args, 0)?;
    context.charge_bytes(text.len().saturating_mul(4))?;
    let (value, rest) = Value::from_json_prefix(text).map_err(|error| unreadable(&error))?;
    // OPA asks for one more token and takes that of `null` for the end, whatever comes after it.
    let rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
    if rest.is_empty() || rest.starts_with("null") {
        return Ok(Some(value));
    }
    Err(BuiltinError::Failed("there is more behind the value".to_owned()))
}

/// What Go would read and we do not is refused as a whole: undefined would be another answer than OPA's.
fn unreadable(error: &JsonError) -> BuiltinError {
    if error.is_bound() {
        BuiltinError::Budget(error.0.clone())
    } else {
        BuiltinError::Failed(error.0.clone())
    }
}

fn is_valid(context: &mut Context, args: &[Value]) -> Outcome {
    let Ok(text) = text(args, 0) else { return Ok(Some(Value::Bool(false))) };
    context.charge_bytes(text.len())?;
    Ok(Some(Value::Bool(is_json(text))))
}

#[cfg(test)]
mod tests;
