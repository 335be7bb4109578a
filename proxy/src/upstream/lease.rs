//! Who holds a connection: an exchange, until its response has been read whole; then the pool.
use super::extended_connect::{Ends, Opened};
use super::http2::Stream;
use super::secure::Proof;
use super::target::{Allowance, Target};
use crate::pipeline::RequestBody;
use crate::traffic::circuit_breaker::{Gauge, Place};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::SendRequest;
use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How many idle connections to one endpoint a worker keeps.
const IDLE_MAX: usize = 64;
/// How much an upstream may say until the head of its answer is whole, interim answers and what is read with it included.
const HEADS_BYTES_MAX: usize = 256 * 1024;
/// How much of an answer that nobody wants is read, and for how long, to have its connection back.
const UNWANTED_BYTES_MAX: usize = 64 * 1024;
const UNWANTED_TIMEOUT: Duration = Duration::from_secs(1);

/// The idle connections to one endpoint; the one used last is used next, so that the rest can age.
#[derive(Debug)]
pub(crate) struct IdleList {
    senders: RefCell<Vec<Idle>>,
    connections: Arc<Gauge>,
    /// How many exchanges of this worker wait for one of these.
    waiting: Cell<usize>,
    returned: Notify,
}

/// What an exchange got: a connection that was used before, or a place for a new one.
#[derive(Debug)]
pub(super) enum Found {
    Used(Sender),
    Room(Place),
}

#[derive(Debug)]
struct Idle {
    sender: Sender,
    since: Instant,
}

impl IdleList {
    pub(super) fn new(target: &Target) -> Self {
        Self {
            senders: RefCell::default(),
            connections: Arc::clone(&target.breaker.connections),
            waiting: Cell::new(0),
            returned: Notify::new(),
        }
    }

    /// A connection that can take a request now, and may; nothing where others have been waiting for one.
    pub(super) fn take(&self, may: &dyn Fn(Option<&Proof>) -> bool) -> Option<Sender> {
        if self.waiting.get() > 0 {
            return None;
        }
        let mut senders = self.senders.borrow_mut();
        senders.retain(|idle| !idle.sender.requests.is_closed());
        // One that has not yet noticed the end of its last exchange stays for the next caller.
        while let Some(ready) = senders.iter().rposition(|idle| idle.sender.requests.is_ready()) {
            let sender = senders.remove(ready).sender;
            if may(sender.proof.as_deref()) {
                return Some(sender);
            }
        }
        None
    }

    /// Waits for a connection, or for room for another one, whichever comes first.
    pub(super) async fn wait(&self, may: &dyn Fn(Option<&Proof>) -> bool) -> Found {
        if let (0, Some(place)) = (self.waiting.get(), self.connections.take()) {
            return Found::Room(place);
        }
        self.waiting.set(self.waiting.get().saturating_add(1));
        let _waiting = Waiting(self);
        let mut room = pin!(self.connections.wait());
        loop {
            // One that has not yet noticed the end of its last exchange soon will.
            if let Some(mut sender) = self.take_last(may)
                && sender.requests.ready().await.is_ok()
                && may(sender.proof.as_deref())
            {
                return Found::Used(sender);
            }
            tokio::select! {
                biased;
                () = self.returned.notified() => {}
                place = &mut room => return Found::Room(place),
            }
        }
    }

    fn take_last(&self, may: &dyn Fn(Option<&Proof>) -> bool) -> Option<Sender> {
        let mut senders = self.senders.borrow_mut();
        senders.retain(|idle| !idle.sender.requests.is_closed() && may(idle.sender.proof.as_deref()));
        senders.pop().map(|idle| idle.sender)
    }

    /// Closes what has been idle for too long, what must not be used any more, and what somebody else needs the place of.
    pub(super) fn sweep(&self, idle_timeout: Duration, may: &dyn Fn(Option<&Proof>) -> bool) {
        let now = Instant::now();
        let is_needed = self.is_needed_elsewhere();
        let is_fresh = |idle: &Idle| !is_needed && now.duration_since(idle.since) < idle_timeout;
        self.senders.borrow_mut().retain(|idle| is_fresh(idle) && may(idle.sender.proof.as_deref()));
    }

    /// Whether no connection is idle.
    pub(super) fn is_empty(&self) -> bool {
        self.senders.borrow().is_empty()
    }

    fn give_back(&self, sender: Sender) {
        if sender.requests.is_closed() || self.is_needed_elsewhere() {
            return;
        }
        let mut senders = self.senders.borrow_mut();
        if senders.len() < IDLE_MAX {
            senders.push(Idle { sender, since: Instant::now() });
            self.returned.notify_one();
        }
    }

    /// Whether another worker waits for a place, and nobody here for a connection.
    fn is_needed_elsewhere(&self) -> bool {
        self.waiting.get() == 0 && self.connections.is_wanted()
    }
}

struct Waiting<'l>(&'l IdleList);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get().saturating_sub(1));
    }
}

/// A whole HTTP/1.1 connection. Dropped, it is closed at once, also where it waits for the upstream to make room.
#[derive(Debug)]
pub(crate) struct Sender {
    requests: SendRequest<RequestBody>,
    driver: JoinHandle<()>,
    proof: Option<Rc<Proof>>,
    switch: Switch,
    allowance: Allowance,
}

/// Where the driver of a connection leaves it, should its upstream switch protocols; nothing where nobody has asked for it.
pub(super) type Switch = Rc<RefCell<Option<oneshot::Sender<Switched>>>>;

/// A connection that speaks HTTP no more.
pub(crate) struct Switched {
    /// Its byte stream.
    pub(crate) io: Box<dyn LocalIo>,
    /// What the upstream has said already.
    pub(crate) seen: Bytes,
    /// What ends it, where it is a stream among others.
    pub(crate) held: Option<Ends>,
}

/// A byte stream that stays on this thread.
pub(crate) trait LocalIo: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> LocalIo for T {}

impl std::fmt::Debug for Switched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Switched").field("seen", &self.seen.len()).finish_non_exhaustive()
    }
}

impl Sender {
    pub(super) fn new(
        requests: SendRequest<RequestBody>,
        (driver, switch, allowance): (JoinHandle<()>, Switch, Allowance),
        proof: Option<Rc<Proof>>,
    ) -> Self {
        Self { requests, driver, proof, switch, allowance }
    }

    /// What shows that the connection leads to whom it should, where it has to.
    pub(super) fn proof(&self) -> Option<Rc<Proof>> {
        self.proof.clone()
    }

    /// Has the connection left here, should the upstream switch protocols.
    pub(super) fn expect_switch(&self) -> oneshot::Receiver<Switched> {
        let (sender, receiver) = oneshot::channel();
        self.switch.replace(Some(sender));
        receiver
    }

    pub(super) async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<RequestBody>>> {
        self.allowance.set(HEADS_BYTES_MAX);
        let answer = self.requests.try_send_request(request).await;
        self.allowance.set(usize::MAX);
        answer
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A connection, or a place on one, in use by one exchange. Where it is HTTP/1.1 and dropped early, the connection is
/// closed with it: nothing that went wrong on it can reach another exchange.
#[derive(Debug)]
pub(crate) enum Lease {
    /// The whole connection, and where it comes to if the upstream switches protocols.
    Http1 { idle: Rc<IdleList>, sender: Sender, switched: Option<oneshot::Receiver<Switched>> },
    /// One stream, which ends by itself, and what it is where it has become a tunnel.
    Http2 { stream: Stream, opened: Option<Opened> },
}

impl Lease {
    /// What shows that the connection leads to whom it should, where it has to.
    pub(crate) fn proof(&self) -> Option<Rc<Proof>> {
        match self {
            Self::Http1 { sender, .. } => sender.proof(),
            Self::Http2 { stream, .. } => stream.proof(),
        }
    }

    /// The connection, where the upstream has switched protocols.
    pub(crate) async fn switched(self) -> Option<Switched> {
        let (sender, switched) = match self {
            Self::Http1 { idle: _, sender, switched } => (sender, switched?),
            Self::Http2 { stream: _stream, opened } => return opened?.switched().await,
        };
        // The driver ends with the answer; the sender, which would abort it, is let go after that.
        let switched = tokio::time::timeout(UNWANTED_TIMEOUT, switched).await;
        drop(sender);
        switched.ok()?.ok()
    }

    /// The response is not wanted. Where it is short, it is read to its end, so that the connection may serve others; the
    /// upstream that answers with failures is not made to take new connections besides.
    pub(crate) fn give_back_after(self, body: Incoming) {
        let Self::Http1 { .. } = self else { return };
        drop(tokio::task::spawn_local(async move {
            let reading = http_body_util::Limited::new(body, UNWANTED_BYTES_MAX).collect();
            if let Ok(Ok(_)) = tokio::time::timeout(UNWANTED_TIMEOUT, reading).await {
                self.give_back();
            }
        }));
    }

    /// The response has been read to its end: the connection may serve another exchange.
    pub(crate) fn give_back(self) {
        match self {
            Self::Http1 { idle, sender, switched: _ } => idle.give_back(sender),
            Self::Http2 { .. } => {}
        }
    }
}
