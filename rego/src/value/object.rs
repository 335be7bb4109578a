//! Objects: members sorted by key, shared.
use super::Value;
use std::sync::Arc;

/// An object: members sorted by key, each key once. A clone shares the members.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Object(Arc<Vec<(Value, Value)>>);

impl Object {
    /// The value of a key.
    pub fn get(&self, key: &Value) -> Option<&Value> {
        let at = self.0.binary_search_by(|(have, _)| have.cmp(key)).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    /// The value of a key that is a string.
    pub fn member(&self, name: &str) -> Option<&Value> {
        let at = self
            .0
            .binary_search_by(|(have, _)| match have {
                Value::String(have) => have.as_ref().cmp(name),
                Value::Null | Value::Bool(_) | Value::Number(_) => std::cmp::Ordering::Less,
                _ => std::cmp::Ordering::Greater,
            })
            .ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The members in the order of their keys.
    pub fn iter(&self) -> std::slice::Iter<'_, (Value, Value)> {
        self.0.iter()
    }

    /// The keys in order.
    pub fn keys(&self) -> impl Iterator<Item = &Value> {
        self.0.iter().map(|(key, _)| key)
    }

    /// Sets a member. Linear in the size when the object is shared or the key is new: to build a large object, collect
    /// its members instead.
    pub fn insert(&mut self, key: Value, value: Value) {
        let members = Arc::make_mut(&mut self.0);
        match members.binary_search_by(|(have, _)| have.cmp(&key)) {
            Ok(at) => {
                if let Some(member) = members.get_mut(at) {
                    member.1 = value;
                }
            }
            Err(at) => members.insert(at, (key, value)),
        }
    }

    /// Takes a member away.
    pub fn remove(&mut self, key: &Value) -> Option<Value> {
        let at = self.0.binary_search_by(|(have, _)| have.cmp(key)).ok()?;
        Some(Arc::make_mut(&mut self.0).remove(at).1)
    }
}

impl FromIterator<(Value, Value)> for Object {
    /// Of equal keys the last one counts.
    fn from_iter<T: IntoIterator<Item = (Value, Value)>>(members: T) -> Self {
        let mut members: Vec<_> = members.into_iter().collect();
        if !members.is_sorted_by(|(a, _), (b, _)| a < b) {
            members.sort_by(|(a, _), (b, _)| a.cmp(b));
            let mut unique: Vec<(Value, Value)> = Vec::with_capacity(members.len());
            for member in members {
                match unique.last_mut() {
                    Some(last) if last.0 == member.0 => *last = member,
                    _ => unique.push(member),
                }
            }
            members = unique;
        }
        Self(Arc::new(members))
    }
}

impl<'a> IntoIterator for &'a Object {
    type Item = &'a (Value, Value);
    type IntoIter = std::slice::Iter<'a, (Value, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
