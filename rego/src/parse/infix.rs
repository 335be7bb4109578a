//! Infix operators. A chain of operands and operators is read flat and made a tree afterwards, so that a comprehension's
//! `|` that turns out to be a union can still be put before a chain that is read already.
use super::lex::{Infix, Keyword, Kind};
use super::{MAX_DEPTH, Parser, Result, error};
use crate::ast::{Call, Loc, Term, TermKind};

/// Operands with the operators between them, all of those that bind closer than `in`.
pub(super) struct Chain {
    first: Term,
    rest: Vec<(Infix, Loc, Term)>,
}

impl Infix {
    fn precedence(self) -> u8 {
        match self {
            Self::Equal
            | Self::NotEqual
            | Self::Less
            | Self::LessOrEqual
            | Self::Greater
            | Self::GreaterOrEqual => 1,
            Self::Or => 2,
            Self::And => 3,
            Self::Plus | Self::Minus => 4,
            Self::Times | Self::Divide | Self::Remainder => 5,
        }
    }

    pub(super) fn builtin(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::NotEqual => "neq",
            Self::Less => "lt",
            Self::LessOrEqual => "lte",
            Self::Greater => "gt",
            Self::GreaterOrEqual => "gte",
            Self::Or => "or",
            Self::And => "and",
            Self::Plus => "plus",
            Self::Minus => "minus",
            Self::Times => "mul",
            Self::Divide => "div",
            Self::Remainder => "rem",
        }
    }
}

impl Chain {
    /// Puts `term |` before the chain.
    pub(super) fn after_bar(self, term: Term, bar: Loc) -> Self {
        let Self { first, mut rest } = self;
        rest.insert(0, (Infix::Or, bar, first));
        Self { first: term, rest }
    }

    /// The tree: closer operators first, those of one kind from the left.
    pub(super) fn fold(self) -> Term {
        let mut left = self.first;
        let mut waiting: Vec<(Term, Infix, Loc)> = Vec::new();
        for (operator, loc, right) in self.rest {
            while let Some((before, inner, at)) = waiting.pop() {
                if inner.precedence() < operator.precedence() {
                    waiting.push((before, inner, at));
                    break;
                }
                left = call(&[inner.builtin()], at, vec![before, left]);
            }
            waiting.push((left, operator, loc));
            left = right;
        }
        while let Some((before, operator, at)) = waiting.pop() {
            left = call(&[operator.builtin()], at, vec![before, left]);
        }
        left
    }
}

/// A call that stands where its first argument begins.
pub(super) fn call(function: &[&str], loc: Loc, args: Vec<Term>) -> Term {
    let start = args.first().map_or(loc, |first| first.loc);
    let function = function.iter().map(|&part| part.into()).collect();
    Term { kind: TermKind::Call(Box::new(Call { function, args, loc })), loc: start }
}

impl Parser<'_> {
    /// A term with all operators but `=` and `:=`. With `pair`, `k, v in xs` may stand without parentheses.
    pub(super) fn infix(&mut self, pair: bool) -> Result<Term> {
        let outer = std::mem::take(&mut self.height);
        let left = self.chain(None)?.fold();
        let term = self.infix_after(left, pair)?;
        let inner = self.height;
        self.height = outer.max(inner);
        if inner > MAX_DEPTH { Err(self.too_deep()) } else { Ok(term) }
    }

    /// Goes on after a chain.
    pub(super) fn infix_after(&mut self, left: Term, pair: bool) -> Result<Term> {
        if !(pair && self.kind() == Kind::Comma) {
            return self.members(left, false);
        }
        let comma = self.loc();
        self.advance();
        let second = self.chain(None)?.fold();
        if !self.at(Keyword::In) {
            return Err(error(comma, "unexpected `,`: here it may stand only in `key, value in collection`"));
        }
        let left = self.pair_member(left, second)?;
        self.members(left, true)
    }

    /// `in collection`, after the key and the value.
    pub(super) fn pair_member(&mut self, key: Term, value: Term) -> Result<Term> {
        let loc = self.loc();
        self.advance();
        let collection = self.chain(None)?.fold();
        self.higher()?;
        Ok(call(&["internal", "member_3"], loc, vec![key, value, collection]))
    }

    /// `in collection`, any number of times. A keyword that follows with a part directly behind it is a name, unless
    /// `in` came before.
    pub(super) fn members(&mut self, mut left: Term, mut any: bool) -> Result<Term> {
        loop {
            if !any || self.at(Keyword::In) {
                self.keyword_as_name();
            }
            if !self.at(Keyword::In) {
                return Ok(left);
            }
            let loc = self.loc();
            self.advance();
            let collection = self.chain(None)?.fold();
            self.higher()?;
            left = call(&["internal", "member_2"], loc, vec![left, collection]);
            any = true;
        }
    }

    /// Operands and operators, the first operand given or read.
    pub(super) fn chain(&mut self, first: Option<Term>) -> Result<Chain> {
        let first = match first {
            Some(first) => first,
            None => self.term()?,
        };
        let mut rest = Vec::new();
        while let Kind::Infix(operator) = self.kind() {
            let loc = self.loc();
            self.advance();
            rest.push((operator, loc, self.term()?));
            if rest.len() > MAX_DEPTH {
                return Err(self.too_deep());
            }
        }
        self.height += rest.len();
        Ok(Chain { first, rest })
    }
}
