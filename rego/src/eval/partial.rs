//! The value of a partial rule while it grows.
use crate::Value;
use std::collections::BTreeMap;

/// A document under construction.
#[derive(Debug)]
pub(crate) struct Partial(Tree);

#[derive(Debug)]
enum Tree {
    Leaf(Value),
    Set(Vec<Value>),
    Members(BTreeMap<Value, Tree>),
}

impl Partial {
    pub(crate) fn new(set: bool) -> Self {
        Self(if set { Tree::Set(Vec::new()) } else { Tree::Members(BTreeMap::new()) })
    }

    /// Puts a value at a path, or an element into the set there.
    pub(crate) fn add(&mut self, path: &[Value], leaf: Value, element: bool) -> Result<(), String> {
        let mut tree = &mut self.0;
        let mut path = path.iter().peekable();
        while let Some(part) = path.next() {
            let Tree::Members(members) = tree else { return Err(CONFLICT.to_owned()) };
            if path.peek().is_none() && !element {
                return match members.get(part) {
                    None => {
                        members.insert(part.clone(), Tree::Leaf(leaf));
                        Ok(())
                    }
                    Some(Tree::Leaf(have)) if *have == leaf => Ok(()),
                    Some(_) => Err(CONFLICT.to_owned()),
                };
            }
            let last = path.peek().is_none();
            tree = members
                .entry(part.clone())
                .or_insert_with(|| if last { Tree::Set(Vec::new()) } else { Tree::Members(BTreeMap::new()) });
        }
        match tree {
            Tree::Set(items) if element => {
                items.push(leaf);
                Ok(())
            }
            _ => Err(CONFLICT.to_owned()),
        }
    }

    pub(crate) fn into_value(self) -> Value {
        self.0.into_value()
    }
}

const CONFLICT: &str = "object keys must be unique";

impl Tree {
    fn into_value(self) -> Value {
        match self {
            Self::Leaf(value) => value,
            Self::Set(items) => Value::set(items),
            Self::Members(members) => {
                Value::object(members.into_iter().map(|(key, tree)| (key, tree.into_value())))
            }
        }
    }
}
