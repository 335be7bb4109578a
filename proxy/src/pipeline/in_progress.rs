//! The exchanges in progress, and what ends those that may not go on: by their tokens, by policy, or because they stand
//! still.
//!
//! hyper asks a body for its next part only when there is room for one, so a body cannot tell by itself that its
//! caller has stopped reading. A worker therefore looks at all of its answers once a second.
use super::asked::Asked;
use super::body::BodyWatch;
use super::credentials::Credentials;
use super::refusal::Refusal;
use crate::config::{OnInvalid, Validity};
use crate::cut::Cut;
use crate::state::Policy;
use crate::upstream::{InForce, Invalid, Proof};
use crate::worker::Worker;
use postern_audit::End;
use slab::Slab;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;
use tokio::time::Instant;

/// The exchanges of one worker that were permitted and have not ended, and the answers that are on their way.
#[derive(Clone, Debug, Default)]
pub struct InProgress(Rc<All>);

#[derive(Debug, Default)]
struct All {
    slab: RefCell<Slab<Rc<Progress>>>,
    /// Whether policy is being asked about them again.
    is_judging: Cell<bool>,
}

/// How one exchange gets on.
#[derive(Debug)]
pub(super) struct Progress {
    terms: Terms,
    permit: RefCell<Option<Permit>>,
    /// What shows that its upstream is whom it has to be, from the moment when its connection is chosen.
    proof: RefCell<Option<Rc<Proof>>>,
    /// What is known of the answer, once it has begun.
    answer: RefCell<Option<Answering>>,
    /// Since when its upstream is not whom it has to be.
    invalid_since: Cell<Option<Instant>>,
    moved_at: Cell<Instant>,
    waits_for: Cell<Side>,
    cause: Cell<Option<(End, Refusal)>>,
    /// Who waits for more of an answer that can say why it ends.
    teller: RefCell<Option<Waker>>,
    has_ended: Cell<bool>,
    cut: Rc<Cut>,
}

/// For how long an exchange may go on.
#[derive(Debug)]
pub(super) struct Terms {
    /// When its caller stops waiting, if it says so.
    pub(super) deadline: Option<Instant>,
    /// The tokens that it was permitted by.
    pub(super) credentials: Credentials,
    /// What becomes of it where its upstream is not whom it has to be.
    pub(super) validity: Validity,
}

/// What permitted an exchange.
#[derive(Debug)]
pub(super) struct Permit {
    pub(super) asked: Rc<Asked>,
    pub(super) policy: Arc<Policy>,
}

/// What is known of an answer that is on its way.
#[derive(Debug, Default)]
pub(super) struct Answering {
    /// How long it may stand still.
    pub(super) idle_timeout: Duration,
    /// A request body that still comes keeps an answer alive that has nothing to say yet.
    pub(super) request_body: Option<Rc<BodyWatch>>,
    /// Whether it can say why it ends: a gRPC answer over HTTP/2.
    pub(super) ends_by_trailers: bool,
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
        self.0.slab.borrow().iter().for_each(|(_, progress)| progress.look(now, in_force));
    }

    /// Has policy asked again about what another one than that in force has permitted, a few at a time, so that new
    /// requests do not wait for it.
    pub(crate) fn judge(&self, worker: &Rc<Worker>) {
        let policy = worker.snapshots.pin().policy.clone();
        let is_outdated = |progress: &Rc<Progress>| progress.is_permitted_by_another(policy.as_ref());
        let outdated: Vec<_> = self
            .0
            .slab
            .borrow()
            .iter()
            .map(|(_, progress)| progress)
            .filter(|p| is_outdated(p))
            .cloned()
            .collect();
        if outdated.is_empty() || self.0.is_judging.replace(true) {
            return;
        }
        let (judging, worker) = (Judging(Rc::clone(&self.0)), Rc::clone(worker));
        drop(tokio::task::spawn_local(async move {
            let _judging = judging;
            for some in outdated.chunks(JUDGED_AT_ONCE) {
                some.iter().for_each(|progress| progress.judge(&worker));
                tokio::task::yield_now().await;
            }
        }));
    }

    /// Whether no answer is on its way.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.slab.borrow().is_empty()
    }

    /// Looks after an exchange until the result is dropped.
    pub(super) fn enter(&self, (terms, permit): (Terms, Option<Permit>), cut: &Rc<Cut>) -> Entered {
        let progress = Rc::new(Progress {
            terms,
            permit: RefCell::new(permit),
            proof: RefCell::default(),
            answer: RefCell::default(),
            invalid_since: Cell::new(None),
            moved_at: Cell::new(Instant::now()),
            // The head of the answer is the first thing that the caller has to take.
            waits_for: Cell::new(Side::Caller),
            cause: Cell::new(None),
            teller: RefCell::default(),
            has_ended: Cell::new(false),
            cut: Rc::clone(cut),
        });
        let place = self.0.slab.borrow_mut().insert(Rc::clone(&progress));
        Entered { all: self.clone(), place, progress }
    }
}

/// One look at all of them, which may end in a panic of its task.
#[derive(Debug)]
struct Judging(Rc<All>);

impl Drop for Judging {
    fn drop(&mut self) {
        self.0.is_judging.set(false);
    }
}

/// How many exchanges are judged again before others have their turn: some tenths of a millisecond.
const JUDGED_AT_ONCE: usize = 64;

impl Progress {
    /// Why it was ended, if it was.
    pub(super) fn cause(&self) -> Option<(End, Refusal)> {
        self.cause.get()
    }

    /// It goes to the upstream by another connection than before, or by none.
    pub(super) fn rests_on(&self, proof: Option<Rc<Proof>>) {
        self.proof.replace(proof);
        self.invalid_since.set(None);
    }

    fn look(&self, now: Instant, in_force: &InForce<'_>) {
        if self.cause.get().is_some() {
            // It was to say so itself, and had a second for it.
            return self.cut.make();
        }
        if let Err(refusal) = self.terms.credentials.check(in_force.snapshot, in_force.now) {
            return self.end(End::Revoked, refusal);
        }
        if let Some(refusal) = self.is_invalid(now, in_force) {
            return self.end(End::Revoked, refusal);
        }
        let answer = self.answer.borrow();
        // Until it is answered, its route's timeout is over it.
        let Some(answer) = &*answer else { return };
        if self.terms.deadline.is_some_and(|deadline| deadline <= now) {
            self.end(End::Timeout, Refusal::UpstreamTimeout);
        } else if now.saturating_duration_since(self.moved_at(answer)) >= answer.idle_timeout {
            let refusal = match self.waits_for.get() {
                Side::Upstream => Refusal::UpstreamTimeout,
                Side::Caller => Refusal::ConnReaderStalled,
            };
            self.end(End::Timeout, refusal);
        }
    }

    fn is_permitted_by_another(&self, policy: Option<&Arc<Policy>>) -> bool {
        let permit = self.permit.borrow();
        let is_same = |permit: &Permit| policy.is_some_and(|policy| Arc::ptr_eq(policy, &permit.policy));
        self.cause.get().is_none() && permit.as_ref().is_some_and(|permit| !is_same(permit))
    }

    /// Asks the policy in force, and ends what it does not permit.
    fn judge(&self, worker: &Worker) {
        let mut permit = self.permit.borrow_mut();
        let Some(permit) = permit.as_mut().filter(|_| !self.has_ended.get() && self.cause.get().is_none())
        else {
            return;
        };
        match permit.asked.again(worker, &worker.snapshots.pin()) {
            Ok(policy) => permit.policy = policy,
            Err(refusal) => self.end(End::Revoked, refusal),
        }
    }

    fn moved_at(&self, answer: &Answering) -> Instant {
        let uploading = answer.request_body.as_ref().filter(|body| body.ended_at().is_none());
        match (self.waits_for.get(), uploading) {
            (Side::Upstream, Some(body)) => self.moved_at.get().max(body.moved_at()),
            (Side::Upstream, None) | (Side::Caller, _) => self.moved_at.get(),
        }
    }

    /// Why its upstream is not whom it has to be, where that is so and the grace for it is over.
    fn is_invalid(&self, now: Instant, in_force: &InForce<'_>) -> Option<Refusal> {
        let proof = self.proof.borrow();
        let Err(invalid) = proof.as_ref()?.check(in_force.snapshot, in_force.now) else {
            self.invalid_since.set(None);
            return None;
        };
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
        match self.teller.take() {
            Some(teller) => teller.wake(),
            None => self.cut.make(),
        }
    }
}

/// An exchange that is looked after.
#[derive(Debug)]
pub(super) struct Entered {
    all: InProgress,
    place: usize,
    progress: Rc<Progress>,
}

impl Entered {
    /// The answer has begun.
    pub(super) fn answers(&self, answering: Answering) {
        self.progress.answer.replace(Some(answering));
        self.moved(Side::Caller);
    }

    /// A part of the answer was handed over; now the caller has to take it.
    pub(super) fn handed_over(&self) {
        self.progress.teller.take();
        self.moved(Side::Caller);
    }

    /// Why the answer ends, where it is to say so.
    pub(super) fn to_tell(&self) -> Option<(End, Refusal)> {
        let can_tell = |answer: &Answering| answer.ends_by_trailers;
        self.progress.cause().filter(|_| self.progress.answer.borrow().as_ref().is_some_and(can_tell))
    }

    /// The caller has taken what there was; now the upstream has to send more.
    pub(super) fn asked_for_more(&self, cx: &Context<'_>) {
        if self.progress.answer.borrow().as_ref().is_some_and(|answer| answer.ends_by_trailers) {
            self.progress.teller.replace(Some(cx.waker().clone()));
        }
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
        self.progress.has_ended.set(true);
        self.all.0.slab.borrow_mut().try_remove(self.place);
    }
}
