//! THE LIFE OF A REQUEST. Read [`serve`] and [`walk`] from top to bottom: everything happens in this order.
//!
//! Each step's result is the next step's ticket. [`Normalised`] is made by `normalise` alone, `Permitted` by
//! `enforce` alone, and an [`Attempt`] comes of a permit: a step that is skipped does not compile.
mod answer;
mod asked;
mod attempts;
mod body;
mod carry;
mod credentials;
mod decide;
mod deliver;
mod enforce;
mod exchange;
mod faults;
mod forward;
mod forwarded_headers;
mod identify;
mod identity_headers;
mod in_progress;
mod kept;
mod mirror;
mod normalise;
mod obligations;
mod rate_limits;
mod record;
pub mod refusal;
mod route;
mod span;
mod splice;
mod stream;
mod timed;
mod trailers;
mod transaction;
mod tunnel;
mod under_way;
mod way;
mod workload;

pub(crate) use body::{BodyWatch, RequestBody};
pub(crate) use deliver::ResponseBody;
pub(crate) use enforce::Attempt;
pub use identify::TokenCache;
pub(crate) use identity_headers::CertificateTexts;
pub use in_progress::InProgress;
pub use refusal::Refusal;
pub(crate) use splice::Begun;
pub(crate) use stream::serve as serve_stream;
pub(crate) use tunnel::{Tunnel, accept as websocket_accept};

use crate::config::Upgrade;
use crate::cut::Cut;
use crate::listener::{Connection, RawHead};
use crate::routing::{Leads, Route};
use crate::worker::Worker;
use answer::{OwnAnswer, answer};
use enforce::enforce;
use exchange::Exchange;
use forward::forward;
use http::{HeaderMap, Request, Response, Version};
use hyper::body::Incoming;
use identify::identify;
pub(crate) use normalise::is_protected as is_protected_header;
pub(crate) use normalise::may_carry_claim;
pub(crate) use normalise::{GuardLimits, spell_target};
use normalise::{Normalised, Switch, normalise};
use postern_identity::Principal;
use postern_policy::Verdict;
use refusal::Refused;
use std::rc::Rc;
use std::sync::Arc;
use transaction::identify_transaction;
use tunnel::Extended;
use way::Way;
use workload::identify_workload;

/// Serves one request on a connection whose caller TLS has proven (steps 1 and 2 are `listener`).
pub(crate) async fn serve(
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    request: Request<Incoming>,
    cut: Rc<Cut>,
) -> Response<ResponseBody> {
    // The n-th request takes the n-th head, whatever becomes of it.
    let head = connection.next_head();
    // 3. Open: places for the decision and the outcome are reserved before anything else is done.
    let mut exchange = match Exchange::open(worker, connection, &request, cut).await {
        Ok(exchange) => exchange,
        Err(refusal) => return deliver::unrecorded(refusal, request),
    };
    match walk(&mut exchange, request, head).await {
        Ok(Far::Answer(answer)) => exchange.deliver(answer),
        Ok(Far::Own(answer)) => exchange.answer(answer),
        Ok(Far::Connected(way, headers)) => exchange.connected((way, headers)),
        Err(refused) => exchange.refuse(refused),
    }
    // 11. The outcome files itself when the answer has been sent, or when its reader goes away.
}

async fn walk(
    exchange: &mut Exchange,
    request: Request<Incoming>,
    head: Option<RawHead>,
) -> Result<Far, Refused> {
    // 4. One spelling of the request: what is decided on is what is forwarded.
    let mut request = normalise_head(exchange, request, head)?;
    // 5 to 8. Everything that can refuse before policy has spoken, and policy.
    let judged = match judge(exchange, &mut request).await {
        Ok(judged) => judged,
        Err(refused) => {
            exchange.file_refusal(&request, &refused);
            return Err(refused);
        }
    };
    // 9. The decision is filed, and only then is there a permit.
    let Judged { route, principal, body, verdict } = judged;
    let switch = request.switch();
    let asked = exchange.asked((request.clone(), principal), &route, body.seen());
    let permitted = enforce(exchange, &route, request, body, verdict)?;
    if let Err(refusal) = exchange.recorded(&route).await {
        exchange.keep_unread(permitted.into_unread());
        return Err(refusal.into());
    }
    // What permitted it may change while it is in progress: then policy is asked again.
    exchange.begin(asked);
    // 10. To the upstream, under the traffic rules, or an answer of our own where the route says so.
    let upstream = match &route.leads {
        Leads::Upstream(upstream) => upstream,
        Leads::Answer(own) => return Ok(Far::Own(answer(exchange, (&route, own), permitted).await?)),
    };
    match switch {
        Switch::Connect => {
            let (way, headers) = tunnel::connect(exchange, (&route, upstream), permitted).await?;
            Ok(Far::Connected(way, headers))
        }
        Switch::Nothing | Switch::WebSocket | Switch::ExtendedConnect => {
            Ok(Far::Answer(forward(exchange, (&route, upstream), permitted).await?))
        }
    }
}

/// What the upstream gives, or we do.
enum Far {
    Answer(forward::Answer),
    Own(OwnAnswer),
    /// A byte stream, and what policy wants said to the caller.
    Connected(Way, HeaderMap),
}

/// What came of the steps up to the verdict.
struct Judged {
    route: Arc<Route>,
    principal: Principal,
    body: RequestBody,
    verdict: Verdict,
}

async fn judge(exchange: &mut Exchange, request: &mut Normalised) -> Result<Judged, Refused> {
    // Where memory is short nothing is begun, whoever asks.
    exchange.within_memory()?;
    // 6. The route first: it says what a token means here, and which headers nobody but us may set.
    let route = route::find(exchange, request)?;
    if request.wants_websocket() && route.upgrade != Upgrade::WebSocket {
        return Err(Refusal::RequestUpgrade.into());
    }
    request.take_off(&route.identity_headers);
    // A principal that causes nothing but refusals is not worth policy's time for a while.
    exchange.within_budget()?;
    // 5. Who calls, by certificate and by token.
    let principal = identify(exchange, request, route.tokens).await?;
    identify_workload(exchange, request)?;
    let principal = identify_transaction(exchange, request, principal).await?;
    let request = &*request;
    // 7. The body, only where the policy in force reads it.
    let body = decide::take_body(exchange, request).await?;
    // 8. One generation of everything is pinned, and policy decides. Nothing is awaited from here to 9.
    let verdict = decide::decide(exchange, request, &principal, (&route, &body.seen()))?;
    Ok(Judged { route, principal, body, verdict })
}

fn normalise_head(
    exchange: &mut Exchange,
    request: Request<Incoming>,
    head: Option<RawHead>,
) -> Result<Normalised, Refused> {
    let (mut parts, body) = request.into_parts();
    exchange.keep_unread(Some(body));
    if parts.version == Version::HTTP_2 {
        exchange.extended = parts.extensions.remove().map(Extended::new);
    }
    let seen = (parts.method.clone(), parts.uri.clone());
    match normalise(parts, head, &exchange.connection.guard()) {
        Ok(request) => {
            if request.raw_path_differs() {
                exchange.note_raw_path(seen.1.path());
            }
            if let Some(timeout) = request.grpc_timeout() {
                exchange.note_grpc_timeout(timeout);
            }
            Ok(request)
        }
        Err(error) => {
            let refused =
                Refused::from(Refusal::from_code(error.code()).unwrap_or(Refusal::RequestUntracked));
            exchange.file_unreadable(&seen.0, &seen.1, &refused);
            Err(refused)
        }
    }
}

#[cfg(test)]
mod tests;
