//! Where captured connections were going, as routes name it: addresses and ports.
use super::{IpRange, IpRangeError};
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use thiserror::Error;

/// Addresses and ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DestinationRange {
    /// `None`: any.
    addresses: Option<IpRange>,
    /// `None`: any. Never 0.
    port: Option<u16>,
}

/// What is no range of destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DestinationError {
    /// No `:` that is not within brackets.
    #[error("it has no port")]
    NoPort,
    /// What is behind it.
    #[error("its port is neither a number from 1 to 65535 nor `*`")]
    Port,
    /// What is before it.
    #[error(transparent)]
    Addresses(#[from] IpRangeError),
    /// IPv6 without brackets: where the address ends is a guess.
    #[error("an IPv6 address stands in brackets")]
    Brackets,
    /// `*:*`
    #[error("it is everywhere, as without it")]
    Everything,
}

impl DestinationRange {
    /// Whether a connection was going there.
    pub fn contains(&self, destination: SocketAddr) -> bool {
        self.port.is_none_or(|port| port == destination.port())
            && self.addresses.is_none_or(|range| range.contains(destination.ip()))
    }

    /// Whether all of another range lies in this one.
    pub fn covers(&self, other: &Self) -> bool {
        self.port.is_none_or(|port| other.port == Some(port))
            && self.addresses.is_none_or(|range| other.addresses.is_some_and(|other| range.covers(&other)))
    }

    /// The one destination that it is, where it is one.
    pub fn only(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.addresses?.only()?, self.port?))
    }
}

impl FromStr for DestinationRange {
    type Err = DestinationError;

    fn from_str(text: &str) -> Result<Self, DestinationError> {
        let (addresses, port) = text.rsplit_once(':').ok_or(DestinationError::NoPort)?;
        let port = match port {
            "*" => None,
            _ if port.ends_with(']') || port.contains('/') => return Err(DestinationError::NoPort),
            text => {
                let port = text.parse().ok().filter(|port: &u16| *port != 0 && port.to_string() == text);
                Some(port.ok_or(DestinationError::Port)?)
            }
        };
        let addresses = if addresses == "*" { None } else { Some(range(addresses)?) };
        match (addresses, port) {
            (None, None) => Err(DestinationError::Everything),
            (addresses, port) => Ok(Self { addresses, port }),
        }
    }
}

/// An address or a network; in brackets exactly where it is IPv6.
fn range(text: &str) -> Result<IpRange, DestinationError> {
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match (bare, bare.unwrap_or(address).parse::<IpAddr>()) {
        (None, Ok(IpAddr::V6(_))) => return Err(DestinationError::Brackets),
        (Some(_), Ok(IpAddr::V4(_))) => return Err(IpRangeError::Address.into()),
        (None, Ok(IpAddr::V4(_))) | (Some(_), Ok(IpAddr::V6(_))) | (_, Err(_)) => {}
    }
    let address = bare.unwrap_or(address);
    Ok(bits.map_or_else(|| address.parse(), |bits| format!("{address}/{bits}").parse())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_an_address_or_a_network_and_a_port() {
        let check = |text: &str, expected: Result<(), DestinationError>| {
            assert_eq!(text.parse::<DestinationRange>().map(drop), expected, "{text}");
        };
        for text in
            ["10.0.0.0/8:5432", "*:443", "[fd00::]/8:6379", "192.0.2.7:5432", "[::1]:1", "10.0.0.0/8:*"]
        {
            check(text, Ok(()));
        }
        check("10.0.0.0/8", Err(DestinationError::NoPort));
        check("[fd00::]/8", Err(DestinationError::NoPort));
        check("[::1]", Err(DestinationError::NoPort));
        check("192.0.2.7:0", Err(DestinationError::Port));
        check("192.0.2.7:080", Err(DestinationError::Port));
        check("192.0.2.7:http", Err(DestinationError::Port));
        check("fd00::1:443", Err(DestinationError::Brackets));
        check("[10.0.0.1]:443", Err(IpRangeError::Address.into()));
        check("orders.test:443", Err(IpRangeError::Address.into()));
        check("10.0.0.1/8:443", Err(IpRangeError::Host(8).into()));
        check("*:*", Err(DestinationError::Everything));
    }

    #[test]
    fn a_destination_lies_in_a_range_by_address_and_port() {
        let check = |range: &str, destination: &str, lies: bool| {
            let range: DestinationRange = range.parse().unwrap();
            assert_eq!(range.contains(destination.parse().unwrap()), lies, "{destination}");
        };
        check("10.0.0.0/8:5432", "10.1.2.3:5432", true);
        check("10.0.0.0/8:5432", "10.1.2.3:5433", false);
        check("10.0.0.0/8:5432", "11.1.2.3:5432", false);
        check("*:443", "[fd00::1]:443", true);
        check("[fd00::]/8:*", "[fd00::1]:1", true);
        check("[fd00::]/8:*", "10.0.0.1:1", false);
    }

    #[test]
    fn a_range_covers_what_lies_in_it() {
        let check = |range: &str, other: &str, covers: bool| {
            let (range, other): (DestinationRange, DestinationRange) =
                (range.parse().unwrap(), other.parse().unwrap());
            assert_eq!(range.covers(&other), covers, "{range:?} {other:?}");
        };
        check("10.0.0.0/8:*", "10.1.0.0/16:443", true);
        check("10.1.0.0/16:443", "10.0.0.0/8:443", false);
        check("10.0.0.0/8:443", "10.1.0.0/16:*", false);
        check("*:443", "[fd00::]/8:443", true);
        check("10.0.0.0/8:443", "*:443", false);
        check("0.0.0.0/0:443", "[::]/0:443", false);
    }
}
