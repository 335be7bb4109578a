//! A ring of hashes: the same key leads to the same endpoint, also on another sidecar, and where an endpoint goes or
//! comes only its own share of the keys moves.
use crate::config::HashKey;
use http::{HeaderMap, HeaderValue, header};
use postern_audit::hash::sha256;
use std::fmt::Display;

/// Where each endpoint stands on the ring.
#[derive(Debug)]
pub(super) struct Ring(Vec<(u64, usize)>);

/// How often an endpoint stands on it that has its full share: that differs from the fair one by a tenth or so.
pub(super) const POINTS: u32 = 128;

impl Ring {
    /// Of endpoints, each so often.
    pub(super) fn new(endpoints: impl Iterator<Item = (impl Display, u32)>) -> Self {
        let mut points = Vec::new();
        for (index, (address, count)) in endpoints.enumerate() {
            points.extend((0..count).map(|number| (hash(format!("{address} {number}").as_bytes()), index)));
        }
        points.sort_unstable();
        Self(points)
    }

    /// The endpoints from a key's place on, each as often as it stands there.
    pub(super) fn from(&self, key: u64) -> impl Iterator<Item = usize> {
        let (before, after) = self.0.split_at(self.0.partition_point(|(point, _)| *point < key));
        after.iter().chain(before).map(|(_, index)| *index)
    }
}

/// The place of a request's key, if it has one.
pub(crate) fn place(key: &HashKey, caller: Option<&str>, headers: &HeaderMap) -> Option<u64> {
    text(key, caller, headers).map(hash)
}

/// A request's key, if it has one.
pub(super) fn text<'a>(key: &HashKey, caller: Option<&'a str>, headers: &'a HeaderMap) -> Option<&'a [u8]> {
    match key {
        HashKey::SpiffeId => caller.map(str::as_bytes),
        HashKey::Header(name) => headers.get(name).map(HeaderValue::as_bytes),
        HashKey::Cookie(name) => cookie(name, headers).map(str::as_bytes),
    }
}

fn cookie<'h>(name: &str, headers: &'h HeaderMap) -> Option<&'h str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find_map(|(known, value)| (known == name).then_some(value))
}

/// The place of a key.
pub(crate) fn hash(key: &[u8]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = sha256(key);
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn homes(ports: std::ops::RangeInclusive<u16>) -> Vec<u16> {
        let ports: Vec<u16> = ports.collect();
        let ring = Ring::new(ports.iter().map(|port| (format!("127.0.0.1:{port}"), POINTS)));
        (0..10_000).map(|key: u32| ports[ring.from(hash(&key.to_be_bytes())).next().unwrap()]).collect()
    }

    #[test]
    fn a_requests_key_is_what_the_upstream_is_told_to_take() {
        let headers = HeaderMap::from_iter([
            (header::COOKIE, "a=1; session=7".parse().unwrap()),
            ("x-tenant".parse().unwrap(), "acme".parse().unwrap()),
        ]);
        let check = |key: HashKey, text: Option<&str>| {
            assert_eq!(
                place(&key, Some("spiffe://a/b"), &headers),
                text.map(|text| hash(text.as_bytes())),
                "{key:?}"
            );
        };
        check(HashKey::SpiffeId, Some("spiffe://a/b"));
        check(HashKey::Header("x-tenant".parse().unwrap()), Some("acme"));
        check(HashKey::Header("x-other".parse().unwrap()), None);
        check(HashKey::Cookie("session".to_owned()), Some("7"));
        check(HashKey::Cookie("sess".to_owned()), None);
    }

    #[test]
    fn each_endpoint_has_its_share_of_the_keys() {
        let homes = homes(1..=10);
        for port in 1..=10 {
            let share = homes.iter().filter(|home| **home == port).count();
            assert!((700..=1300).contains(&share), "{port}: {share}");
        }
    }

    #[test]
    fn only_the_keys_of_an_endpoint_that_goes_move() {
        let (with, without) = (homes(1..=10), homes(1..=9));
        for (before, after) in with.iter().zip(&without) {
            assert!(before == after || *before == 10, "{before} moved to {after}");
        }
    }
}
