//! `json.filter` and `json.remove`: what of an object lies on paths.
use super::super::{BuiltinError, Context, Outcome, arg, object};
use crate::Value;
use std::collections::BTreeMap;

/// What shall become of a part of a value that a path leads to.
#[derive(Clone, Copy)]
enum Step {
    /// The path ends here.
    End,
    /// It goes on: where in [`Paths`].
    On(usize),
}

/// Paths as a tree whose nodes lie in one list, so that a long path costs no recursion.
struct Paths(Vec<BTreeMap<Value, Step>>);

impl Paths {
    fn read(context: &mut Context, operand: &Value) -> Result<Self, BuiltinError> {
        let paths = match operand {
            Value::Array(paths) => paths.iter(),
            Value::Set(paths) => paths.iter(),
            other => {
                let got = other.type_name();
                return Err(BuiltinError::Type(format!(
                    "operand 2 must be one of {{set, array}} but got {got}"
                )));
            }
        };
        let mut tree = Self(vec![BTreeMap::new()]);
        for path in paths {
            let path = segments(context, path)?;
            context.charge(path.len())?;
            tree.add(path);
        }
        Ok(tree)
    }

    /// A path that is the beginning of another one makes that one void.
    fn add(&mut self, mut path: Vec<Value>) {
        let Some(last) = path.pop() else { return };
        let mut at = 0;
        for segment in path {
            let next = self.0.len();
            let Some(node) = self.0.get_mut(at) else { return };
            match *node.entry(segment).or_insert(Step::On(next)) {
                Step::End => return,
                Step::On(on) => at = on,
            }
            if at == next {
                self.0.push(BTreeMap::new());
            }
        }
        if let Some(node) = self.0.get_mut(at) {
            node.insert(last, Step::End);
        }
    }

    fn step(&self, at: usize, key: &Value) -> Option<Step> {
        self.0.get(at)?.get(key).copied()
    }

    /// The step of an index, which paths write as a string.
    fn step_to_index(&self, at: usize, index: usize) -> Option<Step> {
        self.step(at, &Value::from(index.to_string()))
    }

    fn filtered(&self, context: &mut Context, value: &Value, step: Step) -> Result<Value, BuiltinError> {
        let Step::On(at) = step else { return Ok(value.clone()) };
        context.charge_items(size(value))?;
        Ok(match value {
            Value::Array(items) => {
                let mut kept = Vec::new();
                for (index, item) in items.iter().enumerate() {
                    if let Some(step) = self.step_to_index(at, index) {
                        kept.push(self.filtered(context, item, step)?);
                    }
                }
                Value::array(kept)
            }
            Value::Set(items) => {
                let mut kept = Vec::new();
                for item in items {
                    if let Some(step) = self.step(at, item) {
                        kept.push(self.filtered(context, item, step)?);
                    }
                }
                Value::set(kept)
            }
            Value::Object(members) => {
                let mut kept = Vec::new();
                for (key, value) in members {
                    if let Some(step) = self.step(at, key) {
                        kept.push((key.clone(), self.filtered(context, value, step)?));
                    }
                }
                Value::object(kept)
            }
            scalar => scalar.clone(),
        })
    }

    /// What remains of a value; nothing where a path ends.
    fn without(
        &self,
        context: &mut Context,
        value: &Value,
        step: Option<Step>,
    ) -> Result<Option<Value>, BuiltinError> {
        let at = match step {
            None => return Ok(Some(value.clone())),
            Some(Step::End) => return Ok(None),
            Some(Step::On(at)) => at,
        };
        context.charge_items(size(value))?;
        Ok(Some(match value {
            Value::Array(items) => {
                let mut kept = Vec::new();
                for (index, item) in items.iter().enumerate() {
                    kept.extend(self.without(context, item, self.step_to_index(at, index))?);
                }
                Value::array(kept)
            }
            Value::Set(items) => {
                let mut kept = Vec::new();
                for item in items {
                    kept.extend(self.without(context, item, self.step(at, item))?);
                }
                Value::set(kept)
            }
            Value::Object(members) => {
                let mut kept = Vec::new();
                for (key, value) in members {
                    let value = self.without(context, value, self.step(at, key))?;
                    kept.extend(value.map(|value| (key.clone(), value)));
                }
                Value::object(kept)
            }
            scalar => scalar.clone(),
        }))
    }
}

fn size(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.len(),
        Value::Set(items) => items.len(),
        Value::Object(members) => members.len(),
        _ => 0,
    }
}

/// The segments of a path: of a JSON pointer (RFC 6901, but slashes in front do not count), or of an array.
pub(super) fn segments(context: &mut Context, path: &Value) -> Result<Vec<Value>, BuiltinError> {
    match path {
        Value::String(text) if text.is_empty() => Ok(Vec::new()),
        Value::String(text) => {
            context.charge_bytes(text.len().saturating_mul(4))?;
            let parts = text.trim_start_matches('/').split('/');
            Ok(parts.map(|part| Value::from(part.replace("~1", "/").replace("~0", "~"))).collect())
        }
        Value::Array(items) => {
            context.charge_items(items.len())?;
            Ok(items.to_vec())
        }
        other => Err(BuiltinError::Type(format!(
            "operand 2 must be one of {{set, array}} containing string paths or array of path segments but got {}",
            other.type_name()
        ))),
    }
}

pub(super) fn filter(context: &mut Context, args: &[Value]) -> Outcome {
    object(args, 0)?;
    let paths = Paths::read(context, arg(args, 1)?)?;
    Ok(Some(paths.filtered(context, arg(args, 0)?, Step::On(0))?))
}

pub(super) fn remove(context: &mut Context, args: &[Value]) -> Outcome {
    object(args, 0)?;
    let paths = Paths::read(context, arg(args, 1)?)?;
    paths.without(context, arg(args, 0)?, Some(Step::On(0)))
}
