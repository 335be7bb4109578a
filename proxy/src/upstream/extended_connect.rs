//! WebSockets to an upstream that speaks HTTP/2: the handshake of HTTP/1.1, which is what was permitted, goes as an extended
//! CONNECT (RFC 8441), and its answer comes back as one to that handshake.
use super::http2::Stream;
use super::lease::{Lease, Switched};
use crate::cut::{Cut, Streams};
use crate::pipeline::{RequestBody, websocket_accept};
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;

/// Whether an upstream takes extended CONNECT, as far as it has said. It has to say so before one is sent (RFC 8441 §3),
/// and says it in the first thing that it sends, if at all.
#[derive(Debug, Default)]
pub(super) struct Announced {
    known: Cell<Option<bool>>,
    told: Notify,
}

impl Announced {
    /// Whether nothing is known yet.
    pub(super) fn is_unknown(&self) -> bool {
        self.known.get().is_none()
    }

    /// Now it is known.
    pub(super) fn tell(&self, takes: bool) {
        self.known.set(Some(takes));
        self.told.notify_waiters();
    }

    /// Waits until it is known.
    pub(super) async fn takes(&self) -> bool {
        loop {
            let told = self.told.notified();
            if let Some(takes) = self.known.get() {
                return takes;
            }
            told.await;
        }
    }
}

/// A handshake on its way.
pub(super) struct Handshake {
    /// As it was permitted. In a place of its own: every exchange would carry the room for what few of them are.
    head: Box<Parts>,
    cut: Rc<Cut>,
}

/// Whether a request is one.
pub(super) fn is_handshake(request: &Request<RequestBody>) -> bool {
    request.headers().contains_key(UPGRADE)
}

impl Handshake {
    /// The request to send by one of these streams.
    pub(super) fn begin(request: Request<RequestBody>, streams: &Streams) -> (Self, Request<RequestBody>) {
        let (mut head, mut body) = request.into_parts();
        let handshake = Self { head: Box::new(head.clone()), cut: Rc::default() };
        head.method = Method::CONNECT;
        head.extensions.insert(Protocol::from_static("websocket"));
        for name in [CONNECTION, UPGRADE, SEC_WEBSOCKET_KEY] {
            head.headers.remove(name);
        }
        body.opens_tunnel(streams, &handshake.cut);
        (handshake, Request::from_parts(head, body))
    }

    /// The request as it was, when it comes back unsent.
    pub(super) fn back(self, unsent: Request<RequestBody>) -> Request<RequestBody> {
        Request::from_parts(*self.head, unsent.into_body())
    }

    /// The answer as one to the handshake.
    pub(super) fn answered(
        self,
        mut response: Response<Incoming>,
        stream: Stream,
    ) -> (Response<Incoming>, Lease) {
        let on_upgrade = response.extensions_mut().remove::<OnUpgrade>();
        let key = self.head.headers.get(SEC_WEBSOCKET_KEY).and_then(|key| key.to_str().ok());
        let accept = key.and_then(|key| HeaderValue::try_from(websocket_accept(key)).ok());
        let headers = response.headers_mut();
        // Over HTTP/2 they say nothing (RFC 8441 §5), and here they are ours.
        headers.remove(UPGRADE);
        headers.remove(SEC_WEBSOCKET_ACCEPT);
        let opened = on_upgrade.zip(accept).map(|(on_upgrade, accept)| {
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
            Opened { on_upgrade, ends: Ends { cut: self.cut, stream: Some(stream.share()) } }
        });
        if opened.is_some() {
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        }
        (response, Lease::Http2 { stream, opened })
    }
}

/// A stream of HTTP/2 that carries bytes from now on.
#[derive(Debug)]
pub(crate) struct Opened {
    on_upgrade: OnUpgrade,
    ends: Ends,
}

impl Opened {
    /// Its bytes.
    pub(super) async fn switched(self) -> Option<Switched> {
        let upgraded = self.on_upgrade.await.ok()?;
        let io = Box::new(TokioIo::new(upgraded));
        Some(Switched { io, seen: bytes::Bytes::new(), held: Some(self.ends) })
    }
}

/// Ends the stream when its bytes are not carried any longer: what sends them waits for the upstream to make room, and would
/// do so for as long as the connection lasts.
#[derive(Debug)]
pub(crate) struct Ends {
    cut: Rc<Cut>,
    /// Its place on the connection, taken as long as the stream is there.
    stream: Option<Stream>,
}

/// How long the upstream has to take what was said last.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(1);

impl Drop for Ends {
    fn drop(&mut self) {
        let (cut, stream) = (Rc::clone(&self.cut), self.stream.take());
        drop(tokio::task::spawn_local(async move {
            tokio::time::sleep(LAST_WORDS_TIMEOUT).await;
            cut.make();
            drop(stream);
        }));
    }
}
