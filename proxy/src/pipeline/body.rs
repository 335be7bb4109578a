//! Step 7, and the bodies that travel: the request's on its way up, the response's on its way down.
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::refusal::Refusal;

/// What the upstream is sent. Bytes that policy has read are the very bytes forwarded.
#[derive(Debug)]
pub(crate) struct RequestBody {
    source: Source,
    watch: Rc<BodyWatch>,
    bytes_max: u64,
}

#[derive(Debug)]
enum Source {
    Stream(Incoming),
    Whole(Option<Bytes>),
}

/// What became of a request body, readable while hyper owns the body itself.
#[derive(Debug)]
pub(crate) struct BodyWatch {
    bytes: Cell<u64>,
    broken: Cell<Option<Refusal>>,
    moved_at: Cell<Instant>,
    ended_at: Cell<Option<Instant>>,
    ended: Notify,
}

impl BodyWatch {
    fn new() -> Rc<Self> {
        Rc::new(Self {
            bytes: Cell::new(0),
            broken: Cell::new(None),
            moved_at: Cell::new(Instant::now()),
            ended_at: Cell::new(None),
            ended: Notify::new(),
        })
    }

    /// When the last of it came.
    pub(crate) fn moved_at(&self) -> Instant {
        self.moved_at.get()
    }

    /// When it was whole.
    pub(crate) fn ended_at(&self) -> Option<Instant> {
        self.ended_at.get()
    }

    /// Waits until it is whole.
    pub(crate) async fn ended(&self) {
        self.ended.notified().await;
    }

    fn note_end(&self) {
        if self.ended_at.get().is_none() {
            self.ended_at.set(Some(Instant::now()));
            self.ended.notify_one();
        }
    }

    /// How many bytes went upstream so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Why the caller, not the upstream, is to blame for a failed exchange.
    pub(crate) fn broken(&self) -> Option<Refusal> {
        self.broken.get()
    }
}

/// A request body could not be forwarded whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("request body refused: {}", .0.code())]
pub(crate) struct BodyRefused(pub(crate) Refusal);

impl RequestBody {
    /// A body that is forwarded as it arrives, up to `bytes_max`.
    pub(super) fn stream(body: Incoming, bytes_max: u64) -> Self {
        Self::new(Source::Stream(body), bytes_max)
    }

    /// A body that has been read.
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self::new(Source::Whole(Some(bytes)), u64::MAX)
    }

    fn new(source: Source, bytes_max: u64) -> Self {
        let body = Self { source, watch: BodyWatch::new(), bytes_max };
        if body.is_end_stream() {
            body.watch.note_end();
        }
        body
    }

    /// The stream, if it was to be forwarded as it arrives.
    pub(super) fn into_unread(self) -> Option<Incoming> {
        match self.source {
            Source::Stream(body) => Some(body),
            Source::Whole(_) => None,
        }
    }

    /// Follows this body after it has been handed to the upstream connection.
    pub(crate) fn watch(&self) -> Rc<BodyWatch> {
        Rc::clone(&self.watch)
    }

    /// The bytes, where policy has had them read.
    pub(super) fn read(&self) -> Option<&Bytes> {
        match &self.source {
            Source::Whole(bytes) => bytes.as_ref(),
            Source::Stream(_) => None,
        }
    }

    fn count(&mut self, frame: &Frame<Bytes>) -> Result<(), BodyRefused> {
        let Some(data) = frame.data_ref() else { return Ok(()) };
        let bytes = self.watch.bytes.get().saturating_add(data.len() as u64);
        self.watch.bytes.set(bytes);
        self.watch.moved_at.set(Instant::now());
        if bytes > self.bytes_max {
            return Err(self.refuse(Refusal::BodyTooLarge));
        }
        Ok(())
    }

    fn refuse(&self, refusal: Refusal) -> BodyRefused {
        self.watch.broken.set(Some(refusal));
        BodyRefused(refusal)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyRefused;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyRefused>>> {
        let frame = match &mut self.source {
            Source::Whole(bytes) => {
                bytes.take().filter(|bytes| !bytes.is_empty()).map(|data| Ok(Frame::data(data)))
            }
            Source::Stream(body) => ready!(Pin::new(body).poll_frame(cx)),
        };
        if frame.is_none() || self.is_end_stream() {
            self.watch.note_end();
        }
        Poll::Ready(match frame {
            None => None,
            Some(Err(_)) => Some(Err(self.refuse(Refusal::BodyIncomplete))),
            Some(Ok(frame)) => Some(match self.count(&frame) {
                Ok(()) => Ok(super::trailers::guard(frame)),
                Err(refused) => Err(refused),
            }),
        })
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Source::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Source::Stream(body) => body.size_hint(),
        }
    }
}

/// Reads on for a while what nobody wants, and lets it go then.
///
/// Many HTTP/2 clients take it for an error when a stream whose body they still send is reset, even after a
/// whole answer; those that have little left to send get their answer this way.
pub(super) async fn discard(mut body: Incoming) {
    let discarding = async {
        let mut left = DISCARDED_BYTES_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                // Held unread for the rest of the time: the answer may still be on its way.
                std::future::pending::<()>().await;
            }
        }
    };
    // Whichever comes first, the body is dropped now.
    drop(tokio::time::timeout(DISCARDING_TIMEOUT, discarding).await);
}

const DISCARDED_BYTES_MAX: usize = 1024 * 1024;
const DISCARDING_TIMEOUT: Duration = Duration::from_secs(1);

/// How much of a body policy may have read for it, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadLimits {
    /// The longest body that is read, in bytes.
    pub(super) bytes_max: u64,
    /// How long it may take to arrive.
    pub(super) timeout: Duration,
}

/// Reads the whole body, because the policy in force reads it. A longer or slower one is refused: policy
/// never judges part of a body.
pub(super) async fn read(body: Incoming, limits: ReadLimits) -> Result<RequestBody, Refusal> {
    let bytes_max = usize::try_from(limits.bytes_max).unwrap_or(usize::MAX);
    let reading = http_body_util::Limited::new(body, bytes_max).collect();
    match tokio::time::timeout(limits.timeout, reading).await {
        Err(_) => Err(Refusal::BodyTimeout),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(Refusal::BodyTooLarge),
        Ok(Err(_)) => Err(Refusal::BodyIncomplete),
        Ok(Ok(whole)) => Ok(RequestBody::whole(whole.to_bytes())),
    }
}
