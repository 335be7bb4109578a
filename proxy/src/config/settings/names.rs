//! Endpoints, which are addresses, Unix sockets or names.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use postern_audit::SocketPath;

/// Where an upstream listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointConfig {
    /// There. Never port 0; loopback unless the configuration says `plaintext: any_address`.
    Address(SocketAddr),
    /// A Unix socket of this machine.
    Unix(SocketPath),
    /// Wherever a name leads.
    Name(NamedEndpoint),
    /// Where a captured connection was going. It is the only endpoint then.
    OriginalDestination,
}

/// An endpoint that is a name: that of a host, or that of a service (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamedEndpoint {
    /// A host name in lower case, or a service's, `_http._tcp.orders.internal`; one that ends with a dot is tried as it
    /// stands.
    pub host: String,
    /// Never 0; `None` for a service, whose records say which.
    pub port: Option<u16>,
    /// Whether addresses beyond loopback are refused: what is spoken there has no TLS.
    pub loopback_only: bool,
}

impl NamedEndpoint {
    /// The name as it is asked for in TLS (SNI).
    pub fn server_name(&self) -> &str {
        let host = self.host.strip_suffix('.').unwrap_or(&self.host);
        match self.port {
            Some(_) => host,
            // The domain that offers the service is what was configured; where its records lead is what a server said.
            None => host.splitn(3, '.').nth(2).unwrap_or(host),
        }
    }
}

impl fmt::Display for NamedEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => write!(f, "srv:{}", self.host),
        }
    }
}

/// Whether two sockets cannot both be bound, or one is reached by calling the other.
pub fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port() && (a.ip() == b.ip() || takes_all(a.ip(), b.ip()) || takes_all(b.ip(), a.ip()))
}

/// Whether a socket that is bound to `ip` takes what comes in at the other address of its machine. `[::]` takes IPv4 as
/// well, unless the system says otherwise.
pub fn takes_all(ip: IpAddr, other: IpAddr) -> bool {
    ip.is_unspecified() && (ip.is_ipv6() || other.is_ipv4())
}
