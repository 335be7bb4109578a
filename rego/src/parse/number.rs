//! Numbers: the literal is kept, and what no number of JSON can be is refused.
use super::lex::{Infix, Kind};
use super::{Parser, Result, error};
use crate::Number;
use crate::ast::TermKind;

impl Parser<'_> {
    /// A number with its sign. The sign, a leading point and the digits may stand apart.
    pub(super) fn number(&mut self) -> Result<TermKind> {
        let mut literal = String::new();
        if self.accept(Kind::Infix(Infix::Minus)) {
            literal.push('-');
        }
        let fraction = self.accept(Kind::Dot);
        if self.kind() != Kind::Number {
            return Err(self.unexpected("a number"));
        }
        let digits = self.word();
        if fraction {
            if digits.contains('.') {
                return Err(self.unexpected("the digits of a fraction"));
            }
            // JSON knows no number without a digit before the point.
            literal.push_str("0.");
        } else if digits.strip_prefix('0').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        {
            return Err(error(self.loc(), "a number must not begin with a needless zero"));
        }
        literal.push_str(digits);
        let number = Number::parse(&literal).filter(|_| is_of_sane_size(&literal)).ok_or_else(|| {
            error(self.loc(), "this number is too big or too small: its exponent is beyond 30102")
        })?;
        self.advance();
        Ok(TermKind::Number(number))
    }
}

/// Whether a number is zero or between `2^-100001` and `2^100000`, beyond which OPA refuses it.
fn is_of_sane_size(literal: &str) -> bool {
    let (mantissa, exponent) = literal.split_once(['e', 'E']).unwrap_or((literal, "0"));
    let mantissa = mantissa.trim_start_matches('-');
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || whole.chars().chain(fraction.chars());
    let Some(leading) = digits().position(|c| c != '0') else { return exponent.parse::<i32>().is_ok() };
    let (Ok(exponent), Ok(whole), Ok(leading_zeros)) =
        (exponent.parse::<i32>(), i64::try_from(whole.len()), i64::try_from(leading))
    else {
        return false;
    };
    // The value is 0.d₁d₂… times ten to this power, with d₁ not zero.
    let Ok(power) = i32::try_from(i64::from(exponent) + whole - leading_zeros) else { return false };
    let significant: String = digits().skip(leading).take(17).collect();
    let Ok(significand) = format!("0.{significant}").parse::<f64>() else { return false };
    let binary = (significand.log10() + f64::from(power)) / std::f64::consts::LOG10_2;
    (-100_001.0..100_000.0).contains(&binary)
}
