//! What goes wrong on purpose with a permitted request, before anything of it reaches its upstream.
use super::exchange::Exchange;
use super::refusal::{Denial, Refusal, Refused};
use crate::routing::Route;
use crate::telemetry::metrics::Fault;
use tokio::time::{Instant, sleep_until};

impl Exchange {
    /// Draws whether the request waits; what is drawn stands in the decision's record.
    pub(super) fn draw_delay(&mut self, route: &Route) {
        let faults = route.faults.as_ref();
        self.delay = faults.and_then(|faults| faults.delay(&mut self.worker.random.borrow_mut()));
    }

    /// Has the request wait if that is its lot, and refuses it if its lot is to fail.
    ///
    /// It waits as it would for its upstream: whoever takes its permit or its connection ends it here too. Its place in
    /// the upstream is taken only then, so that the upstream's bounds hold nothing that it has not seen.
    pub(super) async fn suffer(&self, route: &Route) -> Result<(), Refused> {
        let Some(faults) = &route.faults else { return Ok(()) };
        if let Some(delay) = self.delay {
            faults.metrics.injected(Fault::Delay);
            let until = Instant::now() + delay;
            sleep_until(self.deadline.map_or(until, |deadline| deadline.min(until))).await;
            // Sent now, the call would come with no time at all.
            if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Err(Refusal::UpstreamTimeout.into());
            }
        }
        let status = faults.abort(&mut self.worker.random.borrow_mut());
        match status {
            None => Ok(()),
            Some(status) => {
                faults.metrics.injected(Fault::Abort);
                let denial = Denial { status: Some(status), ..Denial::default() };
                Err(Refused { refusal: Refusal::FaultInjected, denial: Some(Box::new(denial)) })
            }
        }
    }
}
