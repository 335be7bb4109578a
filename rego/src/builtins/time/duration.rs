//! Durations: Go's, such as `-1.5h` and `2h45m`, and with the days, weeks and years that OPA adds.

/// Reads a duration as nanoseconds.
pub(super) fn parse(text: &str) -> Option<i64> {
    if text.contains(['d', 'w', 'y']) { go(&in_hours(text)?) } else { go(text) }
}

/// Days, weeks and years of 365 days as hours, the other parts as they are.
fn in_hours(text: &str) -> Option<String> {
    let (mut hours, mut rest) = split(text, text.len() - text.trim_start_matches(['-', '+']).len())
        .filter(|(sign, _)| sign.len() <= 1)
        .map(|(sign, rest)| (sign.to_owned(), rest))?;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (digits, tail) = split(rest, rest.len() - rest.trim_start_matches(is_digit).len())?;
        let unit = ["ms", "us", "µs", "ns"].into_iter().find(|unit| tail.starts_with(unit)).map(str::len);
        let (unit, tail) = split(tail, unit.unwrap_or(1))?;
        let coefficient = match unit {
            "d" => 24.0,
            "w" => 7.0 * 24.0,
            "y" => 365.0 * 24.0,
            _ => 0.0,
        };
        if coefficient > 0.0 {
            let number: f64 = digits.parse().ok().filter(|number: &f64| number.is_finite())?;
            let product = number * coefficient;
            hours.push_str(&product.is_finite().then(|| format!("{product}h"))?);
        } else if digits.is_empty() || !unit.starts_with(|c: char| c.is_ascii_lowercase() || c == 'µ') {
            return None;
        } else {
            hours.push_str(digits);
            hours.push_str(unit);
        }
        rest = tail;
    }
    Some(hours)
}

fn split(text: &str, at: usize) -> Option<(&str, &str)> {
    text.split_at_checked(at)
}

fn is_digit(c: char) -> bool {
    c == '.' || c.is_ascii_digit()
}

/// Half of what 64 bits hold: what a duration may be at most, and one more for negative ones.
const HALF: u64 = 1 << 63;

fn go(text: &str) -> Option<i64> {
    let negative = text.starts_with('-');
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut sum: u64 = 0;
    while !rest.is_empty() {
        let (whole, tail) =
            split(rest, rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len())?;
        let number = if whole.is_empty() { 0 } else { whole.parse().ok().filter(|n: &u64| *n <= HALF)? };
        let tail_of_fraction = tail.strip_prefix('.');
        let (digits, tail) = match tail_of_fraction {
            Some(tail) => {
                split(tail, tail.len() - tail.trim_start_matches(|c: char| c.is_ascii_digit()).len())?
            }
            None => ("", tail),
        };
        if whole.is_empty() && digits.is_empty() {
            return None;
        }
        let (unit, tail) = split(tail, tail.find(is_digit).unwrap_or(tail.len()))?;
        let unit = nanoseconds(unit)?;
        if number > HALF / unit {
            return None;
        }
        sum = sum.checked_add(number * unit + fraction(digits, unit)).filter(|sum| *sum <= HALF)?;
        rest = tail;
    }
    if negative { i64::try_from(-i128::from(sum)).ok() } else { i64::try_from(sum).ok() }
}

fn nanoseconds(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => 1,
        // The micro sign, and the letter mu.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// The fraction of a unit, reckoned in doubles as Go does, from as many digits as 63 bits hold.
fn fraction(digits: &str, unit: u64) -> u64 {
    let (mut number, mut scale): (u64, f64) = (0, 1.0);
    for digit in digits.chars().filter_map(|digit| digit.to_digit(10)) {
        if number > (HALF - 1) / 10 || number * 10 + u64::from(digit) > HALF {
            break;
        }
        number = number * 10 + u64::from(digit);
        scale *= 10.0;
    }
    if number == 0 {
        return 0;
    }
    let product = number as f64 * (unit as f64 / scale);
    // Less than one unit: it has at most 13 digits.
    format!("{:.0}", product.trunc()).parse().unwrap_or(0)
}
