//! Replacing. Several patterns are tried at each place in their order; the first that fits wins, and what it put there is
//! not looked at again.
use super::done;
use crate::Value;
use crate::builtins::meter::Meter;
use crate::builtins::{BuiltinError, Context, Outcome, object, text};

pub(super) fn replace(context: &mut Context, args: &[Value]) -> Outcome {
    let (hay, old, new) = (text(args, 0)?, text(args, 1)?, text(args, 2)?);
    replaced(context, hay, &[(old, new)])
}

pub(super) fn replace_n(context: &mut Context, args: &[Value]) -> Outcome {
    let patterns = object(args, 0)?;
    let hay = text(args, 1)?;
    context.charge_items(patterns.len())?;
    let wrong =
        |what: &str| BuiltinError::Type(format!("operand 1 non-string {what} found in pattern object"));
    let mut pairs = Vec::with_capacity(patterns.len());
    for (old, new) in patterns {
        let old = old.as_str().ok_or_else(|| wrong("key"))?;
        pairs.push((old, new.as_str().ok_or_else(|| wrong("value"))?));
    }
    replaced(context, hay, &pairs)
}

/// Bytes, not characters: an empty pattern fits between the bytes of one character, where its result is no text any more.
fn replaced(context: &mut Context, hay: &str, pairs: &[(&str, &str)]) -> Outcome {
    let mut meter = Meter::new(context);
    let hay = hay.as_bytes();
    let mut out: Vec<u8> = Vec::new();
    let mut empty_before = false;
    let mut at = 0usize;
    // The end is a place too: an empty pattern fits there.
    while at <= hay.len() {
        let rest = hay.get(at..).unwrap_or_default();
        let fitting = fitting(&mut meter, rest, pairs, empty_before)?;
        empty_before = fitting.is_some_and(|(old, _)| old.is_empty());
        if let Some((old, new)) = fitting {
            meter.spend(new.len())?;
            out.extend_from_slice(new.as_bytes());
            at = at.saturating_add(old.len());
            continue;
        }
        out.extend(rest.first());
        at = at.saturating_add(1);
    }
    match String::from_utf8(out) {
        Ok(text) => done(text),
        Err(_) => {
            Err(BuiltinError::Budget("a replacement between the bytes of a character is no text".to_owned()))
        }
    }
}

/// The first pattern that the rest begins with. The empty one does not fit twice at one place.
fn fitting<'p>(
    meter: &mut Meter<'_>,
    rest: &[u8],
    pairs: &[(&'p str, &'p str)],
    empty_before: bool,
) -> Result<Option<(&'p str, &'p str)>, BuiltinError> {
    for (old, new) in pairs {
        meter.spend(1)?;
        if old.is_empty() && !empty_before {
            return Ok(Some((old, new)));
        }
        if !old.is_empty() && old.as_bytes().first() == rest.first() {
            meter.spend(old.len())?;
            if rest.starts_with(old.as_bytes()) {
                return Ok(Some((old, new)));
            }
        }
    }
    Ok(None)
}
