//! THE LIFE OF A RAW TCP STREAM, the twin of [`super::serve`]: open, route, decide, enforce, connect, splice, outcome. The
//! steps that read a request have nothing to read; policy is asked about the action `connect`.
//!
//! A stream lasts longer than what permitted it: it is judged again when policy changes, and ends with the identities of
//! both sides.
use super::carry::{Judge, Terms, carry};
use super::decide::source;
use super::refusal::Refusal;
use crate::config::{AuditMode, Direction, Enforcement, RetryOn};
use crate::listener::Connection;
use crate::recorder::Draft;
use crate::routing::Route;
use crate::state::{Policy, Snapshot};
use crate::telemetry::metrics::UpstreamResult;
use crate::telemetry::spans::Decided;
use crate::traffic::circuit_breaker::Place;
use crate::traffic::endpoint::Load;
use crate::traffic::outlier::{Moment, Outcome};
use crate::traffic::ring;
use crate::upstream::{BoxIo, Proof, Target};
use crate::worker::Worker;
use http::HeaderMap;
use postern_audit as audit;
use postern_audit::End;
use postern_policy::{Decision, Query, Verdict};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

/// A stream in progress. Its outcome files itself when this is dropped.
struct Stream {
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    draft: Draft,
    decided: Decided,
    reason: Refusal,
    began_ns: u64,
}

/// The way to the other side, and what it takes.
struct Upstream {
    io: BoxIo,
    proof: Option<Rc<Proof>>,
    _places: (Place, Place),
    _load: Load,
}

/// Serves one stream on a connection whose caller is known.
pub(crate) async fn serve<S>(
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    io: S,
    drain: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // 3. Places for the decision and the outcome are reserved before anything else is done.
    let Ok(draft) = open(&worker, &connection).await else {
        connection.listener.metrics.connection_refused(Refusal::AuditUnavailable.code());
        return;
    };
    let _counted = connection.listener.metrics.exchange();
    let began_ns = worker.clock.monotonic_ns();
    let (decided, reason) = (Decided::Undecided, Refusal::PolicyNotReady);
    let mut stream = Stream { worker, connection, draft, decided, reason, began_ns };
    if let Err(refusal) = stream.walk(io, drain).await {
        stream.end(End::Refused, Some(refusal));
    }
}

async fn open(worker: &Worker, connection: &Connection) -> Result<Draft, crate::log::Unavailable> {
    match worker.recorder.open_exchange(&connection.caller) {
        Ok(draft) => Ok(draft),
        Err(_) => {
            let wait = tokio::time::sleep(Duration::from_millis(worker.recorder.max_wait_ms()));
            worker.recorder.open_exchange_within(&connection.caller, wait).await
        }
    }
}

impl Stream {
    async fn walk<S>(&mut self, io: S, drain: watch::Receiver<bool>) -> Result<(), Refusal>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        // 6 and 8. What policy says, or why it is not asked.
        let judged = self.judge();
        // 9. The decision is filed, and only then does a byte go anywhere.
        let (route, policy) = self.enforce(judged).await?;
        // 10. The other side, under the route's traffic rules.
        let connecting = tokio::time::timeout(route.timeout, self.connect(&route));
        let upstream = connecting.await.unwrap_or(Err(Refusal::UpstreamTimeout))?;
        let (end, reason) = self.carry((io, upstream), (&route, policy), drain).await;
        self.end(end, reason);
        Ok(())
    }

    fn judge(&self) -> Result<Judged, (Option<Arc<Route>>, Refusal)> {
        let snapshot = self.worker.snapshots.pin();
        let (listener, name) = (&self.connection.listener.name, self.connection.sni.as_deref());
        let destination = self.connection.destination;
        let route =
            snapshot.routing.find_stream(listener, name, destination).ok_or((None, Refusal::RouteNone))?;
        let refused = |refusal| (Some(Arc::clone(route)), refusal);
        if self.connection.is_over_budget(self.began_ns) {
            return Err(refused(Refusal::GuardRate));
        }
        let (verdict, policy, eval_ns) = self.decide(&snapshot, route).map_err(refused)?;
        Ok(Judged { route: Arc::clone(route), verdict, policy, eval_ns })
    }

    fn decide(&self, snapshot: &Snapshot, route: &Route) -> Result<(Verdict, Arc<Policy>, u64), Refusal> {
        let (worker, connection) = (&self.worker, &self.connection);
        connection.judge(worker, snapshot)?;
        let policy = Arc::clone(snapshot.policy.as_ref().ok_or(Refusal::PolicyNotReady)?);
        let query = Query {
            now_ns: worker.clock.unix_ns(),
            action: CONNECT,
            source: source(connection),
            destination: connection.destination,
            destination_principal: match connection.listener.callers.direction() {
                Direction::Inbound => Some(connection.own.spiffe_id().as_str()),
                Direction::Outbound => route.upstream.principal.as_deref(),
            },
            http: None,
            claims: None,
            transaction: None,
            token_issuer: None,
            workload_token: None,
            route: &route.name,
            service: &connection.listener.name,
        };
        let began_ns = worker.clock.monotonic_ns();
        let verdict = policy.pdp.decide(&mut worker.scratch.borrow_mut(), &query);
        Ok((verdict, policy, worker.clock.monotonic_ns().saturating_sub(began_ns)))
    }

    /// Files what was decided, and gives way to what is permitted.
    async fn enforce(
        &mut self,
        judged: Result<Judged, (Option<Arc<Route>>, Refusal)>,
    ) -> Result<(Arc<Route>, Arc<Policy>), Refusal> {
        let Judged { route, verdict, policy, eval_ns } = match judged {
            Ok(judged) => judged,
            Err((route, refusal)) => {
                (self.decided, self.reason) = (Decided::Deny, refusal);
                self.file(route.as_deref(), &audit::Decision { reason: refusal.code(), ..denied() });
                return Err(refusal);
            }
        };
        let refusal = Refusal::from_code(verdict.code).unwrap_or(Refusal::PolicyDenied);
        let (effect, would, decided) = effect(&verdict, &route);
        (self.decided, self.reason) = (decided, refusal);
        let rules: Vec<&str> = verdict.reasons.iter().map(postern_policy::PolicyId::as_str).collect();
        let message = verdict.message.as_deref().or_else(|| verdict.errors.first().map(String::as_str));
        let filed = self.file(
            Some(&route),
            &audit::Decision {
                effect,
                would,
                enforcement: match route.enforcement {
                    Enforcement::Enforce => audit::Enforcement::Enforce,
                    Enforcement::Observe => audit::Enforcement::Observe,
                },
                reason: verdict.code,
                rules: &rules,
                message: message.unwrap_or_default(),
                engine: policy.pdp.engine().as_str(),
                bundle_sha256: Some(&policy.sha256),
                bundle_revision: policy.pdp.revision().as_str(),
                eval_ns,
                metadata: verdict.metadata.as_deref().unwrap_or_default(),
                ..denied()
            },
        );
        let is_durable = matches!(route.audit_mode, AuditMode::Durable) || self.draft.must_be_durable();
        if is_durable {
            self.draft.durable(filed).await.map_err(|_| Refusal::AuditUnavailable)?;
        }
        match effect {
            audit::Effect::Allow => Ok((route, policy)),
            audit::Effect::Deny | audit::Effect::None => Err(refusal),
        }
    }

    fn file(&mut self, route: Option<&Route>, decision: &audit::Decision<'_>) -> crate::log::Filed {
        let connection = Rc::clone(&self.connection);
        self.draft.file_decision(&audit::Decision {
            connection: Some(connection.caller.connection),
            listener: &connection.listener.name,
            source: Some(connection.source),
            destination: connection.original_destination(),
            peer: Some(audit::PeerFacts {
                spiffe_id: connection.peer.spiffe_id.as_str(),
                serial: &connection.peer.serial,
                fingerprint_sha256: Some(&connection.peer.fingerprint_sha256),
            }),
            method: CONNECT,
            host: connection.sni.as_deref().unwrap_or_default(),
            route: route.map_or("", |route| &route.name),
            upstream: route.map_or("", |route| &route.upstream.name),
            ..*decision
        })
    }

    /// One endpoint after the other, as far as the route says, until one takes the connection.
    async fn connect(&mut self, route: &Route) -> Result<Upstream, Refusal> {
        let (worker, upstream) = (Rc::clone(&self.worker), &route.upstream);
        let breaker = &upstream.breaker;
        let in_hand = breaker.requests.take_or_refuse().ok_or(Refusal::UpstreamOverflow)?;
        let pending = breaker.pending.take_or_refuse().ok_or(Refusal::UpstreamOverflow)?;
        let peer = self.connection.peer.spiffe_id.as_str();
        let key = upstream.hash_key.as_ref().and_then(|key| ring::place(key, peer, &HeaderMap::new()));
        let original = self.connection.original_destination();
        let (mut tried, mut paid) = (Vec::new(), None);
        loop {
            let (target, mut chosen) =
                worker.aim(upstream, (key, &tried), original).ok_or(Refusal::UpstreamNoEndpoint)?;
            let outcome = self.draft.outcome_mut();
            outcome.attempts = outcome.attempts.saturating_add(1);
            outcome.endpoint = Some(target.endpoint);
            let place = breaker.connections.wait().await;
            let refusal = match attempt(&worker, (&route.upstream, &target), &mut chosen.load).await {
                Ok((io, proof)) => {
                    drop((pending, paid));
                    return Ok(Upstream { io, proof, _places: (in_hand, place), _load: chosen.load });
                }
                Err(refusal) => refusal,
            };
            tried.push(chosen.index);
            let may_try = route.retry.on.contains(&RetryOn::ConnectFailure)
                && u32::try_from(tried.len()).is_ok_and(|tried| tried < route.retry.attempts_max);
            let now_ns = worker.clock.monotonic_ns();
            paid = if may_try { upstream.retry_budget.pay(&breaker.requests, now_ns) } else { None };
            if paid.is_none() {
                return Err(refusal);
            }
            upstream.metrics.retried();
        }
    }

    /// Carries bytes for as long as they may be carried.
    async fn carry<S>(
        &mut self,
        (io, upstream): (S, Upstream),
        (route, policy): (&Arc<Route>, Arc<Policy>),
        drain: watch::Receiver<bool>,
    ) -> (End, Option<Refusal>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Upstream { io: upstream, proof, _places, _load } = upstream;
        let terms = Terms { idle_timeout: route.stream_idle_timeout, proof, policy };
        let (worker, connection) = (Rc::clone(&self.worker), Rc::clone(&self.connection));
        let mut again = Again { stream: self, route };
        let carried = carry((&worker, &connection), (io, upstream), (terms, &mut again), drain).await;
        let outcome = self.draft.outcome_mut();
        (outcome.request_bytes, outcome.response_bytes) = carried.bytes;
        (carried.end, carried.reason)
    }

    fn end(&mut self, end: End, reason: Option<Refusal>) {
        let outcome = self.draft.outcome_mut();
        outcome.end = Some(end);
        outcome.reason = reason.map(Refusal::code);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let duration_ns = self.worker.clock.monotonic_ns().saturating_sub(self.began_ns);
        self.draft.outcome_mut().duration_ns = duration_ns;
        if self.decided == Decided::Deny && self.reason.is_callers() {
            self.connection.note_refusal(self.began_ns);
        }
        self.connection.listener.metrics.exchange_finished(self.decided, self.reason.code(), duration_ns);
    }
}

/// What came of asking policy.
struct Judged {
    route: Arc<Route>,
    verdict: Verdict,
    policy: Arc<Policy>,
    eval_ns: u64,
}

/// Asks policy about an open stream once more.
struct Again<'a> {
    stream: &'a Stream,
    route: &'a Route,
}

impl Judge for Again<'_> {
    fn judge(&mut self, snapshot: &Snapshot) -> Result<Arc<Policy>, Refusal> {
        let (verdict, policy, _) = self.stream.decide(snapshot, self.route)?;
        match effect(&verdict, self.route).0 {
            audit::Effect::Allow => Ok(policy),
            audit::Effect::Deny | audit::Effect::None => {
                Err(Refusal::from_code(verdict.code).unwrap_or(Refusal::PolicyDenied))
            }
        }
    }

    fn check(&self, _: &Snapshot) -> Result<(), Refusal> {
        Ok(())
    }
}

/// What policy calls a raw stream, and the log its method.
const CONNECT: &str = "connect";

fn denied() -> audit::Decision<'static> {
    audit::Decision { effect: audit::Effect::Deny, ..audit::Decision::default() }
}

/// What is done, what would be, and how it counts.
fn effect(verdict: &Verdict, route: &Route) -> (audit::Effect, Option<audit::Effect>, Decided) {
    use audit::Effect::{Allow, Deny};
    match (verdict.decision, route.enforcement) {
        (Decision::Allow, Enforcement::Enforce) => (Allow, None, Decided::Allow),
        (Decision::Allow, Enforcement::Observe) => (Allow, Some(Allow), Decided::Allow),
        (Decision::Deny, Enforcement::Observe) => (Allow, Some(Deny), Decided::DenyObserved),
        (Decision::Deny, Enforcement::Enforce) => (Deny, None, Decided::Deny),
    }
}

/// One connection to one endpoint, and what it says of that.
async fn attempt(
    worker: &Worker,
    (upstream, target): (&crate::routing::Upstream, &Target),
    load: &mut Load,
) -> Result<(BoxIo, Option<Rc<Proof>>), Refusal> {
    let began_ns = worker.clock.monotonic_ns();
    let made = worker.upstreams.stream(target).await;
    let now_ns = worker.clock.monotonic_ns();
    let took_ns = now_ns.saturating_sub(began_ns);
    let (result, outcome) = match &made {
        Ok(_) => (UpstreamResult::Success, Outcome::Success),
        Err(_) => (UpstreamResult::NoResponse, Outcome::Failure),
    };
    upstream.metrics.attempt(result, took_ns);
    if made.is_err() {
        upstream.metrics.connect_failed();
    }
    if upstream.targets.len() > 1 {
        upstream.note(load, (outcome, took_ns), Moment { now_ns, random: &mut worker.random.borrow_mut() });
    }
    made
}
