//! `mirror:` of a route.

use serde::Deserialize;

/// Copies of requests that another upstream gets besides, once the request has been answered or has failed. Nothing of what comes of them reaches the caller. They hold no credentials and no headers that say who calls, and have the decision's id in `x-postern-mirror`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct MirrorFile {
    /// The upstream that gets them.
    pub upstream: String,
    /// How many of the requests are copied, in percent, by lot.
    #[serde(default)]
    pub percent: Option<u64>,
    /// A body that is kept for the copy. A request with a longer one is not copied, nor is one that was answered before its body was whole, or that ends in trailers.
    #[serde(default)]
    pub body_bytes_max: Option<String>,
    /// What a copy may take to the head of its answer; the answer itself is thrown away.
    #[serde(default)]
    pub timeout: Option<String>,
    /// Copies under way, over all workers; a request beyond them is not copied.
    #[serde(default)]
    pub requests_max: Option<u64>,
}
