//! What all workers know of one endpoint: how much it has in hand, how long it takes, and whether it is to be trusted with
//! more. It outlives reloads.
use super::health::Health;
use super::latency::PeakEwma;
use super::outlier::{Outcome, Standing};
use postern_audit::EndpointAddress;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One endpoint of an upstream.
#[derive(Debug)]
pub struct Endpoint {
    /// Where it listens.
    pub address: EndpointAddress,
    outstanding: AtomicUsize,
    latency: PeakEwma,
    pub(super) standing: Standing,
    /// What active checks say of it.
    pub health: Health,
}

/// Whether an endpoint is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is.
    Available,
    /// It is left out for its failures, or on trial after that.
    Ejected,
    /// Active checks have failed.
    Unhealthy,
}

/// What a failed attempt counts as, at least: what fails fast is not quick, it would draw everybody to itself.
const FAILURE_NS: u64 = 1_000_000_000;

impl Endpoint {
    /// One of which nothing is known yet.
    pub fn new(address: EndpointAddress) -> Arc<Self> {
        Arc::new(Self {
            address,
            outstanding: AtomicUsize::new(0),
            latency: PeakEwma::default(),
            standing: Standing::default(),
            health: Health::default(),
        })
    }

    /// Whether it is used.
    pub fn state(&self) -> State {
        match (self.health.is_down(), self.standing.is_ejected()) {
            (true, _) => State::Unhealthy,
            (false, true) => State::Ejected,
            (false, false) => State::Available,
        }
    }

    /// Attempts and answers under way.
    pub(super) fn outstanding(&self) -> usize {
        self.outstanding.load(Ordering::Relaxed)
    }

    /// What one more attempt is expected to cost: the latency, which is not below `least_ns`, by all that is under way.
    pub(super) fn cost(&self, now_ns: u64, least_ns: f64) -> f64 {
        let under_way = u32::try_from(self.outstanding()).unwrap_or(u32::MAX);
        self.latency.estimate_ns(now_ns).max(least_ns) * (f64::from(under_way) + 1.0)
    }

    /// What it was expected to take when it was asked last.
    pub(super) fn last_ns(&self) -> f64 {
        self.latency.last_ns()
    }

    /// Takes an attempt into account that brought the head of an answer, or none.
    pub(super) fn note(&self, outcome: Outcome, latency_ns: u64, now_ns: u64) {
        let latency_ns = match outcome {
            Outcome::Success => latency_ns,
            Outcome::Failure => latency_ns.max(FAILURE_NS),
        };
        self.latency.sample(latency_ns, now_ns);
    }

    /// Takes an attempt into account whose caller has stopped waiting.
    pub(super) fn note_unanswered(&self, waited_ns: u64, now_ns: u64) {
        self.latency.sample_at_least(waited_ns, now_ns);
    }
}

/// An attempt that counts among those of its endpoint until this is dropped.
#[derive(Debug)]
pub(crate) struct Load {
    pub(super) endpoint: Arc<Endpoint>,
    /// It is the one by which an endpoint that was ejected is tried, and nothing has come of that yet.
    pub(super) is_trial: bool,
}

impl Load {
    /// Sends an attempt there.
    pub(super) fn on(endpoint: &Arc<Endpoint>, now_ns: u64) -> Self {
        endpoint.outstanding.fetch_add(1, Ordering::Relaxed);
        Self { is_trial: endpoint.standing.begin_trial(now_ns), endpoint: Arc::clone(endpoint) }
    }

    /// Where it was sent.
    pub(crate) fn address(&self) -> &EndpointAddress {
        &self.endpoint.address
    }

    /// The head of an answer came, or none will.
    pub(crate) fn note(&self, outcome: Outcome, latency_ns: u64, now_ns: u64) {
        self.endpoint.note(outcome, latency_ns, now_ns);
    }

    /// Nothing has come for so long, and nobody waits for it any more.
    pub(crate) fn note_unanswered(&self, waited_ns: u64, now_ns: u64) {
        self.endpoint.note_unanswered(waited_ns, now_ns);
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.endpoint.outstanding.fetch_sub(1, Ordering::Relaxed);
        if self.is_trial {
            self.endpoint.standing.end_trial();
        }
    }
}
