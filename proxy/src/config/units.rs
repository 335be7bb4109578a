//! Durations and sizes as people write them: a whole number and a unit, nothing else.

use std::time::Duration;

use thiserror::Error;

/// Why a text is not a duration or a size.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UnitError {
    /// `5`.
    #[error("`{text}` has no unit: write {units}")]
    NoUnit {
        /// As written.
        text: String,
        /// What would do.
        units: &'static str,
    },
    /// `5 parsecs`.
    #[error("`{text}` has the unknown unit `{unit}`: write {units}")]
    UnknownUnit {
        /// As written.
        text: String,
        /// Its unit.
        unit: String,
        /// What would do.
        units: &'static str,
    },
    /// `fast`, `-5s`, `1.5s`.
    #[error("`{text}` does not start with a whole number: write {units}")]
    NotANumber {
        /// As written.
        text: String,
        /// What would do.
        units: &'static str,
    },
    /// More than fits.
    #[error("`{text}` is too large")]
    TooLarge {
        /// As written.
        text: String,
    },
}

const DURATIONS: &str = "a whole number with `ms`, `s`, `m`, `h` or `d`, such as `250ms` or `5s`";
const SIZES: &str = "a whole number with `B`, `KiB`, `MiB` or `GiB`, such as `64KiB`";

/// Reads a duration: `250ms`, `5s`, `10m`, `1h`, `30d`.
///
/// # Errors
/// [`UnitError`] with what would do instead.
pub fn duration(text: &str) -> Result<Duration, UnitError> {
    let (number, unit) = split(text, DURATIONS)?;
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(unknown(text, unit, DURATIONS)),
    };
    number.checked_mul(unit_ms).map(Duration::from_millis).ok_or_else(|| too_large(text))
}

/// Reads a size in bytes: `512B`, `64KiB`, `16MiB`, `1GiB`. Powers of 1024 only: `KB` means two things.
///
/// # Errors
/// [`UnitError`] with what would do instead.
pub fn size(text: &str) -> Result<u64, UnitError> {
    let (number, unit) = split(text, SIZES)?;
    let unit_bytes: u64 = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(unknown(text, unit, SIZES)),
    };
    number.checked_mul(unit_bytes).ok_or_else(|| too_large(text))
}

/// A duration in the largest unit that holds it whole, as [`duration`] reads it.
#[must_use]
pub fn duration_text(duration: Duration) -> String {
    let ms = duration.as_millis();
    for (unit, unit_ms) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if ms > 0 && ms.is_multiple_of(unit_ms) {
            return format!("{}{unit}", ms / unit_ms);
        }
    }
    if ms == 0 { "0s".to_owned() } else { format!("{ms}ms") }
}

/// A size in the largest unit that holds it whole, as [`size`] reads it.
#[must_use]
pub fn size_text(bytes: u64) -> String {
    for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if bytes > 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    format!("{bytes}B")
}

fn split<'a>(text: &'a str, units: &'static str) -> Result<(u64, &'a str), UnitError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let not_a_number = || UnitError::NotANumber { text: text.to_owned(), units };
    let (number, unit) = text.split_at_checked(digits).ok_or_else(not_a_number)?;
    if number.is_empty() || unit.starts_with(['.', ',', '_']) {
        return Err(not_a_number());
    }
    if unit.is_empty() {
        return Err(UnitError::NoUnit { text: text.to_owned(), units });
    }
    Ok((number.parse().map_err(|_| too_large(text))?, unit))
}

fn unknown(text: &str, unit: &str, units: &'static str) -> UnitError {
    UnitError::UnknownUnit { text: text.to_owned(), unit: unit.to_owned(), units }
}

fn too_large(text: &str) -> UnitError {
    UnitError::TooLarge { text: text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check<T: PartialEq + std::fmt::Debug>(read: Result<T, UnitError>, expected: Result<T, &str>) {
        match (read, expected) {
            (Ok(read), Ok(expected)) => assert_eq!(read, expected),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (read, expected) => panic!("got {read:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn a_duration_is_a_whole_number_with_a_unit() {
        check(duration("250ms"), Ok(Duration::from_millis(250)));
        check(duration("5s"), Ok(Duration::from_secs(5)));
        check(duration("0s"), Ok(Duration::ZERO));
        check(duration("10m"), Ok(Duration::from_secs(600)));
        check(duration("1h"), Ok(Duration::from_secs(3600)));
        check(duration("30d"), Ok(Duration::from_secs(2_592_000)));
        check(duration("5"), Err("`5` has no unit"));
        check(duration("5 s"), Err("unknown unit ` s`"));
        check(duration("5S"), Err("unknown unit `S`"));
        check(duration("5min"), Err("unknown unit `min`"));
        check(duration("5KiB"), Err("unknown unit `KiB`"));
        check(duration("1h30m"), Err("unknown unit `h30m`"));
        check(duration("1.5s"), Err("whole number"));
        check(duration("-5s"), Err("whole number"));
        check(duration("fast"), Err("whole number"));
        check(duration(""), Err("whole number"));
        check(duration("٣s"), Err("whole number"));
        check(duration("99999999999999999999s"), Err("too large"));
        check(duration("18446744073709551615d"), Err("too large"));
    }

    #[test]
    fn a_size_is_a_whole_number_with_a_binary_unit() {
        check(size("0B"), Ok(0));
        check(size("512B"), Ok(512));
        check(size("64KiB"), Ok(65_536));
        check(size("16MiB"), Ok(16 << 20));
        check(size("1GiB"), Ok(1 << 30));
        check(size("65536"), Err("`65536` has no unit"));
        check(size("64KB"), Err("unknown unit `KB`"));
        check(size("64kib"), Err("unknown unit `kib`"));
        check(size("5s"), Err("unknown unit `s`"));
        check(size("18446744073709551615KiB"), Err("too large"));
    }

    #[test]
    fn what_is_printed_reads_back_as_the_same_value() {
        for ms in [0, 1, 250, 1_000, 1_500, 60_000, 90_000, 3_600_000, 86_400_000] {
            let value = Duration::from_millis(ms);
            check(duration(&duration_text(value)), Ok(value));
        }
        for bytes in [0, 1, 1_023, 1_024, 1_536, 1 << 20, 3 << 29, 1 << 30] {
            check(size(&size_text(bytes)), Ok(bytes));
        }
    }
}
