//! The active checks of upstreams: whichever worker sees first that one is due makes it.
use crate::routing::Upstream;
use crate::traffic::health::Turn;
use crate::worker::Worker;
use std::rc::Rc;
use std::sync::Arc;

/// Begins the checks that are due, each beside everything else.
pub(crate) fn check_due(worker: &Rc<Worker>) {
    let snapshot = worker.snapshots.pin();
    let now_ns = worker.clock.monotonic_ns();
    for upstream in snapshot.routing.upstreams() {
        let Some(health) = &upstream.health else { continue };
        for (index, endpoint) in upstream.balancer.endpoints().iter().enumerate() {
            let more_ns = worker.random.borrow_mut().next_u64();
            if endpoint.health.claim(health, now_ns, more_ns) {
                drop(tokio::task::spawn_local(check(Rc::clone(worker), Arc::clone(upstream), index)));
            }
        }
    }
}

async fn check(worker: Rc<Worker>, upstream: Arc<Upstream>, index: usize) {
    let (Some(target), Some(health)) = (upstream.targets.get(index), &upstream.health) else { return };
    let Some(endpoint) = upstream.balancer.endpoints().get(index) else { return };
    let result = worker.upstreams.probe(target, health).await;
    upstream.metrics.health_checked(result.is_ok());
    let (upstream, address) = (&upstream.name, &endpoint.address);
    match (endpoint.health.note(health, result.is_ok()), result) {
        (Turn::None, _) => {}
        (Turn::Up, _) => tracing::info!(%upstream, endpoint = %address, "an endpoint is well again"),
        (Turn::Down, Ok(())) => {}
        (Turn::Down, Err(cause)) => {
            tracing::warn!(%upstream, endpoint = %address, cause, "an endpoint is ill: it is not used any more");
        }
    }
}
