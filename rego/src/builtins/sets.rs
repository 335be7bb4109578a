//! The `sets` builtins.
use super::{Builtin, BuiltinError, Context, Outcome, arg, operand, set};
use crate::{Set, Value};

pub(super) const TABLE: &[Builtin] = &[
    Builtin::pure("and", 2, and),
    Builtin::pure("or", 2, or),
    Builtin::pure("set_diff", 2, difference),
    Builtin::pure("intersection", 1, intersection),
    Builtin::pure("union", 1, union),
];

fn and(context: &mut Context, args: &[Value]) -> Outcome {
    let (a, b) = pair(context, args)?;
    Ok(Some(Value::Set(common(a, b))))
}

fn or(context: &mut Context, args: &[Value]) -> Outcome {
    let (a, b) = pair(context, args)?;
    Ok(Some(Value::Set(a.union(b))))
}

/// `minus` of sets, which compare as the same leave nothing.
fn difference(context: &mut Context, args: &[Value]) -> Outcome {
    let (a, b) = pair(context, args)?;
    let same = arg(args, 0)? == arg(args, 1)?;
    Ok(Some(Value::Set(if same { Set::default() } else { a.difference(b) })))
}

fn pair<'a>(context: &mut Context, args: &'a [Value]) -> Result<(&'a Set, &'a Set), BuiltinError> {
    let (a, b) = (set(args, 0)?, set(args, 1)?);
    let weight = context.charge_values(args)?;
    context.charge_sorting(a.len().max(b.len()), weight)?;
    Ok((a, b))
}

/// The elements of both as the smaller set has them.
fn common(a: &Set, b: &Set) -> Set {
    if b.len() < a.len() { b.intersection(a) } else { a.intersection(b) }
}

fn intersection(context: &mut Context, args: &[Value]) -> Outcome {
    let sets = sets(context, args)?;
    let result = sets.iter().copied().cloned().reduce(|result, set| common(&result, &set));
    Ok(Some(Value::Set(result.unwrap_or_default())))
}

fn union(context: &mut Context, args: &[Value]) -> Outcome {
    let sets = sets(context, args)?;
    Ok(Some(Value::set(sets.iter().flat_map(|set| set.iter()).cloned())))
}

fn sets<'a>(context: &mut Context, args: &'a [Value]) -> Result<Vec<&'a Set>, BuiltinError> {
    let all = set(args, 0)?;
    let weight = context.charge_values(args)?;
    context.charge_sorting(weight, weight)?;
    all.iter().map(|item| item.as_set().ok_or_else(|| operand(0, "set", item))).collect()
}

#[cfg(test)]
mod tests {
    use crate::builtins::testing::Want::{TypeError, Value};
    use crate::builtins::testing::check;

    #[test]
    fn sets_are_combined_as_in_opa() {
        check(&[
            ("and", r#"[{"$set": [1, 2, 3]}, {"$set": [2, 3, 4]}]"#, Value(r#"{"$set": [2, 3]}"#)),
            ("and", r#"[{"$set": [1, 2]}, {"$set": [1.0]}]"#, Value(r#"{"$set": [1.0]}"#)),
            ("and", r#"[{"$set": [1.0]}, {"$set": [1, 2]}]"#, Value(r#"{"$set": [1.0]}"#)),
            ("and", r#"[{"$set": []}, {"$set": [1]}]"#, Value(r#"{"$set": []}"#)),
            (
                "and",
                r#"[{"$set": [[1], {"a": 1}]}, {"$set": [[1.0], {"a": 2}]}]"#,
                Value(r#"{"$set": [[1]]}"#),
            ),
            ("and", r#"[[1], {"$set": [1]}]"#, TypeError),
            ("and", r#"[{"$set": [1]}, [1]]"#, TypeError),
            ("and", "[1, 3]", TypeError),
            ("or", r#"[{"$set": [1, 3]}, {"$set": [2, 3]}]"#, Value(r#"{"$set": [1, 2, 3]}"#)),
            ("or", r#"[{"$set": [1.0]}, {"$set": [1, 2]}]"#, Value(r#"{"$set": [1.0, 2]}"#)),
            ("or", r#"[{"$set": []}, {"$set": []}]"#, Value(r#"{"$set": []}"#)),
            (
                "or",
                r#"[{"$set": [null, "a", true]}, {"$set": [{"$set": [1]}]}]"#,
                Value(r#"{"$set": [null, true, "a", {"$set": [1]}]}"#),
            ),
            ("or", "[true, false]", TypeError),
            ("or", r#"[{"$set": []}, {}]"#, TypeError),
            (
                "intersection",
                r#"[{"$set": [{"$set": [1, 2]}, {"$set": [2, 3]}]}]"#,
                Value(r#"{"$set": [2]}"#),
            ),
            ("set_diff", r#"[{"$set": [1, 2]}, {"$set": [2.0, 3]}]"#, Value(r#"{"$set": [1]}"#)),
            ("set_diff", "[2, 1]", TypeError),
            ("set_diff", r#"[{"$set": []}, [1]]"#, TypeError),
            ("intersection", r#"[{"$set": [{"$set": [1, 2]}]}]"#, Value(r#"{"$set": [1, 2]}"#)),
            ("intersection", r#"[{"$set": [{"$set": [1]}, {"$set": []}]}]"#, Value(r#"{"$set": []}"#)),
            ("intersection", r#"[{"$set": []}]"#, Value(r#"{"$set": []}"#)),
            ("intersection", r#"[{"$set": [[1]]}]"#, TypeError),
            ("intersection", r#"[{"$set": [{"$set": [1]}, 1]}]"#, TypeError),
            ("intersection", r#"[[{"$set": [1]}]]"#, TypeError),
            ("union", r#"[{"$set": [{"$set": [1, 2]}, {"$set": [2, 3]}]}]"#, Value(r#"{"$set": [1, 2, 3]}"#)),
            ("union", r#"[{"$set": []}]"#, Value(r#"{"$set": []}"#)),
            ("union", r#"[{"$set": [{"$set": []}]}]"#, Value(r#"{"$set": []}"#)),
            ("union", r#"[{"$set": [{"$set": [1]}, "1"]}]"#, TypeError),
            ("union", r#"[[{"$set": [1]}]]"#, TypeError),
        ]);
    }
}
