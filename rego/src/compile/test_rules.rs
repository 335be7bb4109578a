//! Rules that are tests, by OPA's naming: a part of the name begins with `test_`, or with `todo_test_` for one that is
//! not run yet. Several of one name are several tests; parts after the name tell the cases of one.
use super::build::{call, is_fresh};
use super::vars::{self, SAFETY, Vars};
use crate::ast::{Expr, ExprKind, Module, Rule, Str, Term, TermKind};
use crate::ir::TestRule;
use std::collections::HashMap;

/// What a test's name begins with.
const PREFIX: &str = "test_";
/// What the name of a test begins with that is not run yet.
pub(crate) const TODO_PREFIX: &str = "todo_test_";

/// The function that tells which case of a test comes now.
pub(crate) const CASE: &str = "internal.test_case";

/// Finds the tests, in order. The second of a name and those after it get names with numbers.
pub(crate) fn find(modules: &mut [Module]) -> Vec<TestRule> {
    let mut tests = Vec::new();
    let mut counted: HashMap<Vec<Str>, usize> = HashMap::new();
    for module in modules {
        for rule in &mut module.rules {
            let Some(at) = named(rule) else { continue };
            let mut path = path_to(&module.package, rule, at);
            if path.last().is_some_and(|name| name.starts_with(PREFIX)) {
                let seen = counted.entry(path.clone()).or_default();
                if *seen > 0 {
                    rename(rule, at, *seen);
                    path = path_to(&module.package, rule, at);
                }
                *seen = seen.saturating_add(1);
            }
            let ground = rule.head.reference.iter().skip(1).all(|part| super::tree::constant(part).is_some());
            let by_case = rule.head.args.is_none() && rule.head.key.is_none() && !ground;
            tests.push(TestRule { path, loc: rule.loc, by_case });
        }
    }
    tests
}

/// Which part of a rule's name makes it a test.
fn named(rule: &Rule) -> Option<usize> {
    for (at, part) in rule.head.reference.iter().enumerate() {
        match &part.kind {
            TermKind::Var(name) if at == 0 && is_test(name) => return Some(at),
            TermKind::String(name) if is_test(name) => return Some(at),
            TermKind::Var(_) if at == 0 => {}
            TermKind::String(_) => {}
            _ => return None,
        }
    }
    None
}

fn is_test(name: &str) -> bool {
    name.starts_with(PREFIX) || name.starts_with(TODO_PREFIX)
}

fn path_to(package: &[Str], rule: &Rule, at: usize) -> Vec<Str> {
    let parts = rule.head.reference.iter().take(at.saturating_add(1));
    let parts = parts.filter_map(|part| match &part.kind {
        TermKind::Var(name) | TermKind::String(name) => Some(name.clone()),
        _ => None,
    });
    package.iter().cloned().chain(parts).collect()
}

fn rename(rule: &mut Rule, at: usize, number: usize) {
    if let Some(Term { kind: TermKind::Var(name) | TermKind::String(name), .. }) =
        rule.head.reference.get_mut(at)
    {
        *name = Str::from(format!("{name}#{number:02}"));
    }
}

/// Lets a test tell its case as soon as the case is known, so that one whose conditions do not hold is told as well.
/// The body is in the order of its evaluation.
pub(crate) fn tell_case(rule: &mut Rule) {
    let Some(at) = named(rule) else { return };
    let parts: Vec<Term> = rule.head.reference.iter().skip(at.saturating_add(1)).cloned().collect();
    if parts.is_empty() || rule.head.args.is_some() {
        return;
    }
    for part in &parts {
        if let TermKind::Var(name) = &part.kind
            && is_fresh(name)
        {
            move_up(&mut rule.body, name);
        }
    }
    let mut open = Vars::new();
    parts.iter().for_each(|part| vars::in_term(part, SAFETY, &mut open));
    let at = known_after(&rule.body, &open);
    let loc = rule.head.loc;
    let array = Term { kind: TermKind::Array(parts), loc };
    let kind = ExprKind::Call(call(CASE, vec![array], loc));
    rule.body.insert(at, Expr { kind, negated: false, with: Vec::new(), loc });
}

/// Moves the equation that gives a name its value to where what it is made of is known.
fn move_up(body: &mut Vec<Expr>, name: &Str) {
    let defines = |expr: &Expr| match &expr.kind {
        ExprKind::Call(call) if super::build::is_equation(call) => {
            matches!(call.args.first(), Some(Term { kind: TermKind::Var(have), .. }) if have == name)
        }
        _ => false,
    };
    let Some(from) = body.iter().rposition(defines) else { return };
    let equation = body.remove(from);
    let mut open = vars::of_expr(&equation, SAFETY);
    open.remove(name);
    let to = known_after(body, &open).min(from);
    body.insert(to, equation);
}

/// How many expressions it takes until all of these variables have values.
fn known_after(body: &[Expr], open: &Vars) -> usize {
    let mut known = super::lower::roots();
    for (index, expr) in body.iter().enumerate() {
        if open.is_subset(&known) {
            return index;
        }
        vars::in_expr(expr, SAFETY, &mut known);
    }
    body.len()
}
