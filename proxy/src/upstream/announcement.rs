//! The PROXY protocol (versions 1 and 2) towards an upstream: before anything else it is told from whom a connection is.
//!
//! What is said holds for the whole connection, so that one that was announced serves the connection of that caller alone,
//! and is closed when that has ended. What the sidecar asks for itself says so: `LOCAL`, in version 1 `UNKNOWN`.
use crate::config::ProxyVersion;
use postern_identity::SpiffeId;
use ppp::v2::{Addresses, Builder, Command, Protocol, Type, Version};
use std::io;
use std::net::{IpAddr, SocketAddr};

/// From whom a caller's connection is; one value for as long as that is open.
#[derive(Debug)]
pub(crate) struct Announcement {
    /// The caller's address.
    pub(crate) source: SocketAddr,
    /// Where it was going.
    pub(crate) destination: SocketAddr,
    /// The server name that it asked for.
    pub(crate) name: Option<String>,
    /// Who it is, where it has proven that.
    pub(crate) caller: Option<SpiffeId>,
}

/// The caller's SPIFFE ID. The numbers from 0xE0 to 0xEF are for whatever two sides agree on; clouds use 0xE0, 0xEA and
/// 0xEE.
const TYPE_SPIFFE_ID: u8 = 0xE5;

/// What stands before everything else on a connection: of this caller, or of nobody.
pub(crate) fn header(version: ProxyVersion, of: Option<&Announcement>) -> io::Result<Vec<u8>> {
    match (version, of) {
        (ProxyVersion::V1, None) => Ok(ppp::v1::Addresses::Unknown.to_string().into_bytes()),
        (ProxyVersion::V1, Some(of)) => Ok(ppp::v1::Addresses::from(ends(of)).to_string().into_bytes()),
        (ProxyVersion::V2, None) => Builder::with_addresses(
            Version::Two | Command::Local,
            Protocol::Unspecified,
            Addresses::Unspecified,
        )
        .build(),
        (ProxyVersion::V2, Some(of)) => {
            let header = Builder::with_addresses(Version::Two | Command::Proxy, Protocol::Stream, ends(of));
            let header = match &of.name {
                Some(name) => header.write_tlv(Type::Authority, name.as_bytes())?,
                None => header,
            };
            let header = match &of.caller {
                Some(caller) => header.write_tlv(TYPE_SPIFFE_ID, caller.as_str().as_bytes())?,
                None => header,
            };
            header.build()
        }
    }
}

/// Both ends in one family, which is all that a header can say: IPv4 beside IPv6 is spelled as IPv6.
fn ends(of: &Announcement) -> (SocketAddr, SocketAddr) {
    let plain = |of: SocketAddr| SocketAddr::new(of.ip().to_canonical(), of.port());
    let (source, destination) = (plain(of.source), plain(of.destination));
    if source.is_ipv4() == destination.is_ipv4() {
        return (source, destination);
    }
    let wide = |of: SocketAddr| match of.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), of.port()),
        IpAddr::V6(_) => of,
    };
    (wide(source), wide(destination))
}
