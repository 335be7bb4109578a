//! What the pool must know of an endpoint.
use super::announcement::Announcement;
use super::connect::BoxIo;
use super::secure::Security;
use crate::config::ProxyVersion;
use crate::traffic::circuit_breaker::{CircuitBreaker, Place};
use postern_audit::EndpointAddress;
use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What the pool must know of an upstream.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where the service listens.
    pub endpoint: EndpointAddress,
    /// As which users the process at a Unix socket may run; `None` where that is left to the socket's folder.
    pub uids: Option<Arc<[u32]>>,
    /// How it is told from whom a connection is, where it is.
    pub proxy_protocol: Option<ProxyVersion>,
    /// From whom; nobody where the sidecar asks for itself.
    pub(crate) announced: Option<Arc<Announcement>>,
    /// What it speaks.
    pub protocol: Protocol,
    /// What it has to prove; nothing where it is spoken to in plain text.
    pub security: Option<Arc<Security>>,
    /// How long a connection may take to come about.
    pub connect_timeout: Duration,
    /// How long a connection without a request is kept.
    pub idle_timeout: Duration,
    /// Whether it is where a connection was going, and not an endpoint that is known.
    pub is_original: bool,
    /// How much of the upstream all workers together may use, and how much they do.
    pub breaker: Arc<CircuitBreaker>,
}

impl Target {
    /// Who is asked for what is of our own making. What has no address is this machine.
    pub(super) fn host(&self) -> String {
        self.endpoint.ip().map_or_else(|| "localhost".to_owned(), |address| address.to_string())
    }
}

/// The HTTP version spoken with an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, agreed on in the TLS handshake.
    H2,
    /// HTTP/2 without TLS, by prior knowledge.
    H2c,
    /// Bytes as they come, a connection for each stream.
    Tcp,
}

/// A byte stream that takes one of its upstream's places for as long as it is open.
pub(crate) struct Placed {
    io: BoxIo,
    allowance: Allowance,
    _place: Place,
}

/// How many bytes may still be read; beyond that, reading fails. hyper takes interim answers (1xx) without an end, as
/// each alone is a small one.
pub(super) type Allowance = Rc<Cell<usize>>;

impl Placed {
    pub(super) fn new(io: BoxIo, place: Place) -> Self {
        Self { io, allowance: Rc::new(Cell::new(usize::MAX)), _place: place }
    }

    /// What sets the bound.
    pub(super) fn allowance(&self) -> Allowance {
        Rc::clone(&self.allowance)
    }
}

impl AsyncRead for Placed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        let read = buf.filled().len().saturating_sub(before);
        match self.allowance.get().checked_sub(read) {
            Some(left) => self.allowance.set(left),
            None => return Poll::Ready(Err(io::Error::other("more than the head of an answer may take"))),
        }
        polled
    }
}

impl AsyncWrite for Placed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
