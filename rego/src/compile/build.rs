//! Small makers of syntax, and the maker of fresh names.
use crate::ast::{Call, Expr, ExprKind, Loc, Str, Term, TermKind, With};

/// Makes names that no source can spell.
#[derive(Debug, Default)]
pub(crate) struct Names {
    next: u32,
}

impl Names {
    pub(crate) fn fresh(&mut self) -> Str {
        self.next = self.next.saturating_add(1);
        Str::from(format!("{PREFIX}{}", self.next))
    }

    /// A fresh name for a variable of the source, which it still tells.
    pub(crate) fn fresh_for(&mut self, name: &str) -> Str {
        self.next = self.next.saturating_add(1);
        Str::from(format!("{PREFIX}{} {name}", self.next))
    }
}

/// What fresh names begin with.
const PREFIX: &str = "#";

/// Whether the name is one of ours.
pub(crate) fn is_fresh(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// The name in the source of a variable; `None` for one that only the compiler knows.
pub(crate) fn name_in_source(name: &str) -> Option<&str> {
    let of_source = if is_fresh(name) { name.split_once(' ').map(|(_, name)| name) } else { Some(name) };
    of_source.filter(|name| !is_fresh(name) && *name != "_")
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
