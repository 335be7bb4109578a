//! `print`: it is no condition. A set that decides is compiled without it; one that is examined tells what it says.
use super::Purpose;
use super::build::{Names, call, equation, var};
use crate::ast::{Body, Call, Expr, ExprKind, Rule, TemplatePart, Term, TermKind};

/// The function that takes an array of sets: the values of each argument, none where it is undefined.
pub(crate) const PRINT: &str = "internal.print";

/// Settles every `print` of a rule and of its `else` branches.
pub(crate) fn settle(rule: &mut Rule, names: &mut Names, purpose: Purpose) {
    let mut branch = Some(rule);
    while let Some(rule) = branch {
        let head = &mut rule.head;
        let terms = head.reference.iter_mut().chain(head.args.iter_mut().flatten());
        for term in terms.chain(&mut head.key).chain(&mut head.value) {
            in_term(term, names, purpose);
        }
        settle_body(&mut rule.body, names, purpose);
        branch = rule.otherwise.as_deref_mut();
    }
}

/// The same for one body.
pub(crate) fn settle_body(body: &mut Body, names: &mut Names, purpose: Purpose) {
    let loc = body.first().map(|first| first.loc).unwrap_or_default();
    for expr in body.iter_mut() {
        in_expr(expr, names, purpose);
    }
    match purpose {
        Purpose::Decide => body.retain(|expr| printed(expr).is_none()),
        Purpose::Examine => body.iter_mut().for_each(|expr| hear(expr, names)),
    }
    if body.is_empty() {
        let kind = ExprKind::Term(Term { kind: TermKind::Bool(true), loc });
        body.push(Expr { kind, negated: false, with: Vec::new(), loc });
    }
}

/// The call of an expression that is a `print`.
fn printed(expr: &Expr) -> Option<&Call> {
    match &expr.kind {
        ExprKind::Call(call) if matches!(call.function.as_slice(), [name] if name.as_ref() == "print") => {
            Some(call)
        }
        _ => None,
    }
}

/// An argument that is undefined must not end the body: each is asked for in a comprehension of its own.
fn hear(expr: &mut Expr, names: &mut Names) {
    let Some(said) = printed(expr) else { return };
    let loc = expr.loc;
    let values = |argument: &Term| {
        let name = names.fresh();
        let body = vec![equation(&name, argument.clone(), Vec::new())];
        let loc = argument.loc;
        Term { kind: TermKind::SetComprehension(Box::new(var(&name, loc)), body), loc }
    };
    let items = said.args.iter().map(values).collect();
    let array = Term { kind: TermKind::Array(items), loc };
    *expr =
        Expr { kind: ExprKind::Call(call(PRINT, vec![array], loc)), negated: false, with: Vec::new(), loc };
}

fn in_expr(expr: &mut Expr, names: &mut Names, purpose: Purpose) {
    match &mut expr.kind {
        ExprKind::Term(term) => in_term(term, names, purpose),
        ExprKind::Call(call) => call.args.iter_mut().for_each(|term| in_term(term, names, purpose)),
        ExprKind::Every { domain, body, .. } => {
            in_term(domain, names, purpose);
            settle_body(body, names, purpose);
        }
        ExprKind::Some(_) | ExprKind::SomeIn { .. } => {}
    }
    expr.with.iter_mut().for_each(|with| in_term(&mut with.value, names, purpose));
}

fn in_term(term: &mut Term, names: &mut Names, purpose: Purpose) {
    match &mut term.kind {
        TermKind::Ref(items) | TermKind::Array(items) | TermKind::Set(items) => {
            items.iter_mut().for_each(|item| in_term(item, names, purpose));
        }
        TermKind::Object(members) => {
            for (key, value) in members {
                in_term(key, names, purpose);
                in_term(value, names, purpose);
            }
        }
        TermKind::Call(call) => call.args.iter_mut().for_each(|item| in_term(item, names, purpose)),
        TermKind::ArrayComprehension(head, body) | TermKind::SetComprehension(head, body) => {
            in_term(head, names, purpose);
            settle_body(body, names, purpose);
        }
        TermKind::ObjectComprehension(key, value, body) => {
            in_term(key, names, purpose);
            in_term(value, names, purpose);
            settle_body(body, names, purpose);
        }
        TermKind::Template(parts) => {
            for part in parts {
                if let TemplatePart::Term(term) | TemplatePart::With(term, _) = part {
                    in_term(term, names, purpose);
                }
            }
        }
        TermKind::Null | TermKind::Bool(_) | TermKind::Number(_) | TermKind::String(_) | TermKind::Var(_) => {
        }
    }
}
