//! The reader: RFC 8259 and nothing beside it, with limits on depth, values and numbers.
use super::Document;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// What a document may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DocumentLimits {
    /// Levels of arrays and objects.
    pub(crate) depth_max: usize,
    /// Values in all.
    pub(crate) values_max: usize,
}

impl Default for DocumentLimits {
    fn default() -> Self {
        Self { depth_max: 64, values_max: 4_000_000 }
    }
}

/// The most bytes of a number literal: enough for every 256-bit integer and every double.
const NUMBER_BYTES_MAX: usize = 128;
/// The largest power of ten in a number literal; beyond it one short literal would expand to megabytes of digits.
const EXPONENT_MAX: i32 = 400;

/// Why a text is no document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DocumentError {
    #[error("line {line}: {what}")]
    Syntax { line: usize, what: &'static str },
    #[error("line {line}: member `{name}` stands twice")]
    Duplicate { line: usize, name: String },
    #[error("line {line}: {what} goes beyond the limit")]
    Limit { line: usize, what: &'static str },
}

/// Reads one document that fills `bytes` but for blanks.
pub(crate) fn parse(bytes: &[u8], limits: DocumentLimits) -> Result<Document, DocumentError> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Err(DocumentError::Syntax { line: 1, what: "the text is not UTF-8" });
    };
    let mut reader = Reader { rest: text, whole: text, limits, values: 0 };
    reader.blanks();
    let document = reader.value(0)?;
    reader.blanks();
    if reader.rest.is_empty() { Ok(document) } else { Err(reader.syntax("something follows the document")) }
}

struct Reader<'a> {
    rest: &'a str,
    whole: &'a str,
    limits: DocumentLimits,
    values: usize,
}

impl<'a> Reader<'a> {
    fn line(&self) -> usize {
        let read = self.whole.len().saturating_sub(self.rest.len());
        self.whole.bytes().take(read).filter(|b| *b == b'\n').count().saturating_add(1)
    }

    fn syntax(&self, what: &'static str) -> DocumentError {
        DocumentError::Syntax { line: self.line(), what }
    }

    fn limit(&self, what: &'static str) -> DocumentError {
        DocumentError::Limit { line: self.line(), what }
    }

    fn blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn take(&mut self, expected: &str) -> bool {
        match self.rest.strip_prefix(expected) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Takes the longest prefix of characters that satisfy `accept`.
    fn take_while(&mut self, accept: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !accept(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    fn value(&mut self, depth: usize) -> Result<Document, DocumentError> {
        self.values = self.values.saturating_add(1);
        if self.values > self.limits.values_max {
            return Err(self.limit("the number of values"));
        }
        match self.rest.bytes().next() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(Document::String),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) if self.take("true") => Ok(Document::Bool(true)),
            Some(_) if self.take("false") => Ok(Document::Bool(false)),
            Some(_) if self.take("null") => Ok(Document::Null),
            Some(_) => Err(self.syntax("expected a JSON value")),
            None => Err(self.syntax("the document ends too early")),
        }
    }

    fn deeper(&self, depth: usize) -> Result<usize, DocumentError> {
        if depth < self.limits.depth_max {
            Ok(depth.saturating_add(1))
        } else {
            Err(self.limit("the nesting"))
        }
    }

    fn array(&mut self, depth: usize) -> Result<Document, DocumentError> {
        let depth = self.deeper(depth)?;
        self.take("[");
        let mut items = Vec::new();
        self.blanks();
        if self.take("]") {
            return Ok(Document::Array(items));
        }
        loop {
            self.blanks();
            items.push(self.value(depth)?);
            self.blanks();
            if self.take("]") {
                return Ok(Document::Array(items));
            }
            if !self.take(",") {
                return Err(self.syntax("expected `,` or `]`"));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Document, DocumentError> {
        let depth = self.deeper(depth)?;
        self.take("{");
        let mut members = BTreeMap::new();
        self.blanks();
        if self.take("}") {
            return Ok(Document::Object(members));
        }
        loop {
            self.blanks();
            if !self.rest.starts_with('"') {
                return Err(self.syntax("expected a member name"));
            }
            let line = self.line_if_small();
            let name = self.string()?;
            self.blanks();
            if !self.take(":") {
                return Err(self.syntax("expected `:`"));
            }
            self.blanks();
            let value = self.value(depth)?;
            match members.entry(name) {
                Entry::Vacant(free) => {
                    free.insert(value);
                }
                Entry::Occupied(taken) => {
                    let line = line.unwrap_or_else(|| self.line());
                    return Err(DocumentError::Duplicate {
                        line,
                        name: taken.key().chars().take(64).collect(),
                    });
                }
            }
            self.blanks();
            if self.take("}") {
                return Ok(Document::Object(members));
            }
            if !self.take(",") {
                return Err(self.syntax("expected `,` or `}`"));
            }
        }
    }

    /// Counting lines costs the length of what was read, so it is done ahead only where that is nothing.
    fn line_if_small(&self) -> Option<usize> {
        (self.whole.len() < 1024).then(|| self.line())
    }

    fn number(&mut self) -> Result<Document, DocumentError> {
        let literal = self.take_while(|c| matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E'));
        if literal.len() > NUMBER_BYTES_MAX {
            return Err(self.limit("the length of a number"));
        }
        let unsigned = literal.strip_prefix('-').unwrap_or(literal);
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, Some(exponent)),
            None => (unsigned, None),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (mantissa, None),
        };
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let leading_zero = whole.len() > 1 && whole.starts_with('0');
        if !digits(whole) || leading_zero || fraction.is_some_and(|f| !digits(f)) {
            return Err(self.syntax("a number is not written as JSON writes numbers"));
        }
        if let Some(exponent) = exponent {
            let plain = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            if !digits(plain) {
                return Err(self.syntax("a number is not written as JSON writes numbers"));
            }
            if !plain.parse::<i32>().is_ok_and(|e| e <= EXPONENT_MAX) {
                return Err(self.limit("the exponent of a number"));
            }
        }
        Ok(Document::Number(literal.into()))
    }

    fn string(&mut self) -> Result<String, DocumentError> {
        self.take("\"");
        let mut text = String::new();
        loop {
            text.push_str(self.take_while(|c| c != '"' && c != '\\' && c >= ' '));
            if self.take("\"") {
                return Ok(text);
            }
            if !self.take("\\") {
                return Err(self.syntax("a string holds a raw control character or does not end"));
            }
            text.push(self.escape()?);
        }
    }

    fn escape(&mut self) -> Result<char, DocumentError> {
        let Some(letter) = self.rest.chars().next() else {
            return Err(self.syntax("a string does not end"));
        };
        self.rest = self.rest.get(letter.len_utf8()..).unwrap_or("");
        Ok(match letter {
            '"' | '\\' | '/' => letter,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => return self.unicode_escape(),
            _ => return Err(self.syntax("a string holds an unknown escape")),
        })
    }

    /// A lone surrogate has no meaning that two readers agree on: it is refused.
    fn unicode_escape(&mut self) -> Result<char, DocumentError> {
        let high = self.hex4()?;
        let code = if (0xd800..0xdc00).contains(&high) {
            let low = if self.take("\\u") { self.hex4()? } else { 0 };
            if !(0xdc00..0xe000).contains(&low) {
                return Err(self.syntax("a string holds half a surrogate pair"));
            }
            0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)
        } else {
            high
        };
        char::from_u32(code).ok_or_else(|| self.syntax("a string holds half a surrogate pair"))
    }

    fn hex4(&mut self) -> Result<u32, DocumentError> {
        let digits = self.rest.get(..4).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let Some(code) = digits.and_then(|d| u32::from_str_radix(d, 16).ok()) else {
            return Err(self.syntax("`\\u` needs four hexadecimal digits"));
        };
        self.rest = self.rest.get(4..).unwrap_or("");
        Ok(code)
    }
}
