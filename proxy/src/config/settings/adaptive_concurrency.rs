//! How many requests an upstream may have in hand, by how long it takes.

use std::time::Duration;

/// How the limit is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdaptiveConcurrencyConfig {
    /// The least limit, at most `requests_max`.
    pub concurrency_min: usize,
    /// The greatest: that of the upstream.
    pub requests_max: usize,
    /// By how much longer than without a queue answers may take, in percent.
    pub tolerance_percent: u32,
    /// How often the limit changes.
    pub window: Duration,
    /// Of fewer answers nothing is concluded.
    pub requests_min: u32,
    /// From one measurement of what an answer takes without a queue to the next.
    pub remeasure_interval: Duration,
}
