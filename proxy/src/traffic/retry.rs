//! Which failure may be tried again: only one after which not a byte of the request was sent.
use crate::config::{RetryConfig, RetryOn};

/// How many attempts an exchange has, the first one included.
pub(crate) fn attempts_max(retry: &RetryConfig) -> u32 {
    if retry.on.contains(&RetryOn::ConnectFailure) { retry.attempts_max.max(1) } else { 1 }
}
