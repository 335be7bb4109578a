//! The JSON a record is written in: fixed field order, integers to 2^53, no floats, every control and
//! direction character escaped, every value bounded.
//!
//! Written by hand because the bytes are the evidence: what is hashed must not move with a serialiser's
//! version, and one pass into the worker's buffer is all the request path can afford.
use crate::{hash, record::Texts, time};

/// The largest integer that every JSON reader keeps exactly.
const INTEGER_MAX: u64 = (1 << 53) - 1;

/// A JSON object being written. Every method appends one member.
#[derive(Debug)]
pub(crate) struct Object<'v> {
    out: &'v mut Vec<u8>,
    empty: bool,
}

impl<'v> Object<'v> {
    pub(crate) fn open(out: &'v mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    pub(crate) fn close(self) {
        self.out.push(b'}');
    }

    fn key(&mut self, key: &str) -> &mut Vec<u8> {
        if !std::mem::take(&mut self.empty) {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    pub(crate) fn number(&mut self, key: &str, value: u64) {
        let out = self.key(key);
        time::push_padded(out, value.min(INTEGER_MAX), 1);
    }

    /// A word of ours: known to need no escaping.
    pub(crate) fn word(&mut self, key: &str, value: &str) {
        let out = self.key(key);
        out.push(b'"');
        out.extend_from_slice(value.as_bytes());
        out.push(b'"');
    }

    /// Text from outside; absent when empty. More than `bytes_max` bytes after escaping are cut to the
    /// length and the hash of the whole, so that the evidence stays checkable.
    pub(crate) fn text(&mut self, key: &str, value: &str, bytes_max: usize) {
        if !value.is_empty() {
            push_text(self.key(key), value, bytes_max);
        }
    }

    pub(crate) fn time(&mut self, key: &str, unix_ns: u64) {
        let out = self.key(key);
        out.push(b'"');
        time::push_rfc3339(out, unix_ns);
        out.push(b'"');
    }

    /// Bytes in hexadecimal behind a prefix such as `sha256:`.
    pub(crate) fn hex(&mut self, key: &str, prefix: &str, bytes: &[u8]) {
        let out = self.key(key);
        out.push(b'"');
        out.extend_from_slice(prefix.as_bytes());
        hash::push_hex(out, bytes);
        out.push(b'"');
    }

    pub(crate) fn display(&mut self, key: &str, value: &dyn std::fmt::Display) {
        use std::io::Write as _;
        let out = self.key(key);
        // Writing to a `Vec` cannot fail, and what is displayed here needs no escaping.
        _ = write!(out, "\"{value}\"");
    }

    /// A list of texts, absent when empty: at most `items_max` of at most `bytes_max` bytes each, and then
    /// how many more there were.
    pub(crate) fn texts(&mut self, key: &str, values: &dyn Texts, items_max: usize, bytes_max: usize) {
        let start = self.out.len();
        let (was_empty, mut count) = (self.empty, 0_usize);
        let out = self.key(key);
        out.push(b'[');
        values.for_each(&mut |value| {
            if count < items_max {
                if count > 0 {
                    out.push(b',');
                }
                push_text(out, value, bytes_max);
            }
            count += 1;
        });
        if count > items_max {
            out.extend_from_slice(b",{\"more\":");
            time::push_padded(out, (count - items_max) as u64, 1);
            out.push(b'}');
        }
        out.push(b']');
        if count == 0 {
            self.out.truncate(start);
            self.empty = was_empty;
        }
    }

    pub(crate) fn numbers(&mut self, key: &str, values: &[u64]) {
        let out = self.key(key);
        out.push(b'[');
        for (at, value) in values.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            time::push_padded(out, (*value).min(INTEGER_MAX), 1);
        }
        out.push(b']');
    }

    /// A list of objects, each of which is closed by who writes it.
    pub(crate) fn objects<T>(&mut self, key: &str, items: &[T], write: impl Fn(&T, Object<'_>)) {
        let out = self.key(key);
        out.push(b'[');
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            write(item, Object::open(out));
        }
        out.push(b']');
    }

    /// An object within this one.
    pub(crate) fn object(&mut self, key: &str) -> Object<'_> {
        Object::open(self.key(key))
    }
}

fn push_text(out: &mut Vec<u8>, value: &str, bytes_max: usize) {
    let start = out.len();
    out.push(b'"');
    // Escaping never shortens: a value longer than its limit need not be tried.
    let fits = value.len() <= bytes_max && {
        push_escaped(out, value);
        out.len() - start <= bytes_max + 1
    };
    if fits {
        out.push(b'"');
        return;
    }
    out.truncate(start);
    let mut cut = Object::open(out);
    cut.number("cut", value.len() as u64);
    cut.hex("sha256", "", &hash::sha256(value.as_bytes()));
    cut.close();
}

fn push_escaped(out: &mut Vec<u8>, value: &str) {
    let bytes = value.as_bytes();
    let mut clean_from = 0;
    for (at, character) in suspects(value) {
        let Some(escape) = escape(character) else { continue };
        out.extend_from_slice(bytes.get(clean_from..at).unwrap_or_default());
        match escape {
            Escape::Backslash(byte) => out.extend_from_slice(&[b'\\', byte]),
            Escape::Unicode(code) => {
                out.extend_from_slice(b"\\u");
                hash::push_hex(out, &code.to_be_bytes());
            }
        }
        clean_from = at + character.len_utf8();
    }
    out.extend_from_slice(bytes.get(clean_from..).unwrap_or_default());
}

enum Escape {
    Backslash(u8),
    Unicode(u16),
}

/// The characters that may need escaping, found by their first byte: plain ASCII passes without being decoded.
fn suspects(value: &str) -> impl Iterator<Item = (usize, char)> + '_ {
    value.bytes().enumerate().filter_map(|(at, byte)| {
        let suspect = matches!(byte, 0..=0x1f | b'"' | b'\\' | 0x7f | 0xc2 | 0xd8 | 0xe2 | 0xef);
        if suspect {
            value.get(at..).and_then(|rest| rest.chars().next()).map(|character| (at, character))
        } else {
            None
        }
    })
}

/// What could break a line, move a cursor or turn the reading direction on somebody's screen.
fn escape(character: char) -> Option<Escape> {
    match character {
        '"' => Some(Escape::Backslash(b'"')),
        '\\' => Some(Escape::Backslash(b'\\')),
        '\u{0}'..='\u{1f}'
        | '\u{7f}'..='\u{9f}'
        | '\u{61c}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}'
        | '\u{feff}' => u16::try_from(u32::from(character)).ok().map(Escape::Unicode),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &str, bytes_max: usize, expected: &str) {
        let mut out = Vec::new();
        push_text(&mut out, value, bytes_max);
        let written = String::from_utf8(out).unwrap();
        assert_eq!(written, expected);
        serde_json::from_str::<serde_json::Value>(&written).unwrap();
    }

    #[test]
    fn what_could_forge_a_line_or_a_direction_is_escaped() {
        check("plain", 99, r#""plain""#);
        check("a\r\nFAKE \x1b]0;pwn\x07", 99, r#""a\u000d\u000aFAKE \u001b]0;pwn\u0007""#);
        check(
            "\u{202e}txt.exe\u{2028}\u{2066}\u{61c}\u{feff}",
            99,
            r#""\u202etxt.exe\u2028\u2066\u061c\ufeff""#,
        );
        check("\u{85}\u{7f}", 99, r#""\u0085\u007f""#);
        check(r#"{"decision":"allow"}\"#, 99, r#""{\"decision\":\"allow\"}\\""#);
        check("grüße – 日本 ﷺ €", 99, r#""grüße – 日本 ﷺ €""#);
    }

    #[test]
    fn a_value_over_its_limit_becomes_its_length_and_hash() {
        check("abcd", 4, r#""abcd""#);
        check(
            "abcde",
            4,
            r#"{"cut":5,"sha256":"36bbe50ed96841d10443bcb670d6554f0a34b761be67ec9c4a8ad2c0c44ca42c"}"#,
        );
        check(
            "\n\n",
            11,
            r#"{"cut":2,"sha256":"75a11da44c802486bc6f65640aa48a730f0f684c5c07a42ba3cd1735eb3fb070"}"#,
        );
    }

    #[test]
    fn a_string_every_reader_decodes_is_the_string_that_came_in() {
        for code in 0..0x3000_u32 {
            let Some(character) = char::from_u32(code) else { continue };
            let text = format!("x{character}y");
            let mut out = Vec::new();
            push_text(&mut out, &text, 99);
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text, "{code:x}");
        }
    }
}
