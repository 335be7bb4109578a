//! How long an exchange may wait for the head of its response.
//!
//! The route's timeout runs from the end of the request body: a large upload over a slow line is not the
//! upstream's delay. Until then a body that keeps coming keeps the exchange alive; where it stands still, the
//! caller has as long as the route's streams, and an upstream that does not take it as long as the route.
use crate::pipeline::{BodyWatch, Refusal};
use crate::routing::Route;
use std::future::Future;
use tokio::time::{Instant, sleep_until};

/// Gives `sending` the time that the route grants, and names who let it pass.
pub(crate) async fn within<T>(
    route: &Route,
    body: &BodyWatch,
    sending: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    tokio::select! {
        biased;
        sent = sending => sent,
        refusal = run_out(route, body) => Err(refusal),
    }
}

async fn run_out(route: &Route, body: &BodyWatch) -> Refusal {
    loop {
        let (due, refusal) = match body.ended_at() {
            Some(ended_at) => (ended_at + route.timeout, Refusal::UpstreamTimeout),
            None if body.waits_for_caller() => {
                (body.moved_at() + route.stream_idle_timeout, Refusal::BodyTimeout)
            }
            None => (body.moved_at() + route.timeout, Refusal::UpstreamTimeout),
        };
        if due <= Instant::now() {
            return refusal;
        }
        // Whose turn it is may change meanwhile; it is looked at again at least as often as the upstream has time.
        let look_at = due.min(Instant::now() + route.timeout);
        tokio::select! {
            () = sleep_until(look_at) => {}
            () = body.ended() => {}
        }
    }
}
