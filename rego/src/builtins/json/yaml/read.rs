//! Reading one document, line by line: what is not plainly one thing is refused.
use super::Fault;
use super::resolve::{self, Scalar};
use crate::Value;
use std::collections::HashMap;

/// How deep collections may lie within each other.
const MAX_DEPTH: usize = 100;

/// The longest key: Go looks for its colon within 1024 bytes.
const LONGEST_KEY: usize = 1000;

type Read<T> = Result<T, Fault>;

fn refused<T>(why: &'static str) -> Read<T> {
    Err(Fault::Refused(why))
}

fn invalid<T>(line: usize, why: &str) -> Read<T> {
    Err(Fault::Invalid(format!("yaml: line {line}: {why}")))
}

/// Whether a text of JSON means the same as YAML.
pub(super) fn check_json(text: &str) -> Result<(), &'static str> {
    let known = |c: char| matches!(c, '\t' | '\n' | '\r') || is_known(c);
    if !text.chars().all(known) {
        return Err("unusual characters");
    }
    if text.starts_with('\t') || text.trim_end_matches(['\n', ' ']).ends_with(['\t', '\r']) {
        return Err("blanks around the document");
    }
    let lower = text.to_ascii_lowercase();
    if ["\\/", "\\ud8", "\\ud9", "\\uda", "\\udb", "\\udc", "\\udd", "\\ude", "\\udf"]
        .iter()
        .any(|e| lower.contains(e))
    {
        return Err("an escape of JSON");
    }
    for (at, _) in text.match_indices(':') {
        let before = text.get(..at).unwrap_or_default();
        let key = before.trim_end_matches([' ', '\t', '\n', '\r']);
        if before.get(key.len()..).is_some_and(|blanks| blanks.contains(['\n', '\r'])) {
            return Err("a line break behind a key");
        }
    }
    let parts: Vec<&str> = text.split('"').collect();
    let long_key = |pair: &[&str]| matches!(pair, [key, next] if key.len() > LONGEST_KEY && next.trim_start().starts_with(':'));
    if parts.windows(2).any(long_key) { Err("a long key") } else { Ok(()) }
}

/// A character that is no control, no line break but `\n`, and no byte order mark.
fn is_known(c: char) -> bool {
    matches!(c, ' '..='~' | '\u{a0}'..='\u{2027}' | '\u{202a}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}' | '\u{10000}'..)
}

pub(super) fn document(text: &str) -> Read<Value> {
    if !text.chars().all(|c| c == '\n' || is_known(c)) {
        return refused("unusual characters");
    }
    let mut lines: Vec<Line<'_>> = Vec::new();
    let mut marked = false;
    for (index, text) in text.split('\n').enumerate() {
        let content = text.trim_start_matches(' ');
        let marker = ["---", "...", "%"].iter().any(|marker| text.starts_with(marker));
        if marker && (text != "---" || marked || lines.iter().any(|line| !line.is_empty())) {
            return refused("markers of documents");
        }
        marked |= marker;
        let content = if marker { "" } else { content };
        lines.push(Line { number: index + 1, indent: text.len() - content.len(), content });
    }
    let ended = text.ends_with('\n');
    let mut reader = Reader { lines, at: 0, depth: 0, ended };
    reader.skip_empty();
    if reader.peek().is_none() {
        return Ok(Value::Null);
    }
    let value = reader.node(None)?;
    reader.skip_empty();
    if reader.peek().is_some() { refused("more behind the value") } else { Ok(value) }
}

#[derive(Clone, Copy, Debug)]
struct Line<'t> {
    /// From 1.
    number: usize,
    indent: usize,
    content: &'t str,
}

impl Line<'_> {
    fn is_empty(&self) -> bool {
        self.content.is_empty() || self.content.starts_with('#')
    }

    fn is_item(&self) -> bool {
        self.content == "-" || self.content.starts_with("- ")
    }
}

struct Reader<'t> {
    lines: Vec<Line<'t>>,
    at: usize,
    depth: usize,
    /// Whether the last line is ended by a line break.
    ended: bool,
}

impl<'t> Reader<'t> {
    fn peek(&self) -> Option<Line<'t>> {
        self.lines.get(self.at).copied()
    }

    fn skip_empty(&mut self) {
        while self.peek().is_some_and(|line| line.is_empty()) {
            self.at += 1;
        }
    }

    /// Puts what is left of the line in its place.
    fn leave(&mut self, rest: &'t str) {
        if let Some(line) = self.lines.get_mut(self.at) {
            line.indent += line.content.len() - rest.len();
            line.content = rest;
        }
    }

    /// The node that begins with this line, which is not empty, within a parent of this indent.
    fn node(&mut self, parent: Option<usize>) -> Read<Value> {
        let Some(line) = self.peek() else { return Ok(Value::Null) };
        if self.depth >= MAX_DEPTH {
            return refused("deep nesting");
        }
        self.depth += 1;
        let value = if line.is_item() {
            self.sequence(line.indent)
        } else if key(line.content)?.is_some() {
            self.mapping(line.indent)
        } else {
            self.inline(parent, line.content)
        };
        self.depth -= 1;
        value
    }

    fn sequence(&mut self, indent: usize) -> Read<Value> {
        let mut items = Vec::new();
        loop {
            self.skip_empty();
            let Some(line) = self.peek().filter(|line| line.indent >= indent) else { break };
            if line.indent > indent {
                return refused("odd indentation");
            }
            if !line.is_item() {
                break;
            }
            let rest = line.content.strip_prefix('-').unwrap_or_default().trim_start_matches(' ');
            if rest.is_empty() || rest.starts_with('#') {
                self.at += 1;
                items.push(self.below(indent, false)?);
            } else {
                self.leave(rest);
                items.push(self.node(Some(indent))?);
            }
        }
        Ok(Value::array(items))
    }

    fn mapping(&mut self, indent: usize) -> Read<Value> {
        let mut members = Vec::new();
        let mut kinds = HashMap::new();
        loop {
            self.skip_empty();
            let Some(line) = self.peek().filter(|line| line.indent >= indent) else { break };
            if line.indent > indent || line.is_item() {
                return refused("odd indentation");
            }
            let Some((name, rest)) = key(line.content)? else { return refused("a line without a key") };
            let name = member_name(name, &mut kinds, line.number)?;
            let rest = rest.trim_start_matches(' ');
            let value = if rest.is_empty() || rest.starts_with('#') {
                self.at += 1;
                self.below(indent, true)?
            } else {
                self.leave(rest);
                self.inline(Some(indent), rest)?
            };
            members.push((Value::from(name), value));
        }
        Ok(Value::object(members))
    }

    /// What stands below a key or a dash: deeper, or, below a key, items at the same depth; else nothing.
    fn below(&mut self, indent: usize, key: bool) -> Read<Value> {
        self.skip_empty();
        match self.peek() {
            Some(line) if line.indent > indent || (key && line.indent == indent && line.is_item()) => {
                self.node(Some(indent))
            }
            _ => Ok(Value::Null),
        }
    }

    /// A value within a line; its line is over afterwards.
    fn inline(&mut self, parent: Option<usize>, text: &'t str) -> Read<Value> {
        let number = self.peek().map_or(0, |line| line.number);
        match text.chars().next() {
            Some('|') => return self.literal(parent, text),
            Some('[' | '{') => return self.flow(parent),
            Some(quote @ ('"' | '\'')) => {
                let (value, rest) = quoted(text, quote)?;
                self.end_of_line(parent, rest)?;
                return Ok(Value::from(value));
            }
            _ => {}
        }
        let plain = text.split_once(" #").map_or(text, |(plain, _)| plain).trim_end_matches(' ');
        if !begins_plain(plain) {
            return refused("an indicator");
        }
        if plain.contains(": ") || plain.ends_with(':') {
            return invalid(number, "mapping values are not allowed in this context");
        }
        self.end_of_line(parent, "")?;
        resolve::value(resolve::resolve(plain), plain).map_err(Fault::Invalid)
    }

    /// Ends the line, on which nothing but a comment may be left, and which no deeper line may go on with.
    fn end_of_line(&mut self, parent: Option<usize>, rest: &str) -> Read<()> {
        let comment = rest.trim_start_matches(' ');
        if !comment.is_empty() && (comment.len() == rest.len() || !comment.starts_with('#')) {
            return refused("more behind a value");
        }
        self.at += 1;
        self.skip_empty();
        match self.peek() {
            Some(line) if parent.is_none_or(|parent| line.indent > parent) => {
                refused("a value of several lines")
            }
            _ => Ok(()),
        }
    }

    /// The lines below a bar.
    fn literal(&mut self, parent: Option<usize>, header: &str) -> Read<Value> {
        let strip = match header.trim_end_matches(' ') {
            "|" => false,
            "|-" => true,
            _ => return refused("a header of a block"),
        };
        let Some(parent) = parent else { return refused("a block alone") };
        self.at += 1;
        let mut text = String::new();
        let mut indent = None;
        let mut breaks = 0;
        while let Some(line) = self.peek() {
            if line.content.is_empty() {
                if line.indent > 0 {
                    return refused("blanks in a block");
                }
                if indent.is_none() {
                    return refused("a block that begins with an empty line");
                }
            } else if line.indent > parent && indent.is_none_or(|indent| line.indent >= indent) {
                let start = *indent.get_or_insert(line.indent);
                text.push_str(&"\n".repeat(std::mem::take(&mut breaks)));
                text.push_str(&" ".repeat(line.indent - start));
                text.push_str(line.content);
            } else if line.content.starts_with('#') || line.indent > parent {
                return refused("the end of a block");
            } else {
                break;
            }
            breaks += 1;
            self.at += 1;
        }
        if indent.is_none() || (self.peek().is_none() && !self.ended) {
            return refused("the end of a block");
        }
        text.push_str(if strip { "" } else { "\n" });
        Ok(Value::from(text))
    }

    /// A collection in brackets, which may go on over deeper lines.
    fn flow(&mut self, parent: Option<usize>) -> Read<Value> {
        let mut flow = Flow { reader: self, parent };
        let value = flow.value()?;
        let rest = self.peek().map_or("", |line| line.content);
        self.end_of_line(parent, rest)?;
        Ok(value)
    }
}

struct Flow<'r, 't> {
    reader: &'r mut Reader<'t>,
    parent: Option<usize>,
}

impl<'t> Flow<'_, 't> {
    /// What is left of the line from the next token on; on the next lines where this one is over.
    fn rest(&mut self) -> Read<&'t str> {
        loop {
            self.end()?;
            let Some(line) = self.reader.peek() else { return Ok("") };
            let rest = line.content.trim_start_matches(' ');
            if rest.starts_with('#') {
                return refused("a comment within brackets");
            }
            if !rest.is_empty() {
                self.reader.leave(rest);
                return Ok(rest);
            }
            self.reader.at += 1;
            let deeper = |line: Line<'_>| {
                line.content.is_empty() || self.parent.is_none_or(|parent| line.indent > parent)
            };
            if !self.reader.peek().is_none_or(deeper) {
                return refused("brackets over several lines");
            }
        }
    }

    /// There is no end to a collection where the document ends.
    fn end(&self) -> Read<()> {
        match self.reader.peek() {
            Some(_) => Ok(()),
            None => invalid(self.reader.lines.len(), "did not find expected ',' or the end of a collection"),
        }
    }

    fn take(&mut self, token: &str) -> Read<bool> {
        let rest = self.rest()?.strip_prefix(token);
        if let Some(rest) = rest {
            self.reader.leave(rest);
        }
        Ok(rest.is_some())
    }

    fn value(&mut self) -> Read<Value> {
        if self.reader.depth >= MAX_DEPTH {
            return refused("deep nesting");
        }
        self.reader.depth += 1;
        let value = if self.take("[")? {
            self.items()
        } else if self.take("{")? {
            self.members()
        } else {
            match self.scalar()? {
                (Name::Text(text), _) => Ok(Value::from(text)),
                (Name::Plain(plain), _) => {
                    resolve::value(resolve::resolve(plain), plain).map_err(Fault::Invalid)
                }
            }
        };
        self.reader.depth -= 1;
        value
    }

    fn items(&mut self) -> Read<Value> {
        let mut items = Vec::new();
        while !self.take("]")? {
            items.push(self.value()?);
            self.separator("]", "}")?;
        }
        Ok(Value::array(items))
    }

    fn members(&mut self) -> Read<Value> {
        let mut members = Vec::new();
        let mut kinds = HashMap::new();
        while !self.take("}")? {
            let number = self.reader.peek().map_or(0, |line| line.number);
            let (name, rest) = self.scalar()?;
            let value = rest.trim_start_matches(' ').strip_prefix(':');
            let spaced = value.is_some_and(|value| value.is_empty() || value.starts_with(' '));
            let (Some(value), true) = (value, spaced || matches!(name, Name::Text(_))) else {
                return refused("a member without a value");
            };
            let name = member_name(name, &mut kinds, number)?;
            self.reader.leave(value);
            members.push((Value::from(name), self.value()?));
            self.separator("}", "]")?;
        }
        Ok(Value::object(members))
    }

    /// A comma, or the end, which stays.
    fn separator(&mut self, end: &str, other: &str) -> Read<()> {
        if self.take(",")? || self.rest()?.starts_with(end) {
            return Ok(());
        }
        let number = self.reader.peek().map_or(0, |line| line.number);
        match self.rest()?.starts_with(other) {
            true => invalid(number, "did not find expected ',' or the end of a collection"),
            false => refused("something between brackets"),
        }
    }

    /// A scalar, and what is left of its line.
    fn scalar(&mut self) -> Read<(Name<'t>, &'t str)> {
        let rest = self.rest()?;
        if let Some(quote) = rest.chars().next().filter(|c| matches!(c, '"' | '\'')) {
            let (text, rest) = quoted(rest, quote)?;
            self.reader.leave(rest);
            return Ok((Name::Text(text), rest));
        }
        let plain =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '+' | '~' | '-' | ' ');
        let end = rest.find(|c| !plain(c)).unwrap_or(rest.len());
        let (plain, rest) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let plain = plain.trim_end_matches(' ');
        if plain.is_empty()
            || !begins_plain(plain)
            || !(rest.is_empty() || rest.starts_with([',', ']', '}', ':']))
        {
            return refused("something within brackets");
        }
        // Where the line ends, the next one may go on with the scalar.
        if rest.is_empty() {
            self.reader.at += 1;
            while self.reader.peek().is_some_and(|line| line.content.is_empty()) {
                self.reader.at += 1;
            }
            self.end()?;
            return refused("a scalar at the end of a line within brackets");
        }
        self.reader.leave(rest);
        Ok((Name::Plain(plain), rest))
    }
}

/// A scalar that may be a key.
enum Name<'t> {
    Text(String),
    Plain(&'t str),
}

/// The key that a line begins with, and what is behind its colon.
fn key(text: &str) -> Read<Option<(Name<'_>, &str)>> {
    let (name, rest) = match text.chars().next() {
        Some(quote @ ('"' | '\'')) => {
            let (name, rest) = quoted(text, quote)?;
            (Name::Text(name), rest)
        }
        _ => {
            let plain = text.split_once(" #").map_or(text, |(plain, _)| plain);
            let colon = plain.find(": ").or_else(|| plain.strip_suffix(':').map(str::len));
            let Some((name, rest)) = colon.and_then(|at| text.split_at_checked(at)) else { return Ok(None) };
            if text.starts_with(['[', '{', '|']) {
                return Ok(None);
            }
            let name = name.trim_end_matches(' ');
            if !begins_plain(name) {
                return refused("an indicator");
            }
            (Name::Plain(name), rest)
        }
    };
    let Some(value) = rest.trim_start_matches(' ').strip_prefix(':') else { return Ok(None) };
    if !value.is_empty() && !value.starts_with(' ') {
        return refused("a colon without a blank");
    }
    if text.len().saturating_sub(rest.len()) > LONGEST_KEY {
        return refused("a long key");
    }
    // A value that would have to begin on its own line.
    let value_begins = value.trim_start_matches(' ');
    if value_begins == "-" || value_begins.starts_with("- ") {
        return refused("an item behind a key");
    }
    Ok(Some((name, value)))
}

/// The name of a member, as JSON has it. Keys of different types may not get one name: which counts is chance.
fn member_name(name: Name<'_>, kinds: &mut HashMap<String, u8>, line: usize) -> Read<String> {
    let (name, kind) = match name {
        Name::Text(text) => (text, 0),
        Name::Plain("<<") => return refused("a merge"),
        Name::Plain(plain) => match resolve::resolve(plain) {
            Scalar::Text => (plain.to_owned(), 0),
            Scalar::Bool(value) => (value.to_string(), 1),
            Scalar::Int(literal) => (literal, 2),
            Scalar::Float(_) => return refused("a key that is a fraction"),
            Scalar::Null => return invalid(line, "unsupported map key of type: null"),
        },
    };
    match kinds.insert(name.clone(), kind) {
        Some(other) if other != kind => refused("keys of one name"),
        _ => Ok(name),
    }
}

/// Whether a text can begin a plain scalar, outside of brackets.
fn begins_plain(text: &str) -> bool {
    let mut chars = text.chars();
    match chars.next() {
        None => false,
        Some('-') => chars.next().is_some_and(|c| c.is_alphanumeric() || c == '.'),
        Some(c) => !matches!(
            c,
            '?' | ':'
                | ','
                | '['
                | ']'
                | '{'
                | '}'
                | '#'
                | '&'
                | '*'
                | '!'
                | '|'
                | '>'
                | '\''
                | '"'
                | '%'
                | '@'
                | '`'
        ),
    }
}

/// A quoted scalar within one line, and what is behind it.
fn quoted(text: &str, quote: char) -> Read<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.chars();
    chars.next();
    loop {
        match chars.next() {
            None => return refused("a quoted value of several lines"),
            Some('\'') if quote == '\'' && chars.as_str().starts_with('\'') => {
                chars.next();
                value.push('\'');
            }
            Some(c) if c == quote => return Ok((value, chars.as_str())),
            Some('\\') if quote == '"' => value.push(match chars.next() {
                Some(c @ ('"' | '\\')) => c,
                Some('0') => '\0',
                Some('a') => '\u{7}',
                Some('b') => '\u{8}',
                Some('t') => '\t',
                Some('n') => '\n',
                Some('v') => '\u{b}',
                Some('f') => '\u{c}',
                Some('r') => '\r',
                Some('e') => '\u{1b}',
                Some('x') => escaped(&mut chars, 2)?,
                Some('u') => escaped(&mut chars, 4)?,
                _ => return refused("an escape"),
            }),
            Some(c) => value.push(c),
        }
    }
}

fn escaped(chars: &mut std::str::Chars<'_>, length: usize) -> Read<char> {
    let digits: String = chars.by_ref().take(length).collect();
    let hexadecimal = digits.len() == length && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let code = u32::from_str_radix(&digits, 16).ok().filter(|_| hexadecimal);
    code.and_then(char::from_u32).ok_or(Fault::Refused("an escape"))
}
