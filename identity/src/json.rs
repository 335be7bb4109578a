//! A JSON reader for what strangers sign: RFC 8259 to the letter, and a name that occurs twice in an object is refused
//! (RFC 7515 §4, RFC 7519 §4, SPIFFE Trust_Domain_and_Bundle §6.3), because two readers of one token must not see two
//! different tokens. `serde_json` alone keeps the last of the two and, with arbitrary precision, takes the object
//! `{"$serde_json::private::Number": "1"}` for a number, so its reader is not used for such input at all.

use serde_json::{Map, Number, Value};

/// How much of a document is read; beyond any of them it is refused. The caller limits the bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Objects and arrays inside one another.
    pub(crate) depth_max: usize,
    /// Values in the whole document, members and array elements alike.
    pub(crate) values_max: usize,
}

/// Digits, sign and exponent of one number: enough for any number with a meaning, too few to be work for whoever
/// calculates with it.
const NUMBER_BYTES_MAX: usize = 64;

/// Why a document was refused, and at which byte.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JsonError {
    #[error("not JSON at byte {0}")]
    Syntax(usize),
    #[error("the member `{name}` occurs twice, the second time at byte {at}")]
    Duplicate { name: String, at: usize },
    #[error("nested more deeply than {0} levels")]
    TooDeep(usize),
    #[error("more than {0} values")]
    TooMany(usize),
    #[error("the number at byte {0} is too long")]
    NumberTooLong(usize),
    #[error("not UTF-8 at byte {0}")]
    Utf8(usize),
}

/// Reads one whole document.
pub(crate) fn parse(document: &[u8], limits: Limits) -> Result<Value, JsonError> {
    let text = std::str::from_utf8(document).map_err(|e| JsonError::Utf8(e.valid_up_to()))?;
    let mut reader = Reader { text, at: 0, values_left: limits.values_max, limits };
    let value = reader.value(0)?;
    reader.white_space();
    if reader.peek().is_some() {
        return reader.syntax();
    }
    Ok(value)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    values_left: usize,
    limits: Limits,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn syntax<T>(&self) -> Result<T, JsonError> {
        Err(JsonError::Syntax(self.at))
    }

    fn white_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.peek() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            self.syntax()
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.values_left =
            self.values_left.checked_sub(1).ok_or(JsonError::TooMany(self.limits.values_max))?;
        self.white_space();
        match self.peek() {
            Some(b'{') => self.object(self.deeper(depth)?),
            Some(b'[') => self.array(self.deeper(depth)?),
            Some(b'"') => self.string().map(Value::String),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal("true", Value::Bool(true)),
            Some(b'f') => self.literal("false", Value::Bool(false)),
            Some(b'n') => self.literal("null", Value::Null),
            _ => self.syntax(),
        }
    }

    fn deeper(&self, depth: usize) -> Result<usize, JsonError> {
        if depth >= self.limits.depth_max {
            return Err(JsonError::TooDeep(self.limits.depth_max));
        }
        Ok(depth + 1)
    }

    fn literal(&mut self, word: &str, value: Value) -> Result<Value, JsonError> {
        match self.text.get(self.at..) {
            Some(rest) if rest.starts_with(word) => {
                self.at += word.len();
                Ok(value)
            }
            _ => self.syntax(),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, JsonError> {
        let mut members = Map::new();
        self.expect(b'{')?;
        self.white_space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Object(members));
        }
        loop {
            self.white_space();
            let at = self.at;
            let name = self.string()?;
            self.white_space();
            self.expect(b':')?;
            let value = self.value(depth)?;
            if members.contains_key(&name) {
                return Err(JsonError::Duplicate { name, at });
            }
            members.insert(name, value);
            self.white_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Value::Object(members));
                }
                _ => return self.syntax(),
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, JsonError> {
        let mut elements = Vec::new();
        self.expect(b'[')?;
        self.white_space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::Array(elements));
        }
        loop {
            elements.push(self.value(depth)?);
            self.white_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Value::Array(elements));
                }
                _ => return self.syntax(),
            }
        }
    }

    fn string(&mut self) -> Result<String, JsonError> {
        self.expect(b'"')?;
        let mut out = String::new();
        loop {
            let start = self.at;
            while !matches!(self.peek(), None | Some(b'"' | b'\\' | 0..=0x1f)) {
                self.at += 1;
            }
            out.push_str(self.text.get(start..self.at).unwrap_or_default());
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    self.at += 1;
                    out.push(self.escape()?);
                }
                _ => return self.syntax(),
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let plain = match self.peek() {
            Some(c @ (b'"' | b'\\' | b'/')) => char::from(c),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode_escape();
            }
            _ => return self.syntax(),
        };
        self.at += 1;
        Ok(plain)
    }

    /// A lone surrogate is refused: it has no UTF-8, so every reader would invent something else for it.
    fn unicode_escape(&mut self) -> Result<char, JsonError> {
        let first = self.four_hex()?;
        let code = match first {
            0xd800..=0xdbff => {
                self.expect(b'\\')?;
                self.expect(b'u')?;
                let second = self.four_hex()?;
                if !(0xdc00..=0xdfff).contains(&second) {
                    return self.syntax();
                }
                0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
            }
            _ => first,
        };
        char::from_u32(code).ok_or(JsonError::Syntax(self.at))
    }

    fn four_hex(&mut self) -> Result<u32, JsonError> {
        let digits = self.text.get(self.at..self.at + 4).unwrap_or_default();
        if digits.len() != 4 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return self.syntax();
        }
        self.at += 4;
        u32::from_str_radix(digits, 16).map_err(|_| JsonError::Syntax(self.at))
    }

    fn number(&mut self) -> Result<Value, JsonError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        if self.at - start > NUMBER_BYTES_MAX {
            return Err(JsonError::NumberTooLong(start));
        }
        let text = self.text.get(start..self.at).unwrap_or_default();
        text.parse::<Number>().map(Value::Number).map_err(|_| JsonError::Syntax(start))
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { self.syntax() } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
