//! The messages of Envoy's rate limit service (`envoy.service.ratelimit.v3`), as far as they are used. They are written by
//! hand: a handful of fields that cannot change, against a compiler for them in every build.
use prost::Message;

/// The one method.
pub(super) const SHOULD_RATE_LIMIT: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

/// `envoy.service.ratelimit.v3.RateLimitRequest`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct RateLimitRequest {
    /// Keeps the limits of different users of a service apart.
    #[prost(string, tag = "1")]
    pub(crate) domain: String,
    /// What is counted. Where one of them is over its limit, the request is.
    #[prost(message, repeated, tag = "2")]
    pub(crate) descriptors: Vec<RateLimitDescriptor>,
}

/// `envoy.extensions.common.ratelimit.v3.RateLimitDescriptor`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct RateLimitDescriptor {
    /// The outermost one first.
    #[prost(message, repeated, tag = "1")]
    pub(crate) entries: Vec<DescriptorEntry>,
}

/// `envoy.extensions.common.ratelimit.v3.RateLimitDescriptor.Entry`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct DescriptorEntry {
    /// What it is.
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    /// Which one.
    #[prost(string, tag = "2")]
    pub(crate) value: String,
}

/// `envoy.service.ratelimit.v3.RateLimitResponse`. What a service would have added to the request is not read: what was
/// decided on is what is forwarded.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct RateLimitResponse {
    /// [`OK`] or [`OVER_LIMIT`].
    #[prost(int32, tag = "1")]
    pub(crate) overall_code: i32,
    /// One for each descriptor.
    #[prost(message, repeated, tag = "2")]
    pub(crate) statuses: Vec<DescriptorStatus>,
    /// What the caller is to be told.
    #[prost(message, repeated, tag = "3")]
    pub(crate) response_headers_to_add: Vec<HeaderToAdd>,
}

/// `envoy.service.ratelimit.v3.RateLimitResponse.DescriptorStatus`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct DescriptorStatus {
    /// [`OK`] or [`OVER_LIMIT`].
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    /// How long the time lasts in which is counted.
    #[prost(message, optional, tag = "4")]
    pub(crate) duration_until_reset: Option<Span>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Span {
    /// Whole seconds.
    #[prost(int64, tag = "1")]
    pub(crate) seconds: i64,
    /// And nanoseconds.
    #[prost(int32, tag = "2")]
    pub(crate) nanos: i32,
}

/// `envoy.config.core.v3.HeaderValue`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct HeaderToAdd {
    /// Its name.
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    /// Its value, where that is text.
    #[prost(string, tag = "2")]
    pub(crate) value: String,
    /// Its value otherwise.
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) raw_value: Vec<u8>,
}

/// The request may go on.
pub(crate) const OK: i32 = 1;
/// It may not.
pub(crate) const OVER_LIMIT: i32 = 2;
