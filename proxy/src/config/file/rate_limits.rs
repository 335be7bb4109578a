//! `rate_limits:` of a route.

use serde::Deserialize;

/// So many requests in so much time, for each value of the keys.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RateLimitFile {
    /// Its name in answers and metrics; no other rule of the route has it.
    pub name: String,
    /// Requests that refill in the time `per`, evenly.
    pub requests: u64,
    /// Whole seconds, minutes, hours or a day.
    pub per: String,
    /// Requests that may come at once after a rest. Without it, as many as `requests`.
    #[serde(default)]
    pub burst: Option<u64>,
    /// What tells those apart who have a limit of their own: `spiffe_id`, `trust_domain`, `address` of the caller, `{ claim: <name> }` of its verified token, `{ header: <name> }` of the request. Requests without one share a limit. Without any, the whole route has one.
    #[serde(default)]
    pub keys: Vec<RateLimitKeyFile>,
    /// How many values of the keys are remembered at one time. Beyond it, those are forgotten that have spent least.
    #[serde(default)]
    pub keys_max: Option<u64>,
}

/// What tells those apart who have a limit of their own.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum RateLimitKeyFile {
    /// The caller's SPIFFE ID.
    SpiffeId,
    /// Its trust domain.
    TrustDomain,
    /// Its IP address.
    Address,
    /// A claim of its verified token, with the token's issuer.
    Claim(String),
    /// A header of the request, as the upstream gets it.
    Header(String),
}
