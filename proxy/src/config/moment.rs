//! Moments as people write them: a date, or a date and a time of day, in UTC (RFC 3339).

use thiserror::Error;

const DAY_S: u64 = 86_400;

/// A text is no moment.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{text}` is no date and no moment in UTC")]
pub struct MomentError {
    /// As written.
    text: String,
}

/// Reads `2027-03-01`, which is the beginning of that day, or `2027-03-01T06:00:00Z`; gives seconds since 1970.
///
/// # Errors
/// It is something else, was before 1970, or is a day that no calendar has.
pub fn moment(text: &str) -> Result<u64, MomentError> {
    read(text).ok_or_else(|| MomentError { text: text.to_owned() })
}

fn read(text: &str) -> Option<u64> {
    let (date, time) = match text.split_once('T') {
        None => (text, None),
        Some((date, time)) => (date, Some(time.strip_suffix('Z')?)),
    };
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let second = match time {
        None => 0,
        Some(time) => {
            let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
            (hour < 24 && minute < 60 && second < 60).then_some(hour * 3600 + minute * 60 + second)?
        }
    };
    let days = days(year, month, day).filter(|days| civil(*days) == (year, month, day))?;
    Some(days * DAY_S + second)
}

/// Numbers of exactly so many digits, with this between them.
fn numbers(text: &str, between: char, digits: [usize; 3]) -> Option<[u64; 3]> {
    let mut parts = text.split(between);
    let mut found = [0; 3];
    for (number, digits) in found.iter_mut().zip(digits) {
        let part = parts.next()?;
        let is_number = part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
        *number = part.parse().ok().filter(|_| is_number)?;
    }
    parts.next().is_none().then_some(found)
}

/// Days since 1970-01-01. Years are counted from 1 March, so that the leap day is the last of its year.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year.checked_sub(1)? } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let leap_days = year / 4 + year / 400 - year / 100;
    (365 * year + leap_days + day_of_year).checked_sub(BEFORE_1970)
}

/// Days from 1 March of year 0 to 1970-01-01.
const BEFORE_1970: u64 = 719_468;

/// Year, month and day of so many days after 1970-01-01.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + BEFORE_1970;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

/// A moment as [`moment`] reads it, in seconds since 1970.
#[must_use]
pub fn moment_text(unix_s: u64) -> String {
    let ((year, month, day), second) = (civil(unix_s / DAY_S), unix_s % DAY_S);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}Z", second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<u64>) {
        assert_eq!(moment(text).ok(), expected, "{text}");
        if let Some(unix_s) = expected {
            assert_eq!(moment(&moment_text(unix_s)), Ok(unix_s), "{}", moment_text(unix_s));
        }
    }

    #[test]
    fn a_date_is_the_beginning_of_its_day_in_utc() {
        check("1970-01-01", Some(0));
        check("2000-02-29", Some(951_782_400));
        check("2000-02-28T23:59:59Z", Some(951_782_399));
        check("2026-11-23T02:22:32Z", Some(1_795_400_552));
        check("2027-03-01", Some(1_803_859_200));
        check("9999-12-31T23:59:59Z", Some(253_402_300_799));
        assert_eq!(moment_text(1_795_400_552), "2026-11-23T02:22:32Z");
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_no_moment() {
        for text in [
            "",
            "2027",
            "2027-3-1",
            "2027-02-29",
            "2100-02-29",
            "2027-04-31",
            "2027-13-01",
            "2027-00-01",
            "2027-01-00",
            "0000-01-01",
            "1969-12-31",
            "01.03.2027",
            "2027-03-01-01",
            "+027-03-01",
            "2027-03-01T06:00:00",
            "2027-03-01T06:00Z",
            "2027-03-01T24:00:00Z",
            "2027-03-01T06:60:00Z",
            "2027-03-01T06:00:60Z",
            "2027-03-01T06:00:00.5Z",
            "2027-03-01T06:00:00+01:00",
            "2027-03-01 06:00:00Z",
            "next week",
        ] {
            check(text, None);
        }
    }

    proptest::proptest! {
        #[test]
        fn every_second_reads_back(unix_s in 0_u64..253_402_300_800) {
            proptest::prop_assert_eq!(moment(&moment_text(unix_s)), Ok(unix_s));
        }
    }
}
