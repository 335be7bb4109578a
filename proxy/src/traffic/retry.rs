//! Which failure may be tried again, and when.
//!
//! A request of which the upstream has provably not looked at anything may be sent again whatever it asks for; any
//! other only where its method says that twice is as good as once, or where the route's author said so.
use crate::config::{RetryConfig, RetryOn};
use crate::worker::Random;
use http::{HeaderMap, Method, StatusCode, header};
use std::time::{Duration, SystemTime};

/// Why an attempt brought no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Not a byte of it left.
    Unsent,
    /// The upstream says that it has not looked at it.
    Refused,
    /// It may have.
    Reset,
    /// It had its time.
    Timeout,
}

/// When an upstream wants to be asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// It does not say.
    Nothing,
    /// After this.
    After(Duration),
    /// Not at all.
    Never,
}

/// How many bytes of a request's body are kept, so that it can be sent again after it has left; `None` where it never
/// is.
pub(crate) fn keeps(retry: &RetryConfig, method: &Method) -> Option<usize> {
    let needs_it = |on: &RetryOn| match on {
        RetryOn::ConnectFailure => false,
        RetryOn::RefusedStream => true,
        RetryOn::Reset | RetryOn::Timeout | RetryOn::GatewayError | RetryOn::GrpcUnavailable => {
            may_repeat(retry, method)
        }
    };
    let is_kept = retry.on.iter().any(needs_it) || !retry.statuses.is_empty() && may_repeat(retry, method);
    (retry.attempts_max > 1 && is_kept).then_some(retry.body_bytes_max)
}

/// Whether another attempt is made after a failure.
pub(crate) fn after_failure(retry: &RetryConfig, method: &Method, failure: Failure) -> bool {
    let (on, needs_method) = match failure {
        Failure::Unsent => (RetryOn::ConnectFailure, false),
        Failure::Refused => (RetryOn::RefusedStream, false),
        Failure::Reset => (RetryOn::Reset, true),
        Failure::Timeout => (RetryOn::Timeout, true),
    };
    retry.on.contains(&on) && (!needs_method || may_repeat(retry, method))
}

/// Whether another attempt is made after an answer.
pub(crate) fn after_answer(
    retry: &RetryConfig,
    method: &Method,
    (status, headers): (StatusCode, &HeaderMap),
) -> bool {
    let is_gateways = matches!(
        status,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
    );
    let is_named = retry.statuses.contains(&status.as_u16())
        || is_gateways && retry.on.contains(&RetryOn::GatewayError)
        || is_unavailable(headers) && retry.on.contains(&RetryOn::GrpcUnavailable);
    is_named && may_repeat(retry, method)
}

fn may_repeat(retry: &RetryConfig, method: &Method) -> bool {
    retry.methods.iter().any(|name| name == method.as_str())
}

/// UNAVAILABLE without anything before it: where there are messages, the status stands behind them.
fn is_unavailable(headers: &HeaderMap) -> bool {
    headers.get("grpc-status").is_some_and(|status| status.as_bytes() == b"14")
}

/// What an answer says about when to ask again: `grpc-retry-pushback-ms` (gRFC A6) or `Retry-After` (RFC 9110 §10.2.3).
pub(crate) fn asked(headers: &HeaderMap, now: SystemTime) -> Asked {
    if let Some(pushback) = headers.get("grpc-retry-pushback-ms") {
        // What is negative or no number asks for no further attempt.
        let wait = pushback.to_str().ok().and_then(|text| text.parse::<u32>().ok());
        return wait.map_or(Asked::Never, |ms| Asked::After(Duration::from_millis(ms.into())));
    }
    let Some(text) = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()) else {
        return Asked::Nothing;
    };
    if let Ok(seconds) = text.parse::<u32>() {
        return Asked::After(Duration::from_secs(seconds.into()));
    }
    match httpdate::parse_http_date(text) {
        Ok(date) => Asked::After(date.duration_since(now).unwrap_or_default()),
        Err(_) => Asked::Nothing,
    }
}

/// How long to wait before the attempt of this number, counted from 1: anything up to a bound that doubles, so that
/// those who failed together do not come back together.
pub(crate) fn backoff(retry: &RetryConfig, number: u32, random: &mut Random) -> Duration {
    let doublings = 1_u32.checked_shl(number.saturating_sub(1)).unwrap_or(u32::MAX);
    let longest = retry.backoff.saturating_mul(doublings).min(retry.backoff_max);
    let longest_us = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX - 1);
    Duration::from_micros(random.next_u64() % longest_us.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry(on: &[RetryOn], statuses: &[u16], methods: &[&str]) -> RetryConfig {
        RetryConfig {
            attempts_max: 3,
            on: on.to_vec(),
            statuses: statuses.to_vec(),
            methods: methods.iter().map(|&name| name.to_owned()).collect(),
            per_try_timeout: None,
            backoff: Duration::from_millis(25),
            backoff_max: Duration::from_millis(250),
            body_bytes_max: 64,
        }
    }

    #[test]
    fn what_was_provably_not_looked_at_is_tried_again_whatever_its_method() {
        let all = [RetryOn::ConnectFailure, RetryOn::RefusedStream, RetryOn::Reset, RetryOn::Timeout];
        let check = |method: Method, failure, is_repeated| {
            assert_eq!(
                after_failure(&retry(&all, &[], &["GET"]), &method, failure),
                is_repeated,
                "{failure:?}"
            );
        };
        check(Method::POST, Failure::Unsent, true);
        check(Method::POST, Failure::Refused, true);
        check(Method::POST, Failure::Reset, false);
        check(Method::POST, Failure::Timeout, false);
        check(Method::GET, Failure::Reset, true);
        check(Method::GET, Failure::Timeout, true);
        let nothing = retry(&[RetryOn::GatewayError], &[], &["GET"]);
        assert!(!after_failure(&nothing, &Method::GET, Failure::Unsent));
    }

    #[test]
    fn an_answer_is_asked_for_again_where_its_status_is_named() {
        let check = |rule: &RetryConfig, method: Method, (status, grpc): (u16, &str), is_repeated| {
            let mut headers = HeaderMap::new();
            headers
                .extend((!grpc.is_empty()).then(|| ("grpc-status".parse().unwrap(), grpc.parse().unwrap()))
                    as Option<(http::HeaderName, http::HeaderValue)>);
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(
                after_answer(rule, &method, (status, &headers)),
                is_repeated,
                "{method} {status} {grpc}"
            );
        };
        let gateway = retry(&[RetryOn::GatewayError], &[429], &["GET"]);
        for status in [502, 503, 504, 429] {
            check(&gateway, Method::GET, (status, ""), true);
            check(&gateway, Method::POST, (status, ""), false);
        }
        check(&gateway, Method::GET, (500, ""), false);
        check(&gateway, Method::GET, (200, "14"), false);
        let grpc = retry(&[RetryOn::GrpcUnavailable], &[], &["POST"]);
        check(&grpc, Method::POST, (200, "14"), true);
        check(&grpc, Method::POST, (200, "13"), false);
        check(&grpc, Method::POST, (200, ""), false);
    }

    #[test]
    fn an_upstream_says_when_it_wants_to_be_asked_again() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_219_200);
        let check = |name: &str, value: &str, expected| {
            let headers =
                HeaderMap::from_iter([(name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap())]);
            assert_eq!(asked(&headers, now), expected, "{name}: {value}");
        };
        check("retry-after", "3", Asked::After(Duration::from_secs(3)));
        check("retry-after", "Sat, 21 Nov 2026 00:00:05 GMT", Asked::After(Duration::from_secs(5)));
        check("retry-after", "Fri, 20 Nov 2026 00:00:05 GMT", Asked::After(Duration::ZERO));
        check("retry-after", "soon", Asked::Nothing);
        check("grpc-retry-pushback-ms", "40", Asked::After(Duration::from_millis(40)));
        check("grpc-retry-pushback-ms", "-1", Asked::Never);
        check("grpc-retry-pushback-ms", "x", Asked::Never);
        check("server", "x", Asked::Nothing);
    }

    #[test]
    fn waits_are_drawn_up_to_a_bound_that_doubles_and_ends() {
        let rule = retry(&[RetryOn::Reset], &[], &["GET"]);
        let mut random = Random::new([1, 2, 3, 4]);
        for (number, longest_ms) in [(1, 25), (2, 50), (3, 100), (4, 200), (5, 250), (200, 250)] {
            let waits: Vec<u128> =
                (0..500).map(|_| backoff(&rule, number, &mut random).as_micros()).collect();
            let (most, least) = (waits.iter().max().unwrap(), waits.iter().min().unwrap());
            assert!(*most <= longest_ms * 1000 && *most > longest_ms * 900, "{number}: {most}");
            assert!(*least < longest_ms * 100, "{number}: {least}");
        }
    }

    #[test]
    fn a_body_is_kept_only_where_it_may_be_sent_again() {
        let check = |on: &[RetryOn], method: Method, kept: Option<usize>| {
            assert_eq!(keeps(&retry(on, &[], &["GET"]), &method), kept, "{on:?} {method}");
        };
        check(&[RetryOn::ConnectFailure], Method::GET, None);
        check(&[RetryOn::RefusedStream], Method::POST, Some(64));
        check(&[RetryOn::Reset], Method::POST, None);
        check(&[RetryOn::Reset], Method::GET, Some(64));
        assert_eq!(keeps(&retry(&[], &[503], &["GET"]), &Method::GET), Some(64));
    }
}
