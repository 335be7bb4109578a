//! The `objects` builtins.
use super::{Builtin, BuiltinError, Context, Outcome, arg, array, object, operand};
use crate::{Object, Set, Value};

pub(super) const TABLE: &[Builtin] = &[
    Builtin::pure("object.get", 3, get),
    Builtin::pure("object.keys", 1, keys),
    Builtin::pure("object.remove", 2, remove),
    Builtin::pure("object.filter", 2, filter),
    Builtin::pure("object.union", 2, union),
    Builtin::pure("object.union_n", 1, union_n),
    Builtin::pure("object.subset", 2, subset),
];

/// The value of a key, or at the end of a path, which is an array of keys.
fn get(context: &mut Context, args: &[Value]) -> Outcome {
    let (object, path, default) = (object(args, 0)?, arg(args, 1)?, arg(args, 2)?);
    context.charge_values([path])?;
    let found = match path {
        Value::Array(path) => path.iter().try_fold(arg(args, 0)?, |value, key| match value {
            Value::Set(items) => items.contains(key).then_some(key),
            _ => value.get(key),
        }),
        key => object.get(key),
    };
    Ok(Some(found.unwrap_or(default).clone()))
}

fn keys(context: &mut Context, args: &[Value]) -> Outcome {
    let object = object(args, 0)?;
    context.charge_items(object.len())?;
    Ok(Some(Value::set(object.keys().cloned())))
}

fn remove(context: &mut Context, args: &[Value]) -> Outcome {
    let object = object(args, 0)?;
    let keys = listed_keys(context, args)?;
    context.charge_sorting(keys.len(), object.len())?;
    Ok(Some(Value::object(object.iter().filter(|(key, _)| !keys.contains(key)).cloned())))
}

/// The members that are listed. Their keys are written as in the larger of the two.
fn filter(context: &mut Context, args: &[Value]) -> Outcome {
    let object = object(args, 0)?;
    let keys = listed_keys(context, args)?;
    context.charge_sorting(keys.len(), object.len())?;
    let from_list = object.len() < keys.len();
    let members = object.iter().filter_map(|(key, value)| {
        let listed = keys.get(key)?;
        Some((if from_list { listed } else { key }.clone(), value.clone()))
    });
    Ok(Some(Value::object(members)))
}

/// The keys in the second argument: the elements of an array or set, or the keys of an object.
fn listed_keys(context: &mut Context, args: &[Value]) -> Result<Set, BuiltinError> {
    let list = arg(args, 1)?;
    let weight = context.charge_values([list])?;
    context.charge_sorting(weight, weight)?;
    match list {
        Value::Array(items) => Ok(items.iter().cloned().collect()),
        Value::Set(items) => Ok(items.clone()),
        Value::Object(members) => Ok(members.keys().cloned().collect()),
        _ => Err(operand(1, "one of {object, set, array}", list)),
    }
}

fn union(context: &mut Context, args: &[Value]) -> Outcome {
    let (a, b) = (object(args, 0)?, object(args, 1)?);
    context.charge_values(args)?;
    if b.is_empty() || arg(args, 0)? == arg(args, 1)? {
        return Ok(Some(Value::Object(a.clone())));
    }
    Ok(Some(Value::Object(merged(context, &[a, b], KeysOf::First)?)))
}

fn union_n(context: &mut Context, args: &[Value]) -> Outcome {
    let mut objects = Vec::new();
    for item in array(args, 0)? {
        let Value::Object(object) = item else {
            let wrong = item.type_name();
            let what = format!("operand 1 must be array of objects but got array containing {wrong}");
            return Err(BuiltinError::Type(what));
        };
        objects.push(object);
    }
    context.charge_values(args)?;
    Ok(Some(Value::Object(merged(context, &objects, KeysOf::Last)?)))
}

/// Whose way of writing a key stays, if objects write it differently (`1`, `1.0`).
#[derive(Clone, Copy)]
enum KeysOf {
    First,
    Last,
}

/// The members of all. Of one key, the last value counts; if it is an object, it is merged with the objects that stand
/// before it without a break.
fn merged(context: &mut Context, objects: &[&Object], keys: KeysOf) -> Result<Object, BuiltinError> {
    let mut members: Vec<&(Value, Value)> = objects.iter().flat_map(|object| object.iter()).collect();
    context.charge_sorting(members.len(), members.len())?;
    members.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut result = Vec::with_capacity(members.len());
    for same in members.chunk_by(|(a, _), (b, _)| a == b) {
        let (Some((first, _)), Some((last, value))) = (same.first(), same.last()) else { continue };
        let mut nested: Vec<&Object> = same.iter().rev().map_while(|(_, value)| value.as_object()).collect();
        nested.reverse();
        let value = match nested.len() {
            0 | 1 => value.clone(),
            _ => Value::Object(merged(context, &nested, keys)?),
        };
        result.push((if matches!(keys, KeysOf::First) { first } else { last }.clone(), value));
    }
    Ok(result.into_iter().collect())
}

fn subset(context: &mut Context, args: &[Value]) -> Outcome {
    let (all, part) = (arg(args, 0)?, arg(args, 1)?);
    let weight = context.charge_values(args)?;
    let holds = match (all, part) {
        (Value::Object(all), Value::Object(part)) => is_part_of_object(context, all, part)?,
        (Value::Set(all), Value::Set(part)) => {
            context.charge_sorting(all.len(), weight)?;
            part.iter().all(|item| all.contains(item))
        }
        (Value::Array(all), Value::Array(part)) => is_part_of_array(context, all, part)?,
        (Value::Array(all), Value::Set(part)) => {
            context.charge_sorting(part.len(), weight)?;
            are_counted_in(all, part)
        }
        _ => {
            let what = "both arguments object.subset must be of the same type or array and set";
            return Err(BuiltinError::Type(what.to_owned()));
        }
    };
    Ok(Some(holds.into()))
}

/// Objects within objects, sets within sets and arrays within arrays are parts of each other in their turn.
fn is_part_of_object(context: &mut Context, all: &Object, part: &Object) -> Result<bool, BuiltinError> {
    for (key, wanted) in part {
        let Some(have) = all.get(key) else { return Ok(false) };
        let holds = match (have, wanted) {
            (Value::Object(have), Value::Object(wanted)) => is_part_of_object(context, have, wanted)?,
            (Value::Set(have), Value::Set(wanted)) => wanted.iter().all(|item| have.contains(item)),
            (Value::Array(have), Value::Array(wanted)) => is_part_of_array(context, have, wanted)?,
            _ => false,
        };
        if !holds && wanted != have {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the items stand in the array one behind the other.
fn is_part_of_array(context: &mut Context, all: &[Value], part: &[Value]) -> Result<bool, BuiltinError> {
    if part.is_empty() {
        return Ok(true);
    }
    for window in all.windows(part.len()) {
        let same = window.iter().zip(part).take_while(|(have, wanted)| have == wanted).count();
        // The comparisons go through what is equal, which a further window goes through again.
        context.charge_values(part.iter().take(same.saturating_add(1)))?;
        if same == part.len() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether as many items of the array as the set has elements are elements: OPA counts the same element again, so that
/// `[1, 1]` is taken to hold `{1, 2}`, and an empty array to hold nothing, not even no element.
fn are_counted_in(all: &[Value], part: &Set) -> bool {
    let mut missing = part.len();
    all.iter().any(|item| {
        if part.contains(item) {
            missing = missing.saturating_sub(1);
        }
        missing == 0
    })
}

#[cfg(test)]
mod tests {
    use crate::builtins::testing::Want::{TypeError, Value};
    use crate::builtins::testing::check;

    #[test]
    fn members_are_got_as_in_opa() {
        check(&[
            ("object.get", r#"[{"a": 1}, "a", 2]"#, Value("1")),
            ("object.get", r#"[{"a": null}, "a", 2]"#, Value("null")),
            ("object.get", r#"[{"a": false}, "a", 2]"#, Value("false")),
            ("object.get", r#"[{"a": 1}, "b", [2]]"#, Value("[2]")),
            ("object.get", r#"[{"a": {"b": {"c": 1}}}, ["a", "b", "c"], 2]"#, Value("1")),
            ("object.get", r#"[{"a": {"b": 1}}, ["a", "x", "c"], 2]"#, Value("2")),
            ("object.get", r#"[{"a": "text"}, ["a", 0], 2]"#, Value("2")),
            ("object.get", r#"[{"a": [5, 6]}, ["a", 1], 2]"#, Value("6")),
            ("object.get", r#"[{"a": [5, 6]}, ["a", 1.0], 2]"#, Value("2")),
            ("object.get", r#"[{"a": [5, 6]}, ["a", "1"], 2]"#, Value("2")),
            ("object.get", r#"[{"a": {"$set": [5]}}, ["a", 5.0], 2]"#, Value("5.0")),
            ("object.get", r#"[{"a": {"$set": [5]}}, ["a", 6], 2]"#, Value("2")),
            ("object.get", r#"[{"a": 1}, [], 2]"#, Value(r#"{"a": 1}"#)),
            ("object.get", r#"[{}, [], 2]"#, Value("{}")),
            ("object.get", r#"[{"a": 1}, ["a"], 2]"#, Value("1")),
            ("object.get", r#"[{"a": 1}, null, 2]"#, Value("2")),
            ("object.get", r#"[{"a": 1}, {"a": 1}, 2]"#, Value("2")),
            ("object.get", r#"[["a"], 0, 2]"#, TypeError),
            ("object.get", r#"["a", "a", 2]"#, TypeError),
            ("object.keys", r#"[{"b": 1, "a": 2}]"#, Value(r#"{"$set": ["a", "b"]}"#)),
            ("object.keys", "[{}]", Value(r#"{"$set": []}"#)),
            ("object.keys", "[[]]", TypeError),
        ]);
    }

    #[test]
    fn members_are_removed_and_kept_as_in_opa() {
        check(&[
            ("object.remove", r#"[{"a": 1, "b": 2}, ["a", "c"]]"#, Value(r#"{"b": 2}"#)),
            ("object.remove", r#"[{"a": 1, "b": 2}, {"$set": ["b"]}]"#, Value(r#"{"a": 1}"#)),
            ("object.remove", r#"[{"a": 1, "b": {"c": 2}}, {"b": {"c": 1}}]"#, Value(r#"{"a": 1}"#)),
            ("object.remove", r#"[{"a": 1}, []]"#, Value(r#"{"a": 1}"#)),
            ("object.remove", r#"[{}, ["a"]]"#, Value("{}")),
            ("object.remove", r#"[{"a": 1}, "a"]"#, TypeError),
            ("object.remove", r#"[["a"], ["a"]]"#, TypeError),
            ("object.remove", "[null, null]", TypeError),
            ("object.filter", r#"[{"a": 1, "b": {"c": 2}}, ["b", "x"]]"#, Value(r#"{"b": {"c": 2}}"#)),
            ("object.filter", r#"[{"a": 1, "b": 2}, {"$set": ["a"]}]"#, Value(r#"{"a": 1}"#)),
            (
                "object.filter",
                r#"[{"a": {"b": 1, "c": 2}}, {"a": {"b": null}}]"#,
                Value(r#"{"a": {"b": 1, "c": 2}}"#),
            ),
            ("object.filter", r#"[{"a": 1}, []]"#, Value("{}")),
            ("object.filter", r#"[{"a": 1}, 1]"#, TypeError),
            ("object.filter", r#"[{"$set": ["a"]}, ["a"]]"#, TypeError),
        ]);
    }

    #[test]
    fn objects_are_merged_as_in_opa() {
        check(&[
            ("object.union", r#"[{"a": 1}, {"b": 2}]"#, Value(r#"{"a": 1, "b": 2}"#)),
            ("object.union", r#"[{"a": 1, "b": 3}, {"a": 2}]"#, Value(r#"{"a": 2, "b": 3}"#)),
            (
                "object.union",
                r#"[{"a": {"b": {"c": 1}, "d": 1}}, {"a": {"b": {"e": 2}, "d": [2]}}]"#,
                Value(r#"{"a": {"b": {"c": 1, "e": 2}, "d": [2]}}"#),
            ),
            ("object.union", r#"[{"a": {"b": 1}}, {"a": 1}]"#, Value(r#"{"a": 1}"#)),
            ("object.union", r#"[{"a": {"b": 1}}, {"a": {}}]"#, Value(r#"{"a": {"b": 1}}"#)),
            (
                "object.union",
                r#"[{"a": {"$set": [1]}}, {"a": {"$set": [2]}}]"#,
                Value(r#"{"a": {"$set": [2]}}"#),
            ),
            ("object.union", r#"[{"a": 1, "b": 1}, {"a": 1.0, "b": 2}]"#, Value(r#"{"a": 1.0, "b": 2}"#)),
            ("object.union", "[{}, {}]", Value("{}")),
            ("object.union", r#"[{}, {"a": 1}]"#, Value(r#"{"a": 1}"#)),
            ("object.union", r#"[{"a": 1}, [1]]"#, TypeError),
            ("object.union", r#"["a", {"a": 1}]"#, TypeError),
            ("object.union_n", "[[]]", Value("{}")),
            ("object.union_n", r#"[[{"a": 1}]]"#, Value(r#"{"a": 1}"#)),
            (
                "object.union_n",
                r#"[[{"a": {"b": 2}}, {"a": 4}, {"a": {"c": 3}}]]"#,
                Value(r#"{"a": {"c": 3}}"#),
            ),
            (
                "object.union_n",
                r#"[[{"a": {"b": 2}}, {"a": {"c": 3}}, {"a": {"b": 5}}]]"#,
                Value(r#"{"a": {"b": 5, "c": 3}}"#),
            ),
            (
                "object.union_n",
                r#"[[{"a": {"x": {"p": 1}}}, {"a": {"x": 5}}, {"a": {"x": {"q": 2}}}]]"#,
                Value(r#"{"a": {"x": {"q": 2}}}"#),
            ),
            ("object.union_n", r#"[[{"a": {"b": 2}}, {"a": 4}]]"#, Value(r#"{"a": 4}"#)),
            ("object.union_n", r#"[[{"a": 4}, {"a": {"b": 2}}, {}]]"#, Value(r#"{"a": {"b": 2}}"#)),
            ("object.union_n", r#"[[{"a": 1}, 1]]"#, TypeError),
            ("object.union_n", r#"[[null]]"#, TypeError),
            ("object.union_n", r#"[{"$set": [{"a": 1}]}]"#, TypeError),
        ]);
    }

    #[test]
    fn parts_are_recognised_as_in_opa() {
        check(&[
            ("object.subset", r#"[{"a": 1, "b": 2}, {"a": 1}]"#, Value("true")),
            ("object.subset", r#"[{"a": 1}, {"a": 2}]"#, Value("false")),
            ("object.subset", r#"[{"a": 1}, {"a": 1, "b": 2}]"#, Value("false")),
            (
                "object.subset",
                r#"[{"a": {"b": [1, 2, 3], "c": {"$set": [1, 2]}}}, {"a": {"b": [2, 3], "c": {"$set": [2]}}}]"#,
                Value("true"),
            ),
            ("object.subset", r#"[{"a": [1, 2]}, {"a": {"$set": [1]}}]"#, Value("false")),
            ("object.subset", r#"[{"a": {"b": 1}}, {"a": {}}]"#, Value("true")),
            ("object.subset", "[{}, {}]", Value("true")),
            ("object.subset", r#"[{"$set": [1, 2]}, {"$set": [1.0]}]"#, Value("true")),
            ("object.subset", r#"[{"$set": [1, 2]}, {"$set": [3]}]"#, Value("false")),
            ("object.subset", r#"[{"$set": []}, {"$set": []}]"#, Value("true")),
            ("object.subset", "[[1, 2, 3, 4], [2, 3]]", Value("true")),
            ("object.subset", "[[1, 2, 3, 4], [2, 4]]", Value("false")),
            ("object.subset", "[[1, 1, 2], [1, 2]]", Value("true")),
            ("object.subset", "[[1, 2], []]", Value("true")),
            ("object.subset", "[[], []]", Value("true")),
            ("object.subset", "[[], [1]]", Value("false")),
            ("object.subset", "[[1], [1, 2]]", Value("false")),
            ("object.subset", r#"[[1, 2, 3], {"$set": [3, 1]}]"#, Value("true")),
            ("object.subset", r#"[[1, 1], {"$set": [1, 2]}]"#, Value("true")),
            ("object.subset", r#"[[1, 3], {"$set": [1, 2]}]"#, Value("false")),
            ("object.subset", r#"[[1], {"$set": []}]"#, Value("true")),
            ("object.subset", r#"[[], {"$set": []}]"#, Value("false")),
            ("object.subset", r#"[{"$set": [1]}, [1]]"#, TypeError),
            ("object.subset", r#"[{}, []]"#, TypeError),
            ("object.subset", r#"["ab", "a"]"#, TypeError),
            ("object.subset", "[1, 1]", TypeError),
        ]);
    }
}
