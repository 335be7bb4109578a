//! Number literals in exact and in OPA's binary arithmetic: what the builtins need that see a number as its text.
use super::{BuiltinError, Context};
use num_bigint::{BigInt, BigUint, Sign};

/// A literal taken apart: `negative`, the digits without point, and the power of ten that they are multiplied with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decimal {
    pub(super) negative: bool,
    pub(super) digits: BigUint,
    pub(super) exponent: i64,
}

impl Decimal {
    /// Reads `[+-]digits[.digits][e[+-]digits]`, where digits may be missing on one side of the point.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, Self::exponent(exponent)?),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let digits = BigUint::parse_bytes(all.as_bytes(), 10)?;
        let exponent = exponent.checked_sub(i64::try_from(fraction.len()).ok()?)?;
        Some(Self { negative, digits, exponent })
    }

    fn exponent(text: &str) -> Option<i64> {
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        text.parse().ok()
    }
}

/// A plain whole number, of any size.
pub(super) fn integer(literal: &str) -> Option<BigInt> {
    let digits = literal.strip_prefix('-').unwrap_or(literal);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    BigInt::parse_bytes(literal.as_bytes(), 10)
}

/// Charges for arithmetic and printing of a number of this many digits, whose cost grows with their square.
pub(super) fn charge_digits(context: &mut Context, digits: usize) -> Result<(), BuiltinError> {
    context.charge_bytes(digits)?;
    context.charge(digits.saturating_mul(digits) >> 16)
}

/// How many decimal digits a number of these digits and this exponent may have, for the budget.
pub(super) fn digits_of(decimal: &Decimal) -> usize {
    let bits = usize::try_from(decimal.digits.bits()).unwrap_or(usize::MAX);
    let power = usize::try_from(decimal.exponent.unsigned_abs()).unwrap_or(usize::MAX);
    bits.checked_div(3).unwrap_or(bits).saturating_add(power)
}

pub(super) fn pow10(exponent: u32) -> BigUint {
    BigUint::from(10u8).pow(exponent)
}

/// A binary floating-point number: mantissa times a power of two, as Go's `big.Float` keeps it.
#[derive(Clone, Debug)]
pub(super) struct Binary {
    negative: bool,
    mantissa: BigUint,
    exponent: i64,
}

/// The precision of a `big.Float` that was read from text.
const PRECISION: u64 = 64;
/// The exponents of two that `big.Float` knows; beyond them it is infinite or zero, which no caller wants.
const POWER_MAX: i64 = 600_000_000;

impl Binary {
    pub(super) fn from_u64(value: u64) -> Self {
        Self { negative: false, mantissa: BigUint::from(value), exponent: 0 }
    }

    /// The number that `big.Float` makes of a literal: its powers of five are rounded to 128 bits, the result to 64.
    pub(super) fn from_decimal(decimal: &Decimal) -> Option<Self> {
        let mut number =
            Self { negative: decimal.negative, mantissa: decimal.digits.clone(), exponent: decimal.exponent };
        if decimal.exponent.unsigned_abs() > u64::try_from(POWER_MAX).ok()?.checked_div(3)? {
            return None;
        }
        if decimal.exponent == 0 || decimal.digits == BigUint::ZERO {
            return Some(number.rounded(PRECISION));
        }
        let power = Self::power_of_five(decimal.exponent.unsigned_abs());
        if decimal.exponent > 0 {
            number = number.times(&power, PRECISION);
        } else {
            // The quotient to more bits than are kept; a bit for whatever remains makes the rounding right.
            let shift = power.mantissa.bits().saturating_add(PRECISION).saturating_add(2);
            let shifted = &number.mantissa << shift;
            let mut quotient = &shifted / &power.mantissa;
            if &quotient * &power.mantissa != shifted {
                quotient = (quotient << 1u8) + 1u8;
            } else {
                quotient <<= 1u8;
            }
            let exponent = number
                .exponent
                .checked_sub(power.exponent)?
                .checked_sub(i64::try_from(shift).ok()?)?
                .checked_sub(1)?;
            number = Self { negative: number.negative, mantissa: quotient, exponent }.rounded(PRECISION);
        }
        Some(number)
    }

    /// Five to a power, as the powers that `big.Float` multiplies with: exact up to 5²⁷, then squared and multiplied.
    fn power_of_five(power: u64) -> Self {
        const EXACT: u64 = 27;
        const WORKING: u64 = 128;
        if power <= EXACT {
            return Self::from_u64(5u64.saturating_pow(u32::try_from(power).unwrap_or(u32::MAX)));
        }
        let mut result = Self::from_u64(5u64.pow(27));
        let mut factor = Self::from_u64(5);
        let mut rest = power.saturating_sub(EXACT);
        while rest > 0 {
            if rest & 1 == 1 {
                result = result.times(&factor, WORKING);
            }
            factor = factor.times(&factor, WORKING.saturating_add(64));
            rest >>= 1;
        }
        result
    }

    /// The product, rounded to a precision.
    pub(super) fn times(&self, other: &Self, precision: u64) -> Self {
        Self {
            negative: self.negative != other.negative,
            mantissa: &self.mantissa * &other.mantissa,
            exponent: self.exponent.saturating_add(other.exponent),
        }
        .rounded(precision)
    }

    /// Rounded to nearest, ties to even.
    fn rounded(mut self, precision: u64) -> Self {
        let surplus = self.mantissa.bits().saturating_sub(precision);
        if surplus == 0 {
            return self;
        }
        let half = surplus.saturating_sub(1);
        let up = self.mantissa.bit(half)
            && (self.mantissa.trailing_zeros().is_some_and(|zeros| zeros < half)
                || self.mantissa.bit(surplus));
        self.mantissa >>= surplus;
        if up {
            self.mantissa += 1u8;
        }
        self.exponent = self.exponent.saturating_add(i64::try_from(surplus).unwrap_or(i64::MAX));
        self
    }

    /// The whole part.
    pub(super) fn truncated(&self) -> BigInt {
        let shift = self.exponent.unsigned_abs();
        let magnitude = if self.exponent >= 0 { &self.mantissa << shift } else { &self.mantissa >> shift };
        BigInt::from_biguint(if self.negative { Sign::Minus } else { Sign::Plus }, magnitude)
    }
}

/// The whole part of what `big.Float` makes of a literal, times a factor. The work is charged first.
pub(super) fn scaled(
    context: &mut Context,
    literal: &str,
    factor: u64,
) -> Result<Option<BigInt>, BuiltinError> {
    let Some(decimal) = Decimal::parse(literal) else { return Ok(None) };
    charge_digits(context, digits_of(&decimal))?;
    let Some(number) = Binary::from_decimal(&decimal) else {
        return Err(BuiltinError::Budget(format!("the exponent of the number {literal} is too large")));
    };
    Ok(Some(number.times(&Binary::from_u64(factor), PRECISION).truncated()))
}
