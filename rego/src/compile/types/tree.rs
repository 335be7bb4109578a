//! The types of rules and builtins, by their names.
use super::kind::{self, Known, Object, Type, or};
use crate::Value;
use crate::ast::{Str, Term, TermKind};
use crate::compile::tree::constant;
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// A part of a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Constant(Value),
    Var(Str),
    /// Something else, that is found by no constant.
    Other,
}

impl Key {
    pub(crate) fn of(term: &Term) -> Self {
        match &term.kind {
            TermKind::Var(name) => Self::Var(name.clone()),
            _ => constant(term).map_or(Self::Other, Self::Constant),
        }
    }

    /// What the key itself is.
    fn known(&self) -> Known {
        match self {
            Self::Constant(value) => Some(Type::of_json(value)),
            Self::Var(_) | Self::Other => None,
        }
    }
}

/// A place in the tree of names.
#[derive(Debug, Default)]
pub(crate) struct Node {
    pub(crate) value: Known,
    pub(crate) children: BTreeMap<Key, Node>,
    /// Whether the object that stands here has taken in what stands below it.
    gathered: bool,
    /// The extent, once it was asked for.
    extent: OnceLock<Known>,
}

impl Node {
    /// Puts a type in place of what is there.
    pub(crate) fn put(&mut self, path: &[Key], value: Type) {
        let mut node = self;
        for part in path {
            node.extent = OnceLock::new();
            node = node.children.entry(part.clone()).or_default();
        }
        node.value = Some(value);
    }

    /// Adds the type of one more rule: to what stands there, and to the objects on the way to it.
    pub(crate) fn insert(&mut self, path: &[Key], value: Type) {
        let mut node = self;
        let mut rest = path;
        while let Some((part, below)) = rest.split_first() {
            node.extent = OnceLock::new();
            node = node.children.entry(part.clone()).or_default();
            if !below.is_empty() {
                node.take_in(below, &value);
            }
            rest = below;
        }
        let is_object = matches!(value, Type::Object(_));
        node.value = kind::merge(node.value.take(), Some(value));
        if is_object && !node.gathered && !node.children.is_empty() {
            node.gather();
        }
    }

    /// An object that stands here gets a member more, known by the type of its key alone.
    fn take_in(&mut self, path: &[Key], value: &Type) {
        self.value = match self.value.take() {
            Some(Type::Object(object)) => Some(with_member(kind::taken(object), path, value)),
            other => other,
        };
    }

    /// Takes into the object that stands here what stands below it.
    fn gather(&mut self) {
        self.gathered = true;
        let mut leaves = Vec::new();
        for (key, child) in &self.children {
            child.leaves(&mut vec![key.clone()], &mut leaves);
        }
        for (path, value) in leaves {
            self.take_in(&path, &value);
        }
    }

    fn leaves(&self, path: &mut Vec<Key>, found: &mut Vec<(Vec<Key>, Type)>) {
        if let Some(value) = &self.value {
            found.push((path.clone(), value.clone()));
            return;
        }
        for (key, child) in &self.children {
            path.push(key.clone());
            child.leaves(path, found);
            path.pop();
        }
    }

    /// What a reference to this place is: data may stand beside the rules.
    pub(crate) fn extent(&self) -> Known {
        if self.value.is_some() {
            return self.value.clone();
        }
        self.extent.get_or_init(|| Some(self.children_as_object())).clone()
    }

    fn children_as_object(&self) -> Type {
        let mut members = BTreeMap::new();
        for (key, child) in &self.children {
            if let Key::Constant(key @ (Value::String(_) | Value::Number(_) | Value::Bool(_))) = key {
                members.insert(key.clone(), child.extent());
            }
        }
        Type::object(members, Some((Some(Type::String), Some(Type::Any))))
    }
}

fn with_member(object: Object, path: &[Key], value: &Type) -> Type {
    let Some((first, below)) = path.split_first() else { return value.clone() };
    // What stands further below is in objects of one member each.
    let member = below.iter().rev().fold(value.clone(), |inner, part| Type::map(part.known(), Some(inner)));
    let (key, have) = object.rest.unwrap_or_default();
    Type::object(object.members, Some((or(key, first.known()), or(have, Some(member)))))
}

/// What a path of terms leads to in a type. What is not constant leads to any of its parts.
pub(crate) fn select(known: &Known, path: &[Term]) -> Known {
    let mut known = known.clone();
    for part in path {
        known = match &part.kind {
            TermKind::Var(_)
            | TermKind::Ref(_)
            | TermKind::Array(_)
            | TermKind::Object(_)
            | TermKind::Set(_) => known?.values(),
            _ => known?.select(&constant(part)?),
        };
    }
    known
}

/// A constant as it is in JSON: sets are arrays, and the keys of objects are strings.
pub(crate) fn json_form(value: &Value) -> Value {
    match value {
        Value::Array(items) => Value::array(items.iter().map(json_form)),
        Value::Set(items) => Value::array(items.iter().map(json_form)),
        Value::Object(members) => Value::object(members.iter().map(|(key, value)| {
            let key = match json_form(key) {
                key @ Value::String(_) => key,
                other => Value::from(other.to_json()),
            };
            (key, json_form(value))
        })),
        other => other.clone(),
    }
}
