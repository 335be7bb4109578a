//! Going through everything that a rule says, with what its names mean.
use super::scope::{At, Frame, Project};
use postern_rego::ast::{Body, Call, Expr, ExprKind, Rule, TemplatePart, Term, TermKind};

/// What is told on the way. A body is told before its expressions, an expression before its terms.
pub(in crate::tooling) trait Visit<'m> {
    fn body(&mut self, _at: &At<'_, 'm>, _body: &'m Body) {}
    fn expr(&mut self, _at: &At<'_, 'm>, _expr: &'m Expr) {}
    fn term(&mut self, _at: &At<'_, 'm>, _term: &'m Term) {}
    fn call(&mut self, _at: &At<'_, 'm>, _call: &'m Call) {}
}

/// Goes through all rules of all files.
pub(in crate::tooling) fn project<'m>(project: &Project<'m>, visit: &mut dyn Visit<'m>) {
    for (index, file) in project.files.iter().enumerate() {
        let module = file.module;
        for one in &module.rules {
            let mut at = At::new(project, index);
            at.input_replaced = project.elsewhere.contains(&one.loc);
            rule(&at, one, visit);
        }
    }
}

pub(in crate::tooling) fn rule<'m>(at: &At<'_, 'm>, rule: &'m Rule, visit: &mut dyn Visit<'m>) {
    let args = rule.head.args.as_deref().unwrap_or_default();
    let at = at.inside(Frame::of_args(args));
    args.iter().for_each(|arg| term(&at, arg, visit));
    let mut branch = Some(rule);
    while let Some(rule) = branch {
        let inner = body(&at, &rule.body, visit);
        let head = &rule.head;
        let terms = head.reference.iter().skip(1).chain(&head.key).chain(&head.value);
        terms.for_each(|one| term(&inner, one, visit));
        branch = rule.otherwise.as_deref();
    }
}

/// Goes through a body, and tells what its names mean.
fn body<'p, 'm>(at: &At<'p, 'm>, body: &'m Body, visit: &mut dyn Visit<'m>) -> At<'p, 'm> {
    let inner = at.inside(Frame::of_body(body));
    visit.body(&inner, body);
    for one in body {
        expr(&inner, one, visit);
    }
    inner
}

fn expr<'m>(at: &At<'_, 'm>, expr: &'m Expr, visit: &mut dyn Visit<'m>) {
    let mut at = at.clone();
    for with in &expr.with {
        term(&at, &with.value, visit);
        if let Some(first) = with.target.first() {
            // An import may be replaced by its name.
            at.global(first);
        }
    }
    at.input_replaced |=
        expr.with.iter().any(|with| with.target.first().is_some_and(|first| first.as_ref() == "input"));
    visit.expr(&at, expr);
    match &expr.kind {
        ExprKind::Term(one) => term(&at, one, visit),
        ExprKind::Call(one) => call(&at, one, visit),
        ExprKind::Some(_) => {}
        ExprKind::SomeIn { key, value, domain } => {
            key.iter().chain([value, domain]).for_each(|one| term(&at, one, visit));
        }
        ExprKind::Every { key, value, domain, body: inner } => {
            term(&at, domain, visit);
            let names = key.iter().chain([value]).map(|(name, _)| name);
            body(&at.inside(Frame::of_every(domain, names)), inner, visit);
        }
    }
}

fn call<'m>(at: &At<'_, 'm>, call: &'m Call, visit: &mut dyn Visit<'m>) {
    if let Some(first) = call.function.first() {
        at.global(first);
    }
    visit.call(at, call);
    call.args.iter().for_each(|arg| term(at, arg, visit));
}

fn term<'m>(at: &At<'_, 'm>, one: &'m Term, visit: &mut dyn Visit<'m>) {
    visit.term(at, one);
    match &one.kind {
        TermKind::Null | TermKind::Bool(_) | TermKind::Number(_) | TermKind::String(_) => {}
        TermKind::Var(name) => {
            at.global(name);
        }
        TermKind::Ref(parts) => {
            for (index, part) in parts.iter().enumerate() {
                if let (TermKind::Var(name), 0) = (&part.kind, index) {
                    at.global(name);
                } else {
                    term(at, part, visit);
                }
            }
        }
        TermKind::Array(items) | TermKind::Set(items) => items.iter().for_each(|item| term(at, item, visit)),
        TermKind::Object(members) => {
            for (key, value) in members {
                term(at, key, visit);
                term(at, value, visit);
            }
        }
        TermKind::ArrayComprehension(head, inner) | TermKind::SetComprehension(head, inner) => {
            let at = body(at, inner, visit);
            term(&at, head, visit);
        }
        TermKind::ObjectComprehension(key, value, inner) => {
            let at = body(at, inner, visit);
            term(&at, key, visit);
            term(&at, value, visit);
        }
        TermKind::Call(inner) => call(at, inner, visit),
        TermKind::Template(parts) => {
            for part in parts {
                match part {
                    TemplatePart::Text(_) => {}
                    TemplatePart::Term(inner) => term(at, inner, visit),
                    TemplatePart::With(inner, with) => {
                        term(at, inner, visit);
                        with.iter().for_each(|with| term(at, &with.value, visit));
                    }
                }
            }
        }
    }
}
