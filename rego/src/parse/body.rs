//! Bodies and queries: literals with newlines or `;` between them.
use super::lex::Kind;
use super::{Parser, Result, error};
use crate::ast::{Body, Expr};

impl Parser<'_> {
    /// A body up to its end, which is not taken.
    pub(super) fn body(&mut self, end: Kind) -> Result<Body> {
        if self.kind() == end {
            return Err(self.unexpected("an expression: a body must not be empty"));
        }
        let first = self.literal()?;
        self.body_after(first, end)
    }

    /// Goes on after a body's first expression.
    pub(super) fn body_after(&mut self, first: Expr, end: Kind) -> Result<Body> {
        let mut body = vec![first];
        loop {
            let separated = self.accept(Kind::Semicolon);
            if !separated && self.kind() == end {
                return Ok(body);
            }
            if !separated && !self.current.fresh {
                let close = if end == Kind::RightBracket { "]" } else { "}" };
                return Err(self.unexpected(&format!("a new line, `;`, `{close}` or an operator")));
            }
            body.push(self.literal()?);
        }
    }

    /// `{ … }` with both braces.
    pub(super) fn block(&mut self) -> Result<Body> {
        self.advance();
        let body = self.body(Kind::RightBrace)?;
        self.advance();
        Ok(body)
    }

    /// All expressions of a query. Even a space is enough between two of them.
    pub(super) fn query(mut self) -> Result<Body> {
        if self.kind() == Kind::End {
            return Err(error(self.loc(), "a query must not be empty"));
        }
        let mut body = Vec::new();
        loop {
            body.push(self.literal()?);
            if !self.accept(Kind::Semicolon) && self.kind() == Kind::End {
                return Ok(body);
            }
        }
    }
}
