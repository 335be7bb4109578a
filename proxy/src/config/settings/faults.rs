//! What goes wrong on purpose.

use std::time::Duration;

use http::StatusCode;

/// What goes wrong on a route on purpose. One of the two is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultsConfig {
    /// Requests that wait before they are sent.
    pub delay: Option<DelayConfig>,
    /// Requests that are answered with an error.
    pub abort: Option<AbortConfig>,
}

/// Requests that wait on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DelayConfig {
    /// Of so many in a hundred: 1 to 100.
    pub percent: u64,
    /// 1 ms to 1 min.
    pub duration: Duration,
}

/// Requests that are answered with an error on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortConfig {
    /// Of so many in a hundred: 1 to 100.
    pub percent: u64,
    /// 400 to 599.
    pub status: StatusCode,
}
