//! What a rule can read: found in the compiled form of everything that it can reach, too much rather than too little.
use crate::Value;
use crate::ast::Str;
use crate::ir::{
    Change, Comprehension, Definition, GroupId, Node, Operand, Program, RefHead, Reference, Replacement,
    Stmt, StmtKind, Target,
};
use std::collections::{BTreeMap, BTreeSet};

/// What a rule can read, and on what else its answer depends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// The paths of the input: everything at and below each may be read. The empty path is the whole input.
    pub input: BTreeSet<Vec<Str>>,
    /// The builtins whose result is not given by their arguments: the time, random numbers.
    pub nondeterministic: BTreeSet<&'static str>,
}

impl Reads {
    pub(crate) fn of(program: &Program, roots: &[GroupId]) -> Self {
        let mut reads = Walk::from(program, roots).reads;
        reads.drop_covered();
        reads
    }

    /// What begins with a path comes right after it in their order.
    fn drop_covered(&mut self) {
        let mut above: Option<Vec<Str>> = None;
        self.input.retain(|path| {
            let covered = above.as_ref().is_some_and(|above| path.starts_with(above));
            if !covered {
                above = Some(path.clone());
            }
            !covered
        });
    }

    /// Whether something at, above or below this path is read.
    pub fn touches(&self, path: &[&str]) -> bool {
        self.input.iter().any(|read| read.iter().zip(path).all(|(have, want)| have.as_ref() == *want))
    }
}

/// A way through everything that some groups can ask.
pub(crate) struct Walk<'p> {
    program: &'p Program,
    reads: Reads,
    /// The groups that were met.
    pub(crate) seen: BTreeSet<GroupId>,
    open: Vec<GroupId>,
}

/// Slots that stand for a field of the input and are only gone into: what is read is what is gone into.
type Aliases = BTreeMap<u32, Vec<Str>>;

impl<'p> Walk<'p> {
    pub(crate) fn from(program: &'p Program, roots: &[GroupId]) -> Self {
        let mut walk = Self { program, reads: Reads::default(), seen: BTreeSet::new(), open: roots.to_vec() };
        while let Some(group) = walk.open.pop() {
            if walk.seen.insert(group)
                && let Some(group) = program.groups.get(group)
            {
                group
                    .definitions
                    .iter()
                    .chain(&group.default)
                    .for_each(|definition| walk.definition(definition));
            }
        }
        walk
    }

    fn definition(&mut self, definition: &Definition) {
        let mut aliases = Aliases::new();
        for stmt in &definition.body {
            if let StmtKind::Unify(Operand::Slot(slot), Operand::Ref(reference)) = &stmt.kind
                && reference.head == RefHead::Input
                && let Some(path) = constant_path(&reference.path)
            {
                aliases.insert(*slot, path);
            }
        }
        let mut uses = BTreeMap::new();
        count_definition(definition, &mut uses);
        // The equation that gives the slot its value is one use; any other makes the whole of it read.
        aliases.retain(|slot, _| uses.get(slot) == Some(&1));
        let operands = definition.tail.iter().chain(&definition.parameters).chain(&definition.key);
        operands.chain([&definition.value]).for_each(|operand| self.operand(operand, &aliases));
        self.body(&definition.body, &aliases);
        if let Some(otherwise) = &definition.otherwise {
            self.definition(otherwise);
        }
    }

    fn body(&mut self, body: &[Stmt], aliases: &Aliases) {
        body.iter().for_each(|stmt| self.stmt(stmt, aliases));
    }

    fn stmt(&mut self, stmt: &Stmt, aliases: &Aliases) {
        match &stmt.kind {
            StmtKind::Holds(operand) => self.operand(operand, aliases),
            StmtKind::Unify(Operand::Slot(slot), Operand::Ref(_)) if aliases.contains_key(slot) => {
                // That the field is there at all is read too, where nothing below it is.
                if let Some(path) = aliases.get(slot) {
                    self.reads.input.insert(path.iter().cloned().chain([Str::from("")]).collect());
                }
            }
            StmtKind::Unify(a, b) => {
                self.operand(a, aliases);
                self.operand(b, aliases);
            }
            StmtKind::Call { target, args, output } => {
                self.target(*target);
                args.iter().chain(output).for_each(|operand| self.operand(operand, aliases));
            }
            StmtKind::Not(inner) => self.stmt(inner, aliases),
            StmtKind::Every { domain, body, .. } => {
                self.operand(domain, aliases);
                self.body(body, aliases);
            }
            StmtKind::With { changes, inner } => {
                for change in changes {
                    match change {
                        Change::Input(_, value) | Change::Data(_, value) => self.operand(value, aliases),
                        Change::Mock(_, Replacement::Value(value)) => self.operand(value, aliases),
                        Change::Mock(_, Replacement::Function(target)) => self.target(*target),
                        Change::Mock(_, Replacement::Rule(group)) => self.open.push(*group),
                    }
                }
                self.stmt(inner, aliases);
            }
        }
    }

    fn target(&mut self, target: Target) {
        match target {
            Target::Builtin(builtin) => {
                if builtin.nondeterministic {
                    self.reads.nondeterministic.insert(builtin.name);
                }
            }
            Target::Walk | Target::Tell(_) => {}
            Target::Function(group) => self.open.push(group),
        }
    }

    fn operand(&mut self, operand: &Operand, aliases: &Aliases) {
        match operand {
            Operand::Const(_) | Operand::Slot(_) => {}
            Operand::Array(items) | Operand::Set(items) => {
                items.iter().for_each(|item| self.operand(item, aliases));
            }
            Operand::Object(members) => {
                for (key, value) in members {
                    self.operand(key, aliases);
                    self.operand(value, aliases);
                }
            }
            Operand::Ref(reference) => self.reference(reference, aliases),
            Operand::Comprehension(comprehension) => self.comprehension(comprehension, aliases),
        }
    }

    fn comprehension(&mut self, comprehension: &Comprehension, aliases: &Aliases) {
        comprehension
            .key
            .iter()
            .chain([&comprehension.value])
            .for_each(|operand| self.operand(operand, aliases));
        self.body(&comprehension.body, aliases);
    }

    fn reference(&mut self, reference: &Reference, aliases: &Aliases) {
        reference.path.iter().for_each(|part| self.operand(part, aliases));
        match reference.head {
            RefHead::Input => {
                self.reads.input.insert(leading_names(&reference.path));
            }
            RefHead::Slot(slot) => {
                if let Some(path) = aliases.get(&slot) {
                    let rest = leading_names(&reference.path);
                    self.reads.input.insert(path.iter().cloned().chain(rest).collect());
                }
            }
            RefHead::Group(group, _) => self.open.push(group),
            RefHead::Data => below(&self.program.root, &reference.path, &mut self.open),
            RefHead::Base => {}
        }
    }
}

fn leading_names(path: &[Operand]) -> Vec<Str> {
    let name = |part: &Operand| match part {
        Operand::Const(Value::String(name)) => Some(name.clone()),
        _ => None,
    };
    path.iter().map_while(name).collect()
}

fn constant_path(path: &[Operand]) -> Option<Vec<Str>> {
    let names = leading_names(path);
    if names.len() == path.len() { Some(names) } else { None }
}

/// How often each slot stands anywhere but at the head of a reference.
fn count_definition(definition: &Definition, uses: &mut BTreeMap<u32, usize>) {
    let operands = definition.tail.iter().chain(&definition.parameters).chain(&definition.key);
    operands.chain([&definition.value]).for_each(|operand| count(operand, uses));
    definition.body.iter().for_each(|stmt| count_stmt(stmt, uses));
}

fn count_stmt(stmt: &Stmt, uses: &mut BTreeMap<u32, usize>) {
    match &stmt.kind {
        StmtKind::Holds(operand) => count(operand, uses),
        StmtKind::Unify(a, b) => {
            count(a, uses);
            count(b, uses);
        }
        StmtKind::Call { args, output, .. } => {
            args.iter().chain(output).for_each(|operand| count(operand, uses));
        }
        StmtKind::Not(inner) => count_stmt(inner, uses),
        StmtKind::Every { domain, body, .. } => {
            count(domain, uses);
            body.iter().for_each(|stmt| count_stmt(stmt, uses));
        }
        StmtKind::With { changes, inner } => {
            for change in changes {
                match change {
                    Change::Input(_, value)
                    | Change::Data(_, value)
                    | Change::Mock(_, Replacement::Value(value)) => count(value, uses),
                    Change::Mock(_, Replacement::Function(_) | Replacement::Rule(_)) => {}
                }
            }
            count_stmt(inner, uses);
        }
    }
}

fn count(operand: &Operand, uses: &mut BTreeMap<u32, usize>) {
    match operand {
        Operand::Const(_) => {}
        Operand::Slot(slot) => {
            let seen = uses.entry(*slot).or_default();
            *seen = seen.saturating_add(1);
        }
        Operand::Array(items) | Operand::Set(items) => items.iter().for_each(|item| count(item, uses)),
        Operand::Object(members) => {
            for (key, value) in members {
                count(key, uses);
                count(value, uses);
            }
        }
        Operand::Ref(reference) => reference.path.iter().for_each(|part| count(part, uses)),
        Operand::Comprehension(comprehension) => {
            comprehension.key.iter().chain([&comprehension.value]).for_each(|operand| count(operand, uses));
            comprehension.body.iter().for_each(|stmt| count_stmt(stmt, uses));
        }
    }
}

/// The groups that the document at a constant path is made of.
pub(crate) fn roots(program: &Program, path: &[Value]) -> Vec<GroupId> {
    let mut groups = Vec::new();
    let path: Vec<Operand> = path.iter().map(|part| Operand::Const(part.clone())).collect();
    below(&program.root, &path, &mut groups);
    groups
}

/// Every group that a path can lead to or through; functions below it are no part of what is there.
pub(crate) fn below(node: &Node, path: &[Operand], groups: &mut Vec<GroupId>) {
    led_to(node, path, false, groups);
}

/// Every group that a path can lead to or through, functions included.
pub(crate) fn led_to(node: &Node, path: &[Operand], functions: bool, groups: &mut Vec<GroupId>) {
    if let Some(group) = node.group {
        groups.push(group);
        return;
    }
    match path.split_first() {
        Some((Operand::Const(key), rest)) => {
            if let Some(child) = node.children.get(key) {
                led_to(child, rest, functions, groups);
            }
        }
        Some((_, rest)) => node.children.values().for_each(|child| led_to(child, rest, functions, groups)),
        None => {
            let shown = node.children.values().filter(|child| functions || !child.hidden);
            shown.for_each(|child| led_to(child, &[], functions, groups));
        }
    }
}
