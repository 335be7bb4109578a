//! The `time` builtins, with the layouts and durations of Go's package `time` and the bundled IANA time zones.
mod civil;
mod duration;
mod layout;
mod parse;

use super::{Builtin, BuiltinError, Context, Outcome, arg, text};
use crate::{Number, Value};
use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use num_bigint::BigUint;
use std::sync::OnceLock;

pub(super) const TABLE: &[Builtin] = &[
    Builtin::pure("time.add_date", 4, add_date),
    Builtin::pure("time.clock", 1, clock),
    Builtin::pure("time.date", 1, date),
    Builtin::pure("time.diff", 2, diff),
    Builtin::pure("time.format", 1, format),
    Builtin { name: "time.now_ns", arity: 0, nondeterministic: true, call: now_ns },
    Builtin::pure("time.parse_duration_ns", 1, parse_duration_ns),
    Builtin::pure("time.parse_ns", 2, parse_ns),
    Builtin::pure("time.parse_rfc3339_ns", 1, parse_rfc3339_ns),
    Builtin::pure("time.weekday", 1, weekday),
];

const NANOSECONDS: i64 = 1_000_000_000;

/// A moment as the clocks of a zone show it.
struct Moment {
    /// Seconds since 1970 on those clocks.
    seconds: i64,
    nanosecond: i64,
    /// How many seconds they are ahead of UTC.
    offset: i64,
    abbreviation: String,
}

impl Moment {
    fn day(&self) -> i64 {
        self.seconds.div_euclid(86_400)
    }

    fn date(&self) -> (i64, i64, i64) {
        civil::date(self.day())
    }

    fn clock(&self) -> (i64, i64, i64) {
        let second = self.seconds.rem_euclid(86_400);
        (second / 3600, second / 60 % 60, second % 60)
    }

    /// From Sunday, which is 0.
    fn weekday(&self) -> i64 {
        (self.day() + 4).rem_euclid(7)
    }

    fn day_of_year(&self) -> i64 {
        self.day() - civil::day_number(self.date().0, 1, 1) + 1
    }
}

/// Offset and abbreviation of a zone at a time; `None` where no calendar of ours reaches.
fn offset(zone: &TimeZone, seconds: i64) -> Option<(i64, String)> {
    let info = zone.to_offset_info(Timestamp::from_second(seconds).ok()?);
    Some((i64::from(info.offset().seconds()), info.abbreviation().to_owned()))
}

/// A time that a policy names: `ns`, or `[ns, zone]`, or `[ns, zone, layout]`.
struct Time<'a> {
    nanoseconds: i64,
    zone: TimeZone,
    layout: &'a str,
}

impl<'a> Time<'a> {
    fn read(value: &'a Value) -> Result<Self, BuiltinError> {
        let wrong = |value: &Value| {
            let got = value.type_name();
            BuiltinError::Type(format!(
                "operand 1 must be either number (ns) or [number (ns), string (tz)] but got {got}"
            ))
        };
        let string = |value: &'a Value| {
            let got = value.type_name();
            let error = || BuiltinError::Type(format!("operand 1 must be string but got {got}"));
            value.as_str().ok_or_else(error)
        };
        let (number, zone, layout) = match value {
            Value::Number(number) => (number, TimeZone::UTC, ""),
            Value::Array(items) => {
                let number = match items.first().ok_or_else(|| wrong(value))? {
                    Value::Number(number) => number,
                    other => {
                        let got = other.type_name();
                        return Err(BuiltinError::Type(format!("operand 1 must be number but got {got}")));
                    }
                };
                let zone = items.get(1).map(string).transpose()?.map_or(Ok(TimeZone::UTC), zone)?;
                (number, zone, items.get(2).map(string).transpose()?.unwrap_or_default())
            }
            other => return Err(wrong(other)),
        };
        let nanoseconds =
            whole(number)?.ok_or_else(|| BuiltinError::Failed("timestamp too big".to_owned()))?;
        Ok(Self { nanoseconds, zone, layout })
    }

    fn seconds(&self) -> i64 {
        self.nanoseconds.div_euclid(NANOSECONDS)
    }

    fn on_clocks_of(&self, zone: &TimeZone) -> Result<Moment, BuiltinError> {
        let (offset, abbreviation) = offset(zone, self.seconds()).ok_or_else(outside)?;
        let nanosecond = self.nanoseconds.rem_euclid(NANOSECONDS);
        Ok(Moment { seconds: self.seconds() + offset, nanosecond, offset, abbreviation })
    }

    fn moment(&self) -> Result<Moment, BuiltinError> {
        self.on_clocks_of(&self.zone)
    }
}

fn zone(name: &str) -> Result<TimeZone, BuiltinError> {
    static ZONES: OnceLock<TimeZoneDatabase> = OnceLock::new();
    match name {
        "" | "UTC" => return Ok(TimeZone::UTC),
        // What it means depends on the machine that OPA runs on.
        "Local" => return Err(BuiltinError::Budget("the zone `Local` is not a fixed one".to_owned())),
        _ => {}
    }
    let zone = ZONES.get_or_init(TimeZoneDatabase::bundled).get(name).ok();
    // Names differ by the case of their letters, as files do.
    let zone = zone.filter(|zone| zone.iana_name() == Some(name));
    zone.ok_or_else(|| BuiltinError::Failed(format!("unknown time zone {name}")))
}

/// The nanoseconds that a number is. OPA rounds it to 64 bits before it asks whether it is whole.
fn whole(number: &Number) -> Result<Option<i64>, BuiltinError> {
    if let Some(whole) = number.as_i64() {
        return Ok(Some(whole));
    }
    let literal = number.to_string();
    let Some((mantissa, exponent)) = literal.split_once(['e', 'E']).or(Some((literal.as_str(), "0"))) else {
        return Ok(None);
    };
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let negative = before.starts_with('-');
    let mut digits = format!("{}{after}", before.trim_start_matches('-'));
    let point =
        exponent.parse::<i64>().ok().map(|e| e.saturating_add(i64::try_from(before.len()).unwrap_or(0)));
    let point = point.and_then(|point| usize::try_from(point - i64::from(negative)).ok());
    let Some(point) = point.filter(|point| *point <= 400) else { return Ok(None) };
    while digits.len() < point {
        digits.push('0');
    }
    let (integer, fraction) = digits.split_at_checked(point).unwrap_or((&digits, ""));
    let Ok(integer) = integer.parse::<u64>() else { return Ok(None) };
    if fraction.len() > 1000 {
        return Err(BuiltinError::Budget("a time has too many digits behind the point".to_owned()));
    }
    // Of 64 bits so many are left for the fraction; less than half of the last one is rounded away.
    let bits = integer.leading_zeros() + 1;
    let one = BigUint::from(10_u8).pow(u32::try_from(fraction.len()).unwrap_or(u32::MAX));
    let scaled = fraction.parse::<BigUint>().unwrap_or_default() << bits;
    let rounded = if scaled <= one {
        Some(integer)
    } else if (one.clone() << bits) - scaled <= one {
        integer.checked_add(1)
    } else {
        None
    };
    let zero = integer == 0 && fraction.bytes().all(|digit| digit == b'0');
    Ok(rounded.filter(|_| integer > 0 || zero).and_then(|rounded| {
        i64::try_from(if negative { -i128::from(rounded) } else { i128::from(rounded) }).ok()
    }))
}

fn outside() -> BuiltinError {
    BuiltinError::Failed("time outside of valid range".to_owned())
}

/// A time as a number of nanoseconds, of which 64 bits hold those of the years 1677 to 2262.
fn in_nanoseconds(seconds: i64, nanosecond: i64) -> Outcome {
    let all = i128::from(seconds) * i128::from(NANOSECONDS) + i128::from(nanosecond);
    i64::try_from(all).map(|all| Some(Value::from(all))).map_err(|_| outside())
}

fn numbers(numbers: impl IntoIterator<Item = i64>) -> Outcome {
    Ok(Some(Value::array(numbers.into_iter().map(Value::from))))
}

fn now_ns(context: &mut Context, _: &[Value]) -> Outcome {
    Ok(Number::parse(&context.now_ns.to_string()).map(Value::Number))
}

fn parse_ns(context: &mut Context, args: &[Value]) -> Outcome {
    let (layout, value) = (text(args, 0)?, text(args, 1)?);
    read(context, layout::named(layout), value)
}

fn parse_rfc3339_ns(context: &mut Context, args: &[Value]) -> Outcome {
    read(context, layout::RFC3339, text(args, 0)?)
}

fn read(context: &mut Context, layout: &str, value: &str) -> Outcome {
    context.charge_bytes(layout.len().saturating_mul(8).saturating_add(value.len()))?;
    match parse::parse(layout, value) {
        Some((seconds, nanosecond)) => in_nanoseconds(seconds, nanosecond),
        None => Err(BuiltinError::Failed(format!("parsing time {value:?} as {layout:?}: cannot parse"))),
    }
}

/// Whether a text is a time in a layout.
pub(super) fn fits(layout: &str, text: &str) -> bool {
    parse::parse(layout, text).is_some()
}

fn parse_duration_ns(context: &mut Context, args: &[Value]) -> Outcome {
    let text = text(args, 0)?;
    context.charge_bytes(text.len().saturating_mul(16))?;
    match duration::parse(text) {
        Some(duration) => Ok(Some(Value::from(duration))),
        None => Err(BuiltinError::Failed(format!("time: invalid duration {text:?}"))),
    }
}

fn format(context: &mut Context, args: &[Value]) -> Outcome {
    let time = Time::read(arg(args, 0)?)?;
    let layout = if time.layout.is_empty() { layout::RFC3339_NANO } else { layout::named(time.layout) };
    context.charge_bytes(layout.len().saturating_mul(8))?;
    Ok(Some(Value::from(layout::format(&time.moment()?, layout))))
}

fn date(context: &mut Context, args: &[Value]) -> Outcome {
    context.charge(1)?;
    let (year, month, day) = Time::read(arg(args, 0)?)?.moment()?.date();
    numbers([year, month, day])
}

fn clock(context: &mut Context, args: &[Value]) -> Outcome {
    context.charge(1)?;
    let (hour, minute, second) = Time::read(arg(args, 0)?)?.moment()?.clock();
    numbers([hour, minute, second])
}

fn weekday(context: &mut Context, args: &[Value]) -> Outcome {
    context.charge(1)?;
    let day = Time::read(arg(args, 0)?)?.moment()?.weekday();
    Ok(usize::try_from(day).ok().and_then(|day| layout::DAYS.get(day)).map(|day| Value::from(*day)))
}

fn add_date(context: &mut Context, args: &[Value]) -> Outcome {
    context.charge(1)?;
    let time = Time::read(arg(args, 0)?)?;
    let (years, months, days) = (integer(args, 1)?, integer(args, 2)?, integer(args, 3)?);
    let moment = time.moment()?;
    let (year, month, day) = moment.date();
    let days = civil::day_number(year + years, month + months, day + days);
    let shown = days * 86_400 + moment.seconds.rem_euclid(86_400);
    // The offset of the new time is looked up as if its clocks showed UTC, and once more with what that gives.
    let (first, _) = offset(&time.zone, shown).ok_or_else(outside)?;
    let seconds = match first {
        0 => shown,
        _ => shown - offset(&time.zone, shown - first).ok_or_else(outside)?.0,
    };
    in_nanoseconds(seconds, moment.nanosecond)
}

/// A number that is written as a whole one.
fn integer(args: &[Value], index: usize) -> Result<i64, BuiltinError> {
    /// Beyond this many years, months or days Go's own arithmetic wraps around.
    const MOST: u64 = 1 << 37;
    let number = super::number(args, index)?;
    let Ok(integer) = number.to_string().parse::<i64>() else {
        let position = index.saturating_add(1);
        let error = format!("operand {position} must be integer number but got floating-point number");
        return Err(BuiltinError::Type(error));
    };
    if integer.unsigned_abs() > MOST {
        return Err(BuiltinError::Budget(format!("no date can be moved that far: {integer}")));
    }
    Ok(integer)
}

fn diff(context: &mut Context, args: &[Value]) -> Outcome {
    context.charge(1)?;
    let (a, b) = (Time::read(arg(args, 0)?)?, Time::read(arg(args, 1)?)?);
    let (mut from, mut to) = (a.moment()?, b.on_clocks_of(&a.zone)?);
    if a.nanoseconds > b.nanoseconds {
        std::mem::swap(&mut from, &mut to);
    }
    let ((year1, month1, day1), (hour1, minute1, second1)) = (from.date(), from.clock());
    let ((year2, month2, day2), (hour2, minute2, second2)) = (to.date(), to.clock());
    let mut parts =
        [year2 - year1, month2 - month1, day2 - day1, hour2 - hour1, minute2 - minute1, second2 - second1];
    // What is missing is borrowed from the next larger part.
    let borrow = [0, 12, civil::days_in(month1, year1), 24, 60, 60];
    for index in (1..parts.len()).rev() {
        if let ([.., larger], [part, ..]) = parts.split_at_mut(index)
            && *part < 0
        {
            *part += borrow.get(index).copied().unwrap_or(0);
            *larger -= 1;
        }
    }
    numbers(parts)
}

#[cfg(test)]
mod tests;
