//! The answers that are on their way, and what ends those that stand still.
//!
//! hyper asks a body for its next part only when there is room for one, so a body cannot tell by itself that its
//! caller has stopped reading. A worker therefore looks at all of its answers once a second.
use super::body::BodyWatch;
use super::refusal::Refusal;
use crate::cut::Cut;
use postern_audit::End;
use postern_identity::UnixTime;
use postern_identity::token::{Claims, LEEWAY_S_MAX};
use slab::Slab;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The answers of one worker that are on their way.
#[derive(Clone, Debug, Default)]
pub struct InProgress(Rc<RefCell<Slab<Rc<Progress>>>>);

/// How one answer gets on.
#[derive(Debug)]
pub(super) struct Progress {
    idle_timeout: Duration,
    request_body: Option<Rc<BodyWatch>>,
    /// The token that it was permitted by.
    claims: Option<Arc<Claims>>,
    moved_at: Cell<Instant>,
    waits_for: Cell<Side>,
    cause: Cell<Option<(End, Refusal)>>,
    cut: Rc<Cut>,
}

/// Who has to do the next thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Upstream,
    Caller,
}

impl InProgress {
    /// Cuts what has stood still for longer than its route allows, and what its token does not permit any more. A cut
    /// is up to a second late.
    pub(crate) fn sweep(&self, now: Instant, unix_time: UnixTime) {
        self.0.borrow().iter().for_each(|(_, progress)| progress.look(now, unix_time));
    }

    /// Whether no answer is on its way.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Looks after an answer until the result is dropped. A request body that still comes keeps an answer alive that has
    /// nothing to say yet.
    pub(super) fn enter(
        &self,
        idle_timeout: Duration,
        request_body: Option<Rc<BodyWatch>>,
        claims: Option<Arc<Claims>>,
        cut: &Rc<Cut>,
    ) -> Entered {
        let progress = Rc::new(Progress {
            idle_timeout,
            request_body,
            claims,
            moved_at: Cell::new(Instant::now()),
            // The head of the answer is the first thing that the caller has to take.
            waits_for: Cell::new(Side::Caller),
            cause: Cell::new(None),
            cut: Rc::clone(cut),
        });
        let place = self.0.borrow_mut().insert(Rc::clone(&progress));
        Entered { all: self.clone(), place, progress }
    }
}

impl Progress {
    /// Why the answer was cut, if it was.
    pub(super) fn cause(&self) -> Option<(End, Refusal)> {
        self.cause.get()
    }

    fn look(&self, now: Instant, unix_time: UnixTime) {
        if self.cause.get().is_some() {
            return;
        }
        if self.claims.as_ref().is_some_and(|claims| is_over(claims, unix_time)) {
            return self.end(End::Revoked, Refusal::TokenExpired);
        }
        let uploading = self.request_body.as_ref().filter(|body| body.ended_at().is_none());
        let moved_at = match (self.waits_for.get(), uploading) {
            (Side::Upstream, Some(body)) => self.moved_at.get().max(body.moved_at()),
            (Side::Upstream, None) | (Side::Caller, _) => self.moved_at.get(),
        };
        let still_for = now.saturating_duration_since(moved_at);
        if still_for < self.idle_timeout {
            return;
        }
        let refusal = match self.waits_for.get() {
            Side::Upstream => Refusal::UpstreamTimeout,
            Side::Caller => Refusal::ConnReaderStalled,
        };
        self.end(End::Timeout, refusal);
    }

    fn end(&self, end: End, refusal: Refusal) {
        self.cause.set(Some((end, refusal)));
        self.cut.make();
    }
}

/// Clocks may be apart by as much as any issuer is allowed, or a token that was just accepted would end its exchange.
fn is_over(claims: &Claims, unix_time: UnixTime) -> bool {
    unix_time.as_secs() >= claims.expires_at.as_secs().saturating_add(LEEWAY_S_MAX)
}

/// An answer that is looked after.
#[derive(Debug)]
pub(super) struct Entered {
    all: InProgress,
    place: usize,
    progress: Rc<Progress>,
}

impl Entered {
    /// A part of the answer was handed over; now the caller has to take it.
    pub(super) fn handed_over(&self) {
        self.moved(Side::Caller);
    }

    /// The caller has taken what there was; now the upstream has to send more.
    pub(super) fn asked_for_more(&self) {
        // A body may be asked several times for the same part.
        if self.progress.waits_for.get() == Side::Caller {
            self.moved(Side::Upstream);
        }
    }

    /// For whoever records how it ended.
    pub(super) fn progress(&self) -> Rc<Progress> {
        Rc::clone(&self.progress)
    }

    fn moved(&self, next: Side) {
        self.progress.moved_at.set(Instant::now());
        self.progress.waits_for.set(next);
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.all.0.borrow_mut().try_remove(self.place);
    }
}
