//! THE LIFE OF A RAW TCP STREAM, the twin of [`super::serve`]: open, route, decide, enforce, connect, splice, outcome. The
//! steps that read a request have nothing to read; policy is asked about the action `connect`.
//!
//! A stream lasts longer than what permitted it: it is judged again when policy changes, and ends with the identities of
//! both sides.
use super::carry::{Judge, Terms, carry};
use super::decide::{destination_principal, source};
use super::record;
use super::refusal::Refusal;
use super::span;
use super::way::{self, Way};
use crate::config::AuditMode;
use crate::listener::Connection;
use crate::recorder::Draft;
use crate::routing::Route;
use crate::state::{Policy, Snapshot};
use crate::telemetry::TraceContext;
use crate::telemetry::spans::Decided;
use crate::traffic::ring;
use crate::worker::Worker;
use http::HeaderMap;
use postern_audit as audit;
use postern_audit::End;
use postern_policy::{Query, Verdict};
use std::rc::Rc;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

/// A stream in progress. Its outcome files itself when this is dropped.
struct Stream {
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    draft: Draft,
    trace: TraceContext,
    decided: Decided,
    reason: Refusal,
    /// What decided.
    policy: Option<Arc<Policy>>,
    route: Option<Arc<Route>>,
    began_ns: u64,
    started_unix_ns: u64,
    upstream_began_unix_ns: Option<u64>,
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
    let draft = match record::open(&worker, &connection).await {
        Ok(draft) => draft,
        Err(refusal) => return connection.listener.metrics.connection_refused(refusal.code()),
    };
    let _counted = connection.listener.metrics.exchange();
    let trace = {
        let mut random = worker.random.borrow_mut();
        TraceContext::begin(&HeaderMap::new(), worker.sampler, &mut || random.next_u64())
    };
    let mut stream = Stream {
        draft,
        trace,
        decided: Decided::Undecided,
        reason: Refusal::PolicyNotReady,
        policy: None,
        route: None,
        began_ns: worker.clock.monotonic_ns(),
        started_unix_ns: worker.clock.unix_ns(),
        upstream_began_unix_ns: None,
        worker,
        connection,
    };
    if let Err(refusal) = stream.walk(io, drain).await {
        stream.end(End::Refused, Some(refusal));
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
        let worker = Rc::clone(&self.worker);
        self.upstream_began_unix_ns = Some(worker.clock.unix_ns());
        let peer = self.connection.spiffe_id();
        // A route that takes streams has one.
        let upstream = route.upstream().ok_or(Refusal::RouteNone)?;
        let key = upstream.hash_key.as_ref().and_then(|key| ring::place(key, peer, &HeaderMap::new()));
        let onward = (&*route, &**upstream, key);
        let way = way::open(&worker, onward, &self.connection, &mut self.draft).await?;
        let (end, reason) = self.carry((io, way), (&route, policy), drain).await;
        self.end(end, reason);
        Ok(())
    }

    fn judge(&self) -> Result<Judged, (Option<Arc<Route>>, Refusal)> {
        let snapshot = self.worker.snapshots.pin();
        let (listener, name) = (&self.connection.listener.name, self.connection.sni.as_deref());
        let destination = self.connection.destination;
        let route =
            snapshot.routing.find_stream(listener, name, destination).ok_or((None, Refusal::RouteNone))?;
        let caller = self.connection.spiffe_id();
        let route = route.chosen((caller, &HeaderMap::new()), &self.worker.random);
        let refused = |refusal| (Some(Arc::clone(route)), refusal);
        if self.connection.is_over_budget(self.began_ns) {
            return Err(refused(Refusal::GuardRate));
        }
        self.connection.judge(&self.worker, &snapshot).map_err(refused)?;
        let (verdict, policy, eval_ns) = self.decide(&snapshot, route).map_err(refused)?;
        Ok(Judged { route: Arc::clone(route), verdict, policy, eval_ns })
    }

    /// Asks policy. Whether the caller is still believed is not looked at.
    fn decide(&self, snapshot: &Snapshot, route: &Route) -> Result<(Verdict, Arc<Policy>, u64), Refusal> {
        let (worker, connection) = (&self.worker, &self.connection);
        let policy = Arc::clone(snapshot.policy.as_ref().ok_or(Refusal::PolicyNotReady)?);
        let query = Query {
            now_ns: worker.clock.unix_ns(),
            action: CONNECT,
            source: source(connection),
            destination: connection.destination,
            destination_principal: destination_principal(connection, route),
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
                (self.decided, self.reason, self.route) = (Decided::Deny, refusal, route.clone());
                self.file(route.as_deref(), &audit::Decision { reason: refusal.code(), ..denied() });
                return Err(refusal);
            }
        };
        let refusal = Refusal::from_code(verdict.code).unwrap_or(Refusal::PolicyDenied);
        let (effect, would, decided) = record::effect(&verdict, &route);
        (self.decided, self.reason) = (decided, refusal);
        (self.route, self.policy) = (Some(Arc::clone(&route)), Some(Arc::clone(&policy)));
        let rules: Vec<&str> = verdict.reasons.iter().map(postern_policy::PolicyId::as_str).collect();
        let message = verdict.message.as_deref().or_else(|| verdict.errors.first().map(String::as_str));
        let filed = self.file(
            Some(&route),
            &audit::Decision {
                effect,
                would,
                enforcement: record::enforcement(&route),
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
        let (trace_id, span_id) = (self.trace.trace_id.to_bytes(), self.trace.server_span.to_bytes());
        self.draft.file_decision(&audit::Decision {
            trace_id: Some(&trace_id),
            span_id: Some(&span_id),
            connection: Some(connection.caller.connection),
            listener: &connection.listener.name,
            source: Some(connection.source),
            destination: connection.original_destination(),
            peer: record::peer(&connection),
            method: CONNECT,
            host: connection.sni.as_deref().unwrap_or_default(),
            route: route.map_or("", |route| &route.name),
            upstream: route.map_or("", Route::upstream_name),
            ..*decision
        })
    }

    /// Carries bytes for as long as they may be carried.
    async fn carry<S>(
        &mut self,
        (io, way): (S, Way),
        (route, policy): (&Arc<Route>, Arc<Policy>),
        drain: watch::Receiver<bool>,
    ) -> (End, Option<Refusal>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Way { io: upstream, proof, held: _held } = way;
        let terms = Terms { idle_timeout: route.stream_idle_timeout, proof, policy };
        let (worker, connection) = (Rc::clone(&self.worker), Rc::clone(&self.connection));
        let mut again = Again { stream: self, route };
        let carried = carry((&worker, &connection), (io, upstream), (terms, &mut again), drain).await;
        let outcome = self.draft.outcome_mut();
        (outcome.request_bytes, outcome.response_bytes) = carried.bytes;
        (carried.end, carried.reason)
    }

    fn ended(&self) -> span::Ended<'_> {
        let ended_unix_ns = self.worker.clock.unix_ns();
        let call = self.upstream_began_unix_ns.zip(self.route.as_deref());
        span::Ended {
            draft: &self.draft,
            trace: self.trace,
            tracestate: None,
            times_unix_ns: (self.started_unix_ns, ended_unix_ns),
            request: None,
            decided: (self.decided, self.reason),
            policy: self.policy.as_deref(),
            upstream: call.and_then(|(began, route)| {
                Some(span::upstream(route.upstream()?, self.draft.outcome(), (began, ended_unix_ns)))
            }),
        }
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
        if self.worker.spans.wants(&self.trace, self.decided) {
            self.worker.spans.offer(span::finished(&self.connection, self.ended()));
        }
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
        match record::effect(&verdict, self.route).0 {
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
