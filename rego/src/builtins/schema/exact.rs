//! Numbers as schemas compare them: exactly, and, where values are compared, as the double next to them.
use super::Fault;
use crate::builtins::decimal::Decimal;
use crate::value::json::json_double;
use crate::{Number, Value};
use num_bigint::{BigInt, BigUint, Sign};
use std::cmp::Ordering;

/// The largest power of ten that is reckoned with.
const MOST: u64 = 2_000;

/// A number, exactly.
#[derive(Clone, Debug)]
pub(super) struct Exact {
    digits: BigInt,
    exponent: i64,
}

impl Exact {
    pub(super) fn of(number: &Number) -> Result<Self, Fault> {
        let literal = number.to_string();
        let decimal = Decimal::parse(&literal).filter(|decimal| decimal.exponent.unsigned_abs() <= MOST);
        let decimal = decimal
            .ok_or_else(|| Fault::refused(format!("a schema cannot reckon with the number {literal}")))?;
        let sign = if decimal.negative { Sign::Minus } else { Sign::Plus };
        Ok(Self { digits: BigInt::from_biguint(sign, decimal.digits), exponent: decimal.exponent })
    }

    /// The digits once the power of ten is the smaller one of both.
    fn aligned(&self, other: &Self) -> (BigInt, BigInt) {
        let exponent = self.exponent.min(other.exponent);
        (self.scaled(exponent), other.scaled(exponent))
    }

    fn scaled(&self, exponent: i64) -> BigInt {
        let power = u32::try_from(self.exponent.saturating_sub(exponent)).unwrap_or(0);
        &self.digits * BigInt::from(BigUint::from(10_u8).pow(power))
    }

    pub(super) fn compare(&self, other: &Self) -> Ordering {
        let (a, b) = self.aligned(other);
        a.cmp(&b)
    }

    pub(super) fn is_positive(&self) -> bool {
        self.digits.sign() == Sign::Plus
    }

    pub(super) fn is_multiple_of(&self, other: &Self) -> bool {
        let (a, b) = self.aligned(other);
        b.sign() != Sign::NoSign && (a % b).sign() == Sign::NoSign
    }

    pub(super) fn is_integer(&self) -> bool {
        self.is_multiple_of(&Self { digits: BigInt::from(1), exponent: 0 })
    }

    /// As Go prints it: in exponents from a million on.
    pub(super) fn shown(&self) -> String {
        let digits = self.digits.magnitude().to_string();
        let kept = digits.trim_end_matches('0');
        if kept.is_empty() {
            return "0".to_owned();
        }
        let sign = if self.digits.sign() == Sign::Minus { "-" } else { "" };
        let point = self.exponent.saturating_add(i64::try_from(digits.len()).unwrap_or(0));
        let power = point.saturating_sub(1);
        if !(-4..6).contains(&power) {
            let (first, rest) = kept.split_at_checked(1).unwrap_or((kept, ""));
            let dot = if rest.is_empty() { "" } else { "." };
            let power_sign = if power < 0 { '-' } else { '+' };
            return format!("{sign}{first}{dot}{rest}e{power_sign}{:02}", power.unsigned_abs());
        }
        let whole = usize::try_from(point).unwrap_or(0);
        let zeros = usize::try_from(point.saturating_neg()).unwrap_or(0);
        match kept.split_at_checked(whole) {
            Some(("", rest)) => format!("{sign}0.{}{rest}", "0".repeat(zeros)),
            Some((all, "")) => format!("{sign}{all}"),
            Some((whole, rest)) => format!("{sign}{whole}.{rest}"),
            None => format!("{sign}{kept}{}", "0".repeat(whole.saturating_sub(kept.len()))),
        }
    }
}

/// A JSON value as text that is equal for values that Go takes for equal: its numbers are doubles.
pub(super) fn canonical(value: &Value) -> Result<String, Fault> {
    let mut out = String::new();
    write(value, &mut out)?;
    Ok(out)
}

fn write(value: &Value, out: &mut String) -> Result<(), Fault> {
    match value {
        Value::Number(number) => out.push_str(&double(number)?),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                write(item, out)?;
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (index, (key, value)) in members.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                out.push_str(&key.to_json());
                out.push(':');
                write(value, out)?;
            }
            out.push('}');
        }
        other => out.push_str(&other.to_json()),
    }
    Ok(())
}

/// A double as Go's `encoding/json` prints it.
fn double(number: &Number) -> Result<String, Fault> {
    let literal = number.to_string();
    let double = literal.parse::<f64>().ok().filter(|double| double.is_finite());
    let double =
        double.ok_or_else(|| Fault::refused(format!("the number {literal} is too large for a schema")))?;
    Ok(json_double(double))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_as_go_shows_them() {
        for (literal, shown, canonical_text) in [
            ("0", "0", "0"),
            ("-0", "0", "-0"),
            ("1.50", "1.5", "1.5"),
            ("100", "100", "100"),
            ("999999", "999999", "999999"),
            ("1000000", "1e+06", "1000000"),
            ("-123456789", "-1.23456789e+08", "-123456789"),
            ("0.0001", "0.0001", "0.0001"),
            ("0.00001", "1e-05", "0.00001"),
            ("0.0000001", "1e-07", "1e-7"),
            ("12.5e3", "12500", "12500"),
            ("1e21", "1e+21", "1e+21"),
            ("9007199254740993", "9.007199254740993e+15", "9007199254740992"),
        ] {
            let number = Number::parse(literal).unwrap();
            assert_eq!(Exact::of(&number).unwrap().shown(), shown, "{literal}");
            assert_eq!(canonical(&Value::Number(number)).unwrap(), canonical_text, "{literal}");
        }
    }
}
