//! `capture:`: which connections `postern capture` leads to the listeners.

use serde::Deserialize;

/// Connections that the kernel leads to the listeners, by the rules of `postern capture`. The sidecar itself applies none.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct CaptureFile {
    /// Connections from outside to the service. Without it, none of them.
    pub inbound: Option<CaptureInboundFile>,
    /// Connections of the service to others. Without it, none of them.
    pub outbound: Option<CaptureOutboundFile>,
}

/// Connections from outside to the service.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CaptureInboundFile {
    /// The inbound listener that gets them. It says by `captured` how they are led there; its address is `0.0.0.0` or `[::]`.
    pub listener: String,
    /// The service's ports. The sidecar's own are never captured.
    pub ports: CapturePortsFile,
}

/// Which ports of this machine are captured.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum CapturePortsFile {
    /// Every port.
    All,
    /// These ports, 1 to 65535.
    Only(Vec<u64>),
    /// Every port but these.
    Except(Vec<u64>),
}

/// Connections of the service to others.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CaptureOutboundFile {
    /// The outbound listener that gets them, which is `captured: redirect`; its address is `127.0.0.1`, or `[::1]` where IPv6 alone is to leave.
    pub listener: String,
    /// The outbound listener on `[::1]` that gets those over IPv6, beside one on `127.0.0.1`. Without it, they are refused.
    #[serde(default)]
    pub listener_ipv6: Option<String>,
    /// Whose connections are captured; `everyone`, the default, is everyone but the sidecar.
    #[serde(default)]
    pub from: Option<CaptureFromFile>,
    /// The sidecar: what is its own is never captured.
    pub own: CaptureOwnFile,
    /// What is let out as it is, past the sidecar.
    #[serde(default)]
    pub exclude: CaptureExcludeFile,
}

/// Whose connections are captured.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum CaptureFromFile {
    /// Everyone's but the sidecar's.
    Everyone,
    /// Those of these user ids.
    Uids(Vec<u64>),
    /// Those of the processes in this cgroup (version 2) and below, such as `system.slice/orders.service`.
    Cgroup(String),
}

/// How the sidecar's own connections are told.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum CaptureOwnFile {
    /// By the user id that the sidecar, and nobody else, runs as.
    Uid(u64),
    /// By a mark (`SO_MARK`, from 1) that the sidecar puts on its connections, which takes the capability CAP_NET_ADMIN: for one that runs as the same user as the service.
    Mark(u64),
}

/// What is let out as it is.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct CaptureExcludeFile {
    /// Connections to these ports.
    pub ports: Vec<u64>,
    /// Connections to these networks, such as `169.254.169.254/32`.
    pub networks: Vec<String>,
    /// Connections of these user ids.
    pub uids: Vec<u64>,
}
