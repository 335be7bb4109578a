//! Every variable must get a value. The expressions of a body are put into an order in which each finds its variables
//! bound, by the rules of OPA's compiler: the same policies are refused, and the order, which decides what a negation
//! sees, is the same.
use super::build::{is_assignment, is_equation, is_fresh, name_in_source};
use super::error::CompileError;
use super::vars::{self, PATTERN, SAFETY, Skip, Vars};
use crate::ast::{Body, Call, Expr, ExprKind, Loc, Str, Term, TermKind};
use std::collections::{BTreeMap, BTreeSet};

/// How many arguments the function of a call takes, its output left out.
pub(crate) type Arity<'a> = &'a dyn Fn(&Call) -> Option<usize>;

pub(crate) struct Orderer<'a> {
    arity: Arity<'a>,
    unsafe_vars: BTreeMap<Str, Loc>,
    refused: Option<CompileError>,
}

impl<'a> Orderer<'a> {
    pub(crate) fn new(arity: Arity<'a>) -> Self {
        Self { arity, unsafe_vars: BTreeMap::new(), refused: None }
    }

    /// The first unsafe variable that was found.
    pub(crate) fn finish(self) -> Result<(), CompileError> {
        if let Some(refused) = self.refused {
            return Err(refused);
        }
        let mut found: Vec<_> = self.unsafe_vars.into_iter().collect();
        // What the source has no name for depends on what it has one for.
        found.sort_by_key(|(name, loc)| (is_fresh(name) && !name.contains(' '), *loc));
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
            self.refuse_closures_in_brackets(&expr, &body_vars, globals);
            waiting.push((expr, open));
        }
        let mut ordered: Vec<Expr> = Vec::with_capacity(waiting.len());
        let mut left_over = Vars::new();
        loop {
            let before = ordered.len();
            let mut still = Vec::new();
            for (expr, open) in waiting {
                let outputs = self.outputs(&expr, &safe, &mut left_over);
                let missing = closed_over(&expr, &body_vars, globals);
                let known = |name: &Str| outputs.contains(name) || safe.contains(name);
                // An expression that closes over what it binds itself has no place. Of one that closes over variables
                // OPA looks at those alone.
                let itself = !missing.is_empty() && missing == outputs;
                let waits_for = if missing.is_empty() { &open } else { &missing };
                if itself || !waits_for.iter().all(known) {
                    still.push((expr, open));
                    continue;
                }
                if is_part_of_itself(&expr, &safe) {
                    self.refuse(expr.loc, PART_OF_ITSELF);
                }
                safe.extend(outputs);
                ordered.push(expr);
            }
            waiting = still;
            if ordered.len() == before {
                break;
            }
        }
        self.refuse_too_early(&ordered, &body_vars, globals);
        for (expr, open) in &waiting {
            let missing = closed_over(expr, &body_vars, globals);
            let mut names: Vec<&Str> = open.union(&missing).filter(|name| !safe.contains(*name)).collect();
            if names.is_empty() {
                names.extend(&missing);
            }
            self.note(names.into_iter().cloned(), expr.loc);
            if is_part_of_itself(expr, &safe) {
                self.refuse(expr.loc, PART_OF_ITSELF);
            }
        }
        let mut known = globals.clone();
        for expr in &mut ordered {
            self.nested(expr, &mut known);
            vars::in_expr(expr, SAFETY, &mut known);
        }
        *body = ordered;
    }

    /// OPA takes the variables that a comprehension in brackets closes over for bound by the reference, and leaves out
    /// the expression or evaluates it too early.
    fn refuse_closures_in_brackets(&mut self, expr: &Expr, body_vars: &Vars, globals: &Vars) {
        let mut closed_over = Vars::new();
        match &expr.kind {
            _ if expr.negated => {}
            ExprKind::Term(term) => vars::closures_in_brackets(term, &mut closed_over),
            ExprKind::Call(call) => {
                call.args.iter().for_each(|term| vars::closures_in_brackets(term, &mut closed_over));
            }
            _ => {}
        }
        if closed_over.iter().any(|name| body_vars.contains(name) && !globals.contains(name)) {
            self.refuse(expr.loc, IN_BRACKETS);
        }
    }

    fn refuse(&mut self, loc: Loc, what: &str) {
        self.refused.get_or_insert_with(|| CompileError::new(loc, what));
    }

    /// OPA's order is ours, but not where it evaluates an expression before its variables have values.
    fn refuse_too_early(&mut self, ordered: &[Expr], body_vars: &Vars, globals: &Vars) {
        let mut bound = globals.clone();
        for expr in ordered {
            let outputs = self.outputs(expr, &bound, &mut Vars::new());
            let mut needs = vars::of_expr(expr, SAFETY);
            needs.extend(closed_over(expr, body_vars, globals));
            if !needs.iter().all(|name| outputs.contains(name) || bound.contains(name)) {
                self.refuse(expr.loc, TOO_EARLY);
            }
            bound.extend(outputs);
        }
    }

    /// The variables that an expression gives values to when `safe` have theirs. `left_over` are those that OPA found for
    /// the last call and takes for those of the next equation too, whether the call could be evaluated or not.
    pub(crate) fn outputs(&self, expr: &Expr, safe: &Vars, left_over: &mut Vars) -> Vars {
        if expr.negated {
            return Vars::new();
        }
        for with in &expr.with {
            // Of a reference OPA does not look at what it begins with.
            let mut needed = Vars::new();
            match &with.value.kind {
                TermKind::Ref(parts) => {
                    parts.iter().skip(1).for_each(|part| vars::in_term(part, SAFETY, &mut needed));
                }
                _ => vars::in_term(&with.value, SAFETY, &mut needed),
            }
            if !needed.is_subset(safe) {
                return Vars::new();
            }
        }
        match &expr.kind {
            ExprKind::Term(term) => {
                let mut outputs = Vars::new();
                ref_outputs(term, safe, &mut outputs);
                outputs
            }
            ExprKind::Call(call) if is_equation(call) => {
                outputs_of_equation(call, safe, &std::mem::take(left_over))
            }
            ExprKind::Call(call) => self.call_outputs(call, safe, left_over),
            ExprKind::Every { domain, .. } => {
                ref_outputs(domain, safe, left_over);
                left_over.clone()
            }
            ExprKind::Some(_) | ExprKind::SomeIn { .. } => Vars::new(),
        }
    }

    fn call_outputs(&self, call: &Call, safe: &Vars, left_over: &mut Vars) -> Vars {
        let Some(arity) = (self.arity)(call) else { return Vars::new() };
        let mut outputs = Vars::new();
        call.args.iter().for_each(|argument| ref_outputs(argument, safe, &mut outputs));
        left_over.clone_from(&outputs);
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
        left_over.clone_from(&outputs);
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

const TOO_EARLY: &str = "OPA evaluates this before all of its variables have values: write what gives them their values \
                         before it";
const IN_BRACKETS: &str = "a comprehension in brackets uses variables of the body around it, which OPA takes for bound by \
                           the reference: give it a name before (`name := [… | …]`)";
const PART_OF_ITSELF: &str =
    "the variable is to be a part of itself: nothing gives it a value, and OPA finds one";

/// Whether a variable that has no value yet is to be equal to what it is a part of.
fn is_part_of_itself(expr: &Expr, safe: &Vars) -> bool {
    match &expr.kind {
        ExprKind::Call(call) if is_equation(call) && !expr.negated => match call.args.as_slice() {
            [left, right] => holds_itself(left, right, safe),
            _ => false,
        },
        _ => false,
    }
}

fn holds_itself(a: &Term, b: &Term, safe: &Vars) -> bool {
    use TermKind::{Array, Object, Set, Var};
    match (&a.kind, &b.kind) {
        (Var(name), Array(_) | Object(_) | Set(_)) => {
            !safe.contains(name) && vars::of_term(b, SAFETY).contains(name)
        }
        (Array(_) | Object(_) | Set(_), Var(_)) => holds_itself(b, a, safe),
        (Array(left), Array(right)) if left.len() == right.len() => {
            left.iter().zip(right).any(|(a, b)| holds_itself(a, b, safe))
        }
        (Object(left), Object(right)) => left.iter().any(|(key, value)| {
            let other = right.iter().find(|(other, _)| super::lower::same_key(key, other));
            other.is_some_and(|(_, other)| holds_itself(value, other, safe))
        }),
        _ => false,
    }
}

/// The variables of the body that comprehensions and bodies of `every` in an expression use.
fn closed_over(expr: &Expr, body_vars: &Vars, globals: &Vars) -> Vars {
    let mut names = Vars::new();
    vars::closures_of_expr(expr, &mut names);
    names.retain(|name| body_vars.contains(name) && !globals.contains(name));
    names
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
    if !matches!(term.kind, TermKind::Template(_)) {
        vars::each_child(term, &mut |child| ref_outputs(child, safe, outputs));
    }
}

const ALL_BUT_CLOSURES: Skip = Skip { closures: true, sets: false, object_keys: false, ref_head: true };

fn is_ref_safe(parts: &[Term], safe: &Vars) -> bool {
    match parts.first().map(|first| &first.kind) {
        Some(TermKind::Var(name)) => safe.contains(name),
        Some(_) => parts.first().is_some_and(|first| vars::of_term(first, SAFETY).is_subset(safe)),
        None => true,
    }
}

pub(crate) fn outputs_of_equation(call: &Call, safe: &Vars, left_over: &Vars) -> Vars {
    let [left, right] = call.args.as_slice() else { return Vars::new() };
    let mut found = left_over.clone();
    ref_outputs(left, safe, &mut found);
    ref_outputs(right, safe, &mut found);
    // What is assigned is output alone: it makes nothing on the right safe.
    let assigned = if is_assignment(call) { vars::of_term(left, vars::ALL) } else { Vars::new() };
    found.retain(|name| !assigned.contains(name));
    let mut unifier =
        Unifier { safe, found: &found, assigned: &assigned, unified: Vars::new(), unknown: BTreeMap::new() };
    unifier.unify(left, right);
    let unified = unifier.unified;
    found.extend(unified);
    found.retain(|name| !safe.contains(name));
    found
}

/// Finds the variables that an equation binds.
struct Unifier<'a> {
    /// What is safe before, but for what is assigned.
    safe: &'a Vars,
    assigned: &'a Vars,
    /// What references in the equation bind.
    found: &'a Vars,
    unified: Vars,
    unknown: BTreeMap<Str, Vars>,
}

impl Unifier<'_> {
    fn was_safe(&self, name: &Str) -> bool {
        self.found.contains(name) || self.safe.contains(name) && !self.assigned.contains(name)
    }

    fn is_safe(&self, name: &Str) -> bool {
        self.was_safe(name) || self.unified.contains(name)
    }

    fn unify(&mut self, a: &Term, b: &Term) {
        use TermKind::{Array, Call, Object, Ref, Var};
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
            (Var(name), Ref(_) | Call(_)) if self.can_be_found(b) => self.mark(name),
            (Ref(_) | Call(_), Var(name)) if self.can_be_found(a) => self.mark(name),
            (Var(_), Ref(_) | Call(_)) | (Ref(_) | Call(_), Var(_)) => {}
            (Var(name), _) | (_, Var(name)) => self.mark(name),
            (Ref(_) | Call(_), Array(_) | Object(_)) if self.can_be_found(a) => self.mark_all(b),
            (Array(_) | Object(_), Ref(_) | Call(_)) if self.can_be_found(b) => self.mark_all(a),
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

    /// Whether a reference or a call can be evaluated.
    fn can_be_found(&self, term: &Term) -> bool {
        match &term.kind {
            TermKind::Ref(parts) => match parts.first() {
                Some(first) => vars::of_term(first, SAFETY).iter().all(|name| self.was_safe(name)),
                None => true,
            },
            _ => vars::of_term(term, SAFETY).iter().all(|name| self.was_safe(name)),
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
