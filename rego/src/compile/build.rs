//! Small makers of syntax, and the maker of fresh names.
use crate::ast::{Call, Expr, ExprKind, Loc, Str, Term, TermKind, With};
use std::collections::BTreeMap;

/// Makes names that no source can spell.
#[derive(Debug, Default)]
pub(crate) struct Names {
    next: u32,
    /// What the source calls them, for messages.
    sources: BTreeMap<Str, Str>,
}

impl Names {
    pub(crate) fn fresh(&mut self) -> Str {
        self.next = self.next.saturating_add(1);
        Str::from(format!("{PREFIX}{}", self.next))
    }

    /// A name for what the source calls so.
    pub(crate) fn fresh_for(&mut self, source: &Str) -> Str {
        let fresh = self.fresh();
        self.sources.insert(fresh.clone(), source.clone());
        fresh
    }

    /// What the source calls it.
    pub(crate) fn source(&self, name: &Str) -> Str {
        self.sources.get(name).unwrap_or(name).clone()
    }
}

/// What fresh names begin with.
const PREFIX: &str = "#";

/// Whether the name is one of ours.
pub(crate) fn is_fresh(name: &str) -> bool {
    name.starts_with(PREFIX)
}

pub(crate) fn var(name: &Str, loc: Loc) -> Term {
    Term { kind: TermKind::Var(name.clone()), loc }
}

pub(crate) fn call(function: &str, args: Vec<Term>, loc: Loc) -> Call {
    Call { function: function.split('.').map(Str::from).collect(), args, loc }
}

/// `name = term`, with the modifiers of the expression that it is taken out of.
pub(crate) fn equation(name: &Str, term: Term, with: Vec<With>) -> Expr {
    let loc = term.loc;
    let call = call("eq", vec![var(name, loc), term], loc);
    Expr { kind: ExprKind::Call(call), negated: false, with, loc }
}

/// Whether a call is `=` or `:=`.
pub(crate) fn is_equation(call: &Call) -> bool {
    matches!(call.function.as_slice(), [name] if matches!(name.as_ref(), "eq" | "assign"))
        && call.args.len() == 2
}

/// Whether a call is `:=`.
pub(crate) fn is_assignment(call: &Call) -> bool {
    is_equation(call) && matches!(call.function.as_slice(), [name] if name.as_ref() == "assign")
}

pub(crate) fn is_true(expr: &Expr) -> bool {
    !expr.negated
        && expr.with.is_empty()
        && matches!(&expr.kind, ExprKind::Term(Term { kind: TermKind::Bool(true), .. }))
}

/// Appends to a body; one that only says `true` is replaced.
pub(crate) fn append(body: &mut Vec<Expr>, more: Vec<Expr>) {
    if !more.is_empty() && matches!(body.as_slice(), [only] if is_true(only)) {
        body.clear();
    }
    body.extend(more);
}

/// The variable that a reference begins with.
pub(crate) fn head_var(parts: &[Term]) -> Option<&Str> {
    match parts.first() {
        Some(Term { kind: TermKind::Var(name), .. }) => Some(name),
        _ => None,
    }
}
