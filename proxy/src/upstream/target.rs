//! What the pool must know of an endpoint.
use super::connect::BoxIo;
use super::secure::Security;
use crate::traffic::circuit_breaker::{CircuitBreaker, Place};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What the pool must know of an upstream.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where the service listens.
    pub endpoint: SocketAddr,
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

/// The HTTP version spoken with an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    _place: Place,
}

impl Placed {
    pub(super) fn new(io: BoxIo, place: Place) -> Self {
        Self { io, _place: place }
    }
}

impl AsyncRead for Placed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
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
