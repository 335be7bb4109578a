//! How long an exchange, and each of its attempts, may wait for the head of a response.
//!
//! The time runs from the end of the request body: a large upload over a slow line is not the upstream's delay. Until
//! then a body that keeps coming keeps the exchange alive; where it stands still, the caller has as long as the route's
//! streams, and an upstream that does not take it as long as the route. A gRPC call ends at its own deadline too.
use crate::pipeline::{BodyWatch, Refusal};
use std::future::Future;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// How much time there is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// From when it runs at the earliest: what the request waited for before is not the upstream's delay.
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
        // A body that still comes is under the time of the exchange.
        while body.ended_at().is_none() {
            body.ended().await;
        }
        let ended_at = body.ended_at().unwrap_or(began);
        sleep_until(ended_at.max(began) + per_try).await;
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
        let (due, refusal) = match body.ended_at() {
            Some(ended_at) => (ended_at.max(times.began) + times.response, Refusal::UpstreamTimeout),
            None if body.waits_for_caller() => (moved_at + times.caller, Refusal::BodyTimeout),
            None => (moved_at + times.response, Refusal::UpstreamTimeout),
        };
        let (due, refusal) = match times.deadline {
            Some(deadline) if deadline < due => (deadline, Refusal::UpstreamTimeout),
            Some(_) | None => (due, refusal),
        };
        if due <= Instant::now() {
            return refusal;
        }
        // Whose turn it is may change meanwhile; it is looked at again at least as often as either has time.
        let look_at = due.min(Instant::now() + times.response.min(times.caller));
        tokio::select! {
            () = sleep_until(look_at) => {}
            () = body.ended() => {}
        }
    }
}
