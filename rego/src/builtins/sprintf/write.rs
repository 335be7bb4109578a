//! Writing one argument: flags, padding, and what each verb makes of each type.
use super::Arg;
use super::float;
use super::quote;
use crate::builtins::BuiltinError;
use crate::builtins::meter::Meter;
use num_bigint::{BigInt, Sign};

/// What was written between the percent sign and the verb.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flags {
    pub(super) width: Option<usize>,
    pub(super) precision: Option<usize>,
    pub(super) minus: bool,
    pub(super) plus: bool,
    pub(super) sharp: bool,
    pub(super) space: bool,
    pub(super) zero: bool,
    /// `%#v`.
    pub(super) go_syntax: bool,
    /// `%+v`.
    pub(super) plus_v: bool,
}

#[derive(Debug)]
pub(super) struct Writer<'m, 'c> {
    meter: &'m mut Meter<'c>,
    pub(super) out: String,
    pub(super) flags: Flags,
}

impl<'m, 'c> Writer<'m, 'c> {
    pub(super) fn new(meter: &'m mut Meter<'c>) -> Self {
        Self { meter, out: String::new(), flags: Flags::default() }
    }

    pub(super) fn clear(&mut self) {
        self.flags = Flags::default();
    }

    pub(super) fn text(&mut self, text: &str) -> Result<(), BuiltinError> {
        self.meter.append(&mut self.out, text)
    }

    fn repeated(&mut self, character: char, times: usize) -> Result<(), BuiltinError> {
        self.meter.spend(times)?;
        self.out.extend(std::iter::repeat_n(character, times));
        Ok(())
    }

    /// The text, filled up to the width: on the left, or on the right after a `-`.
    fn padded(&mut self, text: &str, may_be_zeros: bool) -> Result<(), BuiltinError> {
        let missing = self.flags.width.unwrap_or(0).saturating_sub(text.chars().count());
        if self.flags.minus {
            self.text(text)?;
            return self.repeated(' ', missing);
        }
        self.repeated(if self.flags.zero && may_be_zeros { '0' } else { ' ' }, missing)?;
        self.text(text)
    }

    /// Writes an argument by a verb.
    pub(super) fn argument(&mut self, argument: &Arg, verb: char) -> Result<(), BuiltinError> {
        if verb == 'T' {
            let name = self.truncated(argument.type_name()).to_owned();
            return self.padded(&name, true);
        }
        match argument {
            Arg::Text(text) | Arg::Json(text) => self.string(argument, text, verb),
            Arg::Int(int) | Arg::Word(int) => self.int(argument, *int, verb),
            Arg::Float(float) => self.float(*float, verb),
            Arg::Big(big) => self.big(big, verb),
            Arg::Bool(value) if matches!(verb, 't' | 'v') => {
                self.padded(if *value { "true" } else { "false" }, true)
            }
            Arg::Bool(_) => self.bad(argument, verb),
            Arg::Nil if verb == 'v' => self.padded("<nil>", true),
            Arg::Nil => self.text(&format!("%!{verb}(<nil>)")),
            Arg::Byte(_) | Arg::List(_) | Arg::Map(_) if self.flags.go_syntax || verb == 'p' => {
                Err(BuiltinError::Budget(format!("`%{verb}` is not available for {}", argument.type_name())))
            }
            Arg::Byte(byte) => self.int(argument, i64::from(*byte), verb),
            Arg::List(items) => {
                self.text("[")?;
                for (index, item) in items.iter().enumerate() {
                    self.text(if index > 0 { " " } else { "" })?;
                    self.inner(item, verb)?;
                }
                self.text("]")
            }
            Arg::Map(members) => {
                self.text("map[")?;
                for (index, (key, value)) in members.iter().enumerate() {
                    self.text(if index > 0 { " " } else { "" })?;
                    self.inner(&Arg::Text(key.clone()), verb)?;
                    self.text(":")?;
                    self.inner(value, verb)?;
                }
                self.text("]")
            }
        }
    }

    /// An argument within another one.
    fn inner(&mut self, argument: &Arg, verb: char) -> Result<(), BuiltinError> {
        match argument {
            Arg::Nil => self.text("<nil>"),
            other => self.argument(other, verb),
        }
    }

    /// What a verb that does not fit leads to. Width and the like still count for the argument in it.
    fn bad(&mut self, argument: &Arg, verb: char) -> Result<(), BuiltinError> {
        self.text(&format!("%!{verb}({}=", argument.type_name()))?;
        self.argument(argument, 'v')?;
        self.text(")")
    }

    fn truncated<'t>(&self, text: &'t str) -> &'t str {
        let end = self.flags.precision.and_then(|most| text.char_indices().nth(most));
        end.and_then(|(at, _)| text.get(..at)).unwrap_or(text)
    }

    fn string(&mut self, argument: &Arg, text: &str, verb: char) -> Result<(), BuiltinError> {
        match verb {
            'v' if self.flags.go_syntax => self.quoted(text),
            'v' | 's' => self.padded(self.truncated(text), true),
            'q' => self.quoted(text),
            'x' => self.bytes(text, 'x'),
            'X' => self.bytes(text, 'X'),
            _ => self.bad(argument, verb),
        }
    }

    fn quoted(&mut self, text: &str) -> Result<(), BuiltinError> {
        let text = self.truncated(text);
        self.meter.spend(text.len().saturating_mul(4))?;
        let quoted = if self.flags.sharp && quote::can_backquote(text) {
            format!("`{text}`")
        } else {
            quote::quoted_by(text, '"', self.flags.plus)
        };
        self.padded(&quoted, true)
    }

    /// The bytes of a string in hexadecimal digits; precision counts bytes.
    fn bytes(&mut self, text: &str, verb: char) -> Result<(), BuiltinError> {
        let many = self.flags.precision.unwrap_or(usize::MAX).min(text.len());
        self.meter.spend(many.saturating_mul(5))?;
        let prefix = match (self.flags.sharp, verb) {
            (false, _) => "",
            (true, 'x') => "0x",
            (true, _) => "0X",
        };
        let mut out = String::new();
        for (index, byte) in text.bytes().take(many).enumerate() {
            if index > 0 && self.flags.space {
                out.push(' ');
            }
            if index == 0 || self.flags.space {
                out.push_str(prefix);
            }
            out.push_str(&if verb == 'x' { format!("{byte:02x}") } else { format!("{byte:02X}") });
        }
        self.padded(&out, true)
    }

    fn int(&mut self, argument: &Arg, int: i64, verb: char) -> Result<(), BuiltinError> {
        let magnitude = int.unsigned_abs();
        let digits = match verb {
            'v' | 'd' => magnitude.to_string(),
            'b' => format!("{magnitude:b}"),
            'o' | 'O' => format!("{magnitude:o}"),
            'x' => format!("{magnitude:x}"),
            'X' => format!("{magnitude:X}"),
            'c' => return self.padded(&character(int).to_string(), true),
            'q' => {
                let quoted = quote::quoted_by(&character(int).to_string(), '\'', self.flags.plus);
                return self.padded(&quoted, true);
            }
            'U' => return self.code_point(int),
            _ => return self.bad(argument, verb),
        };
        self.integer(digits, int < 0, verb)
    }

    fn integer(&mut self, mut digits: String, negative: bool, verb: char) -> Result<(), BuiltinError> {
        let least = match self.flags.precision {
            Some(0) if digits == "0" => {
                let width = self.flags.width.unwrap_or(0);
                return self.repeated(' ', width);
            }
            Some(precision) => precision,
            None if self.flags.zero && !self.flags.minus => {
                let signed = negative || self.flags.plus || self.flags.space;
                self.flags.width.unwrap_or(0).saturating_sub(usize::from(signed))
            }
            None => 0,
        };
        let zeros = least.saturating_sub(digits.len());
        self.meter.spend(zeros)?;
        digits.insert_str(0, &"0".repeat(zeros));
        let prefix = match verb {
            'b' if self.flags.sharp => "0b",
            'o' if self.flags.sharp && !digits.starts_with('0') => "0",
            'O' if self.flags.sharp && !digits.starts_with('0') => "0o0",
            'O' => "0o",
            'x' if self.flags.sharp => "0x",
            'X' if self.flags.sharp => "0X",
            _ => "",
        };
        let sign = self.sign(negative);
        self.padded(&format!("{sign}{prefix}{digits}"), false)
    }

    fn sign(&self, negative: bool) -> &'static str {
        match (negative, self.flags.plus, self.flags.space) {
            (true, _, _) => "-",
            (false, true, _) => "+",
            (false, false, true) => " ",
            (false, false, false) => "",
        }
    }

    /// `U+0078`, and with `#` the character after it, if it can be printed.
    fn code_point(&mut self, int: i64) -> Result<(), BuiltinError> {
        // Of a negative number Go sees the bits.
        let digits = format!("{int:X}");
        let least = self.flags.precision.unwrap_or(4).max(4);
        let zeros = least.saturating_sub(digits.len());
        self.meter.spend(zeros)?;
        let shown = u32::try_from(int)
            .ok()
            .and_then(char::from_u32)
            .filter(|character| self.flags.sharp && quote::printable(*character))
            .map(|character| format!(" '{character}'"))
            .unwrap_or_default();
        self.padded(&format!("U+{}{digits}{shown}", "0".repeat(zeros)), false)
    }

    fn float(&mut self, value: f64, verb: char) -> Result<(), BuiltinError> {
        let (form, default) = match verb {
            'v' => ('g', None),
            'b' | 'g' | 'G' | 'x' | 'X' => (verb, None),
            'f' | 'e' | 'E' => (verb, Some(6)),
            'F' => ('f', Some(6)),
            _ => return self.bad(&Arg::Float(value), verb),
        };
        let precision = self.flags.precision.or(default);
        self.meter.spend(precision.unwrap_or(0).saturating_add(400))?;
        let mut digits = float::formatted(value.abs(), form, precision);
        if self.flags.sharp && form != 'b' {
            digits = float::with_point(&digits, form, precision);
        }
        let negative = value.is_sign_negative();
        let sign = self.sign(negative);
        let length = digits.len().saturating_add(1);
        // With zeros on the left the sign stands before them.
        let zero_padded = !sign.is_empty() && self.flags.zero && !self.flags.minus;
        let missing = self.flags.width.unwrap_or(0).saturating_sub(length);
        if zero_padded && missing > 0 {
            self.text(sign)?;
            self.repeated('0', missing)?;
            return self.text(&digits);
        }
        self.padded(&format!("{sign}{digits}"), true)
    }

    /// Large numbers write themselves: they have fewer verbs, and say `big.Int` of the others.
    fn big(&mut self, big: &BigInt, verb: char) -> Result<(), BuiltinError> {
        let flags = self.flags;
        let sharp = flags.sharp || flags.go_syntax;
        let (radix, prefix) = match verb {
            'b' => (2, "0b"),
            'o' => (8, "0"),
            'O' => (8, "0o"),
            'd' | 's' | 'v' => (10, ""),
            'x' => (16, "0x"),
            'X' => (16, "0X"),
            'w' | 'p' => {
                return Err(BuiltinError::Budget(format!("`%{verb}` of a large number shows OPA's memory")));
            }
            _ => return self.text(&format!("%!{verb}(big.Int={big})")),
        };
        self.meter.spend(usize::try_from(big.bits()).unwrap_or(usize::MAX))?;
        let mut digits = big.magnitude().to_str_radix(radix);
        if verb == 'X' {
            digits.make_ascii_uppercase();
        }
        let prefix = if sharp || verb == 'O' { prefix } else { "" };
        let sign = match (big.sign() == Sign::Minus, flags.plus || flags.plus_v, flags.space) {
            (true, _, _) => "-",
            (false, true, _) => "+",
            (false, false, true) => " ",
            (false, false, false) => "",
        };
        let mut zeros = flags.precision.unwrap_or(0).saturating_sub(digits.len());
        let length =
            sign.len().saturating_add(prefix.len()).saturating_add(zeros).saturating_add(digits.len());
        let missing = flags.width.unwrap_or(0).saturating_sub(length);
        let (mut left, mut right) = (0, 0);
        if flags.minus {
            right = missing;
        } else if flags.zero && flags.precision.is_none() {
            zeros = missing;
        } else {
            left = missing;
        }
        self.repeated(' ', left)?;
        self.text(sign)?;
        self.text(prefix)?;
        self.repeated('0', zeros)?;
        self.text(&digits)?;
        self.repeated(' ', right)
    }
}

/// The character of a code point; what is none shows as U+FFFD.
fn character(int: i64) -> char {
    u32::try_from(int).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER)
}
