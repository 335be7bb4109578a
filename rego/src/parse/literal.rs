//! Literals: `some`, `every`, `not`, expressions and what `with` replaces.
use super::lex::{Keyword, Kind};
use super::term::{constant_parts, is_root};
use super::{Parser, Result, error};
use crate::ast::{Body, Call, Expr, ExprKind, Loc, Str, Term, TermKind, With};

impl Parser<'_> {
    /// What is done with terms that were read stands in functions of its own, here and in all that nests: frames count.
    pub(super) fn literal(&mut self) -> Result<Expr> {
        let loc = self.loc();
        let name = self.keyword_as_name();
        let negated = !name && self.accept(Kind::Keyword(Keyword::Not));
        match self.kind() {
            Kind::Keyword(Keyword::Some | Keyword::Every) if negated => {
                Err(self.unexpected("an expression after `not` (name a rule for it, and negate that)"))
            }
            Kind::Keyword(Keyword::Some) => self.some(loc),
            Kind::Keyword(Keyword::Every) => self.every(loc),
            _ => {
                let left = self.infix(true)?;
                self.literal_from(left, negated, loc)
            }
        }
    }

    /// Goes on after the term that an expression begins with.
    pub(super) fn literal_from(&mut self, left: Term, negated: bool, loc: Loc) -> Result<Expr> {
        let kind = self.expression(left)?;
        self.literal_with(kind, negated, loc)
    }

    fn literal_with(&mut self, kind: ExprKind, negated: bool, loc: Loc) -> Result<Expr> {
        let with = if self.at(Keyword::With) { self.with()? } else { Vec::new() };
        Ok(Expr { kind, negated, with, loc })
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
    fn some(&mut self, loc: Loc) -> Result<Expr> {
        self.advance();
        let start = self.mark();
        if let Some(names) = self.some_names() {
            return Ok(Expr { kind: ExprKind::Some(names), negated: false, with: Vec::new(), loc });
        }
        self.reset(start);
        let term = self.infix(true)?;
        self.some_in(term, loc)
    }

    fn some_in(&mut self, term: Term, loc: Loc) -> Result<Expr> {
        let at = term.loc;
        let (key, value, domain) = membership(term).ok_or_else(|| {
            error(at, "`some` must be followed by variables, or by `x in xs` or `k, v in xs`")
        })?;
        self.literal_with(ExprKind::SomeIn { key, value, domain }, false, loc)
    }

    /// Variables, if nothing follows them that makes them something else.
    fn some_names(&mut self) -> Option<Vec<(Str, Loc)>> {
        let mut names: Vec<(Str, Loc)> = Vec::new();
        while self.kind() == Kind::Word {
            names.push((self.word().into(), self.loc()));
            self.advance();
            if !self.accept(Kind::Comma) {
                return (!self.some_goes_on(names.len())).then_some(names);
            }
        }
        None
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
    fn every(&mut self, loc: Loc) -> Result<Expr> {
        self.advance();
        let at = self.loc();
        let term = self.infix(true)?;
        if self.kind() != Kind::LeftBrace {
            return Err(match membership(term) {
                Some(_) => self.unexpected("`{` and what must hold for `every` element"),
                None => error(at, EVERY),
            });
        }
        let outer = self.enter()?;
        let body = self.block();
        self.leave(outer, 1)?;
        self.every_in(term, body?, (at, loc))
    }

    fn every_in(&mut self, term: Term, body: Body, (at, loc): (Loc, Loc)) -> Result<Expr> {
        let (key, value, domain) = membership(term).ok_or_else(|| error(at, EVERY))?;
        let key = key.map(|key| variable(&key, "key")).transpose()?;
        let value = variable(&value, "value")?;
        self.literal_with(ExprKind::Every { key, value, domain, body }, false, loc)
    }

    /// `with target as value`, any number of times.
    fn with(&mut self) -> Result<Vec<With>> {
        let mut all = Vec::new();
        loop {
            let keyword = self.loc();
            if !self.accept(Kind::Keyword(Keyword::With)) {
                return Ok(all);
            }
            let (target, loc) = self.target()?;
            self.expect(
                Kind::Keyword(Keyword::As),
                "`as` and the value that `with` puts in the target's place",
            )?;
            let value = self.infix(true)?;
            all.push(With { target, value, loc, keyword });
        }
    }

    fn target(&mut self) -> Result<(Vec<Str>, Loc)> {
        if self.kind() != Kind::Word {
            return Err(
                self.unexpected("what `with` replaces: `input`, a part of `input` or `data`, or a function")
            );
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
        Ok((target, loc))
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

const EVERY: &str = "`every` must be followed by `x in xs { … }` or `k, v in xs { … }`";
