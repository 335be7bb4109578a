//! Step 10: a permitted request goes to its upstream, under the route's traffic rules, in this order: its rate limits, its
//! faults on purpose, a place among the upstream's requests, the time that there is, then one attempt after the other (`attempts.rs`).
use super::attempts;
use super::body::BodyWatch;
use super::enforce::Permitted;
use super::exchange::Exchange;
use super::normalise;
use super::refusal::{Refusal, Refused};
use super::tunnel;
use crate::routing::{Route, Upstream};
use crate::traffic::rewrite;
use crate::traffic::timeout::{self, Times};
use crate::upstream::Lease;
use http::{HeaderMap, HeaderName, Response, StatusCode, header};
use hyper::body::Incoming;
use std::time::Duration;
use tokio::time::Instant;

/// The head of an upstream's response, and all that its body needs.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) response: Response<Incoming>,
    pub(super) lease: Lease,
    pub(super) stream_idle_timeout: Duration,
}

pub(super) async fn forward(
    exchange: &mut Exchange,
    (route, upstream): (&Route, &Upstream),
    permitted: Permitted,
) -> Result<Answer, Refused> {
    let (mut attempt, response_headers) = permitted.attempt();
    exchange.trace_upstream(&mut attempt);
    let request_body = attempt.request().body().watch();
    exchange.follow(&request_body);
    let admitted = exchange.within_rates(&route.rates, attempt.request().headers()).await;
    let admitted = match admitted {
        Ok(()) => exchange.suffer(route).await,
        Err(refused) => Err(refused),
    };
    if let Err(refused) = admitted.and_then(|()| Ok(exchange.take_request_place(upstream)?)) {
        exchange.keep_unread(attempt.into_unread());
        return Err(refused);
    }
    let copied = exchange.copy(route, &mut attempt);
    let times = Times {
        began: Instant::now(),
        response: route.timeout,
        caller: route.stream_idle_timeout,
        deadline: exchange.deadline,
    };
    let sending = timeout::within(times, &request_body, attempts::send(exchange, (route, upstream), attempt));
    let sent = sending.await;
    exchange.mirror(route, copied);
    let (response, lease) = sent.map_err(|refusal| blame(&request_body, refusal))?;
    let response = guard((exchange, route), response, response_headers)?;
    Ok(Answer { response, lease, stream_idle_timeout: route.stream_idle_timeout })
}

/// A caller that breaks off or oversteps its own body is not the upstream's fault.
fn blame(body: &BodyWatch, otherwise: Refusal) -> Refusal {
    body.broken().unwrap_or(otherwise)
}

/// An upstream's response is checked as a request is: what frames it twice is not passed on.
fn guard(
    (exchange, route): (&Exchange, &Route),
    mut response: Response<Incoming>,
    ours: HeaderMap,
) -> Result<Response<Incoming>, Refusal> {
    // Where no switch was asked for, none can be agreed to.
    let is_switched = exchange.may_switch()
        && response.status() == StatusCode::SWITCHING_PROTOCOLS
        && tunnel::is_agreed(response.headers())
        && exchange.extended.as_ref().is_none_or(|extended| extended.is_answered_by(response.headers()));
    // To an extended CONNECT every success would say that its stream is switched.
    let is_untrue = exchange.extended.is_some() && response.status().is_success();
    if (response.status().is_informational() && !is_switched) || is_untrue {
        return Err(Refusal::UpstreamProtocol);
    }
    normalise::guard_response(response.headers_mut()).map_err(|_| Refusal::UpstreamProtocol)?;
    if is_switched {
        tunnel::switch(response.headers_mut());
    }
    rewrite::response(&route.rewrite, response.headers_mut());
    add(response.headers_mut(), ours);
    Ok(response)
}

/// Beside what the upstream said, as where policy adds a cookie. What is no list has one value, and then it is policy's.
pub(super) fn add(response: &mut HeaderMap, ours: HeaderMap) {
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
