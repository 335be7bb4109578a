//! What is known where an expression stands: the variables of its body and of the bodies around it, then the rules, then
//! the builtins.
use super::kind::{Known, Type, or};
use super::meter::Meter;
use super::tree::{Key, Node, json_form, select};
use super::{body, signatures};
use crate::Value;
use crate::ast::{Body, Call, Str, Term, TermKind};
use crate::compile::CompileError;
use crate::compile::resolve::{MOCK, reference};
use crate::compile::tree::constant;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

/// What holds for the whole set.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) rules: Node,
    pub(crate) meter: Meter,
    /// The moments at which scopes were changed, counted.
    moments: Cell<u64>,
    /// What was found out about comprehensions: by their place in memory, and by the moment of the last change around
    /// them.
    closures: RefCell<HashMap<(*const Term, u64), Rc<Closure>>>,
}

/// How many steps of the meter it is to begin with a comprehension.
const CLOSURE: usize = 8;

/// What was found out about a comprehension.
#[derive(Debug)]
pub(crate) struct Closure {
    pub(crate) known: Known,
    pub(crate) errors: Vec<CompileError>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            rules: Node::default(),
            meter: Meter::new(),
            moments: Cell::new(0),
            closures: RefCell::default(),
        }
    }

    fn moment(&self) -> u64 {
        let moment = self.moments.get().saturating_add(1);
        self.moments.set(moment);
        moment
    }

    /// Forgets what was found out about comprehensions: those of another rule come next.
    pub(crate) fn forget(&self) {
        self.closures.borrow_mut().clear();
    }
}

/// The variables of a body.
#[derive(Debug)]
pub(crate) struct Scope<'w> {
    pub(crate) world: &'w World,
    outer: Option<&'w Scope<'w>>,
    vars: BTreeMap<Str, Known>,
    /// The moment of its last change.
    moment: u64,
}

impl<'w> Scope<'w> {
    pub(crate) fn new(world: &'w World, outer: Option<&'w Scope<'w>>) -> Self {
        Self { world, outer, vars: BTreeMap::new(), moment: world.moment() }
    }

    pub(crate) fn put(&mut self, name: &Str, known: Known) {
        self.world.meter.weigh(&known);
        self.vars.insert(name.clone(), known);
        self.moment = self.world.moment();
    }

    /// What is known of the variables of a name, from the inside to the outside.
    pub(crate) fn vars_of(&self, name: &Str) -> Vec<Known> {
        let scopes = std::iter::successors(Some(self), |scope| scope.outer);
        scopes.filter_map(|scope| scope.vars.get(name).cloned()).collect()
    }

    /// What is known of a variable.
    pub(crate) fn var(&self, name: &Str) -> Known {
        let mut scopes = std::iter::successors(Some(self), |scope| scope.outer);
        match scopes.find_map(|scope| scope.vars.get(name)) {
            Some(known) => known.clone(),
            // The names of builtins are known, too.
            None => signatures::tree().children.get(&Key::Var(name.clone()))?.value.clone(),
        }
    }

    /// What is known of a term.
    pub(crate) fn term(&self, term: &Term) -> Known {
        if !self.world.meter.charge(1) {
            return Some(Type::Any);
        }
        let known = self.known(term);
        self.world.meter.weigh(&known);
        known
    }

    fn known(&self, term: &Term) -> Known {
        match &term.kind {
            TermKind::Null => Some(Type::Null),
            TermKind::Bool(_) => Some(Type::Boolean),
            TermKind::Number(_) => Some(Type::Number),
            TermKind::String(_) | TermKind::Template(_) => Some(Type::String),
            TermKind::Array(items) => {
                let rest = if items.is_empty() { Some(Type::Any) } else { None };
                Some(Type::array(items.iter().map(|item| self.term(item)).collect(), rest))
            }
            TermKind::Object(members) => Some(self.object(members)),
            TermKind::Set(items) => {
                let of = items.iter().fold(None, |of, item| or(of, self.term(item)));
                Some(Type::set(of.or(Some(Type::Any))))
            }
            TermKind::ArrayComprehension(..)
            | TermKind::SetComprehension(..)
            | TermKind::ObjectComprehension(..) => self.closure(term).known.clone(),
            TermKind::Var(name) if is_root(name) => self.reference(std::slice::from_ref(term)),
            TermKind::Var(name) => self.var(name),
            TermKind::Ref(parts) => self.reference(parts),
            TermKind::Call(call) => self.replacing(call),
        }
    }

    /// A function as the value of a `with`; another call is known of by the variable that it is given to.
    fn replacing(&self, call: &Call) -> Known {
        match call.function.split_first() {
            Some((first, name)) if first.as_ref() == MOCK => self.reference(&reference(name, call.loc)),
            _ => None,
        }
    }

    fn object(&self, members: &[(Term, Term)]) -> Type {
        let mut named = BTreeMap::new();
        let mut rest = None;
        for (key, value) in members {
            match json_constant(key) {
                Some(key) => {
                    named.insert(key, self.term(value));
                }
                None => rest = Some((self.term(key), self.term(value))),
            }
        }
        if named.is_empty() && rest.is_none() {
            rest = Some((Some(Type::Any), Some(Type::Any)));
        }
        Type::object(named, rest)
    }

    /// What a reference leads to.
    pub(crate) fn reference(&self, parts: &[Term]) -> Known {
        let Some((Term { kind: TermKind::Var(name), .. }, path)) = parts.split_first() else {
            return Some(Type::Any);
        };
        for known in self.vars_of(name) {
            match (known, path.first()) {
                (Some(known), _) => return select(&Some(known), path),
                (None, Some(first)) if constant(first).is_some() => {}
                (None, _) => return select(&Node::default().extent(), path),
            }
        }
        let key = Key::Var(name.clone());
        let trees = [&self.world.rules, signatures::tree()];
        for node in trees.into_iter().filter_map(|tree| tree.children.get(&key)) {
            if let Some(known) = in_tree(node, path) {
                return known;
            }
        }
        if is_root(name) { Some(Type::Any) } else { None }
    }

    /// What a comprehension is, and what is wrong with it. It is asked for many times.
    pub(crate) fn closure(&self, term: &Term) -> Rc<Closure> {
        let at = (std::ptr::from_ref(term), self.moment);
        if let Some(found) = self.world.closures.borrow().get(&at) {
            return Rc::clone(found);
        }
        let found = Rc::new(match &term.kind {
            TermKind::ArrayComprehension(head, body) => {
                self.comprehension(body, |scope| Type::array(Vec::new(), scope.term(head)))
            }
            TermKind::SetComprehension(head, body) => {
                self.comprehension(body, |scope| Type::set(scope.term(head)))
            }
            TermKind::ObjectComprehension(key, value, body) => {
                self.comprehension(body, |scope| Type::map(scope.term(key), scope.term(value)))
            }
            _ => Closure { known: None, errors: Vec::new() },
        });
        self.world.closures.borrow_mut().insert(at, Rc::clone(&found));
        found
    }

    fn comprehension(&self, body: &Body, made: impl Fn(&Scope<'_>) -> Type) -> Closure {
        self.world.meter.charge(CLOSURE);
        let mut inner = Scope::new(self.world, Some(self));
        let errors = body::check(&mut inner, body);
        let known = if errors.is_empty() { Some(made(&inner)) } else { None };
        Closure { known, errors }
    }
}

/// Whether a name is that of a document of the root.
pub(crate) fn is_root(name: &Str) -> bool {
    matches!(name.as_ref(), "input" | "data")
}

/// What a path leads to below a place in a tree; `None` if it leaves the tree.
fn in_tree(mut node: &Node, path: &[Term]) -> Option<Known> {
    let mut rest = path;
    while let Some((first, below)) = rest.split_first() {
        if node.value.is_none() && constant(first).is_none() {
            return Some(select(&node.extent(), rest));
        }
        match node.children.get(&Key::of(first)) {
            Some(child) => node = child,
            None if node.value.is_some() => return Some(select(&node.value, rest)),
            None => return None,
        }
        rest = below;
    }
    Some(node.extent())
}

/// The constant that a term is, as types know it.
pub(crate) fn json_constant(term: &Term) -> Option<Value> {
    constant(term).map(|value| json_form(&value))
}
