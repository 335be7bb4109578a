//! Endpoints that fail more than the others are left out for a while.
//!
//! What fails so often in a row, or succeeds clearly less often than its peers, is ejected; longer each time. Then one
//! request tries it: if that succeeds the endpoint returns, at first for a part of its share; if not it is ejected again.
//! Never more than a share of the endpoints is out, and never the last one that is left beside those that are ill: where
//! all fail it is the service that fails, and choosing does not help.
use super::endpoint::{Endpoint, Load};
use crate::config::OutlierConfig;
use crate::worker::Random;
use http::StatusCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// What an attempt says of its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It answered.
    Success,
    /// It did not, or with 502, 503 or 504.
    Failure,
}

impl Outcome {
    /// What an answer says.
    pub(crate) fn of(status: StatusCode) -> Self {
        match status.as_u16() {
            502..=504 => Self::Failure,
            _ => Self::Success,
        }
    }
}

/// How one endpoint stands.
#[derive(Debug, Default)]
pub(super) struct Standing {
    failures_in_row: AtomicU32,
    /// Until when it is out, on the monotonic clock; 0 where it is in.
    ejected_until_ns: AtomicU64,
    /// How often it was ejected of late.
    ejections: AtomicU32,
    is_tried: AtomicBool,
    /// Since when it is back; 0 where it never was out.
    returned_ns: AtomicU64,
    /// In the interval that runs.
    successes: AtomicU32,
    failures: AtomicU32,
}

/// Where an endpoint stands in the choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    In,
    /// It came back so long ago.
    Returned {
        since_ns: u64,
    },
    /// One request may try it.
    OnTrial,
    Out,
}

impl Standing {
    pub(super) fn place(&self, now_ns: u64) -> Place {
        let until_ns = self.ejected_until_ns.load(Ordering::Relaxed);
        if until_ns != 0 {
            let is_free = until_ns <= now_ns && !self.is_tried.load(Ordering::Relaxed);
            return if is_free { Place::OnTrial } else { Place::Out };
        }
        match self.returned_ns.load(Ordering::Relaxed) {
            0 => Place::In,
            returned_ns => Place::Returned { since_ns: now_ns.saturating_sub(returned_ns) },
        }
    }

    /// Whether it is out, or on trial.
    pub(super) fn is_ejected(&self) -> bool {
        self.ejected_until_ns.load(Ordering::Relaxed) != 0
    }

    /// Whether the attempt that begins is the one that tries it.
    pub(super) fn begin_trial(&self, now_ns: u64) -> bool {
        self.place(now_ns) == Place::OnTrial && !self.is_tried.swap(true, Ordering::Relaxed)
    }

    pub(super) fn end_trial(&self) {
        self.is_tried.store(false, Ordering::Relaxed);
    }

    fn come_back(&self, now_ns: u64) {
        self.returned_ns.store(now_ns.max(1), Ordering::Relaxed);
        self.ejected_until_ns.store(0, Ordering::Relaxed);
    }

    /// Counts an outcome, and how many failures have come in a row with it.
    fn count(&self, outcome: Outcome) -> u32 {
        match outcome {
            Outcome::Success => {
                self.successes.fetch_add(1, Ordering::Relaxed);
                self.failures_in_row.store(0, Ordering::Relaxed);
                0
            }
            Outcome::Failure => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                self.failures_in_row.fetch_add(1, Ordering::Relaxed).saturating_add(1)
            }
        }
    }

    /// What the interval brought: successes and all. Another one begins.
    fn turn_interval(&self) -> (u32, u32) {
        let successes = self.successes.swap(0, Ordering::Relaxed);
        (successes, successes.saturating_add(self.failures.swap(0, Ordering::Relaxed)))
    }
}

/// The rule of one upstream.
#[derive(Debug)]
pub struct Outliers {
    config: OutlierConfig,
    next_look_ns: AtomicU64,
}

/// When, and by what chance.
#[derive(Debug)]
pub(crate) struct Moment<'r> {
    pub(crate) now_ns: u64,
    pub(crate) random: &'r mut Random,
}

/// What became of an endpoint by an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    None,
    Ejected,
    Returned,
}

impl Outliers {
    /// Nobody is out yet.
    pub fn new(config: OutlierConfig) -> Self {
        Self { config, next_look_ns: AtomicU64::new(0) }
    }

    /// Takes an attempt's outcome into account. `all` are the endpoints of the upstream.
    pub(crate) fn note(
        &self,
        load: &mut Load,
        outcome: Outcome,
        moment: &mut Moment<'_>,
        all: &[Arc<Endpoint>],
    ) -> Change {
        let endpoint = Arc::clone(&load.endpoint);
        let in_row = endpoint.standing.count(outcome);
        let is_trial = std::mem::take(&mut load.is_trial);
        let change = match (is_trial, outcome) {
            (true, Outcome::Success) => {
                endpoint.standing.come_back(moment.now_ns);
                Change::Returned
            }
            (true, Outcome::Failure) => self.eject(&endpoint, moment),
            // What was sent before it was ejected, or because nothing else is left, changes nothing.
            (false, _) if endpoint.standing.is_ejected() => Change::None,
            (false, _)
                if in_row >= self.config.consecutive_failures
                    && self.may_eject(&endpoint, moment.now_ns, all) =>
            {
                self.eject(&endpoint, moment)
            }
            (false, _) => Change::None,
        };
        if is_trial {
            endpoint.standing.end_trial();
        }
        change
    }

    /// Once an interval: whose share of successes lies far below that of its peers is ejected. Gives back how many were.
    pub(crate) fn look(&self, moment: &mut Moment<'_>, all: &[Arc<Endpoint>]) -> usize {
        let now_ns = moment.now_ns;
        let due_ns = self.next_look_ns.load(Ordering::Relaxed);
        let next_ns = now_ns.saturating_add(nanoseconds(self.config.interval));
        let is_mine = due_ns <= now_ns
            && self
                .next_look_ns
                .compare_exchange(due_ns, next_ns, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if !is_mine {
            return 0;
        }
        let mut judged = Vec::new();
        for endpoint in all {
            let (successes, attempts) = endpoint.standing.turn_interval();
            if endpoint.standing.is_ejected() {
                continue;
            }
            // A whole interval without an ejection takes one of the earlier ones off its account.
            let forgiven = |times: u32| times.checked_sub(1);
            let forgive =
                endpoint.standing.ejections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, forgiven);
            forgive.unwrap_or_default();
            if attempts >= self.config.requests_min {
                judged.push((endpoint, f64::from(successes) / f64::from(attempts)));
            }
        }
        if judged.len() < ENDPOINTS_MIN {
            return 0;
        }
        let limit = limit(judged.iter().map(|(_, rate)| *rate));
        let mut ejected: usize = 0;
        for (endpoint, _) in judged.into_iter().filter(|(_, rate)| *rate < limit) {
            if self.may_eject(endpoint, now_ns, all) {
                self.eject(endpoint, moment);
                ejected = ejected.saturating_add(1);
            }
        }
        ejected
    }

    fn eject(&self, endpoint: &Endpoint, moment: &mut Moment<'_>) -> Change {
        let standing = &endpoint.standing;
        let times = standing.ejections.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let out_for = self.config.ejection.saturating_mul(times).min(self.config.ejection_max);
        // Up to a tenth more, so that those that went together do not come back together.
        let more_ns = moment.random.next_u64() % (nanoseconds(out_for) / 10).max(1);
        let until_ns = moment.now_ns.saturating_add(nanoseconds(out_for)).saturating_add(more_ns);
        standing.failures_in_row.store(0, Ordering::Relaxed);
        standing.ejected_until_ns.store(until_ns.max(1), Ordering::Relaxed);
        Change::Ejected
    }

    /// Whether this one may go too.
    fn may_eject(&self, endpoint: &Arc<Endpoint>, now_ns: u64, all: &[Arc<Endpoint>]) -> bool {
        let others = || all.iter().filter(|other| !Arc::ptr_eq(other, endpoint));
        let is_out = |other: &&Arc<Endpoint>| self.counts_as_out(other, now_ns);
        let ejected = others().filter(is_out).count().saturating_add(1);
        // Those that are ill are not ejected, but they are no help either.
        others().any(|other| !is_out(&other) && !other.health.is_down())
            && ejected.saturating_mul(100) <= all.len().saturating_mul(self.config.ejected_percent_max)
    }

    /// Whether an endpoint keeps others from being ejected. One whose time has passed is tried soon, if it is asked at all:
    /// what comes later by its priority may be out for ever, and the others are not to be kept in for that.
    fn counts_as_out(&self, endpoint: &Endpoint, now_ns: u64) -> bool {
        let standing = &endpoint.standing;
        let until_ns = standing.ejected_until_ns.load(Ordering::Relaxed);
        let awaited_until_ns = until_ns.saturating_add(nanoseconds(self.config.interval));
        until_ns != 0 && (now_ns < awaited_until_ns || standing.is_tried.load(Ordering::Relaxed))
    }
}

/// Of fewer endpoints nobody can say what is usual.
const ENDPOINTS_MIN: usize = 5;
/// How many standard deviations below the mean is too few; so far below lie three in a hundred of what is usual.
const DEVIATIONS: f64 = 1.9;

/// The share of successes below which an endpoint is an outlier.
fn limit(rates: impl Iterator<Item = f64> + Clone) -> f64 {
    let (mut count, mut sum) = (0.0_f64, 0.0);
    rates.clone().for_each(|rate| {
        count += 1.0;
        sum += rate;
    });
    let mean = sum / count;
    let variance = rates.map(|rate| (rate - mean) * (rate - mean)).sum::<f64>() / count;
    mean - DEVIATIONS * variance.sqrt()
}

fn nanoseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
