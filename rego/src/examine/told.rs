//! Attempts to make definitions hold, in words: which were tried, how far each came, and what its first condition was
//! that does not hold.
use super::extent::Lines;
use crate::Value;
use crate::ast::{Loc, Str};
use crate::compile::name_in_source;
use crate::eval::observe::{Furthest, Tried};
use crate::ir::{Definition, Group, Operand, Program, RefHead, Reference, StmtKind, Target};
use crate::policy::Source;
use std::collections::HashMap;

/// One attempt to make a definition hold.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The rule: `data.a.allow`.
    pub rule: String,
    /// Where the definition stands.
    pub loc: Loc,
    /// `file:row:column` of it.
    pub place: String,
    /// How many attempts it stands within.
    pub depth: usize,
    /// Whether it held.
    pub held: bool,
    /// Whether it is the rule's default.
    pub is_default: bool,
    /// How many conditions it has.
    pub conditions: usize,
    /// How many of them held, in order; all of them if it held.
    pub met: usize,
    /// The first condition that did not hold.
    pub unmet: Option<Unmet>,
}

/// A condition that did not hold.
#[derive(Clone, Debug)]
pub struct Unmet {
    /// Where it stands.
    pub loc: Loc,
    /// `file:row:column` of it.
    pub place: String,
    /// What it says.
    pub text: String,
    /// What was known of the terms in it: `None` is undefined.
    pub values: Vec<(String, Option<Value>)>,
}

pub(super) fn attempts(program: &Program, sources: &[Source<'_>], tried: &[Tried<'_>]) -> Vec<Attempt> {
    let rules = owners(program);
    let lines: Vec<Lines<'_>> = sources.iter().map(|source| Lines::of(source.text)).collect();
    let teller = Teller { program, lines, sources };
    tried.iter().map(|tried| teller.attempt(tried, &rules)).collect()
}

/// The group of each definition, by the definition's number.
fn owners(program: &Program) -> HashMap<u32, (&Group, bool)> {
    let mut owners = HashMap::new();
    for group in &program.groups {
        let given = group.definitions.iter().map(|definition| (definition, false));
        for (definition, is_default) in given.chain(group.default.iter().map(|default| (default, true))) {
            let mut branch = Some(definition);
            while let Some(definition) = branch {
                owners.insert(definition.number, (group, is_default));
                branch = definition.otherwise.as_deref();
            }
        }
    }
    owners
}

struct Teller<'p> {
    program: &'p Program,
    lines: Vec<Lines<'p>>,
    sources: &'p [Source<'p>],
}

impl Teller<'_> {
    fn attempt(&self, tried: &Tried<'_>, owners: &HashMap<u32, (&Group, bool)>) -> Attempt {
        let definition = tried.definition;
        let owner = owners.get(&definition.number);
        let rule = owner.map_or_else(String::new, |(group, _)| rule_name(group));
        let conditions = self.conditions(definition);
        let furthest = tried.furthest.as_ref().filter(|_| !tried.held);
        let unmet = furthest.map(|furthest| self.unmet(definition, furthest));
        let met = match &unmet {
            Some(unmet) => conditions.iter().filter(|loc| **loc < unmet.loc).count(),
            None if tried.held => conditions.len(),
            None => 0,
        };
        Attempt {
            rule,
            loc: definition.head,
            place: self.place(definition.head),
            depth: tried.depth,
            held: tried.held,
            is_default: owner.is_some_and(|(_, is_default)| *is_default),
            conditions: conditions.len(),
            met,
            unmet,
        }
    }

    fn place(&self, loc: Loc) -> String {
        let file = self.sources.get(usize::from(loc.module)).map_or("query", |source| source.name);
        format!("{file}:{}:{}", loc.row, loc.col)
    }

    /// The conditions as they are written: of what was taken apart, one place. What only makes up the value is none.
    fn conditions(&self, definition: &Definition) -> Vec<Loc> {
        let mut conditions: Vec<Loc> =
            definition.body.iter().filter_map(|stmt| self.written(stmt.loc)).collect();
        conditions.sort_unstable();
        conditions.dedup();
        conditions
    }

    /// The expression in the source that a place belongs to.
    fn written(&self, loc: Loc) -> Option<Loc> {
        let after = self.program.written.partition_point(|(have, _)| *have <= loc);
        let (at, _) = *self.program.written.get(after.checked_sub(1)?)?;
        let end = self.lines.get(usize::from(loc.module))?.end(at, false);
        let within = at.module == loc.module && (loc.row, loc.col) < (end.row, end.col);
        within.then_some(at)
    }

    fn unmet(&self, definition: &Definition, furthest: &Furthest<'_>) -> Unmet {
        let loc = self.written(furthest.stmt.loc).unwrap_or(furthest.stmt.loc);
        let lines = self.lines.get(usize::from(loc.module));
        let text = lines.map_or_else(String::new, |lines| lines.text(loc, lines.end(loc, false)));
        let mut values: Vec<(String, Option<Value>)> = Vec::new();
        let mut add = |name: String, value: Option<Value>| {
            if !values.iter().any(|(have, _)| *have == name) {
                values.push((name, value));
            }
        };
        let binds = |operand: &Operand| matches!(operand, Operand::Slot(slot) if name_of(definition, *slot).is_none());
        for (operand, value) in &furthest.values {
            // A slot of our own that is without a value yet is what the statement itself would give one.
            if !(value.is_none() && binds(operand)) {
                add(term(definition, self.program, operand, 0), value.clone());
            }
        }
        for (name, value) in &furthest.variables {
            if mentions(&text, name) {
                add(name.to_string(), Some(value.clone()));
            }
        }
        Unmet { loc, place: self.place(loc), text, values }
    }
}

fn rule_name(group: &Group) -> String {
    let parts = group.path.iter().map(|part| part.as_str().map_or_else(|| part.to_string(), str::to_owned));
    std::iter::once("data".to_owned()).chain(parts).collect::<Vec<_>>().join(".")
}

fn name_of(definition: &Definition, slot: u32) -> Option<&str> {
    let name: &Str = definition.names.get(usize::try_from(slot).ok()?)?;
    name_in_source(name)
}

/// Whether a text has this word in it.
fn mentions(text: &str, word: &str) -> bool {
    let is_word = |char: char| char.is_alphanumeric() || char == '_';
    text.split(|char: char| !is_word(char)).any(|have| have == word)
}

/// How deep a term is written out.
const DEPTH_MAX: usize = 12;

/// A term in words: what the compiler took apart is put together again.
fn term(definition: &Definition, program: &Program, operand: &Operand, depth: usize) -> String {
    if depth > DEPTH_MAX {
        return "…".to_owned();
    }
    let inner = |operand: &Operand| term(definition, program, operand, depth.saturating_add(1));
    let list = |items: &[Operand]| items.iter().map(inner).collect::<Vec<_>>().join(", ");
    match operand {
        Operand::Const(value) => value.to_string(),
        Operand::Slot(slot) => match name_of(definition, *slot) {
            Some(name) => name.to_owned(),
            None => made_of(definition, program, *slot, depth.saturating_add(1)),
        },
        Operand::Array(items) => format!("[{}]", list(items)),
        Operand::Set(items) => format!("{{{}}}", list(items)),
        Operand::Object(_) => "{…}".to_owned(),
        Operand::Ref(reference) => reference_text(definition, program, reference, depth),
        Operand::Comprehension(_) => "{… | …}".to_owned(),
    }
}

fn reference_text(definition: &Definition, program: &Program, reference: &Reference, depth: usize) -> String {
    let mut text = match reference.head {
        RefHead::Input => "input".to_owned(),
        RefHead::Data | RefHead::Base | RefHead::Group(..) => "data".to_owned(),
        RefHead::Slot(slot) => term(definition, program, &Operand::Slot(slot), depth),
    };
    for part in &reference.path {
        match part {
            Operand::Const(Value::String(name)) if is_name(name) => {
                text.push('.');
                text.push_str(name);
            }
            other => {
                text.push('[');
                text.push_str(&term(definition, program, other, depth.saturating_add(1)));
                text.push(']');
            }
        }
    }
    text
}

fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|char| char.is_alphabetic() || char == '_')
        && chars.all(|char| char.is_alphanumeric() || char == '_')
}

/// What gave a slot of the compiler's own its value.
fn made_of(definition: &Definition, program: &Program, slot: u32, depth: usize) -> String {
    let is_it = |operand: &Operand| matches!(operand, Operand::Slot(have) if *have == slot);
    for stmt in &definition.body {
        match &stmt.kind {
            StmtKind::Unify(a, b) if is_it(a) => return term(definition, program, b, depth),
            StmtKind::Call { target, args, output: Some(output) } if is_it(output) => {
                let args: Vec<String> =
                    args.iter().map(|arg| term(definition, program, arg, depth)).collect();
                return format!("{}({})", target_name(program, *target), args.join(", "));
            }
            _ => {}
        }
    }
    "_".to_owned()
}

fn target_name(program: &Program, target: Target) -> String {
    match target {
        Target::Builtin(builtin) => builtin.name.to_owned(),
        Target::Walk => "walk".to_owned(),
        Target::Tell(_) => "print".to_owned(),
        Target::Function(group) => program.groups.get(group).map_or_else(String::new, rule_name),
    }
}
