//! Every variable must get a value. The expressions of a body are put into an order in which each finds its variables
//! bound, by the rules of OPA's compiler: the same policies are refused, and the order, which decides what a negation
//! sees, is the same.
use super::build::{is_assignment, is_equation, name_in_source};
use super::error::CompileError;
use super::vars::{self, PATTERN, SAFETY, Skip, Vars};
use crate::ast::{Body, Call, Expr, ExprKind, Loc, Str, Term, TermKind};
use std::collections::{BTreeMap, BTreeSet};

/// How many arguments the function of a call takes, its output left out.
pub(crate) type Arity<'a> = &'a dyn Fn(&Call) -> Option<usize>;

pub(crate) struct Orderer<'a> {
    arity: Arity<'a>,
    unsafe_vars: BTreeMap<Str, Loc>,
}

impl<'a> Orderer<'a> {
    pub(crate) fn new(arity: Arity<'a>) -> Self {
        Self { arity, unsafe_vars: BTreeMap::new() }
    }

    /// The first unsafe variable that was found.
    pub(crate) fn finish(self) -> Result<(), CompileError> {
        let mut found: Vec<_> = self.unsafe_vars.into_iter().collect();
        found.sort_by_key(|(_, loc)| *loc);
        match found.first() {
            Some((name, loc)) => Err(CompileError::unsafe_var(*loc, name_in_source(name).unwrap_or("_"))),
            None => Ok(()),
        }
    }

    pub(crate) fn note(&mut self, names: impl IntoIterator<Item = Str>, loc: Loc) {
        for name in names {
            self.unsafe_vars.entry(name).or_insert(loc);
        }
    }

    /// Orders a body and everything nested in it. `globals` are bound before.
    pub(crate) fn order(&mut self, body: &mut Body, globals: &Vars) {
        let body_vars = vars::of_body(body, SAFETY);
        let mut safe: Vars = body_vars.intersection(globals).cloned().collect();
        let mut waiting: Vec<(Expr, Vars)> = Vec::with_capacity(body.len());
        for expr in std::mem::take(body) {
            let open = vars::of_expr(&expr, SAFETY).into_iter().filter(|name| !safe.contains(name)).collect();
            waiting.push((expr, open));
        }
        let mut ordered: Vec<Expr> = Vec::with_capacity(waiting.len());
        loop {
            let before = ordered.len();
            let mut still = Vec::new();
            for (expr, mut open) in waiting {
                let outputs = self.outputs(&expr, &safe);
                let mut closed_over = Vars::new();
                vars::closures_of_expr(&expr, &mut closed_over);
                let missing: Vars = closed_over
                    .into_iter()
                    .filter(|name| body_vars.contains(name) && !globals.contains(name))
                    .collect();
                if !missing.is_empty() {
                    if missing == outputs {
                        // The expression closes over what it binds itself.
                        still.push((expr, open));
                        continue;
                    }
                    open = missing;
                }
                open.retain(|name| !outputs.contains(name) && !safe.contains(name));
                if open.is_empty() {
                    safe.extend(outputs);
                    ordered.push(expr);
                } else {
                    still.push((expr, open));
                }
            }
            waiting = still;
            if ordered.len() == before {
                break;
            }
        }
        for (expr, open) in &waiting {
            self.note(open.iter().cloned(), expr.loc);
        }
        let mut known = globals.clone();
        for expr in &mut ordered {
            self.nested(expr, &mut known);
            vars::in_expr(expr, SAFETY, &mut known);
        }
        *body = ordered;
    }

    /// The variables that an expression gives values to when `safe` have theirs.
    pub(crate) fn outputs(&self, expr: &Expr, safe: &Vars) -> Vars {
        if expr.negated {
            return Vars::new();
        }
        for with in &expr.with {
            if !vars::of_term(&with.value, SAFETY).is_subset(safe) {
                return Vars::new();
            }
        }
        match &expr.kind {
            ExprKind::Term(term) => {
                let mut outputs = Vars::new();
                ref_outputs(term, safe, &mut outputs);
                outputs
            }
            ExprKind::Call(call) if is_equation(call) => outputs_of_equation(call, safe),
            ExprKind::Call(call) => self.call_outputs(call, safe),
            ExprKind::Every { domain, .. } => {
                let mut outputs = Vars::new();
                ref_outputs(domain, safe, &mut outputs);
                outputs
            }
            ExprKind::Some(_) | ExprKind::SomeIn { .. } => Vars::new(),
        }
    }

    fn call_outputs(&self, call: &Call, safe: &Vars) -> Vars {
        let Some(arity) = (self.arity)(call) else { return Vars::new() };
        let mut outputs = Vars::new();
        call.args.iter().for_each(|argument| ref_outputs(argument, safe, &mut outputs));
        if arity >= call.args.len() {
            return outputs;
        }
        let skip = Skip { sets: true, ..PATTERN };
        let (inputs, rest) = call.args.split_at(arity.min(call.args.len()));
        let mut needed = Vars::new();
        inputs.iter().for_each(|argument| vars::in_term(argument, skip, &mut needed));
        if needed.iter().any(|name| !outputs.contains(name) && !safe.contains(name)) {
            return Vars::new();
        }
        rest.iter().for_each(|argument| vars::in_term(argument, skip, &mut outputs));
        outputs
    }

    fn nested(&mut self, expr: &mut Expr, known: &mut Vars) {
        let loc = expr.loc;
        match &mut expr.kind {
            ExprKind::Term(term) => self.nested_term(term, known),
            ExprKind::Call(call) => call.args.iter_mut().for_each(|term| self.nested_term(term, known)),
            ExprKind::Every { key, value, body, .. } => {
                let mut inner = known.clone();
                inner.extend(key.iter().chain([&*value]).map(|(name, _)| name.clone()));
                self.closure(&[], body, &inner, loc);
            }
            ExprKind::Some(_) | ExprKind::SomeIn { .. } => {}
        }
        for with in &mut expr.with {
            self.nested_term(&mut with.value, known);
        }
    }

    pub(crate) fn nested_term(&mut self, term: &mut Term, known: &Vars) {
        let loc = term.loc;
        match &mut term.kind {
            TermKind::ArrayComprehension(head, body) | TermKind::SetComprehension(head, body) => {
                self.closure(&[head], body, known, loc);
            }
            TermKind::ObjectComprehension(key, value, body) => {
                self.closure(&[key, value], body, known, loc);
            }
            TermKind::Ref(items) | TermKind::Array(items) | TermKind::Set(items) => {
                items.iter_mut().for_each(|item| self.nested_term(item, known));
            }
            TermKind::Object(members) => {
                for (key, value) in members {
                    self.nested_term(key, known);
                    self.nested_term(value, known);
                }
            }
            _ => {}
        }
    }

    fn closure(&mut self, heads: &[&Term], body: &mut Body, known: &Vars, loc: Loc) {
        let inside = vars::of_body(body, SAFETY);
        for head in heads {
            let missing = vars::of_term(head, vars::ALL)
                .into_iter()
                .filter(|name| !inside.contains(name) && !known.contains(name));
            self.note(missing.collect::<BTreeSet<_>>(), loc);
        }
        self.order(body, known);
    }
}

/// What references in a term bind by going through what they lead to.
fn ref_outputs(term: &Term, safe: &Vars, outputs: &mut Vars) {
    if let TermKind::Ref(parts) = &term.kind {
        if !is_ref_safe(parts, safe) {
            return;
        }
        for part in parts.iter().skip(1) {
            vars::in_term(part, ALL_BUT_CLOSURES, outputs);
        }
    }
    vars::each_child(term, &mut |child| ref_outputs(child, safe, outputs));
}

const ALL_BUT_CLOSURES: Skip = Skip { closures: true, sets: false, object_keys: false, ref_head: true };

fn is_ref_safe(parts: &[Term], safe: &Vars) -> bool {
    match parts.first().map(|first| &first.kind) {
        Some(TermKind::Var(name)) => safe.contains(name),
        Some(_) => parts.first().is_some_and(|first| vars::of_term(first, SAFETY).is_subset(safe)),
        None => true,
    }
}

pub(crate) fn outputs_of_equation(call: &Call, safe: &Vars) -> Vars {
    let [left, right] = call.args.as_slice() else { return Vars::new() };
    let mut known = Vars::new();
    ref_outputs(left, safe, &mut known);
    ref_outputs(right, safe, &mut known);
    known.extend(safe.iter().cloned());
    if is_assignment(call) {
        // What is assigned is output alone: it makes nothing on the right safe.
        for name in vars::of_term(left, vars::ALL) {
            known.remove(&name);
        }
    }
    let mut unifier = Unifier { safe: &known, unified: Vars::new(), unknown: BTreeMap::new() };
    unifier.unify(left, right);
    let unified = unifier.unified;
    known.extend(unified);
    known.into_iter().filter(|name| !safe.contains(name)).collect()
}

/// Finds the variables that an equation binds.
struct Unifier<'a> {
    safe: &'a Vars,
    unified: Vars,
    unknown: BTreeMap<Str, Vars>,
}

impl Unifier<'_> {
    fn is_safe(&self, name: &Str) -> bool {
        self.safe.contains(name) || self.unified.contains(name)
    }

    fn unify(&mut self, a: &Term, b: &Term) {
        use TermKind::{Array, Object, Ref, Var};
        match (&a.kind, &b.kind) {
            (Var(left), Var(right)) => {
                if self.is_safe(right) {
                    self.mark(left);
                } else if self.is_safe(left) {
                    self.mark(right);
                } else {
                    self.unknown.entry(left.clone()).or_default().insert(right.clone());
                    self.unknown.entry(right.clone()).or_default().insert(left.clone());
                }
            }
            (Var(name), Array(_) | Object(_)) => self.unify_all(name, b),
            (Array(_) | Object(_), Var(name)) => self.unify_all(name, a),
            (Var(name), Ref(parts)) | (Ref(parts), Var(name)) if is_ref_safe(parts, self.safe) => {
                self.mark(name);
            }
            (Var(_), Ref(_)) | (Ref(_), Var(_)) => {}
            (Var(name), _) | (_, Var(name)) => self.mark(name),
            (Ref(parts), Array(_) | Object(_)) if is_ref_safe(parts, self.safe) => self.mark_all(b),
            (Array(_) | Object(_), Ref(parts)) if is_ref_safe(parts, self.safe) => self.mark_all(a),
            (TermKind::ArrayComprehension(..), Array(_)) | (TermKind::ObjectComprehension(..), Object(_)) => {
                self.mark_all(b);
            }
            (
                Array(_),
                TermKind::ArrayComprehension(..)
                | TermKind::ObjectComprehension(..)
                | TermKind::SetComprehension(..),
            ) => self.mark_all(a),
            (Array(left), Array(right)) if left.len() == right.len() => {
                left.iter().zip(right).for_each(|(a, b)| self.unify(a, b));
            }
            (Object(left), Object(right)) if left.len() == right.len() => {
                for (key, value) in left {
                    let other = right.iter().find(|(other, _)| super::lower::same_key(key, other));
                    if let Some((_, other)) = other {
                        self.unify(value, other);
                    }
                }
            }
            _ => {}
        }
    }

    fn mark_all(&mut self, term: &Term) {
        for name in vars::of_term(term, PATTERN) {
            self.mark(&name);
        }
    }

    fn mark(&mut self, name: &Str) {
        if !self.unified.insert(name.clone()) && !self.unknown.contains_key(name) {
            return;
        }
        for other in self.unknown.remove(name).unwrap_or_default() {
            self.mark(&other);
        }
        let mut free = Vec::new();
        for (other, needs) in &mut self.unknown {
            if needs.remove(name) && needs.is_empty() {
                free.push(other.clone());
            }
        }
        for other in free {
            self.mark(&other);
        }
    }

    fn unify_all(&mut self, name: &Str, term: &Term) {
        if self.is_safe(name) {
            self.mark_all(term);
            return;
        }
        let open: Vec<Str> =
            vars::of_term(term, PATTERN).into_iter().filter(|other| !self.is_safe(other)).collect();
        if open.is_empty() {
            self.mark(name);
        } else {
            self.unknown.entry(name.clone()).or_default().extend(open);
        }
    }
}
