//! How the operators compare values.
use super::Value;
use std::cmp::Ordering;

impl Value {
    /// How `==`, `!=`, `<`, `<=`, `>`, `>=` and unification see two values: as `Ord` does, but for
    /// [`crate::Number::compare`]. Sets and the keys of objects are looked up by `Ord`.
    pub fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.compare(b),
            (Self::Array(a), Self::Array(b)) => in_turn(a.iter(), b.iter(), Self::compare),
            (Self::Set(a), Self::Set(b)) => in_turn(a.iter(), b.iter(), Self::compare),
            (Self::Object(a), Self::Object(b)) => {
                in_turn(a.iter(), b.iter(), |(k, v), (l, w)| k.compare(l).then_with(|| v.compare(w)))
            }
            _ => self.cmp(other),
        }
    }

    /// Whether [`Value::compare`] finds them equal.
    pub fn is_same(&self, other: &Self) -> bool {
        self.compare(other) == Ordering::Equal
    }
}

fn in_turn<'a, T: 'a>(
    a: impl ExactSizeIterator<Item = &'a T>,
    b: impl ExactSizeIterator<Item = &'a T>,
    compare: impl Fn(&T, &T) -> Ordering,
) -> Ordering {
    let lengths = a.len().cmp(&b.len());
    a.zip(b).map(|(a, b)| compare(a, b)).find(|order| order.is_ne()).unwrap_or(lengths)
}
