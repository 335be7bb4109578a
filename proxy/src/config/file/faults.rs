//! `faults:` of a route.

use serde::Deserialize;

/// What goes wrong on purpose, so that one can see how callers bear it.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FaultsFile {
    /// Requests that are answered with an error and never reach the upstream.
    pub abort: AbortFile,
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
