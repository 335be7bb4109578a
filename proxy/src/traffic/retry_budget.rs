//! How many further attempts an upstream may be made to bear: a share of the exchanges that it has in hand, and a few a
//! second besides, over all workers. Without it, retries multiply the load of a service at the moment when it fails.
use super::circuit_breaker::Gauge;
use crate::config::RetryBudgetConfig;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The budget of one upstream. It outlives reloads, which change its size.
#[derive(Debug)]
pub struct RetryBudget {
    percent: AtomicUsize,
    per_second: AtomicU64,
    /// Attempts under way that are paid from the share.
    retrying: AtomicUsize,
    /// The moment, on the monotonic clock, at which all that was spent by the second is refilled.
    refilled_ns: AtomicU64,
    denied: AtomicU64,
}

const SECOND_NS: u64 = 1_000_000_000;

impl RetryBudget {
    /// Nothing is spent yet.
    pub fn new(config: &RetryBudgetConfig) -> Self {
        let budget = Self {
            percent: AtomicUsize::new(0),
            per_second: AtomicU64::new(0),
            retrying: AtomicUsize::new(0),
            refilled_ns: AtomicU64::new(0),
            denied: AtomicU64::new(0),
        };
        budget.resize(config);
        budget
    }

    /// Another size.
    pub fn resize(&self, config: &RetryBudgetConfig) {
        self.percent.store(config.percent, Ordering::Relaxed);
        self.per_second.store(config.per_second, Ordering::Relaxed);
    }

    /// Pays for one more attempt, if there is anything left. What is paid from the share comes back when the attempt has
    /// ended.
    pub(crate) fn pay(self: &Arc<Self>, requests: &Gauge, now_ns: u64) -> Option<Paid> {
        let share = requests.taken().saturating_mul(self.percent.load(Ordering::Relaxed)) / 100;
        let paid = Paid(Some(Arc::clone(self)));
        if self.retrying.fetch_add(1, Ordering::Relaxed) < share {
            return Some(paid);
        }
        drop(paid);
        if self.by_the_second(now_ns) {
            return Some(Paid(None));
        }
        self.denied.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// GCRA: a second's worth may be spent at once.
    fn by_the_second(&self, now_ns: u64) -> bool {
        let Some(cost_ns) = SECOND_NS.checked_div(self.per_second.load(Ordering::Relaxed)) else {
            return false;
        };
        let spend = |refilled_ns: u64| {
            let next = refilled_ns.max(now_ns).saturating_add(cost_ns);
            (next <= now_ns.saturating_add(SECOND_NS)).then_some(next)
        };
        self.refilled_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend).is_ok()
    }

    /// How many attempts were not made for want of it.
    pub fn denied(&self) -> u64 {
        self.denied.load(Ordering::Relaxed)
    }
}

/// An attempt that was paid for, for as long as it lasts.
#[derive(Debug)]
pub(crate) struct Paid(Option<Arc<RetryBudget>>);

impl Drop for Paid {
    fn drop(&mut self) {
        if let Some(budget) = &self.0 {
            budget.retrying.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::circuit_breaker::CircuitBreaker;
    use super::*;
    use crate::config::UpstreamLimits;

    /// With so many exchanges in hand and nothing spent, so many attempts are paid for at one moment.
    fn check(active: usize, (percent, per_second): (usize, u64), paid: usize) {
        let limits = UpstreamLimits { connections_max: 1, pending_max: 1, requests_max: 1000 };
        let breaker = CircuitBreaker::new(&limits);
        let in_hand: Vec<_> = (0..active).map(|_| breaker.requests.take().unwrap()).collect();
        let budget = Arc::new(RetryBudget::new(&RetryBudgetConfig { percent, per_second }));
        let all: Vec<Paid> =
            std::iter::from_fn(|| budget.pay(&breaker.requests, SECOND_NS)).take(2000).collect();
        assert_eq!(all.len(), paid, "{percent} % of {} and {per_second}/s", in_hand.len());
        assert_eq!(budget.denied(), 1);
    }

    #[test]
    fn a_share_of_what_is_in_hand_and_some_a_second_are_paid_for() {
        check(100, (20, 10), 30);
        check(4, (20, 10), 10);
        check(5, (20, 10), 11);
        check(1000, (20, 0), 200);
        check(1000, (0, 0), 0);
        check(0, (100, 1), 1);
    }

    #[test]
    fn the_share_comes_back_with_the_end_of_an_attempt_and_the_rest_with_time() {
        let limits = UpstreamLimits { connections_max: 1, pending_max: 1, requests_max: 1000 };
        let breaker = CircuitBreaker::new(&limits);
        let _in_hand: Vec<_> = (0..5).map(|_| breaker.requests.take().unwrap()).collect();
        let budget = Arc::new(RetryBudget::new(&RetryBudgetConfig { percent: 20, per_second: 2 }));
        let pay = |now_ns| budget.pay(&breaker.requests, now_ns);
        let shared = pay(0).unwrap();
        assert!(pay(0).is_some() && pay(0).is_some() && pay(0).is_none());
        drop(shared);
        let _shared = pay(0).unwrap();
        assert!(pay(0).is_none() && pay(SECOND_NS / 2).is_some() && pay(SECOND_NS / 2).is_none());
    }
}
