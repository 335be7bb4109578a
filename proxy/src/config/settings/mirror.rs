//! Copies of requests.

use std::time::Duration;

/// Which requests of a route are copied, and where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorConfig {
    /// Names one of [`Config::upstreams`](super::Config::upstreams), and not the route's.
    pub upstream: String,
    /// How many are copied, 1 to 100.
    pub percent: u64,
    /// The longest body that is kept for a copy.
    pub body_bytes_max: usize,
    /// What a copy may take.
    pub timeout: Duration,
    /// Copies under way.
    pub requests_max: usize,
}
