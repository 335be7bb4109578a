//! Which variables stand where.
use crate::ast::{Body, Call, Expr, ExprKind, Str, TemplatePart, Term, TermKind};
use std::collections::BTreeSet;

pub(crate) type Vars = BTreeSet<Str>;

/// What a walk leaves out.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Skip {
    /// Comprehensions, templates and the bodies of `every`.
    pub(crate) closures: bool,
    /// Sets.
    pub(crate) sets: bool,
    /// The keys of objects.
    pub(crate) object_keys: bool,
    /// What a reference begins with.
    pub(crate) ref_head: bool,
}

/// The walk by which safety is judged.
pub(crate) const SAFETY: Skip = Skip { closures: true, sets: false, object_keys: false, ref_head: false };
/// The walk over what a match binds.
pub(crate) const PATTERN: Skip = Skip { closures: true, sets: false, object_keys: true, ref_head: true };

/// Every variable, whatever it is part of.
pub(crate) const ALL: Skip = Skip { closures: false, sets: false, object_keys: false, ref_head: false };

pub(crate) fn of_term(term: &Term, skip: Skip) -> Vars {
    let mut vars = Vars::new();
    in_term(term, skip, &mut vars);
    vars
}

pub(crate) fn of_expr(expr: &Expr, skip: Skip) -> Vars {
    let mut vars = Vars::new();
    in_expr(expr, skip, &mut vars);
    vars
}

pub(crate) fn of_body(body: &Body, skip: Skip) -> Vars {
    let mut vars = Vars::new();
    in_body(body, skip, &mut vars);
    vars
}

fn in_body(body: &Body, skip: Skip, vars: &mut Vars) {
    for expr in body {
        in_expr(expr, skip, vars);
    }
}

pub(crate) fn in_expr(expr: &Expr, skip: Skip, vars: &mut Vars) {
    match &expr.kind {
        ExprKind::Term(term) => in_term(term, skip, vars),
        ExprKind::Call(call) => in_call(call, skip, vars),
        ExprKind::Some(names) => vars.extend(names.iter().map(|(name, _)| name.clone())),
        ExprKind::SomeIn { key, value, domain } => {
            for term in key.iter().chain([value, domain]) {
                in_term(term, skip, vars);
            }
        }
        ExprKind::Every { key, value, domain, body } => {
            in_term(domain, skip, vars);
            if skip.closures {
                return;
            }
            vars.extend(key.iter().chain([value]).map(|(name, _)| name.clone()));
            in_body(body, skip, vars);
        }
    }
    for with in &expr.with {
        in_term(&with.value, skip, vars);
    }
}

pub(crate) fn in_call(call: &Call, skip: Skip, vars: &mut Vars) {
    for argument in &call.args {
        in_term(argument, skip, vars);
    }
}

pub(crate) fn in_term(term: &Term, skip: Skip, vars: &mut Vars) {
    match &term.kind {
        TermKind::Null | TermKind::Bool(_) | TermKind::Number(_) | TermKind::String(_) => {}
        TermKind::Var(name) => {
            vars.insert(name.clone());
        }
        TermKind::Ref(parts) => {
            let from = usize::from(skip.ref_head);
            parts.iter().skip(from).for_each(|part| in_term(part, skip, vars));
        }
        TermKind::Array(items) => items.iter().for_each(|item| in_term(item, skip, vars)),
        TermKind::Set(items) => {
            if !skip.sets {
                items.iter().for_each(|item| in_term(item, skip, vars));
            }
        }
        TermKind::Object(members) => {
            for (key, value) in members {
                if !skip.object_keys {
                    in_term(key, skip, vars);
                }
                in_term(value, skip, vars);
            }
        }
        TermKind::Call(call) => in_call(call, skip, vars),
        _ if skip.closures => {}
        TermKind::ArrayComprehension(head, body) | TermKind::SetComprehension(head, body) => {
            in_term(head, skip, vars);
            in_body(body, skip, vars);
        }
        TermKind::ObjectComprehension(key, value, body) => {
            in_term(key, skip, vars);
            in_term(value, skip, vars);
            in_body(body, skip, vars);
        }
        TermKind::Template(parts) => {
            for part in parts {
                if let TemplatePart::Term(term) | TemplatePart::With(term, _) = part {
                    in_term(term, skip, vars);
                }
                if let TemplatePart::With(_, with) = part {
                    with.iter().for_each(|with| in_term(&with.value, skip, vars));
                }
            }
        }
    }
}

/// Visits every comprehension and every body of an `every` in an expression, without going into what it visits.
pub(crate) fn closures_of_expr(expr: &Expr, vars: &mut Vars) {
    match &expr.kind {
        ExprKind::Term(term) => closures_of_term(term, vars),
        ExprKind::Call(call) => call.args.iter().for_each(|argument| closures_of_term(argument, vars)),
        ExprKind::Some(_) => {}
        ExprKind::SomeIn { key, value, domain } => {
            key.iter().chain([value, domain]).for_each(|term| closures_of_term(term, vars));
        }
        ExprKind::Every { body, .. } => in_body(body, ALL, vars),
    }
    for with in &expr.with {
        closures_of_term(&with.value, vars);
    }
}

fn closures_of_term(term: &Term, vars: &mut Vars) {
    match &term.kind {
        TermKind::ArrayComprehension(..)
        | TermKind::SetComprehension(..)
        | TermKind::ObjectComprehension(..) => in_term(term, ALL, vars),
        _ => each_child(term, &mut |child| closures_of_term(child, vars)),
    }
}

/// Visits the comprehensions in the brackets of references in a term.
pub(crate) fn closures_in_brackets(term: &Term, vars: &mut Vars) {
    if let TermKind::Ref(parts) = &term.kind {
        parts.iter().skip(1).for_each(|part| closures_of_term(part, vars));
    }
    each_child(term, &mut |child| closures_in_brackets(child, vars));
}

/// The terms directly in a term; comprehensions have none.
pub(crate) fn each_child<'t>(term: &'t Term, visit: &mut dyn FnMut(&'t Term)) {
    match &term.kind {
        TermKind::Ref(items) | TermKind::Array(items) | TermKind::Set(items) => {
            items.iter().for_each(visit);
        }
        TermKind::Object(members) => {
            for (key, value) in members {
                visit(key);
                visit(value);
            }
        }
        TermKind::Call(call) => call.args.iter().for_each(visit),
        TermKind::Template(parts) => {
            for part in parts {
                if let TemplatePart::Term(term) | TemplatePart::With(term, _) = part {
                    visit(term);
                }
            }
        }
        _ => {}
    }
}

/// Whether a term must be evaluated: it has references or comprehensions in it.
pub(crate) fn needs_evaluation(term: &Term) -> bool {
    match &term.kind {
        TermKind::Ref(_)
        | TermKind::ArrayComprehension(..)
        | TermKind::SetComprehension(..)
        | TermKind::ObjectComprehension(..) => true,
        _ => {
            let mut found = false;
            each_child(term, &mut |child| found |= needs_evaluation(child));
            found
        }
    }
}
