//! Which of an upstream's endpoints is asked: `balance:`, `outlier:` and `health:`.

use serde::Deserialize;

/// How an endpoint is chosen.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum BalanceFile {
    /// Of two drawn by lot the one that is expected to cost less: its peak latency of late by what it has in hand.
    P2cEwma,
    /// Of two drawn by lot the one that has less in hand.
    LeastRequest,
    /// One after the other.
    RoundRobin,
    /// By lot.
    Random,
    /// By a key, so that the same caller comes to the same endpoint for as long as that is there. None gets more than a quarter over its share.
    RingHash(HashKeyFile),
}

/// What leads to an endpoint. A request without it is sent anywhere.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum HashKeyFile {
    /// The caller's SPIFFE ID.
    SpiffeId,
    /// A header of the request.
    Header(String),
    /// A cookie of the request.
    Cookie(String),
}

/// Endpoints that fail more than the others are left out for a while.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct OutlierFile {
    /// Failures in a row after which an endpoint is ejected: no answer, or 502, 503 or 504.
    pub consecutive_failures: Option<u64>,
    /// How often the shares of successes of all endpoints are compared. Who is more than 1.9 standard deviations below the mean is ejected.
    pub interval: Option<String>,
    /// An endpoint with fewer requests in the interval is not compared, and fewer than five endpoints are not.
    pub requests_min: Option<u64>,
    /// How long an ejection lasts, times how often it has happened of late.
    pub ejection: Option<String>,
    /// The longest ejection.
    pub ejection_max: Option<String>,
    /// How many of the endpoints may be ejected at one time, in percent. Never the last one.
    pub ejected_percent_max: Option<u64>,
}

/// Endpoints are asked for their health.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct HealthFile {
    /// What is asked, over a connection of its own and with the upstream's TLS. It says nothing of any caller.
    pub probe: HealthProbeFile,
    /// From one check to the next, spread by up to a tenth.
    #[serde(default)]
    pub interval: Option<String>,
    /// What a check may take.
    #[serde(default)]
    pub timeout: Option<String>,
    /// Successes in a row after which an ill endpoint is used again.
    #[serde(default)]
    pub healthy_after: Option<u64>,
    /// Failures in a row after which an endpoint is not used any more.
    #[serde(default)]
    pub unhealthy_after: Option<u64>,
}

/// What is asked.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum HealthProbeFile {
    /// `GET`; a status from 200 to 399 is well.
    Http(HttpProbeFile),
    /// `grpc.health.v1.Health/Check`; `SERVING` is well. Needs `h2` or `h2c`.
    Grpc(GrpcProbeFile),
    /// A connection, with its TLS handshake.
    Connect,
}

/// An HTTP check.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct HttpProbeFile {
    /// Path, with a query or without.
    pub path: String,
    /// The host that is asked for. Without it, the endpoint's address.
    #[serde(default)]
    pub host: Option<String>,
}

/// A gRPC check.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct GrpcProbeFile {
    /// The service that is asked about. Without it, the whole server.
    pub service: String,
}
