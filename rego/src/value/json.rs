//! JSON in and out, number literals kept, as Go's `encoding/json` reads and writes it (RFC 8259).
use super::{Object, Value};
use crate::Number;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

/// Why a text is not JSON, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JsonError(pub String);

impl JsonError {
    /// Whether Go would have read the text: only a bound of ours forbids it.
    pub(crate) fn is_bound(&self) -> bool {
        self.0.starts_with(BEYOND)
    }
}

/// What the errors of our own bounds begin with.
const BEYOND: &str = "beyond a bound: ";

/// How deep arrays and objects may nest in a text that becomes a value.
const MAX_DEPTH: usize = 128;

/// How deep they may nest in a text that is only looked at: Go's own bound.
const MAX_DEPTH_CHECKED: usize = 10_000;

impl Value {
    /// Reads one JSON text. Of members with one name the last counts, as in Go. Nesting beyond 128 is refused.
    ///
    /// # Errors
    /// [`JsonError`]: what is wrong and where.
    pub fn from_json(text: &str) -> Result<Self, JsonError> {
        let (value, rest) = Self::from_json_prefix(text)?;
        let rest = rest.trim_start_matches(is_space);
        match rest.chars().next() {
            None => Ok(value),
            Some(found) => Err(unexpected(found, text.len().saturating_sub(rest.len()), "after the value")),
        }
    }

    /// Reads the JSON value that a text begins with, and gives what follows it.
    pub(crate) fn from_json_prefix(text: &str) -> Result<(Self, &str), JsonError> {
        let mut reader = Reader { text, at: 0 };
        let value = reader.value(0)?;
        Ok((value, text.get(reader.at..).unwrap_or_default()))
    }

    /// The value as JSON, as OPA prints results: without blanks, members sorted by name, sets as arrays, `<`, `>` and `&`
    /// escaped. A key that is no string becomes its own JSON; of members that thereby get one name the last counts.
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        self.write_json(&mut out);
        out
    }

    fn write_json(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(true) => out.push_str("true"),
            Self::Bool(false) => out.push_str("false"),
            Self::Number(number) => push(out, number),
            Self::String(text) => write_json_string(text, out),
            Self::Array(items) => write_items(items.iter(), out),
            Self::Set(set) => write_items(set.iter(), out),
            Self::Object(object) => {
                out.push('{');
                for (index, (name, value)) in json_members(object).into_iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    write_json_string(&name, out);
                    out.push(':');
                    value.write_json(out);
                }
                out.push('}');
            }
        }
    }
}

/// The members of an object as JSON has them: named by strings, sorted by name, each name once.
pub(crate) fn json_members(object: &Object) -> Vec<(Cow<'_, str>, &Value)> {
    let mut members: Vec<(Cow<'_, str>, &Value)> = object
        .iter()
        .map(|(key, value)| match key {
            Value::String(name) => (Cow::Borrowed(name.as_ref()), value),
            other => (Cow::Owned(other.to_json()), value),
        })
        .collect();
    if members.iter().any(|(name, _)| matches!(name, Cow::Owned(_))) {
        members.reverse();
        members.sort_by(|(a, _), (b, _)| a.cmp(b));
        members.dedup_by(|(later, _), (first, _)| later == first);
    }
    members
}

fn write_items<'a>(items: impl Iterator<Item = &'a Value>, out: &mut String) {
    out.push('[');
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(',');
        }
        item.write_json(out);
    }
    out.push(']');
}

/// Writes a string with its quotes, escaped as Go does unless told otherwise: also what would be markup in HTML.
pub(crate) fn write_json_string(text: &str, out: &mut String) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.find(must_be_escaped) {
        let (plain, tail) = rest.split_at_checked(at).unwrap_or((rest, ""));
        out.push_str(plain);
        let mut tail = tail.chars();
        match tail.next() {
            Some(c @ ('"' | '\\')) => out.extend(['\\', c]),
            Some('\u{8}') => out.push_str("\\b"),
            Some('\u{c}') => out.push_str("\\f"),
            Some('\n') => out.push_str("\\n"),
            Some('\r') => out.push_str("\\r"),
            Some('\t') => out.push_str("\\t"),
            Some(c) => push(out, format_args!("\\u{:04x}", u32::from(c))),
            None => {}
        }
        rest = tail.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

fn must_be_escaped(c: char) -> bool {
    matches!(c, '\0'..='\u{1f}' | '"' | '\\' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}')
}

/// A double as Go's `encoding/json` prints it.
pub(crate) fn json_double(double: f64) -> String {
    if double != 0.0 && !(1e-6..1e21).contains(&double.abs()) {
        let shown = format!("{double:e}");
        return if shown.contains("e-") { shown } else { shown.replacen('e', "e+", 1) };
    }
    double.to_string()
}

/// Writing to a string does not fail.
fn push(out: &mut String, shown: impl std::fmt::Display) {
    if write!(out, "{shown}").is_err() {
        out.push_str("null");
    }
}

/// Whether a text is one JSON value, nested as deep as Go allows. It reads without recursion.
pub(crate) fn is_json(text: &str) -> bool {
    let mut reader = Reader { text, at: 0 };
    reader.check().is_ok()
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn unexpected(found: char, at: usize, place: &str) -> JsonError {
    JsonError(format!("unexpected {found:?} {place}, at byte {at}"))
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Value, JsonError> {
        match self.next_token() {
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            _ => self.scalar(),
        }
    }

    fn scalar(&mut self) -> Result<Value, JsonError> {
        match self.next_token() {
            Some(b'"') => Ok(match self.string()? {
                Cow::Borrowed(text) => Value::from(text),
                Cow::Owned(text) => Value::from(text),
            }),
            Some(b'-' | b'0'..=b'9') => {
                let literal = self.number()?;
                let number = Number::parse(literal);
                number
                    .map(Value::Number)
                    .ok_or_else(|| JsonError(format!("{BEYOND}number `{literal}` cannot be kept")))
            }
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            _ => Err(self.wrong("where a value should begin")),
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.open(depth, MAX_DEPTH)?;
        let mut items = Vec::new();
        if self.take(b']') {
            return Ok(Value::Array(Arc::from(items)));
        }
        loop {
            items.push(self.value(depth)?);
            if self.take(b']') {
                return Ok(Value::Array(Arc::from(items)));
            }
            self.expect(b',', "after an item of an array")?;
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.open(depth, MAX_DEPTH)?;
        let mut members = Vec::new();
        if self.take(b'}') {
            return Ok(Value::object(members));
        }
        loop {
            let key = Value::from(self.name()?.as_ref());
            members.push((key, self.value(depth)?));
            if self.take(b'}') {
                return Ok(Value::object(members));
            }
            self.expect(b',', "after a member of an object")?;
        }
    }

    /// Goes over one value without making it. What is open is kept on a stack of its own.
    fn check(&mut self) -> Result<(), JsonError> {
        let mut open: Vec<u8> = Vec::new();
        loop {
            // A value begins here.
            let first = self.next_token();
            if let Some(bracket @ (b'{' | b'[')) = first {
                self.open(open.len() + 1, MAX_DEPTH_CHECKED)?;
                let close = bracket + 2;
                if !self.take(close) {
                    if close == b'}' {
                        self.name()?;
                    }
                    open.push(close);
                    continue;
                }
            } else if matches!(first, Some(b'-' | b'0'..=b'9')) {
                self.number()?;
            } else {
                self.scalar()?;
            }
            // A value ended here.
            loop {
                let Some(close) = open.last().copied() else {
                    return if self.next_token().is_none() {
                        Ok(())
                    } else {
                        Err(self.wrong("after the value"))
                    };
                };
                if !self.take(close) {
                    self.expect(b',', "after an item")?;
                    if close == b'}' {
                        self.name()?;
                    }
                    break;
                }
                open.pop();
            }
        }
    }

    fn open(&mut self, depth: usize, bound: usize) -> Result<(), JsonError> {
        self.at += 1;
        if depth > bound {
            return Err(JsonError(format!("{BEYOND}it nests deeper than {bound}, at byte {}", self.at)));
        }
        Ok(())
    }

    fn name(&mut self) -> Result<Cow<'a, str>, JsonError> {
        if self.next_token() != Some(b'"') {
            return Err(self.wrong("where a member's name should begin"));
        }
        let name = self.string()?;
        self.expect(b':', "after a member's name")?;
        Ok(name)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The next byte that is no blank; stays before it.
    fn next_token(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.peek() {
            self.at += 1;
        }
        self.peek()
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.next_token() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn expect(&mut self, byte: u8, place: &str) -> Result<(), JsonError> {
        if self.take(byte) { Ok(()) } else { Err(self.wrong(place)) }
    }

    fn wrong(&self, place: &str) -> JsonError {
        match self.text.get(self.at..).and_then(|rest| rest.chars().next()) {
            Some(found) => unexpected(found, self.at, place),
            None => JsonError(format!("it ends {place}")),
        }
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, JsonError> {
        if self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            self.at += word.len();
            return Ok(value);
        }
        Err(self.wrong("where a value should begin"))
    }

    fn number(&mut self) -> Result<&'a str, JsonError> {
        let start = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(self.text.get(start..self.at).unwrap_or_default())
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err(self.wrong("in a number"));
        }
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        Ok(())
    }

    /// A string, from its opening quote: as it stands in the text where nothing in it is escaped.
    fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        self.at += 1;
        let plain = self.plain()?;
        if self.peek() == Some(b'"') {
            self.at += 1;
            return Ok(Cow::Borrowed(plain));
        }
        let mut text = plain.to_owned();
        loop {
            if self.peek() == Some(b'"') {
                self.at += 1;
                return Ok(Cow::Owned(text));
            }
            self.at += 1;
            text.push(self.escaped()?);
            text.push_str(self.plain()?);
        }
    }

    /// What comes before the next quote or backslash.
    fn plain(&mut self) -> Result<&'a str, JsonError> {
        let start = self.at;
        let rest = self.text.as_bytes().get(start..).unwrap_or_default();
        let length = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f));
        self.at = start + length.unwrap_or(rest.len());
        match self.peek() {
            Some(b'"' | b'\\') => Ok(self.text.get(start..self.at).unwrap_or_default()),
            _ => Err(self.wrong("in a string")),
        }
    }

    /// What an escape stands for, from behind its backslash. Half a surrogate pair is U+FFFD, as in Go.
    fn escaped(&mut self) -> Result<char, JsonError> {
        let escape = self.peek();
        let c = match escape {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return Err(self.wrong("after a backslash")),
        };
        self.at += 1;
        Ok(c)
    }

    fn unicode(&mut self) -> Result<char, JsonError> {
        let first = self.hex()?;
        if !(0xd800..0xdc00).contains(&first) {
            return Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let before = self.at;
        if self.text.get(before..).is_some_and(|rest| rest.starts_with("\\u")) {
            self.at += 1;
            let second = self.hex()?;
            if (0xdc00..0xe000).contains(&second) {
                let whole = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(whole).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            // The second escape stands for itself.
            self.at = before;
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }

    /// The four digits behind a `u`.
    fn hex(&mut self) -> Result<u32, JsonError> {
        self.at += 1;
        let mut value = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            value = value * 16 + digit.ok_or_else(|| self.wrong("in an escape"))?;
            self.at += 1;
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, want: Option<&str>) {
        let got = Value::from_json(text);
        assert_eq!(got.as_ref().ok().map(Value::to_json).as_deref(), want, "{text}: {got:?}");
        assert_eq!(is_json(text), want.is_some(), "{text}");
    }

    #[test]
    fn text_that_go_reads_is_read_and_printed_as_go_prints_it() {
        check(" { \"b\" : [ 1 , 2.50 ] , \"a\" : null }\n", Some(r#"{"a":null,"b":[1,2.50]}"#));
        check(r#"{"a":1,"b":2,"a":3}"#, Some(r#"{"a":3,"b":2}"#));
        check(
            r#""\ud83d\ude00 \ud83d \ude00 \ud83d\u0041 \/""#,
            Some("\"😀 \u{fffd} \u{fffd} \u{fffd}A /\""),
        );
        check(
            r#""<a&b>\u2028\u0001\b\f\n\r\t\"\\é\u007f""#,
            Some("\"\\u003ca\\u0026b\\u003e\\u2028\\u0001\\b\\f\\n\\r\\t\\\"\\\\é\u{7f}\""),
        );
        check("[]", Some("[]"));
        check("{}", Some("{}"));
        check("[[],{},\"\",true,false,0]", Some("[[],{},\"\",true,false,0]"));
    }

    #[test]
    fn text_that_is_not_json_is_an_error() {
        for text in [
            "",
            " ",
            "nul",
            "nulll",
            "tru e",
            "[1,]",
            "[1 2]",
            "[,]",
            "{\"a\"}",
            "{\"a\":}",
            "{a:1}",
            "{\"a\":1,}",
            "01",
            "-",
            "1.",
            ".5",
            "1e",
            "1e+",
            "+1",
            "0x1",
            "\"",
            "\"\\",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\ud800\\u12\"",
            "\"\n\"",
            "[",
            "{",
            "]",
            "1 2",
            "'a'",
            "\u{feff}1",
            "\u{a0}1",
            "[1}",
            "{\"a\":1]",
            "NaN",
            "{1:2}",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Value::from_json(&nested(128)).is_ok());
        assert!(Value::from_json(&nested(129)).is_err());
        assert!(Value::from_json(&"{\"a\":".repeat(100_000)).is_err());
        assert!(is_json(&nested(10_000)));
        assert!(!is_json(&nested(10_001)));
        assert!(!is_json(&"[".repeat(1_000_000)));
    }

    #[test]
    fn keys_that_are_no_strings_become_their_json() {
        let object = Value::object([
            (Value::from(1_i64), Value::from("number")),
            (Value::from("1"), Value::from("string")),
            (Value::set([Value::from("<"), Value::Null]), Value::from("set")),
        ]);
        assert_eq!(object.to_json(), r#"{"1":"string","[null,\"\\u003c\"]":"set"}"#);
    }
}
