//! Steps 7 and 8: the body where policy reads it, and the question to policy.
use super::body::{self, BodySeen, RequestBody};
use super::credentials::Credentials;
use super::exchange::Exchange;
use super::normalise::{Normalised, is_grpc};
use super::refusal::{Refusal, Refused};
use crate::config::Direction;
use crate::listener::Connection;
use crate::routing::Route;
use crate::state::{Policy, Snapshot};
use crate::worker::Worker;
use http::{HeaderMap, Version};
use postern_identity::Principal;
use postern_policy::{Headers, Http, Query, Source, Tls, TokenIssuer, Verdict, WorkloadToken};
use std::sync::Arc;

/// Reads the body whole if the policy in force reads bodies, else lets it stream.
///
/// A policy that is swapped in between here and the decision may read what was not read; it then sees a
/// body that cannot be read, which no policy allows by accident.
pub(super) async fn take_body(exchange: &mut Exchange, request: &Normalised) -> Result<RequestBody, Refusal> {
    let Some(mut body) = exchange.take_unread() else { return Ok(RequestBody::empty()) };
    let listener = Arc::clone(&exchange.connection.listener);
    let bytes_max = u64::try_from(listener.limits.body_bytes_max).unwrap_or(u64::MAX);
    let announced = http_body::Body::size_hint(&body).lower();
    if announced > bytes_max {
        exchange.keep_unread(Some(body));
        return Err(Refusal::BodyTooLarge);
    }
    let policy = exchange.worker.snapshots.pin().policy.clone();
    let is_read = policy.is_some_and(|policy| policy.pdp.reads_body());
    // A gRPC call may stream for as long as it likes, so it is never held back to be read.
    if !is_read || is_grpc(request.headers()) || http_body::Body::is_end_stream(&body) {
        return Ok(RequestBody::stream(body, bytes_max));
    }
    let read = body::read(&mut body, &listener).await;
    if read.is_err() {
        exchange.keep_unread(Some(body));
    }
    read
}

/// What policy is asked about one request.
#[derive(Debug)]
pub(super) struct Question<'a> {
    pub(super) id: &'a str,
    pub(super) connection: &'a Connection,
    pub(super) credentials: &'a Credentials,
    pub(super) request: &'a Normalised,
    pub(super) principal: &'a Principal,
    pub(super) route: &'a Route,
    pub(super) body: &'a BodySeen,
}

/// What it said, which policy that was, and how long it took.
pub(super) struct Answered {
    pub(super) verdict: Verdict,
    pub(super) policy: Arc<Policy>,
    pub(super) eval_ns: u64,
}

/// Asks policy about a request. An error on the way is a deny by the verdict itself; what refuses here is that there is
/// no policy, or that the caller is no longer to be believed.
pub(super) fn decide(
    exchange: &mut Exchange,
    request: &Normalised,
    principal: &Principal,
    (route, body): (&Route, &BodySeen),
) -> Result<Verdict, Refused> {
    let worker = &exchange.worker;
    let snapshot = worker.snapshots.pin();
    exchange.connection.judge(worker, &snapshot)?;
    // The body may have been long in coming.
    exchange.credentials.check(&snapshot, worker.clock.unix_time())?;
    let question = Question {
        id: exchange.id(),
        connection: &exchange.connection,
        credentials: &exchange.credentials,
        request,
        principal,
        route,
        body,
    };
    let Answered { verdict, policy, eval_ns } = ask(worker, &question, &snapshot)?;
    exchange.note_evaluation(policy, eval_ns);
    Ok(verdict)
}

/// Asks the policy in force. Kept a function of its own in optimised builds, so that its instructions can be counted.
#[inline(never)]
pub(super) fn ask(
    worker: &Worker,
    question: &Question<'_>,
    snapshot: &Snapshot,
) -> Result<Answered, Refusal> {
    let policy = Arc::clone(snapshot.policy.as_ref().ok_or(Refusal::PolicyNotReady)?);
    let Question { connection, credentials, request, principal, route, .. } = question;
    let headers = RequestHeaders(request.headers());
    let workload = credentials.workload.as_deref();
    let query = Query {
        now_ns: worker.clock.unix_ns(),
        action: request.method().as_str(),
        source: source(connection),
        destination: connection.destination,
        destination_principal: destination_principal(connection, route),
        http: Some(http(question, &headers)),
        claims: principal.claims.as_ref().map(|claims| &claims.members),
        transaction: principal.transaction.as_ref().map(|claims| &claims.members),
        token_issuer: principal.claims.as_ref().map(|claims| TokenIssuer {
            issuer: &claims.issuer,
            trust_domain: claims.trust_domain.as_ref().map(postern_identity::TrustDomain::as_str),
        }),
        workload_token: workload.map(|workload| WorkloadToken {
            spiffe_id: workload.spiffe_id.as_str(),
            trust_domain: workload.spiffe_id.trust_domain().as_str(),
            claims: &workload.members,
        }),
        route: &route.name,
        service: &connection.listener.name,
    };
    let began = worker.clock.monotonic_ns();
    let verdict = policy.pdp.decide(&mut worker.scratch.borrow_mut(), &query);
    let eval_ns = worker.clock.monotonic_ns().saturating_sub(began);
    Ok(Answered { verdict, policy, eval_ns })
}

/// Who answers, where that is known before: inbound we do, outbound the one that the upstream has to prove to be.
pub(super) fn destination_principal<'a>(connection: &'a Connection, route: &'a Route) -> Option<&'a str> {
    match connection.listener.callers.direction() {
        // Who came in plain text was shown nothing.
        Direction::Inbound => connection.peer().map(|_| connection.own.spiffe_id().as_str()),
        Direction::Outbound => route.upstream()?.principal.as_deref(),
    }
}

pub(super) fn source(connection: &Connection) -> Source<'_> {
    let peer = connection.peer();
    Source {
        address: connection.source.address(),
        spiffe_id: connection.spiffe_id(),
        trust_domain: peer.map(|peer| peer.spiffe_id.trust_domain().as_str()),
        sni: connection.sni.as_deref(),
        certificate_serial: peer.map(|peer| &*peer.serial),
        tls: match connection.tls() {
            postern_audit::Tls::AsAsked => Tls::AsAsked,
            postern_audit::Tls::None => Tls::None,
        },
    }
}

fn http<'a>(question: &Question<'a>, headers: &'a RequestHeaders<'a>) -> Http<'a> {
    let Question { id, connection, request, body, .. } = *question;
    Http {
        id,
        scheme: connection.scheme(),
        authority: request.authority(),
        path: request.path(),
        query: request.query(),
        protocol: if request.version() == Version::HTTP_2 { "HTTP/2" } else { "HTTP/1.1" },
        headers,
        body: body.body(),
        size: body.size(),
    }
}

/// The header fields as policy may see them. A value that is not text is not shown: no rule can match it by
/// accident, and the guard refuses it where it would matter.
#[derive(Debug)]
struct RequestHeaders<'a>(&'a HeaderMap);

impl Headers for RequestHeaders<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.to_str().ok()
    }

    fn for_each(&self, visit: &mut dyn FnMut(&str, &str)) {
        for (name, value) in self.0 {
            if let Ok(value) = value.to_str() {
                visit(name.as_str(), value);
            }
        }
    }
}
