//! `faults:` of a route.

use serde::Deserialize;

/// What goes wrong on purpose, so that one can see how callers bear it: `delay`, `abort` or both.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FaultsFile {
    /// Requests that wait before they are sent to the upstream.
    #[serde(default)]
    pub delay: Option<DelayFile>,
    /// Requests that are answered with an error and never reach the upstream.
    #[serde(default)]
    pub abort: Option<AbortFile>,
}

/// Requests that wait.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DelayFile {
    /// How many of the requests that policy and the rate limits let through, in percent.
    pub percent: u64,
    /// How long they wait. It is no part of the route's `timeout`, which runs from then on.
    pub duration: String,
}

/// Requests that are answered with an error.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AbortFile {
    /// How many of the requests that policy and the rate limits let through, in percent.
    pub percent: u64,
    /// Status of the answer; gRPC callers get UNAVAILABLE.
    #[serde(default)]
    pub status: Option<u64>,
}
