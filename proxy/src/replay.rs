//! Which proofs of possession were used lately, so that a copy of a request is not a request (RFC 9449 §11.1).
//!
//! One memory for all workers of the process. What brings no proof never touches it; what does locks one of many
//! shards for as long as a look into a table takes. Other processes have memories of their own: a copy that is sent to
//! another sidecar within the minute is found by nobody, which is what binding to certificates is there for.
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, PoisonError};

/// Proofs that are remembered at one time: at 60 s each, more than 8000 a second, in about 50 MiB.
pub(crate) const PROOFS_MAX: usize = 1 << 20;

const SHARDS: usize = 64;
/// A shard that has grown to this is looked through for what has expired.
const SWEEP_FROM: usize = 256;

/// What is known of a proof.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replay {
    /// It was not used before, and is remembered from now on.
    New,
    /// It was used before.
    Seen,
    /// It cannot be remembered, so it must not be used.
    NoRoom,
}

/// The proofs that were used lately.
#[derive(Debug)]
pub struct Replays {
    shards: Vec<Mutex<Shard>>,
    shard_max: usize,
}

#[derive(Debug, Default)]
struct Shard {
    /// By half of a digest, which nobody can aim at but to have his own proofs refused; until which second.
    used: HashMap<u128, u64>,
    swept_at_s: u64,
    sweep_from: usize,
}

impl Default for Replays {
    fn default() -> Self {
        Self::new(PROOFS_MAX)
    }
}

impl Replays {
    /// Room for about so many proofs, spread evenly over the shards.
    pub(crate) fn new(proofs_max: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            shard_max: proofs_max.div_ceil(SHARDS).max(1),
        }
    }

    /// Uses a proof up, by its digest, which is remembered to the end of the second `until_s`.
    pub(crate) fn note(&self, digest: &[u8; 32], until_s: u64, now_s: u64) -> Replay {
        let [.., last] = digest;
        let key = digest.first_chunk().map_or(0, |half| u128::from_be_bytes(*half));
        let Some(shard) = self.shards.get(usize::from(*last) % SHARDS) else { return Replay::NoRoom };
        // What a panic leaves behind is a table that is whole: it is changed in single steps.
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        shard.note(key, until_s, now_s, self.shard_max)
    }
}

impl Shard {
    fn note(&mut self, key: u128, until_s: u64, now_s: u64, entries_max: usize) -> Replay {
        if self.used.len() >= entries_max.min(self.sweep_from.max(SWEEP_FROM)) {
            self.sweep(now_s);
        }
        let is_full = self.used.len() >= entries_max;
        match self.used.entry(key) {
            Entry::Occupied(mut known) if *known.get() < now_s => {
                known.insert(until_s);
                Replay::New
            }
            Entry::Occupied(_) => Replay::Seen,
            Entry::Vacant(_) if is_full => Replay::NoRoom,
            Entry::Vacant(place) => {
                place.insert(until_s);
                Replay::New
            }
        }
    }

    /// Forgets what has expired: at most once a second, so that a full table costs no more than one that is not.
    fn sweep(&mut self, now_s: u64) {
        if self.swept_at_s == now_s {
            return;
        }
        self.swept_at_s = now_s;
        self.used.retain(|_, until_s| now_s <= *until_s);
        self.sweep_from = self.used.len().saturating_mul(2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn digest(number: u32) -> [u8; 32] {
        postern_audit::hash::sha256(&number.to_be_bytes())
    }

    #[test]
    fn a_proof_is_new_once_for_as_long_as_a_copy_would_be_taken() {
        let replays = Replays::new(1000);
        assert_eq!(replays.note(&digest(1), 160, 100), Replay::New);
        assert_eq!(replays.note(&digest(1), 160, 100), Replay::Seen);
        assert_eq!(replays.note(&digest(1), 160, 160), Replay::Seen);
        assert_eq!(replays.note(&digest(2), 160, 100), Replay::New);
        // No copy of the first is accepted any more; another proof of that digest is another one.
        assert_eq!(replays.note(&digest(1), 221, 161), Replay::New);
        assert_eq!(replays.note(&digest(1), 221, 161), Replay::Seen);
    }

    #[test]
    fn a_full_memory_takes_nothing_new_and_forgets_nothing_before_its_time() {
        let replays = Replays::new(64);
        let noted: Vec<u32> =
            (0..2000).filter(|n| replays.note(&digest(*n), 160, 100) == Replay::New).collect();
        assert_eq!(noted.len(), 64, "each shard has one place, and somebody came for each");
        assert!(noted.iter().all(|n| replays.note(&digest(*n), 160, 101) == Replay::Seen));
        assert_eq!(replays.note(&digest(5000), 160, 160), Replay::NoRoom);
        assert_eq!(replays.note(&digest(5000), 221, 161), Replay::New);
    }

    #[test]
    fn what_has_expired_makes_room_before_the_memory_is_full() {
        let replays = Replays::new(PROOFS_MAX);
        for second in 0..200 {
            for n in 0..400 {
                assert_eq!(replays.note(&digest(second * 400 + n), 0, u64::from(second) + 1), Replay::New);
            }
        }
        let held: usize = replays.shards.iter().map(|shard| shard.lock().unwrap().used.len()).sum();
        assert!(held <= SHARDS * (SWEEP_FROM + 1), "{held} are remembered");
    }

    #[test]
    fn of_many_workers_with_one_proof_one_may_use_it() {
        let replays = Replays::new(10_000);
        let used: usize = std::thread::scope(|scope| {
            let worker = || (0..1000).filter(|n| replays.note(&digest(*n), 160, 100) == Replay::New).count();
            let workers: Vec<_> = (0..4).map(|_| scope.spawn(worker)).collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        assert_eq!(used, 1000);
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            rng_seed: proptest::test_runner::RngSeed::Fixed(0x9449),
            ..ProptestConfig::with_cases(256)
        })]

        #[test]
        fn no_proof_is_ever_new_twice_in_its_time(
            steps in prop::collection::vec((0u32..40, 0u64..3), 1..400), entries_max in 1usize..200
        ) {
            let replays = Replays::new(entries_max);
            let (mut now_s, mut until) = (1_000, HashMap::<u32, u64>::new());
            for (number, later) in steps {
                now_s += later;
                let is_in_its_time = until.get(&number).is_some_and(|until_s| now_s <= *until_s);
                match replays.note(&digest(number), now_s + 10, now_s) {
                    Replay::New => {
                        prop_assert!(!is_in_its_time);
                        until.insert(number, now_s + 10);
                    }
                    Replay::Seen => prop_assert!(is_in_its_time),
                    Replay::NoRoom => prop_assert!(!is_in_its_time),
                }
            }
        }
    }
}
