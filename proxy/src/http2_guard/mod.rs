//! What h2 does not limit on an HTTP/2 connection: frames that carry nothing.
//!
//! h2 bounds resets of streams that nobody took, streams that it breaks itself, continuations and empty DATA. It answers
//! every PING and every SETTINGS, and takes PRIORITY, WINDOW_UPDATE, unknown frames and DATA of single bytes without
//! end (CVE-2019-9512, -9515, -9513, -9511). [`Guarded`] sits beneath it, follows the frame headers of both directions
//! and counts against a [`Budget`]. Bytes pass untouched and are not copied, and nothing is allocated for a frame.
//!
//! Who is over the budget is told so (GOAWAY with ENHANCE_YOUR_CALM, RFC 9113 §7) and is read no further.
mod budget;
mod frames;

#[cfg(test)]
mod tests;

use budget::Budget;
use frames::{Frame, Frames};
use hyper_util::rt::TokioIo;
use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Which side of the connection is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Other {
    /// The other side calls.
    Client,
    /// The other side is called.
    Server,
}

/// Puts the guard on a stream that will carry HTTP/2: the stream to give to hyper, and what it finds.
pub(crate) fn guard<T>(io: T, other: Other, frames_per_second: u32) -> (Guarded<T>, Floods) {
    let (received, sent) = match other {
        Other::Client => (Frames::of_client(), Frames::of_server()),
        Other::Server => (Frames::of_server(), Frames::of_client()),
    };
    let budget = Budget::new(other, frames_per_second);
    let (stream, has_acknowledged, waiting) = (0, false, None);
    let watched = Watched { received, sent, budget, stream, has_acknowledged, waiting, is_over: false };
    let watched = Rc::new(RefCell::new(watched));
    let guarded = Guarded { io, watched: Rc::clone(&watched), farewell: None };
    (guarded, Floods(watched))
}

/// The same on a stream to an upstream, which is no more to be trusted than a caller: whoever speaks on it sees it break.
pub(crate) fn guard_upstream<T>(io: TokioIo<T>) -> (TokioIo<Guarded<T>>, Floods) {
    let (io, found) = guard(io.into_inner(), Other::Server, UPSTREAM_FRAMES_PER_SECOND);
    (TokioIo::new(io), found)
}

/// As many as a caller may send unless its listener says otherwise.
const UPSTREAM_FRAMES_PER_SECOND: u32 = 1_000;

#[derive(Debug)]
struct Watched {
    received: Frames,
    sent: Frames,
    budget: Budget,
    /// The last stream that the other side began.
    stream: u32,
    /// Whether we have said that the other side's settings are in force.
    has_acknowledged: bool,
    /// Who waits for that.
    waiting: Option<Waker>,
    is_over: bool,
}

impl Watched {
    fn receive(&mut self, bytes: &[u8]) {
        let Self { received, budget, stream, is_over, .. } = self;
        received.feed(bytes, |frame: Frame| {
            if frame.kind == frames::Kind::Headers {
                *stream = frame.stream.max(*stream);
            }
            *is_over |= !budget.receive(frame);
        });
    }

    fn send(&mut self, bytes: &[u8]) {
        let Self { sent, budget, has_acknowledged, is_over, .. } = self;
        sent.feed(bytes, |frame| {
            // The flag that ends a stream acknowledges settings (RFC 9113 §6.5).
            *has_acknowledged |= frame.kind == frames::Kind::Settings && frame.is_last;
            *is_over |= !budget.send(frame);
        });
        if self.has_acknowledged
            && let Some(waiting) = self.waiting.take()
        {
            waiting.wake();
        }
    }
}

/// What the guard found on one connection.
#[derive(Clone, Debug)]
pub(crate) struct Floods(Rc<RefCell<Watched>>);

impl Floods {
    /// Ready once the settings of the other side are in force, which are the first that it says.
    pub(crate) fn poll_acknowledged(&self, cx: &Context<'_>) -> Poll<()> {
        let mut watched = self.0.borrow_mut();
        if watched.has_acknowledged {
            return Poll::Ready(());
        }
        watched.waiting = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Of what the other side sent too much, and how many of it, where it did: the kind of which there was most.
    pub(crate) fn found(&self) -> Option<(&'static str, u32)> {
        let watched = self.0.borrow();
        let most = || watched.budget.counts().into_iter().max_by_key(|(_, count)| *count);
        watched.is_over.then(most).flatten()
    }
}

/// A stream whose frames are counted.
#[derive(Debug)]
pub(crate) struct Guarded<T> {
    io: T,
    watched: Rc<RefCell<Watched>>,
    farewell: Option<Farewell>,
}

/// The end of a connection whose other side is over its budget.
#[derive(Debug)]
struct Farewell {
    goaway: [u8; GOAWAY_BYTES],
    sent: usize,
    is_said: bool,
    /// What may still be read and thrown away. A connection that is closed with bytes unread is reset, and the GOAWAY with it:
    /// who sends more has the time that is left to hear it.
    unread: usize,
    until: Pin<Box<Sleep>>,
}

const GOAWAY_BYTES: usize = 17;
const ENHANCE_YOUR_CALM: u8 = 0xb;
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);
const FAREWELL_BYTES: usize = 1024 * 1024;

impl Farewell {
    fn new(watched: &Watched) -> Self {
        let [s0, s1, s2, s3] = watched.stream.to_be_bytes();
        let goaway = [0, 0, 8, 7, 0, 0, 0, 0, 0, s0, s1, s2, s3, 0, 0, 0, ENHANCE_YOUR_CALM];
        // In the midst of a frame of ours nothing else can be said.
        let sent = if watched.sent.is_between() { 0 } else { GOAWAY_BYTES };
        let until = Box::pin(sleep(FAREWELL_TIMEOUT));
        Self { goaway, sent, is_said: false, unread: FAREWELL_BYTES, until }
    }

    /// Ready when it is over.
    fn poll<T: AsyncRead + AsyncWrite + Unpin>(&mut self, io: &mut T, cx: &mut Context<'_>) -> Poll<()> {
        if self.until.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if !self.is_said {
            while let Some(rest) = self.goaway.get(self.sent..).filter(|rest| !rest.is_empty()) {
                match ready!(Pin::new(&mut *io).poll_write(cx, rest)) {
                    Ok(written) if written > 0 => self.sent = self.sent.saturating_add(written),
                    Ok(_) | Err(_) => return Poll::Ready(()),
                }
            }
            if ready!(Pin::new(&mut *io).poll_shutdown(cx)).is_err() {
                return Poll::Ready(());
            }
            self.is_said = true;
        }
        let mut thrown_away = [0; 4096];
        while self.unread > 0 {
            let mut buf = ReadBuf::new(&mut thrown_away);
            match ready!(Pin::new(&mut *io).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {
                    self.unread = self.unread.saturating_sub(buf.filled().len());
                }
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Guarded<T> {
    /// Ends the connection where its other side is over its budget: whatever hyper wants of it then waits for the farewell,
    /// and fails.
    fn allowed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let watched = self.watched.borrow();
        if !watched.is_over {
            return Poll::Ready(Ok(()));
        }
        let farewell = self.farewell.get_or_insert_with(|| Farewell::new(&watched));
        ready!(farewell.poll(&mut self.io, cx));
        Poll::Ready(Err(io::Error::other("too many frames that carry nothing")))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guarded<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.allowed(cx))?;
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        this.watched.borrow_mut().receive(buf.filled().get(before..).unwrap_or_default());
        let allowed = this.allowed(cx);
        if !matches!(allowed, Poll::Ready(Ok(()))) {
            buf.set_filled(before);
        }
        allowed
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guarded<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.allowed(cx))?;
        let written = ready!(Pin::new(&mut this.io).poll_write(cx, bytes))?;
        this.watched.borrow_mut().send(bytes.get(..written).unwrap_or_default());
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.allowed(cx))?;
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.allowed(cx))?;
        Pin::new(&mut this.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.allowed(cx))?;
        let written = ready!(Pin::new(&mut this.io).poll_write_vectored(cx, slices))?;
        let mut watched = this.watched.borrow_mut();
        let mut left = written;
        for slice in slices {
            let taken = slice.get(..left.min(slice.len())).unwrap_or_default();
            left = left.saturating_sub(taken.len());
            watched.send(taken);
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
