//! A rate limit service that counts for many sidecars: what it is asked of a request, and what its answer comes to. The
//! question itself is put by `pipeline/rate_limits.rs` and `upstream/rate_limit_service.rs`.
use super::rate_limit::{self, RateLimits, Subject};
use crate::config::{DescriptorValue, GlobalRateLimitConfig, OnFailure};
use crate::routing::Upstream;
use crate::telemetry::metrics::{RateLimitMetrics, RateLimitServiceMetrics};
use crate::upstream::{
    DescriptorEntry, DescriptorStatus, NoAnswer, OK, OVER_LIMIT, RateLimitDescriptor, RateLimitRequest,
    RateLimitResponse, Span,
};
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The one of a route.
#[derive(Clone, Debug)]
pub struct GlobalRateLimit {
    /// Where it is.
    pub service: Arc<Upstream>,
    /// How long it may take to answer.
    pub timeout: Duration,
    domain: String,
    descriptors: Vec<Vec<(String, DescriptorValue)>>,
    /// What becomes of a request of which it says nothing.
    pub(crate) otherwise: Otherwise,
    /// What it counts.
    pub(crate) metrics: Arc<RateLimitServiceMetrics>,
    /// The second, on the monotonic clock, in which it was last told that the service says nothing.
    told_s: Arc<AtomicU64>,
}

/// What becomes of a request of which the service says nothing.
#[derive(Clone, Debug)]
pub(crate) enum Otherwise {
    Allow,
    Deny,
    Local(RateLimits),
}

/// What an answer says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Ok,
    /// And these headers to the caller.
    OverLimit(HeaderMap),
}

impl GlobalRateLimit {
    /// The one of a route. What `kept` has spent of the same local limit stays spent.
    pub fn new(
        config: &GlobalRateLimitConfig,
        kept: Option<&Self>,
        (service, metrics): (Arc<Upstream>, Arc<RateLimitServiceMetrics>),
        count: impl Fn(&str) -> Arc<RateLimitMetrics>,
    ) -> Self {
        let otherwise = match &config.on_failure {
            OnFailure::Allow => Otherwise::Allow,
            OnFailure::Deny => Otherwise::Deny,
            OnFailure::Local(limit) => {
                let kept = kept.and_then(Self::fallback);
                Otherwise::Local(RateLimits::new(std::slice::from_ref(limit), kept, count))
            }
        };
        let (domain, descriptors) = (config.domain.clone(), config.descriptors.clone());
        let told_s = Arc::new(AtomicU64::new(u64::MAX));
        Self { service, timeout: config.timeout, domain, descriptors, otherwise, metrics, told_s }
    }

    /// Tells why the service says nothing that counts, at most once a second: the metric has all of them.
    pub(crate) fn tell(&self, cause: &str, now_ns: u64) {
        let now_s = now_ns / 1_000_000_000;
        if self.told_s.swap(now_s, Ordering::Relaxed) != now_s {
            let service = &self.service.name;
            tracing::warn!(upstream = %service, cause, "a rate limit service says nothing that counts");
        }
    }

    /// The limit that a request is held to where the service says nothing.
    pub(crate) fn fallback(&self) -> Option<&RateLimits> {
        match &self.otherwise {
            Otherwise::Local(limits) => Some(limits),
            Otherwise::Allow | Otherwise::Deny => None,
        }
    }

    /// What is asked of a request: the values that are named, and nothing else of it.
    pub(crate) fn question(&self, subject: &Subject<'_>) -> RateLimitRequest {
        let entry = |(key, value): &(String, DescriptorValue)| {
            let value = match value {
                DescriptorValue::Text(text) => text.clone(),
                // Left out, it would count for nobody, and who lacks it would have no limit.
                DescriptorValue::Key(key) => rate_limit::value(key, subject)
                    .map_or_else(String::new, |value| String::from_utf8_lossy(&value).into_owned()),
            };
            DescriptorEntry { key: key.clone(), value }
        };
        let descriptors = self.descriptors.iter();
        let descriptors = descriptors
            .map(|entries| RateLimitDescriptor { entries: entries.iter().map(entry).collect() })
            .collect();
        RateLimitRequest { domain: self.domain.clone(), descriptors }
    }
}

/// Reads an answer; `guard` takes away what no answer may bring, or refuses all of it.
pub(crate) fn said(
    response: &RateLimitResponse,
    guard: impl Fn(&mut HeaderMap) -> bool,
) -> Result<Said, NoAnswer> {
    match response.overall_code {
        OK => Ok(Said::Ok),
        OVER_LIMIT => Ok(Said::OverLimit(headers(response, guard))),
        code => Err(format!("the code {code}")),
    }
}

fn headers(response: &RateLimitResponse, guard: impl Fn(&mut HeaderMap) -> bool) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for written in response.response_headers_to_add.iter().take(HEADERS_MAX) {
        let value = match written.value.as_bytes() {
            [] => HeaderValue::from_bytes(&written.raw_value),
            text => HeaderValue::from_bytes(text),
        };
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(written.key.as_bytes()), value) {
            headers.append(name, value);
        }
    }
    if !guard(&mut headers) {
        headers.clear();
    }
    if let (None, Some(wait_s)) = (headers.get(RETRY_AFTER), wait_s(&response.statuses)) {
        headers.insert(RETRY_AFTER, HeaderValue::from(wait_s));
    }
    headers
}

/// How long it is until all that is over its limit is counted anew.
fn wait_s(statuses: &[DescriptorStatus]) -> Option<u64> {
    let over = statuses.iter().filter(|status| status.code == OVER_LIMIT);
    let seconds = |Span { seconds, nanos }: Span| {
        Some(u64::try_from(seconds).ok()?.saturating_add(u64::from(nanos > 0)).max(1))
    };
    over.filter_map(|status| seconds(status.duration_until_reset?)).max()
}

/// More of them are not passed on.
const HEADERS_MAX: usize = 32;

#[cfg(test)]
mod tests;
