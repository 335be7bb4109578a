//! What plain scalars mean: `yaml.v2` knows the booleans of YAML 1.1 and Go's notations of numbers.
use crate::value::json::json_double;
use crate::{Number, Value};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    /// In decimal notation.
    Int(String),
    Float(f64),
    Text,
}

pub(super) fn resolve(text: &str) -> Scalar {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Scalar::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Scalar::Bool(false);
        }
        ".nan" | ".NaN" | ".NAN" => return Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Scalar::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Scalar::Float(f64::NEG_INFINITY),
        _ => {}
    }
    if text.starts_with('.') {
        return float(text);
    }
    if text.starts_with(|c: char| c.is_ascii_digit() || c == '+' || c == '-') {
        let plain = text.replace('_', "");
        return integer(&plain).map_or_else(|| float(&plain), Scalar::Int);
    }
    Scalar::Text
}

/// A whole number of 64 bits in any of Go's bases: `0x`, `0o`, `0b`, and a mere zero in front for octal.
fn integer(text: &str) -> Option<String> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = unsigned.to_ascii_lowercase();
    let (digits, base) = match digits.strip_prefix('0') {
        None | Some("") => (digits.as_str(), 10),
        Some(rest) => match rest.chars().next() {
            Some('x') => (rest.strip_prefix('x')?, 16),
            Some('o') => (rest.strip_prefix('o')?, 8),
            Some('b') => (rest.strip_prefix('b')?, 2),
            _ => (rest, 8),
        },
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(base)) {
        return None;
    }
    let number = i128::from_str_radix(digits, base).ok()?;
    let number = if text.starts_with('-') { -number } else { number };
    let signed = unsigned.len() != text.len();
    let fits = i64::try_from(number).is_ok() || (!signed && u64::try_from(number).is_ok());
    fits.then(|| number.to_string())
}

fn float(text: &str) -> Scalar {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let complete = !exponent.is_empty() && (!whole.is_empty() || !fraction.is_empty());
    if !complete || !digits(whole) || !digits(fraction) || !digits(exponent) {
        return Scalar::Text;
    }
    match text.parse::<f64>() {
        Ok(float) if float.is_finite() => Scalar::Float(float),
        _ => Scalar::Text,
    }
}

/// The value of a scalar, as JSON has it.
pub(super) fn value(scalar: Scalar, text: &str) -> Result<Value, String> {
    let number = |literal: &str| Number::parse(literal).map(Value::Number);
    match scalar {
        Scalar::Null => Ok(Value::Null),
        Scalar::Bool(value) => Ok(Value::Bool(value)),
        Scalar::Int(literal) => number(&literal).ok_or(literal),
        Scalar::Float(float) if !float.is_finite() => Err(format!("json: unsupported value: {float}")),
        Scalar::Float(float) => number(&json_double(float)).ok_or_else(|| text.to_owned()),
        Scalar::Text => Ok(Value::from(text)),
    }
}

/// A value of JSON with its numbers as YAML reads them: those that no double holds are strings.
pub(super) fn numbers(json: &Value) -> Result<Value, String> {
    Ok(match json {
        Value::Number(number) => {
            let literal = number.to_string();
            value(resolve(&literal), &literal)?
        }
        Value::Array(items) => Value::Array(items.iter().map(numbers).collect::<Result<_, _>>()?),
        Value::Object(members) => {
            let members = members.iter().map(|(key, value)| Ok((key.clone(), numbers(value)?)));
            Value::object(members.collect::<Result<Vec<_>, String>>()?)
        }
        other => other.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_mean_what_go_takes_them_for() {
        let int = |text: &str| Scalar::Int(text.to_owned());
        for (text, scalar) in [
            ("", Scalar::Null),
            ("No", Scalar::Bool(false)),
            ("nO", Scalar::Text),
            ("1_000", int("1000")),
            ("017", int("15")),
            ("0o17", int("15")),
            ("0x_1F", int("31")),
            ("-0b11", int("-3")),
            ("018", Scalar::Float(18.0)),
            ("18446744073709551615", int("18446744073709551615")),
            ("+18446744073709551615", Scalar::Float(18_446_744_073_709_551_615.0)),
            ("18446744073709551616", Scalar::Float(18_446_744_073_709_551_616.0)),
            ("-9223372036854775808", int("-9223372036854775808")),
            ("1.", Scalar::Float(1.0)),
            (".5", Scalar::Float(0.5)),
            (".", Scalar::Text),
            ("1e3", Scalar::Float(1000.0)),
            ("1e999", Scalar::Text),
            ("1e", Scalar::Text),
            ("-", Scalar::Text),
            ("0x", Scalar::Text),
            ("1:30", Scalar::Text),
            ("2020-01-01", Scalar::Text),
        ] {
            assert_eq!(resolve(text), scalar, "{text}");
        }
    }
}
