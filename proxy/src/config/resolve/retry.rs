//! `retry:` of a route.

use super::context::{Context, Reported};
use super::routes::method;
use crate::config::file::{RetryFile, RetryOnFile, RouteFile};
use crate::config::places::member;
use crate::config::rules;
use crate::config::settings::{RetryConfig, RetryOn};
use std::time::Duration;

/// Methods that mean the same when they come twice (RFC 9110 §9.2.2), of those that the guard takes.
const IDEMPOTENT: [&str; 5] = ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"];

/// What of a route bears on its retries.
pub(super) struct Around<'a> {
    pub(super) file: &'a RouteFile,
    /// The route's own time.
    pub(super) timeout: Duration,
}

pub(super) fn retry(
    context: &mut Context<'_>,
    key: &str,
    around: &Around<'_>,
) -> Result<RetryConfig, Reported> {
    let Some(file) = &around.file.retry else { return Ok(none()) };
    if file.attempts_max < 2 {
        return Err(context.error(
            &member(key, "attempts_max"),
            "fewer than two attempts are no retry: the first one counts",
            "write `attempts_max: 2`, or leave `retry` out",
        ));
    }
    let attempts = context.count(&member(key, "attempts_max"), Some(file.attempts_max), &rules::ATTEMPTS_MAX);
    let on = occasions(context, key, file);
    let statuses = context.each(&member(key, "statuses"), &file.statuses, status);
    context.distinct(&member(key, "statuses"), &file.statuses, u64::to_string);
    let methods = methods(context, key, file);
    let per_try_timeout = per_try_timeout(context, key, around, file);
    let backoff = context.duration(&member(key, "backoff"), file.backoff.as_ref(), &rules::RETRY_BACKOFF);
    let backoff_max =
        context.duration(&member(key, "backoff_max"), file.backoff_max.as_ref(), &rules::RETRY_BACKOFF_MAX);
    let body_bytes_max = context.memory(
        &member(key, "body_bytes_max"),
        file.body_bytes_max.as_ref(),
        &rules::RETRY_BODY_BYTES_MAX,
    );
    let retry = RetryConfig {
        attempts_max: u32::try_from(attempts).unwrap_or(1),
        on: on?,
        statuses: statuses?,
        methods: methods?,
        per_try_timeout: per_try_timeout?,
        backoff,
        backoff_max: backoff_max.max(backoff),
        body_bytes_max,
    };
    warn_of_what_never_happens(context, key, around, &retry);
    Ok(retry)
}

fn none() -> RetryConfig {
    RetryConfig {
        attempts_max: 1,
        on: Vec::new(),
        statuses: Vec::new(),
        methods: Vec::new(),
        per_try_timeout: None,
        backoff: rules::RETRY_BACKOFF.default,
        backoff_max: rules::RETRY_BACKOFF_MAX.default,
        body_bytes_max: 0,
    }
}

fn occasions(context: &mut Context<'_>, key: &str, file: &RetryFile) -> Result<Vec<RetryOn>, Reported> {
    if file.on.is_empty() && file.statuses.is_empty() {
        return Err(context.error(
            &member(key, "on"),
            "nothing is named after which another attempt is made",
            "write `on: [connect_failure]`, or leave `retry` out",
        ));
    }
    let mut on = Vec::new();
    for occasion in file.on.iter().map(occasion) {
        if !on.contains(&occasion) {
            on.push(occasion);
        }
    }
    Ok(on)
}

fn occasion(file: &RetryOnFile) -> RetryOn {
    match file {
        RetryOnFile::ConnectFailure => RetryOn::ConnectFailure,
        RetryOnFile::RefusedStream => RetryOn::RefusedStream,
        RetryOnFile::Reset => RetryOn::Reset,
        RetryOnFile::Timeout => RetryOn::Timeout,
        RetryOnFile::GatewayError => RetryOn::GatewayError,
        RetryOnFile::GrpcUnavailable => RetryOn::GrpcUnavailable,
    }
}

fn status(context: &mut Context<'_>, key: &str, status: &u64) -> Result<u16, Reported> {
    match u16::try_from(*status) {
        Ok(status @ 400..=599) => Ok(status),
        Ok(_) | Err(_) => Err(context.error(
            key,
            format!("`{status}` is no status of a failure"),
            "write one from 400 to 599, like `503`",
        )),
    }
}

fn methods(context: &mut Context<'_>, key: &str, file: &RetryFile) -> Result<Vec<String>, Reported> {
    let Some(written) = &file.methods else { return Ok(IDEMPOTENT.map(str::to_owned).to_vec()) };
    let key = member(key, "methods");
    context.few(&key, written.len(), "method")?;
    context.distinct(&key, written, String::clone);
    let methods = context.each(&key, written, |context, key, text| method(context, key, text))?;
    let open: Vec<&str> =
        methods.iter().map(String::as_str).filter(|name| !IDEMPOTENT.contains(name)).collect();
    if !open.is_empty() {
        let what = format!("a {} may be done twice: its method is not idempotent", open.join(" or "));
        context.warn(&key, what, "leave it out unless the service tells a repetition from a new request");
    }
    Ok(methods)
}

fn per_try_timeout(
    context: &mut Context<'_>,
    key: &str,
    around: &Around<'_>,
    file: &RetryFile,
) -> Result<Option<Duration>, Reported> {
    let key = member(key, "per_try_timeout");
    let Some(text) = &file.per_try_timeout else {
        if file.on.iter().any(|on| matches!(on, RetryOnFile::Timeout)) {
            let what = "after `timeout` another attempt is made, and no attempt has a time of its own";
            return Err(context.error(
                &key,
                what,
                "write `per_try_timeout`, shorter than the route's `timeout`",
            ));
        }
        return Ok(None);
    };
    let per_try = context.duration(&key, Some(text), &rules::PER_TRY_TIMEOUT);
    if per_try >= around.timeout {
        let what = format!("`{text}` never passes before the route's own `timeout` has");
        return Err(context.error(&key, what, "write a shorter one, or raise `timeout` of the route"));
    }
    Ok(Some(per_try))
}

/// What may only be sent again for some methods never is on a route that takes none of them.
fn warn_of_what_never_happens(
    context: &mut Context<'_>,
    key: &str,
    around: &Around<'_>,
    retry: &RetryConfig,
) {
    let needs_method = |on: &RetryOn| match on {
        RetryOn::ConnectFailure | RetryOn::RefusedStream => false,
        RetryOn::Reset | RetryOn::Timeout | RetryOn::GatewayError | RetryOn::GrpcUnavailable => true,
    };
    let taken = &around.file.matches.methods;
    let takes = |name: &String| taken.is_empty() || taken.contains(name);
    if (retry.on.iter().any(needs_method) || !retry.statuses.is_empty()) && !retry.methods.iter().any(takes) {
        let what = "the route takes none of the methods that may be sent again, so that it happens only for requests that the upstream has not looked at";
        context.warn(key, what, "name the method in `methods` of the retry, if it may be done twice");
    }
    if retry.on.contains(&RetryOn::GrpcUnavailable) && !retry.methods.iter().any(|name| name == "POST") {
        let what =
            "gRPC calls are `POST`, which is not among the `methods`: `grpc_unavailable` never happens";
        context.warn(key, what, "write `methods: [POST]` if the calls may be done twice");
    }
}
