use super::*;
use crate::upstream::HeaderToAdd;

fn response(overall_code: i32, headers: &[(&str, &str)], resets: &[(i32, i64, i32)]) -> RateLimitResponse {
    let header = |(key, value): &(&str, &str)| HeaderToAdd {
        key: (*key).to_owned(),
        value: (*value).to_owned(),
        raw_value: Vec::new(),
    };
    let status = |(code, seconds, nanos): &(i32, i64, i32)| DescriptorStatus {
        code: *code,
        duration_until_reset: Some(Span { seconds: *seconds, nanos: *nanos }),
    };
    RateLimitResponse {
        overall_code,
        statuses: resets.iter().map(status).collect(),
        response_headers_to_add: headers.iter().map(header).collect(),
    }
}

/// What is told to the caller of an answer that refuses, as `name: value`.
fn check(headers: &[(&str, &str)], resets: &[(i32, i64, i32)], told: &[&str]) {
    let Ok(Said::OverLimit(found)) = said(&response(OVER_LIMIT, headers, resets), |_| true) else {
        panic!("it refuses")
    };
    let found: Vec<_> =
        found.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    assert_eq!(found, told);
}

#[test]
fn only_an_answer_that_says_one_of_two_things_counts() {
    assert_eq!(said(&response(OK, &[("x-a", "1")], &[]), |_| true), Ok(Said::Ok));
    for code in [0, 3, -1] {
        assert!(said(&response(code, &[], &[]), |_| true).is_err(), "{code}");
    }
}

#[test]
fn a_caller_is_told_when_all_that_is_over_its_limit_is_counted_anew() {
    check(&[], &[(OVER_LIMIT, 7, 0), (OVER_LIMIT, 30, 1), (OK, 900, 0)], &["retry-after: 31"]);
    check(&[], &[(OVER_LIMIT, 0, 0)], &["retry-after: 1"]);
    check(&[], &[(OVER_LIMIT, -5, 0)], &[]);
    check(&[], &[(OVER_LIMIT, i64::MAX, 1)], &["retry-after: 9223372036854775808"]);
    check(&[("Retry-After", "3")], &[(OVER_LIMIT, 30, 0)], &["retry-after: 3"]);
}

#[test]
fn headers_that_are_none_are_left_out_and_so_is_what_the_guard_refuses() {
    check(&[("x-a", "1"), ("x b", "2"), ("x-c", "3\r\nx-d: 4"), ("", "5")], &[], &["x-a: 1"]);
    let many: Vec<(String, String)> = (0..1000).map(|n| (format!("x-{n}"), n.to_string())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let all = |guard: bool| said(&response(OVER_LIMIT, &many, &[]), |_| guard).unwrap();
    assert!(matches!(all(true), Said::OverLimit(headers) if headers.len() == HEADERS_MAX));
    assert!(matches!(all(false), Said::OverLimit(headers) if headers.is_empty()));
}
