//! Reads a glob into a tree.
use crate::builtins::BuiltinError;

/// A node of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// What stays of an alternative whose parts all others have too.
    Nothing,
    /// One after the other.
    Pattern(Vec<Node>),
    /// Alternatives.
    AnyOf(Vec<Node>),
    List {
        characters: String,
        not: bool,
    },
    Range {
        low: char,
        high: char,
        not: bool,
    },
    Text(String),
    /// `*`.
    Any,
    /// `**`.
    Super,
    /// `?`.
    Single,
}

/// The deepest nesting of alternatives.
const DEPTH_MAX: usize = 128;

fn failed(why: &str) -> BuiltinError {
    BuiltinError::Failed(why.to_owned())
}

/// Reads a glob. Alternatives that are not closed end with it.
pub(super) fn parse(pattern: &str) -> Result<Node, BuiltinError> {
    let mut reader = Reader { rest: pattern };
    // For each open brace the alternatives before the current one, and what stood before the brace.
    let mut open: Vec<(Vec<Node>, Vec<Node>)> = Vec::new();
    let mut current: Vec<Node> = Vec::new();
    while let Some(character) = reader.next()? {
        match character {
            '{' if open.len() >= DEPTH_MAX => {
                return Err(BuiltinError::Budget(format!("a glob nests deeper than {DEPTH_MAX}")));
            }
            '{' => open.push((Vec::new(), std::mem::take(&mut current))),
            ',' if !open.is_empty() => {
                if let Some((alternatives, _)) = open.last_mut() {
                    alternatives.push(Node::Pattern(std::mem::take(&mut current)));
                }
            }
            '}' if !open.is_empty() => close(&mut open, &mut current),
            '[' => current.push(reader.class()?),
            '?' => current.push(Node::Single),
            '*' if reader.peek()? == Some('*') => {
                reader.next()?;
                current.push(Node::Super);
            }
            '*' => current.push(Node::Any),
            other => {
                let ends: &[char] =
                    if open.is_empty() { &['?', '*', '[', '{'] } else { &['?', '*', '[', '{', '}', ','] };
                let text = reader.text(Some(other), ends)?;
                if !text.is_empty() {
                    current.push(Node::Text(text));
                }
            }
        }
    }
    while !open.is_empty() {
        close(&mut open, &mut current);
    }
    Ok(Node::Pattern(current))
}

fn close(open: &mut Vec<(Vec<Node>, Vec<Node>)>, current: &mut Vec<Node>) {
    if let Some((mut alternatives, before)) = open.pop() {
        alternatives.push(Node::Pattern(std::mem::replace(current, before)));
        current.push(Node::AnyOf(alternatives));
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    /// The next character. A replacement character is taken for broken text. The character zero stands for the end
    /// wherever one looks for it.
    fn peek(&self) -> Result<Option<char>, BuiltinError> {
        match self.rest.chars().next() {
            Some(char::REPLACEMENT_CHARACTER) => Err(failed("could not read rune")),
            Some('\0') | None => Ok(None),
            other => Ok(other),
        }
    }

    fn next(&mut self) -> Result<Option<char>, BuiltinError> {
        let character = self.peek()?;
        let mut characters = self.rest.chars();
        characters.next();
        self.rest = characters.as_str();
        Ok(character)
    }

    /// Text up to one of the ends, or to a zero, which is skipped. A backslash makes the next character part of it, and
    /// at the end it is nothing.
    fn text(&mut self, first: Option<char>, ends: &[char]) -> Result<String, BuiltinError> {
        let mut text = String::new();
        let mut escaped = false;
        let mut next = first;
        loop {
            let character = match next.take() {
                Some(character) => character,
                None => match self.peek()? {
                    Some(character) if !escaped && ends.contains(&character) => break,
                    _ => match self.next()? {
                        Some(character) => character,
                        None => break,
                    },
                },
            };
            if character == '\\' && !escaped {
                escaped = true;
                continue;
            }
            escaped = false;
            text.push(character);
        }
        Ok(text)
    }

    /// What follows an opening bracket: a range `a-z`, or a list, either after a `!`.
    fn class(&mut self) -> Result<Node, BuiltinError> {
        const END: &str = "unexpected end of input";
        let mut first = self.next()?.ok_or_else(|| failed(END))?;
        let not = first == '!';
        if not {
            first = self.next()?.ok_or_else(|| failed(END))?;
        }
        let node = if self.peek()? == Some('-') {
            self.next()?;
            let high = self.next()?.ok_or_else(|| failed(END))?;
            if high < first {
                return Err(failed("the end of a range should not be less than its beginning"));
            }
            Node::Range { low: first, high, not }
        } else {
            let characters = if first == ']' { String::new() } else { self.text(Some(first), &[']'])? };
            if first == ']' {
                // The empty list is closed already.
                return Err(failed("could not parse range"));
            }
            Node::List { characters, not }
        };
        match self.next()? {
            Some(']') => {}
            Some(_) => return Err(failed("expected close range character")),
            None => return Err(failed(END)),
        }
        match &node {
            Node::List { characters, .. } if characters.is_empty() => Err(failed("could not parse range")),
            _ => Ok(node),
        }
    }
}
