//! What a request was switched to: a WebSocket (RFC 6455, over HTTP/2 by RFC 8441), or a byte stream by CONNECT. Nothing
//! of it goes anywhere before the upstream has agreed, and it is judged again as long as it lasts.
use super::asked::Asked;
use super::carry::{self, Carried, Judge, Terms};
use super::deliver::ResponseBody;
use super::enforce::Permitted;
use super::exchange::Exchange;
use super::refusal::{Refusal, Refused};
use super::splice::Begun;
use super::way::{self, Way};
use crate::routing::{Route, Upstream};
use crate::state::{Policy, Snapshot};
use crate::traffic::ring;
use crate::upstream::{Lease, Proof, Switched};
use crate::worker::Worker;
use bytes::Bytes;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use postern_audit::End;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

/// A request whose upstream has switched protocols; its caller is about to be told.
#[derive(Debug)]
pub(crate) struct Tunnel {
    exchange: Exchange,
    asked: Rc<Asked>,
    far: Far,
}

/// The upstream's end.
#[derive(Debug)]
enum Far {
    /// Of a connection that was switched.
    Switched(Lease),
    /// A connection of its own.
    Way(Way),
}

/// Where a stream of HTTP/2 comes to, once the answer has been sent that agrees to it.
#[derive(Debug)]
pub(super) struct Extended {
    pub(super) on_upgrade: OnUpgrade,
    /// What shows that the upstream understood the handshake, where that is ours.
    accept: Option<HeaderValue>,
}

/// How long it may take until that answer has been sent.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

impl Extended {
    pub(super) fn new(on_upgrade: OnUpgrade) -> Self {
        Self { on_upgrade, accept: None }
    }

    /// Asks the upstream for a WebSocket by a handshake of ours: over HTTP/2 there was no key in it.
    pub(super) fn ask(&mut self, worker: &Worker, headers: &mut HeaderMap) {
        let mut random = worker.random.borrow_mut();
        let key = encode(&[(); 2].map(|()| random.next_u64().to_be_bytes()).concat());
        self.accept = HeaderValue::try_from(accept(&key)).ok();
        if let Ok(key) = HeaderValue::try_from(key) {
            headers.insert(SEC_WEBSOCKET_KEY, key);
        }
    }

    /// Whether an answer is one to that handshake (RFC 6455 §4.1).
    pub(super) fn is_answered_by(&self, headers: &HeaderMap) -> bool {
        self.accept.is_some() && headers.get(SEC_WEBSOCKET_ACCEPT) == self.accept.as_ref()
    }
}

/// What a server makes of a key (RFC 6455 §4.2.2).
pub(crate) fn accept(key: &str) -> String {
    let text = [key, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"].concat();
    encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()).as_ref())
}

fn encode(bytes: &[u8]) -> String {
    base64::Engine::encode(&base64::prelude::BASE64_STANDARD, bytes)
}

/// Says that the connection becomes a WebSocket, in a request and in the answer to it.
pub(super) fn switch(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

/// Whether an answer agrees to it.
pub(super) fn is_agreed(headers: &HeaderMap) -> bool {
    headers.get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Step 10 of a CONNECT: under the route's traffic rules the permit is spent on a connection.
pub(super) async fn connect(
    exchange: &mut Exchange,
    (route, upstream): (&Route, &Upstream),
    permitted: Permitted,
) -> Result<(Way, HeaderMap), Refused> {
    let (attempt, response_headers) = permitted.attempt();
    exchange.within_rates(&route.rates, attempt.request().headers()).await?;
    let worker = Rc::clone(&exchange.worker);
    let peer = exchange.connection.spiffe_id();
    let headers = attempt.request().headers();
    let key = upstream.hash_key.as_ref().and_then(|key| ring::place(key, peer, headers));
    let onward = (route, upstream, key);
    let way = way::open(&worker, onward, &exchange.connection, &mut exchange.draft).await?;
    Ok((way, response_headers))
}

impl Exchange {
    /// Tells the caller that its byte stream begins.
    pub(super) fn connected(mut self, (way, headers): (Way, HeaderMap)) -> Response<ResponseBody> {
        let mut response = Response::new(());
        *response.headers_mut() = headers;
        self.identify_answer(response.headers_mut());
        self.answered(StatusCode::OK);
        match self.asked.take() {
            Some(asked) => self.hand_over(asked, Far::Way(way)),
            None => drop(self),
        }
        response.map(|()| ResponseBody::nothing())
    }

    /// Tells the caller that the upstream has switched protocols.
    pub(super) fn switched(
        mut self,
        (mut response, lease): (Response<()>, Lease),
        asked: Rc<Asked>,
    ) -> Response<ResponseBody> {
        self.answered(response.status());
        if self.extended.is_some() {
            // Over HTTP/2 it is the stream alone that is switched (RFC 8441 §5).
            *response.status_mut() = StatusCode::OK;
            for name in [CONNECTION, UPGRADE, SEC_WEBSOCKET_ACCEPT] {
                response.headers_mut().remove(name);
            }
            self.draft.outcome_mut().status = StatusCode::OK.as_u16();
        }
        self.hand_over(asked, Far::Switched(lease));
        response.map(|()| ResponseBody::nothing())
    }

    /// To whoever has the byte stream when the answer has been sent: over HTTP/1.1 the connection, over HTTP/2 nobody yet.
    fn hand_over(mut self, asked: Rc<Asked>, far: Far) {
        self.leave();
        let (connection, extended) = (Rc::clone(&self.connection), self.extended.take());
        let tunnel = Tunnel { exchange: self, asked, far };
        match extended {
            None => connection.switch(tunnel),
            Some(extended) => drop(tokio::task::spawn_local(async move {
                let drain = connection.drain();
                match tokio::time::timeout(ANSWER_TIMEOUT, extended.on_upgrade).await {
                    Ok(Ok(io)) => tunnel.carry(TokioIo::new(io), Bytes::new(), drain).await,
                    Ok(Err(_)) | Err(_) => tunnel.exchange.end(End::ClientGone, None),
                }
            })),
        }
    }
}

impl Tunnel {
    /// Carries what comes after the answer that has been sent, of which `seen` has been read already.
    pub(crate) async fn carry<S>(self, io: S, seen: Bytes, drain: watch::Receiver<bool>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Self { exchange, asked, far } = self;
        let caller = Begun::new(seen, io);
        match far {
            Far::Switched(lease) => {
                let proof = lease.proof();
                match lease.switched().await {
                    Some(Switched { io, seen, held: _held }) => {
                        exchange.carry(&asked, (caller, Begun::new(seen, io)), proof, drain).await;
                    }
                    None => exchange.end(End::UpstreamError, Some(Refusal::UpstreamProtocol)),
                }
            }
            Far::Way(Way { io, proof, held: _held }) => {
                exchange.carry(&asked, (caller, io), proof, drain).await;
            }
        }
    }
}

impl Exchange {
    async fn carry<A, B>(
        mut self,
        asked: &Asked,
        ends: (A, B),
        proof: Option<Rc<Proof>>,
        drain: watch::Receiver<bool>,
    ) where
        A: AsyncRead + AsyncWrite + Unpin,
        B: AsyncRead + AsyncWrite + Unpin,
    {
        let Some(policy) = self.evaluation.as_ref().map(|evaluation| Arc::clone(&evaluation.policy)) else {
            return self.end(End::Refused, Some(Refusal::PolicyNotReady));
        };
        let terms = Terms { idle_timeout: asked.route.stream_idle_timeout, proof, policy };
        let (worker, connection) = (Rc::clone(&self.worker), Rc::clone(&self.connection));
        let mut again = Again { exchange: &self, asked };
        let carried = carry::carry((&worker, &connection), ends, (terms, &mut again), drain).await;
        let Carried { end, reason, bytes } = carried;
        self.carried(bytes);
        self.end(end, reason);
    }
}

struct Again<'a> {
    exchange: &'a Exchange,
    asked: &'a Asked,
}

impl Judge for Again<'_> {
    fn judge(&mut self, snapshot: &Snapshot) -> Result<Arc<Policy>, Refusal> {
        self.asked.again(&self.exchange.worker, snapshot)
    }

    fn check(&self, snapshot: &Snapshot) -> Result<(), Refusal> {
        self.exchange.credentials.check(snapshot, self.exchange.worker.clock.unix_time())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_key_is_answered_as_in_the_example_of_its_specification() {
        // RFC 6455 §1.3.
        assert_eq!(super::accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
