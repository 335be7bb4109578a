//! The `sprintf` builtin: Go's `fmt.Sprintf`, with its words for verbs that do not fit and arguments that are missing or
//! too many.
mod float;
mod quote;
#[cfg(test)]
mod tests;
mod write;

use super::meter::Meter;
use super::{Builtin, BuiltinError, Context, Outcome, array, decimal, text};
use crate::{Number, Value};
use num_bigint::BigInt;

pub(super) use quote::printable;
use write::Writer;

pub(super) const TABLE: &[Builtin] = &[Builtin::pure("sprintf", 2, sprintf)];

/// An argument, as Go's types tell them apart.
#[derive(Clone, Debug)]
pub(super) enum Arg {
    /// `int64`.
    Int(i64),
    /// `float64`.
    Float(f64),
    /// `*big.Int`.
    Big(BigInt),
    /// `string`: strings, numbers of other notations, and the Rego text of everything else.
    Text(String),
    /// What only templates have: `int`.
    Word(i64),
    /// `uint8`.
    Byte(u8),
    /// `json.Number`.
    Json(String),
    /// `bool`.
    Bool(bool),
    /// `[]interface {}`.
    List(Vec<Arg>),
    /// `map[string]interface {}`, sorted by key.
    Map(Vec<(String, Arg)>),
    /// `nil`.
    Nil,
}

impl Arg {
    fn type_name(&self) -> &'static str {
        match self {
            Self::Int(_) => "int64",
            Self::Float(_) => "float64",
            Self::Big(_) => "*big.Int",
            Self::Text(_) => "string",
            Self::Word(_) => "int",
            Self::Byte(_) => "uint8",
            Self::Json(_) => "json.Number",
            Self::Bool(_) => "bool",
            Self::List(_) => "[]interface {}",
            Self::Map(_) => "map[string]interface {}",
            Self::Nil => "<nil>",
        }
    }

    /// What a number becomes: by its notation, so that `1e3` is a string.
    fn number(number: &Number) -> Self {
        let literal = number.to_string();
        if let Ok(int) = literal.parse() {
            return Self::Int(int);
        }
        if literal.contains('.') {
            let float: f64 = literal.parse().unwrap_or(f64::INFINITY);
            return if float.is_finite() { Self::Float(float) } else { Self::Text(literal) };
        }
        match decimal::integer(&literal) {
            Some(big) => Self::Big(big),
            None => Self::Text(literal),
        }
    }

    fn of(value: &Value) -> Self {
        match value {
            Value::Number(number) => Self::number(number),
            Value::String(text) => Self::Text(text.to_string()),
            other => Self::Text(super::strings::shown(other)),
        }
    }
}

fn sprintf(context: &mut Context, args: &[Value]) -> Outcome {
    let format = text(args, 0)?;
    let values = array(args, 1)?;
    context.charge_items(values.len())?;
    context.charge_bytes(format.len())?;
    let mut arguments = Vec::with_capacity(values.len());
    for value in values {
        let argument = Arg::of(value);
        match &argument {
            Arg::Text(text) => context.charge_bytes(text.len())?,
            Arg::Big(big) => {
                let digits = usize::try_from(big.bits()).unwrap_or(usize::MAX) >> 1;
                decimal::charge_digits(context, digits)?;
            }
            _ => {}
        }
        arguments.push(argument);
    }
    Ok(Some(Value::from(formatted(&mut Meter::new(context), format, &arguments)?)))
}

/// Go's `fmt.Sprint`, or `fmt.Sprintln`: spaces stand between arguments that are no strings, or between all.
pub(super) fn printed(meter: &mut Meter<'_>, arguments: &[Arg], line: bool) -> Result<String, BuiltinError> {
    let mut writer = Writer::new(meter);
    let string = |argument: &Arg| matches!(argument, Arg::Text(_) | Arg::Json(_));
    let mut before: Option<&Arg> = None;
    for argument in arguments {
        if before.is_some_and(|before| line || !(string(before) || string(argument))) {
            writer.text(" ")?;
        }
        writer.argument(argument, 'v')?;
        before = Some(argument);
    }
    if line {
        writer.text("\n")?;
    }
    Ok(writer.out)
}

/// The largest width, precision or index of an argument.
const NUMBER_MAX: i64 = 1_000_000;

/// Where in the format and the arguments the work is.
struct State<'a> {
    format: &'a str,
    at: usize,
    arguments: &'a [Arg],
    /// The next argument.
    next: usize,
    /// Whether an index such as `[3]` was written anywhere.
    reordered: bool,
    /// Whether the indexes of the verb at hand were good.
    good: bool,
}

/// The format with its verbs replaced.
pub(super) fn formatted(
    meter: &mut Meter<'_>,
    format: &str,
    arguments: &[Arg],
) -> Result<String, BuiltinError> {
    let mut writer = Writer::new(meter);
    let mut state = State { format, at: 0, arguments, next: 0, reordered: false, good: true };
    loop {
        let rest = state.format.get(state.at..).unwrap_or_default();
        let (plain, found) = match rest.find('%') {
            Some(at) => (rest.get(..at).unwrap_or_default(), true),
            None => (rest, false),
        };
        writer.text(plain)?;
        if !found {
            break;
        }
        state.at = state.at.saturating_add(plain.len()).saturating_add(1);
        state.verb(&mut writer)?;
    }
    if !state.reordered && state.next < arguments.len() {
        writer.clear();
        writer.text("%!(EXTRA ")?;
        for (index, argument) in arguments.iter().skip(state.next).enumerate() {
            writer.text(if index > 0 { ", " } else { "" })?;
            writer.text(argument.type_name())?;
            if !matches!(argument, Arg::Nil) {
                writer.text("=")?;
                writer.argument(argument, 'v')?;
            }
        }
        writer.text(")")?;
    }
    Ok(writer.out)
}

impl State<'_> {
    fn peek(&self) -> Option<u8> {
        self.format.as_bytes().get(self.at).copied()
    }

    fn step(&mut self) {
        self.at = self.at.saturating_add(1);
    }

    /// What follows a percent sign: flags, index, width, precision, verb.
    fn verb(&mut self, writer: &mut Writer<'_, '_>) -> Result<(), BuiltinError> {
        writer.clear();
        self.good = true;
        while let Some(flag) = self.peek().filter(|byte| b"#0+- ".contains(byte)) {
            match flag {
                b'#' => writer.flags.sharp = true,
                b'0' => writer.flags.zero = true,
                b'+' => writer.flags.plus = true,
                b'-' => writer.flags.minus = true,
                _ => writer.flags.space = true,
            }
            self.step();
        }
        let mut after_index = self.index();
        after_index = self.width(writer, after_index)?;
        after_index = self.precision(writer, after_index)?;
        if !after_index {
            self.index();
        }
        let Some(verb) = self.format.get(self.at..).and_then(|rest| rest.chars().next()) else {
            return writer.text("%!(NOVERB)");
        };
        self.at = self.at.saturating_add(verb.len_utf8());
        if verb == '%' {
            return writer.text("%");
        }
        if !self.good {
            return writer.text(&format!("%!{verb}(BADINDEX)"));
        }
        let Some(argument) = self.arguments.get(self.next) else {
            return writer.text(&format!("%!{verb}(MISSING)"));
        };
        if matches!(verb, 'v' | 'w') {
            // `%#v` is Go's syntax of the value, and `%+v` has no meaning of its own here.
            writer.flags.go_syntax = std::mem::take(&mut writer.flags.sharp);
            writer.flags.plus_v = std::mem::take(&mut writer.flags.plus);
        }
        self.next = self.next.saturating_add(1);
        writer.argument(argument, verb)
    }

    fn width(&mut self, writer: &mut Writer<'_, '_>, after_index: bool) -> Result<bool, BuiltinError> {
        if self.peek() == Some(b'*') {
            self.step();
            match self.taken() {
                Some(width) => {
                    writer.flags.width = usize::try_from(width.unsigned_abs()).ok();
                    if width < 0 {
                        writer.flags.minus = true;
                        writer.flags.zero = false;
                    }
                }
                None => writer.text("%!(BADWIDTH)")?,
            }
            return Ok(false);
        }
        let (width, end) = number(self.format, self.at, self.format.len());
        writer.flags.width = width;
        self.at = end;
        if after_index && width.is_some() {
            // Such as `%[3]2d`.
            self.good = false;
        }
        Ok(after_index)
    }

    fn precision(&mut self, writer: &mut Writer<'_, '_>, after_index: bool) -> Result<bool, BuiltinError> {
        // A point at the very end is taken for the verb.
        if self.peek() != Some(b'.') || self.at.saturating_add(1) >= self.format.len() {
            return Ok(after_index);
        }
        self.step();
        if after_index {
            // Such as `%[3].2d`.
            self.good = false;
        }
        let after_index = self.index();
        if self.peek() == Some(b'*') {
            self.step();
            match self.taken().and_then(|precision| usize::try_from(precision).ok()) {
                Some(precision) => writer.flags.precision = Some(precision),
                None => writer.text("%!(BADPREC)")?,
            }
            return Ok(false);
        }
        let (precision, end) = number(self.format, self.at, self.format.len());
        writer.flags.precision = Some(precision.unwrap_or(0));
        self.at = end;
        Ok(after_index)
    }

    /// Takes the next argument as a width or precision.
    fn taken(&mut self) -> Option<i64> {
        let argument = self.arguments.get(self.next)?;
        self.next = self.next.saturating_add(1);
        match argument {
            Arg::Int(int) if int.checked_abs().is_some_and(|size| size <= NUMBER_MAX) => Some(*int),
            _ => None,
        }
    }

    /// Reads an index such as `[3]`, if there is one, and says whether it may be followed by no other number.
    fn index(&mut self) -> bool {
        if self.peek() != Some(b'[') {
            return false;
        }
        self.reordered = true;
        let rest = self.format.get(self.at..).unwrap_or_default();
        let close = if rest.len() < 3 { None } else { rest.find(']') };
        let Some(close) = close.and_then(|close| close.checked_add(self.at)) else {
            self.good = false;
            self.step();
            return false;
        };
        let (index, end) = number(self.format, self.at.saturating_add(1), close);
        self.at = close.saturating_add(1);
        let Some(index) = index.filter(|_| end == close) else {
            self.good = false;
            return false;
        };
        match index.checked_sub(1) {
            Some(index) if index < self.arguments.len() => self.next = index,
            _ => self.good = false,
        }
        true
    }
}

/// Reads a number between two places: its value, if it is one and not too large, and where it ends. A number that is too
/// large takes everything.
fn number(format: &str, from: usize, end: usize) -> (Option<usize>, usize) {
    let mut value: Option<i64> = None;
    let mut at = from;
    while let Some(byte) = format.as_bytes().get(at).filter(|byte| at < end && byte.is_ascii_digit()) {
        let so_far = value.unwrap_or(0);
        if so_far > NUMBER_MAX {
            return (None, end);
        }
        value = Some(so_far.saturating_mul(10).saturating_add(i64::from(byte.saturating_sub(b'0'))));
        at = at.saturating_add(1);
    }
    (value.and_then(|value| usize::try_from(value).ok()), at.min(end))
}
