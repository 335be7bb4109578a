//! What rate limits count.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::DescriptorEncoder;

use super::series::Family;

/// All rate limits, by the names of listener, route and rule.
pub(super) type Rules = BTreeMap<[Arc<str>; 3], Arc<RateLimitMetrics>>;

/// The metrics of one rate limit.
#[derive(Debug, Default)]
pub struct RateLimitMetrics {
    limited: AtomicU64,
}

impl RateLimitMetrics {
    /// Counts a request that was refused.
    pub fn limited(&self) {
        self.limited.fetch_add(1, Ordering::Relaxed);
    }

    /// How many were refused.
    pub fn count(&self) -> u64 {
        self.limited.load(Ordering::Relaxed)
    }
}

/// All rate limit services, by the names of their upstreams.
pub(super) type Services = BTreeMap<Arc<str>, Arc<RateLimitServiceMetrics>>;

/// The metrics of one rate limit service.
#[derive(Debug, Default)]
pub struct RateLimitServiceMetrics {
    /// By the declaration order of [`RateLimitCheck`].
    checks: [AtomicU64; 3],
}

/// What came of asking a rate limit service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateLimitCheck {
    /// The request may go on.
    Ok,
    /// It may not.
    OverLimit,
    /// There was no answer that counts.
    Failed,
}

impl RateLimitServiceMetrics {
    /// Counts a question.
    pub fn checked(&self, check: RateLimitCheck) {
        let [ok, over_limit, failed] = &self.checks;
        let counter = match check {
            RateLimitCheck::Ok => ok,
            RateLimitCheck::OverLimit => over_limit,
            RateLimitCheck::Failed => failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

pub(super) fn encode(rules: &Rules, services: &Services, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let limited = rules.iter().map(|([listener, route, rule], metrics)| {
        let labels = [("listener", &**listener), ("route", &**route), ("rule", &**rule)];
        (labels, metrics.count())
    });
    Family { name: "rate_limited", help: "Requests that were refused because a rate limit was reached" }
        .counters(encoder, limited)?;
    let checks = services.iter().flat_map(|(service, metrics)| {
        let results = ["ok", "over_limit", "failed"].into_iter().zip(&metrics.checks);
        results.map(move |(result, counter)| {
            ([("service", &**service), ("result", result)], counter.load(Ordering::Relaxed))
        })
    });
    Family { name: "rate_limit_checks", help: "Questions to a rate limit service" }.counters(encoder, checks)
}
