//! The `types` builtins.
use super::{Builtin, Context, Outcome, arg};
use crate::Value;

pub(super) const TABLE: &[Builtin] = &[
    Builtin::pure("is_array", 1, |_, args| is(args, |value| matches!(value, Value::Array(_)))),
    Builtin::pure("is_boolean", 1, |_, args| is(args, |value| matches!(value, Value::Bool(_)))),
    Builtin::pure("is_null", 1, |_, args| is(args, |value| matches!(value, Value::Null))),
    Builtin::pure("is_number", 1, |_, args| is(args, |value| matches!(value, Value::Number(_)))),
    Builtin::pure("is_object", 1, |_, args| is(args, |value| matches!(value, Value::Object(_)))),
    Builtin::pure("is_set", 1, |_, args| is(args, |value| matches!(value, Value::Set(_)))),
    Builtin::pure("is_string", 1, |_, args| is(args, |value| matches!(value, Value::String(_)))),
    Builtin::pure("type_name", 1, type_name),
];

fn is(args: &[Value], kind: fn(&Value) -> bool) -> Outcome {
    Ok(Some(kind(arg(args, 0)?).into()))
}

fn type_name(_: &mut Context, args: &[Value]) -> Outcome {
    Ok(Some(arg(args, 0)?.type_name().into()))
}

#[cfg(test)]
mod tests {
    use crate::builtins::testing::Want::Value;
    use crate::builtins::testing::check;

    #[test]
    fn each_value_is_of_one_type() {
        let values = ["[null]", "[false]", "[1.5]", r#"[""]"#, "[[]]", "[{}]", r#"[{"$set": []}]"#];
        let quoted = [
            r#""null""#,
            r#""boolean""#,
            r#""number""#,
            r#""string""#,
            r#""array""#,
            r#""object""#,
            r#""set""#,
        ];
        let tests = ["is_null", "is_boolean", "is_number", "is_string", "is_array", "is_object", "is_set"];
        let mut rows = Vec::new();
        for (kind, args) in values.into_iter().enumerate() {
            rows.push(("type_name", args, Value(quoted[kind])));
            for (tested, test) in tests.into_iter().enumerate() {
                rows.push((test, args, Value(if tested == kind { "true" } else { "false" })));
            }
        }
        check(&rows);
    }
}
