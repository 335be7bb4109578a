//! From text to [`crate::ast`]: [`lex`] makes tokens, and a parser by descent reads them once.
//!
//! What is accepted, and as what it is read, is what OPA accepts and reads, with few exceptions that are all refusals:
//! texts that OPA takes by accident and that its compiler refuses or nobody can mean.
mod body;
mod comprehension;
mod head;
mod infix;
mod lex;
mod literal;
mod module;
mod number;
mod rule;
mod template;
mod term;
#[cfg(test)]
mod tests;

use crate::ast::{Body, Loc, Module, Version};
use lex::{Keyword, Kind, Token};

/// Why a text is not Rego, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}:{}: {what}", loc.row, loc.col)]
pub struct ParseError {
    /// The place.
    pub loc: Loc,
    /// What is wrong, and where it is known how to mend it.
    pub what: String,
}

type Result<T> = std::result::Result<T, ParseError>;

/// How deep terms and bodies may nest. A chain of operators or of `else` branches nests as well, once for each.
pub const MAX_DEPTH: usize = 500;

/// Reads a file. `module` is put into every [`Loc`].
///
/// # Errors
/// [`ParseError`]: the first thing that is wrong.
pub fn module(text: &str, module: u16, version: Version) -> Result<Module> {
    let (tokens, comments) = lex::tokens(text, module);
    Parser::new(text, module, version, &tokens).module(comments)
}

/// Reads a query: expressions by lines or `;`, as `opa eval` takes them. All keywords are known.
///
/// # Errors
/// [`ParseError`]: the first thing that is wrong.
pub fn query(text: &str, module: u16) -> Result<Body> {
    let (tokens, _) = lex::tokens(text, module);
    Parser::new(text, module, Version::V1, &tokens).query()
}

/// Which of the keywords that a module has to import are known.
#[derive(Clone, Copy, Debug, Default)]
struct Imported {
    contains: bool,
    every: bool,
    r#if: bool,
    r#in: bool,
}

impl Imported {
    const ALL: Self = Self { contains: true, every: true, r#if: true, r#in: true };
}

struct Parser<'t> {
    text: &'t str,
    module: u16,
    tokens: &'t [Token],
    at: usize,
    /// The token at `at`. A word is a keyword or not by what was imported when the parser came to it.
    current: Token,
    /// The version that was asked for.
    base: Version,
    /// Whether the module must keep to the rules of [`Version::V1`].
    strict: bool,
    /// What is wrong in a module of [`Version::V0`] if it turns out to import `rego.v1`.
    unless_v0: Option<ParseError>,
    imported: Imported,
    /// How deep the parser is.
    depth: usize,
    /// How deep the deepest of the terms is that were read within the one that is being read.
    height: usize,
    /// How many tokens of heads were copied to chained bodies and `else` branches.
    copied: usize,
}

/// A place to go back to.
#[derive(Clone, Copy)]
struct Mark {
    at: usize,
    current: Token,
}

impl<'t> Parser<'t> {
    fn new(text: &'t str, module: u16, base: Version, tokens: &'t [Token]) -> Self {
        let strict = base == Version::V1;
        let end = Token { kind: Kind::End, start: 0, end: 0, row: 1, col: 1, spaced: false, fresh: false };
        let mut parser = Self {
            text,
            module,
            tokens,
            at: 0,
            current: tokens.first().copied().unwrap_or(end),
            base,
            strict,
            unless_v0: None,
            imported: if strict { Imported::ALL } else { Imported::default() },
            depth: 0,
            height: 0,
            copied: 0,
        };
        parser.classify();
        parser
    }

    fn kind(&self) -> Kind {
        self.current.kind
    }

    fn at(&self, keyword: Keyword) -> bool {
        self.current.kind == Kind::Keyword(keyword)
    }

    /// The text of the current token.
    fn word(&self) -> &'t str {
        self.text_of(&self.current)
    }

    fn text_of(&self, token: &Token) -> &'t str {
        self.text.get(token.start..token.end).unwrap_or_default()
    }

    fn loc(&self) -> Loc {
        self.loc_of(&self.current)
    }

    fn loc_of(&self, token: &Token) -> Loc {
        Loc { module: self.module, row: token.row, col: token.col }
    }

    fn advance(&mut self) {
        if let Some(next) = self.tokens.get(self.at + 1) {
            self.at += 1;
            self.current = *next;
            self.classify();
        }
    }

    fn accept(&mut self, kind: Kind) -> bool {
        let found = self.kind() == kind;
        if found {
            self.advance();
        }
        found
    }

    fn expect(&mut self, kind: Kind, expected: &str) -> Result<()> {
        if self.accept(kind) { Ok(()) } else { Err(self.unexpected(expected)) }
    }

    fn mark(&self) -> Mark {
        Mark { at: self.at, current: self.current }
    }

    fn reset(&mut self, mark: Mark) {
        self.at = mark.at;
        self.current = mark.current;
    }

    /// Whether the next token follows without space and begins a part of a reference.
    fn part_follows(&self) -> bool {
        self.tokens
            .get(self.at + 1)
            .is_some_and(|next| !next.spaced && matches!(next.kind, Kind::Dot | Kind::LeftBracket))
    }

    fn next_is(&self, kind: Kind) -> bool {
        self.tokens.get(self.at + 1).is_some_and(|next| next.kind == kind)
    }

    /// Takes a keyword for a name if a part of a reference follows: `if.x`, `not[1]`.
    fn keyword_as_name(&mut self) -> bool {
        let name = matches!(self.kind(), Kind::Keyword(_)) && self.part_follows();
        if name {
            self.current.kind = Kind::Word;
        }
        name
    }

    fn classify(&mut self) {
        if self.current.kind != Kind::Word {
            return;
        }
        let keyword = match self.word() {
            "as" => Keyword::As,
            "default" => Keyword::Default,
            "else" => Keyword::Else,
            "false" => Keyword::False,
            "import" => Keyword::Import,
            "not" => Keyword::Not,
            "null" => Keyword::Null,
            "package" => Keyword::Package,
            "some" => Keyword::Some,
            "true" => Keyword::True,
            "with" => Keyword::With,
            "contains" if self.imported.contains => Keyword::Contains,
            "every" if self.imported.every => Keyword::Every,
            "if" if self.imported.r#if => Keyword::If,
            "in" if self.imported.r#in => Keyword::In,
            _ => return,
        };
        self.current.kind = Kind::Keyword(keyword);
    }

    /// Reads something that may hold others of its kind, at most [`MAX_DEPTH`] within each other.
    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth >= MAX_DEPTH {
            return Err(self.too_deep());
        }
        self.depth += 1;
        let outer = std::mem::take(&mut self.height);
        let result = read(self);
        self.depth -= 1;
        self.height = outer.max(self.height + 1);
        if result.is_ok() && self.height > MAX_DEPTH {
            return Err(self.too_deep());
        }
        result
    }

    fn too_deep(&self) -> ParseError {
        error(
            self.loc(),
            format!("terms and bodies may nest at most {MAX_DEPTH} deep, each operator counted"),
        )
    }

    /// What [`Version::V1`] refuses and [`Version::V0`] takes.
    fn refuse_in_v1(&mut self, error: ParseError) -> Result<()> {
        if self.strict {
            return Err(error);
        }
        self.unless_v0.get_or_insert(error);
        Ok(())
    }

    /// The current token is not what was expected.
    fn unexpected(&self, expected: &str) -> ParseError {
        let found = match self.kind() {
            Kind::Illegal(why) => return error(self.loc(), why),
            Kind::End => "the end of the text".to_owned(),
            Kind::String | Kind::RawString => "a string".to_owned(),
            Kind::Template { .. } => "a template string".to_owned(),
            Kind::Keyword(_) => format!("keyword `{}`", self.word()),
            _ => {
                let text: String = self.word().chars().take(40).collect();
                format!("`{text}`")
            }
        };
        let mend = match (self.kind(), self.word()) {
            (Kind::Word, word @ ("contains" | "every" | "if" | "in")) => {
                format!(" (`import rego.v1` makes `{word}` a keyword)")
            }
            (Kind::Word, word @ ("and" | "or")) => {
                format!(
                    " (`{word}` as an operator is experimental and not supported; {})",
                    module::instead(word)
                )
            }
            _ => String::new(),
        };
        error(self.loc(), format!("unexpected {found}: expected {expected}{mend}"))
    }
}

fn error(loc: Loc, what: impl Into<String>) -> ParseError {
    ParseError { loc, what: what.into() }
}
