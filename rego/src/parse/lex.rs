//! From text to tokens. All are read at once, so that the parser looks ahead and goes back without reading again.
//!
//! A text that is no token ends the list with a token of [`Kind::Illegal`], which nothing accepts: what the parser finds
//! wrong before it is reported first.
use crate::ast::{Loc, Str};
use std::str::Chars;
use std::sync::LazyLock;

/// What a token is. A keyword is a [`Kind::Word`] here; the parser knows which words are keywords where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    End,
    Illegal(&'static str),
    Word,
    Keyword(Keyword),
    Number,
    String,
    RawString,
    /// A text of a template, and whether it is the template's last.
    Template {
        raw: bool,
        last: bool,
    },
    LeftParen,
    RightParen,
    LeftBracket,
    RightBracket,
    LeftBrace,
    RightBrace,
    Comma,
    Colon,
    Semicolon,
    Dot,
    Assign,
    Unify,
    /// An infix operator with its builtin.
    Infix(Infix),
}

/// The words that have a meaning of their own. The last four only where the language's version or an import says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyword {
    As,
    Default,
    Else,
    False,
    Import,
    Not,
    Null,
    Package,
    Some,
    True,
    With,
    Contains,
    Every,
    If,
    In,
}

/// The infix operators that make calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Infix {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Or,
    And,
    Plus,
    Minus,
    Times,
    Divide,
    Remainder,
}

/// A token. `start..end` is its text; of strings and templates what is between the delimiters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) row: u32,
    pub(super) col: u32,
    /// Whether space or a comment stands before it.
    pub(super) spaced: bool,
    /// Whether it is the first of its line.
    pub(super) fresh: bool,
}

/// The tokens of a text and its comments. The last token is [`Kind::End`] or [`Kind::Illegal`].
pub(super) fn tokens(text: &str, module: u16) -> (Vec<Token>, Vec<(Loc, Str)>) {
    let mut lexer = Lexer::new(text, module);
    lexer.run();
    (lexer.tokens, lexer.comments)
}

struct Lexer<'t> {
    text: &'t str,
    module: u16,
    rest: Chars<'t>,
    row: u32,
    col: u32,
    tokens: Vec<Token>,
    comments: Vec<(Loc, Str)>,
    /// The templates that are open: how many braces are open in the expression, and whether it is a raw one.
    templates: Vec<(usize, bool)>,
    /// A brace has just closed the expression of the innermost template, whose text goes on.
    resumes: bool,
    /// A character that may stand nowhere has been read.
    illegal: Option<&'static str>,
}

impl<'t> Lexer<'t> {
    fn new(text: &'t str, module: u16) -> Self {
        let rest = text.strip_prefix('\u{feff}').unwrap_or(text).chars();
        let (tokens, comments, templates) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            text,
            module,
            rest,
            row: 1,
            col: 1,
            tokens,
            comments,
            templates,
            resumes: false,
            illegal: None,
        }
    }

    fn offset(&self) -> usize {
        self.text.len() - self.rest.as_str().len()
    }

    fn peek(&self) -> Option<char> {
        self.rest.clone().next()
    }

    fn bump(&mut self) -> Option<char> {
        let next = self.rest.next()?;
        match next {
            '\n' => {
                self.row = self.row.saturating_add(1);
                self.col = 1;
                return Some(next);
            }
            '\0' => self.illegal = Some("a null character may stand nowhere in a policy"),
            '\u{feff}' => self.illegal = Some("a byte order mark may stand only at the very beginning"),
            _ => {}
        }
        self.col = self.col.saturating_add(1);
        Some(next)
    }

    fn accept(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.bump();
        }
        found
    }

    fn skip_while(&mut self, test: impl Fn(char) -> bool) -> bool {
        let before = self.rest.as_str().len();
        while self.peek().is_some_and(&test) {
            self.bump();
        }
        self.rest.as_str().len() != before
    }

    fn run(&mut self) {
        loop {
            let (spaced, fresh) = self.trivia();
            let mut token = Token {
                kind: Kind::End,
                start: self.offset(),
                end: self.offset(),
                row: self.row,
                col: self.col,
                spaced,
                fresh,
            };
            self.token(&mut token);
            if let Some(why) = self.illegal {
                token.kind = Kind::Illegal(why);
            }
            self.tokens.push(token);
            if matches!(token.kind, Kind::End | Kind::Illegal(_)) {
                return;
            }
        }
    }

    /// Skips space and comments; whether there was any, and whether a line ended.
    fn trivia(&mut self) -> (bool, bool) {
        if self.resumes {
            return (false, false);
        }
        let (mut spaced, mut fresh) = (false, false);
        loop {
            match self.peek() {
                Some('\n') => fresh = true,
                Some(' ' | '\t' | '\r') => {}
                Some('#') => {
                    self.comment();
                    spaced = true;
                    continue;
                }
                _ => return (spaced, fresh),
            }
            spaced = true;
            self.bump();
        }
    }

    fn comment(&mut self) {
        let loc = Loc { module: self.module, row: self.row, col: self.col };
        self.bump();
        let start = self.offset();
        self.skip_while(|c| c != '\n');
        let text = self.text.get(start..self.offset()).unwrap_or_default();
        self.comments.push((loc, text.strip_suffix('\r').unwrap_or(text).into()));
    }

    fn token(&mut self, token: &mut Token) {
        if std::mem::take(&mut self.resumes) {
            let raw = self.templates.pop().is_some_and(|(_, raw)| raw);
            self.template(token, raw);
            return;
        }
        let Some(first) = self.bump() else { return };
        token.kind = match first {
            'a'..='z' | 'A'..='Z' | '_' => self.word(),
            '0'..='9' => self.number(),
            '"' => {
                self.string(token);
                return;
            }
            '`' => {
                self.raw_string(token);
                return;
            }
            '$' => {
                match self.bump() {
                    Some('"') => self.template(token, false),
                    Some('`') => self.template(token, true),
                    _ => token.kind = Kind::Illegal("a `$` must be followed by a string: `$\"…{term}…\"`"),
                }
                return;
            }
            _ => self.punctuation(first),
        };
        token.end = self.offset();
    }

    fn word(&mut self) -> Kind {
        self.skip_while(|c| is_letter(c) || c.is_ascii_digit() || is_foreign_digit(c));
        Kind::Word
    }

    fn number(&mut self) -> Kind {
        self.skip_while(|c| c.is_ascii_digit());
        if self.accept('.') && !self.skip_while(|c| c.is_ascii_digit()) {
            return Kind::Illegal("a number must have a digit after its point");
        }
        if matches!(self.peek(), Some('e' | 'E')) {
            self.bump();
            if matches!(self.peek(), Some('+' | '-')) {
                self.bump();
            }
            if !self.skip_while(|c| c.is_ascii_digit()) {
                return Kind::Illegal("a number must have a digit in its exponent");
            }
        }
        if self.peek().is_some_and(is_letter) {
            return Kind::Illegal("a number must not be followed directly by a name");
        }
        Kind::Number
    }

    fn string(&mut self, token: &mut Token) {
        token.kind = Kind::String;
        token.start = self.offset();
        loop {
            token.end = self.offset();
            match self.peek() {
                None | Some('\n') => {
                    token.kind = Kind::Illegal(UNTERMINATED);
                    return;
                }
                Some('"') => {
                    self.bump();
                    return;
                }
                Some('\\') => {
                    self.bump();
                    if !self.escape() {
                        token.kind = Kind::Illegal(ESCAPES);
                        return;
                    }
                }
                Some(_) => {
                    self.bump();
                }
            }
        }
    }

    /// What follows a backslash. Whether `\u` has its four digits is seen when the escapes are resolved.
    fn escape(&mut self) -> bool {
        let known = matches!(self.peek(), Some('\\' | '"' | '/' | 'b' | 'f' | 'n' | 'r' | 't' | 'u'));
        if known {
            self.bump();
        }
        known
    }

    fn raw_string(&mut self, token: &mut Token) {
        token.kind = Kind::RawString;
        token.start = self.offset();
        self.skip_while(|c| c != '`');
        token.end = self.offset();
        if self.bump().is_none() {
            token.kind = Kind::Illegal("a raw string must end with a backtick");
        }
    }

    /// The text of a template up to its end or the next expression.
    fn template(&mut self, token: &mut Token, raw: bool) {
        token.start = self.offset();
        loop {
            token.end = self.offset();
            match self.bump() {
                Some('{') => {
                    self.templates.push((0, raw));
                    token.kind = Kind::Template { raw, last: false };
                    return;
                }
                Some(end) if end == if raw { '`' } else { '"' } => {
                    token.kind = Kind::Template { raw, last: true };
                    return;
                }
                Some('\\') if self.accept('{') || raw || self.escape() => {}
                Some('\\') => {
                    token.kind = Kind::Illegal(ESCAPES);
                    return;
                }
                Some('\n') if !raw => break,
                Some(_) => {}
                None => break,
            }
        }
        token.kind = Kind::Illegal(UNTERMINATED);
    }

    fn punctuation(&mut self, first: char) -> Kind {
        match first {
            '(' => Kind::LeftParen,
            ')' => Kind::RightParen,
            '[' => Kind::LeftBracket,
            ']' => Kind::RightBracket,
            '{' => {
                if let Some((open, _)) = self.templates.last_mut() {
                    *open += 1;
                }
                Kind::LeftBrace
            }
            '}' => {
                match self.templates.last_mut() {
                    Some((0, _)) => self.resumes = true,
                    Some((open, _)) => *open -= 1,
                    None => {}
                }
                Kind::RightBrace
            }
            ',' => Kind::Comma,
            ';' => Kind::Semicolon,
            '.' => Kind::Dot,
            ':' if self.accept('=') => Kind::Assign,
            ':' => Kind::Colon,
            '=' if self.accept('=') => Kind::Infix(Infix::Equal),
            '=' => Kind::Unify,
            '!' if self.accept('=') => Kind::Infix(Infix::NotEqual),
            '<' if self.accept('=') => Kind::Infix(Infix::LessOrEqual),
            '<' => Kind::Infix(Infix::Less),
            '>' if self.accept('=') => Kind::Infix(Infix::GreaterOrEqual),
            '>' => Kind::Infix(Infix::Greater),
            '|' => Kind::Infix(Infix::Or),
            '&' => Kind::Infix(Infix::And),
            '+' => Kind::Infix(Infix::Plus),
            '-' => Kind::Infix(Infix::Minus),
            '*' => Kind::Infix(Infix::Times),
            '/' => Kind::Infix(Infix::Divide),
            '%' => Kind::Infix(Infix::Remainder),
            '!' => Kind::Illegal("a `!` has a meaning only in `!=`; a negation is written `not`"),
            '\'' => Kind::Illegal("a string is written in double quotes or in backticks"),
            _ => Kind::Illegal("this character has no meaning outside of strings and comments"),
        }
    }
}

fn is_letter(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

/// Names may have decimal digits of all scripts, though only letters of ASCII.
fn is_foreign_digit(c: char) -> bool {
    static DIGIT: LazyLock<Option<regex::Regex>> = LazyLock::new(|| regex::Regex::new(r"\A\p{Nd}\z").ok());
    !c.is_ascii() && DIGIT.as_ref().is_some_and(|digit| digit.is_match(c.encode_utf8(&mut [0; 4])))
}

const UNTERMINATED: &str =
    "a string must end on its line with `\"`; one of several lines is written in backticks";
const ESCAPES: &str = "a backslash in a string must be followed by one of `\\`, `\"`, `/`, `b`, `f`, `n`, `r`, `t`, `u`; \
                       a string in backticks has no escapes";
