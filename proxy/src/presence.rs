//! Whether a TCP peer is still there. One that has gone without a word, with its machine or its network, would otherwise
//! be waited for by everything that has no timeout of its own, for as long as the kernel likes: two hours where nothing
//! is under way, a quarter of one where something is.
//!
//! Where nothing is under way, the kernel asks (`SO_KEEPALIVE`). Where something is, it does not, and what it has against
//! that (`TCP_USER_TIMEOUT`) takes a reader that rests for one that is gone, although each of its acknowledgements says
//! that it is not. So it is looked at when the last of those came.
mod acknowledged;

use socket2::{SockRef, TcpKeepalive};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// After so long without a sign of it, a peer is gone.
const GONE_AFTER: Duration = Duration::from_secs(30);
/// When an idle one is asked first, how often after that, and how often in vain: all of it takes as long.
const ASK_AFTER: Duration = Duration::from_secs(15);
const ASK_INTERVAL: Duration = Duration::from_secs(5);
const ASK_COUNT: u32 = 3;
/// How often it is looked when the last acknowledgement came: by whoever looks each second, each time.
const LOOK_INTERVAL: Duration = Duration::from_millis(900);
/// HTTP/2 asks by itself, by PING, so that a stream is not waited for on a connection that is gone.
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(20);
/// How long the answer may take.
pub(crate) const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Prepares the socket of a caller or an upstream: no delay for small writes, and an idle peer is asked whether it is there.
pub(crate) fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let asking = TcpKeepalive::new().with_time(ASK_AFTER).with_interval(ASK_INTERVAL).with_retries(ASK_COUNT);
    SockRef::from(stream).set_tcp_keepalive(&asking)
}

/// A stream that fails once its peer is gone.
pub(crate) struct Attended {
    stream: TcpStream,
    looked_at: Instant,
}

impl Attended {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, looked_at: Instant::now() }
    }

    /// Who carries bytes for long is woken once a second, and with that comes here.
    fn is_gone(&mut self) -> bool {
        if self.looked_at.elapsed() < LOOK_INTERVAL {
            return false;
        }
        self.looked_at = Instant::now();
        acknowledged::overdue(&self.stream).is_some_and(|silence| silence >= GONE_AFTER)
    }
}

impl AsyncRead for Attended {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if polled.is_pending() && self.is_gone() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        polled
    }
}

impl AsyncWrite for Attended {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if polled.is_pending() && self.is_gone() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        if polled.is_pending() && self.is_gone() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
