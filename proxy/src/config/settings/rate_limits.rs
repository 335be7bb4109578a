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

/// A rate limit service that counts for many sidecars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlobalRateLimitConfig {
    /// Names one of [`Config::upstreams`](super::Config::upstreams), which speaks HTTP/2.
    pub service: String,
    /// What keeps these limits apart from others of the service. Never empty.
    pub domain: String,
    /// What is counted: lists of names and values, the outermost first. Neither they nor the names are empty.
    pub descriptors: Vec<Vec<(String, DescriptorValue)>>,
    /// How long the service may take to answer.
    pub timeout: Duration,
    /// What becomes of a request of which the service says nothing.
    pub on_failure: OnFailure,
}

/// The value of a part of what is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DescriptorValue {
    /// Of the request or its caller.
    Key(RateLimitKey),
    /// Always the same.
    Text(String),
}

/// What becomes of a request of which a rate limit service says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// It goes on.
    Allow,
    /// It is refused.
    Deny,
    /// It is held to a rate limit of this sidecar.
    Local(RateLimitConfig),
}
