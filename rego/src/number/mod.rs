//! Numbers: whole ones that fit a machine word, and all others by their literal.
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// A number of JSON. `1`, `1.0` and `1e0` are equal and print as they were written.
#[derive(Clone)]
pub struct Number(Repr);

#[derive(Clone)]
enum Repr {
    Int(i64),
    /// Every literal that is no plain whole number of 64 bits.
    Literal(Arc<str>),
}

impl Number {
    /// Reads a literal of JSON.
    pub fn parse(literal: &str) -> Option<Self> {
        if let Ok(int) = literal.parse::<i64>() {
            return Some(Self(Repr::Int(int)));
        }
        literal.parse::<f64>().ok()?;
        Some(Self(Repr::Literal(Arc::from(literal))))
    }

    /// The whole number, if it is one that fits: of `2`, and of `2.0`, which equals it.
    pub fn as_i64(&self) -> Option<i64> {
        match &self.0 {
            Repr::Int(int) => Some(*int),
            Repr::Literal(_) => None,
        }
    }

    /// The nearest double.
    pub fn as_f64(&self) -> f64 {
        match &self.0 {
            Repr::Int(int) => int.to_string().parse().unwrap_or(0.0),
            Repr::Literal(literal) => literal.parse().unwrap_or(0.0),
        }
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        Self(Repr::Int(value))
    }
}

impl From<usize> for Number {
    fn from(value: usize) -> Self {
        i64::try_from(value).map_or_else(|_| Self(Repr::Literal(value.to_string().into())), Self::from)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Int(int) => write!(f, "{int}"),
            Repr::Literal(literal) => f.write_str(literal),
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
            _ => self.as_f64().total_cmp(&other.as_f64()),
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
        self.as_f64().to_bits().hash(state);
    }
}
