//! A copy of a permitted request, on its way to an upstream that does not answer the caller. It is sent when the request
//! itself has been answered or has failed, by a task of its own: nothing that becomes of it comes back here.
use super::enforce::{Attempt, Copied};
use super::exchange::Exchange;
use super::timed::Timed;
use crate::routing::Route;
use crate::telemetry::metrics::{MirrorResult, UpstreamResult};
use crate::traffic::circuit_breaker::Place;
use crate::traffic::mirror::Mirror;
use crate::traffic::outlier::{Moment, Outcome};
use crate::upstream::{Choosing, Proof};
use crate::worker::Worker;
use std::rc::Rc;

impl Exchange {
    /// Draws whether the request is copied; what is drawn stands in the decision's record.
    pub(super) fn draw_mirror(&mut self, route: &Route) {
        self.is_mirrored = route
            .mirror
            .as_ref()
            .is_some_and(|mirror| mirror.takes(self.worker.random.borrow_mut().next_u64()));
    }

    /// Keeps what the copy will need, where there is to be one.
    pub(super) fn copy(&self, route: &Route, attempt: &mut Attempt) -> Option<Copied> {
        let mirror = route.mirror.as_ref().filter(|_| self.is_mirrored)?;
        Some(attempt.copy(mirror.body_bytes_max, &route.identity_headers, self.id()))
    }

    /// Sends the copy, where there is room for it and its body has come whole.
    pub(super) fn mirror(&self, route: &Route, copied: Option<Copied>) {
        let (Some(copied), Some(mirror)) = (copied, &route.mirror) else { return };
        let metrics = &mirror.upstream.metrics;
        let Some(copy) = copied.attempt() else { return metrics.mirrored(MirrorResult::Body) };
        let places = mirror.under_way.take().zip(mirror.upstream.breaker.requests.take());
        let Some(places) = places else { return metrics.mirrored(MirrorResult::Overflow) };
        let (worker, mirror) = (Rc::clone(&self.worker), mirror.clone());
        drop(tokio::task::spawn_local(Box::pin(send(worker, mirror, copy, places))));
    }
}

/// A copy, which nobody looks at once a second: it has no more than the mirror's time.
struct Unlooked<'w>(&'w Worker);

impl Choosing for Unlooked<'_> {
    fn may_use(&self, proof: Option<&Proof>) -> bool {
        self.0.may_use(proof)
    }

    fn chose(&self, _: Option<Rc<Proof>>) {}

    fn lost(&self) {}
}

async fn send(worker: Rc<Worker>, mirror: Mirror, copy: Attempt, _places: (Place, Place)) {
    let upstream = &mirror.upstream;
    let Some((target, mut chosen)) = worker.choose(upstream, None, &[]) else {
        return upstream.metrics.mirrored(MirrorResult::Failed);
    };
    let began_ns = worker.clock.monotonic_ns();
    let timed = upstream.adaptive.as_deref().map(|adaptive| Timed::begin(&worker, adaptive, began_ns));
    let body = copy.request().body().watch();
    let unlooked = Unlooked(&worker);
    let sending = worker.upstreams.send(target, copy, &unlooked);
    let sent = tokio::time::timeout(mirror.timeout, sending).await.ok();
    if let Some(timed) = timed {
        timed.end(sent.as_ref());
    }
    let (mirrored, result, outcome) = match &sent {
        Some(Ok((response, _))) => {
            let status = response.status();
            (MirrorResult::Answered, UpstreamResult::of_status(status.as_u16()), Outcome::of(status))
        }
        Some(Err(_)) => (MirrorResult::Failed, UpstreamResult::NoResponse, Outcome::Failure),
        None => (MirrorResult::Timeout, UpstreamResult::NoResponse, Outcome::Failure),
    };
    let now_ns = worker.clock.monotonic_ns();
    let took_ns = now_ns.saturating_sub(began_ns);
    upstream.metrics.mirrored(mirrored);
    upstream.metrics.attempt(result, took_ns);
    // With one endpoint there is nothing to choose.
    if upstream.targets.len() > 1 {
        let mut random = worker.random.borrow_mut();
        upstream.note(&mut chosen.load, (outcome, took_ns), Moment { now_ns, random: &mut random });
    }
    if let Some(Ok((response, lease))) = sent {
        lease.give_back_after(response.into_body());
    }
    // An upstream that has answered without it may never take the last of it.
    body.let_go(None);
}
