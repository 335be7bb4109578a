//! Names of rules and imports become references from `data` or `input`; each `_` becomes a variable of its own.
use super::build::Names;
use super::error::CompileError;
use crate::ast::{Body, Call, Expr, ExprKind, Loc, Rule, Str, TemplatePart, Term, TermKind, With};
use std::collections::{BTreeMap, BTreeSet};

/// The names that a module knows beyond its variables: each with the constant reference that it stands for.
#[derive(Debug, Default)]
pub(crate) struct Globals {
    pub(crate) names: BTreeMap<Str, Vec<Str>>,
}

/// What a `with` value begins with that names a function: `with count as f`.
pub(crate) const MOCK: &str = "#mock";

pub(crate) struct Resolver<'a> {
    globals: &'a Globals,
    names: &'a mut Names,
    /// Whether a full name is that of a function.
    is_function: &'a dyn Fn(&[Str]) -> bool,
    /// Whether it is that of another rule.
    is_rule: &'a dyn Fn(&[Str]) -> bool,
    /// Variables that hide global names, by scope.
    hidden: Vec<BTreeSet<Str>>,
}

impl<'a> Resolver<'a> {
    pub(crate) fn new(
        globals: &'a Globals,
        names: &'a mut Names,
        is_function: &'a dyn Fn(&[Str]) -> bool,
        is_rule: &'a dyn Fn(&[Str]) -> bool,
    ) -> Self {
        Self { globals, names, is_function, is_rule, hidden: Vec::new() }
    }

    pub(crate) fn rule(&mut self, rule: &mut Rule) -> Result<(), CompileError> {
        let mut parameters = BTreeSet::new();
        for parameter in rule.head.args.iter().flatten() {
            parameter_vars(parameter, &mut parameters)?;
        }
        self.hidden.push(parameters);
        self.hidden.push(declared(&rule.body));
        for part in rule.head.reference.iter_mut().skip(1) {
            self.term(part);
        }
        for parameter in rule.head.args.iter_mut().flatten() {
            self.term(parameter);
        }
        for term in rule.head.key.iter_mut().chain(rule.head.value.iter_mut()) {
            self.term(term);
        }
        self.body(&mut rule.body);
        self.hidden.clear();
        if let Some(otherwise) = &mut rule.otherwise {
            self.rule(otherwise)?;
        }
        Ok(())
    }

    pub(crate) fn query(&mut self, body: &mut Body) {
        self.hidden.push(declared(body));
        self.body(body);
        self.hidden.clear();
    }

    fn body(&mut self, body: &mut Body) {
        body.iter_mut().for_each(|expr| self.expr(expr));
    }

    fn expr(&mut self, expr: &mut Expr) {
        match &mut expr.kind {
            ExprKind::Term(term) => self.term(term),
            ExprKind::Call(call) => self.call(call),
            ExprKind::Some(_) => {}
            ExprKind::SomeIn { key, value, domain } => {
                key.iter_mut().chain([value, domain]).for_each(|term| self.term(term));
            }
            ExprKind::Every { key, value, domain, body } => {
                self.hidden.push(key.iter().chain([&*value]).map(|(name, _)| name.clone()).collect());
                for (name, _) in key.iter_mut().chain([value]) {
                    if name.as_ref() == "_" {
                        *name = self.names.fresh_for("_");
                    }
                }
                self.term(domain);
                self.body(body);
                self.hidden.pop();
            }
        }
        self.with(&mut expr.with);
    }

    fn with(&mut self, with: &mut [With]) {
        for with in with {
            if let Some(path) = with.target.first().and_then(|first| self.global(first)) {
                with.target.splice(0..1, path);
            }
            self.term(&mut with.value);
            let replaces_function = (self.is_function)(&with.target);
            self.function_value(&mut with.value, replaces_function);
        }
    }

    /// A function as the value of a `with` is told from every other term here, while names are still names; and a rule
    /// that replaces a function.
    fn function_value(&self, term: &mut Term, replaces_function: bool) {
        let parts = match &term.kind {
            TermKind::Var(name) => vec![name.clone()],
            TermKind::Ref(parts) => {
                let names = parts.iter().map(|part| match &part.kind {
                    TermKind::Var(name) | TermKind::String(name) => Some(name.clone()),
                    _ => None,
                });
                let Some(names) = names.collect::<Option<Vec<_>>>() else { return };
                names
            }
            _ => return,
        };
        let hidden = parts.first().is_some_and(|first| self.hidden.iter().any(|scope| scope.contains(first)));
        if !hidden && ((self.is_function)(&parts) || replaces_function && (self.is_rule)(&parts)) {
            let function = std::iter::once(Str::from(MOCK)).chain(parts).collect();
            term.kind = TermKind::Call(Box::new(Call { function, args: Vec::new(), loc: term.loc }));
        }
    }

    fn call(&mut self, call: &mut Call) {
        if let Some(path) = call.function.first().and_then(|first| self.global(first)) {
            call.function.splice(0..1, path);
        }
        call.args.iter_mut().for_each(|argument| self.term(argument));
    }

    /// What a name stands for, unless a variable hides it.
    fn global(&self, name: &Str) -> Option<Vec<Str>> {
        let hidden = self.hidden.iter().any(|scope| scope.contains(name));
        if hidden { None } else { self.globals.names.get(name).cloned() }
    }

    fn comprehension(&mut self, heads: &mut [&mut Term], body: &mut Body) {
        self.hidden.push(declared(body));
        heads.iter_mut().for_each(|head| self.term(head));
        self.body(body);
        self.hidden.pop();
    }

    fn term(&mut self, term: &mut Term) {
        let loc = term.loc;
        match &mut term.kind {
            TermKind::Null | TermKind::Bool(_) | TermKind::Number(_) | TermKind::String(_) => {}
            TermKind::Var(name) => {
                if name.as_ref() == "_" {
                    *name = self.names.fresh_for("_");
                } else if let Some(path) = self.global(name) {
                    term.kind = TermKind::Ref(reference(&path, loc));
                }
            }
            TermKind::Ref(parts) => {
                // As in OPA, where names in a template are no rules and imports if it stands in brackets by itself.
                let resolved = |part: &&mut Term| !matches!(part.kind, TermKind::Template(_));
                parts.iter_mut().skip(1).filter(resolved).for_each(|part| self.term(part));
                let Some(first) = parts.first_mut() else { return };
                let path = if let TermKind::Var(name) = &first.kind { self.global(name) } else { None };
                match path {
                    Some(path) => {
                        let loc = first.loc;
                        parts.splice(0..1, reference(&path, loc));
                    }
                    None => self.term(first),
                }
            }
            TermKind::Array(items) | TermKind::Set(items) => {
                items.iter_mut().for_each(|item| self.term(item));
            }
            TermKind::Object(members) => {
                last_of_equal_keys(members);
                for (key, value) in members {
                    self.term(key);
                    self.term(value);
                }
            }
            TermKind::ArrayComprehension(head, body) | TermKind::SetComprehension(head, body) => {
                self.comprehension(&mut [head], body);
            }
            TermKind::ObjectComprehension(key, value, body) => self.comprehension(&mut [key, value], body),
            TermKind::Call(call) => self.call(call),
            TermKind::Template(parts) => {
                for part in parts {
                    match part {
                        TemplatePart::Text(_) => {}
                        TemplatePart::Term(term) => self.term(term),
                        TemplatePart::With(term, with) => {
                            self.term(term);
                            self.with(with);
                        }
                    }
                }
            }
        }
    }
}

/// Of equal keys the last one counts, and the values of the others are no part of the policy.
fn last_of_equal_keys(members: &mut Vec<(Term, Term)>) {
    let mut constants = BTreeSet::new();
    let mut others: Vec<Term> = Vec::new();
    let mut kept: Vec<(Term, Term)> = Vec::with_capacity(members.len());
    for (key, value) in std::mem::take(members).into_iter().rev() {
        let first = match super::tree::constant(&key) {
            Some(constant) => constants.insert(constant),
            None if others.iter().any(|other| super::lower::same_key(&key, other)) => false,
            None => {
                others.push(key.clone());
                true
            }
        };
        if first {
            kept.push((key, value));
        }
    }
    kept.reverse();
    *members = kept;
}

/// `data.a.b` as the parts of a reference.
pub(crate) fn reference(path: &[Str], loc: Loc) -> Vec<Term> {
    let mut parts = Vec::with_capacity(path.len());
    for (index, name) in path.iter().enumerate() {
        let kind = if index == 0 { TermKind::Var(name.clone()) } else { TermKind::String(name.clone()) };
        parts.push(Term { kind, loc });
    }
    parts
}

/// The variables that a parameter's pattern binds.
fn parameter_vars(term: &Term, vars: &mut BTreeSet<Str>) -> Result<(), CompileError> {
    match &term.kind {
        TermKind::Var(name) if matches!(name.as_ref(), "input" | "data") => Err(CompileError::new(
            term.loc,
            format!("args must not shadow {name} (use a different variable name)"),
        )),
        TermKind::Var(name) => {
            vars.insert(name.clone());
            Ok(())
        }
        TermKind::Array(items) => items.iter().try_for_each(|item| parameter_vars(item, vars)),
        TermKind::Object(members) => members.iter().try_for_each(|(_, value)| parameter_vars(value, vars)),
        _ => Ok(()),
    }
}

/// The variables that a body declares by `:=`, `some` and `some … in`, those of its `every` included.
pub(crate) fn declared(body: &Body) -> BTreeSet<Str> {
    let mut names = BTreeSet::new();
    for expr in body {
        match &expr.kind {
            ExprKind::Call(call) if super::build::is_assignment(call) => {
                if let Some(target) = call.args.first() {
                    super::vars::in_term(target, super::vars::ALL, &mut names);
                }
            }
            ExprKind::Some(vars) => names.extend(vars.iter().map(|(name, _)| name.clone())),
            ExprKind::SomeIn { key, value, .. } => {
                key.iter().chain([value]).for_each(|term| {
                    super::vars::in_term(term, super::vars::ALL, &mut names);
                });
            }
            ExprKind::Every { body, .. } => names.extend(declared(body)),
            ExprKind::Term(_) | ExprKind::Call(_) => {}
        }
    }
    names
}
