//! What is told to who wrote the policy: what does not go together, and how to mend it.
use super::kind::{Known, Type};
use crate::Value;
use crate::ast::{Str, Term, TermKind};
use crate::compile::build::name_in_source;
use std::fmt::Write;

/// How many members, names or alternatives are told.
const TOLD: usize = 8;
/// How deep types are told.
const DEPTH: usize = 3;

/// A type in words.
fn known(known: &Known) -> String {
    known_to(known, DEPTH)
}

fn known_to(known: &Known, depth: usize) -> String {
    known.as_ref().map_or_else(|| "unknown".to_owned(), |known| type_to(known, depth))
}

fn type_to(known: &Type, depth: usize) -> String {
    let Some(below) = depth.checked_sub(1) else { return "…".to_owned() };
    match known {
        Type::Null => "null".to_owned(),
        Type::Boolean => "boolean".to_owned(),
        Type::Number => "number".to_owned(),
        Type::String => "string".to_owned(),
        Type::Any => "anything".to_owned(),
        Type::TooLarge => "something too large".to_owned(),
        Type::Function(_) => "a function".to_owned(),
        Type::Set(set) => format!("set of {}", known_to(&set.of, below)),
        Type::Array(array) => {
            let items = array.items.iter().map(|item| known_to(item, below));
            let rest = array.rest.iter().map(|rest| format!("{}…", type_to(rest, below)));
            format!("array [{}]", listed(items.chain(rest), array.items.len(), ", "))
        }
        Type::Object(object) => {
            let members = object.members.iter();
            let members = members.map(|(key, value)| format!("{}: {}", part(key), known_to(value, below)));
            let rest = object.rest.iter();
            let rest =
                rest.map(|(key, value)| format!("{}: {}…", known_to(key, below), known_to(value, below)));
            format!("object {{{}}}", listed(members.chain(rest), object.members.len(), ", "))
        }
        Type::OneOf(union) => {
            listed(union.types.iter().map(|one| type_to(one, depth)), union.types.len(), " or ")
        }
    }
}

/// The first ones of many.
fn listed(items: impl Iterator<Item = String>, count: usize, between: &str) -> String {
    let mut items: Vec<String> = items.take(TOLD).collect();
    if count > TOLD {
        items.push("…".to_owned());
    }
    items.join(between)
}

/// A constant part of a name.
pub(crate) fn part(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The names of a type's members.
pub(crate) fn names_in(known: &Type) -> Vec<String> {
    match known {
        Type::Object(object) => object.members.keys().map(part).collect(),
        Type::OneOf(union) => {
            let mut names: Vec<String> = union.types.iter().flat_map(names_in).collect();
            names.sort();
            names.dedup();
            names
        }
        _ => Vec::new(),
    }
}

/// A reference as it is written, or nearly.
fn written(parts: &[Term]) -> String {
    let mut text = String::new();
    for (index, term) in parts.iter().enumerate() {
        match &term.kind {
            TermKind::String(name) if index > 0 && is_name(name) => {
                text.push('.');
                text.push_str(name);
            }
            _ if index == 0 => text.push_str(&shown(term)),
            _ => {
                text.push('[');
                text.push_str(&shown(term));
                text.push(']');
            }
        }
    }
    text
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.chars().all(|one| one.is_ascii_alphanumeric() || one == '_')
}

fn shown(term: &Term) -> String {
    match &term.kind {
        TermKind::Var(name) => name_in_source(name).unwrap_or("_").to_owned(),
        TermKind::Ref(parts) => written(parts),
        TermKind::Array(_) => "[…]".to_owned(),
        TermKind::Object(_) | TermKind::Set(_) => "{…}".to_owned(),
        _ => crate::compile::constant(term).map_or_else(|| "…".to_owned(), |value| value.to_string()),
    }
}

/// A term by its name, where the source has one for it, with its type.
fn with_type(term: &Term, of: &Known) -> String {
    let name = match &term.kind {
        TermKind::Var(name) => name_in_source(name).map(str::to_owned),
        TermKind::Ref(parts) => Some(written(parts)),
        _ => None,
    };
    name.map_or_else(|| known(of), |name| format!("`{name}`, {}", known(of)))
}

fn name(function: &[Str]) -> String {
    function.join(".")
}

pub(crate) fn never_equal(left: (&Term, &Known), right: (&Term, &Known)) -> String {
    let (left, right) = (with_type(left.0, left.1), with_type(right.0, right.1));
    format!("the two sides can never be equal: {left}, and {right}; compare values of one type")
}

/// The check has come to its end before all has been looked at.
pub(crate) fn too_much() -> String {
    "checking the types of this rule takes more work than is allowed: put large tables into data instead of rules, and \
     split comprehensions in comprehensions, or values that hold one another many times, into rules of their own"
        .to_owned()
}

pub(crate) fn no_function(function: &[Str]) -> String {
    format!("{} is a variable here and cannot be called; give the variable another name", name(function))
}

pub(crate) fn no_result(function: &[Str]) -> String {
    format!("{} gives no value that could be used; call it by itself", name(function))
}

/// An argument is of a wrong type, or what the result is used as.
pub(crate) fn argument(
    function: &[Str],
    (index, is_result): (usize, bool),
    (term, have): (&Term, &Known),
    want: &Known,
) -> String {
    let (have, want, function) = (with_type(term, have), known(want), name(function));
    if is_result {
        return format!(
            "{function} gives {want}, but what is to be its result is {have}; compare values of one type"
        );
    }
    let number = index.saturating_add(1);
    format!(
        "argument {number} of {function} must be {want}, but it is {have}; convert it or pass another value"
    )
}

pub(crate) fn replacement(target: &[Str], have: &[Known], by: &[Known]) -> String {
    let list = |args: &[Known]| listed(args.iter().map(known), args.len(), ", ");
    let (target, have, by) = (name(target), list(have), list(by));
    format!(
        "{target} takes ({have}), and what replaces it takes ({by}); replace it by a function that takes the same"
    )
}

pub(crate) fn not_called(parts: &[Term]) -> String {
    format!("{} is a function and has no value by itself; call it with its arguments", written(parts))
}

/// A type has no parts.
pub(crate) fn no_parts(parts: &[Term], index: usize, have: &Known) -> String {
    let before = written(parts.get(..index).unwrap_or_default());
    let (all, have) = (written(parts), known(have));
    format!("undefined ref {all}: {before} is {have}, which has no parts; leave out what comes after it")
}

/// A key leads to nothing.
pub(crate) fn no_key(parts: &[Term], index: usize, have: &Known, keys: &Known, names: &[String]) -> String {
    let before = written(parts.get(..index).unwrap_or_default());
    let key = parts.get(index).map(shown).unwrap_or_default();
    let mut text = format!("undefined ref {}: {before} has nothing at {key}", written(parts));
    let mut add = |more: std::fmt::Arguments<'_>| {
        // Writing to a string does not fail.
        text.write_fmt(more).ok();
    };
    if have.is_some() {
        add(format_args!(", which is {}", known(have)));
    }
    if names.is_empty() {
        add(format_args!("; its keys are {}", known(keys)));
    } else {
        add(format_args!("; use one of: {}", listed(names.iter().cloned(), names.len(), ", ")));
    }
    text
}
