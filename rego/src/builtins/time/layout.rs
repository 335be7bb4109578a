//! The layouts of Go's package `time`: how the reference time would be written, `Mon Jan 2 15:04:05 MST 2006`.
use super::Moment;
use std::fmt::{Result, Write};

/// The layouts that have a name.
pub(super) fn named(layout: &str) -> &str {
    match layout {
        "ANSIC" => "Mon Jan _2 15:04:05 2006",
        "UnixDate" => "Mon Jan _2 15:04:05 MST 2006",
        "RubyDate" => "Mon Jan 02 15:04:05 -0700 2006",
        "RFC822" => "02 Jan 06 15:04 MST",
        "RFC822Z" => "02 Jan 06 15:04 -0700",
        "RFC850" => "Monday, 02-Jan-06 15:04:05 MST",
        "RFC1123" => "Mon, 02 Jan 2006 15:04:05 MST",
        "RFC1123Z" => "Mon, 02 Jan 2006 15:04:05 -0700",
        "RFC3339" => RFC3339,
        "RFC3339Nano" => RFC3339_NANO,
        other => other,
    }
}

pub(super) const RFC3339: &str = "2006-01-02T15:04:05Z07:00";
pub(super) const RFC3339_NANO: &str = "2006-01-02T15:04:05.999999999Z07:00";

pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub(super) const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// A part of a layout that stands for a part of a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Field {
    MonthName {
        short: bool,
    },
    Month {
        padded: bool,
    },
    DayName {
        short: bool,
    },
    Day(Pad),
    DayOfYear(Pad),
    Hour,
    Hour12 {
        padded: bool,
    },
    Minute {
        padded: bool,
    },
    Second {
        padded: bool,
    },
    Year {
        short: bool,
    },
    Half {
        upper: bool,
    },
    ZoneName,
    Zone(Zone),
    /// A fraction of a second: its separator, how many digits, and whether zeros at its end are left out.
    Fraction {
        separator: char,
        digits: usize,
        trimmed: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pad {
    None,
    Blank,
    Zero,
}

/// How an offset from UTC is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Zone {
    /// Whether UTC is `Z`.
    pub(super) z: bool,
    pub(super) colons: bool,
    pub(super) minutes: bool,
    pub(super) seconds: bool,
}

const FIXED: &[(&str, Field)] = &[
    ("01", Field::Month { padded: true }),
    ("02", Field::Day(Pad::Zero)),
    ("03", Field::Hour12 { padded: true }),
    ("04", Field::Minute { padded: true }),
    ("05", Field::Second { padded: true }),
    ("06", Field::Year { short: true }),
    ("002", Field::DayOfYear(Pad::Zero)),
    ("15", Field::Hour),
    ("1", Field::Month { padded: false }),
    ("2006", Field::Year { short: false }),
    ("2", Field::Day(Pad::None)),
    ("__2", Field::DayOfYear(Pad::Blank)),
    ("3", Field::Hour12 { padded: false }),
    ("4", Field::Minute { padded: false }),
    ("5", Field::Second { padded: false }),
    ("PM", Field::Half { upper: true }),
    ("pm", Field::Half { upper: false }),
    ("January", Field::MonthName { short: false }),
    ("Monday", Field::DayName { short: false }),
    ("MST", Field::ZoneName),
];

/// By length, as far as one begins like another.
const ZONES: &[(&str, bool, bool, bool)] = &[
    ("070000", false, true, true),
    ("07:00:00", true, true, true),
    ("0700", false, true, false),
    ("07:00", true, true, false),
    ("07", false, false, false),
];

/// The field that a layout begins with, and how long it is written.
fn field(layout: &str) -> Option<(Field, usize)> {
    if let Some((text, field)) = FIXED.iter().find(|(text, _)| layout.starts_with(text)) {
        return Some((*field, text.len()));
    }
    // Not in front of a small letter: `Month` and `Janus` are no fields.
    for (text, field) in [("Jan", Field::MonthName { short: true }), ("Mon", Field::DayName { short: true })]
    {
        if let Some(rest) = layout.strip_prefix(text) {
            return (!rest.starts_with(|c: char| c.is_ascii_lowercase())).then_some((field, text.len()));
        }
    }
    if let Some(rest) = layout.strip_prefix("_2") {
        // Before a year the line is a line.
        return (!rest.starts_with("006")).then_some((Field::Day(Pad::Blank), 2));
    }
    if let Some(rest) = layout.strip_prefix(['-', 'Z']) {
        let (text, colons, minutes, seconds) = *ZONES.iter().find(|(text, ..)| rest.starts_with(text))?;
        let zone = Zone { z: layout.starts_with('Z'), colons, minutes, seconds };
        return Some((Field::Zone(zone), text.len() + 1));
    }
    let rest = layout.strip_prefix(['.', ','])?;
    let separator = layout.chars().next()?;
    let digit = rest.chars().next().filter(|digit| matches!(digit, '0' | '9'))?;
    let after = rest.trim_start_matches(digit);
    if after.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let length = rest.len() - after.len();
    // Go keeps the number of digits in twelve bits.
    Some((Field::Fraction { separator, digits: length % 4096, trimmed: digit == '9' }, length + 1))
}

/// The next field of a layout: what stands before it, and what after.
pub(super) fn next(layout: &str) -> (&str, Option<Field>, &str) {
    let mut marks = layout.char_indices().filter(|(_, c)| c.is_ascii());
    let found = marks.find_map(|(at, _)| {
        let (before, rest) = layout.split_at_checked(at)?;
        let (field, length) = field(rest)?;
        Some((before, Some(field), rest.get(length..)?))
    });
    found.unwrap_or((layout, None, ""))
}

/// Writes a moment by a layout.
pub(super) fn format(moment: &Moment, layout: &str) -> String {
    let mut text = String::new();
    let mut layout = layout;
    loop {
        let (before, field, rest) = next(layout);
        text.push_str(before);
        let Some(field) = field else { return text };
        if write_field(moment, field, &mut text).is_err() {
            return text;
        }
        layout = rest;
    }
}

fn write_field(moment: &Moment, field: Field, out: &mut String) -> Result {
    let (year, month, day) = moment.date();
    let (hour, minute, second) = moment.clock();
    let hour12 = if hour % 12 == 0 { 12 } else { hour % 12 };
    match field {
        Field::MonthName { short } => out.write_str(name(&MONTHS, month - 1, short)),
        Field::DayName { short } => out.write_str(name(&DAYS, moment.weekday(), short)),
        Field::Month { padded: true } => write!(out, "{month:02}"),
        Field::Month { padded: false } => write!(out, "{month}"),
        Field::Day(Pad::None) => write!(out, "{day}"),
        Field::Day(Pad::Blank) => write!(out, "{day:2}"),
        Field::Day(Pad::Zero) => write!(out, "{day:02}"),
        Field::DayOfYear(Pad::Blank) => write!(out, "{:3}", moment.day_of_year()),
        Field::DayOfYear(_) => write!(out, "{:03}", moment.day_of_year()),
        Field::Hour => write!(out, "{hour:02}"),
        Field::Hour12 { padded: true } => write!(out, "{hour12:02}"),
        Field::Hour12 { padded: false } => write!(out, "{hour12}"),
        Field::Minute { padded: true } => write!(out, "{minute:02}"),
        Field::Minute { padded: false } => write!(out, "{minute}"),
        Field::Second { padded: true } => write!(out, "{second:02}"),
        Field::Second { padded: false } => write!(out, "{second}"),
        Field::Year { short: true } => write!(out, "{:02}", year % 100),
        Field::Year { short: false } => write!(out, "{year:04}"),
        Field::Half { upper: true } => out.write_str(if hour >= 12 { "PM" } else { "AM" }),
        Field::Half { upper: false } => out.write_str(if hour >= 12 { "pm" } else { "am" }),
        Field::ZoneName => out.write_str(&moment.abbreviation),
        Field::Zone(zone) => write_zone(moment.offset, zone, out),
        Field::Fraction { separator, digits, trimmed } => {
            write_fraction(moment.nanosecond, separator, digits, trimmed, out)
        }
    }
}

/// A name, or its first three letters.
fn name(names: &'static [&'static str], index: i64, short: bool) -> &'static str {
    let name = usize::try_from(index).ok().and_then(|index| names.get(index)).copied().unwrap_or_default();
    if short { name.get(..3).unwrap_or(name) } else { name }
}

fn write_zone(offset: i64, zone: Zone, out: &mut String) -> Result {
    if zone.z && offset == 0 {
        return out.write_char('Z');
    }
    // The sign is that of the whole minutes.
    let minutes = offset / 60;
    let colon = if zone.colons { ":" } else { "" };
    write!(out, "{}{:02}", if minutes < 0 { '-' } else { '+' }, minutes.abs() / 60)?;
    if zone.minutes {
        write!(out, "{colon}{:02}", minutes.abs() % 60)?;
    }
    if zone.seconds {
        let seconds = if minutes < 0 { -offset } else { offset } % 60;
        let (sign, seconds) = if seconds < 0 { ("-", -seconds) } else { ("", seconds) };
        write!(out, "{colon}{sign}{seconds:02}")?;
    }
    Ok(())
}

fn write_fraction(
    nanosecond: i64,
    separator: char,
    digits: usize,
    trimmed: bool,
    out: &mut String,
) -> Result {
    let all = format!("{nanosecond:09}");
    let mut shown = all.get(..digits.min(9)).unwrap_or(&all);
    if trimmed {
        shown = shown.trim_end_matches('0');
        if shown.is_empty() {
            return Ok(());
        }
    }
    write!(out, "{separator}{shown}")
}
