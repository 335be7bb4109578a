//! JSON with its members in the order and number in which they are written: of members with one name some of Go's readers
//! take the first one and some the last one, and both decide about a token's algorithm.

use crate::builtins::{BuiltinError, Context};
use crate::{Object, Value};
use std::fmt::Write as _;

/// A text of JSON.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    /// A boolean or a number: nothing here looks at which one.
    Scalar,
    String(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// How deep arrays and objects may nest.
const DEPTH: usize = 128;

impl Json {
    /// Reads the value that the text starts with, and says what follows it.
    pub(crate) fn prefix(text: &str) -> Option<(Self, &str)> {
        let mut parser = Parser { text: text.as_bytes(), at: 0 };
        let value = parser.value(0)?;
        Some((value, text.get(parser.at..)?))
    }

    /// Reads a text that is one value.
    pub(crate) fn whole(text: &str) -> Option<Self> {
        let (value, rest) = Self::prefix(text)?;
        rest.bytes().all(|byte| BLANKS.contains(&byte)).then_some(value)
    }

    /// The first member of this name.
    pub(crate) fn first(&self, name: &str) -> Option<&Self> {
        let Self::Object(members) = self else { return None };
        members.iter().find(|(have, _)| have == name).map(|(_, value)| value)
    }

    /// The text of a string.
    pub(crate) fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }
}

const BLANKS: &[u8] = b" \t\r\n";

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn blanks(&mut self) {
        while self.peek().is_some_and(|byte| BLANKS.contains(&byte)) {
            self.at += 1;
        }
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.text.get(self.at..)?.starts_with(word).then(|| self.at += word.len())
    }

    fn value(&mut self, depth: usize) -> Option<Json> {
        if depth > DEPTH {
            return None;
        }
        self.blanks();
        match self.peek()? {
            b'n' => self.word(b"null").map(|()| Json::Null),
            b't' => self.word(b"true").map(|()| Json::Scalar),
            b'f' => self.word(b"false").map(|()| Json::Scalar),
            b'"' => self.string().map(Json::String),
            b'[' => self.array(depth),
            b'{' => self.object(depth),
            _ => self.number(),
        }
    }

    fn array(&mut self, depth: usize) -> Option<Json> {
        self.next()?;
        let mut items = Vec::new();
        self.blanks();
        if self.word(b"]").is_some() {
            return Some(Json::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.blanks();
            match self.next()? {
                b',' => {}
                b']' => return Some(Json::Array(items)),
                _ => return None,
            }
        }
    }

    fn object(&mut self, depth: usize) -> Option<Json> {
        self.next()?;
        let mut members = Vec::new();
        self.blanks();
        if self.word(b"}").is_some() {
            return Some(Json::Object(members));
        }
        loop {
            self.blanks();
            let name = self.string()?;
            self.blanks();
            self.word(b":")?;
            members.push((name, self.value(depth + 1)?));
            self.blanks();
            match self.next()? {
                b',' => {}
                b'}' => return Some(Json::Object(members)),
                _ => return None,
            }
        }
    }

    fn number(&mut self) -> Option<Json> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.word(b"0").is_none() {
            self.digits()?;
        }
        if self.word(b".").is_some() {
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(Json::Scalar)
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn string(&mut self) -> Option<String> {
        self.word(b"\"")?;
        let mut text = Vec::new();
        loop {
            match self.next()? {
                b'"' => return String::from_utf8(text).ok(),
                b'\\' => self.escape(&mut text)?,
                byte if byte < b' ' => return None,
                byte => text.push(byte),
            }
        }
    }

    fn escape(&mut self, text: &mut Vec<u8>) -> Option<()> {
        let byte = match self.next()? {
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            byte @ (b'"' | b'\\' | b'/') => byte,
            b'u' => {
                let scalar = self.scalar()?;
                text.extend_from_slice(scalar.encode_utf8(&mut [0; 4]).as_bytes());
                return Some(());
            }
            _ => return None,
        };
        text.push(byte);
        Some(())
    }

    /// What `\u` stands for; half of a pair becomes the replacement character, as in Go.
    fn scalar(&mut self) -> Option<char> {
        let first = self.hex()?;
        if let 0xd800..0xdc00 = first
            && self.text.get(self.at..).is_some_and(|rest| rest.starts_with(b"\\u"))
        {
            let after_first = self.at;
            self.at += 2;
            let second = self.hex()?;
            if let 0xdc00..0xe000 = second {
                return char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00));
            }
            self.at = after_first;
        }
        Some(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hex(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at.checked_add(4)?)?;
        self.at += 4;
        digits.iter().try_fold(0, |number, digit| Some(number << 4 | char::from(*digit).to_digit(16)?))
    }
}

/// Writes JSON as Go's `encoding/json` does: keys sorted, and `<`, `>` and `&` escaped.
pub(crate) fn write(context: &mut Context, value: &Value, out: &mut String) -> Result<(), BuiltinError> {
    write_value(context, value, out, 0)
}

fn write_value(
    context: &mut Context,
    value: &Value,
    out: &mut String,
    depth: usize,
) -> Result<(), BuiltinError> {
    if depth > DEPTH {
        return Err(BuiltinError::Budget("a value that is written as JSON nests deeper than 128".to_owned()));
    }
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => {
            let number = number.to_string();
            context.charge_bytes(number.len())?;
            out.push_str(&number);
        }
        Value::String(text) => write_string(context, text, out)?,
        Value::Array(items) => write_items(context, items.iter(), out, depth)?,
        Value::Set(items) => write_items(context, items.iter(), out, depth)?,
        Value::Object(members) => write_members(context, members, out, depth)?,
    }
    Ok(())
}

fn write_items<'a>(
    context: &mut Context,
    items: impl ExactSizeIterator<Item = &'a Value>,
    out: &mut String,
    depth: usize,
) -> Result<(), BuiltinError> {
    context.charge_items(items.len())?;
    out.push('[');
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_value(context, item, out, depth + 1)?;
    }
    out.push(']');
    Ok(())
}

/// A key that is no string is written as one that holds its JSON.
fn write_members(
    context: &mut Context,
    object: &Object,
    out: &mut String,
    depth: usize,
) -> Result<(), BuiltinError> {
    context.charge_items(object.len())?;
    let mut members = Vec::with_capacity(object.len());
    for (key, value) in object {
        let name = match key.as_str() {
            Some(name) => name.to_owned(),
            None => {
                let mut name = String::new();
                write_value(context, key, &mut name, depth + 1)?;
                name
            }
        };
        members.push((name, value));
    }
    members.sort_by(|(a, _), (b, _)| a.cmp(b));
    out.push('{');
    for (index, (name, value)) in members.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_string(context, &name, out)?;
        out.push(':');
        write_value(context, value, out, depth + 1)?;
    }
    out.push('}');
    Ok(())
}

fn write_string(context: &mut Context, text: &str, out: &mut String) -> Result<(), BuiltinError> {
    context.charge_bytes(text.len().saturating_mul(2))?;
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..' ' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                if write!(out, "\\u{:04x}", u32::from(character)).is_err() {
                    return Err(BuiltinError::Failed("a text cannot be written".to_owned()));
                }
            }
            _ => out.push(character),
        }
    }
    out.push('"');
    Ok(())
}
