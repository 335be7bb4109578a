//! Connections refused before anybody was authenticated: each source prefix may have a few recorded one by
//! one, the rest are counted into one signed record a second. A flood can neither fill the disk nor hide.
use postern_audit::Own;
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

const PREFIXES_MAX: usize = 1024;
const REASONS_MAX: usize = 32;
const SOURCES_MAX: usize = 16;
/// Records a prefix may have at once, and how long one takes to come back.
const BURST: u64 = 16;
const REFILL_NS: u64 = 250_000_000;

/// The prefix that is told apart: /24 of IPv4, /56 of IPv6, which is what one site gets.
pub(super) fn prefix(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & (u32::MAX << 8))),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 72))),
    }
}

/// A token bucket for each source prefix, and one for all that come by Unix sockets.
#[derive(Debug, Default)]
pub(super) struct Buckets(HashMap<Option<IpAddr>, Bucket>);

/// A bucket as the time at which it is full again: no clock needs to tick.
#[derive(Debug, Default)]
struct Bucket {
    full_at_ns: u64,
}

impl Buckets {
    /// Whether the source may have one more record now.
    pub(super) fn take(&mut self, source: Option<IpAddr>, mono_ns: u64) -> bool {
        let prefix = source.map(prefix);
        if self.0.len() >= PREFIXES_MAX && !self.0.contains_key(&prefix) {
            self.0.retain(|_, bucket| bucket.full_at_ns > mono_ns);
            if self.0.len() >= PREFIXES_MAX {
                return false;
            }
        }
        let bucket = self.0.entry(prefix).or_default();
        let full_at_ns = bucket.full_at_ns.max(mono_ns) + REFILL_NS;
        let room = full_at_ns <= mono_ns + BURST * REFILL_NS;
        if room {
            bucket.full_at_ns = full_at_ns;
        }
        room
    }
}

/// What was refused since the last summary.
#[derive(Clone, Debug, Default)]
pub(super) struct Summary {
    count: u64,
    first_unix_ns: u64,
    last_unix_ns: u64,
    reasons: Vec<(&'static str, u64)>,
    sources: Vec<(IpAddr, u64)>,
}

impl Summary {
    pub(super) fn count(&mut self, source: Option<IpAddr>, reason: &'static str, unix_ns: u64) {
        if self.count == 0 {
            self.first_unix_ns = unix_ns;
        }
        self.count += 1;
        self.last_unix_ns = unix_ns;
        bump(&mut self.reasons, reason, REASONS_MAX);
        if let Some(source) = source {
            bump(&mut self.sources, prefix(source), SOURCES_MAX);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn as_own(&self) -> Own<'_> {
        Own::RefusedSummary {
            count: self.count,
            first_unix_ns: self.first_unix_ns,
            last_unix_ns: self.last_unix_ns,
            reasons: &self.reasons,
            sources: &self.sources,
        }
    }
}

fn bump<K: PartialEq>(counts: &mut Vec<(K, u64)>, key: K, keys_max: usize) {
    if let Some((_, count)) = counts.iter_mut().find(|(known, _)| *known == key) {
        *count += 1;
    } else if counts.len() < keys_max {
        counts.push((key, 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_prefix_has_its_burst_and_then_four_a_second() {
        let mut buckets = Buckets::default();
        let address = |last: u8| IpAddr::from([10, 1, 2, last]);
        let granted = (0..100).filter(|at| buckets.take(Some(address(*at)), SECOND)).count();
        assert_eq!(granted, 16);
        let granted = (0..100).filter(|at| buckets.take(Some(address(*at)), 2 * SECOND)).count();
        assert_eq!(granted, 4);
        assert!(buckets.take(Some(IpAddr::from([10, 1, 3, 1])), 2 * SECOND));
    }

    #[test]
    fn a_flood_from_everywhere_holds_bounded_memory() {
        let mut buckets = Buckets::default();
        let granted = (0..100_000_u32)
            .filter(|at| buckets.take(Some(IpAddr::from((at << 8).to_be_bytes())), SECOND))
            .count();
        assert_eq!(granted, PREFIXES_MAX);
        assert!(
            buckets.take(Some(IpAddr::from([200, 1, 2, 3])), 2 * SECOND),
            "prefixes that are quiet make room"
        );
    }

    #[test]
    fn addresses_of_one_site_are_one_prefix() {
        for (source, expected) in [
            ("10.1.2.3", "10.1.2.0"),
            ("::ffff:10.1.2.3", "10.1.2.0"),
            ("2001:db8:1:2ff:3::4", "2001:db8:1:200::"),
        ] {
            assert_eq!(prefix(source.parse().unwrap()), expected.parse::<IpAddr>().unwrap(), "{source}");
        }
    }
}
