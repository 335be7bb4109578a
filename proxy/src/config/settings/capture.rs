//! What `postern capture` is to make rules of.

use super::Captured;
use crate::config::IpRange;

/// Connections that the kernel leads to the listeners. Both empty: none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaptureConfig {
    /// Connections from outside to the service.
    pub inbound: Option<CaptureInbound>,
    /// Connections of the service to others.
    pub outbound: Option<CaptureOutbound>,
}

impl CaptureConfig {
    /// The mark that the sidecar is to put on its own connections, if any.
    #[must_use]
    pub fn own_mark(&self) -> Option<u32> {
        match self.outbound.as_ref()?.own {
            CaptureOwn::Mark(mark) => Some(mark),
            CaptureOwn::Uid(_) => None,
        }
    }
}

/// Connections from outside to the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureInbound {
    /// Port of the inbound listener that gets them.
    pub port: u16,
    /// Whether that listener takes IPv4.
    pub ipv4: bool,
    /// Whether that listener takes IPv6.
    pub ipv6: bool,
    /// Which ports are captured.
    pub ports: CapturePorts,
    /// How they are led there.
    pub way: Captured,
}

/// Which ports of this machine are captured; sorted, without duplicates. The sidecar's own are never among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CapturePorts {
    /// These. Never empty.
    Only(Vec<u16>),
    /// All but these, among which are all of the sidecar's own.
    Except(Vec<u16>),
}

/// Connections of the service to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureOutbound {
    /// Port on `127.0.0.1` of the listener that gets those over IPv4; without it they are refused.
    pub port_ipv4: Option<u16>,
    /// Port on `::1` of the listener that gets those over IPv6; without it they are refused.
    pub port_ipv6: Option<u16>,
    /// Whose connections are captured.
    pub from: CaptureFrom,
    /// How the sidecar's own connections are told.
    pub own: CaptureOwn,
    /// Destination ports that are let out; sorted, without duplicates.
    pub exclude_ports: Vec<u16>,
    /// Destination networks that are let out; no two share an address.
    pub exclude_networks: Vec<IpRange>,
    /// User ids whose connections are let out; sorted, without duplicates.
    pub exclude_uids: Vec<u32>,
}

/// How the sidecar's own connections are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaptureOwn {
    /// By its user id.
    Uid(u32),
    /// By the mark that it puts on them. Never 0.
    Mark(u32),
}

/// Whose connections are captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaptureFrom {
    /// Everyone's but the sidecar's.
    Everyone,
    /// Those of these user ids; sorted, without duplicates. Never empty.
    Uids(Vec<u32>),
    /// Those of the processes in this cgroup and below. A relative path without dots, quotes and spaces as components.
    Cgroup(String),
}
