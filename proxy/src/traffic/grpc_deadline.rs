//! The time that a gRPC call has in all (`grpc-timeout`, gRPC over HTTP/2, "Requests"): it is kept here too, and what is
//! left of it is told to the upstream, so that nobody works for a caller who has given up.
use http::{HeaderName, HeaderValue};
use std::time::Duration;

/// The header's name.
pub(crate) const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Most digits of a timeout.
const DIGITS_MAX: usize = 8;

/// What a header says; `None` where it is not one to eight digits and a unit.
pub(crate) fn parse(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > DIGITS_MAX || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount.saturating_mul(3600))),
        "M" => Some(Duration::from_secs(amount.saturating_mul(60))),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

/// The header that says so, in the finest unit in which it fits; rounded down, so that nobody is told more than is left.
pub(crate) fn spell(left: Duration) -> HeaderValue {
    let most = 10_u128.pow(8) - 1;
    let units = [
        (left.as_nanos(), "n"),
        (left.as_micros(), "u"),
        (left.as_millis(), "m"),
        (u128::from(left.as_secs()), "S"),
        (u128::from(left.as_secs() / 60), "M"),
        (u128::from(left.as_secs() / 3600).min(most), "H"),
    ];
    let fits = units.into_iter().find(|(amount, _)| *amount <= most).unwrap_or((most, "H"));
    HeaderValue::try_from(format!("{}{}", fits.0, fits.1)).unwrap_or(HeaderValue::from_static("0n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_up_to_eight_digits_and_a_unit() {
        let check = |text: &str, ns: Option<u128>| {
            let value = HeaderValue::from_str(text).unwrap();
            assert_eq!(parse(&value).map(|timeout| timeout.as_nanos()), ns, "{text}");
        };
        check("1H", Some(3_600_000_000_000));
        check("2M", Some(120_000_000_000));
        check("3S", Some(3_000_000_000));
        check("4m", Some(4_000_000));
        check("5u", Some(5_000));
        check("6n", Some(6));
        check("00000000S", Some(0));
        check("99999999H", Some(99_999_999 * 3_600_000_000_000));
        for wrong in ["", "S", "1", "1s", "-1S", "+1S", "1 S", "100000000S", "1.5S", "1SS"] {
            check(wrong, None);
        }
    }

    #[test]
    fn what_is_left_is_told_in_the_finest_unit_that_holds_it_and_never_as_more() {
        let check = |left: Duration, text: &str| {
            assert_eq!(spell(left), text);
            assert!(parse(&spell(left)).unwrap() <= left);
        };
        check(Duration::ZERO, "0n");
        check(Duration::from_nanos(99_999_999), "99999999n");
        check(Duration::from_nanos(100_000_999), "100000u");
        check(Duration::from_secs(1), "1000000u");
        check(Duration::from_secs(99_999), "99999000m");
        check(Duration::from_secs(100_000), "100000S");
        check(Duration::from_secs(100_000_059), "1666667M");
        check(Duration::from_secs(u64::MAX), "99999999H");
    }
}
