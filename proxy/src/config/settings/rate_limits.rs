//! How often a route may be asked.

use std::time::Duration;

/// So many requests in so much time, for each value of the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimitConfig {
    /// Its name, unique in its route.
    pub name: String,
    /// Requests that refill in the time `per`, from 1 on.
    pub requests: u64,
    /// Whole seconds, at least one.
    pub per: Duration,
    /// Requests that may come at once after a rest, from 1 on.
    pub burst: u64,
    /// What tells those apart who have a limit of their own. Empty: the route has one.
    pub keys: Vec<RateLimitKey>,
    /// How many values of the keys are remembered at one time, from 1 on.
    pub keys_max: usize,
}

/// What tells those apart who have a limit of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RateLimitKey {
    /// The caller's SPIFFE ID.
    SpiffeId,
    /// Its trust domain.
    TrustDomain,
    /// Its IP address.
    Address,
    /// A claim of its verified token, with the token's issuer.
    Claim(String),
    /// A header of the request, as the upstream gets it.
    Header(http::HeaderName),
}
