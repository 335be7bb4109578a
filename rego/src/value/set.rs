//! Sets: elements sorted, shared.
use super::Value;
use std::sync::Arc;

/// A set: elements sorted, each once. A clone shares the elements.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Set(Arc<Vec<Value>>);

impl Set {
    /// Whether it holds this element.
    pub fn contains(&self, value: &Value) -> bool {
        self.0.binary_search(value).is_ok()
    }

    /// The element that equals this one.
    pub fn get(&self, value: &Value) -> Option<&Value> {
        self.0.get(self.0.binary_search(value).ok()?)
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The elements in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Value> {
        self.0.iter()
    }

    /// The elements of both.
    pub fn union(&self, other: &Self) -> Self {
        self.iter().chain(other.iter()).cloned().collect()
    }

    /// The elements that both hold.
    pub fn intersection(&self, other: &Self) -> Self {
        self.iter().filter(|value| other.contains(value)).cloned().collect()
    }

    /// The elements that the other does not hold.
    pub fn difference(&self, other: &Self) -> Self {
        self.iter().filter(|value| !other.contains(value)).cloned().collect()
    }
}

impl FromIterator<Value> for Set {
    fn from_iter<T: IntoIterator<Item = Value>>(items: T) -> Self {
        let mut items: Vec<_> = items.into_iter().collect();
        if !items.is_sorted_by(|a, b| a < b) {
            items.sort();
            items.dedup();
        }
        Self(Arc::new(items))
    }
}

impl<'a> IntoIterator for &'a Set {
    type Item = &'a Value;
    type IntoIter = std::slice::Iter<'a, Value>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
