//! Step 9: the one place where a verdict becomes a permit.
//!
//! Nothing reaches an upstream but an [`Attempt`], an attempt comes of a [`Permitted`], and a permit is made
//! here alone, after its decision has been filed.
use super::body::{BodyWatch, RequestBody};
use super::exchange::Exchange;
use super::forwarded_headers;
use super::identity_headers::{self, Telling};
use super::kept::Kept;
use super::normalise::{GuardLimits, Normalised};
use super::obligations::{self, Duties};
use super::refusal::{Refusal, Refused};
use super::tunnel;
use crate::config::{Enforcement, IdentityHeaders};
use crate::routing::Route;
use crate::telemetry::TraceContext;
use crate::telemetry::trace_context::{TRACEPARENT, TRACESTATE, TraceState};
use crate::traffic::grpc_deadline::GRPC_TIMEOUT;
use crate::traffic::rewrite;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use hyper::body::Incoming;
use postern_policy::{Decision, Verdict};
use std::rc::Rc;

/// A request that may be forwarded. It owns the request, so the permit cannot be spent on another one.
#[must_use]
#[derive(Debug)]
pub(super) struct Permitted {
    request: Request<RequestBody>,
    /// What policy wants said to the caller besides.
    pub(super) response_headers: HeaderMap,
}

/// One try of a permitted request. All tries of it stand under one decision.
#[must_use]
#[derive(Debug)]
pub(crate) struct Attempt(Request<RequestBody>);

/// What it takes to try a permitted request again that the upstream may have seen.
#[derive(Debug)]
pub(super) struct Again {
    head: Parts,
    kept: Rc<Kept>,
    watch: Rc<BodyWatch>,
}

/// What it takes to send a permitted request to somebody who only looks on. It is told neither what shows who calls nor what
/// could be used in the caller's name.
#[derive(Debug)]
pub(super) struct Copied {
    head: Parts,
    kept: Rc<Kept>,
}

/// Shows that a request which came back unsent was an attempt before.
#[derive(Debug)]
pub(crate) struct Voucher(());

impl Permitted {
    /// The body of a request that is not forwarded after all.
    pub(super) fn into_unread(self) -> Option<Incoming> {
        self.request.into_body().into_unread()
    }

    /// The headers that an upstream would get.
    pub(super) fn headers(&self) -> &HeaderMap {
        self.request.headers()
    }

    /// What an answer of our own is made of: the target, the body that is not forwarded, and what policy wants said besides.
    pub(super) fn answered_here(self) -> (Uri, Option<Incoming>, HeaderMap) {
        let uri = self.request.uri().clone();
        (uri, self.request.into_body().into_unread(), self.response_headers)
    }

    /// The first attempt, and what to do with the response.
    pub(super) fn attempt(self) -> (Attempt, HeaderMap) {
        (Attempt(self.request), self.response_headers)
    }
}

impl Attempt {
    /// The request to put on the wire, and the voucher to take it back if not a byte of it was sent.
    pub(crate) fn into_request(self) -> (Request<RequestBody>, Voucher) {
        (self.0, Voucher(()))
    }

    /// Names the trace that the upstream is in; the caller's own word on it has been taken over or dropped.
    pub(super) fn trace(&mut self, trace: &TraceContext) {
        let headers = self.0.headers_mut();
        if let Ok(value) = HeaderValue::from_bytes(&trace.traceparent()) {
            headers.insert(TRACEPARENT, value);
        }
        match trace.tracestate {
            TraceState::Forward => {}
            TraceState::Remove => {
                headers.remove(TRACESTATE);
            }
        }
    }

    /// The body of a request that was never sent.
    pub(super) fn into_unread(self) -> Option<Incoming> {
        self.0.into_body().into_unread()
    }

    /// Keeps what another attempt would need, of the body up to `bytes_max`.
    pub(super) fn keep(&mut self, bytes_max: usize) -> Again {
        let kept = self.0.body_mut().keep(bytes_max);
        Again { head: self.head(), kept, watch: self.0.body().watch() }
    }

    /// Keeps what a copy would need, under the same decision and without credentials, of the body up to `bytes_max`.
    pub(super) fn copy(&mut self, bytes_max: usize, told: &IdentityHeaders, id: &str) -> Copied {
        let kept = self.0.body_mut().copy(bytes_max);
        let mut head = self.head();
        identity_headers::take_off(told, &mut head.headers);
        if let Ok(id) = HeaderValue::from_str(id) {
            head.headers.insert(MIRROR, id);
        }
        Copied { head, kept }
    }

    fn head(&self) -> Parts {
        let (mut head, ()) = Request::new(()).into_parts();
        head.method = self.0.method().clone();
        head.uri = self.0.uri().clone();
        head.version = self.0.version();
        head.headers = self.0.headers().clone();
        head
    }

    /// Says how much time the call has left.
    pub(super) fn set_grpc_timeout(&mut self, left: HeaderValue) {
        self.0.headers_mut().insert(GRPC_TIMEOUT, left);
    }

    /// The request.
    pub(super) fn request(&self) -> &Request<RequestBody> {
        &self.0
    }
}

impl Again {
    /// Another attempt, if the body has been sent whole and was not too long to be kept.
    pub(super) fn attempt(&self) -> Option<Attempt> {
        let body = RequestBody::again(&self.kept, &self.watch)?;
        Some(Attempt(Request::from_parts(self.head.clone(), body)))
    }
}

impl Copied {
    /// The copy, if the body has come whole and was not too long to be kept.
    pub(super) fn attempt(self) -> Option<Attempt> {
        let body = RequestBody::copied(&self.kept)?;
        Some(Attempt(Request::from_parts(self.head, body)))
    }
}

/// Says that a request is a copy, and of which decision. Nobody but us can set it.
const MIRROR: HeaderName = HeaderName::from_static("x-postern-mirror");

impl Voucher {
    /// The unsent request is an attempt again.
    pub(crate) fn renew(self, request: Request<RequestBody>) -> Attempt {
        Attempt(request)
    }
}

/// Files the decision, and turns an allowed request into a permitted one.
///
/// The entry is in the log before this returns: nothing is forwarded, and nothing answered, whose decision is
/// not filed. `Exchange::recorded` waits for the disk where the mode asks for it.
pub(super) fn enforce(
    exchange: &mut Exchange,
    route: &Route,
    request: Normalised,
    body: RequestBody,
    verdict: Verdict,
) -> Result<Permitted, Refused> {
    // What is demanded is made ready first: a demand that cannot be met makes a deny of an allow, and is filed as one.
    let limits = GuardLimits::from(&exchange.connection.listener.limits);
    let (verdict, duties) = Duties::of(verdict, &request, &limits);
    let mut telling = identity_headers::of(exchange, &route.identity_headers, &request);
    forwarded_headers::tell(exchange, route, (&request, &duties), &mut telling);
    exchange.draw_mirror(route);
    exchange.draw_delay(route);
    exchange.file_verdict(route, &request, (&verdict, &telling));
    match (verdict.decision, route.enforcement) {
        // An observed deny is recorded as one; what policy wanted done to an allowed request is not done.
        (Decision::Allow, Enforcement::Enforce | Enforcement::Observe)
        | (Decision::Deny, Enforcement::Observe) => {
            permit((exchange, route), request, body, (duties, telling))
        }
        (Decision::Deny, Enforcement::Enforce) => {
            exchange.keep_unread(body.into_unread());
            Err(denied(verdict))
        }
    }
}

/// What the forwarded request differs in from the one decided on, in the order of the record: by the route, by policy, and by
/// whom it says that calls.
fn permit(
    (exchange, route): (&mut Exchange, &Route),
    request: Normalised,
    body: RequestBody,
    (mut duties, telling): (Duties, Telling),
) -> Result<Permitted, Refused> {
    let wants_websocket = request.wants_websocket();
    let mut parts = request.into_upstream_parts(duties.take_target());
    // The parts of it are canonical, so that the whole is; if it were not, nothing would be forwarded.
    rewrite::request(&route.rewrite, &route.path_prefix, &mut parts).ok_or(Refusal::RequestPathForm)?;
    let response_headers = duties.apply(&mut parts.headers);
    telling.apply(&mut parts.headers);
    if wants_websocket {
        tunnel::switch(&mut parts.headers);
        if let Some(extended) = &mut exchange.extended {
            extended.ask(&exchange.worker, &mut parts.headers);
        }
    }
    Ok(Permitted { request: Request::from_parts(parts, body), response_headers })
}

fn denied(verdict: Verdict) -> Refused {
    let refusal = Refusal::from_code(verdict.code).unwrap_or(Refusal::PolicyDenied);
    let denial = obligations::denial(verdict);
    Refused { refusal, denial: Some(Box::new(denial)) }
}
