//! Quoting as Go's `strconv` does it.
use regex::Regex;
use std::fmt::Write as _;
use std::sync::OnceLock;

/// A text in quotes of one kind, optionally with everything but ASCII escaped.
pub(super) fn quoted_by(text: &str, quote: char, ascii: bool) -> String {
    let mut out = String::with_capacity(text.len().saturating_add(2));
    out.push(quote);
    for character in text.chars() {
        let code = u32::from(character);
        match character {
            _ if character == quote || character == '\\' => {
                out.push('\\');
                out.push(character);
            }
            _ if printable(character) && (!ascii || character.is_ascii()) => out.push(character),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            // Writing to a string does not fail.
            '\0'..=' ' | '\u{7f}' => write!(out, "\\x{code:02x}").unwrap_or_default(),
            '\u{80}'..='\u{ffff}' => write!(out, "\\u{code:04x}").unwrap_or_default(),
            _ => write!(out, "\\U{code:08x}").unwrap_or_default(),
        }
    }
    out.push(quote);
    out
}

/// Whether a text can stand between backquotes.
pub(super) fn can_backquote(text: &str) -> bool {
    !text.chars().any(|c| (c < ' ' && c != '\t') || matches!(c, '`' | '\u{7f}' | '\u{feff}'))
}

/// Letters, marks, numbers, punctuation, symbols and the space of ASCII, as far as Unicode 15.0 knows them.
pub(in crate::builtins) fn printable(character: char) -> bool {
    static PRINTABLE: OnceLock<Option<Regex>> = OnceLock::new();
    if character.is_ascii() {
        return (' '..='~').contains(&character);
    }
    let class = PRINTABLE.get_or_init(|| Regex::new(r"^[\pL\pM\pN\pP\pS&&\p{Age=15.0}]$").ok());
    let mut bytes = [0; 4];
    class.as_ref().is_some_and(|class| class.is_match(character.encode_utf8(&mut bytes)))
}
