//! What is known of a value before it is evaluated.
use crate::Value;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

/// What is known of a term; `None` where nothing is.
pub(crate) type Known = Option<Type>;

/// A set of values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Type {
    Null,
    Boolean,
    Number,
    String,
    Array(Arc<Array>),
    Object(Arc<Object>),
    Set(Arc<Set>),
    /// Whatever there is.
    Any,
    /// More than is looked at: whoever comes across it ends the check.
    TooLarge,
    /// One of several types.
    OneOf(Arc<Union>),
    Function(Arc<Function>),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Array {
    /// What the items after the first ones are; `None` if there are none.
    pub(crate) rest: Known,
    /// The first items, one by one.
    pub(crate) items: Vec<Known>,
    size: Size,
    values: Found,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Object {
    /// The keys and the values of members that are not known by name.
    pub(crate) rest: Option<(Known, Known)>,
    pub(crate) members: BTreeMap<Value, Known>,
    size: Size,
    keys: Found,
    values: Found,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Set {
    pub(crate) of: Known,
    size: Size,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Union {
    pub(crate) types: BTreeSet<Type>,
    size: Size,
    keys: Found,
    values: Found,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Function {
    pub(crate) args: Vec<Known>,
    pub(crate) result: Known,
    size: Size,
}

/// What all keys or values of a type are, which is found out once: many references lead into a large table. It follows
/// from the rest of the type, and says nothing in comparisons.
#[derive(Clone, Debug, Default)]
struct Found(OnceLock<Known>);

impl Found {
    fn of(&self, find: impl FnOnce() -> Known) -> Known {
        self.0.get_or_init(find).clone()
    }
}

impl PartialEq for Found {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Found {}

impl PartialOrd for Found {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Found {
    fn cmp(&self, _: &Self) -> Ordering {
        Ordering::Equal
    }
}

/// How much there is of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Size {
    weight: usize,
    depth: usize,
    /// Whether there is a part of which nothing is known. Of the types of a union it does not matter.
    open: bool,
}

/// A type that is larger is too large: types are made of types, and each of several could hold the one before twice. A
/// literal of a hundred thousand records has room.
const WEIGHT_MAX: usize = 1_000_000;
/// So is one that nests deeper: types are walked by recursion.
const DEPTH_MAX: usize = 128;

impl Size {
    const ONE: Self = Self { weight: 1, depth: 1, open: false };

    fn and(self, part: &Known) -> Self {
        let part = part.as_ref().map_or(Self { open: true, ..Self::ONE }, Type::size);
        Self {
            weight: self.weight.saturating_add(part.weight),
            depth: self.depth.max(part.depth.saturating_add(1)),
            open: self.open || part.open,
        }
    }

    fn of<'t>(parts: impl IntoIterator<Item = &'t Known>) -> Self {
        parts.into_iter().fold(Self::ONE, Self::and)
    }

    fn is_too_large(self) -> bool {
        self.weight > WEIGHT_MAX || self.depth > DEPTH_MAX
    }
}

impl Type {
    pub(crate) fn array(items: Vec<Known>, rest: Known) -> Self {
        let mut size = Size::of(&items);
        if rest.is_some() {
            size = size.and(&rest);
        }
        if size.is_too_large() {
            return Self::TooLarge;
        }
        Self::Array(Arc::new(Array { rest, items, size, values: Found::default() }))
    }

    pub(crate) fn object(members: BTreeMap<Value, Known>, rest: Option<(Known, Known)>) -> Self {
        let mut size = Size::of(members.values());
        if let Some((key, value)) = &rest {
            size = size.and(key).and(value);
        }
        if size.is_too_large() {
            return Self::TooLarge;
        }
        Self::Object(Arc::new(Object {
            rest,
            members,
            size,
            keys: Found::default(),
            values: Found::default(),
        }))
    }

    /// An object of which no member is known by name.
    pub(crate) fn map(key: Known, value: Known) -> Self {
        Self::object(BTreeMap::new(), Some((key, value)))
    }

    pub(crate) fn set(of: Known) -> Self {
        let size = Size::of([&of]);
        if size.is_too_large() { Self::TooLarge } else { Self::Set(Arc::new(Set { of, size })) }
    }

    pub(crate) fn function(args: Vec<Known>, result: Known) -> Self {
        let size = Size::of(args.iter().chain([&result]));
        if size.is_too_large() {
            Self::TooLarge
        } else {
            Self::Function(Arc::new(Function { args, result, size }))
        }
    }

    pub(crate) fn one_of(types: impl IntoIterator<Item = Type>) -> Self {
        let none = Self::OneOf(Arc::new(Union {
            types: BTreeSet::new(),
            size: Size::ONE,
            keys: Found::default(),
            values: Found::default(),
        }));
        types.into_iter().fold(none, |union, one| match union {
            Self::OneOf(union) => Union::with(union, one),
            other => other,
        })
    }

    fn size(&self) -> Size {
        match self {
            Self::Array(array) => array.size,
            Self::Object(object) => object.size,
            Self::Set(set) => set.size,
            Self::OneOf(union) => Size { open: false, ..union.size },
            Self::Function(function) => function.size,
            // So is what it is a part of.
            Self::TooLarge => Size { weight: usize::MAX, ..Size::ONE },
            _ => Size::ONE,
        }
    }

    /// How many types it may be.
    pub(crate) fn breadth(&self) -> usize {
        if let Self::OneOf(union) = self { union.types.len() } else { 1 }
    }

    /// The type of a constant as it is in JSON.
    pub(crate) fn of_json(value: &Value) -> Self {
        let all = |items: &mut dyn Iterator<Item = &Value>| {
            Self::array(items.map(|item| Some(Self::of_json(item))).collect(), None)
        };
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Boolean,
            Value::Number(_) => Self::Number,
            Value::String(_) => Self::String,
            Value::Array(items) => all(&mut items.iter()),
            Value::Set(items) => all(&mut items.iter()),
            Value::Object(members) => {
                let members = members.iter().map(|(key, value)| (key.clone(), Some(Self::of_json(value))));
                Self::object(members.collect(), None)
            }
        }
    }

    /// What its parts are found by: the keys of objects, the indices of arrays, the elements of sets.
    pub(crate) fn keys(&self) -> Known {
        match self {
            Self::Array(_) => Some(Self::Number),
            Self::Object(object) => object.keys.of(|| {
                let named = object.members.keys().map(|key| Some(Self::of_json(key)));
                let rest = object.rest.as_ref().and_then(|(key, _)| key.clone());
                named.chain([rest]).fold(None, or)
            }),
            Self::Set(set) => set.of.clone(),
            Self::Any => Some(Self::Any),
            Self::OneOf(union) => {
                let keys = || union.types.iter().map(Self::keys).fold(None, |all, keys| or(keys, all));
                union.keys.of(keys)
            }
            _ => None,
        }
    }

    /// What its parts are.
    pub(crate) fn values(&self) -> Known {
        match self {
            Self::Array(array) => {
                array.values.of(|| array.items.iter().chain([&array.rest]).cloned().fold(None, or))
            }
            Self::Object(object) => object.values.of(|| {
                let rest = object.rest.iter().map(|(_, value)| value);
                object.members.values().chain(rest).cloned().fold(None, or)
            }),
            Self::Set(set) => set.of.clone(),
            Self::Any => Some(Self::Any),
            Self::OneOf(union) => {
                let values =
                    || union.types.iter().map(Self::values).fold(None, |all, values| or(values, all));
                union.values.of(values)
            }
            _ => None,
        }
    }

    /// What a constant leads to in it.
    pub(crate) fn select(&self, key: &Value) -> Known {
        match self {
            Self::Array(array) => array.at(usize::try_from(key.as_i64()?).ok()?).clone(),
            Self::Object(object) => object.member(key),
            Self::Set(set) => {
                let key = Self::of_json(key);
                let of = set.of.as_ref()?;
                if *of == key || matches!(of, Self::Any | Self::OneOf(_)) && of.contains(&key) {
                    Some(key)
                } else {
                    None
                }
            }
            Self::Any => Some(Self::Any),
            Self::OneOf(union) => {
                union.types.iter().map(|one| one.select(key)).fold(None, |all, found| or(found, all))
            }
            _ => None,
        }
    }

    /// Whether all of another type's values are its own, as far as it is told by equality.
    pub(crate) fn contains(&self, other: &Self) -> bool {
        match self {
            Self::Any => !matches!(other, Self::Function(_)),
            Self::OneOf(union) => union.types.contains(other),
            one => one == other,
        }
    }
}

impl Array {
    /// The item at an index.
    pub(crate) fn at(&self, index: usize) -> &Known {
        self.items.get(index).unwrap_or(&self.rest)
    }
}

impl Object {
    /// The member of a name.
    pub(crate) fn member(&self, key: &Value) -> Known {
        if let Some(found) = self.members.get(key) {
            return found.clone();
        }
        let (keys, value) = self.rest.as_ref()?;
        let contained = keys.as_ref().is_some_and(|keys| keys.contains(&Type::of_json(key)));
        if contained { value.clone() } else { None }
    }

    /// What members are that are not known by name.
    pub(crate) fn rest_value(&self) -> Option<&Type> {
        self.rest.as_ref().and_then(|(_, value)| value.as_ref())
    }

    fn is_map(&self) -> bool {
        self.members.is_empty() && self.rest.is_some()
    }
}

impl Union {
    /// The same with one type more. What nobody else holds is extended where it is, so that many rules of one name cost
    /// no more than each of them.
    fn with(mut shared: Arc<Self>, other: Type) -> Type {
        if shared.types.contains(&other) {
            return Type::OneOf(shared);
        }
        let other = Some(other);
        let size = shared.size.and(&other);
        if size.is_too_large() {
            return Type::TooLarge;
        }
        let union = Arc::make_mut(&mut shared);
        union.types.extend(other);
        union.size = size;
        (union.keys, union.values) = (Found::default(), Found::default());
        Type::OneOf(shared)
    }
}

/// Whether nothing is known of a term, or of a part of it.
pub(crate) fn is_open(known: &Known) -> bool {
    known.as_ref().is_none_or(|known| known.size().open)
}

/// What is one or the other.
pub(crate) fn or(a: Known, b: Known) -> Known {
    let (a, b) = match (a, b) {
        (Some(a), Some(b)) => (a, b),
        (a, b) => return a.or(b),
    };
    Some(match (a, b) {
        (Type::TooLarge, _) | (_, Type::TooLarge) => Type::TooLarge,
        (Type::Function(a), Type::Function(b)) => return both(taken(a), taken(b)),
        (Type::Function(_), _) | (_, Type::Function(_)) => return None,
        (Type::Any, _) | (_, Type::Any) => Type::Any,
        (Type::OneOf(a), Type::OneOf(b)) => {
            let (large, small) = if a.types.len() < b.types.len() { (b, a) } else { (a, b) };
            small.types.iter().cloned().fold(Type::OneOf(large), |all, one| match all {
                Type::OneOf(union) => Union::with(union, one),
                other => other,
            })
        }
        (Type::OneOf(union), one) | (one, Type::OneOf(union)) => Union::with(union, one),
        (a, b) if a == b => a,
        (a, b) => Type::one_of([a, b]),
    })
}

fn both(a: Function, b: Function) -> Known {
    if a.args.len() != b.args.len() {
        // Some function.
        return Some(Type::function(Vec::new(), None));
    }
    let args = a.args.into_iter().zip(b.args).map(|(a, b)| or(a, b)).collect();
    Some(Type::function(args, or(a.result, b.result)))
}

/// What a name stands for that has one type by one rule and another by another.
pub(crate) fn merge(a: Known, b: Known) -> Known {
    let (a, b) = match (a, b) {
        (Some(a), Some(b)) => (a, b),
        (a, b) => return a.or(b),
    };
    match (a, b) {
        (Type::Object(a), Type::Object(b)) if a.is_map() && b.is_map() => {
            let (key, value) = taken(a).rest.unwrap_or_default();
            let (other_key, other_value) = taken(b).rest.unwrap_or_default();
            Some(Type::map(or(key, other_key), merge(value, other_value)))
        }
        (Type::Object(object), Type::OneOf(union)) | (Type::OneOf(union), Type::Object(object)) => {
            match merged_into(&union, &object) {
                Some(merged) => Some(merged),
                None => or(Some(Type::OneOf(union)), Some(Type::Object(object))),
            }
        }
        (Type::Set(a), Type::Set(b)) => Some(Type::set(or(taken(a).of, taken(b).of))),
        (a, b) => or(Some(a), Some(b)),
    }
}

/// What is inside, without a copy where nobody else holds it.
pub(super) fn taken<T: Clone>(shared: Arc<T>) -> T {
    Arc::try_unwrap(shared).unwrap_or_else(|shared| (*shared).clone())
}

/// The first object of a union that has no members known by name takes another one in.
fn merged_into(union: &Union, object: &Object) -> Known {
    let (key, value) = object.rest.as_ref().filter(|_| object.is_map())?;
    let (old, (old_key, old_value)) = union.types.iter().find_map(|one| match one {
        Type::Object(map) if map.is_map() => Some((one, map.rest.as_ref()?)),
        _ => None,
    })?;
    let taken = Type::map(or(old_key.clone(), key.clone()), or(old_value.clone(), value.clone()));
    Some(Type::one_of(union.types.iter().filter(|one| *one != old).cloned().chain([taken])))
}
