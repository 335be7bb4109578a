//! The expressions of a source as they are written, before anything is taken apart.
use super::vars::each_child;
use crate::ast::{Body, Expr, ExprKind, Loc, Module, Term, TermKind};

/// The places of all expressions but declarations without a value, in order. With each stands whether it is a
/// `some … in`.
pub(crate) fn expressions(modules: &[Module]) -> Vec<(Loc, bool)> {
    let mut found = Vec::new();
    for rule in modules.iter().flat_map(|module| &module.rules) {
        let mut branch = Some(rule);
        while let Some(rule) = branch {
            let head = &rule.head;
            for term in head.reference.iter().skip(1).chain(&head.key).chain(&head.value) {
                in_term(term, &mut found);
            }
            in_body(&rule.body, &mut found);
            branch = rule.otherwise.as_deref();
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

fn in_body(body: &Body, found: &mut Vec<(Loc, bool)>) {
    body.iter().for_each(|expr| in_expr(expr, found));
}

fn in_expr(expr: &Expr, found: &mut Vec<(Loc, bool)>) {
    match &expr.kind {
        ExprKind::Some(_) => return,
        ExprKind::SomeIn { key, value, domain } => {
            key.iter().chain([value, domain]).for_each(|term| in_term(term, found));
        }
        ExprKind::Term(term) => in_term(term, found),
        ExprKind::Call(call) => call.args.iter().for_each(|term| in_term(term, found)),
        ExprKind::Every { domain, body, .. } => {
            in_term(domain, found);
            in_body(body, found);
        }
    }
    expr.with.iter().for_each(|with| in_term(&with.value, found));
    if expr.loc.row > 0 {
        found.push((expr.loc, matches!(expr.kind, ExprKind::SomeIn { .. })));
    }
}

fn in_term(term: &Term, found: &mut Vec<(Loc, bool)>) {
    match &term.kind {
        TermKind::ArrayComprehension(head, body) | TermKind::SetComprehension(head, body) => {
            in_term(head, found);
            in_body(body, found);
        }
        TermKind::ObjectComprehension(key, value, body) => {
            in_term(key, found);
            in_term(value, found);
            in_body(body, found);
        }
        _ => each_child(term, &mut |child| in_term(child, found)),
    }
}
