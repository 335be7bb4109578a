//! Step 7, and the bodies that travel: the request's on its way up, the response's on its way down.
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use postern_audit::End;
use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::kept::Kept;
use super::refusal::Refusal;
use crate::cut::{Cut, Streams};
use crate::listener::{Held, Listener};

/// What the upstream is sent. Bytes that policy has read are the very bytes forwarded.
#[derive(Debug)]
pub(crate) struct RequestBody {
    source: Source,
    watch: Rc<BodyWatch>,
    bytes_max: u64,
    /// The HTTP/2 connection that will send it, until it is asked for its first part.
    sent_by: Option<Streams>,
    /// What a body that policy has read takes of the listener's memory.
    held: Option<Rc<Held>>,
    /// Where it is kept to be sent again.
    kept: Option<Rc<Kept>>,
    /// Where it is kept for a copy.
    copied: Option<Rc<Kept>>,
    passage: Passage,
}

/// What of a body has been handed to the upstream's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passage {
    Nothing,
    Some,
    /// It is sent again: what it is has been counted.
    Again,
}

/// What policy sees of a body. Bytes that were read are shared with it, and so is the memory that was taken for them.
#[derive(Debug)]
pub(super) struct BodySeen {
    bytes: Option<Bytes>,
    is_empty: bool,
    size: Option<u64>,
    _held: Option<Rc<Held>>,
}

impl BodySeen {
    /// As far as it was read.
    pub(super) fn body(&self) -> postern_policy::Body<'_> {
        match &self.bytes {
            Some(bytes) => postern_policy::Body::Whole(bytes),
            None if self.is_empty => postern_policy::Body::NotRead,
            None => postern_policy::Body::Stream,
        }
    }

    /// Its length, or -1 where that is not known.
    pub(super) fn size(&self) -> i64 {
        self.size.and_then(|size| i64::try_from(size).ok()).unwrap_or(-1)
    }
}

#[derive(Debug)]
enum Source {
    Stream(Incoming),
    /// What was read of it, and the trailers that came behind.
    Whole(Option<Bytes>, Option<Box<HeaderMap>>),
    /// Nothing: a tunnel is opened, on this HTTP/2 connection, until hyper is about to begin the tunnel's tasks.
    Tunnel(RefCell<Option<(Streams, Rc<Cut>)>>),
}

impl Source {
    fn whole(bytes: Bytes) -> Self {
        Self::Whole(Some(bytes), None)
    }
}

/// What became of a request body, readable while hyper owns the body itself.
#[derive(Debug)]
pub(crate) struct BodyWatch {
    bytes: Cell<u64>,
    broken: Cell<Option<Refusal>>,
    moved_at: Cell<Instant>,
    asked_for_at: Cell<Option<Instant>>,
    waits_for_caller: Cell<bool>,
    ended_at: Cell<Option<Instant>>,
    ended: Notify,
    is_late: Cell<bool>,
    wanted: Cell<Wanted>,
    reader: RefCell<Option<Waker>>,
    cut: RefCell<Option<Rc<Cut>>>,
}

/// Whether anybody still waits for what is left of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Whole,
    /// The caller is answered without it.
    Discarded,
    /// The caller is gone, or was let go.
    No,
}

impl BodyWatch {
    fn new() -> Rc<Self> {
        Rc::new(Self {
            bytes: Cell::new(0),
            broken: Cell::new(None),
            moved_at: Cell::new(Instant::now()),
            asked_for_at: Cell::new(None),
            waits_for_caller: Cell::new(false),
            ended_at: Cell::new(None),
            ended: Notify::new(),
            is_late: Cell::new(false),
            wanted: Cell::new(Wanted::Whole),
            reader: RefCell::default(),
            cut: RefCell::default(),
        })
    }

    /// When the last of it came.
    pub(crate) fn moved_at(&self) -> Instant {
        self.moved_at.get()
    }

    /// Whether the upstream would take more than the caller has sent.
    pub(crate) fn waits_for_caller(&self) -> bool {
        self.waits_for_caller.get()
    }

    /// When it was whole.
    pub(crate) fn ended_at(&self) -> Option<Instant> {
        self.ended_at.get()
    }

    /// Until when `time` lasts that runs from `began` on and stands still while the body is on its way: from when an upstream
    /// asks for it until it is whole. `None` while that is so.
    pub(crate) fn due(&self, began: Instant, time: Duration) -> Option<Instant> {
        let Some(asked_for_at) = self.asked_for_at.get() else { return Some(began + time) };
        let on_its_way = self.ended_at.get()?.saturating_duration_since(asked_for_at.max(began));
        Some(began + time + on_its_way)
    }

    /// Waits until it is whole, if it is not.
    pub(crate) async fn ended(&self) {
        let ended = self.ended.notified();
        if self.ended_at.get().is_none() {
            ended.await;
        }
    }

    fn note_end(&self) {
        if self.ended_at.get().is_none() {
            self.ended_at.set(Some(Instant::now()));
            // The exchange waits for it, and so does each of its attempts.
            self.ended.notify_waiters();
        }
    }

    /// The upstream has let the time of its route pass.
    pub(crate) fn note_late(&self) {
        self.is_late.set(true);
    }

    /// Whether the exchange is given up because the upstream has let the time of its route pass.
    pub(super) fn is_late(&self) -> bool {
        self.is_late.get()
    }

    /// The exchange has ended: what is left of the body reaches no upstream any more.
    pub(super) fn let_go(&self, end: Option<End>) {
        if self.ended_at.get().is_none() {
            let is_answered = matches!(end, Some(End::Done | End::Refused));
            self.wanted.set(if is_answered { Wanted::Discarded } else { Wanted::No });
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
        }
        // Who waits for room at the upstream does not read, and may have the last part in hand.
        if let Some(cut) = self.cut.take() {
            cut.make();
        }
    }

    /// Another stream carries it: nobody waits for the one before.
    fn carried_by(&self, cut: Rc<Cut>) {
        if let Some(before) = self.cut.replace(Some(cut)) {
            before.make();
        }
    }

    fn wait(&self, cx: &Context<'_>) {
        self.waits_for_caller.set(true);
        let mut reader = self.reader.borrow_mut();
        if !reader.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *reader = Some(cx.waker().clone());
        }
    }

    /// So many bytes went upstream after the protocols were switched.
    pub(super) fn carried(&self, bytes: u64) {
        self.bytes.set(self.bytes.get().saturating_add(bytes));
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

/// A request body was not forwarded whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyCut {
    /// The caller broke it, or overstepped its limit.
    #[error("request body refused: {}", .0.code())]
    Refused(Refusal),
    /// Its exchange has ended.
    #[error("the rest of the request body is not wanted any more")]
    Unwanted,
}

impl RequestBody {
    /// A body that is forwarded as it arrives, up to `bytes_max`.
    pub(super) fn stream(body: Incoming, bytes_max: u64) -> Self {
        Self::new(Source::Stream(body), bytes_max, None)
    }

    /// No body at all.
    pub(super) fn empty() -> Self {
        Self::new(Source::whole(Bytes::new()), u64::MAX, None)
    }

    fn new(source: Source, bytes_max: u64, held: Option<Held>) -> Self {
        let (watch, held) = (BodyWatch::new(), held.map(Rc::new));
        let passage = Passage::Nothing;
        let body = Self { source, watch, bytes_max, sent_by: None, held, kept: None, copied: None, passage };
        if body.is_end_stream() {
            body.watch.note_end();
        }
        body
    }

    /// Keeps what is sent of it from now on, up to `bytes_max`.
    pub(super) fn keep(&mut self, bytes_max: usize) -> Rc<Kept> {
        let kept = self.keeping(bytes_max);
        self.kept = Some(Rc::clone(&kept));
        kept
    }

    /// The same for a copy.
    pub(super) fn copy(&mut self, bytes_max: usize) -> Rc<Kept> {
        let copied = self.keeping(bytes_max);
        self.copied = Some(Rc::clone(&copied));
        copied
    }

    fn keeping(&self, bytes_max: usize) -> Rc<Kept> {
        let kept = Rc::new(Kept::new(bytes_max));
        if self.is_end_stream() {
            kept.end();
        }
        kept
    }

    /// A body that was kept whole, for another message.
    pub(super) fn copied(kept: &Kept) -> Option<Self> {
        Some(Self::new(Source::whole(kept.whole()?), u64::MAX, None))
    }

    /// A body that was kept whole, on its way once more.
    pub(super) fn again(kept: &Kept, watch: &Rc<BodyWatch>) -> Option<Self> {
        let source = Source::whole(kept.whole()?);
        let (watch, passage) = (Rc::clone(watch), Passage::Again);
        Some(Self {
            source,
            watch,
            bytes_max: u64::MAX,
            sent_by: None,
            held: None,
            kept: None,
            copied: None,
            passage,
        })
    }

    /// Whether none of it has been handed to the upstream's connection.
    pub(crate) fn is_untouched(&self) -> bool {
        match (&self.source, self.passage) {
            (_, Passage::Nothing) | (Source::Whole(Some(_), _) | Source::Tunnel(_), Passage::Again) => true,
            (_, Passage::Some) | (Source::Whole(None, _) | Source::Stream(_), Passage::Again) => false,
        }
    }

    /// The stream, if it was to be forwarded as it arrives.
    pub(super) fn into_unread(mut self) -> Option<Incoming> {
        match std::mem::replace(&mut self.source, Source::Whole(None, None)) {
            Source::Stream(body) => Some(body),
            Source::Whole(..) | Source::Tunnel(_) => None,
        }
    }

    /// Names the HTTP/2 connection that is about to send it.
    pub(crate) fn sent_by(&mut self, streams: &Streams) {
        self.sent_by = Some(streams.clone());
    }

    /// Names the HTTP/2 connection on which a CONNECT is about to be sent, and what ends its tunnel. It has no body: all that
    /// hyper asks of it before the tunnel's tasks begin is whether it is at its end.
    pub(crate) fn opens_tunnel(&mut self, streams: &Streams, cut: &Rc<Cut>) {
        self.source = Source::Tunnel(RefCell::new(Some((streams.clone(), Rc::clone(cut)))));
    }

    /// Follows this body after it has been handed to the upstream connection.
    pub(crate) fn watch(&self) -> Rc<BodyWatch> {
        Rc::clone(&self.watch)
    }

    /// What policy sees of it, which it does not have to be asked for again.
    pub(super) fn seen(&self) -> BodySeen {
        let (bytes, size) = match &self.source {
            Source::Whole(bytes, _) => (bytes.clone(), bytes.as_ref().map(|bytes| bytes.len() as u64)),
            Source::Stream(body) => (None, body.size_hint().exact()),
            Source::Tunnel(_) => (None, Some(0)),
        };
        BodySeen { bytes, is_empty: self.is_end_stream(), size, _held: self.held.clone() }
    }

    fn count(&mut self, frame: &Frame<Bytes>) -> Result<(), BodyCut> {
        if self.passage == Passage::Again {
            return Ok(());
        }
        self.passage = Passage::Some;
        let Some(data) = frame.data_ref() else { return Ok(()) };
        let bytes = self.watch.bytes.get().saturating_add(data.len() as u64);
        self.watch.bytes.set(bytes);
        self.watch.moved_at.set(Instant::now());
        if bytes > self.bytes_max {
            return Err(self.refuse(Refusal::BodyTooLarge));
        }
        Ok(())
    }

    fn refuse(&self, refusal: Refusal) -> BodyCut {
        self.watch.broken.set(Some(refusal));
        BodyCut::Refused(refusal)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyCut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyCut>>> {
        if let Some(streams) = self.sent_by.take() {
            self.watch.carried_by(streams.begin());
        }
        if self.watch.wanted.get() != Wanted::Whole {
            return Poll::Ready(Some(Err(BodyCut::Unwanted)));
        }
        if self.watch.asked_for_at.get().is_none() {
            self.watch.asked_for_at.set(Some(Instant::now()));
        }
        let frame = match &mut self.source {
            Source::Whole(bytes, trailers) => {
                let data = bytes.take().filter(|bytes| !bytes.is_empty()).map(Frame::data);
                data.or_else(|| trailers.take().map(|trailers| Frame::trailers(*trailers))).map(Ok)
            }
            Source::Tunnel(_) => None,
            Source::Stream(body) => match Pin::new(body).poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    self.watch.wait(cx);
                    return Poll::Pending;
                }
            },
        };
        self.watch.waits_for_caller.set(false);
        let is_last = frame.as_ref().is_none_or(|frame| frame.as_ref().is_ok_and(Frame::is_trailers));
        let passed = match frame {
            None => None,
            Some(Err(_)) => Some(Err(self.refuse(Refusal::BodyIncomplete))),
            Some(Ok(frame)) => Some(match self.count(&frame) {
                Ok(()) => Ok(super::trailers::guard(frame)),
                Err(refused) => Err(refused),
            }),
        };
        if let Some(Ok(frame)) = &passed {
            self.kept.iter().chain(&self.copied).for_each(|kept| kept.see(frame));
        }
        if is_last || self.is_end_stream() {
            self.watch.note_end();
            self.kept.iter().chain(&self.copied).for_each(|kept| kept.end());
        }
        Poll::Ready(passed)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Whole(bytes, trailers) => {
                bytes.as_ref().is_none_or(Bytes::is_empty) && trailers.is_none()
            }
            Source::Stream(body) => body.is_end_stream(),
            Source::Tunnel(opens) => {
                if let Some((streams, cut)) = opens.take() {
                    streams.begin_tunnel(&cut);
                }
                true
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Whole(bytes, trailers) => {
                let length = bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
                let mut hint = SizeHint::with_exact(length);
                if trailers.is_some() {
                    // Behind a body whose length is announced HTTP/1.1 has no place for trailers.
                    hint = SizeHint::new();
                    hint.set_lower(length);
                }
                hint
            }
            Source::Stream(body) => body.size_hint(),
            Source::Tunnel(_) => SizeHint::with_exact(0),
        }
    }
}

/// A caller that is still sending what nobody wants any more is heard out for a while, so that it hears its answer.
impl Drop for RequestBody {
    fn drop(&mut self) {
        if self.watch.ended_at.get().is_some() || self.watch.wanted.get() == Wanted::No {
            return;
        }
        if let Source::Stream(body) = std::mem::replace(&mut self.source, Source::Whole(None, None)) {
            drop(tokio::task::spawn_local(discard(body)));
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

/// Reads the whole body, because the policy in force reads it. A longer or slower one is refused, and stays with
/// the caller of this function: policy never judges part of a body.
pub(super) async fn read(body: &mut Incoming, listener: &Arc<Listener>) -> Result<RequestBody, Refusal> {
    let limits = &listener.limits;
    let bytes_max = limits.body_bytes_max.min(limits.policy_body_bytes_max);
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > bytes_max {
        return Err(Refusal::BodyTooLarge);
    }
    let bytes = body.size_hint().exact().map_or(bytes_max, |_| announced);
    let held = Held::take(listener, bytes).ok_or(Refusal::LimitPolicyBodies)?;
    let reading = http_body_util::Limited::new(body, bytes_max).collect();
    match tokio::time::timeout(limits.policy_body_timeout, reading).await {
        Err(_) => Err(Refusal::BodyTimeout),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(Refusal::BodyTooLarge),
        Ok(Err(_)) => Err(Refusal::BodyIncomplete),
        Ok(Ok(whole)) => {
            let trailers = whole.trailers().cloned().map(Box::new);
            let source = Source::Whole(Some(whole.to_bytes()), trailers);
            Ok(RequestBody::new(source, u64::MAX, Some(held)))
        }
    }
}
