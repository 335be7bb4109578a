//! Days and dates of the proleptic Gregorian calendar.

const DAYS_BEFORE: [i64; 13] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365];

/// Days before a month (1 to 13) in a year that is no leap year.
pub(super) fn days_before(month: i64) -> i64 {
    usize::try_from(month - 1).ok().and_then(|at| DAYS_BEFORE.get(at)).copied().unwrap_or(365)
}

pub(super) fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// How many days a month (1 to 12) has.
pub(super) fn days_in(month: i64, year: i64) -> i64 {
    if month == 2 && is_leap(year) { 29 } else { days_before(month + 1) - days_before(month) }
}

/// The day of a date since the epoch, which is day 0. Months and days may lie outside of the year and the month; years
/// must be within 10^12.
pub(super) fn day_number(year: i64, month: i64, day: i64) -> i64 {
    let year = year + (month - 1).div_euclid(12);
    let month = (month - 1).rem_euclid(12) + 1;
    // 1 January of the year, from 1970.
    let before = year - 1;
    let start =
        365 * before + before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400) - 719_162;
    let leap_day = i64::from(month > 2 && is_leap(year));
    start + days_before(month) + leap_day + day - 1
}

/// Year, month (1 to 12) and day (from 1) of a day since the epoch.
pub(super) fn date(day_number: i64) -> (i64, i64, i64) {
    // 400 years have 146 097 days: the year is this, or the next.
    let mut year = 1969 + (day_number * 400).div_euclid(146_097);
    while self::day_number(year + 1, 1, 1) <= day_number {
        year += 1;
    }
    let mut month = 1;
    while month < 12 && self::day_number(year, month + 1, 1) <= day_number {
        month += 1;
    }
    (year, month, day_number - self::day_number(year, month, 1) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_five_centuries_follows_the_one_before() {
        let (mut year, mut month, mut day) = (1669, 1, 1);
        for number in day_number(1669, 1, 1)..day_number(2300, 1, 1) {
            assert_eq!(date(number), (year, month, day));
            assert_eq!(day_number(year, month, day), number);
            day += 1;
            if day > days_in(month, year) {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
        assert_eq!(day_number(1970, 1, 1), 0);
        assert_eq!(day_number(2000, 15, 32), day_number(2001, 4, 1));
        assert_eq!(day_number(2000, -11, 0), day_number(1998, 12, 31));
    }
}
