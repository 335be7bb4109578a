//! What an exchange leaves for the export thread: facts, copied only where the exchange leaves spans at all.
use super::exchange::Exchange;
use crate::listener::Protocol;
use crate::telemetry::spans::{
    DecisionFacts, FinishedExchange, RequestFacts, RouteFacts, Text, UpstreamFacts,
};
use crate::upstream;
use http::Method;
use std::sync::Arc;

/// The request as it was decided on.
pub(super) fn facts(exchange: &Exchange, method: &Method, path: &str) -> RequestFacts {
    RequestFacts {
        method: method.clone(),
        scheme: exchange.connection.listener.callers.scheme(),
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
    let id = Text::new(exchange.id());
    let upstream = upstream_facts(exchange, ended_unix_ns);
    let (status, error) = (exchange.draft.outcome().status, exchange.draft.outcome().reason);
    let connection = &exchange.connection;
    let finished = FinishedExchange {
        trace: exchange.trace,
        tracestate: exchange.tracestate.take(),
        started_unix_ns: exchange.started_unix_ns,
        ended_unix_ns,
        listener: Arc::clone(&connection.listener.name),
        client: connection.source.address(),
        server: connection.local,
        peer_spiffe_id: Some(Arc::from(connection.peer.spiffe_id.as_str())),
        request: Some(request),
        status: (status != 0).then_some(status),
        decision: DecisionFacts {
            id,
            outcome: exchange.decided,
            reason: exchange.reason.code(),
            policy_revision: exchange
                .evaluation
                .as_ref()
                .map(|e| Arc::from(e.policy.pdp.revision().as_str())),
        },
        upstream,
        error,
    };
    exchange.worker.spans.offer(finished);
}

fn upstream_facts(exchange: &Exchange, ended_unix_ns: u64) -> Option<UpstreamFacts> {
    let started_unix_ns = exchange.upstream_began_unix_ns?;
    let outcome = exchange.draft.outcome();
    let route = exchange.route.as_ref()?;
    let target = route.upstream.targets.first()?;
    Some(UpstreamFacts {
        name: Arc::clone(&route.upstream.name),
        scheme: if target.security.is_some() { "https" } else { "http" },
        endpoint: outcome.endpoint,
        started_unix_ns,
        ended_unix_ns,
        attempts: outcome.attempts.max(1),
        status: exchange.upstream_status.map(|status| status.as_u16()),
        protocol_version: match target.protocol {
            upstream::Protocol::Http1 => "1.1",
            upstream::Protocol::H2 | upstream::Protocol::H2c => "2",
            upstream::Protocol::Tcp => "",
        },
        error: outcome.reason,
    })
}
