//! `json.patch` (RFC 6902), by the steps of OPA's edit tree: where that gives another answer than the RFC, so do we, and
//! where it breaks the whole query, we refuse the whole decision.
use super::super::{BuiltinError, Context, Outcome, arg, array};
use super::paths::segments;
use super::{weigh, weigh_below};
use crate::Value;
use std::collections::BTreeMap;

pub(super) fn patch(context: &mut Context, args: &[Value]) -> Outcome {
    let operations = array(args, 1)?;
    let mut tree = Node::of(arg(args, 0)?.clone(), context)?;
    for operation in operations {
        apply(context, &mut tree, operation)?;
    }
    match tree.render(context)? {
        Some(patched) => Ok(Some(patched)),
        None => Err(broken()),
    }
}

fn apply(context: &mut Context, tree: &mut Node, operation: &Value) -> Result<(), BuiltinError> {
    context.charge(1)?;
    if operation.as_object().is_none() {
        return Err(failed("an operation is no object"));
    }
    let member = |name: &str| {
        operation
            .member(name)
            .ok_or_else(|| BuiltinError::Failed(format!("missing required attribute '{name}'")))
    };
    let path = member("path")?;
    let name = member("op")?.as_str().ok_or_else(|| failed("attribute 'op' must be a string"))?;
    let path = segments(context, path)?;
    match name {
        "add" => tree.insert_at(context, &path, member("value")?),
        "remove" => tree.delete_at(context, &path),
        "replace" => {
            tree.delete_at(context, &path)?;
            tree.insert_at(context, &path, member("value")?)
        }
        "move" | "copy" => {
            let from = segments(context, member("from")?)?;
            let chunk = tree.render_at(context, &from)?;
            if name == "move" {
                tree.delete_at(context, &from)?;
            }
            tree.insert_at(context, &path, &chunk.ok_or_else(|| failed("there is nothing to insert"))?)
        }
        "test" => {
            let (found, expected) = (tree.render_at(context, &path)?, member("value")?);
            weigh(context, expected)?;
            if found.as_ref() == Some(expected) {
                Ok(())
            } else {
                Err(failed("the value is not the tested one"))
            }
        }
        other => Err(BuiltinError::Failed(format!("unrecognized op: '{other}'"))),
    }
}

fn failed(why: &str) -> BuiltinError {
    BuiltinError::Failed(why.to_owned())
}

/// OPA panics here.
fn broken() -> BuiltinError {
    BuiltinError::Budget("OPA breaks on this patch and has no answer to agree with".to_owned())
}

/// A value and what was changed in it.
struct Node {
    /// What the changes are made to; nothing once the root was removed.
    base: Option<Value>,
    /// Changed members of an object, changed elements of a set, by key.
    keyed: BTreeMap<Value, Child>,
    /// Changed items of an array, by index: apart, as in OPA, where moving one kind may drop the other.
    scalars: BTreeMap<usize, Value>,
    nodes: BTreeMap<usize, Node>,
    /// Of each item of an array as it is now, whether it was changed or inserted.
    inserted: Vec<bool>,
    /// Of each item of the base, whether it is gone.
    gone: Vec<bool>,
    /// Whether OPA has made the room for changes by key, and for changes at all. It makes it by the first value only.
    has_keys: bool,
    has_values: bool,
}

/// A change under a key. Nothing is a removal.
enum Child {
    Scalar(Option<Value>),
    Node(Option<Node>),
}

/// What a path leads to.
enum Place<'a> {
    Node(&'a mut Node),
    Scalar(Value),
}

fn is_composite(value: &Value) -> bool {
    matches!(value, Value::Array(_) | Value::Object(_) | Value::Set(_))
}

impl Node {
    fn of(value: Value, context: &mut Context) -> Result<Self, BuiltinError> {
        let length = value.as_array().map_or(0, <[Value]>::len);
        context.charge_items(length)?;
        Ok(Self {
            has_keys: matches!(value, Value::Object(_) | Value::Set(_)),
            has_values: is_composite(&value),
            base: Some(value),
            keyed: BTreeMap::new(),
            scalars: BTreeMap::new(),
            nodes: BTreeMap::new(),
            inserted: vec![false; length],
            gone: vec![false; length],
        })
    }

    fn clear(&mut self) {
        self.keyed.clear();
        self.scalars.clear();
        self.nodes.clear();
    }

    fn insert_at(
        &mut self,
        context: &mut Context,
        path: &[Value],
        value: &Value,
    ) -> Result<(), BuiltinError> {
        weigh_below(context, value, path.len())?;
        let Some((key, path)) = path.split_last() else {
            let (has_keys, has_values) = (self.has_keys, self.has_values);
            *self = Self { has_keys, has_values, ..Self::of(value.clone(), context)? };
            return Ok(());
        };
        match self.unfold(context, path)? {
            Place::Node(node) => node.insert(context, key, value),
            Place::Scalar(_) => Err(failed("expected a composite value")),
        }
    }

    fn delete_at(&mut self, context: &mut Context, path: &[Value]) -> Result<(), BuiltinError> {
        let Some((key, path)) = path.split_last() else {
            self.base.take().ok_or_else(|| failed("the root was removed already"))?;
            self.clear();
            (self.has_keys, self.has_values) = (false, false);
            return Ok(());
        };
        match self.unfold(context, path)? {
            Place::Node(node) => node.delete(context, key),
            Place::Scalar(_) => Err(failed("expected a composite value")),
        }
    }

    fn render_at(&mut self, context: &mut Context, path: &[Value]) -> Result<Option<Value>, BuiltinError> {
        match self.unfold(context, path)? {
            Place::Node(node) => node.render(context),
            Place::Scalar(value) => Ok(Some(value)),
        }
    }

    fn unfold(&mut self, context: &mut Context, path: &[Value]) -> Result<Place<'_>, BuiltinError> {
        let Some((key, rest)) = path.split_first() else { return Ok(Place::Node(self)) };
        context.charge(1)?;
        match self.child(context, key)? {
            Place::Node(node) => node.unfold(context, rest),
            Place::Scalar(value) if rest.is_empty() => Ok(Place::Scalar(value)),
            Place::Scalar(_) => Err(failed("expected a composite value")),
        }
    }

    /// What a key leads to. An unchanged part becomes a changed one, with no change yet.
    fn child(&mut self, context: &mut Context, key: &Value) -> Result<Place<'_>, BuiltinError> {
        let missing = || BuiltinError::Failed(format!("path {key} does not exist"));
        let found = match self.base.as_ref().ok_or_else(|| failed("the root was removed"))? {
            Value::Array(_) => return self.item(context, key),
            Value::Object(members) => members.get(key).cloned(),
            Value::Set(_) => {
                if is_composite(key) {
                    self.collapse(context)?;
                }
                self.base.as_ref().filter(|set| set.get(key).is_some()).map(|_| key.clone())
            }
            _ => return Err(failed("expected a composite value")),
        };
        if !self.keyed.contains_key(key) {
            self.put(context, key, &found.ok_or_else(missing)?)?;
        }
        match self.keyed.get_mut(key).ok_or_else(missing)? {
            Child::Scalar(Some(value)) => Ok(Place::Scalar(value.clone())),
            Child::Node(Some(node)) => Ok(Place::Node(node)),
            Child::Scalar(None) if matches!(self.base, Some(Value::Set(_))) => Err(broken()),
            Child::Scalar(None) | Child::Node(None) => Err(missing()),
        }
    }

    /// An item of an array. OPA looks an unchanged one up in the array as it was, whatever was moved since.
    fn item(&mut self, context: &mut Context, key: &Value) -> Result<Place<'_>, BuiltinError> {
        let index = index(self.inserted.len(), key)?;
        let missing = || failed("the index does not exist");
        let at = usize::try_from(index).map_err(|_| missing())?;
        if !self.scalars.contains_key(&at) && !self.nodes.contains_key(&at) {
            let items = self.base.as_ref().and_then(Value::as_array);
            let value = items.and_then(|items| items.get(at)).cloned().ok_or_else(missing)?;
            self.delete_item(context, index)?;
            self.insert_item(context, index, &value)?;
        }
        if let Some(value) = self.scalars.get(&at) {
            return Ok(Place::Scalar(value.clone()));
        }
        self.nodes.get_mut(&at).map(Place::Node).ok_or_else(missing)
    }

    /// Makes a set's changes, of which its other elements may depend: its elements are their own keys.
    fn collapse(&mut self, context: &mut Context) -> Result<(), BuiltinError> {
        self.base = self.render(context)?;
        self.keyed.clear();
        Ok(())
    }

    fn insert(&mut self, context: &mut Context, key: &Value, value: &Value) -> Result<(), BuiltinError> {
        match self.base.as_ref().ok_or_else(|| failed("the root was removed"))? {
            Value::Object(_) => self.put(context, key, value),
            Value::Set(_) if key != value => Err(failed("a set's key must be the value to be inserted")),
            Value::Set(_) => {
                if is_composite(key) {
                    self.collapse(context)?;
                }
                self.put(context, key, value)
            }
            Value::Array(_) => {
                let index = index(self.inserted.len(), key)?;
                self.insert_item(context, index, value)
            }
            _ => Err(failed("expected a composite value")),
        }
    }

    fn put(&mut self, context: &mut Context, key: &Value, value: &Value) -> Result<(), BuiltinError> {
        if !self.has_keys || !self.has_values {
            return Err(broken());
        }
        let child = if is_composite(value) {
            Child::Node(Some(Self::of(value.clone(), context)?))
        } else {
            Child::Scalar(Some(value.clone()))
        };
        self.keyed.insert(key.clone(), child);
        Ok(())
    }

    fn insert_item(&mut self, context: &mut Context, index: i64, value: &Value) -> Result<(), BuiltinError> {
        let length = self.inserted.len();
        let at = usize::try_from(index).ok().filter(|at| *at <= length);
        let at = at.ok_or_else(|| failed("index for array insertion out of bounds"))?;
        context.charge_items(length)?;
        let (scalars, nodes) = self.changed_from(at)?;
        for from in scalars.into_iter().rev() {
            self.shift_scalar(from, from.saturating_add(1));
        }
        for from in nodes.into_iter().rev() {
            self.shift_node(from, from.saturating_add(1));
        }
        if !self.has_values {
            return Err(broken());
        }
        self.inserted.insert(at, true);
        if is_composite(value) {
            self.nodes.insert(at, Self::of(value.clone(), context)?);
        } else {
            self.scalars.insert(at, value.clone());
        }
        Ok(())
    }

    /// Where from an index on items were changed: to scalars, and to others.
    fn changed_from(&self, at: usize) -> Result<(Vec<usize>, Vec<usize>), BuiltinError> {
        let (mut scalars, mut nodes) = (Vec::new(), Vec::new());
        for (index, inserted) in self.inserted.iter().enumerate().skip(at) {
            match () {
                () if !inserted => {}
                () if self.scalars.contains_key(&index) => scalars.push(index),
                () if self.nodes.contains_key(&index) => nodes.push(index),
                () => return Err(broken()),
            }
        }
        Ok((scalars, nodes))
    }

    fn shift_scalar(&mut self, from: usize, to: usize) {
        self.nodes.remove(&from);
        if let Some(value) = self.scalars.remove(&from) {
            self.scalars.insert(to, value);
        }
    }

    fn shift_node(&mut self, from: usize, to: usize) {
        self.scalars.remove(&from);
        if let Some(node) = self.nodes.remove(&from) {
            self.nodes.insert(to, node);
        }
    }

    fn delete(&mut self, context: &mut Context, key: &Value) -> Result<(), BuiltinError> {
        let missing = || BuiltinError::Failed(format!("cannot delete child key {key} that does not exist"));
        match self.base.as_ref().ok_or_else(|| failed("the root was removed"))? {
            Value::Array(_) => {
                let index = index(self.inserted.len(), key)?;
                return self.delete_item(context, index);
            }
            Value::Object(_) => {}
            Value::Set(_) if is_composite(key) => self.collapse(context)?,
            Value::Set(_) => {}
            _ => return Err(failed("expected a composite value")),
        }
        match self.keyed.get_mut(key) {
            Some(Child::Scalar(value)) => value.take().map(|_| ()).ok_or_else(missing),
            Some(Child::Node(node)) => node.take().map(|_| ()).ok_or_else(missing),
            None => {
                let value = self.base.as_ref().and_then(|base| base.get(key)).ok_or_else(missing)?;
                if !self.has_keys || !self.has_values {
                    return Err(broken());
                }
                let removed = if is_composite(value) { Child::Node(None) } else { Child::Scalar(None) };
                self.keyed.insert(key.clone(), removed);
                Ok(())
            }
        }
    }

    fn delete_item(&mut self, context: &mut Context, index: i64) -> Result<(), BuiltinError> {
        let length = self.inserted.len();
        let at = usize::try_from(index).ok().filter(|at| *at < length);
        let at = at.ok_or_else(|| failed("index for array delete out of bounds"))?;
        context.charge_items(length)?;
        let (scalars, nodes) = self.changed_from(at.saturating_add(1))?;
        self.scalars.remove(&at);
        self.nodes.remove(&at);
        for from in scalars {
            self.shift_scalar(from, from.saturating_sub(1));
        }
        for from in nodes {
            self.shift_node(from, from.saturating_sub(1));
        }
        if !self.inserted.remove(at) {
            let before = self.inserted.iter().take(at).filter(|inserted| !**inserted).count();
            let original = self.gone.iter_mut().filter(|gone| !**gone).nth(before);
            *original.ok_or_else(broken)? = true;
        }
        Ok(())
    }

    fn render(&self, context: &mut Context) -> Result<Option<Value>, BuiltinError> {
        let Some(base) = &self.base else { return Ok(None) };
        Ok(Some(match base {
            Value::Array(items) => self.rendered_items(context, items)?,
            Value::Object(members) if !self.keyed.is_empty() => {
                context.charge_items(members.len().saturating_add(self.keyed.len()))?;
                let kept = members.iter().filter(|(key, _)| !self.keyed.contains_key(key)).cloned();
                let mut all: Vec<_> = kept.collect();
                for (key, child) in &self.keyed {
                    all.extend(child.render(context)?.map(|value| (key.clone(), value)));
                }
                Value::object(all)
            }
            Value::Set(items) if !self.keyed.is_empty() => {
                context.charge_items(items.len().saturating_add(self.keyed.len()))?;
                let mut all: Vec<_> =
                    items.iter().filter(|item| !self.keyed.contains_key(item)).cloned().collect();
                for child in self.keyed.values() {
                    all.extend(child.render(context)?);
                }
                Value::set(all)
            }
            unchanged => unchanged.clone(),
        }))
    }

    fn rendered_items(&self, context: &mut Context, items: &[Value]) -> Result<Value, BuiltinError> {
        context.charge_items(self.inserted.len())?;
        let mut left = items.iter().zip(&self.gone).filter(|(_, gone)| !**gone).map(|(item, _)| item);
        let mut all = Vec::with_capacity(self.inserted.len());
        for (index, inserted) in self.inserted.iter().enumerate() {
            let item = match (inserted, self.scalars.get(&index), self.nodes.get(&index)) {
                (false, ..) => left.next().cloned(),
                (true, Some(value), _) => Some(value.clone()),
                (true, None, Some(node)) => node.render(context)?,
                (true, None, None) => None,
            };
            all.push(item.ok_or_else(broken)?);
        }
        Ok(Value::array(all))
    }
}

impl Child {
    fn render(&self, context: &mut Context) -> Result<Option<Value>, BuiltinError> {
        match self {
            Self::Scalar(value) => Ok(value.clone()),
            Self::Node(node) => node.as_ref().map_or(Ok(None), |node| node.render(context)),
        }
    }
}

/// The index that a segment names: `-` is behind the last item.
fn index(length: usize, key: &Value) -> Result<i64, BuiltinError> {
    let behind = || i64::try_from(length).map_err(|_| failed("the array is too long"));
    match key {
        Value::Number(number) => {
            whole(&number.to_string()).ok_or_else(|| failed("invalid number type for indexing"))
        }
        Value::String(text) if text.as_ref() == "-" => behind(),
        Value::String(text) => match whole(text) {
            None => Err(failed("invalid string for indexing")),
            Some(_) if text.starts_with('0') && text.as_ref() != "0" => {
                Err(failed("leading zeros are not allowed in JSON paths"))
            }
            Some(index) => Ok(index),
        },
        _ => Err(failed("invalid type for indexing")),
    }
}

/// A whole number as OPA reads it off a literal: a sign and at most 19 digits, nothing else.
fn whole(literal: &str) -> Option<i64> {
    let digits = literal.strip_prefix(['-', '+']).unwrap_or(literal);
    if digits.len() > 19 { None } else { literal.parse().ok() }
}
