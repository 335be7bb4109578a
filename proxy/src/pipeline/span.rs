//! What an exchange or a stream leaves for the export thread: facts, copied only where it leaves spans at all.
use super::exchange::Exchange;
use super::refusal::Refusal;
use crate::listener::{Connection, Protocol};
use crate::recorder::Draft;
use crate::routing::Upstream;
use crate::state::Policy;
use crate::telemetry::TraceContext;
use crate::telemetry::spans::{
    Decided, DecisionFacts, FinishedExchange, RequestFacts, RouteFacts, Text, UpstreamFacts,
};
use crate::upstream;
use http::Method;
use postern_audit::Outcome;
use std::sync::Arc;

/// The request as it was decided on.
pub(super) fn facts(exchange: &Exchange, method: &Method, path: &str) -> RequestFacts {
    RequestFacts {
        method: method.clone(),
        scheme: exchange.connection.scheme(),
        path: Text::new(path),
        protocol_version: match exchange.connection.protocol {
            Protocol::Http1 => "1.1",
            Protocol::Http2 => "2",
            Protocol::Tcp => "",
        },
        route: exchange
            .route
            .as_ref()
            .map(|route| RouteFacts { name: Arc::clone(&route.name), path: Arc::clone(&route.path_prefix) }),
    }
}

/// Hands the finished exchange over, if it leaves spans.
pub(super) fn offer(exchange: &mut Exchange) {
    let Some(request) = exchange.request.take() else { return };
    let ended_unix_ns = exchange.worker.clock.unix_ns();
    let upstream = upstream_facts(exchange, ended_unix_ns);
    let tracestate = exchange.tracestate.take();
    let ended = Ended {
        draft: &exchange.draft,
        trace: exchange.trace,
        tracestate,
        times_unix_ns: (exchange.started_unix_ns, ended_unix_ns),
        request: Some(request),
        decided: (exchange.decided, exchange.reason),
        policy: exchange.evaluation.as_ref().map(|evaluation| &*evaluation.policy),
        upstream,
    };
    exchange.worker.spans.offer(finished(&exchange.connection, ended));
}

/// What spans tell of an exchange or of a raw stream, besides its connection.
pub(super) struct Ended<'a> {
    pub(super) draft: &'a Draft,
    pub(super) trace: TraceContext,
    pub(super) tracestate: Option<Text>,
    /// When it began and ended.
    pub(super) times_unix_ns: (u64, u64),
    pub(super) request: Option<RequestFacts>,
    pub(super) decided: (Decided, Refusal),
    pub(super) policy: Option<&'a Policy>,
    pub(super) upstream: Option<UpstreamFacts>,
}

/// All of it as the export thread wants it.
pub(super) fn finished(connection: &Connection, ended: Ended<'_>) -> FinishedExchange {
    let Ended { draft, trace, tracestate, times_unix_ns, request, decided, policy, upstream } = ended;
    let outcome = draft.outcome();
    FinishedExchange {
        trace,
        tracestate,
        started_unix_ns: times_unix_ns.0,
        ended_unix_ns: times_unix_ns.1,
        listener: Arc::clone(&connection.listener.name),
        client: connection.source.address(),
        server: connection.destination,
        peer_spiffe_id: connection.spiffe_id().map(Arc::from),
        request,
        status: (outcome.status != 0).then_some(outcome.status),
        decision: DecisionFacts {
            id: Text::new(draft.id()),
            outcome: decided.0,
            reason: decided.1.code(),
            policy_revision: policy.map(|policy| Arc::from(policy.pdp.revision().as_str())),
        },
        upstream,
        error: outcome.reason,
    }
}

fn upstream_facts(exchange: &Exchange, ended_unix_ns: u64) -> Option<UpstreamFacts> {
    let times_unix_ns = (exchange.upstream_began_unix_ns?, ended_unix_ns);
    let route = exchange.route.as_ref()?;
    let status = exchange.upstream_status.map(|status| status.as_u16());
    let called = route.upstream()?;
    Some(UpstreamFacts { status, ..upstream(called, exchange.draft.outcome(), times_unix_ns) })
}

/// The call to an upstream, but for its answer.
pub(super) fn upstream(called: &Upstream, outcome: &Outcome, times_unix_ns: (u64, u64)) -> UpstreamFacts {
    let target = called.targets.first().or(called.original.as_ref());
    UpstreamFacts {
        name: Arc::clone(&called.name),
        scheme: if target.is_some_and(|target| target.security.is_some()) { "https" } else { "http" },
        endpoint: outcome.endpoint.clone(),
        started_unix_ns: times_unix_ns.0,
        ended_unix_ns: times_unix_ns.1,
        attempts: outcome.attempts.max(1),
        status: None,
        protocol_version: match target.map(|target| target.protocol) {
            Some(upstream::Protocol::Http1) => "1.1",
            Some(upstream::Protocol::H2 | upstream::Protocol::H2c) => "2",
            Some(upstream::Protocol::Tcp) | None => "",
        },
        error: outcome.reason,
    }
}
