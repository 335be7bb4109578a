//! Moments in certificates.
use super::der;
use jiff::civil::{DateTime, datetime};

const EPOCH: DateTime = datetime(1970, 1, 1, 0, 0, 0, 0);

/// A moment: seconds since the Unix epoch, and how Go writes it, in the zone in which it was given.
#[derive(Clone, Debug)]
pub(crate) struct Time {
    pub(crate) seconds: i64,
    pub(crate) text: String,
}

impl Time {
    /// Reads the content of an element that is a time.
    pub(crate) fn of(tag: u8, bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (digits, zone) = text.split_at_checked(text.find(|c: char| !c.is_ascii_digit())?)?;
        let (year, rest) = digits.split_at_checked(if tag == der::UTC_TIME { 2 } else { 4 })?;
        let (year, rest) = (year.parse::<i16>().ok()?, pairs(rest)?);
        // A year of two digits is one from 1950 to 2049.
        let year = match tag {
            der::UTC_TIME if year >= 50 => 1900_i16.checked_add(year)?,
            der::UTC_TIME => 2000_i16.checked_add(year)?,
            _ => year,
        };
        let (month, day, hour, minute, second) = match rest.as_slice() {
            [month, day, hour, minute, second] => (*month, *day, *hour, *minute, *second),
            [month, day, hour, minute] if tag == der::UTC_TIME => (*month, *day, *hour, *minute, 0),
            _ => return None,
        };
        let moment = DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
        let (offset, suffix) = zone_of(zone)?;
        let seconds = moment.duration_since(EPOCH).as_secs().checked_sub(i64::from(offset))?;
        let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{suffix}");
        Some(Self { seconds, text })
    }
}

fn pairs(digits: &str) -> Option<Vec<i8>> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let number = |pair: &[u8; 2]| std::str::from_utf8(pair).ok()?.parse().ok();
    if rest.is_empty() { pairs.iter().map(number).collect() } else { None }
}

/// The distance from UTC in seconds, and how it is written; of no distance only `Z` is taken.
fn zone_of(zone: &str) -> Option<(i32, String)> {
    if zone == "Z" {
        return Some((0, zone.to_owned()));
    }
    let (sign, digits) = match zone.as_bytes().split_first()? {
        (b'+', digits) => (1, digits),
        (b'-', digits) => (-1, digits),
        _ => return None,
    };
    let digits = std::str::from_utf8(digits).ok()?;
    let [hours, minutes] = *pairs(digits)? else { return None };
    let seconds = i32::from(hours) * 3600 + i32::from(minutes) * 60;
    if seconds == 0 || hours > 23 || minutes > 59 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let (sign_text, rest) = zone.split_at_checked(1)?;
    let (hours, minutes) = rest.split_at_checked(2)?;
    Some((sign * seconds, format!("{sign_text}{hours}:{minutes}")))
}
