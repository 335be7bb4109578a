//! `rate_limits:` and `global_rate_limit:` of a route.

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

/// A rate limit service that counts for many sidecars, asked by Envoy's protocol (`envoy.service.ratelimit.v3`).
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct GlobalRateLimitFile {
    /// The upstream that it is; it speaks `h2c` or `h2`.
    pub service: String,
    /// What keeps these limits apart from others of the service.
    pub domain: String,
    /// What is counted: a request is over its limit where one of them is.
    pub descriptors: Vec<DescriptorFile>,
    /// How long the service may take to answer.
    #[serde(default)]
    pub timeout: Option<String>,
    /// What becomes of a request of which the service says nothing: `allow` lets it pass, `deny` refuses it, `{ local: … }` holds it to a rate limit of this sidecar.
    pub on_failure: OnFailureFile,
}

/// What is counted by the service.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DescriptorFile {
    /// Its parts, in the order in which the service's configuration nests them.
    pub entries: Vec<DescriptorEntryFile>,
}

/// One part of what is counted.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DescriptorEntryFile {
    /// Its name in the service's configuration.
    pub key: String,
    /// Its value: `spiffe_id`, `trust_domain` or `address` of the caller, `{ claim: <name> }`, `{ header: <name> }` or `{ text: <text> }`. Where the request lacks it, the value is empty.
    pub value: DescriptorValueFile,
}

/// The value of a part.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum DescriptorValueFile {
    /// The caller's SPIFFE ID.
    SpiffeId,
    /// Its trust domain.
    TrustDomain,
    /// Its IP address.
    Address,
    /// A claim of its verified token.
    Claim(String),
    /// A header of the request, as the upstream gets it.
    Header(String),
    /// Always the same.
    Text(String),
}

/// What becomes of a request of which a rate limit service says nothing.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum OnFailureFile {
    /// It goes on.
    Allow,
    /// It is refused.
    Deny,
    /// It is held to a rate limit of this sidecar.
    Local(RateLimitFile),
}
