//! Types: what can be known of values before they are evaluated, and what of it cannot be meant. The policies that OPA's
//! type checker refuses are refused here, at the same places. Of `input`, and of data that no rule defines, nothing is
//! known.
mod body;
mod kind;
mod meter;
mod notation;
mod order;
mod refs;
mod say;
mod scope;
mod signatures;
#[cfg(test)]
mod tests;
mod tree;
mod unify;
mod unknowns;

use super::error::CompileError;
use crate::Value;
use crate::ast::{Module, Rule, Str, Term, TermKind};
use kind::{Known, Type};
use order::Unit;
use scope::{Scope, World};
use tree::Key;

/// All that is wrong with the types in a set, in the order of its files. Bodies are in the order of their evaluation, and
/// rules do not depend on themselves. A set whose check takes too much work is refused: what was not looked at could mean
/// something else than it means to OPA.
pub(super) fn check(modules: &[Module], files: &[Str]) -> Vec<CompileError> {
    let mut world = World::new();
    let mut errors = Vec::new();
    for unit in order::sorted(modules, files) {
        let (path, found) = {
            let mut scope = Scope::new(&world, None);
            let wrong = body::check(&mut scope, &unit.rule.body);
            if world.meter.is_empty() {
                // What was found since then may be no mistake.
                (Vec::new(), None)
            } else if wrong.is_empty() {
                type_of(&mut scope, unit)
            } else {
                errors.extend(wrong);
                (path_of(unit), None)
            }
        };
        world.forget();
        if let Some(known) = &found {
            world.meter.weigh(known);
        }
        if world.meter.is_empty() {
            errors.push(CompileError::new(unit.rule.loc, say::too_much()));
            break;
        }
        match found {
            Some(Some(known)) => world.rules.insert(&path, known),
            Some(None) => {}
            // Who refers to a rule with an error is not told of it.
            None => world.rules.put(&path, Type::Any),
        }
    }
    errors.sort_by(|a: &CompileError, b| {
        let key = |error: &CompileError| (files.get(usize::from(error.loc.module)).cloned(), error.loc);
        key(a).cmp(&key(b))
    });
    errors.dedup();
    errors
}

/// Whether a name without dots is that of a builtin of OPA.
pub(super) fn is_builtin(name: &Str) -> bool {
    let declared =
        || signatures::tree().children.get(&Key::Var(name.clone())).is_some_and(|node| node.value.is_some());
    matches!(name.as_ref(), "assign" | "print" | "trace") || declared()
}

/// The whole name of a rule, below and with `data`.
fn path_of(unit: Unit<'_>) -> Vec<Key> {
    let names = unit.package.iter().chain(super::build::head_var(&unit.rule.head.reference));
    let names = names.map(|name| Key::Constant(Value::String(name.clone())));
    let rest = unit.rule.head.reference.iter().skip(1).map(Key::of);
    std::iter::once(Key::Var(Str::from("data"))).chain(names).chain(rest).collect()
}

/// What a rule adds to the type of its name, and the constant part of the name.
fn type_of(scope: &mut Scope<'_>, unit: Unit<'_>) -> (Vec<Key>, Option<Known>) {
    let rule = unit.rule;
    let mut path = path_of(unit);
    if let Some(args) = rule.head.args.as_ref().filter(|args| !args.is_empty()) {
        let known = function(scope, rule, args);
        return (path, Some(Some(known)));
    }
    let value = match &rule.head.key {
        Some(key) => scope.term(key).map(|key| Type::set(Some(key))),
        None => value_of(scope, rule),
    };
    let is_open = |part: &Key| !matches!(part, Key::Constant(value) if is_scalar(value));
    let Some(from) = path.iter().skip(1).position(is_open).map(|at| at.saturating_add(1)) else {
        return (path, Some(value));
    };
    // `p[x].a := 1` is an object of objects at `p`.
    let parts = rule.head.reference.len().saturating_sub(path.len().saturating_sub(from));
    let dynamic = rule.head.reference.get(parts..).unwrap_or_default();
    let nested = dynamic.iter().rev().fold(value, |value, part: &Term| {
        let (key, value) = (key_of(scope, part)?, value?);
        Some(Type::map(Some(key), Some(value)))
    });
    path.truncate(from);
    (path, Some(nested))
}

/// What a part of a name is that is no constant. A call in a name has a variable of its own to OPA, which is equal to the
/// result: it may be anything if the result is not known.
fn key_of(scope: &Scope<'_>, part: &Term) -> Known {
    let of_call =
        || matches!(&part.kind, TermKind::Var(name) if super::build::name_in_source(name).is_none());
    scope.term(part).or_else(|| of_call().then_some(Type::Any))
}

fn is_scalar(value: &Value) -> bool {
    !matches!(value, Value::Array(_) | Value::Object(_) | Value::Set(_))
}

fn value_of(scope: &Scope<'_>, rule: &Rule) -> Known {
    rule.head.value.as_ref().map_or(Some(Type::Boolean), |value| scope.term(value))
}

/// Parameters that the body says nothing about may be anything.
fn function(scope: &mut Scope<'_>, rule: &Rule, args: &[Term]) -> Type {
    for name in args.iter().flat_map(|arg| super::vars::of_term(arg, super::vars::ALL)) {
        if scope.var(&name).is_none() {
            scope.put(&name, Some(Type::Any));
        }
    }
    let args = args.iter().map(|arg| scope.term(arg)).collect();
    let value = value_of(scope, rule);
    Type::function(args, value)
}
