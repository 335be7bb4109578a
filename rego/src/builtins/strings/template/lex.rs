//! Takes a template apart into text and the words of its actions.
use super::{Fault, wrong};
use crate::builtins::regexes::of_a_name;

/// A word, with the text that it was written as where that matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Text(&'a str),
    /// `{{`.
    Open,
    /// `}}`.
    Close,
    Space,
    /// `=`.
    Assign,
    /// `:=`.
    Declare,
    Pipe,
    LeftParen,
    RightParen,
    Comma,
    Dot,
    Bool(bool),
    /// A single-quoted character, with its quotes.
    Character(&'a str),
    /// `.name`, with the point.
    Field(&'a str),
    /// `$name`, with the dollar sign.
    Variable(&'a str),
    Identifier(&'a str),
    Keyword(&'a str),
    Number(&'a str),
    /// A quoted string, with its quotes.
    Quoted(&'a str),
    /// Any other printable character.
    Other,
}

const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];
const KEYWORDS: [&str; 11] =
    ["block", "break", "continue", "define", "else", "end", "if", "nil", "range", "template", "with"];

/// All words of a template.
pub(super) fn tokens(template: &str) -> Result<Vec<Token<'_>>, Fault> {
    let mut tokens = Vec::new();
    let mut rest = template;
    while let Some((text, action)) = rest.split_once("{{") {
        let trimmed = marked(action);
        let text = if trimmed { text.trim_end_matches(SPACES) } else { text };
        if !text.is_empty() {
            tokens.push(Token::Text(text));
        }
        let action = if trimmed { action.get(2..).unwrap_or_default() } else { action };
        rest = if let Some(comment) = action.strip_prefix("/*") {
            let (_, after) = comment.split_once("*/").ok_or_else(|| wrong("unclosed comment"))?;
            closing(after).ok_or_else(|| wrong("comment ends before closing delimiter"))?
        } else {
            tokens.push(Token::Open);
            let mut lexer = Lexer { rest: action, parens: 0 };
            while let Some(token) = lexer.token()? {
                tokens.push(token);
            }
            tokens.push(Token::Close);
            closing(lexer.rest).unwrap_or_default()
        };
    }
    if !rest.is_empty() {
        tokens.push(Token::Text(rest));
    }
    Ok(tokens)
}

/// Whether a hyphen and a space follow the opening braces.
fn marked(action: &str) -> bool {
    action.strip_prefix('-').is_some_and(|rest| rest.starts_with(SPACES))
}

/// What follows the closing braces, if they are here, without leading spaces if a space and a hyphen stand before them.
fn closing(text: &str) -> Option<&str> {
    let marked = text.strip_prefix(SPACES).and_then(|rest| rest.strip_prefix("-}}"));
    marked.map(|rest| rest.trim_start_matches(SPACES)).or_else(|| text.strip_prefix("}}"))
}

struct Lexer<'a> {
    rest: &'a str,
    parens: usize,
}

impl<'a> Lexer<'a> {
    fn next(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let character = characters.next()?;
        self.rest = characters.as_str();
        Some(character)
    }

    /// What was read since the rest was this.
    fn since(&self, before: &'a str) -> &'a str {
        before.get(..before.len().saturating_sub(self.rest.len())).unwrap_or_default()
    }

    /// The next word of an action; `None` at its end.
    fn token(&mut self) -> Result<Option<Token<'a>>, Fault> {
        if closing(self.rest).is_some() {
            return if self.parens == 0 { Ok(None) } else { Err(wrong("unclosed left paren")) };
        }
        let before = self.rest;
        let Some(character) = self.next() else { return Err(wrong("unclosed action")) };
        Ok(Some(match character {
            _ if SPACES.contains(&character) => {
                // The last space may belong to the closing braces.
                while self.rest.starts_with(SPACES) && closing(self.rest).is_none() {
                    self.next();
                }
                Token::Space
            }
            '=' => Token::Assign,
            ':' => {
                if self.next() != Some('=') {
                    return Err(wrong("expected :="));
                }
                Token::Declare
            }
            '|' => Token::Pipe,
            '(' => {
                self.parens = self.parens.saturating_add(1);
                Token::LeftParen
            }
            ')' => {
                self.parens = self.parens.checked_sub(1).ok_or_else(|| wrong("unexpected right paren"))?;
                Token::RightParen
            }
            ',' => Token::Comma,
            '"' | '\'' => self.quoted(character, before)?,
            '`' => {
                let (_, rest) =
                    self.rest.split_once('`').ok_or_else(|| wrong("unterminated raw quoted string"))?;
                self.rest = rest;
                Token::Quoted(self.since(before))
            }
            '$' => {
                self.name()?;
                Token::Variable(self.since(before))
            }
            '.' if !self.rest.starts_with(|c: char| c.is_ascii_digit()) && !self.rest.is_empty() => {
                self.name()?;
                let field = self.since(before);
                if field == "." { Token::Dot } else { Token::Field(field) }
            }
            '.' | '+' | '-' | '0'..='9' => {
                self.rest = before;
                self.number()?;
                Token::Number(self.since(before))
            }
            _ if of_a_name(character) => {
                self.name()?;
                match self.since(before) {
                    "true" => Token::Bool(true),
                    "false" => Token::Bool(false),
                    word if KEYWORDS.contains(&word) => Token::Keyword(word),
                    word => Token::Identifier(word),
                }
            }
            ' '..='~' => Token::Other,
            _ => return Err(wrong("unrecognized character in action")),
        }))
    }

    /// The rest of a name, after which something must stand that ends it.
    fn name(&mut self) -> Result<(), Fault> {
        self.rest = self.rest.trim_start_matches(of_a_name);
        let ended = self.rest.is_empty()
            || self.rest.starts_with(SPACES)
            || self.rest.starts_with(['.', ',', '|', ':', ')', '('])
            || self.rest.starts_with("}}");
        if ended { Ok(()) } else { Err(wrong("bad character")) }
    }

    fn quoted(&mut self, quote: char, before: &'a str) -> Result<Token<'a>, Fault> {
        loop {
            match self.next() {
                Some('\\') if !matches!(self.rest.chars().next(), None | Some('\n')) => {
                    self.next();
                }
                Some('\\' | '\n') | None => return Err(wrong("unterminated quoted string")),
                Some(end) if end == quote => break,
                Some(_) => {}
            }
        }
        let text = self.since(before);
        Ok(if quote == '"' { Token::Quoted(text) } else { Token::Character(text) })
    }

    fn accept(&mut self, of: &[char]) -> bool {
        let accepted = self.rest.starts_with(of);
        if accepted {
            self.next();
        }
        accepted
    }

    /// The extent of a number; whether it is one is seen later.
    fn number(&mut self) -> Result<(), Fault> {
        self.accept(&['+', '-']);
        let mut digits: &dyn Fn(char) -> bool = &|c| c.is_ascii_digit() || c == '_';
        let mut exponent: &[char] = &['e', 'E'];
        if self.accept(&['0']) {
            if self.accept(&['x', 'X']) {
                digits = &|c| c.is_ascii_hexdigit() || c == '_';
                exponent = &['p', 'P'];
            } else if self.accept(&['o', 'O']) {
                digits = &|c| matches!(c, '0'..='7' | '_');
                exponent = &[];
            } else if self.accept(&['b', 'B']) {
                digits = &|c| matches!(c, '0' | '1' | '_');
                exponent = &[];
            }
        }
        self.rest = self.rest.trim_start_matches(digits);
        if self.accept(&['.']) {
            self.rest = self.rest.trim_start_matches(digits);
        }
        if self.accept(exponent) {
            self.accept(&['+', '-']);
            self.rest = self.rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '_');
        }
        if self.accept(&['i']) || self.rest.starts_with(['+', '-']) {
            return Err(Fault::Unsupported("a complex number".to_owned()));
        }
        if self.rest.starts_with(of_a_name) { Err(wrong("bad number syntax")) } else { Ok(()) }
    }
}
