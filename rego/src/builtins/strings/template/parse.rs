//! Reads a template into a tree.
use super::lex::{Token, tokens};
use super::{DEPTH_MAX, Fault, wrong};

/// A part of a template.
#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    Action(Pipeline),
    If(Branch),
    With(Branch),
    Range(Branch),
    Break,
    Continue,
}

/// What depends on a pipeline.
#[derive(Debug)]
pub(super) struct Branch {
    pub(super) pipeline: Pipeline,
    pub(super) then: Vec<Node>,
    pub(super) otherwise: Vec<Node>,
}

/// Commands, each of which gets the result of the one before, and the variables that get the last result.
#[derive(Debug, Default)]
pub(super) struct Pipeline {
    pub(super) variables: Vec<String>,
    /// Whether the variables exist already.
    pub(super) assigns: bool,
    pub(super) commands: Vec<Vec<Operand>>,
}

/// A function or a value, or an argument of one.
#[derive(Debug)]
pub(super) enum Operand {
    Dot,
    Nil,
    Bool(bool),
    Text(String),
    Int(i64),
    /// A number that is an integer only without sign.
    TooLarge,
    Float(f64),
    Field(Vec<String>),
    Variable(String, Vec<String>),
    Function(String),
    /// Fields of a function's result or of a pipeline.
    Chain(Box<Operand>, Vec<String>),
    Pipeline(Pipeline),
}

/// Reads a template.
pub(super) fn parse(template: &str) -> Result<Vec<Node>, Fault> {
    let mut parser =
        Parser { tokens: tokens(template)?, at: 0, variables: vec!["$".to_owned()], ranges: 0, depth: 0 };
    let (nodes, end) = parser.list()?;
    match end {
        Stop::File => Ok(nodes),
        Stop::End | Stop::Else => Err(wrong("unexpected end or else")),
    }
}

/// What a list of nodes ends with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    File,
    End,
    /// What follows is an `if` or `with` where the word is still to be read.
    Else,
}

/// What is done at the end of a pipeline, for the words of complaints and for `range`, which has two variables.
const RANGE: &str = "range";

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
    /// The variables that are known here.
    variables: Vec<String>,
    /// How many `range` are open.
    ranges: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&Token<'a>> {
        self.tokens.get(self.at)
    }

    fn step(&mut self) {
        self.at = self.at.saturating_add(1);
    }

    fn skip_spaces(&mut self) {
        while self.peek() == Some(&Token::Space) {
            self.step();
        }
    }

    fn next_word(&mut self) -> Option<Token<'a>> {
        self.skip_spaces();
        let token = self.peek().cloned();
        self.step();
        token
    }

    fn close(&mut self, what: &str) -> Result<(), Fault> {
        match self.next_word() {
            Some(Token::Close) => Ok(()),
            other => Err(wrong(format!("unexpected {other:?} in {what}"))),
        }
    }

    fn deeper(&mut self) -> Result<(), Fault> {
        self.depth = self.depth.saturating_add(1);
        if self.depth > DEPTH_MAX {
            return Err(Fault::Unsupported(format!("a nesting deeper than {DEPTH_MAX}")));
        }
        Ok(())
    }

    /// Nodes up to an end.
    fn list(&mut self) -> Result<(Vec<Node>, Stop), Fault> {
        self.deeper()?;
        let mut nodes = Vec::new();
        let end = loop {
            match self.next_word() {
                None => break Stop::File,
                Some(Token::Text(text)) => nodes.push(Node::Text(text.to_owned())),
                Some(_) => {
                    self.skip_spaces();
                    let keyword =
                        if let Some(Token::Keyword(word)) = self.peek() { Some(*word) } else { None };
                    match keyword {
                        Some("nil") | None => {
                            nodes.push(Node::Action(self.pipeline("command", &Token::Close)?));
                        }
                        Some(word) => {
                            self.step();
                            match self.control(word)? {
                                Ok(node) => nodes.push(node),
                                Err(end) => break end,
                            }
                        }
                    }
                }
            }
        };
        self.depth = self.depth.saturating_sub(1);
        Ok((nodes, end))
    }

    /// What a keyword begins: a node, or the end of the list.
    fn control(&mut self, word: &str) -> Result<Result<Node, Stop>, Fault> {
        match word {
            "end" => {
                self.close("end")?;
                Ok(Err(Stop::End))
            }
            "else" => {
                self.skip_spaces();
                if !matches!(self.peek(), Some(Token::Keyword("if" | "with"))) {
                    self.close("else")?;
                }
                Ok(Err(Stop::Else))
            }
            "break" | "continue" => {
                self.close(word)?;
                if self.ranges == 0 {
                    return Err(wrong(format!("{word} outside range")));
                }
                Ok(Ok(if word == "break" { Node::Break } else { Node::Continue }))
            }
            "if" => Ok(Ok(Node::If(self.branch(word)?))),
            "with" => Ok(Ok(Node::With(self.branch(word)?))),
            RANGE => Ok(Ok(Node::Range(self.branch(word)?))),
            _ => Err(Fault::Unsupported(format!("`{word}`"))),
        }
    }

    fn branch(&mut self, word: &str) -> Result<Branch, Fault> {
        self.deeper()?;
        let known = self.variables.len();
        let pipeline = self.pipeline(word, &Token::Close)?;
        let range = usize::from(word == RANGE);
        self.ranges = self.ranges.saturating_add(range);
        let (then, end) = self.list()?;
        self.ranges = self.ranges.saturating_sub(range);
        let otherwise = match end {
            Stop::File => return Err(wrong("unexpected EOF")),
            Stop::End => Vec::new(),
            Stop::Else => self.otherwise(word)?,
        };
        self.variables.truncate(known);
        self.depth = self.depth.saturating_sub(1);
        Ok(Branch { pipeline, then, otherwise })
    }

    /// What follows `else`: the same again, which shares its end, or a list.
    fn otherwise(&mut self, word: &str) -> Result<Vec<Node>, Fault> {
        match self.peek() {
            Some(Token::Keyword(next)) if *next == word && word != RANGE => {
                self.step();
                let branch = self.branch(word)?;
                Ok(vec![if word == "if" { Node::If(branch) } else { Node::With(branch) }])
            }
            Some(Token::Keyword("if" | "with")) => Err(wrong("unexpected keyword after else")),
            _ => match self.list()? {
                (nodes, Stop::End) => Ok(nodes),
                _ => Err(wrong("expected end")),
            },
        }
    }

    fn pipeline(&mut self, context: &str, end: &Token<'_>) -> Result<Pipeline, Fault> {
        self.deeper()?;
        let mut pipeline = Pipeline::default();
        self.declarations(&mut pipeline, context)?;
        loop {
            self.skip_spaces();
            match self.peek() {
                Some(token) if token == end => {
                    self.step();
                    break;
                }
                Some(
                    Token::Bool(_)
                    | Token::Character(_)
                    | Token::Dot
                    | Token::Field(_)
                    | Token::Identifier(_)
                    | Token::Number(_)
                    | Token::Keyword("nil")
                    | Token::Quoted(_)
                    | Token::Variable(_)
                    | Token::LeftParen,
                ) => {
                    let command = self.command()?;
                    pipeline.commands.push(command);
                }
                other => return Err(wrong(format!("unexpected {other:?} in {context}"))),
            }
        }
        if pipeline.commands.is_empty() {
            return Err(wrong(format!("missing value for {context}")));
        }
        let executable = |command: &Vec<Operand>| {
            matches!(
                command.first(),
                Some(
                    Operand::Field(_)
                        | Operand::Variable(..)
                        | Operand::Function(_)
                        | Operand::Chain(..)
                        | Operand::Pipeline(_)
                )
            )
        };
        if !pipeline.commands.iter().skip(1).all(executable) {
            return Err(wrong("non executable command in pipeline"));
        }
        self.depth = self.depth.saturating_sub(1);
        Ok(pipeline)
    }

    /// `$x :=`, `$x =`, and in `range` also two variables.
    fn declarations(&mut self, pipeline: &mut Pipeline, context: &str) -> Result<(), Fault> {
        loop {
            self.skip_spaces();
            let begin = self.at;
            let Some(Token::Variable(name)) = self.peek() else { return Ok(()) };
            let name = (*name).to_owned();
            self.step();
            match self.next_word() {
                Some(sign @ (Token::Assign | Token::Declare)) => {
                    pipeline.assigns = sign == Token::Assign;
                    pipeline.variables.push(name.clone());
                    self.variables.push(name);
                    return Ok(());
                }
                Some(Token::Comma) => {
                    pipeline.variables.push(name.clone());
                    self.variables.push(name);
                    if context != RANGE || pipeline.variables.len() >= 2 {
                        return Err(wrong(format!("too many declarations in {context}")));
                    }
                    self.skip_spaces();
                    if !matches!(self.peek(), Some(Token::Variable(_) | Token::Close | Token::RightParen)) {
                        return Err(wrong("range can only initialize variables"));
                    }
                }
                _ => {
                    self.at = begin;
                    return Ok(());
                }
            }
        }
    }

    fn command(&mut self) -> Result<Vec<Operand>, Fault> {
        let mut operands = Vec::new();
        loop {
            self.skip_spaces();
            operands.extend(self.operand()?);
            match self.peek() {
                Some(Token::Space) => self.step(),
                Some(Token::Close | Token::RightParen) => break,
                Some(Token::Pipe) => {
                    self.step();
                    break;
                }
                other => return Err(wrong(format!("unexpected {other:?} in operand"))),
            }
        }
        if operands.is_empty() { Err(wrong("empty command")) } else { Ok(operands) }
    }

    /// A term and the fields behind it; `None` if what follows is no term.
    fn operand(&mut self) -> Result<Option<Operand>, Fault> {
        let Some(term) = self.term()? else { return Ok(None) };
        let mut fields = Vec::new();
        while let Some(Token::Field(field)) = self.peek() {
            fields.push(field.trim_start_matches('.').to_owned());
            self.step();
        }
        if fields.is_empty() {
            return Ok(Some(term));
        }
        Ok(Some(match term {
            Operand::Field(mut all) => {
                all.append(&mut fields);
                Operand::Field(all)
            }
            Operand::Variable(name, mut all) => {
                all.append(&mut fields);
                Operand::Variable(name, all)
            }
            term @ (Operand::Function(_) | Operand::Pipeline(_)) => Operand::Chain(Box::new(term), fields),
            _ => return Err(wrong("unexpected . after term")),
        }))
    }

    fn term(&mut self) -> Result<Option<Operand>, Fault> {
        let Some(token) = self.peek().cloned() else { return Ok(None) };
        let operand = match token {
            Token::Identifier(name) if super::functions::known(name) => Operand::Function(name.to_owned()),
            Token::Identifier(name) => return Err(wrong(format!("function {name:?} not defined"))),
            Token::Dot => Operand::Dot,
            Token::Keyword("nil") => Operand::Nil,
            Token::Variable(name) if self.variables.iter().any(|have| have == name) => {
                Operand::Variable(name.to_owned(), Vec::new())
            }
            Token::Variable(name) => return Err(wrong(format!("undefined variable {name:?}"))),
            Token::Field(name) => Operand::Field(vec![name.trim_start_matches('.').to_owned()]),
            Token::Bool(value) => Operand::Bool(value),
            Token::Character(text) => character(text)?,
            Token::Number(text) => number(text)?,
            Token::Quoted(text) => Operand::Text(unquoted(text)?),
            Token::LeftParen => {
                self.step();
                return self
                    .pipeline("parenthesized pipeline", &Token::RightParen)
                    .map(|p| Some(Operand::Pipeline(p)));
            }
            _ => return Ok(None),
        };
        self.step();
        Ok(Some(operand))
    }
}

/// Digits to a base, as Go reads them where a prefix says the base, and a leading zero means eight.
fn number(text: &str) -> Result<Operand, Fault> {
    let (sign, digits) = match text.strip_prefix(['+', '-']) {
        Some(digits) => (text.get(..1).unwrap_or_default(), digits),
        None => ("", text),
    };
    if text.contains('_') {
        return Err(Fault::Unsupported("underscores in a number".to_owned()));
    }
    let lower = digits.to_ascii_lowercase();
    let (radix, bare) = if let Some(bare) = lower.strip_prefix("0x") {
        (16, bare)
    } else if let Some(bare) = lower.strip_prefix("0o") {
        (8, bare)
    } else if let Some(bare) = lower.strip_prefix("0b") {
        (2, bare)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, lower.as_str())
    } else {
        (10, lower.as_str())
    };
    let digits_only = !bare.is_empty() && bare.chars().all(|c| c.is_digit(radix));
    if digits_only {
        if let Ok(int) = i64::from_str_radix(&format!("{sign}{bare}"), radix) {
            return Ok(Operand::Int(int));
        }
        if sign.is_empty() && u64::from_str_radix(bare, radix).is_ok() {
            return Ok(Operand::TooLarge);
        }
    }
    if radix == 16 && lower.contains(['.', 'p']) {
        return Err(Fault::Unsupported("a hexadecimal fraction".to_owned()));
    }
    let decimal = lower.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | '+' | '-'));
    match lower.parse::<f64>() {
        Ok(float) if decimal && lower.contains(['.', 'e']) && float.is_finite() => {
            Ok(Operand::Float(if sign == "-" { -float } else { float }))
        }
        _ => Err(wrong(format!("illegal number syntax: {text:?}"))),
    }
}

/// A character constant is an integer.
fn character(text: &str) -> Result<Operand, Fault> {
    let inside = text.strip_prefix('\'').and_then(|inside| inside.strip_suffix('\'')).unwrap_or_default();
    let mut characters = inside.chars();
    let code = match characters.next() {
        Some('\\') => escape(&mut characters, '\'')?.0,
        Some('\'') | None => return Err(wrong("malformed character constant")),
        Some(character) => u32::from(character),
    };
    match characters.next() {
        None => Ok(Operand::Int(i64::from(code))),
        Some(_) => Err(wrong("malformed character constant")),
    }
}

/// The text of a quoted string.
fn unquoted(quoted: &str) -> Result<String, Fault> {
    if let Some(raw) = quoted.strip_prefix('`').and_then(|raw| raw.strip_suffix('`')) {
        return Ok(raw.replace('\r', ""));
    }
    let inside = quoted.strip_prefix('"').and_then(|inside| inside.strip_suffix('"')).unwrap_or_default();
    let mut out = String::new();
    let mut characters = inside.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            out.push(character);
            continue;
        }
        let (code, byte) = escape(&mut characters, '"')?;
        if byte && code > 0x7f {
            return Err(Fault::Unsupported("a string of bytes that may be no text".to_owned()));
        }
        out.extend(char::from_u32(code));
    }
    Ok(out)
}

/// What follows a backslash: its code, and whether it stands for a byte.
fn escape(characters: &mut std::str::Chars<'_>, quote: char) -> Result<(u32, bool), Fault> {
    let invalid = || wrong("invalid syntax in a quoted string");
    let letter = characters.next().ok_or_else(invalid)?;
    let mut digits = |first: u32, many: usize, radix: u32| {
        (0..many).try_fold(first, |value: u32, _| {
            let digit = characters.next()?.to_digit(radix)?;
            value.checked_mul(radix)?.checked_add(digit)
        })
    };
    let code = match letter {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => 10,
        'r' => 13,
        't' => 9,
        'v' => 11,
        '\\' => u32::from('\\'),
        _ if letter == quote => u32::from(quote),
        'x' => return digits(0, 2, 16).map(|byte| (byte, true)).ok_or_else(invalid),
        'u' | 'U' => {
            let code = digits(0, if letter == 'u' { 4 } else { 8 }, 16).ok_or_else(invalid)?;
            char::from_u32(code).map(u32::from).ok_or_else(invalid)?
        }
        '0'..='7' => {
            let byte = digits(letter.to_digit(8).unwrap_or(0), 2, 8).filter(|byte| *byte <= 0xff);
            return byte.map(|byte| (byte, true)).ok_or_else(invalid);
        }
        _ => return Err(invalid()),
    };
    Ok((code, false))
}
