//! Values: what input, data and answers are made of. Cheap to clone, ordered as OPA orders them.
pub(crate) mod json;
pub(crate) mod notation;
mod object;
mod set;

use crate::Number;
use std::fmt;
use std::sync::Arc;

pub use json::JsonError;
pub use object::Object;
pub use set::Set;

/// A value. The order of the variants is OPA's order of types.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// `null`.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string.
    String(Arc<str>),
    /// An array.
    Array(Arc<[Value]>),
    /// An object. Its keys may be any values.
    Object(Object),
    /// A set.
    Set(Set),
}

impl Value {
    /// The name that `type_name` gives it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Number(_) => "number",
            Self::String(_) => "string",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
            Self::Set(_) => "set",
        }
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// A whole number that fits.
    pub fn as_i64(&self) -> Option<i64> {
        if let Self::Number(number) = self { number.as_i64() } else { None }
    }

    /// The items of an array.
    pub fn as_array(&self) -> Option<&[Value]> {
        if let Self::Array(items) = self { Some(items) } else { None }
    }

    /// An object.
    pub fn as_object(&self) -> Option<&Object> {
        if let Self::Object(object) = self { Some(object) } else { None }
    }

    /// A set.
    pub fn as_set(&self) -> Option<&Set> {
        if let Self::Set(set) = self { Some(set) } else { None }
    }

    /// What a key, an index or an element leads to: a member of an object, an item of an array by a whole number, an
    /// element of a set by itself.
    pub fn get(&self, key: &Value) -> Option<&Value> {
        match self {
            Self::Object(object) => object.get(key),
            Self::Array(items) => items.get(usize::try_from(key.as_i64()?).ok()?),
            Self::Set(set) => set.get(key),
            _ => None,
        }
    }

    /// An object's member by its name.
    pub fn member(&self, name: &str) -> Option<&Value> {
        self.as_object().and_then(|object| object.member(name))
    }

    /// Both documents in one: of two that are objects the members of both, else the first.
    pub fn merged(&self, other: &Self) -> Self {
        let (Self::Object(left), Self::Object(right)) = (self, other) else { return self.clone() };
        let both = right.iter().map(|(key, value)| match left.get(key) {
            Some(have) => (key.clone(), have.merged(value)),
            None => (key.clone(), value.clone()),
        });
        let only_left = left.iter().filter(|(key, _)| right.get(key).is_none()).cloned();
        Self::object(both.chain(only_left))
    }

    /// An array of these items.
    pub fn array(items: impl IntoIterator<Item = Value>) -> Self {
        Self::Array(items.into_iter().collect())
    }

    /// A set of these elements.
    pub fn set(items: impl IntoIterator<Item = Value>) -> Self {
        Self::Set(items.into_iter().collect())
    }

    /// An object of these members; of equal keys the last one counts.
    pub fn object(members: impl IntoIterator<Item = (Value, Value)>) -> Self {
        Self::Object(members.into_iter().collect())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(Arc::from(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(Arc::from(text))
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Number(Number::from(value))
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Self::Number(Number::from(value))
    }
}

impl From<Number> for Value {
    fn from(value: Number) -> Self {
        Self::Number(value)
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
