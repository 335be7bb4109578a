//! What an attempt's time says to the limit that follows it.
use crate::traffic::adaptive_concurrency::AdaptiveConcurrency;
use crate::traffic::outlier::Moment;
use crate::upstream::SendError;
use crate::worker::Worker;
use http::Response;

/// An attempt whose time is taken. Where it is dropped, as with the route's timeout, it has had no answer until then.
pub(super) struct Timed<'a> {
    worker: &'a Worker,
    adaptive: &'a AdaptiveConcurrency,
    began_ns: u64,
    is_over: bool,
}

impl<'a> Timed<'a> {
    pub(super) fn begin(worker: &'a Worker, adaptive: &'a AdaptiveConcurrency, began_ns: u64) -> Self {
        Self { worker, adaptive, began_ns, is_over: false }
    }

    /// What came of it. What could not be sent has taken no time of the upstream's, and failures that come quickly are no
    /// sign of room.
    pub(super) fn end<B, L>(mut self, sent: Option<&Result<(Response<B>, L), SendError>>) {
        self.is_over = true;
        match sent {
            Some(Ok((response, _))) if !response.status().is_server_error() => {
                self.note(AdaptiveConcurrency::note);
            }
            Some(Ok(_) | Err(SendError::Sent(_))) | None => self.note(AdaptiveConcurrency::note_unanswered),
            Some(Err(SendError::Unsent(..) | SendError::Refused(_))) => {}
        }
    }

    /// It ended by what is nothing to the upstream.
    pub(super) fn forget(mut self) {
        self.is_over = true;
    }

    fn note(&self, say: fn(&AdaptiveConcurrency, u64, &mut Moment<'_>)) {
        let now_ns = self.worker.clock.monotonic_ns();
        let took_ns = now_ns.saturating_sub(self.began_ns);
        // Dropped amid a draw, it says nothing.
        if let Ok(mut random) = self.worker.random.try_borrow_mut() {
            say(self.adaptive, took_ns, &mut Moment { now_ns, random: &mut random });
        }
    }
}

impl Drop for Timed<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.note(AdaptiveConcurrency::note_unanswered);
        }
    }
}
