//! One request and its response: what becomes known of it on the way, and how it ended.
//!
//! An exchange that is dropped is not forgotten: its outcome is filed, counted and traced by `drop`, so that a
//! caller who goes away and a panic leave the same traces as a finished answer.
use super::asked::Asked;
use super::body::{BodySeen, BodyWatch};
use super::credentials::Credentials;
use super::enforce::Attempt;
use super::in_progress::{Answering, Entered, Permit, Progress, Terms};
use super::normalise::Normalised;
use super::record;
use super::refusal::{Dialect, Refusal};
use super::span;
use super::tunnel::Extended;
use crate::config::{AuditMode, Explain};
use crate::cut::Cut;
use crate::listener::{Active, Connection};
use crate::log::Filed;
use crate::recorder::Draft;
use crate::routing::{Route, Upstream};
use crate::state::Policy;
use crate::telemetry::TraceContext;
use crate::telemetry::spans::{Decided, RequestFacts, Text};
use crate::telemetry::trace_context::{TRACESTATE, TraceState};
use crate::traffic::circuit_breaker::Place;
use crate::traffic::endpoint::Load;
use crate::traffic::outlier::Moment;
use crate::upstream::Proof;
use crate::worker::Worker;
use http::{HeaderMap, Method, Request, StatusCode};
use hyper::body::Incoming;
use postern_audit::{End, EndpointAddress};
use postern_identity::Principal;
use postern_identity::pop::workload::Workload;
use postern_identity::token::Claims;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// An exchange in progress.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(super) worker: Rc<Worker>,
    pub(super) connection: Rc<Connection>,
    pub(super) draft: Draft,
    pub(super) filed: Option<Filed>,
    pub(super) trace: TraceContext,
    pub(super) route: Option<Arc<Route>>,
    pub(super) credentials: Credentials,
    pub(super) evaluation: Option<Evaluation>,
    pub(super) decided: Decided,
    pub(super) reason: Refusal,
    /// The caller's `tracestate`, where it goes on and the exchange may leave spans.
    pub(super) tracestate: Option<Text>,
    /// Set where the exchange leaves spans.
    pub(super) request: Option<RequestFacts>,
    pub(super) started_unix_ns: u64,
    /// Of the path as it came, where it came in another spelling.
    pub(super) path_raw_sha256: Option<postern_audit::Hash>,
    pub(super) upstream_began_unix_ns: Option<u64>,
    /// The status of the upstream, where it answered.
    pub(super) upstream_status: Option<StatusCode>,
    /// The request body, for as long as nobody has begun to read it. HTTP/2 resets a stream whose body is dropped
    /// before the answer has been sent, and the caller would never see the answer.
    unread: Option<Incoming>,
    /// When a gRPC caller stops waiting, if it says so.
    pub(super) deadline: Option<Instant>,
    dialect: Dialect,
    is_head: bool,
    /// Whether another upstream is to get a copy.
    pub(super) is_mirrored: bool,
    /// How long it waits on purpose.
    pub(super) delay: Option<Duration>,
    /// Its place among the requests that the upstream has in hand.
    request_place: Option<Place>,
    /// What it takes to ask policy again, once it was permitted.
    pub(super) asked: Option<Rc<Asked>>,
    /// The way to its stream's bytes, for a CONNECT over HTTP/2.
    pub(super) extended: Option<Extended>,
    /// Has it looked at once a second, until its answer is.
    entered: Option<Entered>,
    /// Its share in what the endpoint has in hand.
    load: Option<Load>,
    began_ns: u64,
    request_body: Option<Rc<BodyWatch>>,
    /// How it gets on, once it was permitted or is answered.
    progress: Option<Rc<Progress>>,
    cut: Rc<Cut>,
    _active: Active,
}

/// What decided, and how long it took.
#[derive(Debug)]
pub(super) struct Evaluation {
    pub(super) policy: Arc<Policy>,
    pub(super) eval_ns: u64,
}

impl Exchange {
    /// Step 3. Refuses when the log has no place: then nothing of the request is looked at.
    pub(super) async fn open<B>(
        worker: Rc<Worker>,
        connection: Rc<Connection>,
        request: &Request<B>,
        cut: Rc<Cut>,
    ) -> Result<Self, Refusal> {
        let draft = record::open(&worker, &connection).await?;
        let sampler = worker.sampler;
        let trace = {
            let mut random = worker.random.borrow_mut();
            TraceContext::begin(request.headers(), sampler, &mut || random.next_u64())
        };
        let active = connection.begin(&cut);
        Ok(Self {
            draft,
            filed: None,
            trace,
            route: None,
            credentials: Credentials::default(),
            evaluation: None,
            decided: Decided::Undecided,
            reason: Refusal::PolicyNotReady,
            tracestate: tracestate(&trace, request.headers()),
            request: None,
            started_unix_ns: worker.clock.unix_ns(),
            path_raw_sha256: None,
            upstream_began_unix_ns: None,
            upstream_status: None,
            unread: None,
            deadline: None,
            request_place: None,
            load: None,
            asked: None,
            dialect: Dialect::of(request.headers()),
            is_mirrored: false,
            delay: None,
            is_head: *request.method() == Method::HEAD,
            began_ns: worker.clock.monotonic_ns(),
            request_body: None,
            extended: None,
            entered: None,
            progress: None,
            cut,
            _active: active,
            worker,
            connection,
        })
    }

    /// The decision id.
    pub(super) fn id(&self) -> &str {
        self.draft.id()
    }

    /// Keeps a body that is not read yet, or will not be.
    pub(super) fn keep_unread(&mut self, body: Option<Incoming>) {
        self.unread = body;
    }

    /// The body, to be read by whoever asked for it.
    pub(super) fn take_unread(&mut self) -> Option<Incoming> {
        self.unread.take()
    }

    pub(super) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Whether the caller wants the head of an answer and no body.
    pub(super) fn is_head(&self) -> bool {
        self.is_head
    }

    /// How much a refused caller is told. Before a route says, one whose SVID is verified learns the reason code, and one that
    /// has proven nothing learns nothing.
    pub(super) fn explain(&self) -> Explain {
        let unrouted = if self.connection.peer().is_some() { Explain::Code } else { Explain::None };
        self.route.as_ref().map_or(unrouted, |route| route.explain)
    }

    pub(super) fn note_route(&mut self, route: &Arc<Route>) {
        self.route = Some(Arc::clone(route));
    }

    /// Whether there is memory for another exchange.
    pub(super) fn within_memory(&self) -> Result<(), Refusal> {
        match self.connection.listener.memory.is_short() {
            true => Err(Refusal::LimitMemory),
            false => Ok(()),
        }
    }

    /// Refuses where the principal has caused too many refusals.
    pub(super) fn within_budget(&self) -> Result<(), Refusal> {
        match self.connection.is_over_budget(self.began_ns) {
            true => Err(Refusal::GuardRate),
            false => Ok(()),
        }
    }

    pub(super) fn note_raw_path(&mut self, path: &str) {
        self.path_raw_sha256 = Some(postern_audit::hash::sha256(path.as_bytes()));
    }

    pub(super) fn note_workload(&mut self, workload: Workload) {
        self.credentials.workload = Some(Arc::new(workload));
    }

    pub(super) fn note_claims(&mut self, claims: &Arc<Claims>) {
        self.credentials.claims = Some(Arc::clone(claims));
    }

    pub(super) fn note_transaction(&mut self, claims: &Arc<Claims>) {
        self.credentials.transaction = Some(Arc::clone(claims));
    }

    pub(super) fn note_evaluation(&mut self, policy: Arc<Policy>, eval_ns: u64) {
        self.evaluation = Some(Evaluation { policy, eval_ns });
    }

    /// Waits until the filed decision is as safe as the log's mode, or the route's higher one, asks.
    pub(super) async fn recorded(&self, route: &Route) -> Result<(), Refusal> {
        let by_route = match route.audit_mode {
            AuditMode::BestEffort | AuditMode::Async => false,
            AuditMode::Durable => true,
        };
        match self.filed {
            Some(filed) if by_route || self.draft.must_be_durable() => {
                self.draft.durable(filed).await.map_err(|_| Refusal::AuditUnavailable)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Tells the upstream which trace it is in.
    pub(super) fn trace_upstream(&mut self, attempt: &mut Attempt) {
        attempt.trace(&self.trace);
        self.upstream_began_unix_ns = Some(self.worker.clock.unix_ns());
    }

    /// Follows the request body, which hyper owns from now on.
    pub(super) fn follow(&mut self, body: &Rc<BodyWatch>) {
        self.request_body = Some(Rc::clone(body));
    }

    /// Refuses where the upstream has as many requests in hand as it may.
    pub(super) fn take_request_place(&mut self, upstream: &Upstream) -> Result<(), Refusal> {
        self.request_place = upstream.breaker.requests.take_or_refuse();
        if self.request_place.is_some() {
            return Ok(());
        }
        if let Some(adaptive) = &upstream.adaptive {
            let now_ns = self.worker.clock.monotonic_ns();
            adaptive.look(&mut Moment { now_ns, random: &mut self.worker.random.borrow_mut() });
        }
        Err(Refusal::UpstreamOverflow)
    }

    /// What it takes to ask policy about it again.
    pub(super) fn asked(
        &self,
        (request, principal): (Normalised, Principal),
        route: &Arc<Route>,
        body: BodySeen,
    ) -> Rc<Asked> {
        let (id, connection) = (self.draft.decision_id(), Rc::clone(&self.connection));
        let (credentials, route) = (self.credentials.clone(), Arc::clone(route));
        Rc::new(Asked { id, connection, credentials, request, principal, route, body })
    }

    /// Has it looked at from now on, for as long as it is in progress.
    pub(super) fn begin(&mut self, asked: Rc<Asked>) {
        let policy = self.evaluation.as_ref().map(|evaluation| Arc::clone(&evaluation.policy));
        let permit = policy.map(|policy| Permit { asked: Rc::clone(&asked), policy });
        self.asked = Some(asked);
        self.enter(permit);
    }

    /// Whether the request asks to switch protocols, and may.
    pub(super) fn may_switch(&self) -> bool {
        self.asked.as_ref().is_some_and(|asked| asked.request.wants_websocket())
    }

    /// It goes to the upstream by a connection with this proof, or by none yet.
    pub(super) fn rests_on(&self, proof: Option<Rc<Proof>>) {
        if let Some(progress) = &self.progress {
            progress.rests_on(proof);
        }
    }

    /// It is looked at by somebody else from now on.
    pub(super) fn leave(&mut self) {
        self.entered = None;
    }

    /// What was carried after the protocols were switched.
    pub(super) fn carried(&mut self, (up, down): (u64, u64)) {
        match &self.request_body {
            Some(body) => body.carried(up),
            None => self.draft.outcome_mut().request_bytes = up,
        }
        self.draft.outcome_mut().response_bytes = down;
    }

    /// Counts among what the endpoint has in hand until the answer has ended.
    pub(super) fn hold(&mut self, load: Load) {
        self.load = Some(load);
    }

    /// How long the call may take in all, counted from now.
    pub(super) fn note_grpc_timeout(&mut self, timeout: Duration) {
        self.deadline = Instant::now().checked_add(timeout);
    }

    pub(super) fn note_attempt(&mut self, endpoint: EndpointAddress) {
        let outcome = self.draft.outcome_mut();
        outcome.attempts = outcome.attempts.saturating_add(1);
        outcome.endpoint = Some(endpoint);
    }

    /// Whether the upstream has been sent the whole request.
    pub(super) fn has_sent_all(&self) -> bool {
        self.request_body.as_ref().is_none_or(|body| body.ended_at().is_some())
    }

    /// How the caller broke the body that it was sending, if it did.
    pub(super) fn broken_by_caller(&self) -> Option<Refusal> {
        self.request_body.as_ref().and_then(|body| body.broken())
    }

    /// The upstream has answered.
    pub(super) fn answered(&mut self, status: StatusCode) {
        self.upstream_status = Some(status);
        self.draft.outcome_mut().status = status.as_u16();
    }

    /// Has the upstream's answer looked after, which must not stand still for longer than this.
    pub(super) fn look_after(&mut self, answering: Answering) -> Option<Entered> {
        let entered = self.entered.take()?;
        entered.answers(answering);
        Some(entered)
    }

    /// The same for an answer of our own, which nobody has to permit.
    pub(super) fn look_after_own(&mut self) -> Option<Entered> {
        self.enter(None);
        let idle_timeout = self.connection.listener.limits.idle_timeout;
        self.look_after(Answering { idle_timeout, ..Answering::default() })
    }

    fn enter(&mut self, permit: Option<Permit>) {
        let terms = Terms {
            deadline: self.deadline,
            credentials: self.credentials.clone(),
            validity: self.connection.listener.validity,
        };
        let entered = self.worker.in_progress.enter((terms, permit), &self.cut);
        self.progress = Some(entered.progress());
        self.entered = Some(entered);
    }

    /// The body of the request, for whoever has to know whether it still comes.
    pub(super) fn request_body(&self) -> Option<Rc<BodyWatch>> {
        self.request_body.clone()
    }

    /// A part of the answer went down.
    pub(super) fn sent(&mut self, bytes: usize) {
        let outcome = self.draft.outcome_mut();
        outcome.response_bytes = outcome.response_bytes.saturating_add(bytes as u64);
    }

    /// We answered by ourselves.
    pub(super) fn refused(&mut self, status: StatusCode, refusal: Refusal, bytes: usize) {
        self.reason = refusal;
        let outcome = self.draft.outcome_mut();
        outcome.status = status.as_u16();
        outcome.response_bytes = bytes as u64;
        outcome.end = Some(End::Refused);
        outcome.reason = Some(refusal.code());
    }

    /// An answer of our own went down whole, unless that was said already.
    pub(super) fn handed_over(&mut self, bytes: usize) {
        let outcome = self.draft.outcome_mut();
        if outcome.end.is_none() {
            outcome.end = Some(End::Done);
            outcome.response_bytes = bytes as u64;
        }
    }

    /// The answer has ended.
    pub(super) fn end(mut self, end: End, reason: Option<Refusal>) {
        let outcome = self.draft.outcome_mut();
        outcome.end = Some(end);
        outcome.reason = reason.map(Refusal::code);
    }

    /// Fills in what only the end can tell.
    fn settle(&mut self) -> u64 {
        let duration_ns = self.worker.clock.monotonic_ns().saturating_sub(self.began_ns);
        let request_bytes = self.request_body.as_ref().map(|body| body.bytes());
        let outcome = self.draft.outcome_mut();
        outcome.duration_ns = duration_ns;
        outcome.request_bytes = request_bytes.unwrap_or(outcome.request_bytes);
        if outcome.end.is_none() {
            let revoked = self.connection.revoked();
            let cut = self.progress.as_ref().and_then(|progress| progress.cause());
            outcome.end = Some(match cut {
                Some((end, _)) => end,
                None if std::thread::panicking() => End::Panic,
                None if revoked.is_some() => End::Revoked,
                None => End::ClientGone,
            });
            outcome.reason = cut.map(|(_, refusal)| refusal).or(revoked).map(Refusal::code);
        }
        duration_ns
    }
}

fn tracestate(trace: &TraceContext, headers: &HeaderMap) -> Option<Text> {
    match trace.tracestate {
        TraceState::Forward => headers.get(TRACESTATE)?.to_str().ok().map(Text::new),
        TraceState::Remove => None,
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let duration_ns = self.settle();
        if let Some(body) = &self.request_body {
            body.let_go(self.draft.outcome_mut().end);
        }
        if self.decided == Decided::Deny && self.reason.is_callers() {
            self.connection.note_refusal(self.began_ns);
        }
        self.connection.listener.metrics.exchange_finished(self.decided, self.reason.code(), duration_ns);
        span::offer(self);
    }
}
