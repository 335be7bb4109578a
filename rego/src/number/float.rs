//! Binary floating point with a mantissa of 64 bits, rounded to the nearest and to even: the arithmetic that OPA has
//! for numbers that are not whole, to the bit.
use super::real::{Real, Scaled};
use num_bigint::{BigInt, BigUint, Sign};

/// ±mantissa × 2^exponent. The top bit of the mantissa is set, unless the number is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Float {
    negative: bool,
    mantissa: u64,
    exponent: i64,
}

impl Float {
    pub(super) const HALF: Self = Self { negative: false, mantissa: 1 << 63, exponent: -64 };
    pub(super) const ONE: Self = Self { negative: false, mantissa: 1 << 63, exponent: -63 };
    pub(super) const ZERO: Self = Self { negative: false, mantissa: 0, exponent: 0 };

    pub(super) fn of_int(int: i64) -> Self {
        Self::rounded(int < 0, u128::from(int.unsigned_abs()), 0, false)
    }

    pub(super) fn is_negative(self) -> bool {
        self.negative
    }

    pub(super) fn is_zero(self) -> bool {
        self.mantissa == 0
    }

    pub(super) fn negated(self) -> Self {
        Self { negative: !self.negative, ..self }
    }

    pub(super) fn absolute(self) -> Self {
        Self { negative: false, ..self }
    }

    /// Whether its size is one that a number may have.
    pub(super) fn is_within(self) -> bool {
        self.mantissa == 0 || (self.exponent + 64).abs() <= Real::MAX_EXPONENT
    }

    pub(super) fn is_integer(self) -> bool {
        self.mantissa == 0 || self.exponent + i64::from(self.mantissa.trailing_zeros()) >= 0
    }

    /// The whole part, towards zero. As long as the number is large.
    pub(super) fn truncated(self) -> BigInt {
        let size = match u64::try_from(self.exponent) {
            Ok(left) => BigUint::from(self.mantissa) << left,
            Err(_) => BigUint::from(self.mantissa) >> self.exponent.unsigned_abs(),
        };
        BigInt::from_biguint(if self.negative { Sign::Minus } else { Sign::Plus }, size)
    }

    pub(super) fn plus(self, other: Self) -> Self {
        if self.is_zero() && other.is_zero() {
            return Self { negative: self.negative && other.negative, ..Self::ZERO };
        }
        if self.is_zero() {
            return other;
        }
        if other.is_zero() {
            return self;
        }
        let (large, small) = if self.exponent >= other.exponent { (self, other) } else { (other, self) };
        let apart = large.exponent.abs_diff(small.exponent);
        // Up to 63 places the sum is exact in 128 bits; beyond, what is cut off the smaller one is kept as `inexact`.
        let kept = apart.min(63);
        let cut = apart - kept;
        let a = u128::from(large.mantissa) << kept;
        let b = u128::from(small.mantissa).checked_shr(u32::try_from(cut).unwrap_or(u32::MAX)).unwrap_or(0);
        let inexact = cut > u64::from(small.mantissa.trailing_zeros());
        let exponent = large.exponent - i64::try_from(kept).unwrap_or(0);
        if large.negative == small.negative {
            return Self::rounded(large.negative, a + b, exponent, inexact);
        }
        if a == b && !inexact {
            return Self::ZERO;
        }
        if a >= b {
            return Self::rounded(large.negative, a - b - u128::from(inexact), exponent, inexact);
        }
        Self::rounded(small.negative, b - a, exponent, false)
    }

    pub(super) fn minus(self, other: Self) -> Self {
        self.plus(other.negated())
    }

    pub(super) fn times(self, other: Self) -> Self {
        let negative = self.negative != other.negative;
        let product = u128::from(self.mantissa) * u128::from(other.mantissa);
        Self::rounded(negative, product, self.exponent + other.exponent, false)
    }

    /// The divisor must not be zero.
    pub(super) fn over(self, divisor: Self) -> Self {
        let negative = self.negative != divisor.negative;
        let (dividend, by) = (u128::from(self.mantissa) << 64, u128::from(divisor.mantissa));
        let (quotient, rest) = match dividend.checked_div(by) {
            Some(quotient) => (quotient, dividend % by),
            None => return Self { negative, ..Self::ZERO },
        };
        // One more bit, so that there is one to round by.
        let (bit, rest) = if rest * 2 >= by { (1, rest * 2 - by) } else { (0, rest * 2) };
        let exponent = self.exponent - divisor.exponent - 65;
        Self::rounded(negative, quotient * 2 + bit, exponent, rest != 0)
    }

    /// Rounds `mantissa` × 2^`exponent`; `inexact`: the true value is larger by less than one in the last place, which
    /// may be said only of mantissas of more than 65 bits.
    fn rounded(negative: bool, mantissa: u128, exponent: i64, inexact: bool) -> Self {
        if mantissa == 0 {
            return Self { negative, ..Self::ZERO };
        }
        let zeros = mantissa.leading_zeros();
        let aligned = mantissa << zeros;
        let top = u64::try_from(aligned >> 64).unwrap_or(u64::MAX);
        let rest = u64::try_from(aligned & u128::from(u64::MAX)).unwrap_or(u64::MAX);
        let half = 1_u64 << 63;
        let up = rest > half || (rest == half && (inexact || top & 1 == 1));
        let exponent = exponent + 64 - i64::from(zeros);
        match top.checked_add(u64::from(up)) {
            Some(mantissa) => Self { negative, mantissa, exponent },
            None => Self { negative, mantissa: half, exponent: exponent + 1 },
        }
    }

    /// Reads a decimal as Go's `big.Float` does: the mantissa exactly, then one multiplication or division by a power
    /// of five that has 128 bits.
    pub(super) fn of_scaled(scaled: &Scaled) -> Self {
        let Scaled { negative, digits, exponent } = scaled;
        let power = exponent.unsigned_abs();
        let small = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u64>().ok());
        let five = u32::try_from(power).ok().and_then(|power| 5_u64.checked_pow(power));
        let unscaled = match (small, five) {
            (Some(mantissa), Some(five)) => {
                let mantissa = Self::rounded(*negative, u128::from(mantissa), 0, false);
                let five = Self::rounded(false, u128::from(five), 0, false);
                if *exponent < 0 { mantissa.over(five) } else { mantissa.times(five) }
            }
            _ => {
                let mantissa = BigUint::parse_bytes(digits, 10).unwrap_or_default();
                if mantissa.bits() == 0 {
                    return Self { negative: *negative, ..Self::ZERO };
                }
                Self {
                    negative: *negative,
                    ..Wide::scaled_by_fives(mantissa, power, *exponent < 0).to_float()
                }
            }
        };
        if unscaled.is_zero() {
            return unscaled;
        }
        Self { exponent: unscaled.exponent.saturating_add(*exponent), ..unscaled }
    }

    /// The shortest text that reads as this number again: plain if it is whole, else as `%g` has it.
    pub(super) fn text(self) -> String {
        let sign = if self.negative { "-" } else { "" };
        if self.is_zero() {
            return format!("{sign}0");
        }
        let Decimal { digits, point, .. } = self.shortest();
        let digits = String::from_utf8_lossy(&digits).into_owned();
        let exponent = point - 1;
        if self.is_integer() || (-4..6).contains(&exponent) {
            return format!("{sign}{}", plain_text(&digits, point));
        }
        let (first, rest) = digits.split_at_checked(1).unwrap_or((&digits, ""));
        let dot = if rest.is_empty() { "" } else { "." };
        let exponent_sign = if exponent < 0 { '-' } else { '+' };
        format!("{sign}{first}{dot}{rest}e{exponent_sign}{:02}", exponent.unsigned_abs())
    }

    fn shortest(self) -> Decimal {
        let twice = u128::from(self.mantissa) * 2;
        let exponent = self.exponent - 1;
        let decimal = Decimal::of(twice, exponent);
        let (lower, upper) = (Decimal::of(twice - 1, exponent), Decimal::of(twice + 1, exponent));
        // The ends of the interval read as this number if ties go to it.
        let inclusive = self.mantissa.is_multiple_of(2);
        for index in 0..decimal.digits.len() {
            let (digit, low, high) = (decimal.at(index), lower.at(index), upper.at(index));
            let down = low != digit || (inclusive && !lower.goes_beyond(index));
            let up = digit != high && (inclusive || digit + 1 < high || upper.goes_beyond(index));
            match (down, up) {
                (true, true) => return decimal.rounded(index + 1),
                (true, false) => return decimal.cut(index + 1),
                (false, true) => return decimal.raised(index + 1),
                (false, false) => {}
            }
        }
        decimal
    }
}

/// Digits and where the point is, counted from the first digit. `digits` may lie before or behind the point.
fn plain_text(digits: &str, point: i64) -> String {
    let zeros = |count: u64| "0".repeat(usize::try_from(count).unwrap_or(0));
    let Ok(before) = usize::try_from(point) else {
        return format!("0.{}{digits}", zeros(point.unsigned_abs()));
    };
    match digits.split_at_checked(before) {
        Some(("", digits)) => format!("0.{digits}"),
        Some((whole, "")) => whole.to_owned(),
        Some((whole, fraction)) => format!("{whole}.{fraction}"),
        None => format!("{digits}{}", zeros(u64::try_from(before - digits.len()).unwrap_or(0))),
    }
}

/// 0.digits × 10^point. No zero at the end, unless `more` says that other digits follow.
struct Decimal {
    digits: Vec<u8>,
    point: i64,
    more: bool,
}

impl Decimal {
    /// Twice as many as ever tell two neighbours apart.
    const DIGITS: i64 = 40;

    /// The first digits of `mantissa` × 2^`exponent`.
    fn of(mantissa: u128, exponent: i64) -> Self {
        let bits = i64::from(128 - mantissa.leading_zeros());
        // log₁₀ 2 = 0.30103
        let scale = Self::DIGITS - (bits + exponent) * 30_103 / 100_000;
        let fives = BigUint::from(5_u8).pow(u32::try_from(scale.unsigned_abs()).unwrap_or(0));
        let shift = exponent + scale;
        let places = shift.unsigned_abs();
        let mut dividend = BigUint::from(mantissa);
        let mut divisor = BigUint::from(1_u8);
        if scale < 0 {
            divisor = fives;
        } else {
            dividend *= fives;
        }
        if shift < 0 {
            divisor <<= places;
        } else {
            dividend <<= places;
        }
        let quotient = &dividend / &divisor;
        let more = &quotient * &divisor != dividend;
        let mut digits = quotient.to_string().into_bytes();
        let point = i64::try_from(digits.len()).unwrap_or(0) - scale;
        while !more && digits.last() == Some(&b'0') {
            digits.pop();
        }
        Self { digits, point, more }
    }

    fn at(&self, index: usize) -> u8 {
        self.digits.get(index).copied().unwrap_or(b'0')
    }

    /// Whether there are digits behind this place.
    fn goes_beyond(&self, index: usize) -> bool {
        self.more || index + 1 < self.digits.len()
    }

    fn rounded(self, length: usize) -> Self {
        if !self.more && length >= self.digits.len() {
            return self;
        }
        let next = self.at(length);
        let up = if next == b'5' && !self.goes_beyond(length) {
            length > 0 && self.at(length - 1) % 2 == 1
        } else {
            next >= b'5'
        };
        if up { self.raised(length) } else { self.cut(length) }
    }

    fn cut(mut self, length: usize) -> Self {
        if length < self.digits.len() {
            self.digits.truncate(length);
        }
        while self.digits.last() == Some(&b'0') {
            self.digits.pop();
        }
        self.more = false;
        self
    }

    fn raised(mut self, length: usize) -> Self {
        if length >= self.digits.len() {
            return self;
        }
        self.digits.truncate(length);
        while self.digits.last() == Some(&b'9') {
            self.digits.pop();
        }
        match self.digits.last_mut() {
            Some(last) => *last += 1,
            None => {
                self.digits.push(b'1');
                self.point += 1;
            }
        }
        self.more = false;
        self
    }
}

/// mantissa × 2^exponent, of any width.
struct Wide {
    mantissa: BigUint,
    exponent: i64,
}

impl Wide {
    fn new(mantissa: impl Into<BigUint>) -> Self {
        Self { mantissa: mantissa.into(), exponent: 0 }
    }

    fn rounded(self, bits: u64) -> Self {
        let Some(cut) = self.mantissa.bits().checked_sub(bits).filter(|cut| *cut > 0) else { return self };
        let mut kept = &self.mantissa >> cut;
        let half = BigUint::from(1_u8) << (cut - 1);
        let rest = self.mantissa - (&kept << cut);
        if rest > half || (rest == half && kept.bit(0)) {
            kept += 1_u8;
        }
        Self { mantissa: kept, exponent: self.exponent + i64::try_from(cut).unwrap_or(0) }
    }

    fn times(&self, other: &Self, bits: u64) -> Self {
        let exponent = self.exponent + other.exponent;
        Self { mantissa: &self.mantissa * &other.mantissa, exponent }.rounded(bits)
    }

    /// 5^power in 128 bits, by the same steps as Go takes, so that what they round away is the same.
    fn power_of_five(power: u64) -> Self {
        let mut rest = match power.checked_sub(27) {
            None | Some(0) => {
                return Self::new(BigUint::from(5_u8).pow(u32::try_from(power).unwrap_or(0)));
            }
            Some(rest) => rest,
        };
        let mut result = Self::new(BigUint::from(5_u8).pow(27));
        let mut factor = Self::new(5_u8);
        while rest > 0 {
            if rest % 2 == 1 {
                result = result.times(&factor, 128);
            }
            factor = factor.times(&factor, 192);
            rest /= 2;
        }
        result
    }

    fn scaled_by_fives(mantissa: BigUint, power: u64, divide: bool) -> Self {
        if power == 0 {
            return Self::new(mantissa).rounded(64);
        }
        let fives = Self::power_of_five(power);
        if !divide {
            return Self::new(mantissa).times(&fives, 64);
        }
        let wanted = fives.mantissa.bits() + 66;
        let shift = wanted.saturating_sub(mantissa.bits());
        let dividend = mantissa << shift;
        let quotient = &dividend / &fives.mantissa;
        let inexact = &quotient * &fives.mantissa != dividend;
        // A bit behind the last one stands for all that the division leaves.
        let mantissa = (quotient << 1_u8) + u8::from(inexact);
        let exponent = -fives.exponent - i64::try_from(shift).unwrap_or(0) - 1;
        Self { mantissa, exponent }.rounded(64)
    }

    fn to_float(&self) -> Float {
        let mantissa = self.mantissa.iter_u64_digits().next().unwrap_or(0);
        if self.mantissa.bits() > 64 {
            // Rounding up has carried into a new bit: the mantissa is a power of two.
            return Float { negative: false, mantissa: 1 << 63, exponent: self.exponent + 1 };
        }
        Float::rounded(false, u128::from(mantissa), self.exponent, false)
    }
}
