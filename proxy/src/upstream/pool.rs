//! A worker's own connections to the endpoints: no lock, no channel, no other thread.
//!
//! Our own pool on hyper's connection API, because it takes a fifth fewer instructions a request than the
//! pooled client does (`docs/performance.md`).
use super::connect::Connect;
use super::executor::LocalExecutor;
use super::lease::{IdleList, Lease};
use crate::pipeline::{Attempt, Refusal, RequestBody};
use http::{Request, Response, Uri, header};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// What the pool must know of an upstream.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where the service listens.
    pub endpoint: SocketAddr,
    /// What it speaks.
    pub protocol: Protocol,
    /// How long a connection may take to come about.
    pub connect_timeout: Duration,
    /// How long a connection without a request is kept.
    pub idle_timeout: Duration,
    /// How many connections to this upstream all workers together may hold, and how many they do.
    pub connections: Arc<ConnectionCount>,
}

/// The HTTP version spoken with an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 without TLS, by prior knowledge.
    H2c,
}

/// The connections that all workers hold to one upstream.
#[derive(Debug)]
pub struct ConnectionCount {
    open: AtomicUsize,
    connections_max: usize,
}

impl ConnectionCount {
    /// None open yet, at most `connections_max` ever.
    pub fn new(connections_max: usize) -> Self {
        Self { open: AtomicUsize::new(0), connections_max }
    }

    /// How many may be open.
    pub fn connections_max(&self) -> usize {
        self.connections_max
    }

    /// How many are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

/// One place among an upstream's connections, given back on drop.
#[derive(Debug)]
struct Place(Arc<ConnectionCount>);

impl Place {
    fn take(count: &Arc<ConnectionCount>) -> Result<Self, Refusal> {
        let place = Self(Arc::clone(count));
        // Counted before it is compared, so that two workers cannot both take the last place.
        if count.open.fetch_add(1, Ordering::Relaxed) >= count.connections_max {
            return Err(Refusal::UpstreamOverflow);
        }
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A worker's upstream connections.
#[derive(Debug)]
pub struct Pool {
    connector: Rc<dyn Connect>,
    http1: RefCell<HashMap<SocketAddr, Rc<IdleList>>>,
    http2: RefCell<HashMap<SocketAddr, Shared>>,
}

/// An HTTP/2 connection that many exchanges share.
#[derive(Debug)]
struct Shared {
    sender: http2::SendRequest<RequestBody>,
    idle_timeout: Duration,
    used: Instant,
}

/// A request that got no response.
#[derive(Debug)]
pub(crate) enum SendError {
    /// Not a byte of it left: it may be tried elsewhere.
    Unsent(Box<Attempt>, Refusal),
    /// The upstream may have seen it.
    Sent(Refusal),
}

impl Pool {
    /// An empty pool over a connector.
    pub fn new(connector: Rc<dyn Connect>) -> Self {
        Self { connector, http1: RefCell::default(), http2: RefCell::default() }
    }

    /// Sends one attempt and waits for the head of its response. The lease keeps the connection until the
    /// response body has been read.
    pub(crate) async fn send(
        &self,
        target: &Target,
        attempt: Attempt,
    ) -> Result<(Response<Incoming>, Lease), SendError> {
        match target.protocol {
            Protocol::Http1 => self.send_http1(target, attempt).await,
            Protocol::H2c => self.send_http2(target, attempt).await,
        }
    }

    async fn send_http1(
        &self,
        target: &Target,
        attempt: Attempt,
    ) -> Result<(Response<Incoming>, Lease), SendError> {
        let idle = self.idle_list(target);
        let (mut request, voucher) = attempt.into_request();
        to_origin_form(&mut request);
        loop {
            // A pooled connection may turn out to be closed; only a new one proves the endpoint dead.
            let (mut sender, is_new) = match idle.take() {
                Some(sender) => (sender, false),
                None => match self.connect_http1(target).await {
                    Ok(sender) => (sender, true),
                    Err(refusal) => return Err(SendError::Unsent(Box::new(voucher.renew(request)), refusal)),
                },
            };
            match sender.try_send_request(request).await {
                Ok(response) => return Ok((response, Lease::http1(idle, sender))),
                Err(mut error) => match unsent(&mut error) {
                    None => return Err(SendError::Sent(Refusal::UpstreamProtocol)),
                    Some(back) if is_new => {
                        let refusal = Refusal::UpstreamConnectFailed;
                        return Err(SendError::Unsent(Box::new(voucher.renew(back)), refusal));
                    }
                    Some(back) => request = back,
                },
            }
        }
    }

    async fn send_http2(
        &self,
        target: &Target,
        attempt: Attempt,
    ) -> Result<(Response<Incoming>, Lease), SendError> {
        let (request, voucher) = attempt.into_request();
        let mut sender = match self.http2_sender(target).await {
            Ok(sender) => sender,
            Err(refusal) => return Err(SendError::Unsent(Box::new(voucher.renew(request)), refusal)),
        };
        match sender.try_send_request(request).await {
            Ok(response) => Ok((response, Lease::http2())),
            Err(mut error) => {
                self.http2.borrow_mut().remove(&target.endpoint);
                match unsent(&mut error) {
                    None => Err(SendError::Sent(Refusal::UpstreamProtocol)),
                    Some(back) => {
                        let refusal = Refusal::UpstreamConnectFailed;
                        Err(SendError::Unsent(Box::new(voucher.renew(back)), refusal))
                    }
                }
            }
        }
    }

    /// Closes the connections that have had nothing to do for longer than their upstream allows.
    pub fn sweep(&self) {
        let now = Instant::now();
        self.http1.borrow().values().for_each(|idle| idle.sweep(now));
        // Streams in progress keep their connection; only the pool's own hold on it is let go.
        self.http2.borrow_mut().retain(|_, shared| now.duration_since(shared.used) < shared.idle_timeout);
    }

    fn idle_list(&self, target: &Target) -> Rc<IdleList> {
        let mut lists = self.http1.borrow_mut();
        let list =
            lists.entry(target.endpoint).or_insert_with(|| Rc::new(IdleList::new(target.idle_timeout)));
        Rc::clone(list)
    }

    fn http2_pooled(&self, endpoint: SocketAddr) -> Option<http2::SendRequest<RequestBody>> {
        let mut pooled = self.http2.borrow_mut();
        let shared = pooled.get_mut(&endpoint).filter(|shared| !shared.sender.is_closed())?;
        shared.used = Instant::now();
        Some(shared.sender.clone())
    }

    async fn connect_http1(&self, target: &Target) -> Result<http1::SendRequest<RequestBody>, Refusal> {
        let (io, place) = self.connect(target).await?;
        let mut builder = http1::Builder::new();
        builder.max_headers(RESPONSE_HEADERS_MAX).max_buf_size(RESPONSE_HEAD_BYTES_MAX);
        let (sender, connection) = builder.handshake(io).await.map_err(|_| Refusal::UpstreamConnectFailed)?;
        drop(tokio::task::spawn_local(async move {
            // How the connection ended is told to the exchange that was on it, if there was one.
            drop(connection.await);
            drop(place);
        }));
        Ok(sender)
    }

    async fn http2_sender(&self, target: &Target) -> Result<http2::SendRequest<RequestBody>, Refusal> {
        if let Some(sender) = self.http2_pooled(target.endpoint) {
            return Ok(sender);
        }
        let (io, place) = self.connect(target).await?;
        let mut builder = http2::Builder::new(LocalExecutor);
        builder.timer(TokioTimer::new()).keep_alive_interval(Duration::from_secs(30));
        builder.keep_alive_timeout(Duration::from_secs(10));
        builder.max_header_list_size(HTTP2_HEADER_BYTES_MAX);
        let (sender, connection) = builder.handshake(io).await.map_err(|_| Refusal::UpstreamConnectFailed)?;
        drop(tokio::task::spawn_local(async move {
            drop(connection.await);
            drop(place);
        }));
        let shared =
            Shared { sender: sender.clone(), idle_timeout: target.idle_timeout, used: Instant::now() };
        self.http2.borrow_mut().insert(target.endpoint, shared);
        Ok(sender)
    }

    async fn connect(&self, target: &Target) -> Result<(TokioIo<super::connect::BoxIo>, Place), Refusal> {
        let place = Place::take(&target.connections)?;
        let connecting = self.connector.connect(target.endpoint);
        match tokio::time::timeout(target.connect_timeout, connecting).await {
            Ok(Ok(io)) => Ok((TokioIo::new(io), place)),
            Ok(Err(_)) | Err(_) => Err(Refusal::UpstreamConnectFailed),
        }
    }
}

/// The request, if the connection gave it back whole. One whose body has begun is not unsent.
fn unsent(error: &mut TrySendError<Request<RequestBody>>) -> Option<Request<RequestBody>> {
    error.take_message().filter(|request| request.body().watch().bytes() == 0)
}

/// HTTP/1.1 names the authority in `Host` and only the path and query in the target (RFC 9112 §3.2.1).
fn to_origin_form(request: &mut Request<RequestBody>) {
    let uri = std::mem::take(request.uri_mut()).into_parts();
    if let Some(target) = uri.path_and_query {
        *request.uri_mut() = Uri::from(target);
    }
    if let Some(host) =
        uri.authority.and_then(|name| http::HeaderValue::from_maybe_shared(name.to_string()).ok())
    {
        request.headers_mut().insert(header::HOST, host);
    }
}

/// An upstream is not the caller's adversary, yet its answers are bounded all the same.
const RESPONSE_HEADERS_MAX: usize = 200;
const RESPONSE_HEAD_BYTES_MAX: usize = 128 * 1024;
const HTTP2_HEADER_BYTES_MAX: u32 = 64 * 1024;
