//! How values are written in Rego, and strings in Go.
use super::Value;
use regex::Regex;
use std::fmt::{self, Write};
use std::sync::OnceLock;

/// Rego's own notation, as OPA writes values into messages: JSON with blanks, but sets, keys of any type, and strings
/// quoted as in Go.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::String(text) => quote(text, f),
            Self::Array(items) => {
                f.write_str("[")?;
                list(items.iter(), f)?;
                f.write_str("]")
            }
            Self::Object(object) => {
                f.write_str("{")?;
                for (index, (key, value)) in object.iter().enumerate() {
                    write!(f, "{}{key}: {value}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str("}")
            }
            Self::Set(set) if set.is_empty() => f.write_str("set()"),
            Self::Set(set) => {
                f.write_str("{")?;
                list(set.iter(), f)?;
                f.write_str("}")
            }
        }
    }
}

fn list<'a>(items: impl Iterator<Item = &'a Value>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (index, item) in items.enumerate() {
        write!(f, "{}{item}", if index == 0 { "" } else { ", " })?;
    }
    Ok(())
}

/// Writes a string as Go quotes it (`strconv.Quote`): what is not printable is escaped.
pub(crate) fn quote(text: &str, out: &mut impl Write) -> fmt::Result {
    out.write_char('"')?;
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\') {
        out.write_str(text)?;
    } else {
        text.chars().try_for_each(|c| quoted(c, out))?;
    }
    out.write_char('"')
}

fn quoted(c: char, out: &mut impl Write) -> fmt::Result {
    match c {
        '"' | '\\' => write!(out, "\\{c}"),
        '\u{7}' => out.write_str("\\a"),
        '\u{8}' => out.write_str("\\b"),
        '\u{c}' => out.write_str("\\f"),
        '\n' => out.write_str("\\n"),
        '\r' => out.write_str("\\r"),
        '\t' => out.write_str("\\t"),
        '\u{b}' => out.write_str("\\v"),
        _ if is_print(c) => out.write_char(c),
        '\0'..='\u{1f}' | '\u{7f}' => write!(out, "\\x{:02x}", u32::from(c)),
        '\0'..='\u{ffff}' => write!(out, "\\u{:04x}", u32::from(c)),
        _ => write!(out, "\\U{:08x}", u32::from(c)),
    }
}

/// Whether Go takes a character for printable (`strconv.IsPrint`): letters, marks, numbers, punctuation, symbols and the
/// blank of ASCII, of the version of Unicode that Go knows.
pub(crate) fn is_print(c: char) -> bool {
    static PRINTABLE: OnceLock<Option<Regex>> = OnceLock::new();
    if c.is_ascii() {
        return matches!(c, ' '..='~');
    }
    let class = r"^[\p{L}\p{M}\p{N}\p{P}\p{S}&&\p{Age=15.0}]$";
    let printable = PRINTABLE.get_or_init(|| Regex::new(class).ok());
    printable.as_ref().is_some_and(|printable| printable.is_match(c.encode_utf8(&mut [0; 4])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_opa_writes_them() {
        let value = Value::object([
            (Value::from("a"), Value::array([Value::Null, Value::Bool(true), Value::from(1_i64)])),
            (
                Value::set([]),
                Value::set([
                    Value::from(2_i64),
                    Value::from("x\"\\\u{7}\u{7f}\u{ad}\u{200b}é😀\u{e000}\u{e0001}"),
                ]),
            ),
        ]);
        let want = r#"{"a": [null, true, 1], set(): {2, "x\"\\\a\x7f\u00ad\u200bé😀\ue000\U000e0001"}}"#;
        assert_eq!(value.to_string(), want);
        assert_eq!(format!("{value:?}"), want);
    }

    #[test]
    fn what_is_printable_is_what_go_1_26_prints() {
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        let mut count = 0;
        for c in '\0'..=char::MAX {
            hash = (hash ^ u64::from(is_print(c))).wrapping_mul(0x100_0000_01b3);
            count += u32::from(is_print(c));
        }
        assert_eq!((count, hash), (148_998, 2_580_329_622_425_277_321));
    }
}
