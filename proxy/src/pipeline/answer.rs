//! Step 10 where a route leads to no upstream: the answer is made here, of the permitted request and the configuration.
use super::enforce::Permitted;
use super::exchange::Exchange;
use super::forward::add;
use super::refusal::{Dialect, GRPC_STATUS, Refusal, Refused, say_grpc_message};
use crate::config::{AnswerConfig, RedirectConfig, RespondConfig};
use crate::routing::Route;
use crate::traffic::redirect;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Uri};

/// An answer of our own to a permitted request.
#[derive(Debug)]
pub(super) struct OwnAnswer {
    /// What the record says; a gRPC call is always answered with 200.
    pub(super) status: StatusCode,
    pub(super) response: Response<Bytes>,
}

/// Answers under the route's rate limits; its other rules are for upstreams.
pub(super) async fn answer(
    exchange: &mut Exchange,
    (route, answer): (&Route, &AnswerConfig),
    permitted: Permitted,
) -> Result<OwnAnswer, Refused> {
    let admitted = exchange.within_rates(&route.rates, permitted.headers()).await;
    let (uri, unread, ours) = permitted.answered_here();
    exchange.keep_unread(unread);
    admitted?;
    let scheme = exchange.connection.scheme();
    let asked = (scheme, &uri);
    let (status, mut response) = match answer {
        AnswerConfig::Redirect(redirect) => {
            (redirect.status, redirected(redirect, &route.path_prefix, asked)?)
        }
        AnswerConfig::Respond(respond) => (respond.status, written(respond)),
    };
    match exchange.dialect() {
        Dialect::Http => *response.status_mut() = status,
        Dialect::Grpc => speak_grpc(&mut response, status),
    }
    add(response.headers_mut(), ours);
    // Who else would be given it from a cache was not asked about.
    response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    Ok(OwnAnswer { status, response })
}

fn redirected(
    redirect: &RedirectConfig,
    matched: &str,
    asked: (&str, &Uri),
) -> Result<Response<Bytes>, Refusal> {
    let location = redirect::location(redirect, matched, asked).ok_or(Refusal::RequestPathForm)?;
    let mut response = Response::new(Bytes::new());
    set(response.headers_mut(), &redirect.headers);
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

fn written(respond: &RespondConfig) -> Response<Bytes> {
    let mut response = Response::new(respond.body.clone());
    set(response.headers_mut(), &respond.headers);
    if let Some(content_type) = &respond.content_type {
        response.headers_mut().insert(CONTENT_TYPE, content_type.clone());
    }
    response
}

fn set(headers: &mut HeaderMap, written: &[(HeaderName, HeaderValue)]) {
    headers.extend(written.iter().cloned());
}

/// Trailers alone: no message could be made of a body that is written for somebody else.
fn speak_grpc(response: &mut Response<Bytes>, status: StatusCode) {
    *response.body_mut() = Bytes::new();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(GRPC_STATUS, HeaderValue::from(grpc_status(status)));
    say_grpc_message(headers, status.canonical_reason().unwrap_or("answered without an upstream"));
}

/// What a gRPC client would take the status for, if it came without one of gRPC (gRPC's "HTTP to gRPC Status Code Mapping").
fn grpc_status(status: StatusCode) -> u16 {
    match status.as_u16() {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}
