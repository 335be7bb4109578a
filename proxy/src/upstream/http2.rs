//! HTTP/2 connections to one endpoint, each shared by many exchanges.
use crate::pipeline::{Refusal, RequestBody};
use futures_util::future::{FutureExt, LocalBoxFuture, Shared};
use hyper::client::conn::http2::SendRequest;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// How many exchanges share a connection; for more, another one is made.
pub(super) const STREAMS_MAX: u32 = 100;
/// What an upstream may send ahead of a caller that does not read.
pub(super) const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
/// Room for what all streams together may be sent ahead: answers that nobody reads stall none of the others.
pub(super) const CONNECTION_WINDOW_BYTES: u32 = STREAMS_MAX * STREAM_WINDOW_BYTES;

/// A connection that is being made.
pub(super) type Making = LocalBoxFuture<'static, Result<SendRequest<RequestBody>, Refusal>>;

/// Ready when it has joined the others, or has failed.
type Made = Shared<LocalBoxFuture<'static, Result<(), Refusal>>>;

/// The connections to one endpoint.
pub(super) struct SharedConnections {
    idle_timeout: Duration,
    made: RefCell<Vec<Rc<Connection>>>,
    /// At most one is being made at a time; whoever has none to join waits for it, and shares its failure too.
    making: RefCell<Option<Made>>,
}

#[derive(Debug)]
struct Connection {
    sender: SendRequest<RequestBody>,
    streams: Cell<u32>,
    used: Cell<Instant>,
    has_answered: Cell<bool>,
    is_broken: Cell<bool>,
}

impl SharedConnections {
    pub(super) fn new(idle_timeout: Duration) -> Self {
        Self { idle_timeout, made: RefCell::default(), making: RefCell::default() }
    }

    /// A place on a connection, on a new one where no other has room.
    pub(super) async fn join(self: &Rc<Self>, make: impl Fn() -> Making) -> Result<Stream, Refusal> {
        loop {
            if let Some(stream) = self.free() {
                return Ok(stream);
            }
            let making = self.making.borrow_mut().get_or_insert_with(|| self.make(make())).clone();
            making.await?;
        }
    }

    /// Closes the connections that have had nothing to do for too long.
    pub(super) fn sweep(&self, now: Instant) {
        let is_idle = |connection: &Connection| {
            connection.streams.get() == 0 && now.duration_since(connection.used.get()) >= self.idle_timeout
        };
        self.made.borrow_mut().retain(|connection| !is_idle(connection));
        let mut making = self.making.borrow_mut();
        // Everybody who waited for it went away.
        if making.as_ref().and_then(Shared::strong_count) == Some(1) {
            *making = None;
        }
    }

    fn make(self: &Rc<Self>, making: Making) -> Made {
        let all = Rc::clone(self);
        let made = async move {
            let made = making.await;
            all.making.take();
            all.made.borrow_mut().push(Connection::new(made?));
            Ok(())
        };
        made.boxed_local().shared()
    }

    fn free(&self) -> Option<Stream> {
        let mut made = self.made.borrow_mut();
        made.retain(|connection| !connection.is_broken.get() && !connection.sender.is_closed());
        let connection = made.iter().find(|connection| connection.streams.get() < STREAMS_MAX)?;
        connection.streams.set(connection.streams.get().saturating_add(1));
        Some(Stream(Rc::clone(connection)))
    }
}

impl fmt::Debug for SharedConnections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedConnections").field("made", &self.made).finish_non_exhaustive()
    }
}

impl Connection {
    fn new(sender: SendRequest<RequestBody>) -> Rc<Self> {
        Rc::new(Self {
            sender,
            streams: Cell::new(0),
            used: Cell::new(Instant::now()),
            has_answered: Cell::new(false),
            is_broken: Cell::new(false),
        })
    }
}

/// One exchange's place on a connection, given back on drop.
#[derive(Debug)]
pub(crate) struct Stream(Rc<Connection>);

impl Stream {
    pub(super) fn sender(&self) -> SendRequest<RequestBody> {
        self.0.sender.clone()
    }

    /// An answer came by it.
    pub(super) fn answered(&self) {
        self.0.has_answered.set(true);
    }

    /// Whether no answer has ever come by the connection: nothing shows that the endpoint lives.
    pub(super) fn is_unproven(&self) -> bool {
        !self.0.has_answered.get()
    }

    /// Something went wrong with the whole connection: nobody else joins it.
    pub(super) fn is_broken(&self) {
        self.0.is_broken.set(true);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get().saturating_sub(1));
        self.0.used.set(Instant::now());
    }
}
