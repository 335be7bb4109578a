//! The `bits` builtins: of whole numbers of any length, in two's complement.
use super::arithmetic::whole;
use super::{Builtin, BuiltinError, Context, Outcome, arg};
use crate::{Number, Value};
use num_bigint::{BigInt, Sign};

pub(super) const TABLE: &[Builtin] = &[
    Builtin::pure("bits.and", 2, |context, args| combine(context, args, |a, b| a & b, |a, b| a & b)),
    Builtin::pure("bits.or", 2, |context, args| combine(context, args, |a, b| a | b, |a, b| a | b)),
    Builtin::pure("bits.xor", 2, |context, args| combine(context, args, |a, b| a ^ b, |a, b| a ^ b)),
    Builtin::pure("bits.negate", 1, negate),
    Builtin::pure("bits.lsh", 2, shift_left),
    Builtin::pure("bits.rsh", 2, shift_right),
];

/// More bits than any number has.
const MANY_BITS: u64 = 1 << 20;

fn combine(
    context: &mut Context,
    args: &[Value],
    machine: fn(i64, i64) -> i64,
    long: fn(BigInt, BigInt) -> BigInt,
) -> Outcome {
    if let (Some(a), Some(b)) = (arg(args, 0)?.as_i64(), arg(args, 1)?.as_i64()) {
        return Ok(Some(machine(a, b).into()));
    }
    let (a, b) = (whole(context, args, 0)?, whole(context, args, 1)?);
    Ok(Some(Number::of_big(&long(a, b))?.into()))
}

fn negate(context: &mut Context, args: &[Value]) -> Outcome {
    Ok(Some(Number::of_big(&!whole(context, args, 0)?)?.into()))
}

fn shift_left(context: &mut Context, args: &[Value]) -> Outcome {
    let (number, shift) = (whole(context, args, 0)?, places(context, args)?);
    if number.sign() == Sign::NoSign {
        return Ok(Some(0_i64.into()));
    }
    Ok(Some(Number::of_big(&(number << shift.min(MANY_BITS)))?.into()))
}

fn shift_right(context: &mut Context, args: &[Value]) -> Outcome {
    let (number, shift) = (whole(context, args, 0)?, places(context, args)?);
    Ok(Some(Number::of_big(&(number >> shift.min(MANY_BITS)))?.into()))
}

/// How far to shift. As in OPA, the low 64 bits of the operand count.
fn places(context: &mut Context, args: &[Value]) -> Result<u64, BuiltinError> {
    let shift = whole(context, args, 1)?;
    if shift.sign() == Sign::Minus {
        let what = "operand 2 must be an unsigned integer number but got a negative integer";
        return Err(BuiltinError::Type(what.to_owned()));
    }
    Ok(shift.iter_u64_digits().next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use crate::builtins::testing::Want::{Budget, TypeError, Value};
    use crate::builtins::testing::check;

    #[test]
    fn bits_combine_as_in_opa() {
        check(&[
            ("bits.and", "[12, 10]", Value("8")),
            ("bits.and", "[-1, 10]", Value("10")),
            ("bits.and", "[-4, -7]", Value("-8")),
            ("bits.and", "[18446744073709551615, 9223372036854775808]", Value("9223372036854775808")),
            ("bits.and", "[-1, 18446744073709551616]", Value("18446744073709551616")),
            ("bits.and", "[3.0, 2e0]", Value("2")),
            ("bits.and", "[3.5, 2]", TypeError),
            ("bits.and", r#"["3", 2]"#, TypeError),
            ("bits.and", "[3, null]", TypeError),
            ("bits.and", r#"[{"$set": [1]}, {"$set": [1]}]"#, TypeError),
            ("bits.or", "[12, 10]", Value("14")),
            ("bits.or", "[-12, 10]", Value("-2")),
            ("bits.or", "[1, 18446744073709551616]", Value("18446744073709551617")),
            ("bits.or", "[1, 0.5]", TypeError),
            ("bits.or", "[1, 1e30000]", Budget),
            ("bits.xor", "[12, 10]", Value("6")),
            ("bits.xor", "[-1, 0]", Value("-1")),
            ("bits.xor", "[18446744073709551616, 18446744073709551616]", Value("0")),
            ("bits.xor", "[[], 0]", TypeError),
            ("bits.negate", "[0]", Value("-1")),
            ("bits.negate", "[-43]", Value("42")),
            ("bits.negate", "[9223372036854775807]", Value("-9223372036854775808")),
            ("bits.negate", "[18446744073709551615]", Value("-18446744073709551616")),
            ("bits.negate", "[1.5]", TypeError),
            ("bits.negate", r#"["1"]"#, TypeError),
        ]);
    }

    #[test]
    fn bits_shift_as_in_opa() {
        check(&[
            ("bits.lsh", "[1, 3]", Value("8")),
            ("bits.lsh", "[-3, 1]", Value("-6")),
            ("bits.lsh", "[1, 64]", Value("18446744073709551616")),
            ("bits.lsh", "[1, 18446744073709551616]", Value("1")),
            ("bits.lsh", "[0, 1000000000000]", Value("0")),
            ("bits.lsh", "[1, 1000000000000]", Budget),
            ("bits.lsh", "[1, 20000]", Budget),
            ("bits.lsh", "[1, -1]", TypeError),
            ("bits.lsh", "[1, 1.5]", TypeError),
            ("bits.lsh", "[1.5, 1]", TypeError),
            ("bits.lsh", r#"[1, "1"]"#, TypeError),
            ("bits.rsh", "[8, 3]", Value("1")),
            ("bits.rsh", "[-8, 1]", Value("-4")),
            ("bits.rsh", "[-1, 1000000000000]", Value("-1")),
            ("bits.rsh", "[1, 1000000000000]", Value("0")),
            ("bits.rsh", "[18446744073709551616, 64]", Value("1")),
            ("bits.rsh", "[8, -1]", TypeError),
            ("bits.rsh", "[null, 1]", TypeError),
        ]);
    }
}
