//! Two byte streams joined, and what is known of how they get on.
use bytes::Bytes;
use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// What each direction may hold.
const BUFFER_BYTES: usize = 16 * 1024;

/// What has come by one of the two sides.
#[derive(Debug)]
pub(super) struct Side {
    moved_at: Cell<Instant>,
    bytes: Cell<u64>,
    has_failed: Cell<bool>,
}

impl Side {
    pub(super) fn new() -> Rc<Self> {
        let moved_at = Cell::new(Instant::now());
        Rc::new(Self { moved_at, bytes: Cell::new(0), has_failed: Cell::new(false) })
    }

    /// When the last of it came.
    pub(super) fn moved_at(&self) -> Instant {
        self.moved_at.get()
    }

    /// How much came in all.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Whether it broke, rather than end.
    pub(super) fn has_failed(&self) -> bool {
        self.has_failed.get()
    }
}

/// Carries bytes both ways until both sides have ended, or one has broken. An end of one side is passed on and leaves the
/// other open.
pub(super) async fn splice<A, B>((a, a_side): (A, &Rc<Side>), (b, b_side): (B, &Rc<Side>)) -> io::Result<()>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (mut a, mut b) =
        (Watched { io: a, side: Rc::clone(a_side) }, Watched { io: b, side: Rc::clone(b_side) });
    tokio::io::copy_bidirectional_with_sizes(&mut a, &mut b, BUFFER_BYTES, BUFFER_BYTES).await.map(drop)
}

/// A stream of which the beginning has been read already.
pub(crate) struct Begun<S> {
    seen: Bytes,
    io: S,
}

impl<S> Begun<S> {
    /// Puts what was read in front of what is to come.
    pub(crate) fn new(seen: Bytes, io: S) -> Self {
        Self { seen, io }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Begun<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.seen.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let count = self.seen.len().min(buf.remaining());
        buf.put_slice(&self.seen.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Begun<S> {
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

struct Watched<S> {
    io: S,
    side: Rc<Side>,
}

impl<S> Watched<S> {
    fn note<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if matches!(polled, Poll::Ready(Err(_))) {
            self.side.has_failed.set(true);
        }
        polled
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        let count = buf.filled().len().saturating_sub(before);
        if count > 0 {
            self.side.bytes.set(self.side.bytes.get().saturating_add(count as u64));
            self.side.moved_at.set(Instant::now());
        }
        self.note(polled)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.note(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_flush(cx);
        self.note(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_shutdown(cx);
        self.note(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.note(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
