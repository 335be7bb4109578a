//! Doubles as Go's `strconv` writes them.
use std::fmt::Write as _;

/// Digits without trailing zeros, and how many of them stand before the point.
struct Digits {
    digits: Vec<u8>,
    point: i64,
}

/// How exact the digits are.
#[derive(Clone, Copy)]
enum Exact {
    /// As few as tell the number from its neighbours.
    Shortest,
    /// This many.
    Significant(usize),
    /// This many after the point.
    Decimals(usize),
}

/// No double has more digits than this, neither before nor after the point nor in all.
const DIGITS_MAX: usize = 1100;

fn digits_of(value: f64, exact: Exact) -> Digits {
    let text = match exact {
        Exact::Shortest => format!("{value:e}"),
        Exact::Significant(many) => format!("{value:.*e}", many.min(DIGITS_MAX).saturating_sub(1)),
        Exact::Decimals(many) => format!("{value:.*}", many.min(DIGITS_MAX)),
    };
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut point =
        i64::try_from(whole.len()).unwrap_or(0).saturating_add(exponent.parse::<i64>().unwrap_or(0));
    let all: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
    let zeros = all.iter().take_while(|digit| **digit == b'0').count();
    let mut digits: Vec<u8> = all.into_iter().skip(zeros).collect();
    while digits.last() == Some(&b'0') {
        digits.pop();
    }
    point = if digits.is_empty() { 0 } else { point.saturating_sub(i64::try_from(zeros).unwrap_or(0)) };
    Digits { digits, point }
}

/// A number that is not negative, by one of the forms `b`, `e`, `E`, `f`, `g`, `G`, `x`, `X`; without precision with as
/// few digits as will do.
pub(super) fn formatted(value: f64, form: char, precision: Option<usize>) -> String {
    match form {
        'b' => {
            let (mantissa, exponent) = parts(value);
            format!("{mantissa}p{}", signed(exponent.saturating_sub(MANTISSA_BITS), 1))
        }
        'x' | 'X' => hexadecimal(value, form, precision),
        'e' | 'E' => {
            let precision = precision.unwrap_or(6);
            let digits = digits_of(value, Exact::Significant(precision.saturating_add(1)));
            exponential(&digits, precision, form)
        }
        'f' => {
            let precision = precision.unwrap_or(6);
            plain(&digits_of(value, Exact::Decimals(precision)), precision)
        }
        _ => general(value, form, precision),
    }
}

fn general(value: f64, form: char, precision: Option<usize>) -> String {
    let (digits, wanted) = match precision {
        None => (digits_of(value, Exact::Shortest), None),
        Some(precision) => {
            let precision = precision.max(1);
            (digits_of(value, Exact::Significant(precision)), Some(precision))
        }
    };
    let have = digits.digits.len();
    let whole = usize::try_from(digits.point).unwrap_or(0);
    // Beyond how many digits before the point the exponent is written.
    let limit = match wanted {
        None => 6,
        Some(wanted) if wanted > have && have >= whole => have,
        Some(wanted) => wanted,
    };
    let exponent = digits.point.saturating_sub(1);
    if exponent < -4 || exponent >= i64::try_from(limit).unwrap_or(i64::MAX) {
        let decimals = wanted.unwrap_or(have).min(have).saturating_sub(1);
        return exponential(&digits, decimals, if form == 'G' { 'E' } else { 'e' });
    }
    let decimals = i64::try_from(have).unwrap_or(0).saturating_sub(digits.point);
    plain(&digits, usize::try_from(decimals).unwrap_or(0))
}

fn exponential(digits: &Digits, decimals: usize, e: char) -> String {
    let mut rest = digits.digits.iter().map(|digit| char::from(*digit)).chain(std::iter::repeat('0'));
    let mut out: String = rest.by_ref().take(1).collect();
    if decimals > 0 {
        out.push('.');
        out.extend(rest.take(decimals));
    }
    let exponent = if digits.digits.is_empty() { 0 } else { digits.point.saturating_sub(1) };
    out.push(e);
    out.push_str(&signed(exponent, 2));
    out
}

fn plain(digits: &Digits, decimals: usize) -> String {
    let at = |place: i64| {
        let digit = usize::try_from(place).ok().and_then(|place| digits.digits.get(place));
        char::from(digit.copied().unwrap_or(b'0'))
    };
    let mut out: String = if digits.point > 0 { (0..digits.point).map(at).collect() } else { "0".to_owned() };
    if decimals > 0 {
        out.push('.');
        let places = digits.point..digits.point.saturating_add(i64::try_from(decimals).unwrap_or(i64::MAX));
        out.extend(places.map(at));
    }
    out
}

fn signed(exponent: i64, least: usize) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{sign}{:0least$}", exponent.unsigned_abs())
}

const MANTISSA_BITS: i64 = 52;

/// The mantissa, with its hidden bit, and the exponent of its highest bit.
fn parts(value: f64) -> (u64, i64) {
    let bits = value.to_bits();
    let mantissa = bits & ((1 << 52) - 1);
    let exponent = i64::try_from(bits >> 52 & 0x7ff).unwrap_or(0);
    if exponent == 0 { (mantissa, -1022) } else { (mantissa | 1 << 52, exponent.saturating_sub(1023)) }
}

fn hexadecimal(value: f64, form: char, precision: Option<usize>) -> String {
    const TOP: u32 = 60;
    let (mantissa, exponent) = parts(value);
    // One bit before the point, 60 after it.
    let shift = mantissa.leading_zeros().saturating_sub(63u32.saturating_sub(TOP));
    let mut exponent = exponent.saturating_add(8).saturating_sub(i64::from(shift));
    let mut mantissa = mantissa.checked_shl(shift).unwrap_or(0);
    if mantissa == 0 {
        exponent = 0;
    }
    if let Some(kept) = precision.filter(|precision| *precision < 15) {
        let kept = u32::try_from(kept).unwrap_or(15).saturating_mul(4);
        let extra = mantissa << kept & ((1 << TOP) - 1);
        mantissa >>= TOP.saturating_sub(kept);
        // To nearest, ties to even.
        if extra | mantissa & 1 > 1 << (TOP - 1) {
            mantissa = mantissa.saturating_add(1);
        }
        mantissa <<= TOP.saturating_sub(kept);
        if mantissa >> (TOP + 1) != 0 {
            mantissa >>= 1;
            exponent = exponent.saturating_add(1);
        }
    }
    let mut out = format!("0{form}{}", mantissa >> TOP & 1);
    let mut rest = mantissa << 4;
    let mut digits = precision.unwrap_or(0);
    if precision.is_none() {
        digits = usize::try_from(64u32.saturating_sub(rest.trailing_zeros()).div_ceil(4)).unwrap_or(0);
    }
    if digits > 0 {
        out.push('.');
    }
    for _ in 0..digits {
        // Writing to a string does not fail.
        let digit = rest >> 60;
        let written = if form == 'x' { write!(out, "{digit:x}") } else { write!(out, "{digit:X}") };
        written.unwrap_or_default();
        rest <<= 4;
    }
    out.push(if form == 'x' { 'p' } else { 'P' });
    out.push_str(&signed(exponent, 2));
    out
}

/// What the flag `#` adds: a point in any case, and the zeros that `g` leaves out.
pub(super) fn with_point(number: &str, form: char, precision: Option<usize>) -> String {
    let tail_at =
        number.find(|c| matches!(c, 'p' | 'P') || (matches!(c, 'e' | 'E') && !matches!(form, 'x' | 'X')));
    let (digits, tail) = number.split_at_checked(tail_at.unwrap_or(number.len())).unwrap_or((number, ""));
    let mut missing = match form {
        'g' | 'G' | 'x' => precision.unwrap_or(6),
        _ => 0,
    };
    // All digits count from the first that is not zero on.
    let significant = digits.chars().filter(|c| *c != '.').skip_while(|c| *c == '0').count();
    missing = missing.saturating_sub(significant);
    let mut out = digits.to_owned();
    if !digits.contains('.') {
        if digits == "0" {
            missing = missing.saturating_sub(1);
        }
        out.push('.');
    }
    out.extend(std::iter::repeat_n('0', missing));
    out.push_str(tail);
    out
}
