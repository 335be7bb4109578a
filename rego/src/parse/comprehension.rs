//! What stands after the first `|` of a collection: the body of a comprehension, or a union's second operand.
//!
//! A body is tried first, and only one that ends at a comma makes it a list. Nothing is read twice for that: what is a
//! body's first expression in one case is the list's items in the other.
use super::infix::{Chain, call};
use super::lex::{Keyword, Kind};
use super::{Parser, Result};
use crate::ast::{Body, Loc, Term};

/// What a collection turned out to be.
pub(super) enum Bar {
    /// Its head and body. The closing bracket is not taken.
    Comprehension(Term, Body),
    /// The items that were read so far, of an object a value and perhaps the next key.
    List(Vec<Term>),
}

/// The `in collection` after a chain.
type Members = Vec<(Loc, Term)>;

impl Parser<'_> {
    /// Goes on at the `|` after the term that a collection begins with.
    pub(super) fn bar(&mut self, head: Term, end: Kind) -> Result<Bar> {
        let bar = self.loc();
        self.advance();
        self.keyword_as_name();
        let literal_only = matches!(
            self.kind(),
            Kind::Keyword(Keyword::Not | Keyword::Some | Keyword::Every)
                | Kind::RightBrace
                | Kind::RightBracket
        );
        if literal_only {
            return Ok(Bar::Comprehension(head, self.body(end)?));
        }
        let loc = self.loc();
        let chain = self.chain(None)?;
        self.higher()?;
        if self.kind() == Kind::Comma {
            return self.bar_with_comma(head, bar, chain, (loc, end));
        }
        let members = self.members_apart()?;
        if self.kind() == Kind::Comma {
            return Ok(Bar::List(vec![join(chain.after_bar(head, bar).fold(), members)]));
        }
        let first = join(chain.fold(), members);
        let first = self.literal_from(first, false, loc)?;
        Ok(Bar::Comprehension(head, self.body_after(first, end)?))
    }

    /// Goes on at the comma after the first chain: a list's, or that of `k, v in xs` in a body.
    fn bar_with_comma(&mut self, head: Term, bar: Loc, chain: Chain, (loc, end): (Loc, Kind)) -> Result<Bar> {
        self.advance();
        if self.kind() == end {
            return Ok(Bar::List(vec![chain.after_bar(head, bar).fold()]));
        }
        let second = self.chain(None)?.fold();
        if !self.at(Keyword::In) {
            return Ok(Bar::List(vec![chain.after_bar(head, bar).fold(), second]));
        }
        // In a list, `in` with a bracket directly behind it would be a name and the list wrong.
        let pair_only = self.part_follows();
        let at = self.loc();
        self.advance();
        let mut members = vec![(at, self.chain(None)?.fold())];
        self.higher()?;
        if self.at(Keyword::In) {
            members.extend(self.members_apart()?);
        }
        if !pair_only && matches!(self.kind(), Kind::Comma | Kind::Colon) {
            return Ok(Bar::List(vec![chain.after_bar(head, bar).fold(), join(second, members)]));
        }
        let mut members = members.into_iter();
        let mut first = chain.fold();
        if let Some((at, collection)) = members.next() {
            first = call(&["internal", "member_3"], at, vec![first, second, collection]);
        }
        let first = self.literal_from(join(first, members.collect()), false, loc)?;
        Ok(Bar::Comprehension(head, self.body_after(first, end)?))
    }

    /// As [`Parser::members`], not yet put together.
    fn members_apart(&mut self) -> Result<Members> {
        let mut members = Vec::new();
        loop {
            if members.is_empty() || self.at(Keyword::In) {
                self.keyword_as_name();
            }
            if !self.at(Keyword::In) {
                return Ok(members);
            }
            let loc = self.loc();
            self.advance();
            members.push((loc, self.chain(None)?.fold()));
            self.higher()?;
        }
    }
}

fn join(first: Term, members: Members) -> Term {
    members
        .into_iter()
        .fold(first, |left, (loc, collection)| call(&["internal", "member_2"], loc, vec![left, collection]))
}
