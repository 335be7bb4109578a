//! RFC 3339 in UTC with nanoseconds, without a calendar crate: one division chain per record.
const NS_PER_S: u64 = 1_000_000_000;
const S_PER_DAY: u64 = 86_400;

/// Appends `unix_ns` as `2026-11-23T02:22:32.123456789Z`.
pub(crate) fn push_rfc3339(out: &mut Vec<u8>, unix_ns: u64) {
    let (seconds, nanos) = (unix_ns / NS_PER_S, unix_ns % NS_PER_S);
    let (days, second) = (seconds / S_PER_DAY, seconds % S_PER_DAY);
    let (year, month, day) = civil(days);
    for (value, width, after) in [
        (year, 4, b'-'),
        (month, 2, b'-'),
        (day, 2, b'T'),
        (second / 3600, 2, b':'),
        (second / 60 % 60, 2, b':'),
        (second % 60, 2, b'.'),
        (nanos, 9, b'Z'),
    ] {
        push_padded(out, value, width);
        out.push(after);
    }
}

/// Year, month and day of the `days`-th day after 1970-01-01 in the proleptic Gregorian calendar: the usual
/// count from 1 March of year 0, so that the leap day is the last of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// Appends `value` in decimal with at least `width` digits.
pub(crate) fn push_padded(out: &mut Vec<u8>, value: u64, width: usize) {
    let mut digits = [b'0'; 20];
    let mut left = value;
    let mut used = 0;
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + (left % 10) as u8;
        left /= 10;
        used += 1;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len() - used.max(width)..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(unix_ns: u64, expected: &str) {
        let mut out = Vec::new();
        push_rfc3339(&mut out, unix_ns);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn times_are_written_as_the_calendar_has_them() {
        check(0, "1970-01-01T00:00:00.000000000Z");
        check(951_782_399_000_000_001, "2000-02-28T23:59:59.000000001Z");
        check(951_782_400_000_000_000, "2000-02-29T00:00:00.000000000Z");
        check(1_795_400_552_123_456_789, "2026-11-23T02:22:32.123456789Z");
        check(u64::MAX, "2554-07-21T23:34:33.709551615Z");
    }
}
