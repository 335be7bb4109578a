//! Declared variables get names of their own, so that a name means one thing in a whole rule; `some x in xs` becomes
//! an equation.
use super::build::{Names, call, is_assignment, is_fresh};
use super::error::CompileError;
use super::{safety, vars};
use crate::ast::{Body, Call, Expr, ExprKind, Loc, Rule, Str, TemplatePart, Term, TermKind, Version, With};
use std::collections::BTreeMap;

/// How a name came to be known in a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Parameter,
    Referenced,
    Assigned,
    Declared,
}

#[derive(Debug, Default)]
struct Scope {
    names: BTreeMap<Str, (Str, Seen)>,
}

pub(crate) struct Locals<'a> {
    names: &'a mut Names,
    scopes: Vec<Scope>,
    version: Version,
}

type Done = Result<(), CompileError>;

impl<'a> Locals<'a> {
    pub(crate) fn new(names: &'a mut Names, version: Version) -> Self {
        Self { names, scopes: Vec::new(), version }
    }

    pub(crate) fn rule(&mut self, rule: &mut Rule) -> Done {
        self.scopes = vec![Scope::default()];
        for parameter in rule.head.args.iter_mut().flatten() {
            self.parameter(parameter)?;
        }
        self.name_like_builtins(rule);
        self.body(&mut rule.body)?;
        for term in rule.head.reference.iter_mut().skip(1) {
            self.term(term)?;
        }
        for term in rule.head.key.iter_mut().chain(rule.head.value.iter_mut()) {
            self.term(term)?;
        }
        self.unused_in_rule(rule)?;
        if let Some(otherwise) = &mut rule.otherwise {
            self.rule(otherwise)?;
        }
        Ok(())
    }

    /// A variable of the body with the name of a builtin gets a name of its own, so that nobody takes it for the function.
    /// What a `with` mentions stays: it may be the function.
    fn name_like_builtins(&mut self, rule: &Rule) {
        let mut kept = super::resolve::declared(&rule.body);
        for with in rule.body.iter().flat_map(|expr| &expr.with) {
            kept.extend(with.target.first().cloned());
            vars::in_term(&with.value, vars::ALL, &mut kept);
        }
        for name in vars::of_body(&rule.body, vars::SAFETY) {
            if super::types::is_builtin(&name) && !kept.contains(&name) && self.declared(&name).is_none() {
                self.insert(name, Seen::Referenced);
            }
        }
    }

    /// A `some x` of the rule's own scope must be used in the body or the head.
    fn unused_in_rule(&self, rule: &Rule) -> Done {
        let mut used = vars::of_body(&rule.body, vars::ALL);
        let heads = rule.head.reference.iter().skip(1).chain(&rule.head.key).chain(&rule.head.value);
        heads.for_each(|term| vars::in_term(term, vars::ALL, &mut used));
        self.unused(&used, rule.loc)
    }

    fn unused(&self, used: &vars::Vars, loc: Loc) -> Done {
        let scope = self.scopes.last().map(|scope| &scope.names);
        for (name, (fresh, seen)) in scope.into_iter().flatten() {
            if *seen == Seen::Declared && !used.contains(fresh) && !is_fresh(name) {
                return Err(CompileError::new(loc, format!("declared var {name} unused")));
            }
        }
        Ok(())
    }

    pub(crate) fn query(&mut self, body: &mut Body) -> Result<BTreeMap<Str, Str>, CompileError> {
        self.scopes = vec![Scope::default()];
        self.body(body)?;
        let names = self.scopes.pop().unwrap_or_default().names;
        Ok(names.into_iter().map(|(name, (fresh, _))| (fresh, name)).collect())
    }

    fn parameter(&mut self, term: &mut Term) -> Done {
        match &mut term.kind {
            TermKind::Var(name) => {
                let known = self.scopes.last().and_then(|scope| scope.names.get(name)).cloned();
                *name = match known {
                    Some((fresh, _)) => fresh,
                    None => self.insert(name.clone(), Seen::Parameter),
                };
                Ok(())
            }
            TermKind::Array(items) => items.iter_mut().try_for_each(|item| self.parameter(item)),
            TermKind::Object(members) => members.iter_mut().try_for_each(|(_, value)| self.parameter(value)),
            _ => Ok(()),
        }
    }

    fn insert(&mut self, name: Str, seen: Seen) -> Str {
        let fresh = self.names.fresh_for(&name);
        if let Some(scope) = self.scopes.last_mut() {
            scope.names.insert(name, (fresh.clone(), seen));
        }
        fresh
    }

    fn declare(&mut self, name: &Str, seen: Seen, loc: Loc) -> Result<Str, CompileError> {
        let known = self.scopes.last().and_then(|scope| scope.names.get(name)).map(|(_, seen)| *seen);
        let how = match known {
            None => return Ok(self.insert(name.clone(), seen)),
            Some(Seen::Parameter) => format!("arg {name} redeclared"),
            Some(Seen::Referenced) => format!("var {name} referenced above"),
            Some(Seen::Assigned) => format!("var {name} assigned above"),
            Some(Seen::Declared) => format!("var {name} declared above"),
        };
        Err(CompileError::new(loc, how))
    }

    /// The fresh name of a declared variable of this scope or one around it.
    fn declared(&self, name: &Str) -> Option<Str> {
        let found = self.scopes.iter().rev().find_map(|scope| scope.names.get(name));
        found.map(|(fresh, _)| fresh.clone())
    }

    fn refer(&mut self, name: &mut Str) {
        if is_fresh(name) {
            return;
        }
        match self.declared(name) {
            Some(fresh) => *name = fresh,
            None => {
                if let Some(scope) = self.scopes.last_mut() {
                    scope.names.entry(name.clone()).or_insert_with(|| (name.clone(), Seen::Referenced));
                }
            }
        }
    }

    fn body(&mut self, body: &mut Body) -> Done {
        let mut kept = Vec::with_capacity(body.len());
        for mut expr in std::mem::take(body) {
            if self.expr(&mut expr)? {
                kept.push(expr);
            }
        }
        if kept.is_empty() {
            let kind = ExprKind::Term(Term { kind: TermKind::Bool(true), loc: Loc::default() });
            kept.push(Expr { kind, negated: false, with: Vec::new(), loc: Loc::default() });
        }
        *body = kept;
        Ok(())
    }

    /// Whether the expression stays.
    fn expr(&mut self, expr: &mut Expr) -> Result<bool, CompileError> {
        let loc = expr.loc;
        match &mut expr.kind {
            ExprKind::Some(names) => {
                for (name, loc) in names.iter() {
                    self.declare(name, Seen::Declared, *loc)?;
                }
                return Ok(false);
            }
            ExprKind::SomeIn { key, value, domain } => {
                let equation = self.some_in(key.take(), value.clone(), domain.clone(), loc)?;
                expr.kind = ExprKind::Call(equation);
                if let ExprKind::Call(call) = &mut expr.kind {
                    call.args.iter_mut().try_for_each(|term| self.term(term))?;
                }
            }
            ExprKind::Every { key, value, domain, body } => {
                self.term(domain)?;
                self.scopes.push(Scope::default());
                for (name, loc) in key.iter_mut().chain([value]) {
                    if !is_fresh(name) {
                        *name = self.declare(name, Seen::Declared, *loc)?;
                    }
                }
                if key.is_none() {
                    *key = Some((self.names.fresh(), loc));
                }
                self.body(body)?;
                self.unused(&vars::of_body(body, vars::ALL), loc)?;
                self.rename(domain);
                self.rename_in_body(body);
                expr.with.iter_mut().try_for_each(|with| self.term(&mut with.value))?;
                self.scopes.pop();
                return Ok(true);
            }
            ExprKind::Call(call) if is_assignment(call) => {
                if expr.negated {
                    return Err(CompileError::new(loc, "cannot assign vars inside negated expression"));
                }
                if let [target, value] = call.args.as_mut_slice() {
                    self.refuse_shadowing(target)?;
                    self.term(value)?;
                    for with in &mut expr.with {
                        self.term(&mut with.value)?;
                    }
                    self.target(target)?;
                }
                return Ok(true);
            }
            ExprKind::Call(call) => self.call(call)?,
            ExprKind::Term(term) => self.term(term)?,
        }
        for with in &mut expr.with {
            self.term(&mut with.value)?;
        }
        Ok(true)
    }

    /// `some k, v in xs` is `v = xs[k]`, in which what can get a value is declared.
    fn some_in(
        &mut self,
        key: Option<Term>,
        value: Term,
        domain: Term,
        loc: Loc,
    ) -> Result<Call, CompileError> {
        let key = key.unwrap_or_else(|| super::build::var(&self.names.fresh(), loc));
        let known = vars::of_term(&domain, vars::ALL);
        let parts = match domain.kind {
            TermKind::Ref(mut parts) => {
                parts.push(key);
                parts
            }
            kind => vec![Term { kind, loc: domain.loc }, key],
        };
        let mut equation = call("eq", vec![value, Term { kind: TermKind::Ref(parts), loc }], loc);
        for name in safety::outputs_of_equation(&equation, &known, &vars::Vars::new()) {
            if !is_fresh(&name) {
                self.declare(&name, Seen::Declared, loc)?;
            }
        }
        equation.loc = loc;
        Ok(equation)
    }

    fn refuse_shadowing(&self, target: &Term) -> Done {
        match &target.kind {
            TermKind::Var(name)
                if self.version == Version::V1 && matches!(name.as_ref(), "input" | "data") =>
            {
                let what = format!("variables must not shadow {name} (use a different variable name)");
                Err(CompileError::new(target.loc, what))
            }
            _ => Ok(()),
        }
    }

    /// The left side of `:=`.
    fn target(&mut self, term: &mut Term) -> Done {
        let loc = term.loc;
        match &mut term.kind {
            TermKind::Var(name) => {
                if !is_fresh(name) {
                    *name = self.declare(name, Seen::Assigned, loc)?;
                }
                Ok(())
            }
            TermKind::Array(items) => items.iter_mut().try_for_each(|item| self.target(item)),
            TermKind::Object(members) => members.iter_mut().try_for_each(|(_, value)| self.target(value)),
            kind => Err(CompileError::new(loc, format!("cannot assign to {}", kind_name(kind)))),
        }
    }

    fn call(&mut self, call: &mut Call) -> Done {
        if let Some(first) = call.function.first()
            && let Some(fresh) = self.declared(first)
            && fresh != *first
        {
            let name = call.function.join(".");
            return Err(CompileError::new(call.loc, format!("called function {name} shadowed")));
        }
        call.args.iter_mut().try_for_each(|term| self.term(term))
    }

    fn comprehension(&mut self, heads: &mut [&mut Term], body: &mut Body, loc: Loc) -> Done {
        self.scopes.push(Scope::default());
        self.body(body)?;
        heads.iter_mut().try_for_each(|head| self.term(head))?;
        let mut used = vars::of_body(body, vars::ALL);
        heads.iter().for_each(|head| vars::in_term(head, vars::ALL, &mut used));
        self.unused(&used, loc)?;
        self.scopes.pop();
        Ok(())
    }

    fn term(&mut self, term: &mut Term) -> Done {
        let loc = term.loc;
        match &mut term.kind {
            TermKind::Null | TermKind::Bool(_) | TermKind::Number(_) | TermKind::String(_) => Ok(()),
            TermKind::Var(name) => {
                if !matches!(name.as_ref(), "input" | "data") || self.shadowed(name) {
                    self.refer(name);
                }
                Ok(())
            }
            TermKind::Ref(items) | TermKind::Array(items) | TermKind::Set(items) => {
                items.iter_mut().try_for_each(|item| self.term(item))
            }
            TermKind::Object(members) => members.iter_mut().try_for_each(|(key, value)| {
                self.term(key)?;
                self.term(value)
            }),
            TermKind::ArrayComprehension(head, body) | TermKind::SetComprehension(head, body) => {
                self.comprehension(&mut [head], body, loc)
            }
            TermKind::ObjectComprehension(key, value, body) => {
                self.comprehension(&mut [key, value], body, loc)
            }
            TermKind::Call(call) => self.call(call),
            TermKind::Template(parts) => parts.iter_mut().try_for_each(|part| match part {
                TemplatePart::Text(_) => Ok(()),
                TemplatePart::Term(term) => self.template_term(term, &mut []),
                TemplatePart::With(term, with) => self.template_term(term, with),
            }),
        }
    }

    fn template_term(&mut self, term: &mut Term, with: &mut [With]) -> Done {
        self.scopes.push(Scope::default());
        self.term(term)?;
        with.iter_mut().try_for_each(|with| self.term(&mut with.value))?;
        self.scopes.pop();
        Ok(())
    }

    /// OPA goes through an `every` once more when it knows what its body declares: what a comprehension in it, or the
    /// domain, calls as something that is declared after it is that to OPA, and mostly unsafe for that reason.
    fn rename_in_body(&self, body: &mut Body) {
        for expr in body {
            match &mut expr.kind {
                ExprKind::Term(term) => self.rename(term),
                ExprKind::Call(call) => call.args.iter_mut().for_each(|term| self.rename(term)),
                ExprKind::Every { domain, body, .. } => {
                    self.rename(domain);
                    self.rename_in_body(body);
                }
                ExprKind::Some(_) | ExprKind::SomeIn { .. } => {}
            }
            expr.with.iter_mut().for_each(|with| self.rename(&mut with.value));
        }
    }

    fn rename(&self, term: &mut Term) {
        match &mut term.kind {
            TermKind::Null | TermKind::Bool(_) | TermKind::Number(_) | TermKind::String(_) => {}
            TermKind::Var(name) => {
                if let (false, Some(declared)) = (is_fresh(name), self.declared(name)) {
                    *name = declared;
                }
            }
            TermKind::Ref(items) | TermKind::Array(items) | TermKind::Set(items) => {
                items.iter_mut().for_each(|item| self.rename(item));
            }
            TermKind::Object(members) => {
                for (key, value) in members {
                    self.rename(key);
                    self.rename(value);
                }
            }
            TermKind::ArrayComprehension(head, body) | TermKind::SetComprehension(head, body) => {
                self.rename(head);
                self.rename_in_body(body);
            }
            TermKind::ObjectComprehension(key, value, body) => {
                self.rename(key);
                self.rename(value);
                self.rename_in_body(body);
            }
            TermKind::Call(call) => call.args.iter_mut().for_each(|term| self.rename(term)),
            TermKind::Template(parts) => {
                for part in parts {
                    match part {
                        TemplatePart::Text(_) => {}
                        TemplatePart::Term(term) => self.rename(term),
                        TemplatePart::With(term, with) => {
                            self.rename(term);
                            with.iter_mut().for_each(|with| self.rename(&mut with.value));
                        }
                    }
                }
            }
        }
    }

    /// Whether a variable of the rule hides `input` or `data`.
    fn shadowed(&self, name: &Str) -> bool {
        self.scopes
            .iter()
            .any(|scope| matches!(scope.names.get(name), Some((_, seen)) if *seen != Seen::Referenced))
    }
}

fn kind_name(kind: &TermKind) -> &'static str {
    match kind {
        TermKind::Null => "null",
        TermKind::Bool(_) => "boolean",
        TermKind::Number(_) => "number",
        TermKind::String(_) => "string",
        TermKind::Var(_) => "var",
        TermKind::Ref(_) => "ref",
        TermKind::Array(_) => "array",
        TermKind::Object(_) => "object",
        TermKind::Set(_) => "set",
        TermKind::ArrayComprehension(..) => "arraycomprehension",
        TermKind::SetComprehension(..) => "setcomprehension",
        TermKind::ObjectComprehension(..) => "objectcomprehension",
        TermKind::Call(_) => "call",
        TermKind::Template(_) => "templatestring",
    }
}
