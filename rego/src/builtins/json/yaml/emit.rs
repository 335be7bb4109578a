//! Writing YAML as `yaml.v2` does: in blocks, keys in natural order, strings plain where they may be.
use super::Fault;
use super::resolve::{Scalar, resolve};
use crate::Value;
use crate::builtins::{BuiltinError, Context, time};
use crate::value::json::json_members;
use std::cmp::Ordering;
use std::fmt::Write as _;

/// The longest key that stands in front of a colon.
const LONGEST_KEY: usize = 128;

pub(super) fn document(context: &mut Context, value: &Value) -> Result<Result<String, Fault>, BuiltinError> {
    let mut emitter = Emitter { context, out: String::new() };
    match emitter.node(value, 0, Place::Root) {
        Ok(()) => {
            let mut out = emitter.out;
            if !out.ends_with('\n') {
                out.push('\n');
            }
            Ok(Ok(out))
        }
        Err(Stop::Fault(fault)) => Ok(Err(fault)),
        Err(Stop::Budget(error)) => Err(error),
    }
}

enum Stop {
    Fault(Fault),
    Budget(BuiltinError),
}

fn refused<T>(why: &'static str) -> Result<T, Stop> {
    Err(Stop::Fault(Fault::Refused(why)))
}

/// What a node stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    Item,
    Member,
}

struct Emitter<'a> {
    context: &'a mut Context,
    out: String,
}

impl Emitter<'_> {
    /// Writes a node whose own lines have this indent. What stands on the line already ends without a blank.
    fn node(&mut self, value: &Value, indent: usize, place: Place) -> Result<(), Stop> {
        match value {
            Value::Array(items) if !items.is_empty() => self.sequence(items.iter(), indent, place),
            Value::Set(items) if !items.is_empty() => self.sequence(items.iter(), indent, place),
            Value::Object(members) if !members.is_empty() => {
                let members = self.sorted(json_members(members))?;
                for (index, (name, value)) in members.iter().enumerate() {
                    self.begin(indent, index == 0, place)?;
                    self.key(name)?;
                    // Items of a sequence stand below their key, members of a mapping deeper.
                    let deeper = if matches!(value, Value::Object(_)) { indent + 2 } else { indent };
                    self.node(value, deeper, Place::Member)?;
                }
                Ok(())
            }
            scalar => {
                if place != Place::Root {
                    self.out.push(' ');
                }
                self.scalar(scalar, if place == Place::Item { indent.saturating_sub(2) } else { indent })
            }
        }
    }

    fn sequence<'v>(
        &mut self,
        items: impl Iterator<Item = &'v Value>,
        indent: usize,
        place: Place,
    ) -> Result<(), Stop> {
        for (index, item) in items.enumerate() {
            self.begin(indent, index == 0, place)?;
            self.out.push('-');
            self.node(item, indent + 2, Place::Item)?;
        }
        Ok(())
    }

    /// Goes to where an entry begins: the first one of a collection that is an item stands on the line of its dash.
    fn begin(&mut self, indent: usize, first: bool, place: Place) -> Result<(), Stop> {
        self.context.charge_bytes(indent).map_err(Stop::Budget)?;
        if first && place == Place::Item {
            self.out.push(' ');
            return Ok(());
        }
        if !(self.out.is_empty() || self.out.ends_with('\n')) {
            self.out.push('\n');
        }
        self.out.extend(std::iter::repeat_n(' ', indent));
        Ok(())
    }

    /// The members in the natural order of their names: numbers in them count as numbers.
    fn sorted<'v>(&mut self, mut members: Members<'v>) -> Result<Members<'v>, Stop> {
        let hard = |name: &str| {
            let digits = |rest: &str| rest.bytes().take_while(u8::is_ascii_digit).count();
            !name.is_ascii()
                || name.char_indices().any(|(at, _)| name.get(at..).is_some_and(|rest| digits(rest) > 17))
        };
        if members.len() > 1 && members.iter().any(|(name, _)| hard(name)) {
            return refused("keys whose order is hard to tell");
        }
        // One after the other: the order is Go's, whether or not it is a consistent one.
        for end in 1..members.len() {
            let mut at = end;
            while at > 0 {
                let (before, after) = members.split_at(at);
                let (Some((a, _)), Some((b, _))) = (before.last(), after.first()) else { break };
                if natural(a, b) != Ordering::Greater {
                    break;
                }
                members.swap(at - 1, at);
                at -= 1;
            }
            self.context.charge_items(end.saturating_sub(at)).map_err(Stop::Budget)?;
        }
        Ok(members)
    }

    fn key(&mut self, name: &str) -> Result<(), Stop> {
        if name.len() > LONGEST_KEY || name.contains('\n') {
            return refused("a key that is long or has several lines");
        }
        self.string(name, 0)?;
        self.out.push(':');
        Ok(())
    }

    fn scalar(&mut self, value: &Value, indent: usize) -> Result<(), Stop> {
        match value {
            Value::Array(_) | Value::Set(_) => self.out.push_str("[]"),
            Value::Object(_) => self.out.push_str("{}"),
            Value::String(text) => return self.string(text, indent),
            Value::Number(number) => {
                let literal = number.to_string();
                match resolve(&literal) {
                    Scalar::Int(int) => self.out.push_str(&int),
                    Scalar::Float(float) => self.out.push_str(&shown(float)),
                    _ => self.out.push_str(&literal),
                }
            }
            other => self.out.push_str(&other.to_json()),
        }
        Ok(())
    }

    fn string(&mut self, text: &str, indent: usize) -> Result<(), Stop> {
        if text.contains(['\u{85}', '\u{2028}', '\u{2029}']) {
            return refused("unusual line breaks");
        }
        if text.contains(|c| matches!(c, '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}')) {
            return Err(Stop::Fault(Fault::Invalid("yaml: control characters are not allowed".to_owned())));
        }
        let form = Form::of(text);
        if text.contains('\n') && form.block {
            self.literal(text, indent)
        } else if text.contains('\n') || resolve(text) != Scalar::Text || is_time(text) || is_base_60(text) {
            self.double_quoted(text);
            Ok(())
        } else if form.plain {
            self.out.push_str(text);
            Ok(())
        } else if form.single_quoted {
            self.out.push('\'');
            self.out.push_str(&text.replace('\'', "''"));
            self.out.push('\'');
            Ok(())
        } else {
            self.double_quoted(text);
            Ok(())
        }
    }

    fn literal(&mut self, text: &str, indent: usize) -> Result<(), Stop> {
        self.out.push('|');
        if text.starts_with([' ', '\n']) {
            self.out.push('2');
        }
        if !text.ends_with('\n') {
            self.out.push('-');
        } else if text == "\n" || text.ends_with("\n\n") {
            self.out.push('+');
        }
        self.out.push('\n');
        for line in text.split_inclusive('\n') {
            if line != "\n" {
                self.context.charge_bytes(indent).map_err(Stop::Budget)?;
                self.out.extend(std::iter::repeat_n(' ', indent + 2));
            }
            self.out.push_str(line);
        }
        Ok(())
    }

    fn double_quoted(&mut self, text: &str) {
        // Go asks for every character whether the string begins with the mark of a byte order.
        let marked = text.starts_with('\u{feff}');
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' | '\\' => self.out.extend(['\\', c]),
                '\0' => self.out.push_str("\\0"),
                '\u{7}' => self.out.push_str("\\a"),
                '\u{8}' => self.out.push_str("\\b"),
                '\t' => self.out.push_str("\\t"),
                '\n' => self.out.push_str("\\n"),
                '\u{b}' => self.out.push_str("\\v"),
                '\u{c}' => self.out.push_str("\\f"),
                '\r' => self.out.push_str("\\r"),
                '\u{1b}' => self.out.push_str("\\e"),
                c if is_printable(c) && !marked => self.out.push(c),
                c => {
                    let code = u32::from(c);
                    // Writing to a string does not fail.
                    let written = match code {
                        0..=0xff => write!(self.out, "\\x{code:02X}"),
                        0x100..=0xffff => write!(self.out, "\\u{code:04X}"),
                        _ => write!(self.out, "\\U{code:08X}"),
                    };
                    debug_assert!(written.is_ok());
                }
            }
        }
        self.out.push('"');
    }
}

/// What Go's emitter writes as it is. It takes no character beyond the first 65536 for printable.
fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}')
}

/// Which styles a string may have.
struct Form {
    plain: bool,
    single_quoted: bool,
    block: bool,
}

impl Form {
    fn of(text: &str) -> Self {
        let mut indicators = text.starts_with("---") || text.starts_with("...");
        let mut special = false;
        let chars: Vec<char> = text.chars().collect();
        let mut previous = None;
        for (index, c) in chars.iter().copied().enumerate() {
            let next = chars.get(index + 1);
            let blank_follows = next.is_none_or(|next| matches!(next, ' ' | '\t'));
            indicators |= match (index, c) {
                (0, '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|') => true,
                (0, '>' | '\'' | '"' | '%' | '@' | '`') => true,
                (0, '?' | '-') | (_, ':') => blank_follows,
                (_, '#') => previous.is_some_and(|c| matches!(c, ' ' | '\t' | '\n' | '\r' | '\0')),
                _ => false,
            };
            special |= !is_printable(c);
            previous = Some(c);
        }
        let is_break = |c: char| matches!(c, '\n' | '\r');
        let pair = |a: fn(char) -> bool, b: fn(char) -> bool| {
            chars.windows(2).any(|pair| matches!(pair, [x, y] if a(*x) && b(*y)))
        };
        let space = |c: char| c == ' ';
        let breaking = |c: char| matches!(c, '\n' | '\r');
        let break_space = pair(breaking, space);
        let hard = pair(space, breaking) || special;
        let outer = |c: char| c == ' ' || is_break(c);
        let around = text.starts_with(outer) || text.ends_with(outer);
        Self {
            plain: !around && !break_space && !hard && !indicators && !text.contains(is_break),
            single_quoted: !break_space && !hard,
            block: !text.ends_with(' ') && !hard && !text.is_empty(),
        }
    }
}

/// Times are read as strings, but quoted: `yaml.v2` knows these layouts of them.
fn is_time(text: &str) -> bool {
    let layouts = [
        "2006-1-2T15:4:5.999999999Z07:00",
        "2006-1-2t15:4:5.999999999Z07:00",
        "2006-1-2 15:4:5.999999999",
        "2006-1-2",
    ];
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    digits == 4 && layouts.into_iter().any(|layout| time::fits(layout, text))
}

/// Numbers to the base of 60 are not read, but quoted: `^[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?$`.
fn is_base_60(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let mut parts = whole.split(':');
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    let first =
        parts.next().is_some_and(|part| part.starts_with(|c: char| c.is_ascii_digit()) && digits(part));
    let mut more = false;
    let sixtieths = parts.all(|part| {
        more = true;
        match part.as_bytes() {
            [digit] => digit.is_ascii_digit(),
            [b'0'..=b'5', digit] => digit.is_ascii_digit(),
            _ => false,
        }
    });
    first && sixtieths && more && digits(fraction)
}

/// A double as Go's `%g` shows it.
fn shown(float: f64) -> String {
    let scientific = format!("{float:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>() {
        Ok(power) if !(-4..6).contains(&power) => {
            let sign = if power < 0 { '-' } else { '+' };
            format!("{mantissa}e{sign}{:02}", power.unsigned_abs())
        }
        _ => float.to_string(),
    }
}

type Members<'v> = Vec<(std::borrow::Cow<'v, str>, &'v Value)>;

/// Compares two names of ASCII as `yaml.v2` does.
fn natural(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let Some(at) = a.iter().zip(b).position(|(x, y)| x != y) else { return a.len().cmp(&b.len()) };
    let (Some(x), Some(y)) = (a.get(at).copied(), b.get(at).copied()) else { return Ordering::Equal };
    match (x.is_ascii_alphabetic(), y.is_ascii_alphabetic()) {
        (true, true) => return x.cmp(&y),
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    // A zero behind other digits is part of their number.
    let number_before = a.get(..at).unwrap_or_default().iter().rev().take_while(|byte| byte.is_ascii_digit());
    let start = u64::from((x == b'0' || y == b'0') && number_before.into_iter().any(|digit| *digit != b'0'));
    let number = |text: &[u8]| {
        let digits = text.get(at..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_digit());
        digits.fold((start, 0_usize), |(number, length), digit| {
            (number.saturating_mul(10).saturating_add(u64::from(digit - b'0')), length + 1)
        })
    };
    number(a).cmp(&number(b)).then(x.cmp(&y))
}
