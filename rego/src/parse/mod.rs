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

/// How deep the tree may be. A chain of operators or of `else` branches makes it deeper by its length.
pub const MAX_DEPTH: usize = 500;

/// How deep brackets and bodies may nest, which is how deep the parser itself goes: a thread's stack of 2 MiB must be
/// enough for a build without optimisation.
pub const MAX_NESTING: usize = 100;

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

/// Which of the words are keywords that are not so everywhere.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    contains: bool,
    every: bool,
    r#if: bool,
    r#in: bool,
    not: bool,
}

impl Known {
    const V0: Self = Self { contains: false, every: false, r#if: false, r#in: false, not: true };
    const V1: Self = Self { contains: true, every: true, r#if: true, r#in: true, not: true };
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
    known: Known,
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
            known: if strict { Known::V1 } else { Known::V0 },
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
            "null" => Keyword::Null,
            "package" => Keyword::Package,
            "some" => Keyword::Some,
            "true" => Keyword::True,
            "with" => Keyword::With,
            "contains" if self.known.contains => Keyword::Contains,
            "every" if self.known.every => Keyword::Every,
            "if" if self.known.r#if => Keyword::If,
            "in" if self.known.r#in => Keyword::In,
            "not" if self.known.not => Keyword::Not,
            _ => return,
        };
        self.current.kind = Kind::Keyword(keyword);
    }

    /// Begins something that may hold others of its kind. What this gives back is for [`Self::leave`].
    ///
    /// These two stand around a call instead of taking it as a closure, since every frame counts where texts nest.
    fn enter(&mut self) -> Result<usize> {
        if self.depth >= MAX_NESTING {
            return Err(error(
                self.loc(),
                format!("brackets and bodies may nest at most {MAX_NESTING} deep"),
            ));
        }
        self.depth += 1;
        Ok(std::mem::take(&mut self.height))
    }

    /// Ends it, and adds its own `height` to that of the highest thing in it.
    fn leave(&mut self, outer: usize, height: usize) -> Result<()> {
        self.depth -= 1;
        let inner = self.height + height;
        self.height = outer.max(inner);
        if inner > MAX_DEPTH { Err(self.too_deep()) } else { Ok(()) }
    }

    /// One operator more over what was read.
    fn higher(&mut self) -> Result<()> {
        self.height += 1;
        if self.height > MAX_DEPTH { Err(self.too_deep()) } else { Ok(()) }
    }

    fn too_deep(&self) -> ParseError {
        error(self.loc(), format!("a term may be at most {MAX_DEPTH} deep, each of its operators counted"))
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
            Kind::End => "end of the text".to_owned(),
            Kind::String | Kind::RawString => "string".to_owned(),
            Kind::Template { .. } => "template string".to_owned(),
            Kind::Keyword(_) => format!("keyword `{}`", self.word()),
            _ => {
                let text: String = self.word().chars().take(40).collect();
                format!("`{text}`")
            }
        };
        error(self.loc(), format!("unexpected {found}: expected {expected}{}", self.mend()))
    }

    /// What may have been meant, if the current word, or the one before it in its line, would be a keyword elsewhere.
    fn mend(&self) -> String {
        let before =
            self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).filter(|_| !self.current.fresh);
        let words = [Some(&self.current), before].into_iter().flatten();
        words
            .filter(|token| token.kind == Kind::Word)
            .find_map(|token| self.mend_word(self.text_of(token)))
            .unwrap_or_default()
    }

    fn mend_word(&self, word: &str) -> Option<String> {
        let known = match word {
            "contains" => self.known.contains,
            "every" => self.known.every,
            "if" => self.known.r#if,
            "in" => self.known.r#in,
            "and" | "or" => {
                let instead = module::instead(word);
                return Some(format!(
                    " (`{word}` as an operator is experimental and not supported; {instead})"
                ));
            }
            _ => return None,
        };
        (!known).then(|| format!(" (`import rego.v1` makes `{word}` a keyword)"))
    }
}

fn error(loc: Loc, what: impl Into<String>) -> ParseError {
    ParseError { loc, what: what.into() }
}
