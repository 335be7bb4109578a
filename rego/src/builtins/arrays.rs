//! The `arrays` builtins.
use super::arithmetic::machine_int;
use super::{Builtin, Context, Outcome, array};
use crate::Value;

pub(super) const TABLE: &[Builtin] = &[
    Builtin::pure("array.concat", 2, concat),
    Builtin::pure("array.flatten", 1, flatten),
    Builtin::pure("array.reverse", 1, reverse),
    Builtin::pure("array.slice", 3, slice),
];

fn concat(context: &mut Context, args: &[Value]) -> Outcome {
    let (a, b) = (array(args, 0)?, array(args, 1)?);
    context.charge_items(a.len().saturating_add(b.len()))?;
    Ok(Some(Value::Array([a, b].concat().into())))
}

/// One level of arrays within the array is taken away.
fn flatten(context: &mut Context, args: &[Value]) -> Outcome {
    let items = array(args, 0)?;
    let nested = || items.iter().map(|item| item.as_array().unwrap_or(std::slice::from_ref(item)));
    context.charge_items(items.len())?;
    context.charge_items(nested().map(<[Value]>::len).fold(0, usize::saturating_add))?;
    Ok(Some(Value::array(nested().flatten().cloned())))
}

fn reverse(context: &mut Context, args: &[Value]) -> Outcome {
    let items = array(args, 0)?;
    context.charge_items(items.len())?;
    Ok(Some(Value::array(items.iter().rev().cloned())))
}

/// What lies beyond the ends of the array counts as its ends.
fn slice(context: &mut Context, args: &[Value]) -> Outcome {
    let items = array(args, 0)?;
    let (start, stop) = (machine_int(args, 1)?, machine_int(args, 2)?);
    let end = |index: i64| usize::try_from(index.max(0)).unwrap_or(usize::MAX);
    let stop = end(stop).min(items.len());
    let start = end(start).min(stop);
    context.charge_items(stop - start)?;
    Ok(items.get(start..stop).map(|part| Value::Array(part.into())))
}

#[cfg(test)]
mod tests {
    use crate::builtins::testing::Want::{TypeError, Value};
    use crate::builtins::testing::check;

    #[test]
    fn arrays_are_joined_cut_and_turned_as_in_opa() {
        check(&[
            ("array.concat", "[[1], [2, 1]]", Value("[1, 2, 1]")),
            ("array.concat", "[[], [2]]", Value("[2]")),
            ("array.concat", "[[1], []]", Value("[1]")),
            ("array.concat", "[[], []]", Value("[]")),
            ("array.concat", r#"[{"$set": [1]}, [2]]"#, TypeError),
            ("array.concat", r#"[[1], {"$set": [2]}]"#, TypeError),
            ("array.concat", r#"[[1], "2"]"#, TypeError),
            ("array.flatten", "[[1, [2, 3], [[4]], []]]", Value("[1, 2, 3, [4]]")),
            ("array.flatten", "[[]]", Value("[]")),
            ("array.flatten", "[[[], []]]", Value("[]")),
            ("array.flatten", "[[1, 2]]", Value("[1, 2]")),
            ("array.flatten", r#"[[{"$set": [1]}, [2]]]"#, Value(r#"[{"$set": [1]}, 2]"#)),
            ("array.flatten", r#"[{"$set": [[1]]}]"#, TypeError),
            ("array.flatten", "[null]", TypeError),
            ("array.reverse", "[[1, 2, 3]]", Value("[3, 2, 1]")),
            ("array.reverse", "[[1]]", Value("[1]")),
            ("array.reverse", "[[]]", Value("[]")),
            ("array.reverse", r#"[{"$set": [1]}]"#, TypeError),
            ("array.reverse", r#"["abc"]"#, TypeError),
            ("array.slice", "[[1, 2, 3, 4], 1, 3]", Value("[2, 3]")),
            ("array.slice", "[[1, 2, 3], -5, 2]", Value("[1, 2]")),
            ("array.slice", "[[1, 2, 3], 1, 9223372036854775807]", Value("[2, 3]")),
            ("array.slice", "[[1, 2, 3], 2, 1]", Value("[]")),
            ("array.slice", "[[1, 2, 3], 5, 9]", Value("[]")),
            ("array.slice", "[[1, 2, 3], 0, -9223372036854775808]", Value("[]")),
            ("array.slice", "[[], 0, 1]", Value("[]")),
            ("array.slice", "[[1], 0.0, 1]", TypeError),
            ("array.slice", "[[1], 0, 1e0]", TypeError),
            ("array.slice", "[[1], 0, 9223372036854775808]", TypeError),
            ("array.slice", r#"[[1], "0", 1]"#, TypeError),
            ("array.slice", r#"[{"$set": [1]}, 0, 1]"#, TypeError),
        ]);
    }
}
