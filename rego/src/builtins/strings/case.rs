//! Upper and lower case, character by character: one character becomes one, as in Go, so that `ß` stays.
use super::done;
use crate::Value;
use crate::builtins::{Context, Outcome, text};

pub(super) fn builtin_lower(context: &mut Context, args: &[Value]) -> Outcome {
    let hay = text(args, 0)?;
    context.charge_bytes(hay.len().saturating_mul(2))?;
    done(lower(hay))
}

pub(super) fn builtin_upper(context: &mut Context, args: &[Value]) -> Outcome {
    let hay = text(args, 0)?;
    context.charge_bytes(hay.len().saturating_mul(2))?;
    done(hay.chars().map(upper_of).collect::<String>())
}

/// The text in lower case.
pub(in crate::builtins) fn lower(hay: &str) -> String {
    hay.chars().map(lower_of).collect()
}

fn lower_of(character: char) -> char {
    match character {
        // Its full mapping has a combining dot; the simple one has not.
        'İ' => 'i',
        _ if unknown_to_go(character) => character,
        _ => only(character.to_lowercase(), character),
    }
}

fn upper_of(character: char) -> char {
    match character {
        // Greek with iota subscript: the simple mapping is the title case, eight code points on.
        '\u{1f80}'..='\u{1f87}' | '\u{1f90}'..='\u{1f97}' | '\u{1fa0}'..='\u{1fa7}' => later(character, 8),
        '\u{1fb3}' | '\u{1fc3}' | '\u{1ff3}' => later(character, 9),
        _ if unknown_to_go(character) => character,
        _ => only(character.to_uppercase(), character),
    }
}

fn later(character: char, by: u32) -> char {
    u32::from(character).checked_add(by).and_then(char::from_u32).unwrap_or(character)
}

/// The mapping if it is one character, else the character itself: it has no simple mapping then.
fn only(mut mapping: impl Iterator<Item = char>, character: char) -> char {
    match (mapping.next(), mapping.next()) {
        (Some(mapped), None) if !unknown_to_go(mapped) => mapped,
        _ => character,
    }
}

/// Letters with case that came after Unicode 15.0, which is what OPA's tables know.
fn unknown_to_go(character: char) -> bool {
    matches!(character, '\u{1c89}' | '\u{1c8a}' | '\u{a7cb}'..='\u{a7cf}' | '\u{a7d2}' | '\u{a7d4}' | '\u{a7da}'..='\u{a7dc}'
        | '\u{10d50}'..='\u{10d65}' | '\u{10d70}'..='\u{10d85}' | '\u{16ea0}'..='\u{16ed3}')
}
