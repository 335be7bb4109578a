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

pub(super) fn encode(rules: &Rules, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let limited = rules.iter().map(|([listener, route, rule], metrics)| {
        let labels = [("listener", &**listener), ("route", &**route), ("rule", &**rule)];
        (labels, metrics.count())
    });
    Family { name: "rate_limited", help: "Requests that were refused because a rate limit was reached" }
        .counters(encoder, limited)
}
