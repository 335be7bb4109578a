//! The tree of rules below `data`: which definitions belong together, and which may not stand side by side.
use super::error::CompileError;
use crate::Value;
use crate::ast::{Loc, Rule, Str, Term, TermKind};
use crate::ir::GroupKind;
use std::collections::BTreeMap;

/// A definition, by module and place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RuleAt {
    pub(crate) module: usize,
    pub(crate) rule: usize,
}

/// A place in the tree while it is built.
#[derive(Debug, Default)]
pub(crate) struct Place {
    pub(crate) children: BTreeMap<Value, Place>,
    pub(crate) rules: Vec<RuleAt>,
    pub(crate) kind: Option<GroupKind>,
    /// The first definition: where it is, and whether it is one of elements.
    first: Option<(Loc, bool)>,
}

/// The constant of a term that is one.
pub(crate) fn constant(term: &Term) -> Option<Value> {
    Some(match &term.kind {
        TermKind::Null => Value::Null,
        TermKind::Bool(value) => Value::Bool(*value),
        TermKind::Number(number) => Value::Number(number.clone()),
        TermKind::String(text) => Value::String(text.clone()),
        TermKind::Array(items) => Value::Array(items.iter().map(constant).collect::<Option<_>>()?),
        TermKind::Set(items) => Value::Set(items.iter().map(constant).collect::<Option<_>>()?),
        TermKind::Object(members) => {
            let members = members.iter().map(|(key, value)| Some((constant(key)?, constant(value)?)));
            Value::Object(members.collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

/// The constant parts that a rule's head begins with.
pub(crate) fn ground_prefix(rule: &Rule) -> Vec<Value> {
    let mut path = Vec::new();
    for (index, part) in rule.head.reference.iter().enumerate() {
        match &part.kind {
            TermKind::Var(name) if index == 0 => path.push(Value::String(name.clone())),
            TermKind::Array(_) | TermKind::Object(_) | TermKind::Set(_) => break,
            _ => match constant(part) {
                Some(value) => path.push(value),
                None => break,
            },
        }
    }
    path
}

fn kind_of(rule: &Rule) -> GroupKind {
    if let Some(args) = &rule.head.args {
        return GroupKind::Function(args.len());
    }
    let ground = ground_prefix(rule).len() == rule.head.reference.len();
    match (&rule.head.key, ground) {
        (Some(_), true) => GroupKind::Set,
        (None, true) => GroupKind::Complete,
        (_, false) => GroupKind::Object,
    }
}

impl Place {
    /// Adds a package: it is there even without rules.
    pub(crate) fn package(&mut self, package: &[Str]) {
        let mut place = self;
        for name in package {
            place = place.children.entry(Value::String(name.clone())).or_default();
        }
    }

    /// Adds a definition below its package.
    pub(crate) fn add(&mut self, package: &[Str], rule: &Rule, at: RuleAt) -> Result<(), CompileError> {
        let mut place = self;
        for name in package {
            place = place.children.entry(Value::String(name.clone())).or_default();
        }
        for part in ground_prefix(rule) {
            place = place.children.entry(part).or_default();
        }
        let kind = kind_of(rule);
        let of_elements = rule.head.key.is_some();
        let (first, elements_first) = *place.first.get_or_insert((rule.loc, of_elements));
        if place.kind.is_some_and(|have| have != kind) || elements_first != of_elements {
            let (name, row) = (path_text(package, rule), rule.loc.row);
            let what =
                format!("conflicting rules data.{name} found: the one in row {row} is of another kind");
            return Err(CompileError::of_type(first, what));
        }
        place.kind = Some(kind);
        place.rules.push(at);
        Ok(())
    }

    /// Where a group of members with variable names begins, all that is defined below it belongs to it.
    pub(crate) fn settle(&mut self) -> Result<(), CompileError> {
        self.refuse_conflicts()?;
        self.gather();
        Ok(())
    }

    /// Below a rule without variables in its name nothing may be defined, and no functions below one with variables.
    fn refuse_conflicts(&self) -> Result<(), CompileError> {
        let conflict = match self.kind {
            Some(GroupKind::Object) => self.children.values().any(Self::has_functions),
            Some(_) => self.children.values().any(Self::has_rules),
            None => false,
        };
        if conflict {
            let loc = self.first.map_or_else(Loc::default, |(loc, _)| loc);
            return Err(CompileError::of_type(
                loc,
                "the rule conflicts with rules or packages defined below it",
            ));
        }
        self.children.values().try_for_each(Self::refuse_conflicts)
    }

    fn gather(&mut self) {
        if self.kind == Some(GroupKind::Object) {
            let mut below = Vec::new();
            std::mem::take(&mut self.children).into_values().for_each(|child| child.collect(&mut below));
            self.rules.extend(below);
        } else {
            self.children.values_mut().for_each(Self::gather);
        }
    }

    /// Whether functions stand here or below.
    fn has_functions(&self) -> bool {
        matches!(self.kind, Some(GroupKind::Function(_))) || self.children.values().any(Self::has_functions)
    }

    /// Whether rules stand here or below.
    fn has_rules(&self) -> bool {
        self.kind.is_some() || self.children.values().any(Self::has_rules)
    }

    fn collect(self, rules: &mut Vec<RuleAt>) {
        rules.extend(self.rules);
        self.children.into_values().for_each(|child| child.collect(rules));
    }
}

pub(crate) fn path_text(package: &[Str], rule: &Rule) -> String {
    let names = package.iter().map(|name| name.to_string());
    let parts =
        ground_prefix(rule).into_iter().map(|part| part.as_str().map_or(part.to_string(), str::to_owned));
    names.chain(parts).collect::<Vec<_>>().join(".")
}
