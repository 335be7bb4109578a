//! An attempt that is under way: the connection that it rests on, and what it says of its endpoint, also where nobody waits
//! for its end any more.
use super::attempts::Answered;
use super::body::BodyWatch;
use super::exchange::Exchange;
use super::refusal::Refusal;
use super::timed::Timed;
use crate::routing::Upstream;
use crate::telemetry::metrics::UpstreamResult;
use crate::traffic::endpoint::Load;
use crate::traffic::outlier::{Moment, Outcome};
use crate::upstream::{Choosing, Proof, SendError};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// An attempt until its end is seen. Where it is dropped before, the time of its route has passed, or its caller has stopped
/// waiting.
pub(super) struct UnderWay<'a> {
    exchange: &'a Exchange,
    upstream: &'a Upstream,
    body: &'a BodyWatch,
    load: &'a mut Load,
    /// How long its route waits for it at most.
    patience: Duration,
    timed: Option<Timed<'a>>,
    began: Instant,
    began_ns: u64,
    is_connected: Cell<bool>,
    shares_failure: Cell<bool>,
    is_over: bool,
}

impl<'a> UnderWay<'a> {
    pub(super) fn begin(
        exchange: &'a Exchange,
        (upstream, patience): (&'a Upstream, Duration),
        (body, load): (&'a BodyWatch, &'a mut Load),
    ) -> Self {
        let worker = &exchange.worker;
        let began_ns = worker.clock.monotonic_ns();
        let timed = upstream.adaptive.as_deref().map(|adaptive| Timed::begin(worker, adaptive, began_ns));
        let (began, is_over) = (Instant::now(), false);
        let (is_connected, shares_failure) = (Cell::default(), Cell::default());
        Self {
            exchange,
            upstream,
            body,
            load,
            patience,
            timed,
            began,
            began_ns,
            is_connected,
            shares_failure,
            is_over,
        }
    }

    /// What came of it; nothing where it had its time.
    pub(super) fn end(mut self, sent: Option<&Result<Answered, SendError>>) {
        self.is_over = true;
        let timed = self.timed.take();
        if !matches!(sent, Some(Ok(_))) && self.body.broken().is_some() {
            // It is the caller that ended it: nobody else is to pay for that.
            return timed.map_or((), Timed::forget);
        }
        let took_ns = self.took_ns();
        self.count(sent, took_ns);
        if sent.is_none() && self.is_queued() {
            return timed.map_or((), Timed::forget);
        }
        if let Some(timed) = timed {
            timed.end(sent);
        }
        // What is full says nothing of any, and what takes no WebSockets is not ill.
        let is_full = matches!(sent, Some(Err(SendError::Unsent(_, Refusal::UpstreamOverflow))));
        let is_other = matches!(sent, Some(Err(SendError::Refused(Refusal::UpstreamExtendedConnect))));
        if !is_full && !is_other && !self.shares_failure.get() {
            let outcome = match sent {
                Some(Ok((response, _))) => Outcome::of(response.status()),
                Some(Err(_)) | None => Outcome::Failure,
            };
            self.judge(outcome, took_ns);
        }
    }

    fn took_ns(&self) -> u64 {
        self.exchange.worker.clock.monotonic_ns().saturating_sub(self.began_ns)
    }

    fn count(&self, sent: Option<&Result<Answered, SendError>>, took_ns: u64) {
        let result = match sent {
            Some(Ok((response, _))) => UpstreamResult::of_status(response.status().as_u16()),
            Some(Err(_)) | None => UpstreamResult::NoResponse,
        };
        self.upstream.metrics.attempt(result, took_ns);
        let is_full = matches!(sent, Some(Err(SendError::Unsent(_, Refusal::UpstreamOverflow))));
        if matches!(sent, Some(Err(SendError::Unsent(..)))) && !is_full && !self.shares_failure.get() {
            self.upstream.metrics.connect_failed();
        }
    }

    /// What it says of its endpoint.
    fn judge(&mut self, outcome: Outcome, took_ns: u64) {
        // With one endpoint there is nothing to choose.
        if self.upstream.targets.len() < 2 {
            return;
        }
        let worker = &self.exchange.worker;
        // Dropped amid a draw, it says nothing.
        if let Ok(mut random) = worker.random.try_borrow_mut() {
            let moment = Moment { now_ns: worker.clock.monotonic_ns(), random: &mut random };
            self.upstream.note(self.load, (outcome, took_ns), moment);
        }
    }

    /// It was given up: by the route, which is a failure of the endpoint, or by the caller, which shows no more than that
    /// the endpoint takes at least so long.
    fn abandon(&mut self) {
        let took_ns = self.took_ns();
        self.count(None, took_ns);
        let Some(waited) = self.waited().filter(|_| !self.is_queued()) else { return };
        let waited_ns = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
        // Where most of the time went by before it, it has shown no more than by any other wait.
        let had_time = waited >= self.patience / 2;
        if self.body.is_late() && had_time {
            self.judge(Outcome::Failure, waited_ns);
        } else if self.upstream.targets.len() > 1 {
            self.load.note_unanswered(waited_ns, self.exchange.worker.clock.monotonic_ns());
        }
    }

    /// Whether it waits for another one's place: it has not come to the endpoint yet.
    fn is_queued(&self) -> bool {
        !self.is_connected.get() && self.upstream.breaker.connections.is_full()
    }

    /// How long the endpoint has been waited for; nothing where it waits for the caller.
    fn waited(&self) -> Option<Duration> {
        let since = match self.body.ended_at() {
            Some(ended_at) => ended_at,
            None if self.body.waits_for_caller() => return None,
            None => self.body.moved_at(),
        };
        Some(since.max(self.began).elapsed())
    }
}

impl Choosing for UnderWay<'_> {
    fn may_use(&self, proof: Option<&Proof>) -> bool {
        self.exchange.worker.may_use(proof)
    }

    fn chose(&self, proof: Option<Rc<Proof>>) {
        self.is_connected.set(true);
        self.exchange.rests_on(proof);
    }

    fn lost(&self) {
        self.is_connected.set(false);
        self.exchange.rests_on(None);
    }

    fn shares_failure(&self) {
        self.shares_failure.set(true);
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        match self.body.broken() {
            Some(_) => self.timed.take().map_or((), Timed::forget),
            None => self.abandon(),
        }
    }
}
