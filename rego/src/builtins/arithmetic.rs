//! The `arithmetic` builtins, and the comparisons.
use super::{Builtin, BuiltinError, Context, Outcome, arg, number, operand, text};
use crate::number::ArithmeticError;
use crate::{Number, Value};
use num_bigint::{BigInt, Sign};
use std::cmp::Ordering;
use std::hash::{DefaultHasher, Hash, Hasher};

pub(super) const TABLE: &[Builtin] = &[
    Builtin::pure("plus", 2, |context, args| calculate(context, args, Number::plus)),
    Builtin::pure("minus", 2, minus),
    Builtin::pure("mul", 2, |context, args| calculate(context, args, Number::times)),
    Builtin::pure("div", 2, |context, args| calculate(context, args, Number::over)),
    Builtin::pure("rem", 2, |context, args| calculate(context, args, Number::rest)),
    Builtin::pure("abs", 1, |context, args| convert(context, args, Number::absolute)),
    Builtin::pure("ceil", 1, |context, args| convert(context, args, Number::ceil)),
    Builtin::pure("floor", 1, |context, args| convert(context, args, Number::floor)),
    Builtin::pure("round", 1, |context, args| convert(context, args, Number::round)),
    Builtin::pure("numbers.range", 2, range),
    Builtin::pure("numbers.range_step", 3, range_step),
    Builtin { name: "rand.intn", arity: 2, nondeterministic: true, call: rand_intn },
    Builtin::pure("equal", 2, |context, args| compare(context, args, Ordering::is_eq)),
    Builtin::pure("neq", 2, |context, args| compare(context, args, Ordering::is_ne)),
    Builtin::pure("lt", 2, |context, args| compare(context, args, Ordering::is_lt)),
    Builtin::pure("lte", 2, |context, args| compare(context, args, Ordering::is_le)),
    Builtin::pure("gt", 2, |context, args| compare(context, args, Ordering::is_gt)),
    Builtin::pure("gte", 2, |context, args| compare(context, args, Ordering::is_ge)),
];

impl From<ArithmeticError> for BuiltinError {
    /// A number that cannot be kept is one that OPA would have: it ends the decision instead of being undefined.
    fn from(error: ArithmeticError) -> Self {
        match error {
            ArithmeticError::BeyondLimits => Self::Budget(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// Charges for arithmetic on these numbers, which is free for machine integers.
pub(super) fn charge_numbers(context: &mut Context, a: &Number, b: &Number) -> Result<(), BuiltinError> {
    let (a, b) = (a.weight(), b.weight());
    if a + b == 0 {
        return Ok(());
    }
    // Nineteen digits are a machine word, and a division goes through every pair of words.
    let pairs = (a / 19).saturating_mul(b / 19);
    context.charge_bytes((a + b).saturating_add(pairs / 4))
}

fn calculate(
    context: &mut Context,
    args: &[Value],
    operation: fn(&Number, &Number) -> Result<Number, ArithmeticError>,
) -> Outcome {
    let (a, b) = (number(args, 0)?, number(args, 1)?);
    charge_numbers(context, a, b)?;
    Ok(Some(operation(a, b)?.into()))
}

fn convert(
    context: &mut Context,
    args: &[Value],
    operation: fn(&Number) -> Result<Number, ArithmeticError>,
) -> Outcome {
    let number = number(args, 0)?;
    charge_numbers(context, number, number)?;
    Ok(Some(operation(number)?.into()))
}

fn minus(context: &mut Context, args: &[Value]) -> Outcome {
    match (arg(args, 0)?, arg(args, 1)?) {
        (Value::Number(_), Value::Number(_)) => calculate(context, args, Number::minus),
        (a @ Value::Set(from), b @ Value::Set(taken)) => {
            let weight = context.charge_values([a, b])?;
            context.charge_sorting(taken.len(), weight)?;
            // Sets that compare as the same leave nothing, even if their elements are only taken for equal.
            Ok(Some(if a == b { Value::set([]) } else { Value::Set(from.difference(taken)) }))
        }
        (Value::Number(_), b) => Err(operand(1, "number", b)),
        (Value::Set(_), b @ Value::Number(_)) => Err(operand(1, "set", b)),
        (Value::Set(_), b) => Err(operand(1, "number", b)),
        (a, _) => Err(operand(0, "one of {number, set}", a)),
    }
}

fn compare(context: &mut Context, args: &[Value], holds: fn(Ordering) -> bool) -> Outcome {
    let (a, b) = (arg(args, 0)?, arg(args, 1)?);
    context.charge_comparison(a, b)?;
    Ok(Some(holds(a.cmp(b)).into()))
}

/// An argument that is a whole number, however it is written.
pub(super) fn whole(context: &mut Context, args: &[Value], index: usize) -> Result<BigInt, BuiltinError> {
    let value = arg(args, index)?;
    let Value::Number(number) = value else { return Err(operand(index, "integer", value)) };
    charge_numbers(context, number, number)?;
    number.to_big().ok_or_else(|| not_whole(index))
}

/// An argument that is a whole number that fits a machine word and is written as one.
pub(super) fn machine_int(args: &[Value], index: usize) -> Result<i64, BuiltinError> {
    number(args, index)?.as_i64().ok_or_else(|| not_whole(index))
}

fn not_whole(index: usize) -> BuiltinError {
    let place = index.saturating_add(1);
    BuiltinError::Type(format!("operand {place} must be integer number but got floating-point number"))
}

fn range(context: &mut Context, args: &[Value]) -> Outcome {
    let (from, to) = (whole(context, args, 0)?, whole(context, args, 1)?);
    steps(context, from, &to, &BigInt::from(1))
}

fn range_step(context: &mut Context, args: &[Value]) -> Outcome {
    let (from, to, step) = (whole(context, args, 0)?, whole(context, args, 1)?, whole(context, args, 2)?);
    if step.sign() != Sign::Plus {
        return Err(BuiltinError::Failed("numbers.range_step: step must be a positive integer".to_owned()));
    }
    steps(context, from, &to, &step)
}

fn steps(context: &mut Context, from: BigInt, to: &BigInt, step: &BigInt) -> Outcome {
    let up = from <= *to;
    let distance = if up { to - &from } else { &from - to };
    let count = usize::try_from(distance / step).unwrap_or(usize::MAX).saturating_add(1);
    context.charge_items(count)?;
    let step = if up { step.clone() } else { -step };
    let last_fits = i64::try_from(to).is_ok();
    if let (Ok(first), true, Ok(step)) = (i64::try_from(&from), last_fits, i64::try_from(&step)) {
        // The step behind the last item may not fit, but then it is not taken.
        let items = std::iter::successors(Some(first), |item| item.checked_add(step)).take(count);
        return Ok(Some(Value::array(items.map(Value::from))));
    }
    // A number takes a byte for each digit, which are three bits and a little.
    let digits = usize::try_from(from.bits().max(to.bits()) / 3).unwrap_or(usize::MAX);
    context.charge_bytes(count.saturating_mul(digits))?;
    let mut items = Vec::with_capacity(count);
    let mut item = from;
    for _ in 0..count {
        items.push(Value::from(Number::of_big(&item)?));
        item += &step;
    }
    Ok(Some(Value::array(items)))
}

/// The same name and bound give the same number within one decision, as the seed is the decision's.
fn rand_intn(context: &mut Context, args: &[Value]) -> Outcome {
    let name = text(args, 0)?;
    let bound = machine_int(args, 1)?.unsigned_abs();
    context.charge_bytes(name.len())?;
    if bound > i64::MAX.unsigned_abs() {
        return Err(BuiltinError::Failed("rand.intn: the bound does not fit".to_owned()));
    }
    let mut hasher = DefaultHasher::new();
    (context.seed, name, bound).hash(&mut hasher);
    let drawn = (u128::from(hasher.finish()) * u128::from(bound)) >> 64;
    Ok(Some(i64::try_from(drawn).unwrap_or(0).into()))
}

#[cfg(test)]
mod tests {
    use crate::builtins::testing::Want::{Budget, Failed, TypeError, Value};
    use crate::builtins::testing::{check, context, value};
    use crate::builtins::{BuiltinError, lookup};
    use std::collections::BTreeSet;

    #[test]
    fn numbers_calculate_as_in_opa() {
        check(&[
            ("plus", "[1, 2]", Value("3")),
            ("plus", "[9223372036854775807, 1]", Value("9223372036854775808")),
            ("plus", "[0.1, 0.2]", Value("0.3")),
            ("plus", "[1e3, 1]", Value("1001")),
            ("plus", "[1.0, 2.0]", Value("3")),
            ("plus", r#"["1", 2]"#, TypeError),
            ("plus", "[1, null]", TypeError),
            ("plus", "[[1], [2]]", TypeError),
            ("plus", r#"[{"$set": [1]}, {"$set": [2]}]"#, TypeError),
            ("plus", "[1e30000, 1]", Budget),
            ("minus", "[1, 2]", Value("-1")),
            ("minus", "[-9223372036854775808, 1]", Value("-9223372036854775809")),
            ("minus", "[1.5, 0.25]", Value("1.25")),
            ("minus", r#"[{"$set": [1, 2, 3]}, {"$set": [2.0]}]"#, Value(r#"{"$set": [1, 3]}"#)),
            ("minus", r#"[{"$set": [1]}, {"$set": [1]}]"#, Value(r#"{"$set": []}"#)),
            ("minus", r#"[{"$set": []}, {"$set": [1]}]"#, Value(r#"{"$set": []}"#)),
            ("minus", r#"[{"$set": [1]}, 1]"#, TypeError),
            ("minus", r#"[1, {"$set": [1]}]"#, TypeError),
            ("minus", "[[1], [1]]", TypeError),
            ("minus", r#"["a", 1]"#, TypeError),
            ("mul", "[3, -4]", Value("-12")),
            (
                "mul",
                "[9223372036854775807, 9223372036854775807]",
                Value("85070591730234615847396907784232501249"),
            ),
            ("mul", "[0, -1.5]", Value("-0")),
            ("mul", "[1.5, 2]", Value("3")),
            ("mul", "[1e4000, 1e4000]", Budget),
            ("mul", "[1e-30000, 1e-30000]", Budget),
            ("mul", "[true, 1]", TypeError),
            ("div", "[4, 2]", Value("2")),
            ("div", "[0, -5]", Value("-0")),
            ("div", "[1, 3]", Value("0.33333333333333333334")),
            ("div", "[-9223372036854775808, -1]", Value("9223372036854775808")),
            ("div", "[10000000, 3]", Value("3.3333333333333333333e+06")),
            ("div", "[1, 0]", Failed),
            ("div", "[1, 0.0]", Failed),
            ("div", "[1, -0]", Failed),
            ("div", r#"[1, "1"]"#, TypeError),
            ("rem", "[7, 4]", Value("3")),
            ("rem", "[-7, 4]", Value("-3")),
            ("rem", "[7, -4]", Value("3")),
            ("rem", "[-9223372036854775808, -1]", Value("0")),
            ("rem", "[7.0, 4.0]", Value("3")),
            ("rem", "[1e30, 7]", Value("1")),
            ("rem", "[7.5, 4]", Failed),
            ("rem", "[7, 0]", Failed),
            ("rem", "[7, 0.0]", Failed),
            ("rem", "[7, 18446744073709551616]", Failed),
            ("rem", "[7, 18446744073709551617]", Value("7")),
            ("rem", r#"[7, "4"]"#, TypeError),
            ("rem", r#"[{"$set": []}, 4]"#, TypeError),
        ]);
    }
    #[test]
    fn numbers_are_rounded_as_in_opa() {
        check(&[
            ("abs", "[-5]", Value("5")),
            ("abs", "[-1.50]", Value("1.5")),
            ("abs", "[-9223372036854775808]", Value("9223372036854775808")),
            ("abs", "[-0.0]", Value("0")),
            ("abs", "[-36893488147419103233]", Value("36893488147419103230")),
            ("abs", "[null]", TypeError),
            ("ceil", "[1.1]", Value("2")),
            ("ceil", "[-1.1]", Value("-1")),
            ("ceil", "[-0.5]", Value("1")),
            ("ceil", "[3]", Value("3")),
            ("ceil", "[3.0]", Value("3")),
            ("ceil", "[[]]", TypeError),
            ("floor", "[1.9]", Value("1")),
            ("floor", "[-1.1]", Value("-2")),
            ("floor", "[-0.5]", Value("0")),
            ("floor", "[1e20]", Value("100000000000000000000")),
            ("floor", r#"["1"]"#, TypeError),
            ("round", "[1.5]", Value("2")),
            ("round", "[2.5]", Value("3")),
            ("round", "[-2.5]", Value("-3")),
            ("round", "[-0.4]", Value("0")),
            ("round", "[18446744073709551615]", Value("18446744073709551616")),
            ("round", "[1e30000]", Budget),
            ("round", "[{}]", TypeError),
        ]);
    }

    #[test]
    fn ranges_run_as_in_opa() {
        check(&[
            ("numbers.range", "[1, 3]", Value("[1, 2, 3]")),
            ("numbers.range", "[3, 1]", Value("[3, 2, 1]")),
            ("numbers.range", "[2, 2]", Value("[2]")),
            ("numbers.range", "[-2, 1.0]", Value("[-2, -1, 0, 1]")),
            ("numbers.range", "[1e1, 12]", Value("[10, 11, 12]")),
            (
                "numbers.range",
                "[9223372036854775806, 9223372036854775808]",
                Value("[9223372036854775806, 9223372036854775807, 9223372036854775808]"),
            ),
            (
                "numbers.range",
                "[9223372036854775806, 9223372036854775807]",
                Value("[9223372036854775806, 9223372036854775807]"),
            ),
            (
                "numbers.range",
                "[-9223372036854775807, -9223372036854775808]",
                Value("[-9223372036854775807, -9223372036854775808]"),
            ),
            ("numbers.range", "[1, 3.5]", TypeError),
            ("numbers.range", "[1.5, 3]", TypeError),
            ("numbers.range", r#"[1, "3"]"#, TypeError),
            ("numbers.range", "[null, 3]", TypeError),
            ("numbers.range", "[1, 1000000000000]", Budget),
            ("numbers.range", "[0, 1e30000]", Budget),
            ("numbers.range_step", "[1, 10, 4]", Value("[1, 5, 9]")),
            ("numbers.range_step", "[10, 1, 4]", Value("[10, 6, 2]")),
            ("numbers.range_step", "[1, 2, 10]", Value("[1]")),
            ("numbers.range_step", "[1, 3, 1.0]", Value("[1, 2, 3]")),
            ("numbers.range_step", "[1, 3, 1e30]", Value("[1]")),
            (
                "numbers.range_step",
                "[9223372036854775800, 9223372036854775807, 5]",
                Value("[9223372036854775800, 9223372036854775805]"),
            ),
            ("numbers.range_step", "[1, 3, 0]", Failed),
            ("numbers.range_step", "[1, 3, -1]", Failed),
            ("numbers.range_step", "[3, 1, -1]", Failed),
            ("numbers.range_step", "[1, 3, 0.5]", TypeError),
            ("numbers.range_step", r#"[1, 3, "1"]"#, TypeError),
            ("numbers.range_step", r#"["1", 3, 0]"#, TypeError),
            ("numbers.range_step", "[1, [], 0]", TypeError),
        ]);
    }

    #[test]
    fn values_compare_as_in_opa() {
        check(&[
            ("equal", "[1, 1.0]", Value("true")),
            ("equal", r#"["1", 1]"#, Value("false")),
            ("equal", "[null, false]", Value("false")),
            ("equal", "[[1, 2], [1, 2, 3]]", Value("false")),
            ("equal", r#"[{}, {"$set": []}]"#, Value("false")),
            ("neq", "[1, 1.0]", Value("false")),
            ("neq", "[[], {}]", Value("true")),
            ("lt", r#"[null, false]"#, Value("true")),
            ("lt", r#"[true, 0]"#, Value("true")),
            ("lt", r#"[9, ""]"#, Value("true")),
            ("lt", r#"["z", []]"#, Value("true")),
            ("lt", r#"[[], {}]"#, Value("true")),
            ("lt", r#"[{}, {"$set": []}]"#, Value("true")),
            ("lt", "[[1], [1, 0]]", Value("true")),
            ("lt", "[[2], [1, 0]]", Value("false")),
            ("lt", r#"[{"a": 2}, {"b": 1}]"#, Value("true")),
            ("lt", r#"[{"a": 2}, {"a": 1, "b": 1}]"#, Value("false")),
            ("lt", r#"[{"$set": [1, 3]}, {"$set": [2]}]"#, Value("true")),
            ("lt", r#"["ﬀ", "😀"]"#, Value("true")),
            ("lte", "[2, 1]", Value("false")),
            ("gt", "[1e400, 1e399]", Value("true")),
            ("gt", "[-1e400, 1]", Value("false")),
            ("gte", "[1e-400, 0]", Value("true")),
            ("gte", "[0, 1e-400]", Value("false")),
        ]);
    }

    #[test]
    fn a_random_number_is_below_its_bound_and_the_same_for_the_same_name() {
        check(&[
            ("rand.intn", r#"["a", 0]"#, Value("0")),
            ("rand.intn", r#"["a", 1]"#, Value("0")),
            ("rand.intn", r#"["a", -1]"#, Value("0")),
            ("rand.intn", r#"["a", 1.0]"#, TypeError),
            ("rand.intn", r#"["a", 1e30]"#, TypeError),
            ("rand.intn", r#"["a", "1"]"#, TypeError),
            ("rand.intn", "[1, 1]", TypeError),
        ]);
        let draw = |name: &str, bound: i64| {
            let call = lookup("rand.intn").unwrap().call;
            call(&mut context(), &[name.into(), bound.into()]).unwrap().unwrap().as_i64().unwrap()
        };
        let drawn: BTreeSet<i64> = (0..200).map(|index| draw(&index.to_string(), 10)).collect();
        assert_eq!(drawn, (0..10).collect());
        assert_eq!(draw("a", 1_000_000), draw("a", -1_000_000));
        assert!(matches!(
            (lookup("rand.intn").unwrap().call)(&mut context(), &["a".into(), i64::MIN.into()]),
            Err(BuiltinError::Failed(_))
        ));
    }

    #[test]
    fn comparing_values_larger_than_the_budget_ends_the_decision() {
        let shared =
            |leaf: &str| (0..60).fold(value(leaf), |part, _| crate::Value::array([part.clone(), part]));
        let outcome = (lookup("equal").unwrap().call)(&mut context(), &[shared("1"), shared("1")]);
        assert!(matches!(outcome, Err(BuiltinError::Budget(_))), "{outcome:?}");
    }
}
