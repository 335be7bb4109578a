//! References must lead to something that can be there.
use super::kind::{Known, Type};
use super::scope::{Scope, is_root, json_constant};
use super::tree::{Key, Node};
use super::unify::unifies;
use super::unknowns::{Learn, fits};
use super::{say, signatures};
use crate::ast::{Expr, ExprKind, Str, Term, TermKind};
use crate::compile::CompileError;
use crate::compile::expand::is_scalar;
use crate::compile::resolve::{MOCK, reference};

/// What is wrong with the references of an expression, but for those in comprehensions. Variables in brackets come to be
/// known.
pub(crate) fn check(scope: &mut Scope<'_>, expr: &Expr) -> Vec<CompileError> {
    let mut errors = Vec::new();
    in_expr(scope, expr, &mut errors);
    errors
}

fn in_expr(scope: &mut Scope<'_>, expr: &Expr, errors: &mut Vec<CompileError>) {
    match &expr.kind {
        ExprKind::Term(term) => in_term(scope, term, errors),
        ExprKind::Call(call) => call.args.iter().for_each(|argument| in_term(scope, argument, errors)),
        ExprKind::Every { domain, body, .. } => {
            in_term(scope, domain, errors);
            body.iter().for_each(|expr| in_expr(scope, expr, errors));
            for with in &expr.with {
                in_parts(scope, &reference(&with.target, with.loc), errors);
                in_term(scope, &with.value, errors);
            }
        }
        ExprKind::Some(_) | ExprKind::SomeIn { .. } => {}
    }
}

fn in_term(scope: &mut Scope<'_>, term: &Term, errors: &mut Vec<CompileError>) {
    match &term.kind {
        TermKind::Ref(parts) => in_parts(scope, parts, errors),
        TermKind::Array(items) | TermKind::Set(items) => {
            items.iter().for_each(|item| in_term(scope, item, errors));
        }
        TermKind::Object(members) => {
            for (key, value) in members {
                in_term(scope, key, errors);
                in_term(scope, value, errors);
            }
        }
        TermKind::Call(call) => {
            if let Some((first, name)) = call.function.split_first()
                && first.as_ref() == MOCK
            {
                in_parts(scope, &reference(name, call.loc), errors);
            }
        }
        _ => {}
    }
}

fn in_parts(scope: &mut Scope<'_>, parts: &[Term], errors: &mut Vec<CompileError>) {
    let loc = parts.first().map(|first| first.loc).unwrap_or_default();
    if let Some(Type::Function(_)) = scope.reference(parts) {
        errors.push(CompileError::of_type(loc, say::not_called(parts)));
        return;
    }
    if let Err(what) = (Walk { parts }).check(scope) {
        errors.push(CompileError::of_type(loc, what));
    }
    parts.iter().for_each(|part| in_term(scope, part, errors));
}

/// Where a walk through a tree comes to.
enum End {
    /// The tree has nothing of this name: what is outside of it is asked.
    Outside,
    /// A type stands here, and the rest of the reference leads into it.
    Type(Known, usize),
}

/// The way along one reference.
struct Walk<'t> {
    parts: &'t [Term],
}

impl Walk<'_> {
    fn check(&self, scope: &mut Scope<'_>) -> Result<(), String> {
        let Some(Term { kind: TermKind::Var(name), .. }) = self.parts.first() else { return Ok(()) };
        if is_scalar(name) {
            // The equation that it stands in is told: what is in a scalar is equal to nothing. Of what stands in brackets
            // nothing is known.
            return self.through(scope, Some(Type::Any), 1);
        }
        for known in scope.vars_of(name) {
            if known.is_some() {
                return self.through(scope, known, 1);
            }
            if let End::Type(known, index) = self.in_tree(scope, &Node::default())? {
                return self.through(scope, known, index);
            }
        }
        let (key, world) = (Key::Var(name.clone()), scope.world);
        let trees = [&world.rules, signatures::tree()];
        for node in trees.into_iter().filter_map(|tree| tree.children.get(&key)) {
            if let End::Type(known, index) = self.in_tree(scope, node)? {
                return self.through(scope, known, index);
            }
        }
        self.through(scope, Some(Type::Any), usize::from(is_root(name)))
    }

    fn in_tree(&self, scope: &mut Scope<'_>, from: &Node) -> Result<End, String> {
        let mut node = from;
        for (index, part) in self.parts.iter().enumerate().skip(1) {
            if node.value.is_some() {
                return Ok(End::Type(node.value.clone(), index));
            }
            // A rule stands two parts below `data` at least, and packages have names.
            if index <= 2 && !matches!(part.kind, TermKind::Var(_) | TermKind::String(_)) {
                let have = scope.term(part);
                return Err(say::no_key(self.parts, index, &have, &Some(Type::String), &names(node)));
            }
            if let TermKind::Var(name) = &part.kind {
                let keys = node.extent().and_then(|extent| extent.keys());
                self.bracket(scope, (index, name), keys, &|| names(node))?;
            }
            match node.children.get(&Key::of(part)) {
                Some(child) => node = child,
                None => return Ok(End::Outside),
            }
        }
        Ok(End::Type(node.value.clone(), self.parts.len()))
    }

    /// A variable in brackets: what it is must be what can stand there.
    fn bracket(
        &self,
        scope: &mut Scope<'_>,
        (index, name): (usize, &Str),
        keys: Known,
        names: &dyn Fn() -> Vec<String>,
    ) -> Result<(), String> {
        if is_root(name) {
            return Ok(());
        }
        let have = scope.var(name);
        if have.is_none() {
            scope.put(name, keys);
            return Ok(());
        }
        if unifies(&scope.world.meter, &have, &keys) {
            return Ok(());
        }
        Err(say::no_key(self.parts, index, &have, &keys, &names()))
    }

    fn through(&self, scope: &mut Scope<'_>, mut known: Known, from: usize) -> Result<(), String> {
        for (index, part) in self.parts.iter().enumerate().skip(from) {
            let Some(whole) = known else { return Err(say::no_parts(self.parts, index, &known)) };
            scope.world.meter.charge(whole.breadth());
            known = self.part(scope, &whole, index, part)?;
        }
        Ok(())
    }

    /// What a part leads to in a type.
    fn part(&self, scope: &mut Scope<'_>, whole: &Type, index: usize, part: &Term) -> Result<Known, String> {
        let keys = whole.keys();
        if keys.is_none() {
            return Err(say::no_parts(self.parts, index, &Some(whole.clone())));
        }
        let names = || say::names_in(whole);
        match &part.kind {
            TermKind::Var(name) => self.bracket(scope, (index, name), keys, &names)?,
            TermKind::Ref(_) => {
                let have = scope.term(part);
                if have.is_some() && !unifies(&scope.world.meter, &have, &keys) {
                    return Err(say::no_key(self.parts, index, &have, &keys, &names()));
                }
            }
            TermKind::Array(_) | TermKind::Object(_) | TermKind::Set(_) => {
                if !fits(scope, part, &keys, Learn::Once) {
                    let have = scope.term(part);
                    return Err(say::no_key(self.parts, index, &have, &keys, &[]));
                }
            }
            _ => {
                let found = json_constant(part).and_then(|key| whole.select(&key));
                return match found {
                    Some(found) => Ok(Some(found)),
                    None => Err(say::no_key(self.parts, index, &None, &keys, &names())),
                };
            }
        }
        Ok(whole.values())
    }
}

/// The names that stand at a place.
fn names(node: &Node) -> Vec<String> {
    let name = |key: &Key| if let Key::Constant(value) = key { Some(say::part(value)) } else { None };
    node.children.keys().filter_map(name).collect()
}
