//! The small HTTP/1.1 server beneath the status port and the admin socket.
//!
//! One request a connection, no request bodies, short deadlines: a caller that holds on loses its
//! connection, and one address cannot take the places of all others.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

/// How long to leave a listener alone that cannot accept, for want of file descriptors.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What callers may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// Connections at once; one more is closed as it comes.
    pub connections_max: usize,
    /// Connections at once from one address.
    pub connections_per_address_max: usize,
    /// Bytes of a request's head, at least 8192.
    pub head_bytes_max: usize,
    /// Header fields of a request.
    pub headers_max: usize,
    /// How long the head of a request may take.
    pub head_timeout: Duration,
    /// How long a whole connection may take, answer included.
    pub connection_timeout: Duration,
}

impl ServerLimits {
    /// For the status port: probes and scrapes.
    pub const STATUS: Self = Self {
        connections_max: 64,
        connections_per_address_max: 16,
        head_bytes_max: 8192,
        headers_max: 64,
        head_timeout: Duration::from_secs(5),
        connection_timeout: Duration::from_secs(10),
    };
    /// For the admin socket: commands take as long as a reload does.
    pub const ADMIN: Self = Self {
        connections_max: 16,
        connections_per_address_max: 16,
        head_bytes_max: 8192,
        headers_max: 64,
        head_timeout: Duration::from_secs(5),
        connection_timeout: Duration::from_secs(60),
    };
}

/// What an answer is made of.
pub(super) type Answer = Response<Full<Bytes>>;

/// Answers requests, of which it sees the head alone.
pub(super) trait Answers: Send + Sync + 'static {
    fn answer(&self, request: Request<()>) -> impl Future<Output = Answer> + Send;
}

/// The places for connections.
#[derive(Debug)]
pub(super) struct Places {
    limits: ServerLimits,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One taken place, given back on drop.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    address: IpAddr,
}

impl Places {
    pub(super) fn new(limits: ServerLimits) -> Arc<Self> {
        Arc::new(Self { limits, taken: Mutex::default() })
    }

    /// A place for a caller from `address`; `None` when there is none left for it.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let of_address = taken.by_address.get(&address).copied().unwrap_or_default();
        if taken.all >= self.limits.connections_max || of_address >= self.limits.connections_per_address_max {
            return None;
        }
        taken.all += 1;
        taken.by_address.insert(address, of_address + 1);
        Some(Place { places: Arc::clone(self), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all = taken.all.saturating_sub(1);
        match taken.by_address.get_mut(&self.address) {
            Some(left) if *left > 1 => *left -= 1,
            Some(_) | None => drop(taken.by_address.remove(&self.address)),
        }
    }
}

impl Place {
    /// Serves the one request of a connection that holds this place. What goes wrong on the way is the
    /// caller's loss: there is no answer left to give, and a scanner must not fill the log.
    pub(super) async fn serve<A: Answers>(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        answers: Arc<A>,
    ) {
        let limits = self.places.limits;
        let service = service_fn(move |request: Request<hyper::body::Incoming>| {
            let answers = Arc::clone(&answers);
            async move {
                let (head, _unread) = request.into_parts();
                Ok::<_, Infallible>(answers.answer(Request::from_parts(head, ())).await)
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .keep_alive(false)
            .header_read_timeout(limits.head_timeout)
            .max_headers(limits.headers_max)
            .max_buf_size(limits.head_bytes_max.max(8192))
            .serve_connection(TokioIo::new(stream), service)
            // A handover goes on with the bare socket.
            .with_upgrades();
        drop(timeout(limits.connection_timeout, connection).await);
    }
}

/// An answer of this type. Nothing here may be stored or guessed about by what stands between.
pub(super) fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

pub(super) fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    answer(status, "text/plain; charset=utf-8", body)
}

pub(super) fn json(status: StatusCode, body: &impl serde::Serialize) -> Answer {
    match serde_json::to_vec_pretty(body) {
        Ok(mut body) => {
            body.push(b'\n');
            answer(status, "application/json", body)
        }
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the answer cannot be written as JSON\n"),
    }
}

pub(super) fn method_not_allowed(allowed: &'static str) -> Answer {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, format!("only {allowed} is answered here\n"));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}
