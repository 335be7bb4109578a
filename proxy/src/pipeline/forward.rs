//! Step 10: a permitted request goes to its upstream, under the route's traffic rules, in this order:
//! request timeout, then for each attempt: endpoint, connection, send.
use super::body::BodyWatch;
use super::enforce::{Attempt, Permitted};
use super::exchange::Exchange;
use super::normalise;
use super::refusal::{Refusal, Refused};
use crate::routing::{Route, Upstream};
use crate::telemetry::metrics::UpstreamResult;
use crate::traffic::{balance, retry, timeout};
use crate::upstream::{InForce, Lease, SendError};
use http::{HeaderMap, HeaderName, Response, header};
use hyper::body::Incoming;
use std::rc::Rc;
use std::time::Duration;

/// The head of an upstream's response, and all that its body needs.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) response: Response<Incoming>,
    pub(super) lease: Lease,
    pub(super) stream_idle_timeout: Duration,
}

pub(super) async fn forward(
    exchange: &mut Exchange,
    route: &Route,
    permitted: Permitted,
) -> Result<Answer, Refused> {
    let (mut attempt, response_headers) = permitted.attempt();
    exchange.trace_upstream(&mut attempt);
    let request_body = attempt.request().body().watch();
    exchange.follow(&request_body);
    let sending = timeout::within(route, &request_body, send(exchange, route, attempt));
    let (response, lease) = sending.await.map_err(|refusal| blame(&request_body, refusal))?;
    let response = guard(response, response_headers)?;
    Ok(Answer { response, lease, stream_idle_timeout: route.stream_idle_timeout })
}

async fn send(
    exchange: &mut Exchange,
    route: &Route,
    mut attempt: Attempt,
) -> Result<(Response<Incoming>, Lease), Refusal> {
    let worker = Rc::clone(&exchange.worker);
    let first = balance::start(&route.upstream, &mut worker.random.borrow_mut());
    let mut last = Refusal::UpstreamNoEndpoint;
    for number in 0..retry::attempts_max(&route.retry) {
        let target = balance::pick(&route.upstream, first, number).ok_or(Refusal::UpstreamNoEndpoint)?;
        exchange.note_attempt(target.endpoint);
        if number > 0 {
            route.upstream.metrics.retried();
        }
        let began = worker.clock.monotonic_ns();
        let snapshot = worker.snapshots.pin();
        let in_force = InForce { snapshot: &snapshot, now: worker.clock.unix_time() };
        let sent = worker.upstreams.send(target, attempt, &in_force).await;
        count(&route.upstream, &sent, worker.clock.monotonic_ns().saturating_sub(began));
        match sent {
            Ok(answered) => return Ok(answered),
            Err(SendError::Sent(refusal)) => return Err(refusal),
            Err(SendError::Unsent(unsent, refusal)) => {
                route.upstream.metrics.connect_failed();
                attempt = *unsent;
                last = refusal;
            }
        }
    }
    exchange.keep_unread(attempt.into_unread());
    Err(last)
}

fn count(upstream: &Upstream, sent: &Result<(Response<Incoming>, Lease), SendError>, duration_ns: u64) {
    let result = match sent {
        Ok((response, _)) => UpstreamResult::of_status(response.status().as_u16()),
        Err(_) => UpstreamResult::NoResponse,
    };
    upstream.metrics.attempt(result, duration_ns);
}

/// A caller that breaks off or oversteps its own body is not the upstream's fault.
fn blame(body: &BodyWatch, otherwise: Refusal) -> Refusal {
    body.broken().unwrap_or(otherwise)
}

/// An upstream's response is checked as a request is: what frames it twice is not passed on.
fn guard(mut response: Response<Incoming>, ours: HeaderMap) -> Result<Response<Incoming>, Refusal> {
    // No upgrade was asked for, so none can be agreed to.
    if response.status().is_informational() {
        return Err(Refusal::UpstreamProtocol);
    }
    normalise::guard_response(response.headers_mut()).map_err(|_| Refusal::UpstreamProtocol)?;
    add(response.headers_mut(), ours);
    Ok(response)
}

/// Beside what the upstream said, as where policy adds a cookie. What is no list has one value, and then it is policy's.
fn add(response: &mut HeaderMap, ours: HeaderMap) {
    for name in ours.keys().filter(|name| SINGLE.contains(name)) {
        response.remove(name);
    }
    let mut named = None;
    for (name, value) in ours {
        named = name.or(named);
        if let Some(name) = &named {
            response.append(name, value);
        }
    }
}

/// Fields of a response that are no list (RFC 9110, RFC 9111, RFC 6797).
const SINGLE: &[HeaderName] = &[
    header::AGE,
    header::CONTENT_LOCATION,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::DATE,
    header::ETAG,
    header::EXPIRES,
    header::LAST_MODIFIED,
    header::LOCATION,
    header::RETRY_AFTER,
    header::SERVER,
    header::STRICT_TRANSPORT_SECURITY,
];
