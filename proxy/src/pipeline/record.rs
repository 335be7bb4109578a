//! How a decision enters the log: from what is known of the exchange when it is made.
use super::exchange::Exchange;
use super::identity_headers::Telling;
use super::normalise::{Normalised, Switch};
use super::obligations::deny_status;
use super::refusal::{Refusal, Refused};
use super::span;
use crate::config::Enforcement;
use crate::listener::Connection;
use crate::recorder::Draft;
use crate::routing::Route;
use crate::telemetry::spans::Decided;
use crate::traffic::grpc_deadline::GRPC_TIMEOUT;
use crate::traffic::rewrite;
use crate::worker::Worker;
use http::header::SEC_WEBSOCKET_KEY;
use http::{Method, Uri};
use postern_audit as audit;
use postern_audit::hash::sha256;
use postern_policy::{Decision, Verdict};
use std::time::Duration;

/// What of the request is recorded.
struct Head<'a> {
    method: &'a str,
    host: &'a str,
    path: &'a str,
    query_sha256: Option<audit::Hash>,
}

impl<'a> Head<'a> {
    fn of(request: &'a Normalised) -> Self {
        Self {
            method: request.method().as_str(),
            host: request.authority(),
            path: request.path(),
            query_sha256: request.query().map(|query| sha256(query.as_bytes())),
        }
    }
}

/// What policy said, or why it was not asked.
struct Grounds<'a> {
    effect: audit::Effect,
    would: Option<audit::Effect>,
    reason: &'a str,
    rules: &'a dyn audit::record::Texts,
    message: &'a str,
    status: Option<u16>,
    mutations: &'a dyn audit::record::Texts,
    metadata: &'a str,
}

impl Exchange {
    /// Files what policy decided.
    pub(super) fn file_verdict(
        &mut self,
        route: &Route,
        request: &Normalised,
        (verdict, telling): (&Verdict, &Telling),
    ) {
        let refusal = Refusal::from_code(verdict.code);
        let (effect, would, decided) = effect(verdict, route);
        self.decided = decided;
        self.reason = refusal.unwrap_or(Refusal::PolicyDenied);
        self.note_span(request);
        let message = verdict.message.as_deref().or_else(|| verdict.errors.first().map(String::as_str));
        let mut mutations = mutations(route, verdict, (request, telling));
        if effect == audit::Effect::Allow {
            let mirror = route.mirror.as_ref().filter(|_| self.is_mirrored);
            mutations.extend(mirror.map(|mirror| format!("mirror {}", mirror.upstream.name)));
            mutations.extend(self.delay.map(|delay| format!("delay {}ms", delay.as_millis())));
        }
        let status = (effect == audit::Effect::Deny).then(|| {
            deny_status(&verdict.obligations).map_or(self.reason.status(), |status| status.as_u16())
        });
        let rules: Vec<&str> = verdict.reasons.iter().map(postern_policy::PolicyId::as_str).collect();
        let grounds = Grounds {
            effect,
            would,
            reason: verdict.code,
            rules: &rules,
            message: message.unwrap_or_default(),
            status,
            mutations: &mutations,
            metadata: verdict.metadata.as_deref().unwrap_or_default(),
        };
        self.file(&Head::of(request), &grounds);
    }

    /// Files a refusal that came before policy could speak.
    pub(super) fn file_refusal(&mut self, request: &Normalised, refused: &Refused) {
        self.note_refusal(refused);
        self.note_span(request);
        self.file(&Head::of(request), &refused_grounds(refused));
    }

    /// Files a request that could not be read: by what of it was seen, cut and escaped like everything else.
    pub(super) fn file_unreadable(&mut self, method: &Method, uri: &Uri, refused: &Refused) {
        self.note_refusal(refused);
        let host = uri.authority().map_or("", http::uri::Authority::as_str);
        let head = Head { method: method.as_str(), host, path: uri.path(), query_sha256: None };
        self.note_unreadable_span(method, uri.path());
        self.file(&head, &refused_grounds(refused));
    }

    fn note_refusal(&mut self, refused: &Refused) {
        self.decided = Decided::Deny;
        self.reason = refused.refusal;
    }

    fn note_span(&mut self, request: &Normalised) {
        if self.worker.spans.wants(&self.trace, self.decided) {
            self.request = Some(span::facts(self, request.method(), request.path()));
        }
    }

    fn note_unreadable_span(&mut self, method: &Method, path: &str) {
        if self.worker.spans.wants(&self.trace, self.decided) {
            self.request = Some(span::facts(self, method, path));
        }
    }

    fn file(&mut self, head: &Head<'_>, grounds: &Grounds<'_>) {
        let connection = std::rc::Rc::clone(&self.connection);
        let (trace_id, span_id) = (self.trace.trace_id.to_bytes(), self.trace.server_span.to_bytes());
        let path_raw_sha256 = self.path_raw_sha256;
        let route = self.route.clone();
        let claims = self.credentials.claims.clone();
        let workload = self.credentials.workload.clone();
        let evaluated = self.evaluation.as_ref().map(|e| (std::sync::Arc::clone(&e.policy), e.eval_ns));
        let pdp = evaluated.as_ref().map(|(policy, _)| &policy.pdp);
        let digest = evaluated.as_ref().map(|(policy, _)| policy.sha256);
        let decision = audit::Decision {
            connection: Some(connection.caller.connection),
            listener: &connection.listener.name,
            source: Some(connection.source),
            destination: connection.original_destination(),
            tls: connection.tls(),
            peer: peer(&connection),
            token: claims.as_deref().map(token),
            workload_token: workload.as_deref().map(|workload| audit::WorkloadTokenFacts {
                spiffe_id: workload.spiffe_id.as_str(),
                key_id: &workload.key_id,
                token_sha256: &workload.token_sha256,
            }),
            method: head.method,
            host: head.host,
            path: head.path,
            path_raw_sha256: path_raw_sha256.as_ref(),
            query_sha256: head.query_sha256.as_ref(),
            route: route.as_ref().map_or("", |route| &route.name),
            upstream: route.as_ref().map_or("", |route| route.upstream_name()),
            trace_id: Some(&trace_id),
            span_id: Some(&span_id),
            effect: grounds.effect,
            enforcement: route.as_ref().map_or(audit::Enforcement::Enforce, |route| enforcement(route)),
            would: grounds.would,
            reason: grounds.reason,
            rules: grounds.rules,
            message: grounds.message,
            engine: pdp.map_or("", |pdp| pdp.engine().as_str()),
            bundle_sha256: digest.as_ref(),
            bundle_revision: pdp.map_or("", |pdp| pdp.revision().as_str()),
            input_sha256: None,
            eval_ns: evaluated.as_ref().map_or(0, |(_, eval_ns)| *eval_ns),
            cache: audit::Cache::Off,
            status: grounds.status,
            mutations: grounds.mutations,
            metadata: grounds.metadata,
        };
        self.filed = Some(self.draft.file_decision(&decision));
    }
}

/// The caller, as far as it is proven.
pub(super) fn peer(connection: &Connection) -> Option<audit::PeerFacts<'_>> {
    connection.peer().map(|peer| audit::PeerFacts {
        spiffe_id: peer.spiffe_id.as_str(),
        serial: &peer.serial,
        fingerprint_sha256: Some(&peer.fingerprint_sha256),
    })
}

/// Reserves the places of an exchange or a stream. Where there are none just now it waits a little before it is refused.
pub(super) async fn open(worker: &Worker, connection: &Connection) -> Result<Draft, Refusal> {
    if let Ok(draft) = worker.recorder.open_exchange(&connection.caller) {
        return Ok(draft);
    }
    let wait = tokio::time::sleep(Duration::from_millis(worker.recorder.max_wait_ms()));
    let opening = worker.recorder.open_exchange_within(&connection.caller, wait);
    opening.await.map_err(|_| Refusal::AuditUnavailable)
}

/// What is done after a verdict, what would be, and how it counts.
pub(super) fn effect(verdict: &Verdict, route: &Route) -> (audit::Effect, Option<audit::Effect>, Decided) {
    use audit::Effect::{Allow, Deny};
    match (verdict.decision, route.enforcement) {
        (Decision::Allow, Enforcement::Enforce) => (Allow, None, Decided::Allow),
        (Decision::Allow, Enforcement::Observe) => (Allow, Some(Allow), Decided::Allow),
        (Decision::Deny, Enforcement::Observe) => (Allow, Some(Deny), Decided::DenyObserved),
        (Decision::Deny, Enforcement::Enforce) => (Deny, None, Decided::Deny),
    }
}

fn refused_grounds(refused: &Refused) -> Grounds<'_> {
    Grounds {
        effect: audit::Effect::Deny,
        would: None,
        reason: refused.refusal.code(),
        rules: &(),
        message: "",
        status: Some(refused.status().as_u16()),
        mutations: &(),
        metadata: "",
    }
}

pub(super) fn enforcement(route: &Route) -> audit::Enforcement {
    match route.enforcement {
        Enforcement::Enforce => audit::Enforcement::Enforce,
        Enforcement::Observe => audit::Enforcement::Observe,
    }
}

fn token(claims: &postern_identity::token::Claims) -> audit::TokenFacts<'_> {
    audit::TokenFacts {
        issuer: &claims.issuer,
        subject: claims.subject.as_deref().unwrap_or_default(),
        token_id: claims.members.get("jti").and_then(serde_json::Value::as_str).unwrap_or_default(),
        key_id: claims.key_id.as_deref().unwrap_or_default(),
        token_sha256: &claims.token_sha256,
    }
}

/// In which the forwarded request differs from the one decided on, by policy's wish and by the route's.
fn mutations(route: &Route, verdict: &Verdict, (request, telling): (&Normalised, &Telling)) -> Vec<String> {
    let duties = &verdict.obligations;
    let set = duties.request_headers_set.iter().map(|(name, _)| format!("set {name}"));
    let removed = duties.request_headers_remove.iter().map(|name| format!("remove {name}"));
    let query_set = duties.query_set.iter().map(|(name, _)| format!("set query {name}"));
    let query_removed = duties.query_remove.iter().map(|name| format!("remove query {name}"));
    let deadline = request.grpc_timeout().map(|_| format!("set {GRPC_TIMEOUT}"));
    let by_policy = set.chain(removed).chain(query_set).chain(query_removed);
    let by_route = rewrite::mutations(&route.rewrite);
    let speaks_http2 = route.upstream().is_some_and(|upstream| upstream.speaks_http2());
    let handshake = match (request.switch(), speaks_http2) {
        (Switch::ExtendedConnect, false) => Some(format!("set {SEC_WEBSOCKET_KEY}")),
        (Switch::WebSocket, true) => Some(format!("remove {SEC_WEBSOCKET_KEY}")),
        (Switch::ExtendedConnect, true) | (Switch::WebSocket, false) => None,
        (Switch::Nothing | Switch::Connect, _) => None,
    };
    by_route.chain(by_policy).chain(deadline).chain(telling.mutations()).chain(handshake).collect()
}
