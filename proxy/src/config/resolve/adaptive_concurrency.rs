//! `adaptive_concurrency:` of an upstream.

use super::context::{Context, Reported};
use crate::config::file::{UpstreamFile, UpstreamProtocolFile};
use crate::config::places::member;
use crate::config::rules;
use crate::config::settings::{AdaptiveConcurrencyConfig, UpstreamLimits};

pub(super) fn adaptive_concurrency(
    context: &mut Context<'_>,
    upstream_key: &str,
    upstream: &UpstreamFile,
    limits: &UpstreamLimits,
) -> Result<Option<AdaptiveConcurrencyConfig>, Reported> {
    let Some(file) = &upstream.adaptive_concurrency else { return Ok(None) };
    let key = member(upstream_key, "adaptive_concurrency");
    if let Some(UpstreamProtocolFile::Tcp) = upstream.protocol {
        let what = "a raw stream has no answer whose time could be taken";
        return Err(context.error(&key, what, "leave it out: `requests_max` bounds the streams"));
    }
    let mut count = |name, written, rule| context.count(&member(&key, name), written, rule);
    let concurrency_min = count("concurrency_min", file.concurrency_min, &rules::CONCURRENCY_MIN);
    let tolerance = count("tolerance_percent", file.tolerance_percent, &rules::TOLERANCE_PERCENT);
    let requests_min = count("requests_min", file.requests_min, &rules::WINDOW_REQUESTS_MIN);
    let mut duration = |name, written, rule| context.duration(&member(&key, name), written, rule);
    let window = duration("window", file.window.as_ref(), &rules::CONCURRENCY_WINDOW);
    let interval = file.remeasure_interval.as_ref();
    let remeasure_interval = duration("remeasure_interval", interval, &rules::REMEASURE_INTERVAL);
    if file.concurrency_min.is_some() && concurrency_min >= limits.requests_max {
        let what =
            format!("between {concurrency_min} and `requests_max`, {}, nothing changes", limits.requests_max);
        return Err(context.error(
            &member(&key, "concurrency_min"),
            what,
            "write less than `requests_max`, or leave `adaptive_concurrency` out",
        ));
    }
    if remeasure_interval < window.saturating_mul(MEASURED_AFTER_WINDOWS) {
        let what =
            format!("the limit would be halved again after fewer than {MEASURED_AFTER_WINDOWS} windows");
        return Err(context.error(
            &member(&key, "remeasure_interval"),
            what,
            "write a longer one, or a shorter `window`",
        ));
    }
    Ok(Some(AdaptiveConcurrencyConfig {
        concurrency_min: concurrency_min.min(limits.requests_max),
        requests_max: limits.requests_max,
        tolerance_percent: u32::try_from(tolerance).unwrap_or(u32::MAX),
        window,
        requests_min: u32::try_from(requests_min).unwrap_or(u32::MAX),
        remeasure_interval,
    }))
}

/// A measurement may take ten windows.
const MEASURED_AFTER_WINDOWS: u32 = 20;
