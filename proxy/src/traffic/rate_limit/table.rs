//! Where the buckets of one limit are. All workers share the table; each remembers besides which buckets it has met, so
//! that a request whose key is known takes no lock.
//!
//! A bucket that the table forgets is marked, so that whoever still remembers it goes back to the table: no key ever has
//! two buckets.
use crate::worker::Random;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a request costs and what a bucket holds, in the time that it takes to refill.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) cost_ns: u64,
    pub(super) held_ns: u64,
}

/// The moment, on the monotonic clock, at which all that was spent is refilled; or [`GONE`].
#[derive(Debug)]
pub(super) struct Place(AtomicU64);

/// The table has forgotten the place.
const GONE: u64 = u64::MAX;

/// What came of an attempt to spend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Spent,
    /// Not before so many nanoseconds.
    Over(u64),
    Gone,
}

impl Place {
    pub(super) fn spend(&self, terms: Terms, now_ns: u64) -> Outcome {
        let mut refilled_ns = self.0.load(Ordering::Relaxed);
        loop {
            if refilled_ns == GONE {
                return Outcome::Gone;
            }
            let next = match terms.after_one(refilled_ns, now_ns) {
                Ok(next) => next,
                Err(wait_ns) => return Outcome::Over(wait_ns),
            };
            let swapped =
                self.0.compare_exchange_weak(refilled_ns, next, Ordering::Relaxed, Ordering::Relaxed);
            match swapped {
                Ok(_) => return Outcome::Spent,
                Err(other) => refilled_ns = other,
            }
        }
    }

    /// How long until something may be spent; `None` when it is gone.
    pub(super) fn wait(&self, terms: Terms, now_ns: u64) -> Option<u64> {
        match self.0.load(Ordering::Relaxed) {
            GONE => None,
            refilled_ns => Some(terms.after_one(refilled_ns, now_ns).err().unwrap_or(0)),
        }
    }

    /// Whether it was there to be given something back.
    pub(super) fn give_back(&self, terms: Terms) -> bool {
        let less =
            |refilled_ns: u64| (refilled_ns != GONE).then(|| refilled_ns.saturating_sub(terms.cost_ns));
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    fn debt_until_ns(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Marks it as forgotten if nothing is lost by that.
    fn retire_refilled(&self, now_ns: u64) -> bool {
        let gone = |refilled_ns: u64| (refilled_ns <= now_ns).then_some(GONE);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, gone).is_ok()
    }
}

impl Terms {
    /// When all is refilled after one more request, or how long that request would have to wait.
    fn after_one(self, refilled_ns: u64, now_ns: u64) -> Result<u64, u64> {
        let next = refilled_ns.max(now_ns).saturating_add(self.cost_ns);
        match next.saturating_sub(now_ns.saturating_add(self.held_ns)) {
            0 => Ok(next),
            wait_ns => Err(wait_ns),
        }
    }
}

/// The places of all keys that have spent something.
#[derive(Debug)]
pub(super) struct Table {
    shards: Box<[Mutex<Shard>]>,
    places_max: usize,
    /// Which shard is swept next.
    turn: AtomicUsize,
}

#[derive(Debug, Default)]
struct Shard {
    index: HashMap<u128, usize>,
    /// In a list, so that lots can be drawn.
    places: Vec<(u128, Arc<Place>)>,
}

impl Table {
    pub(super) fn new(places_max: usize) -> Self {
        let shards = if places_max < SHARDED_FROM { 1 } else { SHARDS };
        Self {
            shards: std::iter::repeat_with(Mutex::default).take(shards).collect(),
            places_max: places_max.checked_div(shards).unwrap_or(1).max(1),
            turn: AtomicUsize::new(0),
        }
    }

    /// Spends from a key's place, which is made if there is none.
    pub(super) fn spend(
        &self,
        key: u128,
        terms: Terms,
        (now_ns, random): (u64, &mut Random),
    ) -> (Arc<Place>, Result<(), u64>) {
        let Some(mut shard) = self.shard(key) else {
            return (Arc::new(Place(AtomicU64::new(GONE))), Err(terms.cost_ns));
        };
        let place = match shard.find(key) {
            Some(place) => Arc::clone(place),
            None => shard.make(key, self.places_max, (now_ns, random)),
        };
        let spent = match place.spend(terms, now_ns) {
            Outcome::Spent => Ok(()),
            Outcome::Over(wait_ns) => Err(wait_ns),
            // Places are forgotten under the lock that is held here.
            Outcome::Gone => Err(terms.cost_ns),
        };
        (place, spent)
    }

    /// How long until something may be spent from a key's place.
    pub(super) fn wait(&self, key: u128, terms: Terms, now_ns: u64) -> u64 {
        let shard = self.shard(key);
        let place = shard.as_ref().and_then(|shard| shard.find(key));
        place.and_then(|place| place.wait(terms, now_ns)).unwrap_or(0)
    }

    pub(super) fn give_back(&self, key: u128, terms: Terms) {
        if let Some(place) = self.shard(key).as_ref().and_then(|shard| shard.find(key)) {
            place.give_back(terms);
        }
    }

    /// Forgets what has refilled, of a quarter of the table at a time.
    pub(super) fn sweep(&self, now_ns: u64) {
        for _ in 0..self.shards.len().div_ceil(SWEEPS) {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            let shard = turn.checked_rem(self.shards.len()).and_then(|turn| self.shards.get(turn));
            if let Some(shard) = shard {
                lock(shard).sweep(now_ns);
            }
        }
    }

    fn shard(&self, key: u128) -> Option<MutexGuard<'_, Shard>> {
        let number = key.checked_rem(self.shards.len() as u128).and_then(|rest| usize::try_from(rest).ok());
        self.shards.get(number?).map(lock)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).places.len()).sum()
    }
}

impl Shard {
    fn find(&self, key: u128) -> Option<&Arc<Place>> {
        self.index.get(&key).and_then(|at| self.places.get(*at)).map(|(_, place)| place)
    }

    fn make(&mut self, key: u128, places_max: usize, (now_ns, random): (u64, &mut Random)) -> Arc<Place> {
        while self.places.len() >= places_max {
            self.forget_one(now_ns, random);
        }
        let place = Arc::new(Place(AtomicU64::new(0)));
        self.index.insert(key, self.places.len());
        self.places.push((key, Arc::clone(&place)));
        place
    }

    /// Of a few drawn by lot, the one that owes least: whoever brings many keys, each of which has spent a little, pushes
    /// out its own and none that is deep in debt.
    fn forget_one(&mut self, now_ns: u64, random: &mut Random) {
        let mut least: Option<(usize, u64)> = None;
        for _ in 0..LOTS {
            let lot = random.next_u64().checked_rem(self.places.len() as u64).unwrap_or(0);
            let Ok(lot) = usize::try_from(lot) else { continue };
            let Some((_, place)) = self.places.get(lot) else { continue };
            let debt_ns = place.debt_until_ns().saturating_sub(now_ns);
            if least.is_none_or(|(_, smallest)| debt_ns < smallest) {
                least = Some((lot, debt_ns));
            }
        }
        let (at, _) = least.unwrap_or_default();
        if let Some((_, place)) = self.places.get(at) {
            place.0.store(GONE, Ordering::Relaxed);
        }
        self.remove(at);
    }

    fn remove(&mut self, at: usize) {
        if at >= self.places.len() {
            return;
        }
        let (key, _) = self.places.swap_remove(at);
        self.index.remove(&key);
        if let Some((moved, _)) = self.places.get(at) {
            self.index.insert(*moved, at);
        }
    }

    fn sweep(&mut self, now_ns: u64) {
        for at in (0..self.places.len()).rev() {
            if self.places.get(at).is_some_and(|(_, place)| place.retire_refilled(now_ns)) {
                self.remove(at);
            }
        }
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The places that one worker has met, of all limits.
#[derive(Debug, Default)]
pub struct Known(RefCell<HashMap<u128, Arc<Place>>>);

impl Known {
    pub(super) fn with<T>(&self, key: u128, ask: impl FnOnce(&Place) -> T) -> Option<T> {
        self.0.borrow().get(&key).map(|place| ask(place))
    }

    pub(super) fn note(&self, key: u128, place: Arc<Place>) {
        let mut known = self.0.borrow_mut();
        // Nothing is lost by it: those that are in use come back with their next request.
        if known.len() >= KNOWN_MAX && !known.contains_key(&key) {
            known.clear();
        }
        known.insert(key, place);
    }

    /// Lets go of what the table has forgotten, and of what nobody else holds.
    pub(crate) fn sweep(&self) {
        self.0.borrow_mut().retain(|_, place| place.debt_until_ns() != GONE && Arc::strong_count(place) > 1);
    }
}

/// How many places a worker remembers.
const KNOWN_MAX: usize = 10_000;
/// Smaller tables are one shard, so that their bound is exact.
const SHARDED_FROM: usize = 1_024;
const SHARDS: usize = 16;
/// In how many sweeps a table is looked at once.
const SWEEPS: usize = 4;
/// How many lots are drawn to forget one.
const LOTS: usize = 8;
