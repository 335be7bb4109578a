//! The `strings` builtins. Positions are counted in characters; upper and lower case go character by character, as in Go.
mod case;
mod replace;
mod template;
#[cfg(test)]
mod tests;

use super::meter::Meter;
use super::{Builtin, BuiltinError, Context, Outcome, arg, array, decimal, operand, text};
use crate::Value;
use num_bigint::BigInt;

pub(super) use case::lower;
pub(crate) use template::template_unsupported;

pub(super) const TABLE: &[Builtin] = &[
    Builtin::pure("concat", 2, concat),
    Builtin::pure("contains", 2, contains),
    Builtin::pure("endswith", 2, endswith),
    Builtin::pure("format_int", 2, format_int),
    Builtin::pure("indexof", 2, indexof),
    Builtin::pure("indexof_n", 2, indexof_n),
    Builtin::pure("internal.template_string", 1, template_string),
    Builtin::pure("lower", 1, case::builtin_lower),
    Builtin::pure("replace", 3, replace::replace),
    Builtin::pure("split", 2, split),
    Builtin::pure("startswith", 2, startswith),
    Builtin::pure("strings.any_prefix_match", 2, any_prefix_match),
    Builtin::pure("strings.any_suffix_match", 2, any_suffix_match),
    Builtin::pure("strings.count", 2, count),
    Builtin::pure("strings.render_template", 2, template::render_template),
    Builtin::pure("strings.replace_n", 2, replace::replace_n),
    Builtin::pure("strings.reverse", 1, reverse),
    Builtin::pure("strings.split_n", 3, split_n),
    Builtin::pure("substring", 3, substring),
    Builtin::pure("trim", 2, trim),
    Builtin::pure("trim_left", 2, trim_left),
    Builtin::pure("trim_prefix", 2, trim_prefix),
    Builtin::pure("trim_right", 2, trim_right),
    Builtin::pure("trim_space", 1, trim_space),
    Builtin::pure("trim_suffix", 2, trim_suffix),
    Builtin::pure("upper", 1, case::builtin_upper),
];

fn done(value: impl Into<Value>) -> Outcome {
    Ok(Some(value.into()))
}

/// A number argument that is written as a whole number of 64 bits: `2.0` is none.
pub(super) fn int(args: &[Value], index: usize) -> Result<i64, BuiltinError> {
    let number = super::number(args, index)?;
    number.to_string().parse().map_err(|_| {
        BuiltinError::Type(format!(
            "operand {} must be integer number but got floating-point number",
            index.saturating_add(1)
        ))
    })
}

/// The error for an item of a wrong type, in OPA's words.
pub(super) fn element(index: usize, collection: &Value, expected: &str, got: &Value) -> BuiltinError {
    let kind = collection.type_name();
    BuiltinError::Type(format!(
        "operand {} must be {kind} of {expected}s but got {kind} containing {}",
        index.saturating_add(1),
        got.type_name()
    ))
}

fn startswith(context: &mut Context, args: &[Value]) -> Outcome {
    let (hay, prefix) = (text(args, 0)?, text(args, 1)?);
    context.charge_bytes(prefix.len())?;
    done(hay.starts_with(prefix))
}

fn endswith(context: &mut Context, args: &[Value]) -> Outcome {
    let (hay, suffix) = (text(args, 0)?, text(args, 1)?);
    context.charge_bytes(suffix.len())?;
    done(hay.ends_with(suffix))
}

/// Two arguments that are searched through.
fn searched<'a>(context: &mut Context, args: &'a [Value]) -> Result<(&'a str, &'a str), BuiltinError> {
    let (hay, needle) = (text(args, 0)?, text(args, 1)?);
    context.charge_bytes(hay.len().saturating_add(needle.len()))?;
    Ok((hay, needle))
}

fn contains(context: &mut Context, args: &[Value]) -> Outcome {
    let (hay, needle) = searched(context, args)?;
    done(hay.contains(needle))
}

fn count(context: &mut Context, args: &[Value]) -> Outcome {
    let (hay, needle) = searched(context, args)?;
    done(hay.matches(needle).count())
}

/// The strings of an array or a set.
fn texts<'a>(value: &'a Value, index: usize) -> Result<Vec<&'a str>, BuiltinError> {
    let item = |item: &'a Value| match item {
        Value::String(text) => Ok(text.as_ref()),
        other => Err(element(index, value, "string", other)),
    };
    match value {
        Value::Array(items) => items.iter().map(item).collect(),
        Value::Set(items) => items.iter().map(item).collect(),
        other => Err(operand(index, "one of {set, array}", other)),
    }
}

fn concat(context: &mut Context, args: &[Value]) -> Outcome {
    let separator = text(args, 0)?;
    let parts = texts(arg(args, 1)?, 1)?;
    context.charge_items(parts.len())?;
    let between = separator.len().saturating_mul(parts.len().saturating_sub(1));
    context.charge_bytes(parts.iter().map(|part| part.len()).fold(between, usize::saturating_add))?;
    done(parts.join(separator))
}

fn needle_of<'a>(context: &mut Context, args: &'a [Value]) -> Result<(&'a str, &'a str), BuiltinError> {
    let (hay, needle) = searched(context, args)?;
    if needle.is_empty() {
        return Err(BuiltinError::Failed("empty search character".to_owned()));
    }
    Ok((hay, needle))
}

fn indexof(context: &mut Context, args: &[Value]) -> Outcome {
    let (hay, needle) = needle_of(context, args)?;
    match hay.split_once(needle) {
        Some((before, _)) => done(before.chars().count()),
        None => done(-1i64),
    }
}

/// All positions, overlapping ones too. Each character of the hay advances the match in progress, or lets it fall back
/// to the longest beginning of the needle that still stands (Knuth, Morris and Pratt).
fn indexof_n(context: &mut Context, args: &[Value]) -> Outcome {
    let (hay, needle) = needle_of(context, args)?;
    let needle: Vec<char> = needle.chars().collect();
    let fallbacks = fallbacks(&needle);
    let mut found = Vec::new();
    let mut matched = 0usize;
    for (at, character) in hay.chars().enumerate() {
        while matched > 0 && needle.get(matched) != Some(&character) {
            matched = fallbacks.get(matched.saturating_sub(1)).copied().unwrap_or(0);
        }
        if needle.get(matched) == Some(&character) {
            matched = matched.saturating_add(1);
        }
        if matched == needle.len() {
            context.charge(1)?;
            found.push(Value::from(at.saturating_add(1).saturating_sub(needle.len())));
            matched = fallbacks.get(matched.saturating_sub(1)).copied().unwrap_or(0);
        }
    }
    done(Value::array(found))
}

/// For each beginning of the needle, the length of the longest shorter beginning that is also its end.
fn fallbacks(needle: &[char]) -> Vec<usize> {
    let mut table: Vec<usize> = vec![0];
    let mut length = 0usize;
    for character in needle.iter().skip(1) {
        while length > 0 && needle.get(length) != Some(character) {
            length = table.get(length.saturating_sub(1)).copied().unwrap_or(0);
        }
        if needle.get(length) == Some(character) {
            length = length.saturating_add(1);
        }
        table.push(length);
    }
    table
}

/// The parts between the separators; with an empty separator the characters.
fn parts<'a>(context: &mut Context, hay: &'a str, separator: &str) -> Result<Vec<&'a str>, BuiltinError> {
    if separator.is_empty() {
        context.charge_items(hay.len())?;
        let mut ends = hay.char_indices().map(|(at, _)| at).skip(1).chain([hay.len()]);
        return Ok(hay.char_indices().map_while(|(at, _)| hay.get(at..ends.next()?)).collect());
    }
    context.charge_items(hay.matches(separator).count().saturating_add(1))?;
    Ok(hay.split(separator).collect())
}

fn split(context: &mut Context, args: &[Value]) -> Outcome {
    let (hay, separator) = searched(context, args)?;
    done(Value::array(parts(context, hay, separator)?.into_iter().map(Value::from)))
}

/// The first `n` parts, or with a negative `n` the last ones.
fn split_n(context: &mut Context, args: &[Value]) -> Outcome {
    let (hay, separator) = searched(context, args)?;
    let wanted = int(args, 2)?;
    let parts = parts(context, hay, separator)?;
    let many = usize::try_from(wanted.unsigned_abs()).unwrap_or(usize::MAX).min(parts.len());
    let skipped = if wanted < 0 { parts.len().saturating_sub(many) } else { 0 };
    done(Value::array(parts.into_iter().skip(skipped).take(many).map(Value::from)))
}

fn substring(context: &mut Context, args: &[Value]) -> Outcome {
    let base = text(args, 0)?;
    let (start, length) = (int(args, 1)?, int(args, 2)?);
    let Ok(start) = usize::try_from(start) else {
        return Err(BuiltinError::Failed("negative offset".to_owned()));
    };
    context.charge_bytes(base.len())?;
    let all = base.chars().count();
    if base.is_empty() || start >= all {
        return done("");
    }
    let Ok(length) = usize::try_from(length) else {
        return done(base.chars().skip(start).collect::<String>());
    };
    // There OPA's sum of both wraps around and the query dies; no decision is the only equal answer.
    if start > 0 && i64::try_from(start.saturating_add(length)).is_err() {
        return Err(BuiltinError::Budget("the length of a substring is out of range".to_owned()));
    }
    done(base.chars().skip(start).take(length).collect::<String>())
}

/// The hay, and which characters to cut.
fn trimming<'a>(
    context: &mut Context,
    args: &'a [Value],
) -> Result<(&'a str, impl Fn(char) -> bool + use<>), BuiltinError> {
    let (hay, cut) = searched(context, args)?;
    let cut: std::collections::BTreeSet<char> = cut.chars().collect();
    Ok((hay, move |character| cut.contains(&character)))
}

fn trim(context: &mut Context, args: &[Value]) -> Outcome {
    let (hay, cut) = trimming(context, args)?;
    done(hay.trim_matches(cut))
}

fn trim_left(context: &mut Context, args: &[Value]) -> Outcome {
    let (hay, cut) = trimming(context, args)?;
    done(hay.trim_start_matches(cut))
}

fn trim_right(context: &mut Context, args: &[Value]) -> Outcome {
    let (hay, cut) = trimming(context, args)?;
    done(hay.trim_end_matches(cut))
}

fn trim_prefix(context: &mut Context, args: &[Value]) -> Outcome {
    let (hay, prefix) = searched(context, args)?;
    done(hay.strip_prefix(prefix).unwrap_or(hay))
}

fn trim_suffix(context: &mut Context, args: &[Value]) -> Outcome {
    let (hay, suffix) = searched(context, args)?;
    done(hay.strip_suffix(suffix).unwrap_or(hay))
}

fn trim_space(context: &mut Context, args: &[Value]) -> Outcome {
    let hay = text(args, 0)?;
    context.charge_bytes(hay.len())?;
    done(hay.trim())
}

fn reverse(context: &mut Context, args: &[Value]) -> Outcome {
    let hay = text(args, 0)?;
    context.charge_bytes(hay.len())?;
    done(hay.chars().rev().collect::<String>())
}

/// A string, or the strings of an array or a set.
fn one_or_more(args: &[Value], index: usize) -> Result<Vec<&str>, BuiltinError> {
    match arg(args, index)? {
        Value::String(text) => Ok(vec![text.as_ref()]),
        value @ (Value::Array(_) | Value::Set(_)) => texts(value, index),
        other => Err(operand(index, "one of {string, set, array}", other)),
    }
}

fn any_prefix_match(context: &mut Context, args: &[Value]) -> Outcome {
    let (hays, prefixes) = (one_or_more(args, 0)?, one_or_more(args, 1)?);
    charge_texts(context, &hays)?;
    charge_texts(context, &prefixes)?;
    done(any_begins(hays, &prefixes))
}

fn any_suffix_match(context: &mut Context, args: &[Value]) -> Outcome {
    let (hays, suffixes) = (one_or_more(args, 0)?, one_or_more(args, 1)?);
    charge_texts(context, &hays)?;
    charge_texts(context, &suffixes)?;
    let reversed =
        |texts: Vec<&str>| -> Vec<String> { texts.iter().map(|text| text.chars().rev().collect()).collect() };
    let (hays, suffixes) = (reversed(hays), reversed(suffixes));
    let suffixes: Vec<&str> = suffixes.iter().map(String::as_str).collect();
    done(any_begins(hays.iter().map(String::as_str).collect(), &suffixes))
}

/// Sorting and searching go over each text about as often as the number of texts has bits.
fn charge_texts(context: &mut Context, texts: &[&str]) -> Result<(), BuiltinError> {
    let passes = usize::try_from(texts.len().max(2).ilog2()).unwrap_or(64);
    context.charge_items(texts.len().saturating_mul(passes))?;
    let bytes = texts.iter().map(|text| text.len()).fold(0, usize::saturating_add);
    context.charge_bytes(bytes.saturating_mul(passes))
}

/// In order the text that begins with a prefix, if there is one, is the first that is not less than it.
fn any_begins(mut hays: Vec<&str>, prefixes: &[&str]) -> bool {
    hays.sort_unstable();
    prefixes.iter().any(|prefix| {
        let at = hays.partition_point(|hay| hay < prefix);
        hays.get(at).is_some_and(|hay| hay.starts_with(prefix))
    })
}

fn format_int(context: &mut Context, args: &[Value]) -> Outcome {
    let (number, base) = (super::number(args, 0)?.to_string(), super::number(args, 1)?.to_string());
    let radix = match base.as_str() {
        "2" => 2,
        "8" => 8,
        "10" => 10,
        "16" => 16,
        _ => return Err(BuiltinError::Type("operand 2 must be one of {2, 8, 10, 16}".to_owned())),
    };
    decimal::charge_digits(context, number.len())?;
    let whole = match decimal::integer(&number) {
        Some(whole) => whole,
        None => decimal::scaled(context, &number, 1)?.unwrap_or(BigInt::ZERO),
    };
    done(whole.to_str_radix(radix))
}

/// What template strings compile to: an array of scalars and of sets of at most one element, where the empty set is an
/// undefined value.
fn template_string(context: &mut Context, args: &[Value]) -> Outcome {
    let mut meter = Meter::new(context);
    let mut out = String::new();
    for part in array(args, 0)? {
        let part = match part {
            Value::Set(set) if set.len() > 1 => {
                return Err(BuiltinError::Budget(
                    "template-strings must not produce multiple outputs".to_owned(),
                ));
            }
            Value::Set(set) => set.iter().next(),
            Value::Array(_) | Value::Object(_) => {
                let kind = part.type_name();
                return Err(BuiltinError::Budget(format!("a template-string has a part of type {kind}")));
            }
            scalar => Some(scalar),
        };
        match part {
            None => meter.append(&mut out, "<undefined>")?,
            Some(Value::String(text)) => meter.append(&mut out, text)?,
            Some(other) => meter.append(&mut out, &shown(other))?,
        }
    }
    done(out)
}

/// A value in Rego's notation.
pub(super) fn shown(value: &Value) -> String {
    value.to_string()
}
