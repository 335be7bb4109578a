//! How many requests a caller, a tenant or a whole route may make: a bucket for each value of the keys, which refills
//! evenly (GCRA) and is shared by all workers.
mod key;
mod table;

pub(crate) use key::{Subject, value};
pub use table::Known;

use self::table::{Outcome, Table, Terms};
use crate::config::RateLimitConfig;
use crate::telemetry::metrics::RateLimitMetrics;
use crate::worker::Random;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The rate limits of one route. A clone counts together with what it is one of.
#[derive(Clone, Debug, Default)]
pub struct RateLimits(Vec<Arc<RateLimit>>);

/// One rate limit. It outlives reloads that do not change it.
#[derive(Debug)]
pub struct RateLimit {
    config: RateLimitConfig,
    terms: Terms,
    /// Keeps apart, in the workers' memories, what two limits know of the same key.
    number: u64,
    table: Table,
    metrics: Arc<RateLimitMetrics>,
}

/// When, and by what memory, it is asked.
#[derive(Debug)]
pub(crate) struct Moment<'w> {
    /// On the monotonic clock.
    pub(crate) now_ns: u64,
    pub(crate) known: &'w Known,
    pub(crate) random: &'w mut Random,
}

/// What a request has spent, for the case that it is not let through after all.
#[derive(Debug)]
pub(crate) struct Admitted(Vec<u128>);

/// A limit that does not let a request through.
#[derive(Debug)]
pub(crate) struct Over<'r> {
    limit: &'r RateLimit,
    wait_ns: u64,
}

static NUMBER: AtomicU64 = AtomicU64::new(0);
const SECOND_NS: u64 = 1_000_000_000;

impl RateLimits {
    /// The limits of a route. What `kept` has spent under the same rules stays spent.
    pub fn new(
        configs: &[RateLimitConfig],
        kept: Option<&Self>,
        metrics: impl Fn(&str) -> Arc<RateLimitMetrics>,
    ) -> Self {
        let limit = |config: &RateLimitConfig| {
            let kept = kept.and_then(|kept| kept.0.iter().find(|limit| limit.config == *config));
            let make = || Arc::new(RateLimit::new(config.clone(), metrics(&config.name)));
            kept.map_or_else(make, Arc::clone)
        };
        Self(configs.iter().map(limit).collect())
    }

    /// Spends one request from each limit, or from none of them.
    pub(crate) fn admit(&self, subject: &Subject<'_>, at: &mut Moment<'_>) -> Result<Admitted, Over<'_>> {
        let keys: Vec<u128> =
            self.0.iter().map(|limit| key::place(limit.number, &limit.config.keys, subject)).collect();
        if keys.len() > 1
            && let Some(over) = self.longest_wait(&keys, at)
        {
            return Err(over.counted());
        }
        self.spend_each(&keys, at)?;
        Ok(Admitted(keys))
    }

    fn spend_each(&self, keys: &[u128], at: &mut Moment<'_>) -> Result<(), Over<'_>> {
        for (spent, (limit, key)) in self.0.iter().zip(keys).enumerate() {
            if let Err(wait_ns) = limit.spend(*key, at) {
                // Another request came between the look and this.
                self.0.iter().zip(keys).take(spent).for_each(|(limit, key)| limit.give_back(*key, at));
                return Err(Over { limit, wait_ns }.counted());
            }
        }
        Ok(())
    }

    /// Of those that would refuse, the one that does so for longest.
    fn longest_wait(&self, keys: &[u128], at: &mut Moment<'_>) -> Option<Over<'_>> {
        let waits = self.0.iter().zip(keys).map(|(limit, key)| Over { limit, wait_ns: limit.wait(*key, at) });
        waits.filter(|over| over.wait_ns > 0).max_by_key(|over| over.wait_ns)
    }

    /// Undoes what a request has spent.
    pub(crate) fn give_back(&self, admitted: &Admitted, at: &Moment<'_>) {
        self.0.iter().zip(&admitted.0).for_each(|(limit, key)| limit.give_back(*key, at));
    }

    /// Forgets some of what has refilled.
    pub(crate) fn sweep(&self, now_ns: u64) {
        self.0.iter().for_each(|limit| limit.table.sweep(now_ns));
    }
}

impl RateLimit {
    fn new(config: RateLimitConfig, metrics: Arc<RateLimitMetrics>) -> Self {
        let per_ns = u64::try_from(config.per.as_nanos()).unwrap_or(u64::MAX);
        let cost_ns = per_ns.checked_div(config.requests).unwrap_or(per_ns).max(1);
        Self {
            terms: Terms { cost_ns, held_ns: cost_ns.saturating_mul(config.burst).min(HELD_NS_MAX) },
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            table: Table::new(config.keys_max),
            metrics,
            config,
        }
    }

    /// How long it will be until a request is let through.
    fn wait(&self, key: u128, at: &Moment<'_>) -> u64 {
        match at.known.with(key, |place| place.wait(self.terms, at.now_ns)).flatten() {
            Some(wait_ns) => wait_ns,
            None => self.table.wait(key, self.terms, at.now_ns),
        }
    }

    fn spend(&self, key: u128, at: &mut Moment<'_>) -> Result<(), u64> {
        match at.known.with(key, |place| place.spend(self.terms, at.now_ns)) {
            Some(Outcome::Spent) => Ok(()),
            Some(Outcome::Over(wait_ns)) => Err(wait_ns),
            // It is not known here, or has been forgotten meanwhile.
            Some(Outcome::Gone) | None => {
                let (place, spent) = self.table.spend(key, self.terms, (at.now_ns, at.random));
                at.known.note(key, place);
                spent
            }
        }
    }

    fn give_back(&self, key: u128, at: &Moment<'_>) {
        match at.known.with(key, |place| place.give_back(self.terms)) {
            Some(true) => {}
            // What has been forgotten owes nothing.
            Some(false) | None => self.table.give_back(key, self.terms),
        }
    }
}

impl Over<'_> {
    fn counted(self) -> Self {
        self.limit.metrics.limited();
        self
    }

    /// The limit's name.
    pub(crate) fn name(&self) -> &str {
        &self.limit.config.name
    }

    /// How many requests it lets through in how many seconds.
    pub(crate) fn quota(&self) -> (u64, u64) {
        (self.limit.config.requests, self.limit.config.per.as_secs())
    }

    /// How long it will be until it lets a request through, in whole seconds.
    pub(crate) fn wait_s(&self) -> u64 {
        self.wait_ns.div_ceil(SECOND_NS).max(1)
    }
}

/// The most that a bucket holds, in time: some hundred and fifty years, so that no sum of it and of the clock overflows.
const HELD_NS_MAX: u64 = u64::MAX / 4;

#[cfg(test)]
mod tests;
