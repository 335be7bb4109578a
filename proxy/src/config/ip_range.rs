//! Ranges of addresses, as networks are written (RFC 4632 §3.1, RFC 4291 §2.3).
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use thiserror::Error;

/// Addresses that begin alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpRange {
    first: u128,
    bits: u32,
    is_ipv6: bool,
}

/// What is no range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum IpRangeError {
    /// The part before `/`.
    #[error("it is no IP address")]
    Address,
    /// The part behind it.
    #[error("the number behind `/` is not one from 0 to {0}")]
    Bits(u32),
    /// A network that is not written by its first address may be meant for another one.
    #[error("there are bits set behind the first {0}")]
    Host(u32),
}

impl IpRange {
    /// Whether an address lies in it. An IPv4 address stays one where it comes in the shape of IPv6.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (value, width, is_ipv6) = number(address.to_canonical());
        is_ipv6 == self.is_ipv6 && value & mask(width, self.bits) == self.first
    }

    /// Whether it is one of IPv6.
    pub fn is_ipv6(&self) -> bool {
        self.is_ipv6
    }

    /// Whether some address lies in both.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.first_address()) || other.contains(self.first_address())
    }

    fn first_address(&self) -> IpAddr {
        if self.is_ipv6 {
            IpAddr::V6(Ipv6Addr::from(self.first))
        } else {
            IpAddr::V4(Ipv4Addr::from(u32::try_from(self.first).unwrap_or(u32::MAX)))
        }
    }
}

/// As a network is written, with its bits in any case.
impl fmt::Display for IpRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first_address(), self.bits)
    }
}

impl IpRange {
    /// Whether all of another range lies in this one.
    pub fn covers(&self, other: &Self) -> bool {
        let width = if self.is_ipv6 { u128::BITS } else { u32::BITS };
        self.is_ipv6 == other.is_ipv6
            && self.bits <= other.bits
            && other.first & mask(width, self.bits) == self.first
    }

    /// The one address that it is, where it is one.
    pub fn only(&self) -> Option<IpAddr> {
        match (self.is_ipv6, self.bits) {
            (true, u128::BITS) => Some(IpAddr::from(self.first.to_be_bytes())),
            (false, u32::BITS) => Some(IpAddr::from(u32::try_from(self.first).ok()?.to_be_bytes())),
            _ => None,
        }
    }
}

impl FromStr for IpRange {
    type Err = IpRangeError;

    fn from_str(text: &str) -> Result<Self, IpRangeError> {
        let (address, bits) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| IpRangeError::Address)?;
        let (first, width, is_ipv6) = number(address);
        let bits = match bits {
            None => width,
            Some(text) => {
                let bits = text.parse::<u32>().ok().filter(|bits| *bits <= width && bits.to_string() == text);
                bits.ok_or(IpRangeError::Bits(width))?
            }
        };
        if first & mask(width, bits) != first {
            return Err(IpRangeError::Host(bits));
        }
        Ok(Self { first, bits, is_ipv6 })
    }
}

fn number(address: IpAddr) -> (u128, u32, bool) {
    match address {
        IpAddr::V4(address) => (u32::from(address).into(), u32::BITS, false),
        IpAddr::V6(address) => (address.into(), u128::BITS, true),
    }
}

/// The first `bits` of `width`.
fn mask(width: u32, bits: u32) -> u128 {
    let all = u128::MAX.checked_shr(u128::BITS.saturating_sub(width)).unwrap_or(0);
    let rest = all.checked_shr(bits).unwrap_or(0);
    all & !rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_an_address_or_a_network_by_its_first_one() {
        let check = |text: &str, expected: Result<(), IpRangeError>| {
            assert_eq!(text.parse::<IpRange>().map(drop), expected, "{text}");
        };
        for text in ["10.0.0.0/8", "0.0.0.0/0", "192.0.2.4", "192.0.2.4/32", "2001:db8::/32", "::1", "::/0"] {
            check(text, Ok(()));
        }
        check("10.0.0.1/8", Err(IpRangeError::Host(8)));
        check("2001:db8::1/64", Err(IpRangeError::Host(64)));
        check("10.0.0.0/33", Err(IpRangeError::Bits(32)));
        check("::/129", Err(IpRangeError::Bits(128)));
        check("10.0.0.0/08", Err(IpRangeError::Bits(32)));
        check("10.0.0.0/", Err(IpRangeError::Bits(32)));
        check("everybody", Err(IpRangeError::Address));
        check("10.0/8", Err(IpRangeError::Address));
    }

    #[test]
    fn a_range_is_written_with_its_bits_and_tells_what_it_shares() {
        let range = |text: &str| text.parse::<IpRange>().unwrap();
        for (text, written) in
            [("192.0.2.4", "192.0.2.4/32"), ("10.0.0.0/8", "10.0.0.0/8"), ("2001:db8::/32", "2001:db8::/32")]
        {
            assert_eq!(range(text).to_string(), written);
        }
        for (a, b, shared) in [
            ("10.0.0.0/8", "10.1.0.0/16", true),
            ("10.1.0.0/16", "10.0.0.0/8", true),
            ("10.0.0.0/9", "10.128.0.0/9", false),
            ("0.0.0.0/0", "::/0", false),
        ] {
            assert_eq!(range(a).overlaps(&range(b)), shared, "{a} {b}");
        }
    }

    #[test]
    fn an_address_lies_in_a_range_of_its_family() {
        let check = |range: &str, address: &str, lies: bool| {
            let range: IpRange = range.parse().unwrap();
            assert_eq!(range.contains(address.parse().unwrap()), lies, "{address}");
        };
        check("10.0.0.0/8", "10.255.255.255", true);
        check("10.0.0.0/8", "11.0.0.0", false);
        check("10.0.0.0/8", "::ffff:10.1.2.3", true);
        check("192.0.2.4", "192.0.2.5", false);
        check("0.0.0.0/0", "203.0.113.9", true);
        check("0.0.0.0/0", "::1", false);
        check("::/0", "203.0.113.9", false);
        check("2001:db8::/32", "2001:db8:ffff::1", true);
        check("2001:db8::/32", "2001:db9::1", false);
    }
}
