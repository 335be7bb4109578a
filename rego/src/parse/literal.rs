//! Literals: `some`, `every`, `not`, expressions and what `with` replaces.
use super::lex::{Keyword, Kind};
use super::term::{constant_parts, is_root};
use super::{Parser, Result, error};
use crate::ast::{Call, Expr, ExprKind, Loc, Str, Term, TermKind, With};

impl Parser<'_> {
    pub(super) fn literal(&mut self) -> Result<Expr> {
        let loc = self.loc();
        let name = self.keyword_as_name();
        let negated = !name && self.kind() == Kind::Keyword(Keyword::Not);
        if negated {
            self.advance();
        }
        let kind =
            match self.kind() {
                Kind::Keyword(word @ (Keyword::Some | Keyword::Every)) if !negated => {
                    if word == Keyword::Some { self.some()? } else { self.every()? }
                }
                Kind::Keyword(Keyword::Some | Keyword::Every) => {
                    return Err(
                        self.unexpected("an expression after `not` (name a rule for it, and negate that)")
                    );
                }
                _ => {
                    let left = self.infix(true)?;
                    self.expression(left)?
                }
            };
        let with = if matches!(kind, ExprKind::Some(_)) { Vec::new() } else { self.with()? };
        Ok(Expr { kind, negated, with, loc })
    }

    /// Goes on after the term that an expression begins with.
    pub(super) fn literal_from(&mut self, left: Term, loc: Loc) -> Result<Expr> {
        let kind = self.expression(left)?;
        let with = self.with()?;
        Ok(Expr { kind, negated: false, with, loc })
    }

    fn expression(&mut self, left: Term) -> Result<ExprKind> {
        let name = match self.kind() {
            Kind::Assign => "assign",
            Kind::Unify => "eq",
            _ => {
                return Ok(match left.kind {
                    TermKind::Call(call) => ExprKind::Call(*call),
                    _ => ExprKind::Term(left),
                });
            }
        };
        let loc = self.loc();
        self.advance();
        let right = self.infix(true)?;
        Ok(ExprKind::Call(Call { function: vec![name.into()], args: vec![left, right], loc }))
    }

    /// `some x, y` or `some k, v in xs`.
    fn some(&mut self) -> Result<ExprKind> {
        self.advance();
        let start = self.mark();
        let mut names: Vec<(Str, Loc)> = Vec::new();
        while self.kind() == Kind::Word {
            names.push((self.word().into(), self.loc()));
            self.advance();
            if self.kind() != Kind::Comma {
                if !self.some_goes_on(names.len()) {
                    return Ok(ExprKind::Some(names));
                }
                break;
            }
            self.advance();
        }
        self.reset(start);
        let term = self.infix(true)?;
        let loc = term.loc;
        let (key, value, domain) = membership(term).ok_or_else(|| {
            error(loc, "`some` must be followed by variables, or by `x in xs` or `k, v in xs`")
        })?;
        Ok(ExprKind::SomeIn { key, value, domain })
    }

    /// Whether what follows the last of some names makes them no mere variables.
    fn some_goes_on(&self, names: usize) -> bool {
        match self.kind() {
            Kind::Keyword(Keyword::In) if names == 1 => !self.part_follows(),
            Kind::Keyword(Keyword::In) => names == 2 && !(self.part_follows() && self.next_is(Kind::Dot)),
            Kind::Infix(_) => names == 1 || !self.current.fresh,
            _ => self.part_is_here(),
        }
    }

    /// `every k, v in xs { … }`.
    fn every(&mut self) -> Result<ExprKind> {
        self.advance();
        let loc = self.loc();
        let term = self.infix(true)?;
        let (key, value, domain) = membership(term)
            .ok_or_else(|| error(loc, "`every` must be followed by `x in xs { … }` or `k, v in xs { … }`"))?;
        let key = key.map(|key| variable(&key, "key")).transpose()?;
        let value = variable(&value, "value")?;
        if self.kind() != Kind::LeftBrace {
            return Err(self.unexpected("`{` and what must hold for `every` element"));
        }
        let body = self.nested(Self::block)?;
        Ok(ExprKind::Every { key, value, domain, body })
    }

    /// `with target as value`, any number of times.
    fn with(&mut self) -> Result<Vec<With>> {
        let mut all = Vec::new();
        while self.at(Keyword::With) {
            self.advance();
            if self.kind() != Kind::Word {
                return Err(self.unexpected(
                    "what `with` replaces: `input`, a part of `input` or `data`, or a function",
                ));
            }
            let loc = self.loc();
            let target = match self.term()? {
                Term { kind: TermKind::Var(name), .. } => Some(vec![name]),
                Term { kind: TermKind::Ref(parts), .. } => constant_parts(&parts),
                _ => None,
            };
            let target = target.ok_or_else(|| {
                error(loc, "the target of `with` must be a name, with names or strings after it")
            })?;
            if !self.at(Keyword::As) {
                return Err(self.unexpected("`as` and the value that `with` puts in the target's place"));
            }
            self.advance();
            all.push(With { target, value: self.infix(true)?, loc });
        }
        Ok(all)
    }
}

/// The parts of `value in domain` and `key, value in domain`.
fn membership(term: Term) -> Option<(Option<Term>, Term, Term)> {
    let TermKind::Call(call) = term.kind else { return None };
    let [namespace, name] = call.function.as_slice() else { return None };
    if &**namespace != "internal" || !matches!(&**name, "member_2" | "member_3") {
        return None;
    }
    let has_key = &**name == "member_3";
    let mut args = call.args.into_iter();
    let key = if has_key { Some(args.next()?) } else { None };
    let (value, domain) = (args.next()?, args.next()?);
    args.next().is_none().then_some((key, value, domain))
}

fn variable(term: &Term, what: &str) -> Result<(Str, Loc)> {
    match &term.kind {
        TermKind::Var(name) if !is_root(term) => Ok((name.clone(), term.loc)),
        _ => Err(error(term.loc, format!("the {what} of `every` must be a variable"))),
    }
}
