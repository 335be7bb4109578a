//! A way of its own to an upstream, for what is no exchange of messages: a raw stream, and what CONNECT asks for.
use super::refusal::Refusal;
use crate::config::RetryOn;
use crate::listener::Connection;
use crate::recorder::Draft;
use crate::routing::{Route, Upstream};
use crate::telemetry::metrics::UpstreamResult;
use crate::traffic::circuit_breaker::Place;
use crate::traffic::endpoint::Load;
use crate::traffic::outlier::{Moment, Outcome};
use crate::upstream::{BoxIo, Proof, Target};
use crate::worker::Worker;
use postern_audit::{Tried, TriedResult};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// The way to the other side, and what it takes for as long as it is there.
pub(super) struct Way {
    pub(super) io: BoxIo,
    /// What shows that the upstream is whom it has to be.
    pub(super) proof: Option<Rc<Proof>>,
    pub(super) held: Held,
}

/// What a way holds of its upstream.
#[derive(Debug)]
pub(super) struct Held {
    _places: (Place, Place),
    _load: Load,
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Way").field("proof", &self.proof).finish_non_exhaustive()
    }
}

/// Asks one endpoint after the other, as far as the route says and within its time, until one takes the connection. `key`
/// is what a ring is looked into by.
pub(super) async fn open(
    worker: &Worker,
    (route, upstream, key): (&Route, &Upstream, Option<u64>),
    connection: &Connection,
    draft: &mut Draft,
) -> Result<Way, Refusal> {
    let breaker = &upstream.breaker;
    let deadline = Instant::now() + route.timeout;
    let in_hand = breaker.requests.take_or_refuse().ok_or(Refusal::UpstreamOverflow)?;
    let pending = breaker.pending.take_or_refuse().ok_or(Refusal::UpstreamOverflow)?;
    let (mut tried, mut paid) = (Vec::new(), None);
    loop {
        let aimed = worker.aim(upstream, (key, &tried), connection);
        let (target, mut chosen) = aimed.ok_or(Refusal::UpstreamNoEndpoint)?;
        let outcome = draft.outcome_mut();
        outcome.attempts = outcome.attempts.saturating_add(1);
        outcome.endpoint = Some(target.endpoint.clone());
        let began_ns = worker.clock.monotonic_ns();
        let place = timeout_at(deadline, breaker.connections.wait()).await;
        let place = place.map_err(|_| Refusal::UpstreamTimeout)?;
        let time = (deadline, route.timeout);
        let refusal = match attempt(worker, (upstream, &target), &mut chosen.load, time).await {
            Ok((io, proof)) => {
                drop((pending, paid));
                proof.iter().for_each(|proof| draft.note_server(proof.server()));
                let held = Held { _places: (in_hand, place), _load: chosen.load };
                return Ok(Way { io, proof, held });
            }
            Err(refusal) if Instant::now() >= deadline => return Err(refusal),
            Err(refusal) => refusal,
        };
        tried.push(chosen.index);
        let may_try = route.retry.on.contains(&RetryOn::ConnectFailure)
            && u32::try_from(tried.len()).is_ok_and(|tried| tried < route.retry.attempts_max);
        let now_ns = worker.clock.monotonic_ns();
        paid = if may_try { upstream.retry_budget.pay(&breaker.requests, now_ns) } else { None };
        let (endpoint, duration_ns) = (target.endpoint.clone(), now_ns.saturating_sub(began_ns));
        let failed = Tried { endpoint, result: TriedResult::Reason(refusal.code()), duration_ns };
        if paid.is_none() || draft.note_tried(failed).is_err() {
            return Err(refusal);
        }
        upstream.metrics.retried();
    }
}

/// One connection to one endpoint, and what it says of that; nothing where it was left with little of the time.
async fn attempt(
    worker: &Worker,
    (upstream, target): (&Upstream, &Target),
    load: &mut Load,
    (deadline, patience): (Instant, Duration),
) -> Result<(BoxIo, Option<Rc<Proof>>), Refusal> {
    let began_ns = worker.clock.monotonic_ns();
    let had_time = deadline.saturating_duration_since(Instant::now()) >= patience / 2;
    let made = timeout_at(deadline, worker.upstreams.stream(target)).await;
    let is_judged = made.is_ok() || had_time;
    let made = made.unwrap_or(Err(Refusal::UpstreamTimeout));
    let now_ns = worker.clock.monotonic_ns();
    let took_ns = now_ns.saturating_sub(began_ns);
    let (result, outcome) = match &made {
        Ok(_) => (UpstreamResult::Success, Outcome::Success),
        Err(_) => (UpstreamResult::NoResponse, Outcome::Failure),
    };
    upstream.metrics.attempt(result, took_ns);
    if made.is_err() {
        upstream.metrics.connect_failed();
    }
    if upstream.targets.len() > 1 && is_judged {
        upstream.note(load, (outcome, took_ns), Moment { now_ns, random: &mut worker.random.borrow_mut() });
    }
    made
}
