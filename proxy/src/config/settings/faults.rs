//! What goes wrong on purpose.

use http::StatusCode;

/// Requests that are answered with an error on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortConfig {
    /// Of so many in a hundred: 1 to 100.
    pub percent: u64,
    /// 400 to 599.
    pub status: StatusCode,
}
