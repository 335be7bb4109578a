//! The answers that are on their way, and what ends those that stand still.
//!
//! hyper asks a body for its next part only when there is room for one, so a body cannot tell by itself that its
//! caller has stopped reading. A worker therefore looks at all of its answers once a second.
use super::body::BodyWatch;
use super::credentials::Credentials;
use super::refusal::Refusal;
use crate::config::{OnInvalid, Validity};
use crate::cut::Cut;
use crate::upstream::{InForce, Invalid, Proof};
use postern_audit::End;
use slab::Slab;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// The answers of one worker that are on their way.
#[derive(Clone, Debug, Default)]
pub struct InProgress(Rc<RefCell<Slab<Rc<Progress>>>>);

/// How one answer gets on.
#[derive(Debug)]
pub(super) struct Progress {
    terms: Terms,
    /// Since when its upstream is not whom it has to be.
    invalid_since: Cell<Option<Instant>>,
    moved_at: Cell<Instant>,
    waits_for: Cell<Side>,
    cause: Cell<Option<(End, Refusal)>>,
    cut: Rc<Cut>,
}

/// For how long an answer may go on.
#[derive(Debug)]
pub(super) struct Terms {
    /// How long it may stand still.
    pub(super) idle_timeout: Duration,
    /// When its caller stops waiting, if it says so.
    pub(super) deadline: Option<Instant>,
    /// A request body that still comes keeps an answer alive that has nothing to say yet.
    pub(super) request_body: Option<Rc<BodyWatch>>,
    /// The tokens that it was permitted by.
    pub(super) credentials: Credentials,
    /// What shows that its upstream is whom it has to be.
    pub(super) proof: Option<Rc<Proof>>,
    /// What becomes of it where that holds no more.
    pub(super) validity: Validity,
}

/// Who has to do the next thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Upstream,
    Caller,
}

impl InProgress {
    /// Cuts what has stood still for longer than its route allows, and what its tokens, their keys or its upstream's
    /// identity do not allow any more. A cut is up to a second late.
    pub(crate) fn sweep(&self, now: Instant, in_force: &InForce<'_>) {
        self.0.borrow().iter().for_each(|(_, progress)| progress.look(now, in_force));
    }

    /// Whether no answer is on its way.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Looks after an answer until the result is dropped.
    pub(super) fn enter(&self, terms: Terms, cut: &Rc<Cut>) -> Entered {
        let progress = Rc::new(Progress {
            terms,
            invalid_since: Cell::new(None),
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

    fn look(&self, now: Instant, in_force: &InForce<'_>) {
        if self.cause.get().is_some() {
            return;
        }
        if let Err(refusal) = self.terms.credentials.check(in_force.snapshot, in_force.now) {
            self.end(End::Revoked, refusal);
        } else if let Some(refusal) = self.is_invalid(now, in_force) {
            self.end(End::Revoked, refusal);
        } else if self.terms.deadline.is_some_and(|deadline| deadline <= now) {
            self.end(End::Timeout, Refusal::UpstreamTimeout);
        } else if now.saturating_duration_since(self.moved_at()) >= self.terms.idle_timeout {
            let refusal = match self.waits_for.get() {
                Side::Upstream => Refusal::UpstreamTimeout,
                Side::Caller => Refusal::ConnReaderStalled,
            };
            self.end(End::Timeout, refusal);
        }
    }

    fn moved_at(&self) -> Instant {
        let uploading = self.terms.request_body.as_ref().filter(|body| body.ended_at().is_none());
        match (self.waits_for.get(), uploading) {
            (Side::Upstream, Some(body)) => self.moved_at.get().max(body.moved_at()),
            (Side::Upstream, None) | (Side::Caller, _) => self.moved_at.get(),
        }
    }

    /// Why its upstream is not whom it has to be, where that is so and the grace for it is over.
    fn is_invalid(&self, now: Instant, in_force: &InForce<'_>) -> Option<Refusal> {
        let invalid = self.terms.proof.as_ref()?.check(in_force.snapshot, in_force.now).err()?;
        let validity = &self.terms.validity;
        let (on_invalid, refusal) = match invalid {
            Invalid::Expired => (validity.on_peer_expiry, Refusal::UpstreamIdentity),
            Invalid::Distrusted => (validity.on_trust_change, Refusal::UpstreamIdentity),
            Invalid::RevocationUnknown => (validity.on_trust_change, Refusal::UpstreamRevocationUnknown),
        };
        let since = self.invalid_since.get().unwrap_or(now);
        self.invalid_since.set(Some(since));
        let is_over = match on_invalid {
            OnInvalid::Close => true,
            OnInvalid::Drain => now.saturating_duration_since(since) >= validity.grace,
        };
        is_over.then_some(refusal)
    }

    fn end(&self, end: End, refusal: Refusal) {
        self.cause.set(Some((end, refusal)));
        self.cut.make();
    }
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
