//! What hyper hides of an HTTP/1 request head.
//!
//! hyper accepts heads that another parser reads differently (a length and a transfer coding together, two
//! `Host` lines, a bare LF), and what it hands on no longer shows them: `http::Uri` cuts the target at `#`, a
//! second equal `Content-Length` is gone. [`Guarded`] sits between TLS and hyper, follows the message framing
//! of the bytes that come in, and queues one [`RawHead`] a request. The n-th request of a connection takes the
//! n-th head. Bytes pass untouched and are not copied.
//!
//! The guard's grammar is narrower than hyper's, never wider. Where a head or a body is outside of it, the
//! framing behind is uncertain: the connection is *poisoned*, and every later request on it is refused.
mod head;
mod tracker;

#[cfg(test)]
mod differential;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;

pub(crate) use head::{Head, HeadFault, RawHead, TargetForm};
pub(crate) use tracker::{HeadLimits, HeadTracker};

use crate::config::ListenerLimits;
use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// Puts the guard on a stream that will carry HTTP/1: the stream to give to hyper, and the heads to give to
/// its requests.
pub(crate) fn guard<T>(io: T, limits: &ListenerLimits) -> (Guarded<T>, RawHeads) {
    let watched = Watched { tracker: HeadTracker::new(HeadLimits::from(limits)), begun: None };
    let watched = Rc::new(RefCell::new(watched));
    (Guarded { io, watched: Rc::clone(&watched) }, RawHeads(watched))
}

#[derive(Debug)]
struct Watched {
    tracker: HeadTracker,
    /// Which head is arriving, and since when.
    begun: Option<(u64, Instant)>,
}

impl Watched {
    fn feed(&mut self, bytes: &[u8]) {
        self.tracker.feed(bytes);
        self.begun = match (self.tracker.arriving(), self.begun) {
            (None, _) => None,
            (Some(head), Some((same, since))) if head == same => Some((head, since)),
            (Some(head), Some(_) | None) => Some((head, Instant::now())),
        };
    }
}

/// The heads of one connection's requests, in order. A cheap handle, for the worker that serves the
/// connection.
#[derive(Clone, Debug)]
pub(crate) struct RawHeads(Rc<RefCell<Watched>>);

impl RawHeads {
    /// The head of the next request. To be called once a request, in the order in which hyper hands them on.
    ///
    /// A request that the guard saw no head for is refused like a malformed one.
    pub(crate) fn next(&self) -> RawHead {
        let mut watched = self.0.borrow_mut();
        let head = watched.tracker.take();
        if watched.tracker.arriving().is_none() {
            watched.begun = None;
        }
        head
    }

    /// Whether the connection is poisoned: what has come in last is not certain to be a request, so the answer
    /// in progress must be the last one (`connection: close`).
    pub(crate) fn is_poisoned(&self) -> bool {
        self.0.borrow().tracker.is_poisoned()
    }

    /// Since when a head has been arriving; nothing while a body arrives, or between requests.
    pub(crate) fn begun(&self) -> Option<Instant> {
        self.0.borrow().begun.map(|(_, since)| since)
    }
}

/// A stream whose incoming bytes are watched.
#[derive(Debug)]
pub(crate) struct Guarded<T> {
    io: T,
    watched: Rc<RefCell<Watched>>,
}

impl<T> Guarded<T> {
    /// The stream without the guard, once it carries HTTP no more.
    pub(crate) fn into_inner(self) -> T {
        self.io
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Guarded<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        let fresh = buf.filled().get(before..).unwrap_or_default();
        if !fresh.is_empty() {
            this.watched.borrow_mut().feed(fresh);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Guarded<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
