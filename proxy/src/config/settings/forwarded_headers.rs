//! What the upstream is told of the way that a request came.

/// What a route tells its upstream of the way that a request came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForwardedHeaders {
    /// What becomes of `x-forwarded-for`.
    pub address: ForwardedFor,
    /// What becomes of `x-forwarded-proto`.
    pub proto: ForwardedProto,
    /// Whether `x-forwarded-host` is set.
    pub host: bool,
    /// Whether `forwarded` is set (RFC 7239).
    pub forwarded: bool,
    /// Whether the sidecar adds itself to `via`.
    pub via: bool,
}

/// What becomes of `x-forwarded-for`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedFor {
    /// What the caller sent goes on.
    #[default]
    Pass,
    /// The caller's address is added to it.
    Append,
    /// It is the caller's address.
    Set,
    /// It is not sent.
    Remove,
}

/// What becomes of `x-forwarded-proto`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedProto {
    /// What the caller sent goes on.
    #[default]
    Pass,
    /// It is what the caller speaks.
    Set,
    /// It is not sent.
    Remove,
}
