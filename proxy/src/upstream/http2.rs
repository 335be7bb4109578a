//! HTTP/2 connections to one endpoint, each shared by many exchanges.
use super::extended_connect::Announced;
use super::secure::Proof;
use super::target::Target;
use crate::cut::Streams;
use crate::pipeline::{Refusal, RequestBody};
use crate::traffic::circuit_breaker::{CircuitBreaker, Place};
use futures_util::future::{FutureExt, LocalBoxFuture, Shared};
use hyper::client::conn::http2::SendRequest;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How many exchanges share a connection; for more, another one is made.
pub(super) const STREAMS_MAX: u32 = 100;
/// What an upstream may send ahead of a caller that does not read.
pub(super) const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
/// Room for what all streams together may be sent ahead: answers that nobody reads stall none of the others.
pub(super) const CONNECTION_WINDOW_BYTES: u32 = STREAMS_MAX * STREAM_WINDOW_BYTES;

/// An endpoint that lets requests pass for so long without a word may be gone: another connection is tried.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(1);

/// A connection that is being made.
pub(super) type Making = LocalBoxFuture<'static, Result<Opened, Refusal>>;

/// A connection that has been made.
#[derive(Debug)]
pub(super) struct Opened {
    /// The way to send requests.
    pub(super) sender: SendRequest<RequestBody>,
    /// Where a request's body leaves the way to end its stream.
    pub(super) streams: Streams,
    /// How many streams the upstream lets us open, as far as it has said.
    pub(super) streams_allowed: Rc<Cell<usize>>,
    /// Whether the upstream takes WebSockets.
    pub(super) announced: Rc<Announced>,
    /// What shows that it leads to whom it should, where it has to.
    pub(super) proof: Option<Rc<Proof>>,
}

/// Ready when it has joined the others, or has failed.
type Made = Shared<LocalBoxFuture<'static, Result<(), Unmade>>>;

/// Why there is no connection. All who have waited for one have the same.
#[derive(Clone, Debug)]
pub(super) struct Unmade {
    pub(super) refusal: Refusal,
    is_known: Rc<Cell<bool>>,
}

impl Unmade {
    fn new(refusal: Refusal) -> Self {
        Self { refusal, is_known: Rc::default() }
    }

    /// Whether somebody else who has waited for it knew before; now this one does.
    pub(super) fn is_known(&self) -> bool {
        self.is_known.replace(true)
    }
}

/// The connections to one endpoint.
pub(super) struct SharedConnections {
    breaker: Arc<CircuitBreaker>,
    /// A stream has ended, or a connection was made.
    room: Rc<Notify>,
    made: RefCell<Vec<Rc<Connection>>>,
    /// At most one is being made at a time; whoever has none to join waits for it, and shares its failure too.
    making: RefCell<Option<Made>>,
}

#[derive(Debug)]
struct Connection {
    opened: Opened,
    streams: Cell<u32>,
    used: Cell<Instant>,
    has_answered: Cell<bool>,
    /// How many requests wait for their answers.
    unanswered: Cell<u32>,
    /// Since when requests have waited for an answer, and none has come to any.
    silent_since: Cell<Option<Instant>>,
    /// How long those before had waited that were taken back: what was swallowed stays so. When nobody waits, that is no
    /// silence.
    silent_for: Cell<Duration>,
    standing: Cell<Standing>,
    room: Rc<Notify>,
}

/// Whether others may join a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Good,
    /// An exchange gave up on it, and nothing has been heard for long. The endpoint may be slow, or the network may
    /// swallow everything; as long as no other answer comes, nobody else is made to wait for it.
    Doubtful,
    /// Something went wrong with the whole connection.
    Broken,
}

impl SharedConnections {
    pub(super) fn new(target: &Target) -> Self {
        Self {
            breaker: Arc::clone(&target.breaker),
            room: Rc::default(),
            made: RefCell::default(),
            making: RefCell::default(),
        }
    }

    /// A place on a connection, on a new one where no other has room.
    pub(super) async fn join(
        self: &Rc<Self>,
        may: &dyn Fn(Option<&Proof>) -> bool,
        make: impl Fn(Place) -> Making,
    ) -> Result<Stream, Unmade> {
        if let Some(stream) = self.free(may) {
            return Ok(stream);
        }
        let pending = self.breaker.pending.take_or_refuse();
        let _pending = pending.ok_or_else(|| Unmade::new(Refusal::UpstreamOverflow))?;
        let mut place = None;
        loop {
            let room = self.room.notified();
            if let Some(stream) = self.free(may) {
                return Ok(stream);
            }
            let making = self.making.borrow().clone();
            let making = making.or_else(|| {
                let place = place.take().or_else(|| self.breaker.connections.take());
                place.map(|place| self.begin(make(place)))
            });
            if let Some(making) = making {
                making.await?;
                continue;
            }
            if let Some(stream) = self.doubtful() {
                return Ok(stream);
            }
            // There may be no other connection: whichever comes first, a stream that ends or a place for one.
            tokio::select! {
                () = room => {}
                waited = self.breaker.connections.wait() => place = Some(waited),
            }
        }
    }

    fn begin(self: &Rc<Self>, making: Making) -> Made {
        self.making.borrow_mut().insert(self.make(making)).clone()
    }

    /// Closes the connections that have had nothing to do for too long.
    pub(super) fn sweep(&self, idle_timeout: Duration, may: &dyn Fn(Option<&Proof>) -> bool) {
        let now = Instant::now();
        // One that must not be used any more ends with the exchanges that are still on it, and one without any where
        // another worker waits for its place.
        let is_wanted = self.breaker.connections.is_wanted();
        let is_idle = |connection: &Connection| {
            let idle_for = now.duration_since(connection.used.get());
            connection.streams.get() == 0 && (is_wanted || idle_for >= idle_timeout)
        };
        self.made.borrow_mut().retain(|connection| !is_idle(connection) && may(connection.proof()));
        // Everybody who waited for it went away.
        let abandoned = {
            let mut making = self.making.borrow_mut();
            making.take_if(|making| making.strong_count() == Some(1))
        };
        drop(abandoned);
    }

    /// Whether there is no connection.
    pub(super) fn is_empty(&self) -> bool {
        self.made.borrow().is_empty()
    }

    /// Whether somebody waits for one that is being made.
    pub(super) fn is_being_made(&self) -> bool {
        self.making.borrow().is_some()
    }

    fn make(self: &Rc<Self>, making: Making) -> Made {
        let all = Rc::clone(self);
        let made = async move {
            // However this ends, also by a panic, the next one may try again.
            let settled = Settled(Rc::clone(&all));
            let made = making.await.map_err(Unmade::new);
            drop(settled);
            all.made.borrow_mut().push(Connection::new(made?, &all.room));
            // Room for as many as share a connection, whoever of those who wait has made it.
            all.room.notify_waiters();
            Ok(())
        };
        made.boxed_local().shared()
    }

    fn free(&self, may: &dyn Fn(Option<&Proof>) -> bool) -> Option<Stream> {
        let mut made = self.made.borrow_mut();
        made.retain(|connection| {
            connection.standing.get() != Standing::Broken
                && !connection.opened.sender.is_closed()
                && may(connection.proof())
        });
        let connection = made.iter().find(|connection| connection.has_room(Standing::Good))?;
        Some(Stream::on(connection))
    }

    /// A place on a doubtful connection that others hold open, where there can be no other: better than none, and an answer
    /// shows what it is. One that nobody holds open makes place for another.
    fn doubtful(&self) -> Option<Stream> {
        let mut made = self.made.borrow_mut();
        made.retain(|of| of.standing.get() != Standing::Doubtful || of.streams.get() > 0);
        let connection = made.iter().find(|connection| connection.has_room(Standing::Doubtful))?;
        Some(Stream::on(connection))
    }
}

impl fmt::Debug for SharedConnections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedConnections").field("made", &self.made).finish_non_exhaustive()
    }
}

/// Nothing is being made any more.
struct Settled(Rc<SharedConnections>);

impl Drop for Settled {
    fn drop(&mut self) {
        // Taken out before it is dropped: it holds the future that this may be a part of.
        let making = self.0.making.borrow_mut().take();
        drop(making);
    }
}

impl Connection {
    fn new(opened: Opened, room: &Rc<Notify>) -> Rc<Self> {
        Rc::new(Self {
            opened,
            streams: Cell::new(0),
            used: Cell::new(Instant::now()),
            has_answered: Cell::new(false),
            unanswered: Cell::new(0),
            silent_since: Cell::new(None),
            silent_for: Cell::new(Duration::ZERO),
            standing: Cell::new(Standing::Good),
            room: Rc::clone(room),
        })
    }

    fn proof(&self) -> Option<&Proof> {
        self.opened.proof.as_deref()
    }

    fn ask(&self) {
        self.unanswered.set(self.unanswered.get().saturating_add(1));
        self.silent_since.set(Some(self.silent_since.get().unwrap_or_else(Instant::now)));
    }

    /// One request less waits for its answer.
    fn settle(&self) {
        self.unanswered.set(self.unanswered.get().saturating_sub(1));
        if self.unanswered.get() == 0 {
            self.silent_for.set(self.silence());
            self.silent_since.set(None);
        }
    }

    fn silence(&self) -> Duration {
        let now = self.silent_since.get().map_or(Duration::ZERO, |since| since.elapsed());
        self.silent_for.get().saturating_add(now)
    }

    /// The upstream has said something about a request; others may still wait.
    fn heard(&self) {
        self.settle();
        self.silent_since.set((self.unanswered.get() > 0).then(Instant::now));
        self.silent_for.set(Duration::ZERO);
    }

    /// Whether requests have been let pass for long. One that its caller takes back at once shows nothing: whoever does so
    /// again and again would have a connection made each time.
    fn is_silent(&self) -> bool {
        self.silence() >= SILENCE_MAX
    }

    fn has_room(&self, standing: Standing) -> bool {
        let allowed = u32::try_from(self.opened.streams_allowed.get()).unwrap_or(u32::MAX).min(STREAMS_MAX);
        self.standing.get() == standing && self.streams.get() < allowed
    }
}

/// One exchange's place on a connection, given back on drop.
#[derive(Debug)]
pub(crate) struct Stream(Rc<Connection>);

impl Stream {
    fn on(connection: &Rc<Connection>) -> Self {
        connection.streams.set(connection.streams.get().saturating_add(1));
        Self(Rc::clone(connection))
    }

    /// The place for another one who holds it; it is counted once for each.
    pub(super) fn share(&self) -> Self {
        Self::on(&self.0)
    }

    /// Waits until the upstream has said whether it takes WebSockets.
    pub(super) async fn takes_extended_connect(&self) -> bool {
        self.0.opened.announced.takes().await
    }

    pub(super) fn sender(&self) -> SendRequest<RequestBody> {
        self.0.opened.sender.clone()
    }

    /// What shows that the connection leads to whom it should, where it has to.
    pub(super) fn proof(&self) -> Option<Rc<Proof>> {
        self.0.opened.proof.clone()
    }

    /// Where the request's body leaves the way to end its stream.
    pub(super) fn streams(&self) -> &Streams {
        &self.0.opened.streams
    }

    /// A request is on its way: whoever drops the result before an answer has come has given up on it.
    pub(super) fn ask(&self) -> Asked<'_> {
        self.0.ask();
        Asked(Some(&self.0))
    }

    /// Whether no answer has ever come by the connection: nothing shows that the endpoint lives.
    pub(super) fn is_unproven(&self) -> bool {
        !self.0.has_answered.get()
    }

    /// Something went wrong with the whole connection: nobody else joins it.
    pub(super) fn is_broken(&self) {
        self.0.standing.set(Standing::Broken);
    }
}

/// A request that waits for its answer.
#[derive(Debug)]
pub(super) struct Asked<'c>(Option<&'c Connection>);

impl Asked<'_> {
    /// Its answer came.
    pub(super) fn answered(mut self) {
        if let Some(connection) = self.0.take() {
            connection.has_answered.set(true);
            connection.heard();
            if connection.standing.get() == Standing::Doubtful {
                connection.standing.set(Standing::Good);
            }
        }
    }

    /// It failed by itself.
    pub(super) fn failed(mut self) {
        if let Some(connection) = self.0.take() {
            connection.heard();
        }
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let Some(connection) = self.0 else { return };
        connection.settle();
        if connection.standing.get() == Standing::Good && connection.is_silent() {
            connection.standing.set(Standing::Doubtful);
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get().saturating_sub(1));
        self.0.used.set(Instant::now());
        self.0.room.notify_one();
    }
}
