//! How long an exchange, and each of its attempts, may wait for the head of a response.
//!
//! The time stands still from when the upstream asks for the request's body until it has all of it: a large upload over a
//! slow line is not the upstream's delay. What it takes to choose and to connect counts, and so does the wait for the
//! answer. Meanwhile a body that keeps coming keeps the exchange alive; where it stops, the caller has as long as the
//! route's streams, and an upstream that does not take it as long as the route. A gRPC call ends at its own deadline too.
use crate::pipeline::{BodyWatch, Refusal};
use std::future::Future;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// How much time there is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// Since when they run. What it took to decide, and to ask a rate limit service, is nobody's there.
    pub(crate) began: Instant,
    /// For the head of the response, and for the upstream to take more of the body.
    pub(crate) response: Duration,
    /// For the caller to send more of the body.
    pub(crate) caller: Duration,
    /// When the caller stops waiting, if it says so.
    pub(crate) deadline: Option<Instant>,
}

/// Gives `sending` the time that there is, and names who let it pass.
pub(crate) async fn within<T>(
    times: Times,
    body: &BodyWatch,
    sending: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    tokio::select! {
        biased;
        sent = sending => sent,
        refusal = run_out(times, body) => Err(refusal),
    }
}

/// Gives one attempt the time that it has for itself, where it has any.
pub(crate) async fn one_try<T>(
    per_try: Option<Duration>,
    body: &BodyWatch,
    sending: impl Future<Output = T>,
) -> Option<T> {
    let Some(per_try) = per_try else { return Some(sending.await) };
    let began = Instant::now();
    let run_out = async {
        loop {
            match body.due(began, per_try) {
                Some(due) if due <= Instant::now() => return,
                Some(due) => sleep_until(due).await,
                // A body that still comes is under the time of the exchange.
                None => body.ended().await,
            }
        }
    };
    tokio::select! {
        biased;
        sent = sending => Some(sent),
        () = run_out => None,
    }
}

async fn run_out(times: Times, body: &BodyWatch) -> Refusal {
    loop {
        let moved_at = body.moved_at().max(times.began);
        let (due, refusal) = match body.due(times.began, times.response) {
            Some(due) => (due, Refusal::UpstreamTimeout),
            None if body.waits_for_caller() => (moved_at + times.caller, Refusal::BodyTimeout),
            None => (moved_at + times.response, Refusal::UpstreamTimeout),
        };
        let (due, refusal, is_upstreams) = match times.deadline {
            Some(deadline) if deadline < due => (deadline, Refusal::UpstreamTimeout, false),
            Some(_) | None => (due, refusal, refusal == Refusal::UpstreamTimeout),
        };
        if due <= Instant::now() {
            if is_upstreams {
                body.note_late();
            }
            return refusal;
        }
        // Whose turn it is may change meanwhile; it is looked at again at least as often as either has time.
        let look_at = due.min(Instant::now() + times.response.min(times.caller));
        tokio::select! {
            () = sleep_until(look_at) => {}
            () = body.ended(), if body.ended_at().is_none() => {}
        }
    }
}
