//! Which of an upstream's endpoints is asked.

use std::time::Duration;

use http::HeaderName;

/// How an endpoint is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BalanceConfig {
    /// Power of two choices by peak latency and what is in hand.
    P2cEwma,
    /// Power of two choices by what is in hand.
    LeastRequest,
    /// One after the other.
    RoundRobin,
    /// By lot.
    Random,
    /// By a key.
    RingHash(HashKey),
}

/// What leads to an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// The caller's SPIFFE ID.
    SpiffeId,
    /// A header of the request.
    Header(HeaderName),
    /// A cookie of the request.
    Cookie(String),
}

/// When an endpoint is left out for its failures, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutlierConfig {
    /// Failures in a row.
    pub consecutive_failures: u32,
    /// How often shares of successes are compared.
    pub interval: Duration,
    /// Of fewer requests in an interval nothing is concluded.
    pub requests_min: u32,
    /// How long an ejection lasts, times how often it has happened of late.
    pub ejection: Duration,
    /// The longest ejection.
    pub ejection_max: Duration,
    /// How many may be out at one time, in percent; never the last one.
    pub ejected_percent_max: usize,
}

/// How endpoints are asked for their health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthConfig {
    /// What is asked.
    pub probe: HealthProbe,
    /// From one check to the next.
    pub interval: Duration,
    /// What a check may take.
    pub timeout: Duration,
    /// Successes in a row that bring an endpoint back.
    pub healthy_after: u32,
    /// Failures in a row that take it out.
    pub unhealthy_after: u32,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthProbe {
    /// `GET` of a path, at a host or at the endpoint's address.
    Http {
        /// Path and query.
        path: http::uri::PathAndQuery,
        /// `None`: the endpoint's address.
        host: Option<String>,
    },
    /// The gRPC health protocol.
    Grpc {
        /// Empty for the whole server.
        service: String,
    },
    /// A connection.
    Connect,
}
