//! What the pool must know of an endpoint, and how many connections it may hold.
use super::connect::BoxIo;
use super::secure::Security;
use crate::pipeline::Refusal;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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
    /// How many connections to this upstream all workers together may hold, and how many they do.
    pub connections: Arc<ConnectionCount>,
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
pub(super) struct Place(Arc<ConnectionCount>);

impl Place {
    /// Takes a place, if one is left.
    pub(super) fn take(count: &Arc<ConnectionCount>) -> Result<Self, Refusal> {
        let place = Self(Arc::clone(count));
        // Counted before it is compared, so that two workers cannot both take the last place.
        if count.open.fetch_add(1, Ordering::Relaxed) >= count.connections_max {
            return Err(Refusal::UpstreamOverflow);
        }
        Ok(place)
    }
}

/// A byte stream that takes one of its upstream's places for as long as it is open.
pub(super) struct Placed {
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

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
