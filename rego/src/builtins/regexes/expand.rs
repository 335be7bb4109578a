//! Replacements, as Go's `Expand` reads them: `$1`, `${1}`, `$name`, and `$$` for a dollar sign.
use regex::{Captures, Regex};
use std::sync::OnceLock;

/// A part of a replacement.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part<'r> {
    Text(&'r str),
    /// What the first of these groups that took part in the match has matched.
    Groups(Vec<usize>),
}

impl Part<'_> {
    pub(super) fn of<'t>(&'t self, captures: &Captures<'t>) -> &'t str {
        match self {
            Self::Text(text) => text,
            Self::Groups(groups) => {
                groups.iter().find_map(|group| captures.get(*group)).map_or("", |found| found.as_str())
            }
        }
    }
}

/// Takes a replacement apart.
pub(super) fn parts<'r>(replacement: &'r str, names: &[String]) -> Vec<Part<'r>> {
    let mut parts = Vec::new();
    let mut rest = replacement;
    while let Some((before, after)) = rest.split_once('$') {
        parts.push(Part::Text(before));
        rest = after;
        if let Some(after) = rest.strip_prefix('$') {
            parts.push(Part::Text("$"));
            rest = after;
        } else if let Some((name, after)) = name_of(rest) {
            parts.push(Part::Groups(groups(name, names)));
            rest = after;
        } else {
            parts.push(Part::Text("$"));
        }
    }
    parts.push(Part::Text(rest));
    parts
}

/// The name after a dollar sign, in braces or as long as it goes, and what follows it.
fn name_of(text: &str) -> Option<(&str, &str)> {
    let (braced, inside) = match text.strip_prefix('{') {
        Some(inside) => (true, inside),
        None => (false, text),
    };
    let end = inside.find(|c| !of_a_name(c)).unwrap_or(inside.len());
    let (name, rest) = inside.split_at_checked(end)?;
    if name.is_empty() {
        return None;
    }
    if braced { Some((name, rest.strip_prefix('}')?)) } else { Some((name, rest)) }
}

/// Letters and decimal digits of any script, and `_`.
pub(in crate::builtins) fn of_a_name(character: char) -> bool {
    static LETTER: OnceLock<Option<Regex>> = OnceLock::new();
    if character.is_ascii() {
        return character.is_ascii_alphanumeric() || character == '_';
    }
    let class = LETTER.get_or_init(|| Regex::new(r"^[\p{L}\p{Nd}&&\p{Age=15.0}]$").ok());
    let mut bytes = [0; 4];
    class.as_ref().is_some_and(|class| class.is_match(character.encode_utf8(&mut bytes)))
}

/// A number without leading zeros is the number of a group, anything else a name, which several groups may have.
fn groups(name: &str, names: &[String]) -> Vec<usize> {
    const DIGITS_MAX: usize = 9;
    let digits = name.bytes().all(|byte| byte.is_ascii_digit());
    let leading_zero = name.len() > 1 && name.starts_with('0');
    if digits && !leading_zero && name.len() <= DIGITS_MAX {
        return name.parse().into_iter().collect();
    }
    names.iter().enumerate().filter(|(_, have)| *have == name).map(|(index, _)| index).collect()
}
