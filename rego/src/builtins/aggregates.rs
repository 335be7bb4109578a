//! The `aggregates` builtins, and `in`.
use super::{Builtin, BuiltinError, Context, Outcome, arg, operand};
use crate::number::ArithmeticError;
use crate::{Number, Value};

pub(super) const TABLE: &[Builtin] = &[
    Builtin::pure("count", 1, count),
    Builtin::pure("sum", 1, |context, args| {
        total(context, args, |numbers| Number::sum(numbers.iter().copied()))
    }),
    Builtin::pure("product", 1, |context, args| {
        total(context, args, |numbers| Number::product(numbers.iter().copied()))
    }),
    Builtin::pure("max", 1, max),
    Builtin::pure("min", 1, min),
    Builtin::pure("sort", 1, sort),
    Builtin::pure("all", 1, all),
    Builtin::pure("any", 1, any),
    Builtin::pure("internal.member_2", 2, member),
    Builtin::pure("internal.member_3", 3, member_with_key),
];

fn count(context: &mut Context, args: &[Value]) -> Outcome {
    let count = match arg(args, 0)? {
        Value::Array(items) => items.len(),
        Value::Object(members) => members.len(),
        Value::Set(items) => items.len(),
        Value::String(text) => {
            context.charge_bytes(text.len())?;
            text.chars().count()
        }
        value => return Err(operand(0, "one of {array, object, set, string}", value)),
    };
    Ok(Some(count.into()))
}

/// The items of an array or a set.
fn items(args: &[Value]) -> Result<&[Value], BuiltinError> {
    match arg(args, 0)? {
        Value::Array(items) => Ok(items),
        Value::Set(items) => Ok(items.iter().as_slice()),
        value => Err(operand(0, "one of {set, array}", value)),
    }
}

fn total(
    context: &mut Context,
    args: &[Value],
    operation: fn(&[&Number]) -> Result<Number, ArithmeticError>,
) -> Outcome {
    let items = items(args)?;
    context.charge_items(items.len())?;
    let mut numbers = Vec::with_capacity(items.len());
    for item in items {
        let Value::Number(number) = item else {
            let (whole, wrong) = (arg(args, 0)?.type_name(), item.type_name());
            let what = format!("operand 1 must be {whole} of numbers but got {whole} containing {wrong}");
            return Err(BuiltinError::Type(what));
        };
        context.charge_bytes(number.weight())?;
        numbers.push(number);
    }
    Ok(Some(operation(&numbers)?.into()))
}

/// Of items that compare as the same, the last.
fn max(context: &mut Context, args: &[Value]) -> Outcome {
    let items = items(args)?;
    context.charge_values(args)?;
    Ok(items.iter().reduce(|max, item| if max.cmp(item).is_le() { item } else { max }).cloned())
}

/// Of items that compare as the same, the last. Of a set, null is only if there is nothing else.
fn min(context: &mut Context, args: &[Value]) -> Outcome {
    let items = items(args)?;
    context.charge_values(args)?;
    let is_set = arg(args, 0)?.as_set().is_some();
    let smaller = |min: &'_ Value, item: &'_ Value| min.cmp(item).is_ge() || (is_set && *min == Value::Null);
    Ok(items.iter().reduce(|min, item| if smaller(min, item) { item } else { min }).cloned())
}

fn sort(context: &mut Context, args: &[Value]) -> Outcome {
    let mut items = items(args)?.to_vec();
    let weight = context.charge_values(args)?;
    context.charge_sorting(items.len(), weight)?;
    items.sort();
    Ok(Some(Value::Array(items.into())))
}

fn all(context: &mut Context, args: &[Value]) -> Outcome {
    let items = items(args)?;
    context.charge_items(items.len())?;
    Ok(Some(items.iter().all(|item| *item == Value::Bool(true)).into()))
}

fn any(context: &mut Context, args: &[Value]) -> Outcome {
    let items = items(args)?;
    context.charge_items(items.len())?;
    Ok(Some(items.contains(&Value::Bool(true)).into()))
}

/// Whether a value is among the elements of a set or array, or the values of an object.
fn member(context: &mut Context, args: &[Value]) -> Outcome {
    let (wanted, within) = (arg(args, 0)?, arg(args, 1)?);
    let weight = context.charge_values([wanted])?;
    let found = match within {
        Value::Set(items) => items.contains(wanted),
        Value::Array(items) => {
            context.charge_items(items.len().saturating_mul(weight))?;
            items.iter().any(|item| wanted == item)
        }
        Value::Object(members) => {
            context.charge_items(members.len().saturating_mul(weight))?;
            members.iter().any(|(_, item)| wanted == item)
        }
        _ => false,
    };
    Ok(Some(found.into()))
}

/// Whether a key leads to a value. A set's elements are their own keys.
fn member_with_key(context: &mut Context, args: &[Value]) -> Outcome {
    let (key, wanted, within) = (arg(args, 0)?, arg(args, 1)?, arg(args, 2)?);
    context.charge_values([key, wanted])?;
    let found = match within {
        Value::Set(items) => items.contains(key) && key == wanted,
        _ => within.get(key).is_some_and(|value| wanted == value),
    };
    Ok(Some(found.into()))
}

#[cfg(test)]
mod tests {
    use crate::builtins::testing::Want::{Budget, TypeError, Undefined, Value};
    use crate::builtins::testing::check;

    #[test]
    fn what_is_in_a_collection_is_counted_as_in_opa() {
        check(&[
            ("count", "[[1, 2, 2]]", Value("3")),
            ("count", r#"[{"a": 1}]"#, Value("1")),
            ("count", r#"[{"$set": [1, 1.0, 2]}]"#, Value("2")),
            ("count", r#"["åß😀"]"#, Value("3")),
            ("count", r#"[""]"#, Value("0")),
            ("count", "[[]]", Value("0")),
            ("count", "[1]", TypeError),
            ("count", "[null]", TypeError),
            ("count", "[true]", TypeError),
        ]);
    }

    #[test]
    fn numbers_are_added_up_and_multiplied_as_in_opa() {
        check(&[
            ("sum", "[[1, 2, 3]]", Value("6")),
            ("sum", "[[]]", Value("0")),
            ("sum", r#"[{"$set": []}]"#, Value("0")),
            ("sum", r#"[{"$set": [1, 2.5]}]"#, Value("3.5")),
            ("sum", "[[1.0, 2]]", Value("3")),
            ("sum", "[[0.1, 0.2, 0.3]]", Value("0.6")),
            ("sum", "[[9223372036854775807, 1]]", Value("-9223372036854775808")),
            ("sum", "[[9223372036854775808, 1]]", Value("9223372036854775809")),
            ("sum", "[[9223372036854775808, -9223372036854775808]]", Value("0")),
            ("sum", "[[1e30, -1e30, 0.5]]", Value("0.5")),
            ("sum", "[[-0]]", Value("0")),
            ("sum", r#"[[1, "2"]]"#, TypeError),
            ("sum", r#"[["2"]]"#, TypeError),
            ("sum", "[[1.5, null]]", TypeError),
            ("sum", r#"[{"a": 1}]"#, TypeError),
            ("sum", "[1]", TypeError),
            ("sum", "[[1e30000, 1]]", Budget),
            ("product", "[[2, 3, 4]]", Value("24")),
            ("product", "[[]]", Value("1")),
            ("product", r#"[{"$set": [2, 3.0]}]"#, Value("6")),
            ("product", "[[1.5, 1.5]]", Value("2.25")),
            (
                "product",
                "[[9223372036854775807, 9223372036854775807]]",
                Value("85070591730234615847396907784232501249"),
            ),
            ("product", "[[1e300, 1e300, 0.0]]", Value("0")),
            ("product", "[[1e300, 1e300, 0.5, 0]]", Value("0")),
            ("product", "[[0.5, -0]]", Value("-0")),
            ("product", "[[1e4000, 1e4000, 0]]", Value("0")),
            ("product", "[[1e4000, 1e4000]]", Budget),
            ("product", r#"[[1, "2"]]"#, TypeError),
            ("product", "[[1.5, []]]", TypeError),
            ("product", r#"["12"]"#, TypeError),
        ]);
    }

    #[test]
    fn the_largest_and_the_smallest_are_found_and_all_sorted_as_in_opa() {
        check(&[
            ("max", "[[1, 3, 2]]", Value("3")),
            ("max", "[[]]", Undefined),
            ("max", r#"[{"$set": []}]"#, Undefined),
            ("max", r#"[{"$set": [1, "a", [0]]}]"#, Value("[0]")),
            ("max", "[[null]]", Value("null")),
            ("max", "[[1, 1.0]]", Value("1.0")),
            ("max", r#"["abc"]"#, TypeError),
            ("max", r#"[{"a": 1}]"#, TypeError),
            ("min", "[[2, 1, 3]]", Value("1")),
            ("min", "[[1.0, 1]]", Value("1")),
            ("min", "[[]]", Undefined),
            ("min", r#"[{"$set": []}]"#, Undefined),
            ("min", "[[1, null, 2]]", Value("null")),
            ("min", r#"[{"$set": [null]}]"#, Value("null")),
            ("min", r#"[{"$set": [null, 1, 2]}]"#, Value("1")),
            ("min", r#"[{"$set": [null, false, 2]}]"#, Value("false")),
            ("min", "[null]", TypeError),
            ("sort", "[[3, 1, 2]]", Value("[1, 2, 3]")),
            (
                "sort",
                r#"[[{"a": 1}, [1], "a", 1, true, null, {"$set": [1]}]]"#,
                Value(r#"[null, true, 1, "a", [1], {"a": 1}, {"$set": [1]}]"#),
            ),
            ("sort", "[[1.0, 1, 0.5]]", Value("[0.5, 1.0, 1]")),
            ("sort", r#"[{"$set": [2, 1]}]"#, Value("[1, 2]")),
            ("sort", "[[]]", Value("[]")),
            ("sort", r#"["ba"]"#, TypeError),
            ("sort", "[{}]", TypeError),
        ]);
    }

    #[test]
    fn all_and_any_look_for_true_alone() {
        check(&[
            ("all", "[[true, true]]", Value("true")),
            ("all", "[[true, 1]]", Value("false")),
            ("all", "[[]]", Value("true")),
            ("all", r#"[{"$set": [true]}]"#, Value("true")),
            ("all", r#"[{"$set": [true, false]}]"#, Value("false")),
            ("all", "[{}]", TypeError),
            ("any", "[[false, true]]", Value("true")),
            ("any", r#"[[1, "true"]]"#, Value("false")),
            ("any", "[[]]", Value("false")),
            ("any", r#"[{"$set": [true, null]}]"#, Value("true")),
            ("any", "[true]", TypeError),
        ]);
    }

    #[test]
    fn members_are_found_as_in_opa() {
        check(&[
            ("internal.member_2", "[1, [2, 1]]", Value("true")),
            ("internal.member_2", "[1.0, [2, 1]]", Value("true")),
            ("internal.member_2", r#"[1.0, {"$set": [1]}]"#, Value("true")),
            ("internal.member_2", r#"["a", {"a": 1}]"#, Value("false")),
            ("internal.member_2", r#"[1, {"a": 1}]"#, Value("true")),
            ("internal.member_2", r#"["a", "abc"]"#, Value("false")),
            ("internal.member_2", "[null, null]", Value("false")),
            ("internal.member_2", "[1, []]", Value("false")),
            ("internal.member_3", "[0, 5, [5]]", Value("true")),
            ("internal.member_3", "[0.0, 5, [5]]", Value("false")),
            ("internal.member_3", "[1, 5, [5]]", Value("false")),
            ("internal.member_3", "[-1, 5, [5]]", Value("false")),
            ("internal.member_3", r#"["b", 1, {"a": 1}]"#, Value("false")),
            ("internal.member_3", r#"[1, 1.0, {"$set": [1]}]"#, Value("true")),
            ("internal.member_3", r#"[1, 2, {"$set": [1, 2]}]"#, Value("false")),
            ("internal.member_3", r#"[0, "a", "abc"]"#, Value("false")),
            ("internal.member_3", "[null, null, null]", Value("false")),
        ]);
    }
}
