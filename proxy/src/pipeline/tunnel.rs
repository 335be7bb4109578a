//! What a request was switched to: WebSocket (RFC 6455) over HTTP/1.1. Nothing of it goes anywhere before the upstream has
//! answered 101, and it is judged again as long as it lasts.
use super::asked::Asked;
use super::carry::{self, Carried, Judge, Terms};
use super::exchange::Exchange;
use super::refusal::Refusal;
use super::splice::Begun;
use crate::state::{Policy, Snapshot};
use crate::upstream::{Lease, Switched};
use bytes::Bytes;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue};
use postern_audit::End;
use std::rc::Rc;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

/// A request whose upstream has switched protocols; its caller is about to be told.
#[derive(Debug)]
pub(crate) struct Tunnel {
    pub(super) exchange: Exchange,
    pub(super) asked: Rc<Asked>,
    pub(super) lease: Lease,
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

impl Tunnel {
    /// Carries what comes after the answer that has been sent, of which `seen` has been read already.
    pub(crate) async fn carry<S>(self, io: S, seen: Bytes, drain: watch::Receiver<bool>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Self { mut exchange, asked, lease } = self;
        let proof = lease.proof();
        let Some(Switched { io: upstream, seen: sent }) = lease.switched().await else {
            return exchange.end(End::UpstreamError, Some(Refusal::UpstreamProtocol));
        };
        let Some(policy) = exchange.evaluation.as_ref().map(|evaluation| Arc::clone(&evaluation.policy))
        else {
            return exchange.end(End::Refused, Some(Refusal::PolicyNotReady));
        };
        let terms = Terms { idle_timeout: asked.route.stream_idle_timeout, proof, policy };
        let (worker, connection) = (exchange.worker.clone(), exchange.connection.clone());
        let ends = (Begun::new(seen, io), Begun::new(sent, upstream));
        let mut again = Again { exchange: &exchange, asked: &asked };
        let carried = carry::carry((&worker, &connection), ends, (terms, &mut again), drain).await;
        let Carried { end, reason, bytes } = carried;
        exchange.carried(bytes);
        exchange.end(end, reason);
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
