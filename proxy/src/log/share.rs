//! How much of a worker's ring each principal holds: one caller must not be able to fill it and so close the
//! door to all others.
use std::collections::HashMap;

/// Principals told apart at once; beyond it they share one place.
const PRINCIPALS_MAX: usize = 4096;
const EVERYBODY_ELSE: u64 = 0;

/// Who an exchange is counted against: a caller's identity, or its source where it has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ShareKey(u64);

impl ShareKey {
    /// The key of an identity or a source prefix.
    pub fn of(who: &str) -> Self {
        let hash = who.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self(hash.max(EVERYBODY_ELSE + 1))
    }
}

#[derive(Debug, Default)]
struct Held {
    reserved: u64,
    /// Filed in the epoch, and in the one before it.
    filed: u64,
    filed_before: u64,
    epoch: u64,
}

/// What each principal holds, in words of the ring. Filed frames are counted by epochs: an epoch is over when
/// everything filed before it is on disk, so that the count is never too low.
#[derive(Debug, Default)]
pub(super) struct Shares {
    held: HashMap<u64, Held>,
    epoch: u64,
    /// The epoch is over when the ring's tail gets here.
    until: u64,
}

impl Shares {
    /// Words that `key` holds, given where the ring stands.
    pub(super) fn held(&mut self, key: ShareKey, tail: u64, head: u64) -> u64 {
        if tail == head {
            // Everything is on disk.
            self.epoch += 2;
            self.until = head + 1;
        } else if tail >= self.until {
            self.epoch += 1;
            self.until = head + 1;
        }
        let held = self.entry(key);
        held.reserved + held.filed + held.filed_before
    }

    pub(super) fn reserve(&mut self, key: ShareKey, words: u64) {
        self.entry(key).reserved += words;
    }

    /// Gives `reserved` words back, of which `filed` were used.
    pub(super) fn settle(&mut self, key: ShareKey, reserved: u64, filed: u64) {
        let held = self.entry(key);
        held.reserved = held.reserved.saturating_sub(reserved);
        held.filed += filed;
    }

    fn entry(&mut self, key: ShareKey) -> &mut Held {
        let epoch = self.epoch;
        let mut key = key.0;
        if self.held.len() >= PRINCIPALS_MAX && !self.held.contains_key(&key) {
            self.held.retain(|_, held| held.reserved > 0 || held.epoch + 1 >= epoch);
            if self.held.len() >= PRINCIPALS_MAX {
                key = EVERYBODY_ELSE;
            }
        }
        let held = self.held.entry(key).or_default();
        if held.epoch != epoch {
            held.filed_before = if held.epoch + 1 == epoch { held.filed } else { 0 };
            held.filed = 0;
            held.epoch = epoch;
        }
        held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_filed_is_held_until_it_is_on_disk() {
        let (mut shares, web) = (Shares::default(), ShareKey::of("web"));
        assert_eq!(shares.held(web, 0, 0), 0);
        shares.reserve(web, 100);
        assert_eq!(shares.held(web, 0, 0), 100);
        shares.settle(web, 100, 30);
        assert_eq!(shares.held(web, 0, 30), 30);
        assert_eq!(shares.held(web, 20, 40), 30);
        assert_eq!(shares.held(web, 41, 80), 0);
        assert_eq!(shares.held(web, 100, 120), 0);
        shares.settle(web, 0, 7);
        assert_eq!(shares.held(web, 120, 120), 0, "nothing is left in the ring");
    }

    #[test]
    fn principals_do_not_count_against_each_other_until_there_are_too_many() {
        let mut shares = Shares::default();
        for at in 0..PRINCIPALS_MAX {
            shares.reserve(ShareKey::of(&at.to_string()), 1);
        }
        assert_eq!(shares.held(ShareKey::of("7"), 0, 0), 1);
        shares.reserve(ShareKey::of("late"), 5);
        assert_eq!(shares.held(ShareKey::of("later"), 0, 0), 5);
        assert!(shares.held.len() <= PRINCIPALS_MAX + 1);
    }
}
