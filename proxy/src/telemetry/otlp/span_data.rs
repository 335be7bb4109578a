//! From a finished exchange to spans, by the stable HTTP conventions of OpenTelemetry. There are none for
//! authorization: what is ours stands under `postern.`.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::Method;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, StringValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use postern_audit::EndpointAddress;

use crate::telemetry::spans::{FinishedExchange, Text, UpstreamFacts};
use crate::telemetry::trace_context;

/// One SERVER span, and one CLIENT span where the upstream was called.
pub(super) fn spans(exchange: &FinishedExchange, scope: &InstrumentationScope) -> Vec<SpanData> {
    let server = server_span(exchange, scope);
    let client = exchange.upstream.as_ref().map(|upstream| client_span(exchange, upstream, scope));
    std::iter::once(server).chain(client).collect()
}

fn server_span(exchange: &FinishedExchange, scope: &InstrumentationScope) -> SpanData {
    let mut attributes = Attributes::default();
    if let Some(client) = exchange.client {
        attributes.put("client.address", client.ip().to_string());
        attributes.address("network.peer.address", "network.peer.port", client);
    }
    if let Some(server) = exchange.server {
        attributes.address("server.address", "server.port", server);
    }
    if let Some(request) = &exchange.request {
        attributes.method(&request.method);
        attributes.put("url.scheme", request.scheme);
        attributes.put("url.path", text(&request.path));
        attributes.put("network.protocol.version", request.protocol_version);
        if let Some(route) = &request.route {
            attributes.put("http.route", Arc::clone(&route.path));
            attributes.put("postern.route", Arc::clone(&route.name));
        }
    } else {
        attributes.put("network.transport", if exchange.server.is_some() { "tcp" } else { "unix" });
    }
    attributes.put("postern.listener", Arc::clone(&exchange.listener));
    attributes.put("postern.decision", exchange.decision.outcome.as_str());
    attributes.put("postern.decision_id", text(&exchange.decision.id));
    attributes.put("postern.reason", exchange.decision.reason);
    if let Some(revision) = &exchange.decision.policy_revision {
        attributes.put("postern.policy.revision", Arc::clone(revision));
    }
    if let Some(peer) = &exchange.peer_spiffe_id {
        attributes.put("postern.peer.spiffe_id", Arc::clone(peer));
    }
    let status = attributes.outcome(&SpanKind::Server, exchange.status, exchange.error);
    SpanData {
        span_context: context(exchange, exchange.trace.server_span),
        parent_span_id: exchange.trace.parent.map_or(SpanId::INVALID, span_id),
        parent_span_is_remote: exchange.trace.parent.is_some(),
        span_kind: SpanKind::Server,
        name: server_name(exchange),
        start_time: time(exchange.started_unix_ns),
        end_time: time(exchange.ended_unix_ns.max(exchange.started_unix_ns)),
        attributes: attributes.0,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status,
        instrumentation_scope: scope.clone(),
    }
}

fn client_span(
    exchange: &FinishedExchange,
    upstream: &UpstreamFacts,
    scope: &InstrumentationScope,
) -> SpanData {
    let mut attributes = Attributes::default();
    attributes.put("postern.upstream", Arc::clone(&upstream.name));
    attributes.put("postern.decision_id", text(&exchange.decision.id));
    match &upstream.endpoint {
        Some(EndpointAddress::Ip(address)) => {
            attributes.address("server.address", "server.port", *address);
            attributes.address("network.peer.address", "network.peer.port", *address);
        }
        // A path stands where the conventions have an address, and there is no port.
        Some(EndpointAddress::Unix(path)) => {
            attributes.put("server.address", path.as_str().to_owned());
            attributes.put("network.peer.address", path.as_str().to_owned());
        }
        None => {}
    }
    let is_local = matches!(upstream.endpoint, Some(EndpointAddress::Unix(_)));
    if let Some(request) = &exchange.request {
        attributes.method(&request.method);
        attributes.put("network.protocol.version", upstream.protocol_version);
        if let Some(EndpointAddress::Ip(address)) = &upstream.endpoint {
            attributes.put("url.full", format!("{}://{address}{}", upstream.scheme, request.path.as_str()));
        }
    }
    if exchange.request.is_none() || is_local {
        attributes.put("network.transport", if is_local { "unix" } else { "tcp" });
    }
    if upstream.attempts > 1 {
        attributes.put("http.request.resend_count", i64::from(upstream.attempts) - 1);
    }
    let status = attributes.outcome(&SpanKind::Client, upstream.status, upstream.error);
    SpanData {
        span_context: context(exchange, exchange.trace.client_span),
        parent_span_id: span_id(exchange.trace.server_span),
        parent_span_is_remote: false,
        span_kind: SpanKind::Client,
        name: exchange
            .request
            .as_ref()
            .map_or(Cow::Borrowed("TCP"), |request| method(&request.method).into()),
        start_time: time(upstream.started_unix_ns),
        end_time: time(upstream.ended_unix_ns.max(upstream.started_unix_ns)),
        attributes: attributes.0,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status,
        instrumentation_scope: scope.clone(),
    }
}

#[derive(Default)]
struct Attributes(Vec<KeyValue>);

impl Attributes {
    fn put(&mut self, key: &'static str, value: impl Into<Value>) {
        self.0.push(KeyValue::new(key, value));
    }

    fn address(&mut self, address: &'static str, port: &'static str, of: SocketAddr) {
        self.put(address, of.ip().to_canonical().to_string());
        self.put(port, i64::from(of.port()));
    }

    fn method(&mut self, asked: &Method) {
        let known = method(asked);
        self.put("http.request.method", if known == OTHER_METHOD { "_OTHER" } else { known });
        if known == OTHER_METHOD {
            self.put("http.request.method_original", text(&Text::new(asked.as_str())));
        }
    }

    /// The status, and whether it or `error` makes the span a failed one.
    fn outcome(&mut self, kind: &SpanKind, status: Option<u16>, error: Option<&'static str>) -> Status {
        if let Some(status) = status {
            self.put("http.response.status_code", i64::from(status));
        }
        match (status, error) {
            // For a server, 4xx is an answer and no failure; `postern.reason` tells whose answer it was.
            (Some(400..500), _) if *kind == SpanKind::Server => return Status::Unset,
            (_, Some(code)) => self.put("error.type", code),
            (Some(status @ 400..), None) => self.put("error.type", status.to_string()),
            (Some(_) | None, None) => return Status::Unset,
        }
        Status::error("")
    }
}

/// What the conventions put in place of a method they do not know.
const OTHER_METHOD: &str = "HTTP";

fn method(asked: &Method) -> &'static str {
    let known = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE"]
        .into_iter()
        .find(|known| *known == asked.as_str());
    known.unwrap_or(OTHER_METHOD)
}

fn server_name(exchange: &FinishedExchange) -> Cow<'static, str> {
    let Some(request) = &exchange.request else { return Cow::Borrowed("TCP") };
    let method = method(&request.method);
    match &request.route {
        Some(route) => Cow::Owned(format!("{method} {}", route.path)),
        None => Cow::Borrowed(method),
    }
}

fn context(exchange: &FinishedExchange, span: trace_context::SpanId) -> SpanContext {
    // The SDK knows one more rule than we do: it wants a state it can parse, or none.
    let state = exchange.tracestate.as_ref().and_then(|state| TraceState::from_str(state.as_str()).ok());
    let trace_id = TraceId::from_bytes(exchange.trace.trace_id.to_bytes());
    let flags = TraceFlags::new(exchange.trace.flags());
    SpanContext::new(trace_id, span_id(span), flags, false, state.unwrap_or_default())
}

fn span_id(id: trace_context::SpanId) -> SpanId {
    SpanId::from_bytes(id.to_bytes())
}

fn time(unix_ns: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(unix_ns)
}

fn text(text: &Text) -> StringValue {
    StringValue::from(text.as_str().to_owned())
}
