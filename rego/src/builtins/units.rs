//! The `units` builtins: amounts with SI and binary units.
use super::decimal::{self, Decimal};
use super::{Builtin, BuiltinError, Context, Outcome, strings, text};
use crate::{Number, Value};
use num_bigint::{BigInt, BigUint, Sign};

pub(super) const TABLE: &[Builtin] =
    &[Builtin::pure("units.parse", 1, parse), Builtin::pure("units.parse_bytes", 1, parse_bytes)];

/// The most digits of an exponent.
const EXPONENT_DIGITS_MAX: usize = 6;
/// The largest power of ten that an amount may be multiplied with.
const POWER_MAX: u64 = 1_000_000;

fn failed(what: &str) -> BuiltinError {
    BuiltinError::Failed(what.to_owned())
}

/// The amount and the unit of a text without quotes and spaces.
fn taken_apart(text: &str) -> Result<(&str, &str), BuiltinError> {
    if text.contains(' ') {
        return Err(failed("spaces not allowed in resource strings"));
    }
    let bytes = text.as_bytes();
    let digits_from = |at: usize| bytes.iter().skip(at).take_while(|byte| byte.is_ascii_digit()).count();
    let mut at = 0usize;
    while let Some(byte) = bytes.get(at) {
        let next = bytes.get(at.saturating_add(1));
        match byte {
            b'0'..=b'9' | b'.' | b'+' | b'-' => {}
            // An exponent if a number follows, else the unit exa.
            b'e' | b'E' if next.is_some_and(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-')) => {
                if next.is_some_and(|byte| matches!(byte, b'+' | b'-')) {
                    at = at.saturating_add(1);
                }
                if digits_from(at.saturating_add(1)) > EXPONENT_DIGITS_MAX {
                    return Err(failed("exponent too large"));
                }
            }
            _ => break,
        }
        at = at.saturating_add(1);
    }
    match text.split_at_checked(at) {
        Some(("", _)) | None => Err(failed("no amount provided")),
        Some(parts) => Ok(parts),
    }
}

/// The factor of a unit whose letters other than the first are in lower case.
fn factor(unit: &str) -> Option<u64> {
    const KI: u64 = 1024;
    Some(match unit {
        "" => 1,
        "k" => 1000,
        "m" => 1_000_000,
        "g" => 1_000_000_000,
        "t" => 1_000_000_000_000,
        "p" => 1_000_000_000_000_000,
        "e" => 1_000_000_000_000_000_000,
        "ki" => KI,
        "mi" => KI.pow(2),
        "gi" => KI.pow(3),
        "ti" => KI.pow(4),
        "pi" => KI.pow(5),
        "ei" => KI.pow(6),
        _ => return None,
    })
}

fn parse_bytes(context: &mut Context, args: &[Value]) -> Outcome {
    let raw = text(args, 0)?;
    context.charge_bytes(raw.len().saturating_mul(3))?;
    let lower = strings::lower(raw).replace('"', "");
    let (amount, unit) = taken_apart(&lower)?;
    let bare = if unit == "b" { unit } else { unit.strip_suffix('b').unwrap_or(unit) };
    let factor =
        factor(bare).ok_or_else(|| BuiltinError::Failed(format!("byte unit {unit} not recognized")))?;
    match decimal::scaled(context, amount, factor)? {
        Some(total) => number(&total.to_string()),
        None => Err(failed("could not parse byte amount to a number")),
    }
}

fn parse(context: &mut Context, args: &[Value]) -> Outcome {
    let raw = text(args, 0)?;
    context.charge_bytes(raw.len().saturating_mul(3))?;
    let unquoted = raw.replace('"', "");
    let (amount, unit) = taken_apart(&unquoted)?;
    let mut letters = unit.chars();
    let first = letters.next().map(String::from).unwrap_or_default();
    let unit = format!("{first}{}", strings::lower(letters.as_str()));
    // `m` is milli, `M` mega; otherwise the first letter may be of either case.
    let (numerator, denominator_power) = match unit.as_str() {
        "m" => (MILLI_NUMERATOR, MILLI_POWER),
        other => {
            let lower = if first.is_ascii() { other.to_ascii_lowercase() } else { other.to_owned() };
            let factor =
                factor(&lower).ok_or_else(|| BuiltinError::Failed(format!("unit {unit} not recognized")))?;
            (factor, 0)
        }
    };
    let decimal = Decimal::parse(amount)
        .filter(|decimal| decimal.exponent.unsigned_abs() <= POWER_MAX)
        .ok_or_else(|| failed("could not parse amount to a number"))?;
    decimal::charge_digits(context, decimal::digits_of(&decimal))?;
    let mut numerator = decimal.digits * numerator;
    let mut denominator = BigUint::from(1u8) << denominator_power;
    let power = decimal::pow10(u32::try_from(decimal.exponent.unsigned_abs()).unwrap_or(u32::MAX));
    if decimal.exponent < 0 {
        denominator *= power;
    } else {
        numerator *= power;
    }
    number(&printed(decimal.negative, &numerator, &denominator))
}

/// OPA's factor of milli is the double nearest to 0.001: this numerator over two to this power.
const MILLI_NUMERATOR: u64 = 1_152_921_504_606_847;
const MILLI_POWER: u32 = 60;
/// How many decimals a fraction is printed with.
const DECIMALS: u32 = 10;

/// A quotient as a whole number, or else with ten decimals, rounded half away from zero.
fn printed(negative: bool, numerator: &BigUint, denominator: &BigUint) -> String {
    let whole = numerator / denominator;
    let sign = if negative { Sign::Minus } else { Sign::Plus };
    if &whole * denominator == *numerator {
        return BigInt::from_biguint(sign, whole).to_string();
    }
    let scaled = numerator * decimal::pow10(DECIMALS) * 2u8 + denominator;
    let rounded = scaled / (denominator * 2u8);
    let (whole, fraction) = (&rounded / decimal::pow10(DECIMALS), &rounded % decimal::pow10(DECIMALS));
    let fraction = fraction.to_string();
    let zeros = "0".repeat(usize::try_from(DECIMALS).unwrap_or(0).saturating_sub(fraction.len()));
    format!("{}{whole}.{zeros}{fraction}", if negative { "-" } else { "" })
}

fn number(literal: &str) -> Outcome {
    let number = Number::parse(literal).ok_or_else(|| BuiltinError::Failed(format!("number {literal}")))?;
    Ok(Some(Value::Number(number)))
}

#[cfg(test)]
mod tests {
    use crate::builtins::testing::{Dice, Want, agree, check};

    #[test]
    fn amounts_have_si_and_binary_units() {
        check(&[
            ("units.parse", r#"["10K"]"#, Want::Value("10000")),
            ("units.parse", r#"["10k"]"#, Want::Value("10000")),
            ("units.parse", r#"["10KI"]"#, Want::Value("10240")),
            ("units.parse", r#"["1M"]"#, Want::Value("1000000")),
            ("units.parse", r#"["1Mi"]"#, Want::Value("1048576")),
            ("units.parse", r#"["1mi"]"#, Want::Value("1048576")),
            ("units.parse", r#"["1mI"]"#, Want::Value("1048576")),
            ("units.parse", r#"["100m"]"#, Want::Value("0.1000000000")),
            ("units.parse", r#"["1000m"]"#, Want::Value("1.0000000000")),
            ("units.parse", r#"["1.5"]"#, Want::Value("1.5000000000")),
            ("units.parse", r#"["-1.5"]"#, Want::Value("-1.5000000000")),
            ("units.parse", r#"["-1500.0"]"#, Want::Value("-1500")),
            ("units.parse", r#"["+.5k"]"#, Want::Value("500")),
            ("units.parse", r#"["5.k"]"#, Want::Value("5000")),
            ("units.parse", r#"["0.00000000005"]"#, Want::Value("0.0000000001")),
            ("units.parse", r#"["0.99999999999"]"#, Want::Value("1.0000000000")),
            ("units.parse", r#"["1e3"]"#, Want::Value("1000")),
            ("units.parse", r#"["1e-3"]"#, Want::Value("0.0010000000")),
            ("units.parse", r#"["1E+3Ki"]"#, Want::Value("1024000")),
            ("units.parse", r#"["1e"]"#, Want::Value("1000000000000000000")),
            ("units.parse", r#"["1E"]"#, Want::Value("1000000000000000000")),
            ("units.parse", r#"["2Ei"]"#, Want::Value("2305843009213693952")),
            ("units.parse", r#"["\"3\"T"]"#, Want::Value("3000000000000")),
            ("units.parse", r#"["1kb"]"#, Want::Failed),
            ("units.parse", r#"["1 k"]"#, Want::Failed),
            ("units.parse", r#"["k"]"#, Want::Failed),
            ("units.parse", r#"[""]"#, Want::Failed),
            ("units.parse", r#"["1.2.3"]"#, Want::Failed),
            ("units.parse", r#"["1-2"]"#, Want::Failed),
            ("units.parse", r#"["1e1234567"]"#, Want::Failed),
            ("units.parse", r#"["1e+"]"#, Want::Failed),
            ("units.parse", r#"["."]"#, Want::Failed),
            ("units.parse", r#"["1é"]"#, Want::Failed),
            ("units.parse", r#"["é"]"#, Want::Failed),
            ("units.parse", r#"["1kİ"]"#, Want::Value("1024")),
            ("units.parse", r#"[1]"#, Want::TypeError),
            ("units.parse", r#"["1e999999"]"#, Want::Budget),
        ]);
    }

    #[test]
    fn bytes_are_whole_and_their_units_may_be_of_any_case() {
        check(&[
            ("units.parse_bytes", r#"["10KB"]"#, Want::Value("10000")),
            ("units.parse_bytes", r#"["10kib"]"#, Want::Value("10240")),
            ("units.parse_bytes", r#"["1.5Ki"]"#, Want::Value("1536")),
            ("units.parse_bytes", r#"["1.7"]"#, Want::Value("1")),
            ("units.parse_bytes", r#"["-1.7"]"#, Want::Value("-1")),
            ("units.parse_bytes", r#"["-0.7"]"#, Want::Value("0")),
            ("units.parse_bytes", r#"["0.1k"]"#, Want::Value("100")),
            ("units.parse_bytes", r#"["1e3m"]"#, Want::Value("1000000000")),
            ("units.parse_bytes", r#"["1e"]"#, Want::Value("1000000000000000000")),
            ("units.parse_bytes", r#"["1EB"]"#, Want::Value("1000000000000000000")),
            ("units.parse_bytes", r#"["100EiB"]"#, Want::Value("115292150460684697600")),
            (
                "units.parse_bytes",
                r#"["123456789012345678901234567890"]"#,
                Want::Value("123456789012345678899921813504"),
            ),
            (
                "units.parse_bytes",
                r#"["1e60"]"#,
                Want::Value("999999999999999999999373423426722168652130621984886772203520"),
            ),
            ("units.parse_bytes", r#"["12345e-80eb"]"#, Want::Value("0")),
            (
                "units.parse_bytes",
                r#"["7e99"]"#,
                Want::Value(
                    "6999999999999999999958261231551558688231068015718181523716771622102598568760098332731849359684009984",
                ),
            ),
            ("units.parse_bytes", r#"["1b"]"#, Want::Failed),
            ("units.parse_bytes", r#"["1kbb"]"#, Want::Failed),
            ("units.parse_bytes", r#"["1 kb"]"#, Want::Failed),
            ("units.parse_bytes", r#"["kb"]"#, Want::Failed),
            ("units.parse_bytes", r#"[""]"#, Want::Failed),
            ("units.parse_bytes", r#"["1..2"]"#, Want::Failed),
            ("units.parse_bytes", r#"["1\"2\"kb"]"#, Want::Value("12000")),
            ("units.parse_bytes", r#"[true]"#, Want::TypeError),
        ]);
    }

    #[test]
    fn random_texts_are_amounts_where_they_are_to_opa() {
        const PIECES: &[&str] = &[
            "1",
            "0",
            "27",
            "999",
            ".",
            ".",
            "e",
            "E",
            "e3",
            "E-7",
            "+",
            "-",
            "k",
            "K",
            "m",
            "M",
            "i",
            "b",
            "B",
            "Gi",
            "P",
            "t",
            "\"",
            " ",
            "e30",
            "123456789012345678901",
            "\u{212a}",
        ];
        let mut dice = Dice(31);
        let mut calls = Vec::new();
        for _ in 0..600 {
            let text: String = (0..=dice.below(4)).map(|_| dice.one(PIECES)).collect();
            calls.push(("units.parse", serde_json::json!([text]).to_string()));
            calls.push(("units.parse_bytes", serde_json::json!([text]).to_string()));
        }
        assert!(agree(&calls) > 100);
    }
}
