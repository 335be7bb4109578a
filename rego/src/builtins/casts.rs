//! The `casts` builtins.
use super::{Builtin, BuiltinError, Context, Outcome, arg, operand};
use crate::number::LooseError;
use crate::{Number, Value};

pub(super) const TABLE: &[Builtin] = &[
    Builtin::pure("to_number", 1, to_number),
    Builtin::pure("cast_array", 1, cast_array),
    Builtin::pure("cast_boolean", 1, |_, args| only(args, "boolean")),
    Builtin::pure("cast_null", 1, |_, args| only(args, "null")),
    Builtin::pure("cast_object", 1, |_, args| only(args, "object")),
    Builtin::pure("cast_set", 1, cast_set),
    Builtin::pure("cast_string", 1, |_, args| only(args, "string")),
];

fn to_number(context: &mut Context, args: &[Value]) -> Outcome {
    let value = arg(args, 0)?;
    let text = match value {
        Value::Null => return Ok(Some(0_i64.into())),
        Value::Bool(value) => return Ok(Some(i64::from(*value).into())),
        Value::Number(_) => return Ok(Some(value.clone())),
        Value::String(text) => text,
        _ => return Err(operand(0, "one of {null, boolean, number, string}", value)),
    };
    context.charge_bytes(text.len())?;
    let name = text.trim_start_matches(['+', '-']);
    if ["inf", "infinity", "nan"].iter().any(|special| name.eq_ignore_ascii_case(special)) {
        return Err(operand(0, "valid number string", value));
    }
    match Number::parse_loosely(text) {
        Ok(number) => Ok(Some(number.into())),
        Err(LooseError::Limits(error)) => Err(error.into()),
        Err(error) => Err(BuiltinError::Failed(format!("parsing {text:?}: {error}"))),
    }
}

fn cast_array(context: &mut Context, args: &[Value]) -> Outcome {
    match arg(args, 0)? {
        value @ Value::Array(_) => Ok(Some(value.clone())),
        Value::Set(items) => {
            context.charge_items(items.len())?;
            Ok(Some(Value::array(items.iter().cloned())))
        }
        value => Err(operand(0, "one of {array, set}", value)),
    }
}

fn cast_set(context: &mut Context, args: &[Value]) -> Outcome {
    match arg(args, 0)? {
        value @ Value::Set(_) => Ok(Some(value.clone())),
        value @ Value::Array(items) => {
            let weight = context.charge_values([value])?;
            context.charge_sorting(items.len(), weight)?;
            Ok(Some(Value::set(items.iter().cloned())))
        }
        value => Err(operand(0, "one of {array, set}", value)),
    }
}

/// A value that has the type already.
fn only(args: &[Value], type_name: &str) -> Outcome {
    let value = arg(args, 0)?;
    if value.type_name() == type_name { Ok(Some(value.clone())) } else { Err(operand(0, type_name, value)) }
}

#[cfg(test)]
mod tests {
    use crate::Value as Any;
    use crate::builtins::testing::Want::{Budget, Failed, TypeError, Value};
    use crate::builtins::testing::{check, context};
    use crate::builtins::{BuiltinError, lookup};

    #[test]
    fn texts_become_numbers_as_in_opa() {
        check(&[
            ("to_number", "[null]", Value("0")),
            ("to_number", "[true]", Value("1")),
            ("to_number", "[false]", Value("0")),
            ("to_number", "[1.50]", Value("1.50")),
            ("to_number", r#"["5"]"#, Value("5")),
            ("to_number", r#"["-5.50"]"#, Value("-5.50")),
            ("to_number", r#"["1e5"]"#, Value("1e5")),
            ("to_number", r#"["-0"]"#, Value("-0")),
            ("to_number", r#"["9223372036854775808"]"#, Value("9223372036854775808")),
            ("to_number", r#"["1e-400"]"#, Value("1e-400")),
            ("to_number", r#"["1e308"]"#, Value("1e308")),
            ("to_number", r#"["1e309"]"#, Failed),
            ("to_number", r#"["1e99999999999999999999"]"#, Failed),
            ("to_number", r#"["1e-99999999999999999999"]"#, Budget),
            ("to_number", r#"[""]"#, Failed),
            ("to_number", r#"["-"]"#, Failed),
            ("to_number", r#"["."]"#, Failed),
            ("to_number", r#"[" 5"]"#, Failed),
            ("to_number", r#"["5 "]"#, Failed),
            ("to_number", r#"["five"]"#, Failed),
            ("to_number", r#"["+-5"]"#, Failed),
            ("to_number", r#"["1e"]"#, Failed),
            ("to_number", r#"["0x10"]"#, Failed),
            ("to_number", r#"["0b1"]"#, Failed),
            ("to_number", r#"["1__0"]"#, Failed),
            ("to_number", r#"["_1"]"#, Failed),
            ("to_number", r#"["1_"]"#, Failed),
            ("to_number", r#"["٣"]"#, Failed),
            ("to_number", r#"["1\n"]"#, Failed),
            ("to_number", r#"["inf"]"#, TypeError),
            ("to_number", r#"["-Infinity"]"#, TypeError),
            ("to_number", r#"["NaN"]"#, TypeError),
            ("to_number", r#"["infinit"]"#, Failed),
            ("to_number", "[[]]", TypeError),
            ("to_number", "[{}]", TypeError),
            ("to_number", r#"[{"$set": []}]"#, TypeError),
        ]);
    }

    /// OPA keeps such texts as numbers that no JSON can have, so they are compared by what comes of calculating.
    #[test]
    fn texts_that_only_go_writes_become_numbers_of_the_same_value() {
        for (text, wanted) in [
            ("+5", "5"),
            ("007", "7"),
            ("-00", "-0"),
            ("00.5", "0.5"),
            (".5", "0.5"),
            ("-.5e1", "-0.5e1"),
            ("5.", "5.0"),
            ("1_000", "1000e0"),
            ("1_0.5", "10.5"),
            ("0x1p4", "16e0"),
            ("0X_1P+4", "16e0"),
            ("-0x1.8p1", "-3000e-3"),
            ("0x1_0p-3", "2000e-3"),
            ("0x.1p0", "625e-4"),
            ("0x0p0", "0e0"),
        ] {
            let call = lookup("to_number").unwrap().call;
            let got = call(&mut context(), &[Any::from(text)]).unwrap().unwrap();
            assert_eq!(got.to_string(), wanted, "{text}");
        }
        for text in [
            "0x1p1024",
            "0x1p99999999999999999999",
            "0xp1",
            "0x1p",
            "0x1p1p1",
            "0x1.2.3p1",
            "0x_p1",
            "0x+1p1",
        ] {
            let call = lookup("to_number").unwrap().call;
            let outcome = call(&mut context(), &[Any::from(text)]);
            assert!(matches!(outcome, Err(BuiltinError::Failed(_))), "{text}: {outcome:?}");
        }
    }

    #[test]
    fn casts_take_what_has_the_type_and_turn_sets_and_arrays_into_each_other() {
        check(&[
            ("cast_array", "[[2, 1]]", Value("[2, 1]")),
            ("cast_array", r#"[{"$set": [2, 1]}]"#, Value("[1, 2]")),
            ("cast_array", "[{}]", TypeError),
            ("cast_array", r#"["a"]"#, TypeError),
            ("cast_set", "[[2, 1, 2.0]]", Value(r#"{"$set": [1, 2]}"#)),
            ("cast_set", r#"[{"$set": []}]"#, Value(r#"{"$set": []}"#)),
            ("cast_set", "[null]", TypeError),
            ("cast_string", r#"["a"]"#, Value(r#""a""#)),
            ("cast_string", "[1]", TypeError),
            ("cast_boolean", "[false]", Value("false")),
            ("cast_boolean", r#"["false"]"#, TypeError),
            ("cast_null", "[null]", Value("null")),
            ("cast_null", "[false]", TypeError),
            ("cast_object", r#"[{"a": 1}]"#, Value(r#"{"a": 1}"#)),
            ("cast_object", "[[]]", TypeError),
        ]);
    }
}
