//! Character classes of Go's `regexp`: brackets, `\d` and its like, `[:alpha:]` and its like, `\p{Greek}`.
use super::names::{self, Group};
use std::fmt::Write as _;

/// A class, in the syntax of our engine, without the brackets around it.
#[derive(Debug)]
pub(super) struct Class {
    items: String,
    negated: bool,
    /// Whether more than ASCII was written.
    wide: bool,
    weight: u64,
}

/// What is the same but for case only since a Unicode later than Go's 15.0; in the syntax of classes.
const FOLDED_LATER: &str = "\\x{19b}\\x{264}\\x{390}\\x{3b0}\\x{1c89}\\x{1c8a}\\x{1fd3}\\x{1fe3}\\x{a7cb}-\\x{a7cf}\\x{a7d2}-\\x{a7d5}\
    \\x{a7da}-\\x{a7dc}\\x{fb05}\\x{fb06}\\x{10d50}-\\x{10d65}\\x{10d70}-\\x{10d85}\\x{16ea0}-\\x{16ed3}";

/// Whether a character is one of those.
pub(super) fn folded_later(character: char) -> bool {
    matches!(character, '\u{19b}' | '\u{264}' | '\u{390}' | '\u{3b0}' | '\u{1c89}' | '\u{1c8a}' | '\u{1fd3}' | '\u{1fe3}'
        | '\u{a7cb}'..='\u{a7cf}' | '\u{a7d2}'..='\u{a7d5}' | '\u{a7da}'..='\u{a7dc}' | '\u{fb05}' | '\u{fb06}'
        | '\u{10d50}'..='\u{10d65}' | '\u{10d70}'..='\u{10d85}' | '\u{16ea0}'..='\u{16ed3}')
}

impl Class {
    pub(super) fn new(fold: bool) -> Self {
        Self { items: String::new(), negated: false, wide: false, weight: if fold { 3 } else { 1 } }
    }

    /// About how many states it takes to recognise a member.
    pub(super) fn weight(&self) -> u64 {
        self.weight
    }

    pub(super) fn source(&self, fold: bool) -> String {
        let items = &self.items;
        match (items.is_empty(), self.negated, fold) {
            // Our engine has no empty brackets.
            (true, false, _) => "[a&&b]".to_owned(),
            (true, true, _) => "(?s:.)".to_owned(),
            (false, false, false) => format!("[{items}]"),
            (false, true, false) => format!("[^{items}]"),
            (false, false, true) if self.wide => {
                format!("(?:(?i:[[{items}]--[{FOLDED_LATER}]])|[[{items}]&&[{FOLDED_LATER}]])")
            }
            (false, true, true) if self.wide => {
                format!("(?:(?i:[^{items}{FOLDED_LATER}])|[[{FOLDED_LATER}]--[{items}]])")
            }
            (false, false, true) => format!("(?i:[{items}])"),
            (false, true, true) => format!("(?i:[^{items}])"),
        }
    }

    /// Adds a range of code points; those that are halves of pairs are in no text.
    fn range(&mut self, low: u32, high: u32) {
        const HALVES: std::ops::RangeInclusive<u32> = 0xd800..=0xdfff;
        if high > 0x7f {
            self.wide = true;
            self.weight = self.weight.saturating_add(4);
        }
        for (low, high) in [(low, high.min(0xd7ff)), (low.max(0xe000), high)] {
            if low <= high && !HALVES.contains(&low) && !HALVES.contains(&high) {
                // Writing to a string does not fail.
                write!(self.items, "\\x{{{low:x}}}-\\x{{{high:x}}}").unwrap_or_default();
            }
        }
    }

    fn add(&mut self, items: &str, negated: bool, weight: u64) {
        self.weight = self.weight.saturating_add(weight);
        if negated {
            self.items.push_str(&format!("[^{items}]"));
        } else {
            self.items.push_str(items);
        }
    }
}

/// The members of one of Perl's classes.
fn perl(letter: char) -> Option<(&'static str, bool)> {
    Some(match letter {
        'd' => ("0-9", false),
        'D' => ("0-9", true),
        's' => ("\\t\\n\\x0C\\r ", false),
        'S' => ("\\t\\n\\x0C\\r ", true),
        'w' => ("0-9A-Z_a-z", false),
        'W' => ("0-9A-Z_a-z", true),
        _ => return None,
    })
}

/// The members of one of POSIX's classes.
fn posix(name: &str) -> Option<&'static str> {
    Some(match name {
        "alnum" => "0-9A-Za-z",
        "alpha" => "A-Za-z",
        "ascii" => "\\x00-\\x7F",
        "blank" => "\\t ",
        "cntrl" => "\\x00-\\x1F\\x7F",
        "digit" => "0-9",
        "graph" => "!-~",
        "lower" => "a-z",
        "print" => " -~",
        "punct" => "!-/:-@\\[-`\\{-~",
        "space" => "\\t-\\r ",
        "upper" => "A-Z",
        "word" => "0-9A-Z_a-z",
        "xdigit" => "0-9A-Fa-f",
        _ => return None,
    })
}

/// Adds a class that is written with a backslash, if the text begins with one: what follows it.
pub(super) fn escaped_group<'a>(text: &'a str, class: &mut Class) -> Result<Option<&'a str>, String> {
    let mut characters = text.chars();
    if characters.next() != Some('\\') {
        return Ok(None);
    }
    let Some(letter) = characters.next() else { return Ok(None) };
    if let Some((items, negated)) = perl(letter) {
        class.add(items, negated, if negated { 8 } else { 0 });
        return Ok(Some(characters.as_str()));
    }
    if letter != 'p' && letter != 'P' {
        return Ok(None);
    }
    let unknown =
        || format!("invalid character class range: `{}`", text.chars().take(32).collect::<String>());
    let rest = characters.as_str();
    let (name, rest) = match rest.strip_prefix('{') {
        Some(inside) => inside.split_once('}').ok_or_else(unknown)?,
        None => match characters.next() {
            Some(one) => rest.split_at_checked(one.len_utf8()).ok_or_else(unknown)?,
            None => return Ok(None),
        },
    };
    let (name, mut negated) = match name.strip_prefix('^') {
        Some(name) => (name, letter == 'p'),
        None => (name, letter == 'P'),
    };
    let items = match names::group(name).ok_or_else(unknown)? {
        Group::Any => "\\x{0}-\\x{10ffff}".to_owned(),
        Group::Ascii => "\\x00-\\x7F".to_owned(),
        Group::Assigned => {
            negated = !negated;
            UNASSIGNED.to_owned()
        }
        Group::Category("Cn") => UNASSIGNED.to_owned(),
        Group::Category("C") => format!("\\p{{gc=C}}{UNASSIGNED}"),
        // Halves of pairs.
        Group::Category("Cs") => "[a&&b]".to_owned(),
        // One mark that changed its category after 15.0.
        Group::Category("Mn") => known("\\p{gc=Mn}\\x{1171e}"),
        Group::Category("Mc") => known("[\\p{gc=Mc}&&[^\\x{1171e}]]"),
        Group::Category(short) => known(&format!("\\p{{gc={short}}}")),
        Group::Script(script) => known(&format!("\\p{{sc={script}}}")),
    };
    class.wide = true;
    class.add(&items, negated, 300);
    Ok(Some(rest))
}

/// Our tables are of a later Unicode than Go's 15.0; what it does not know is unassigned.
const UNASSIGNED: &str = "[\\p{gc=Cn}[^\\p{Age=15.0}]]";

fn known(items: &str) -> String {
    format!("[{items}&&\\p{{Age=15.0}}]")
}

/// Reads a class in brackets, and what follows it.
pub(super) fn bracketed(text: &str, fold: bool) -> Result<(Class, &str), String> {
    const OPEN: &str = "missing closing ]";
    let mut class = Class::new(fold);
    let mut rest = text.strip_prefix('[').ok_or(OPEN)?;
    if let Some(after) = rest.strip_prefix('^') {
        class.negated = true;
        class.weight = class.weight.saturating_add(8);
        rest = after;
    }
    let mut first = true;
    loop {
        // A bracket that closes is a member if it comes first.
        if let Some(after) = rest.strip_prefix(']').filter(|_| !first) {
            return Ok((class, after));
        }
        first = false;
        if let Some(after) = posix_group(rest, &mut class)? {
            rest = after;
            continue;
        }
        if let Some(after) = escaped_group(rest, &mut class)? {
            rest = after;
            continue;
        }
        let (low, after) = member(rest).map_err(|why| why.unwrap_or_else(|| OPEN.to_owned()))?;
        rest = after;
        let mut high = low;
        // A hyphen before the closing bracket is a member.
        if let Some(after) =
            rest.strip_prefix('-').filter(|after| !after.is_empty() && !after.starts_with(']'))
        {
            (high, rest) = member(after).map_err(|why| why.unwrap_or_else(|| OPEN.to_owned()))?;
            if high < low {
                return Err("invalid character class range".to_owned());
            }
        }
        class.range(low, high);
    }
}

/// `[:alpha:]` or `[:^alpha:]`.
fn posix_group<'a>(text: &'a str, class: &mut Class) -> Result<Option<&'a str>, String> {
    let Some((name, rest)) = text.strip_prefix("[:").and_then(|inside| inside.split_once(":]")) else {
        return Ok(None);
    };
    let (bare, negated) = match name.strip_prefix('^') {
        Some(bare) => (bare, true),
        None => (name, false),
    };
    let items = posix(bare).ok_or_else(|| format!("invalid character class range: `[:{name}:]`"))?;
    class.add(items, negated, if negated { 8 } else { 0 });
    Ok(Some(rest))
}

/// One member of a class; an error without words is that the text has ended.
fn member(text: &str) -> Result<(u32, &str), Option<String>> {
    if text.starts_with('\\') {
        return escaped_character(text).map_err(Some);
    }
    let mut characters = text.chars();
    match characters.next() {
        Some(character) => Ok((u32::from(character), characters.as_str())),
        None => Err(None),
    }
}

/// The code point of an escape sequence, and what follows it.
pub(super) fn escaped_character(text: &str) -> Result<(u32, &str), String> {
    let refused = || format!("invalid escape sequence: `{}`", text.chars().take(4).collect::<String>());
    let mut characters = text.strip_prefix('\\').ok_or_else(refused)?.chars();
    let letter = characters.next().ok_or("trailing backslash at end of expression")?;
    let rest = characters.as_str();
    let octal = |rest: &str| rest.starts_with(|c: char| c.is_digit(8));
    let code = match letter {
        'a' => 7,
        'f' => 12,
        'n' => 10,
        'r' => 13,
        't' => 9,
        'v' => 11,
        'x' => return hexadecimal(rest).ok_or_else(refused),
        // A single digit but zero would be a reference to a group.
        '0' => return Ok(octal_number(0, rest, 2)),
        '1'..='7' if octal(rest) => return Ok(octal_number(letter.to_digit(8).unwrap_or(0), rest, 2)),
        _ if letter.is_ascii() && !letter.is_ascii_alphanumeric() => u32::from(letter),
        _ => return Err(refused()),
    };
    Ok((code, rest))
}

/// Up to so many octal digits more.
fn octal_number(mut value: u32, mut rest: &str, most: usize) -> (u32, &str) {
    for _ in 0..most {
        let mut characters = rest.chars();
        let Some(digit) = characters.next().and_then(|c| c.to_digit(8)) else { break };
        value = value << 3 | digit;
        rest = characters.as_str();
    }
    (value, rest)
}

/// Two digits, or any number of them in braces.
fn hexadecimal(text: &str) -> Option<(u32, &str)> {
    if let Some(inside) = text.strip_prefix('{') {
        let (digits, rest) = inside.split_once('}')?;
        if digits.is_empty() {
            return None;
        }
        let add = |value: u32, c: char| {
            let value = value.checked_mul(16)?.checked_add(c.to_digit(16)?)?;
            (value <= u32::from(char::MAX)).then_some(value)
        };
        return digits.chars().try_fold(0, add).map(|value| (value, rest));
    }
    let mut characters = text.chars();
    let high = characters.next()?.to_digit(16)?;
    let low = characters.next()?.to_digit(16)?;
    Some((high << 4 | low, characters.as_str()))
}
