//! Copies of permitted requests for another upstream, to see how it would do. `pipeline/mirror.rs` sends them.
use super::circuit_breaker::Gauge;
use crate::config::MirrorConfig;
use crate::routing::Upstream;
use std::sync::Arc;
use std::time::Duration;

/// The one of a route.
#[derive(Clone, Debug)]
pub struct Mirror {
    /// Where the copies go.
    pub upstream: Arc<Upstream>,
    percent: u64,
    /// The longest body that is kept for one.
    pub(crate) body_bytes_max: usize,
    /// What one may take.
    pub(crate) timeout: Duration,
    /// Those under way.
    pub(crate) under_way: Arc<Gauge>,
}

impl Mirror {
    /// The one of a route. What of `kept` is under way stays counted.
    pub(crate) fn new(config: &MirrorConfig, kept: Option<&Self>, upstream: Arc<Upstream>) -> Self {
        let kept = kept.map(|kept| Arc::clone(&kept.under_way));
        let under_way = kept.unwrap_or_else(|| Gauge::new(config.requests_max));
        under_way.bound(config.requests_max);
        Self {
            upstream,
            percent: config.percent,
            body_bytes_max: config.body_bytes_max,
            timeout: config.timeout,
            under_way,
        }
    }

    /// Whether the lot falls on a request.
    pub(crate) fn takes(&self, random: u64) -> bool {
        random % 100 < self.percent
    }
}
