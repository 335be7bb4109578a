//! How much of an upstream may be in use at one time, over all workers: exchanges, exchanges that wait for a
//! connection, and connections. Where a bound is reached load is shed at once, instead of being piled up in front of a
//! service that is already slow.
use crate::config::UpstreamLimits;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio::sync::Notify;

/// The bounds of one upstream, and how much of each is used. It outlives reloads, which change the bounds.
#[derive(Debug)]
pub struct CircuitBreaker {
    /// Tells upstreams apart for as long as the process runs.
    pub(crate) upstream: u64,
    /// Exchanges from their permit to the end of their answer.
    pub requests: Arc<Gauge>,
    /// Exchanges that wait for a connection: for one that is being made, or for a place for another one.
    pub pending: Arc<Gauge>,
    /// Open connections, also those that are being made.
    pub connections: Arc<Gauge>,
}

impl CircuitBreaker {
    /// Nothing is used yet.
    pub fn new(limits: &UpstreamLimits) -> Self {
        static UPSTREAMS: AtomicU64 = AtomicU64::new(0);
        Self {
            upstream: UPSTREAMS.fetch_add(1, Ordering::Relaxed),
            requests: Gauge::new(limits.requests_max),
            pending: Gauge::new(limits.pending_max),
            connections: Gauge::new(limits.connections_max),
        }
    }

    /// Other bounds. What is above them already is let end.
    pub fn bound(&self, limits: &UpstreamLimits) {
        self.requests.bound(limits.requests_max);
        self.pending.bound(limits.pending_max);
        self.connections.bound(limits.connections_max);
    }
}

/// How many places there are, and how many are taken.
///
/// Who waits says so and then looks for a place; who gives one back does so and then looks for somebody who waits. At
/// least one of the two has to see the other, on every machine: these four are in one order for all.
#[derive(Debug)]
pub struct Gauge {
    taken: AtomicUsize,
    places_max: AtomicUsize,
    refused: AtomicU64,
    waiting: AtomicUsize,
    freed: Notify,
}

impl Gauge {
    pub(super) fn new(places_max: usize) -> Arc<Self> {
        Arc::new(Self {
            taken: AtomicUsize::new(0),
            places_max: AtomicUsize::new(places_max),
            refused: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            freed: Notify::new(),
        })
    }

    pub(super) fn bound(&self, places_max: usize) {
        let before = self.places_max.swap(places_max, Ordering::Relaxed);
        // Each of those who wait looks for itself whether there is room now.
        (before..places_max).for_each(|_| self.freed.notify_one());
    }

    /// Takes a place, if one is left.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Place> {
        let places_max = self.places_max.load(Ordering::Relaxed);
        let one_more = |taken: usize| (taken < places_max).then_some(taken.saturating_add(1));
        let taken = self.taken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more);
        taken.is_ok().then(|| Place(Arc::clone(self)))
    }

    /// Takes a place, or counts that there was none.
    pub(crate) fn take_or_refuse(self: &Arc<Self>) -> Option<Place> {
        let place = self.take();
        if place.is_none() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        place
    }

    /// Takes a place as soon as there is one. Who gives up waiting drops the future.
    pub(crate) async fn wait(self: &Arc<Self>) -> Place {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let waiting = Waiting(self);
        loop {
            // Made before the look: what is freed between the two is not missed.
            let freed = self.freed.notified();
            if let Some(place) = self.take() {
                drop(waiting);
                return place;
            }
            freed.await;
        }
    }

    /// How many places are taken.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Whether no place is left.
    pub(crate) fn is_full(&self) -> bool {
        self.taken() >= self.places_max.load(Ordering::Relaxed)
    }

    /// How often there was no place.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Whether somebody waits for a place.
    pub(crate) fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }
}

struct Waiting<'g>(&'g Gauge);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One place, given back on drop.
#[derive(Debug)]
pub(crate) struct Place(Arc<Gauge>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::SeqCst);
        if self.0.is_wanted() {
            self.0.freed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn there_are_as_many_places_as_are_bound_and_what_is_given_back_is_there_again() {
        let gauge = Gauge::new(2);
        let first = gauge.take();
        let second = gauge.take_or_refuse();
        assert!(first.is_some() && second.is_some() && gauge.take_or_refuse().is_none());
        assert_eq!((gauge.taken(), gauge.refused()), (2, 1));
        drop(first);
        assert!(gauge.take().is_some());
    }

    #[test]
    fn who_waits_gets_the_place_that_is_given_back_or_added() {
        let gauge = Gauge::new(1);
        let held = gauge.take();
        let mut first = Box::pin(gauge.wait());
        let mut second = Box::pin(gauge.wait());
        assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());
        drop(held);
        let got = first.as_mut().now_or_never();
        assert!(got.is_some() && second.as_mut().now_or_never().is_none());
        gauge.bound(2);
        assert!(second.as_mut().now_or_never().is_some());
        assert!(!gauge.is_wanted());
    }

    #[test]
    fn who_gives_up_waiting_passes_on_what_it_was_told() {
        let gauge = Gauge::new(1);
        let held = gauge.take();
        let mut first = Box::pin(gauge.wait());
        let mut second = Box::pin(gauge.wait());
        assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());
        drop(held);
        drop(first);
        assert!(second.as_mut().now_or_never().is_some());
    }
}
