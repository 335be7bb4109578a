//! The numbers that `to_number` reads, which are more than JSON has.
use super::{ArithmeticError, Number};
use num_bigint::BigUint;

/// Why a text is no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LooseError {
    #[error("invalid syntax")]
    Syntax,
    /// Beyond the doubles.
    #[error("value out of range")]
    Range,
    #[error(transparent)]
    Limits(#[from] ArithmeticError),
}

impl Number {
    /// Reads what Go's `strconv.ParseFloat` takes, but for infinities: with `+`, zeros in front, a point with digits on
    /// one side, `_` between digits, or hexadecimal with an exponent of two. The number prints as JSON; if OPA has it
    /// for no machine integer, it is written as none.
    pub(crate) fn parse_loosely(text: &str) -> Result<Self, LooseError> {
        let (sign, unsigned) = match text.strip_prefix('-') {
            Some(unsigned) => ("-", unsigned),
            None => ("", text.strip_prefix('+').unwrap_or(text)),
        };
        if unsigned.contains('_') && !are_underscores_between_digits(unsigned) {
            return Err(LooseError::Syntax);
        }
        let plain = unsigned.replace('_', "");
        let decimal = match plain.strip_prefix("0x").or_else(|| plain.strip_prefix("0X")) {
            Some(hex) => of_hex(hex)?,
            None => decimal(&plain, plain.len() < unsigned.len())?,
        };
        if decimal.parse::<f64>().map_err(|_| LooseError::Syntax)?.is_infinite() {
            return Err(LooseError::Range);
        }
        Self::parse(&format!("{sign}{decimal}")).ok_or(LooseError::Limits(ArithmeticError::BeyondLimits))
    }
}

fn are_underscores_between_digits(unsigned: &str) -> bool {
    let hex = unsigned.get(..2).is_some_and(|prefix| prefix.eq_ignore_ascii_case("0x"));
    let is_digit = |b: u8| if hex { b.is_ascii_hexdigit() } else { b.is_ascii_digit() };
    let bytes = unsigned.as_bytes();
    bytes.iter().enumerate().filter(|(_, b)| **b == b'_').all(|(at, _)| {
        let before = at.checked_sub(1).and_then(|at| bytes.get(at)).copied();
        let after = bytes.get(at + 1).copied();
        // The prefix counts as a digit.
        (before.is_some_and(is_digit) || (hex && at == 2)) && after.is_some_and(is_digit)
    })
}

/// JSON's form of a decimal without a sign. `fraction`: it must not look like a plain whole number.
fn decimal(text: &str, fraction: bool) -> Result<String, LooseError> {
    let (mantissa, exponent) = text.split_at(text.find(['e', 'E']).unwrap_or(text.len()));
    let (whole, behind) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = whole.bytes().chain(behind.bytes()).all(|b| b.is_ascii_digit());
    if !all_digits || (whole.is_empty() && behind.is_empty()) {
        return Err(LooseError::Syntax);
    }
    let whole = Some(whole.trim_start_matches('0')).filter(|whole| !whole.is_empty()).unwrap_or("0");
    let point = match (mantissa.contains('.'), behind) {
        (false, _) => String::new(),
        (true, "") => ".0".to_owned(),
        (true, behind) => format!(".{behind}"),
    };
    let exponent = if fraction && point.is_empty() && exponent.is_empty() { "e0" } else { exponent };
    Ok(format!("{whole}{point}{exponent}"))
}

/// The decimal form of a hexadecimal one, which is behind `0x`. It has an exponent, as OPA has it for no integer.
fn of_hex(text: &str) -> Result<String, LooseError> {
    let (mantissa, exponent) = text.split_once(['p', 'P']).ok_or(LooseError::Syntax)?;
    let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let valid = !digits.is_empty()
        && digits.bytes().all(|b| b.is_ascii_hexdigit())
        && !unsigned.is_empty()
        && unsigned.bytes().all(|b| b.is_ascii_digit());
    if !valid {
        return Err(LooseError::Syntax);
    }
    let beyond = LooseError::Limits(ArithmeticError::BeyondLimits);
    if digits.len() > Number::MAX_LITERAL {
        return Err(beyond);
    }
    let mantissa = BigUint::parse_bytes(digits.as_bytes(), 16).ok_or(LooseError::Syntax)?;
    if mantissa.bits() == 0 {
        return Ok("0e0".to_owned());
    }
    let places = i64::try_from(fraction.len()).map_err(|_| beyond)?.saturating_mul(4);
    let exponent = exponent.parse::<i64>().map(|exponent| exponent.saturating_sub(places));
    let size = i64::try_from(mantissa.bits()).map_err(|_| beyond)?;
    match exponent {
        Ok(exponent) if exponent.saturating_add(size) <= 1024 => match u64::try_from(exponent) {
            Ok(left) => Ok(format!("{}e0", mantissa << left)),
            Err(_) => {
                let power = u32::try_from(exponent.unsigned_abs()).map_err(|_| beyond)?;
                if usize::try_from(power).map_err(|_| beyond)? > Number::MAX_LITERAL * 2 {
                    return Err(beyond);
                }
                Ok(format!("{}e-{power}", mantissa * BigUint::from(5_u8).pow(power)))
            }
        },
        Ok(_) => Err(LooseError::Range),
        // An exponent of more than 19 digits.
        Err(_) if text.contains('-') => Err(beyond),
        Err(_) => Err(LooseError::Range),
    }
}
