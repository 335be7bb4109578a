//! Where nobody but the configuration may send this sidecar: to its own sockets, and to what is no host.
use crate::config::takes_all;
use std::net::{IpAddr, SocketAddr, UdpSocket};

/// Why an address is not connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreachable {
    /// It is unspecified, multicast or broadcast.
    NoHost,
    /// It is one of the sidecar's own sockets.
    LeadsBack,
}

/// Whether an address is that of a host.
pub(crate) fn is_host(ip: IpAddr) -> Result<(), Unreachable> {
    let is_multicast = ip.is_multicast() || matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    if ip.is_unspecified() || is_multicast { Err(Unreachable::NoHost) } else { Ok(()) }
}

/// Whether an address is not one of our own sockets, which are bound to these.
pub(crate) fn is_elsewhere(address: SocketAddr, own: &[SocketAddr]) -> Result<(), Unreachable> {
    let ip = address.ip();
    let leads_back = |own: &SocketAddr| {
        own.port() == address.port() && (own.ip() == ip || (takes_all(own.ip(), ip) && is_ours(ip)))
    };
    if own.iter().any(leads_back) { Err(Unreachable::LeadsBack) } else { Ok(()) }
}

/// Whether an address is one of this machine: only those can be bound.
pub(crate) fn is_ours(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}
