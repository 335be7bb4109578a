//! A literal and where its digits are.
use super::Number;
use super::float::Float;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

/// A literal of JSON that is checked and within the limits of a [`Number`].
#[derive(Debug)]
pub(super) struct Real {
    text: Box<str>,
    negative: bool,
    /// The value is 0.d₁d₂… × 10^magnitude, d₁ being the first digit that is not zero.
    magnitude: i32,
    /// From d₁ to the last digit that is not zero, in `text`: with the point, if it lies between. Empty: zero.
    significant: (usize, usize),
}

/// The mantissa of a literal without its point, and the power of ten that it is to be multiplied by.
pub(super) struct Scaled {
    pub(super) negative: bool,
    pub(super) digits: Vec<u8>,
    pub(super) exponent: i64,
}

impl Real {
    /// Values of fewer and of more digits before or behind the point need a closer look at OPA's limit.
    const SURELY_WITHIN: std::ops::RangeInclusive<i64> = -30_101..=30_102;
    const SURELY_BEYOND: i64 = 30_110;
    /// The limit: of the exponent of two, the mantissa being from 0.5 to 1.
    pub(super) const MAX_EXPONENT: i64 = 100_000;

    pub(super) fn parse(literal: &str) -> Option<Self> {
        if literal.len() > Number::MAX_LITERAL {
            return None;
        }
        let unsigned = literal.strip_prefix('-').unwrap_or(literal);
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, read_exponent(exponent)?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((_, "")) => return None,
            Some((whole, fraction)) => (whole, fraction),
            None if mantissa.is_empty() => return None,
            None => (mantissa, ""),
        };
        let all_digits = [whole, fraction].iter().all(|part| part.bytes().all(|b| b.is_ascii_digit()));
        if !all_digits || (whole.len() > 1 && whole.starts_with('0')) {
            return None;
        }
        if whole.is_empty() {
            let sign = if unsigned.len() < literal.len() { "-" } else { "" };
            return Self::parse(&format!("{sign}0{unsigned}"));
        }
        let digits_before_point = i64::try_from(whole.len()).ok()?;
        Self::within_limits(literal, mantissa, digits_before_point.checked_add(exponent)?)
    }

    /// `point` is where the point lies behind the first digit of the mantissa, once the exponent is counted in.
    fn within_limits(literal: &str, mantissa: &str, point: i64) -> Option<Self> {
        let is_significant = |b: char| matches!(b, '1'..='9');
        let offset = literal.len() - literal.trim_start_matches('-').len();
        let (Some(first), Some(last)) = (mantissa.find(is_significant), mantissa.rfind(is_significant))
        else {
            let negative = offset > 0;
            return Some(Self { text: literal.into(), negative, magnitude: 0, significant: (0, 0) });
        };
        let zeros = mantissa.bytes().take(first).filter(|b| *b != b'.').count();
        let magnitude = point.checked_sub(i64::try_from(zeros).ok()?)?;
        if magnitude.abs() > Self::SURELY_BEYOND {
            return None;
        }
        let real = Self {
            text: literal.into(),
            negative: offset > 0,
            magnitude: i32::try_from(magnitude).ok()?,
            significant: (offset + first, offset + last + 1),
        };
        let within = Self::SURELY_WITHIN.contains(&magnitude) || Float::of_scaled(&real.scaled()).is_within();
        within.then_some(real)
    }

    /// A whole number, known to be written in digits alone.
    pub(super) fn of_digits(digits: String) -> Self {
        let end = digits.trim_end_matches('0').len();
        let magnitude = i32::try_from(digits.len()).unwrap_or(i32::MAX);
        Self { text: digits.into(), negative: false, magnitude, significant: (0, end) }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn plain(&self) -> Plain<'_> {
        let digits = self.text.as_bytes().get(self.significant.0..self.significant.1).unwrap_or_default();
        Plain { negative: self.negative, magnitude: self.magnitude, digits }
    }

    pub(super) fn is_integer(&self) -> bool {
        let plain = self.plain();
        plain.trailing_zeros().is_some()
    }

    pub(super) fn scaled(&self) -> Scaled {
        let unsigned = self.text.trim_start_matches('-');
        let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
        let fraction = mantissa.split_once('.').map_or(0, |(_, fraction)| fraction.len());
        let exponent = read_exponent(exponent).unwrap_or(0);
        Scaled {
            negative: self.negative,
            digits: mantissa.bytes().filter(|b| *b != b'.').collect(),
            exponent: exponent.saturating_sub(i64::try_from(fraction).unwrap_or(i64::MAX)),
        }
    }
}

fn read_exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let valid = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if valid { text.parse().ok() } else { None }
}

/// A number by its significant digits: ±0.digits × 10^magnitude, no zero at either end; zero has none.
#[derive(Debug)]
pub(super) struct Plain<'a> {
    pub(super) negative: bool,
    pub(super) magnitude: i32,
    /// In ASCII, perhaps with a point between, which does not count.
    digits: &'a [u8],
}

impl<'a> Plain<'a> {
    pub(super) fn of_int(int: i64, buffer: &'a mut [u8; 20]) -> Self {
        let mut rest = int.unsigned_abs();
        let mut length = 0;
        for place in buffer.iter_mut().rev() {
            if rest == 0 {
                break;
            }
            *place = b'0' + u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
            length += 1;
        }
        let digits = buffer.get(20 - length..).unwrap_or_default();
        let zeros = digits.iter().rev().take_while(|digit| **digit == b'0').count();
        let digits = digits.get(..length - zeros).unwrap_or_default();
        Self { negative: int < 0, magnitude: i32::try_from(length).unwrap_or(0), digits }
    }

    pub(super) fn digits(&self) -> impl Iterator<Item = u8> {
        self.digits.iter().copied().filter(|digit| *digit != b'.')
    }

    fn sign(&self) -> i8 {
        match (self.digits.is_empty(), self.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        }
    }

    /// How many zeros follow the significant digits of a whole number; `None` if it is not whole.
    pub(super) fn trailing_zeros(&self) -> Option<u32> {
        let digits = i32::try_from(self.digits().count()).ok()?;
        if digits == 0 { Some(0) } else { u32::try_from(self.magnitude.checked_sub(digits)?).ok() }
    }

    /// The whole number that it is, if it fits.
    pub(super) fn whole_i64(&self) -> Option<i64> {
        if self.magnitude > 19 {
            return None;
        }
        let mut int = 0_i64;
        let zeros = usize::try_from(self.trailing_zeros()?).ok()?;
        for digit in self.digits().chain(std::iter::repeat_n(b'0', zeros)) {
            let digit = i64::from(digit - b'0');
            int = int.checked_mul(10)?;
            int = if self.negative { int.checked_sub(digit)? } else { int.checked_add(digit)? };
        }
        Some(int)
    }

    pub(super) fn cmp(&self, other: &Plain<'_>) -> Ordering {
        let signs = self.sign().cmp(&other.sign());
        if signs != Ordering::Equal || self.sign() == 0 {
            return signs;
        }
        let size = self.magnitude.cmp(&other.magnitude).then_with(|| self.digits().cmp(other.digits()));
        if self.negative { size.reverse() } else { size }
    }
}

impl Hash for Plain<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.sign(), self.magnitude).hash(state);
        for digit in self.digits() {
            digit.hash(state);
        }
    }
}
