//! Where nobody but the configuration may send this sidecar: to its own sockets, and to what is no host.
use crate::config::takes_all;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};

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
        own.port() == address.port() && (own.ip() == ip || (takes_all(own.ip(), ip) && is_ours(address)))
    };
    if own.iter().any(leads_back) { Err(Unreachable::LeadsBack) } else { Ok(()) }
}

/// Whether an address is one of this machine. That one can be bound says nothing where the machine lets all of them be
/// (`ip_nonlocal_bind`), so the kernel is asked for a way there; nothing is sent. Over IPv4 there is none from an address that
/// is not the machine's. IPv6 does not look at that, but always takes as the source of what is sent to one of its own that
/// same address, which IPv4 does not: a network's first there stands for the others. Where nothing can be asked, no connection
/// can be made either.
pub(crate) fn is_ours(mut address: SocketAddr) -> bool {
    address.set_ip(address.ip().to_canonical());
    let ip = address.ip();
    let source = || -> io::Result<SocketAddr> {
        let from = if ip.is_ipv4() { ip } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((from, 0))?;
        socket.connect(address)?;
        socket.local_addr()
    };
    ip.is_loopback() || source().is_ok_and(|source| source.ip() == ip)
}
