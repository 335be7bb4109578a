//! Numbers: whole ones that fit a machine word, and all others by their literal.
mod arithmetic;
mod float;
mod loose;
mod real;
#[cfg(test)]
mod tests;

use real::{Plain, Real};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

pub(crate) use arithmetic::ArithmeticError;
pub(crate) use loose::LooseError;

/// A number of JSON. `1`, `1.0` and `1e0` are equal and print as they were written.
///
/// In OPA 1.19.1 `10.0 == 1` holds where no index is asked, because zeros and points at the end of literals are stripped
/// before they are compared. Here numbers are compared as numbers.
///
/// Its literal has at most [`Number::MAX_LITERAL`] bytes, and its size lies between about 1e-30103 and 1e30103, where
/// OPA's parser draws the line too. Comparing needs no memory, whatever the exponents.
#[derive(Clone)]
pub struct Number(Repr);

#[derive(Clone)]
enum Repr {
    /// Every number whose literal is what this prints as.
    Int(i64),
    Real(Arc<Real>),
}

impl Number {
    /// The longest literal in bytes.
    pub const MAX_LITERAL: usize = 4096;

    /// Reads a literal of JSON or Rego (`.5` is `0.5`). `None` if it is none, or beyond what a number may be.
    pub fn parse(literal: &str) -> Option<Self> {
        match canonical_int(literal) {
            Some(int) => Some(Self(Repr::Int(int))),
            None => Some(Self(Repr::Real(Arc::new(Real::parse(literal)?)))),
        }
    }

    /// The whole number, if it is written as one and fits: of `2`, but not of `2.0` or `2e0`, which are no indices.
    pub fn as_i64(&self) -> Option<i64> {
        match &self.0 {
            Repr::Int(int) => Some(*int),
            Repr::Real(real) => (real.text() == "-0").then_some(0),
        }
    }

    /// The nearest double; infinite beyond them.
    pub fn as_f64(&self) -> f64 {
        match &self.0 {
            Repr::Int(int) => *int as f64,
            Repr::Real(real) => real.text().parse().unwrap_or(f64::NAN),
        }
    }

    /// Whether it is a whole number, however it is written.
    pub fn is_integer(&self) -> bool {
        match &self.0 {
            Repr::Int(_) => true,
            Repr::Real(real) => real.is_integer(),
        }
    }

    fn with_plain<T>(&self, f: impl FnOnce(Plain<'_>) -> T) -> T {
        match &self.0 {
            Repr::Int(int) => {
                let mut digits = [b'0'; 20];
                f(Plain::of_int(*int, &mut digits))
            }
            Repr::Real(real) => f(real.plain()),
        }
    }
}

/// The number that a literal is, if the number prints as that literal again.
fn canonical_int(literal: &str) -> Option<i64> {
    let digits = literal.strip_prefix('-').unwrap_or(literal).as_bytes();
    let canonical = match digits {
        [b'0'] => literal.len() == 1,
        [b'1'..=b'9', rest @ ..] => rest.len() < 19 && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if canonical { literal.parse().ok() } else { None }
}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        Self(Repr::Int(value))
    }
}

impl From<usize> for Number {
    fn from(value: usize) -> Self {
        i64::try_from(value)
            .map_or_else(|_| Self(Repr::Real(Arc::new(Real::of_digits(value.to_string())))), Self::from)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Int(int) => write!(f, "{int}"),
            Repr::Real(real) => f.write_str(real.text()),
        }
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            (Repr::Int(a), Repr::Int(b)) => a.cmp(b),
            _ => self.with_plain(|a| other.with_plain(|b| a.cmp(&b))),
        }
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Number {}

impl Hash for Number {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match &self.0 {
            Repr::Int(int) => int.hash(state),
            Repr::Real(real) => match real.plain().whole_i64() {
                Some(int) => int.hash(state),
                None => real.plain().hash(state),
            },
        }
    }
}
