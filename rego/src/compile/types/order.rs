//! In which order rules are looked at: each after those that it refers to, else as they stand in the files.
use super::tree::Key;
use crate::Value;
use crate::ast::{Body, Call, Expr, ExprKind, Loc, Module, Rule, Str, TemplatePart, Term, TermKind};
use crate::compile::resolve::{MOCK, reference};
use crate::compile::tree::ground_prefix;
use std::collections::{BTreeMap, BTreeSet};

/// A definition or one of its `else` branches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unit<'m> {
    pub(crate) package: &'m [Str],
    pub(crate) rule: &'m Rule,
}

/// Where units stand below `data`.
#[derive(Debug, Default)]
struct Place {
    units: Vec<usize>,
    children: BTreeMap<Value, Place>,
    /// The number of the place, by which it is marked.
    number: usize,
}

/// What is refered to: constants, and `None` for what may be anything.
type Path = Vec<Option<Value>>;

/// The units in order. `files` are the names of the modules.
pub(crate) fn sorted<'m>(modules: &'m [Module], files: &[Str]) -> Vec<Unit<'m>> {
    let mut units = Vec::new();
    for module in modules {
        for rule in &module.rules {
            let branches = std::iter::successors(Some(rule), |rule| rule.otherwise.as_deref());
            units.extend(branches.map(|rule| Unit { package: &module.package, rule }));
        }
    }
    units.sort_by(|a, b| key(a.rule.loc, files).cmp(&key(b.rule.loc, files)));
    let mut places = Place::default();
    let mut count = 1;
    for (index, unit) in units.iter().enumerate() {
        let mut place = &mut places;
        let names = unit.package.iter().map(|name| Value::String(name.clone()));
        for part in names.chain(ground_prefix(unit.rule)) {
            place = place.children.entry(part).or_insert_with(|| {
                count = usize::saturating_add(count, 1);
                Place { number: count, ..Place::default() }
            });
        }
        place.units.push(index);
    }
    let states = vec![State::New; units.len()];
    let mut sorter =
        Sorter { units: &units, places: &places, states, done: BTreeSet::new(), order: Vec::new() };
    (0..units.len()).for_each(|index| sorter.visit(index));
    sorter.order.iter().filter_map(|index| units.get(*index).copied()).collect()
}

fn key(loc: Loc, files: &[Str]) -> (Option<&Str>, Loc) {
    (files.get(usize::from(loc.module)), loc)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    New,
    Entered,
    Left,
}

struct Sorter<'p> {
    units: &'p [Unit<'p>],
    places: &'p Place,
    states: Vec<State>,
    /// The places all of whose units have been visited, with those below (`true`) or without.
    done: BTreeSet<(usize, bool)>,
    order: Vec<usize>,
}

impl Sorter<'_> {
    fn visit(&mut self, index: usize) {
        match self.states.get_mut(index) {
            Some(state @ State::New) => *state = State::Entered,
            _ => return,
        }
        let Some(unit) = self.units.get(index) else { return };
        let mut paths = BTreeSet::new();
        refs_of_rule(unit.rule, &mut paths);
        let mut found = BTreeSet::new();
        let mut marks = Vec::new();
        for path in &paths {
            self.collect(self.places, path, &mut found, &mut marks);
        }
        found.into_iter().for_each(|other| self.visit(other));
        self.done.extend(marks);
        if let Some(state) = self.states.get_mut(index) {
            *state = State::Left;
        }
        self.order.push(index);
    }

    /// The units that a path leads by and to. Those of places that are done need not be gone through again.
    fn collect(
        &self,
        place: &Place,
        path: &[Option<Value>],
        found: &mut BTreeSet<usize>,
        marks: &mut Vec<(usize, bool)>,
    ) {
        let all = path.is_empty();
        if self.done.contains(&(place.number, true)) {
            return;
        }
        if !self.done.contains(&(place.number, false)) {
            found.extend(&place.units);
        }
        marks.push((place.number, all));
        match path.split_first() {
            None => place.children.values().for_each(|child| self.collect(child, path, found, marks)),
            Some((Some(part), below)) => {
                if let Some(child) = place.children.get(part) {
                    self.collect(child, below, found, marks);
                }
            }
            Some((None, below)) => {
                place.children.values().for_each(|child| self.collect(child, below, found, marks));
            }
        }
    }
}

fn refs_of_rule(rule: &Rule, paths: &mut BTreeSet<Path>) {
    let head = &rule.head;
    let terms = head.args.iter().flatten().chain(head.reference.iter().skip(1));
    terms.chain(&head.key).chain(&head.value).for_each(|term| refs_of_term(term, paths));
    refs_of_body(&rule.body, paths);
}

fn refs_of_body(body: &Body, paths: &mut BTreeSet<Path>) {
    body.iter().for_each(|expr| refs_of_expr(expr, paths));
}

fn refs_of_expr(expr: &Expr, paths: &mut BTreeSet<Path>) {
    match &expr.kind {
        ExprKind::Term(term) => refs_of_term(term, paths),
        ExprKind::Call(call) => refs_of_call(call, &call.function, paths),
        ExprKind::Every { domain, body, .. } => {
            refs_of_term(domain, paths);
            refs_of_body(body, paths);
        }
        ExprKind::Some(_) | ExprKind::SomeIn { .. } => {}
    }
    for with in &expr.with {
        refers(&reference(&with.target, with.loc), paths);
        refs_of_term(&with.value, paths);
    }
}

fn refs_of_call(call: &Call, function: &[Str], paths: &mut BTreeSet<Path>) {
    refers(&reference(function, call.loc), paths);
    call.args.iter().for_each(|argument| refs_of_term(argument, paths));
}

fn refs_of_term(term: &Term, paths: &mut BTreeSet<Path>) {
    match &term.kind {
        TermKind::Var(_) => refers(std::slice::from_ref(term), paths),
        TermKind::Ref(parts) => {
            refers(parts, paths);
            parts.iter().skip(1).for_each(|part| refs_of_term(part, paths));
        }
        TermKind::Array(items) | TermKind::Set(items) => {
            items.iter().for_each(|item| refs_of_term(item, paths));
        }
        TermKind::Object(members) => {
            for (key, value) in members {
                refs_of_term(key, paths);
                refs_of_term(value, paths);
            }
        }
        TermKind::ArrayComprehension(head, body) | TermKind::SetComprehension(head, body) => {
            refs_of_term(head, paths);
            refs_of_body(body, paths);
        }
        TermKind::ObjectComprehension(key, value, body) => {
            refs_of_term(key, paths);
            refs_of_term(value, paths);
            refs_of_body(body, paths);
        }
        TermKind::Call(call) => match call.function.split_first() {
            Some((first, name)) if first.as_ref() == MOCK => refs_of_call(call, name, paths),
            _ => refs_of_call(call, &call.function, paths),
        },
        TermKind::Template(parts) => {
            for part in parts {
                if let TemplatePart::Term(term) | TemplatePart::With(term, _) = part {
                    refs_of_term(term, paths);
                }
            }
        }
        TermKind::Null | TermKind::Bool(_) | TermKind::Number(_) | TermKind::String(_) => {}
    }
}

/// A reference below `data`.
fn refers(parts: &[Term], paths: &mut BTreeSet<Path>) {
    match parts.split_first() {
        Some((Term { kind: TermKind::Var(name), .. }, rest)) if name.as_ref() == "data" => {
            let part = |term: &Term| match Key::of(term) {
                Key::Constant(value) => Some(value),
                Key::Var(_) | Key::Other => None,
            };
            paths.insert(rest.iter().map(part).collect());
        }
        _ => {}
    }
}
