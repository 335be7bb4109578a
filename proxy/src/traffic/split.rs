//! Several upstreams behind one route, each with its share. One of them is chosen before policy is asked, so that what is
//! decided on, recorded and used is the same; nothing later chooses again.
use super::ring;
use crate::config::{HashKey, SplitConfig};
use http::HeaderMap;

/// The one of a route, with what stands for each of its upstreams.
#[derive(Clone, Debug)]
pub struct Split<T> {
    key: Option<HashKey>,
    /// Each with the sum of the weights up to and with its own.
    sides: Vec<(u64, T)>,
}

impl<T> Split<T> {
    /// With what stands for each of the upstreams in turn.
    pub(crate) fn new(config: &SplitConfig, sides: Vec<T>) -> Self {
        let mut sum = 0_u64;
        let sums = config.sides.iter().map(|(_, weight)| {
            sum = sum.saturating_add(*weight);
            sum
        });
        Self { key: config.key.clone(), sides: sums.zip(sides).collect() }
    }

    /// All of them.
    pub(crate) fn sides(&self) -> impl Iterator<Item = &T> {
        self.sides.iter().map(|(_, side)| side)
    }

    /// The same with others in their places.
    pub(crate) fn map(&self, mut next: impl FnMut(&T) -> T) -> Self {
        let sides = self.sides.iter().map(|(sum, side)| (*sum, next(side))).collect();
        Self { key: self.key.clone(), sides }
    }

    /// The one for a request or stream of `caller`: by its key, or else by `lot`.
    pub(crate) fn choose(&self, (caller, headers): (Option<&str>, &HeaderMap), lot: u64) -> Option<&T> {
        let text = self.key.as_ref().and_then(|key| ring::text(key, caller, headers));
        let keyed = text.map(place);
        let total = self.sides.last().map_or(0, |(sum, _)| *sum);
        // As far along the weights as the number is along all of 64 bits: a remainder would favour the first.
        let at = u128::from(keyed.unwrap_or(lot)).wrapping_mul(u128::from(total)) >> u64::BITS;
        let index = self.sides.partition_point(|(sum, _)| u128::from(*sum) <= at);
        self.sides.get(index).map(|(_, side)| side)
    }
}

/// Where a key stands. Not where it stands on a ring: the callers of one side would all be neighbours there, and come to the
/// same few endpoints.
fn place(key: &[u8]) -> u64 {
    ring::hash(&[b"split ".as_slice(), key].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn split(weights: &[u64], key: Option<HashKey>) -> Split<usize> {
        let sides = weights.iter().map(|weight| (String::new(), *weight)).collect();
        Split::new(&SplitConfig { sides, key }, (0..weights.len()).collect())
    }

    /// How often each of them is chosen by as many lots as the weights are together, evenly spread.
    fn check(weights: &[u64]) {
        let (split, total) = (split(weights, None), weights.iter().sum::<u64>());
        let mut chosen = vec![0; weights.len()];
        for number in 0..total {
            let lot = u64::try_from((u128::from(number) << 64).div_ceil(u128::from(total))).unwrap();
            chosen[*split.choose((None, &HeaderMap::new()), lot).unwrap()] += 1;
        }
        assert_eq!(chosen, weights);
        assert_eq!(
            split.choose((None, &HeaderMap::new()), u64::MAX),
            weights.iter().rposition(|w| *w > 0).as_ref()
        );
    }

    #[test]
    fn each_has_just_the_share_that_its_weight_is_of_all() {
        check(&[90, 10]);
        check(&[1, 1, 1]);
        check(&[0, 3, 0, 4, 0]);
        check(&[1, 0]);
        check(&[0, 1]);
        check(&[1_000_000, 7]);
    }

    fn homes(weights: &[u64]) -> BTreeMap<String, usize> {
        let split = split(weights, Some(HashKey::SpiffeId));
        let callers = (0..10_000).map(|number| format!("spiffe://example.org/{number}"));
        // Whatever the lot is.
        let home = |caller: &str, lot| *split.choose((Some(caller), &HeaderMap::new()), lot).unwrap();
        let homes = callers.map(|caller| {
            assert_eq!(home(&caller, 0), home(&caller, u64::MAX), "{caller}");
            let home = home(&caller, 0);
            (caller, home)
        });
        homes.collect()
    }

    #[test]
    fn a_caller_keeps_its_side_and_only_as_many_change_it_as_weights_do() {
        let (before, after) = (homes(&[90, 10]), homes(&[80, 20]));
        let on_second = |homes: &BTreeMap<_, usize>| homes.values().filter(|home| **home == 1).count();
        assert!((850..1150).contains(&on_second(&before)), "{}", on_second(&before));
        assert!((1850..2150).contains(&on_second(&after)), "{}", on_second(&after));
        for (caller, home) in &before {
            assert!(*home <= after[caller], "{caller} has come back to the first");
        }
    }

    #[test]
    fn who_has_no_key_is_sent_by_lot() {
        let split = split(&[1, 1], Some(HashKey::Cookie("session".to_owned())));
        let bare = HeaderMap::new();
        assert_eq!([0, u64::MAX].map(|lot| *split.choose((None, &bare), lot).unwrap()), [0, 1]);
        let headers = HeaderMap::from_iter([(http::header::COOKIE, "session=7".parse().unwrap())]);
        let [first, second] = [0, u64::MAX].map(|lot| split.choose((None, &headers), lot).unwrap());
        assert_eq!(first, second);
        // Those who prove no name are many, not one.
        let split = self::split(&[1, 1], Some(HashKey::SpiffeId));
        assert_eq!([0, u64::MAX].map(|lot| *split.choose((None, &bare), lot).unwrap()), [0, 1]);
    }

    #[test]
    fn the_callers_of_one_side_are_spread_over_a_ring_as_all_are() {
        let callers = homes(&[1, 1]);
        let callers = callers.iter().filter(|(_, home)| **home == 0).map(|(caller, _)| caller);
        let upper = callers.filter(|caller| ring::hash(caller.as_bytes()) > u64::MAX / 2).count();
        assert!((2250..2750).contains(&upper), "{upper}");
    }
}
