//! What the upstream is told of the way that a request came.

use serde::Deserialize;

/// What the upstream is told of the way that a request came. Policy has decided on the headers that the caller sent; the record names each change.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ForwardedHeadersFile {
    /// What becomes of `x-forwarded-for`. Without it, what the caller sent goes on.
    #[serde(rename = "for")]
    pub address: Option<ForwardedForFile>,
    /// What becomes of `x-forwarded-proto`. Without it, what the caller sent goes on.
    pub proto: Option<ForwardedProtoFile>,
    /// Whether `x-forwarded-host` names the host that was asked for. That of callers is taken off either way.
    pub host: bool,
    /// Whether `forwarded` (RFC 7239) tells address, host and scheme. That of callers is taken off either way.
    pub forwarded: bool,
    /// Whether the sidecar adds itself to `via` (RFC 9110 §7.6.3), as `postern`.
    pub via: bool,
}

/// What becomes of `x-forwarded-for`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ForwardedForFile {
    /// The caller's address is added at the end of what the caller sent.
    Append,
    /// It is the caller's address.
    Set,
    /// It is not sent.
    Remove,
}

/// What becomes of `x-forwarded-proto`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ForwardedProtoFile {
    /// It is `https` where the caller spoke TLS, and `http` where not.
    Set,
    /// It is not sent.
    Remove,
}
