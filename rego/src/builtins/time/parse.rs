//! Reading times by a layout, as Go's `time.Parse` does. The zone of the machine is taken to be UTC.
use super::civil::{day_number, days_before, days_in, is_leap};
use super::layout::{self, DAYS, Field, MONTHS, Pad, Zone};

/// Reads a time by a layout: seconds since the epoch, and nanoseconds. `None` where the text does not fit the layout, or
/// no such time exists.
pub(super) fn parse(layout: &str, text: &str) -> Option<(i64, i64)> {
    let mut parts = Parts { text: text.as_bytes(), ..Parts::default() };
    let mut layout = layout;
    loop {
        let (before, field, rest) = layout::next(layout);
        parts.skip(before.as_bytes())?;
        let Some(field) = field else { break };
        parts.read(field, rest)?;
        layout = rest;
    }
    if parts.text.is_empty() { parts.time() } else { None }
}

/// What was read so far, and what is left to read.
#[derive(Default)]
struct Parts<'a> {
    text: &'a [u8],
    year: i64,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    hour: i64,
    minute: i64,
    second: i64,
    nanosecond: i64,
    /// Which half of the day it is. A text may name both.
    morning: bool,
    afternoon: bool,
    utc: bool,
    offset: Option<i64>,
}

impl<'a> Parts<'a> {
    /// Takes the text between fields. Any number of blanks stands for any other.
    fn skip(&mut self, mut expected: &[u8]) -> Option<()> {
        while let Some((first, rest)) = expected.split_first() {
            if *first == b' ' {
                if !matches!(self.text.first(), None | Some(b' ')) {
                    return None;
                }
                expected = without_blanks(expected);
                self.text = without_blanks(self.text);
            } else {
                self.text = self.text.strip_prefix(std::slice::from_ref(first))?;
                expected = rest;
            }
        }
        Some(())
    }

    fn read(&mut self, field: Field, rest: &str) -> Option<()> {
        match field {
            Field::MonthName { short } => self.month = Some(self.name(&MONTHS, short)? + 1),
            Field::Month { padded } => {
                let month = self.number(padded).filter(|month| (1..=12).contains(month));
                self.month = Some(month?);
            }
            // Not compared with the date.
            Field::DayName { short } => return self.name(&DAYS, short).map(|_| ()),
            Field::Day(pad) => {
                if pad == Pad::Blank {
                    self.text = self.text.strip_prefix(b" ").unwrap_or(self.text);
                }
                self.day = Some(self.number(pad == Pad::Zero)?);
            }
            Field::DayOfYear(pad) => self.day_of_year = Some(self.day_of_year(pad)?),
            Field::Hour => self.hour = self.number(false).filter(|hour| *hour < 24)?,
            Field::Hour12 { padded } => self.hour = self.number(padded).filter(|hour| *hour <= 12)?,
            Field::Minute { padded } => self.minute = self.number(padded).filter(|minute| *minute < 60)?,
            Field::Second { padded } => {
                self.second = self.number(padded).filter(|second| *second < 60)?;
                return self.unforeseen_fraction(rest);
            }
            Field::Year { short: true } => {
                let year = signed(self.take(2)?)?;
                self.year = year + if year >= 69 { 1900 } else { 2000 };
            }
            Field::Year { short: false } => {
                let year = self.take(4)?;
                self.year = unsigned(year)?;
            }
            Field::Half { upper } => {
                let (am, pm): (&[u8], &[u8]) = if upper { (b"AM", b"PM") } else { (b"am", b"pm") };
                let half = self.take(2)?;
                if half != am && half != pm {
                    return None;
                }
                self.morning |= half == am;
                self.afternoon |= half == pm;
            }
            Field::ZoneName => return self.zone_name(),
            Field::Zone(zone) => return self.zone(zone),
            Field::Fraction { digits, trimmed: false, .. } => {
                let text = self.take(digits + 1)?;
                self.nanosecond = fraction(text)?;
            }
            Field::Fraction { trimmed: true, .. } => return self.fraction_if_any(),
        }
        Some(())
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.text.split_at_checked(length)?;
        self.text = rest;
        Some(taken)
    }

    fn digits(&self, most: usize) -> usize {
        self.text.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count()
    }

    /// One digit or two; two where a zero would be in front.
    fn number(&mut self, padded: bool) -> Option<i64> {
        let digits = self.digits(2);
        if digits == 0 || (padded && digits != 2) {
            return None;
        }
        unsigned(self.take(digits)?)
    }

    fn day_of_year(&mut self, pad: Pad) -> Option<i64> {
        for _ in 0..2 {
            if pad == Pad::Blank {
                self.text = self.text.strip_prefix(b" ").unwrap_or(self.text);
            }
        }
        let digits = self.digits(3);
        if digits == 0 || (pad == Pad::Zero && digits != 3) {
            return None;
        }
        unsigned(self.take(digits)?)
    }

    /// The index of the first name that the text begins with, in small letters or large ones.
    fn name(&mut self, names: &[&str], short: bool) -> Option<i64> {
        for (index, name) in (0_i64..).zip(names) {
            let name = if short { name.get(..3)? } else { name };
            if self.text.get(..name.len()).is_some_and(|text| text.eq_ignore_ascii_case(name.as_bytes())) {
                self.take(name.len())?;
                return Some(index);
            }
        }
        None
    }

    /// A fraction may follow the seconds where the layout has none.
    fn unforeseen_fraction(&mut self, rest: &str) -> Option<()> {
        if matches!(layout::next(rest), (_, Some(Field::Fraction { .. }), _)) {
            return Some(());
        }
        self.fraction_if_any()
    }

    fn fraction_if_any(&mut self) -> Option<()> {
        let [b'.' | b',', digits @ ..] = self.text else { return Some(()) };
        let digits = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits > 0 {
            let text = self.take(digits + 1)?;
            self.nanosecond = fraction(text)?;
        }
        Some(())
    }

    fn zone(&mut self, zone: Zone) -> Option<()> {
        if zone.z && self.text.first() == Some(&b'Z') {
            self.take(1)?;
            self.utc = true;
            return Some(());
        }
        let sign = self.take(1)?;
        let hours = self.two_digits(24)?;
        let (mut minutes, mut seconds) = (0, 0);
        if zone.minutes {
            self.colon(zone)?;
            minutes = self.two_digits(60)?;
        }
        if zone.seconds {
            self.colon(zone)?;
            seconds = self.two_digits(60)?;
        }
        let offset = (hours * 60 + minutes) * 60 + seconds;
        self.offset = Some(match sign {
            b"+" => offset,
            b"-" => -offset,
            _ => return None,
        });
        Some(())
    }

    fn colon(&mut self, zone: Zone) -> Option<()> {
        if zone.colons && self.take(1)? != b":" { None } else { Some(()) }
    }

    fn two_digits(&mut self, most: i64) -> Option<i64> {
        self.number(true).filter(|number| *number <= most)
    }

    fn zone_name(&mut self) -> Option<()> {
        if self.text.starts_with(b"UTC") {
            self.take(3)?;
            self.utc = true;
            return Some(());
        }
        let length = zone_name_length(self.text)?;
        self.take(length).map(|_| ())
    }

    fn time(mut self) -> Option<(i64, i64)> {
        if self.afternoon && self.hour < 12 {
            self.hour += 12;
        } else if self.morning && self.hour == 12 {
            self.hour = 0;
        }
        if let Some(day_of_year) = self.day_of_year {
            let (month, day) = date_of(day_of_year, self.year)?;
            if self.month.is_some_and(|have| have != month) || self.day.is_some_and(|have| have != day) {
                return None;
            }
            (self.month, self.day) = (Some(month), Some(day));
        }
        let (month, day) = (self.month.unwrap_or(1), self.day.unwrap_or(1));
        if day < 1 || day > days_in(month, self.year) {
            return None;
        }
        let clock = (self.hour * 60 + self.minute) * 60 + self.second;
        let seconds = day_number(self.year, month, day) * 86_400 + clock;
        Some((seconds - self.zone_offset(), self.nanosecond))
    }

    /// The name of a zone says nothing about its offset here, not even `GMT-8`.
    fn zone_offset(&self) -> i64 {
        match self.offset {
            // Go cannot tell an offset of one second to the west from none.
            Some(offset) if !self.utc && offset != -1 => offset,
            _ => 0,
        }
    }
}

fn without_blanks(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|byte| **byte == b' ').count();
    text.get(blanks..).unwrap_or_default()
}

/// A number of at most 18 digits, of none zero.
fn unsigned(digits: &[u8]) -> Option<i64> {
    if digits.len() > 18 {
        return None;
    }
    digits.iter().try_fold(0, |number, digit| match digit {
        b'0'..=b'9' => Some(number * 10 + i64::from(digit - b'0')),
        _ => None,
    })
}

fn signed(text: &[u8]) -> Option<i64> {
    match text {
        [b'-', digits @ ..] => unsigned(digits).map(|number| -number),
        [b'+', digits @ ..] => unsigned(digits),
        digits => unsigned(digits),
    }
}

/// Nanoseconds, from the separator on. Further digits are dropped.
fn fraction(text: &[u8]) -> Option<i64> {
    let (b'.' | b',', digits) = text.split_first()? else { return None };
    let digits = digits.get(..9).unwrap_or(digits);
    let number = signed(digits).filter(|number| *number >= 0)?;
    Some((digits.len()..9).fold(number, |number, _| number * 10))
}

/// Month and day of a day of a year.
fn date_of(day_of_year: i64, year: i64) -> Option<(i64, i64)> {
    let mut day = day_of_year;
    if is_leap(year) {
        if day == 31 + 29 {
            return Some((2, 29));
        }
        day -= i64::from(day > 31 + 29);
    }
    if !(1..=365).contains(&day) {
        return None;
    }
    let month = (1..=12).find(|month| day <= days_before(month + 1))?;
    Some((month, day - days_before(month)))
}

/// How long the name of a zone is that the text begins with: three capital letters, or four or five that end in T, and
/// those that are not like the others.
fn zone_name_length(text: &[u8]) -> Option<usize> {
    if text.len() < 3 {
        return None;
    }
    if text.starts_with(b"ChST") || text.starts_with(b"MeST") {
        return Some(4);
    }
    if let Some(rest) = text.strip_prefix(b"GMT") {
        return Some(3 + offset_length(rest).unwrap_or(0));
    }
    if let [b'+' | b'-', ..] = text {
        return offset_length(text);
    }
    let capitals = text.iter().take(6).take_while(|byte| byte.is_ascii_uppercase()).count();
    let ends_in_t = |length: usize| text.get(length - 1) == Some(&b'T');
    match capitals {
        3 => Some(3),
        4 if ends_in_t(4) || text.starts_with(b"WITA") => Some(4),
        5 if ends_in_t(5) => Some(5),
        _ => None,
    }
}

/// How long the signed hours are that the text begins with, of at most 23.
fn offset_length(text: &[u8]) -> Option<usize> {
    let [b'+' | b'-', rest @ ..] = text else { return None };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let zeros = rest.iter().take_while(|byte| **byte == b'0').count();
    let hours = unsigned(rest.get(zeros.min(digits)..digits)?)?;
    (digits > 0 && hours <= 23).then_some(digits + 1)
}
