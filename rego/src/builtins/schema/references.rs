//! `$id` and `$ref`: only references within the document are followed, and only where the names in it are plain enough
//! that they mean the same to every reader.
use super::Fault;
use crate::Value;

/// The name that a document gives itself, without its empty fragment.
pub(super) fn root_name(document: &Value) -> Result<Option<String>, Fault> {
    let Some(name) = own_name(document) else { return Ok(None) };
    let plain = name.strip_suffix('#').unwrap_or(name);
    let path = plain.strip_prefix("https://").or_else(|| plain.strip_prefix("http://"));
    let simple = |segment: &str| is_plain(segment) && segment != "." && segment != "..";
    let accepted = match path {
        Some(path) => path.strip_suffix('/').unwrap_or(path).split('/').all(simple),
        None => simple(plain),
    };
    if !accepted {
        return Err(Fault::refused(format!("the schema's own name `{name}` is not a plain one")));
    }
    Ok(Some(plain.to_owned()))
}

/// Letters, digits and what does not structure an address.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

fn own_name(value: &Value) -> Option<&str> {
    value.member("id").or_else(|| value.member("$id"))?.as_str()
}

/// Refuses parts that have names of their own, unless nothing can refer to them or from them.
pub(super) fn check_names(document: &Value) -> Result<(), Fault> {
    let mut names = Vec::new();
    walk(document, true, &mut names)?;
    names.sort_unstable();
    if names.is_sorted_by(|a, b| a < b) {
        return Ok(());
    }
    Err(Fault::refused("parts of the schema have one name".to_owned()))
}

fn walk<'v>(value: &'v Value, root: bool, names: &mut Vec<&'v str>) -> Result<(), Fault> {
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| walk(item, false, names)),
        Value::Object(members) => {
            if let Some(name) = own_name(value)
                && !root
            {
                if !is_plain(name) || name.starts_with('.') || has_references(value) {
                    return Err(Fault::refused(format!("a part of the schema has the name `{name}`")));
                }
                names.push(name);
            }
            for (key, value) in members {
                match key.as_str() {
                    // Literals.
                    Some("const" | "enum") => {}
                    // Their members have names of the document's, which mean nothing to the schema.
                    Some("properties" | "dependencies" | "patternProperties") => {
                        for (_, value) in value.as_object().into_iter().flatten() {
                            walk(value, false, names)?;
                        }
                    }
                    _ => walk(value, false, names)?,
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn has_references(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(has_references),
        Value::Object(members) => {
            members.iter().any(|(key, value)| key.as_str() == Some("$ref") || has_references(value))
        }
        _ => false,
    }
}

/// What a reference leads to: the path into the document, as it is written.
pub(super) fn pointer<'r>(reference: &'r str, name: Option<&str>) -> Result<&'r str, Fault> {
    let fragment = match (reference.split_once('#'), name) {
        (Some(("", fragment)), _) => Some(fragment),
        (Some((document, fragment)), Some(name)) if document == name => Some(fragment),
        (None, Some(name)) if reference == name => Some(""),
        _ => None,
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '$' | '/' | '~');
    fragment
        .filter(|fragment| (fragment.is_empty() || fragment.starts_with('/')) && fragment.chars().all(plain))
        .ok_or_else(|| Fault::refused(format!("the schema refers to `{reference}`, which is not within it")))
}

/// The part of a document at a path.
pub(super) fn resolve<'v>(document: &'v Value, pointer: &str) -> Result<&'v Value, Fault> {
    let Some(path) = pointer.strip_prefix('/') else { return Ok(document) };
    let mut at = document;
    for token in path.split('/') {
        at = match at {
            Value::Object(members) => {
                let name = token.replace("~1", "/").replace("~0", "~");
                members.member(&name).ok_or_else(|| Fault::Invalid(format!("Object has no key '{name}'")))?
            }
            Value::Array(items) => {
                let index: i64 =
                    token.parse().map_err(|_| Fault::Invalid(format!("Invalid array index '{token}'")))?;
                let item = usize::try_from(index).ok().and_then(|index| items.get(index));
                item.ok_or_else(|| {
                    Fault::Invalid(format!("Out of bound array[0,{}] index '{index}'", items.len()))
                })?
            }
            _ => return Err(Fault::Invalid(format!("Invalid token reference '{token}'"))),
        };
    }
    Ok(at)
}
