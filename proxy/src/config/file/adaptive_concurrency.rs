//! `adaptive_concurrency:` of an upstream.

use serde::Deserialize;

/// How many requests an upstream may have in hand is found out by how long its answers take: as many as it can work on without letting others wait, and never more than `requests_max`.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct AdaptiveConcurrencyFile {
    /// Requests that it may have in hand however slow it is. It begins with as many.
    pub concurrency_min: Option<u64>,
    /// By how much longer than without a queue answers may take before fewer requests are let through, in percent.
    pub tolerance_percent: Option<u64>,
    /// How often the limit changes.
    pub window: Option<String>,
    /// Of fewer answers nothing is concluded: the window goes on.
    pub requests_min: Option<u64>,
    /// How often it is measured anew what an answer takes without a queue, spread by up to a tenth. The limit is halved meanwhile.
    pub remeasure_interval: Option<String>,
}
