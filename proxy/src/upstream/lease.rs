//! Who holds a connection: an exchange, until its response has been read whole; then the pool.
use super::http2::Stream;
use super::secure::Proof;
use crate::pipeline::RequestBody;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::SendRequest;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How many idle connections to one endpoint a worker keeps.
const IDLE_MAX: usize = 64;

/// The idle connections to one endpoint; the one used last is used next, so that the rest can age.
#[derive(Debug)]
pub(crate) struct IdleList {
    idle_timeout: Duration,
    senders: RefCell<Vec<Idle>>,
}

#[derive(Debug)]
struct Idle {
    sender: Sender,
    since: Instant,
}

impl IdleList {
    pub(super) fn new(idle_timeout: Duration) -> Self {
        Self { idle_timeout, senders: RefCell::default() }
    }

    /// A connection that can take a request now, and may.
    pub(super) fn take(&self, may: &dyn Fn(Option<&Proof>) -> bool) -> Option<Sender> {
        let mut senders = self.senders.borrow_mut();
        senders.retain(|idle| !idle.sender.requests.is_closed() && may(idle.sender.proof()));
        // One that has not yet noticed the end of its last exchange stays for the next caller.
        let ready = senders.iter().rposition(|idle| idle.sender.requests.is_ready())?;
        Some(senders.remove(ready).sender)
    }

    /// Closes what has been idle for too long, and what must not be used any more.
    pub(super) fn sweep(&self, now: Instant, may: &dyn Fn(Option<&Proof>) -> bool) {
        let is_fresh = |idle: &Idle| now.duration_since(idle.since) < self.idle_timeout;
        self.senders.borrow_mut().retain(|idle| is_fresh(idle) && may(idle.sender.proof()));
    }

    fn give_back(&self, sender: Sender) {
        let mut senders = self.senders.borrow_mut();
        if !sender.requests.is_closed() && senders.len() < IDLE_MAX {
            senders.push(Idle { sender, since: Instant::now() });
        }
    }
}

/// A whole HTTP/1.1 connection. Dropped, it is closed at once, also where it waits for the upstream to make room.
#[derive(Debug)]
pub(crate) struct Sender {
    requests: SendRequest<RequestBody>,
    driver: JoinHandle<()>,
    proof: Option<Rc<Proof>>,
}

impl Sender {
    pub(super) fn new(
        requests: SendRequest<RequestBody>,
        driver: JoinHandle<()>,
        proof: Option<Rc<Proof>>,
    ) -> Self {
        Self { requests, driver, proof }
    }

    fn proof(&self) -> Option<&Proof> {
        self.proof.as_deref()
    }

    pub(super) async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<RequestBody>>> {
        self.requests.try_send_request(request).await
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
    /// The whole connection.
    Http1 { idle: Rc<IdleList>, sender: Sender },
    /// One stream, which ends by itself.
    Http2 { stream: Stream },
}

impl Lease {
    /// What shows that the connection leads to whom it should, where it has to.
    pub(crate) fn proof(&self) -> Option<Rc<Proof>> {
        match self {
            Self::Http1 { sender, .. } => sender.proof.clone(),
            Self::Http2 { stream } => stream.proof(),
        }
    }

    /// The response has been read to its end: the connection may serve another exchange.
    pub(crate) fn give_back(self) {
        match self {
            Self::Http1 { idle, sender } => idle.give_back(sender),
            Self::Http2 { .. } => {}
        }
    }
}
