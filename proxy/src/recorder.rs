//! The worker's way into the audit log.
//!
//! Places first: an exchange begins by reserving one decision and one outcome, so that once it is decided
//! nothing can keep the decision from being filed. A [`Draft`] files its outcome when it drops, so that an
//! exchange whose caller went away, or that panicked, is recorded like any other.
use crate::log::{
    ConnectionLane, Durable, ExchangeLane, Filed, Moment, Reserved, ShareKey, Surroundings, Unavailable,
    WorkerShared,
};
use postern_audit::record::{TRIED_BYTES_MAX, server_bytes};
use postern_audit::{ConnectionEnd, Decision, End, Id, Outcome, PeerFacts, Remote, Tls, Tried};
use std::{cell::RefCell, fmt, future::Future, pin::pin, rc::Rc, sync::Arc, task::Poll};

/// A worker's seat at the log, to be carried to its thread.
#[derive(Debug)]
pub struct Seat {
    shared: WorkerShared,
    lanes: (ExchangeLane, ConnectionLane),
    surroundings: Surroundings,
    max_wait_ms: u64,
}

impl Seat {
    pub(crate) fn new(
        shared: WorkerShared,
        lanes: (ExchangeLane, ConnectionLane),
        surroundings: &Surroundings,
        max_wait_ms: u64,
    ) -> Self {
        Self { shared, lanes, surroundings: surroundings.clone(), max_wait_ms }
    }

    /// Takes the seat, on the worker's thread.
    pub fn take(self) -> Recorder {
        let (exchanges, connections) = self.lanes;
        Recorder(Rc::new(Worker {
            exchanges: RefCell::new(exchanges),
            connections: RefCell::new(connections),
            shared: self.shared,
            surroundings: self.surroundings,
            max_wait_ms: self.max_wait_ms,
        }))
    }
}

struct Worker {
    exchanges: RefCell<ExchangeLane>,
    connections: RefCell<ConnectionLane>,
    shared: WorkerShared,
    surroundings: Surroundings,
    max_wait_ms: u64,
}

impl Worker {
    fn moment(&self, id: Id) -> Moment {
        let now = (self.surroundings.clock)();
        Moment { id, unix_ns: now.unix_ns, mono_ns: now.mono_ns }
    }

    /// A new id, and when it was given.
    fn begin(&self) -> Moment {
        let now = (self.surroundings.clock)();
        let id = Id::new(now.unix_ns / 1_000_000, (self.surroundings.random)());
        Moment { id, unix_ns: now.unix_ns, mono_ns: now.mono_ns }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let moment = self.begin();
        self.exchanges.get_mut().end(&moment);
    }
}

/// The way into the log, one for each worker; clones are the same way.
#[derive(Clone)]
pub struct Recorder(Rc<Worker>);

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("shared", &self.0.shared).finish_non_exhaustive()
    }
}

/// Who calls, as far as the connection knows: kept once for each connection, so that an exchange that never
/// gets to a decision still names its caller.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The connection's id.
    pub connection: Id,
    /// Where the caller's bytes come from.
    pub source: Remote,
    /// The caller's SPIFFE ID.
    pub peer: Option<Arc<str>>,
    tls: Tls,
    share: ShareKey,
}

impl Caller {
    /// A caller, counted by its identity, or by its address where it has none.
    pub fn new(connection: Id, source: Remote, peer: Option<Arc<str>>) -> Rc<Self> {
        let share = match &peer {
            Some(peer) => ShareKey::of(peer),
            None => ShareKey::of(&source.ip().map_or_else(|| "unix".to_owned(), |ip| ip.to_string())),
        };
        Rc::new(Self { connection, source, peer, tls: Tls::AsAsked, share })
    }

    /// One that came in plain text and has proven nothing. All of them are counted as one: whoever has many addresses would
    /// fill the log otherwise, and close the door to those who prove who they are.
    pub fn in_plain_text(connection: Id, source: Remote) -> Rc<Self> {
        let share = ShareKey::of("plain text");
        Rc::new(Self { connection, source, peer: None, tls: Tls::None, share })
    }
}

impl Recorder {
    /// Begins an exchange: reserves its places and gives it its id.
    ///
    /// # Errors
    /// [`Unavailable`]: nothing may be decided then.
    pub fn open_exchange(&self, caller: &Rc<Caller>) -> Result<Draft, Unavailable> {
        let reserved = self.0.exchanges.borrow_mut().reserve(caller.share)?;
        let Moment { id, mono_ns, .. } = self.0.begin();
        let (worker, caller) = (self.0.clone(), caller.clone());
        Ok(Draft {
            worker,
            caller,
            id,
            opened_ns: mono_ns,
            reserved,
            filed: None,
            outcome: Outcome::default(),
        })
    }

    /// The same, but waits for a place until `deadline` is ready: the pipeline's timer over
    /// [`Recorder::max_wait_ms`].
    ///
    /// # Errors
    /// There was no place in time, or the log cannot write.
    pub async fn open_exchange_within(
        &self,
        caller: &Rc<Caller>,
        deadline: impl Future<Output = ()>,
    ) -> Result<Draft, Unavailable> {
        match self.open_exchange(caller) {
            Err(Unavailable::Full | Unavailable::Share) => {}
            settled => return settled,
        }
        let mut deadline = pin!(deadline);
        let mut wait = self.0.shared.wait_for_room(self.0.exchanges.borrow().lane());
        std::future::poll_fn(|context| {
            wait.register(context.waker());
            match self.open_exchange(caller) {
                Err(full @ (Unavailable::Full | Unavailable::Share)) => match deadline.as_mut().poll(context)
                {
                    Poll::Ready(()) => Poll::Ready(Err(full)),
                    Poll::Pending => Poll::Pending,
                },
                settled => Poll::Ready(settled),
            }
        })
        .await
    }

    /// How long an exchange may wait for a place.
    pub fn max_wait_ms(&self) -> u64 {
        self.0.max_wait_ms
    }

    /// Begins a connection: its end is recorded, or counted into the summary of the second.
    ///
    /// # Errors
    /// The log cannot write, so that nothing can be served on the connection either.
    pub fn open_connection(&self, source: Remote) -> Result<ConnectionDraft, Unavailable> {
        self.0.shared.admits()?;
        let Moment { id, mono_ns, .. } = self.0.begin();
        Ok(ConnectionDraft { worker: self.0.clone(), id, source, opened_ns: mono_ns, settled: false })
    }
}

/// An exchange that is being recorded. Its places are reserved; its outcome files itself when it drops.
#[must_use]
pub struct Draft {
    worker: Rc<Worker>,
    caller: Rc<Caller>,
    id: Id,
    opened_ns: u64,
    reserved: Reserved,
    filed: Option<Filed>,
    outcome: Outcome,
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft").field("id", &self.id).field("filed", &self.filed).finish_non_exhaustive()
    }
}

impl Draft {
    /// The exchange's id, which is also the decision's: 26 characters.
    pub fn id(&self) -> &str {
        self.id.as_str()
    }

    /// The same, to be kept.
    pub fn decision_id(&self) -> Id {
        self.id
    }

    /// Files the decision. From here on no death of the process loses it. Only the first one counts: what was
    /// decided is decided.
    pub fn file_decision(&mut self, decision: &Decision<'_>) -> Filed {
        if let Some(filed) = self.filed {
            return filed;
        }
        let peer = self.caller.peer.as_deref();
        let known = peer.map(|spiffe_id| PeerFacts { spiffe_id, serial: "", fingerprint_sha256: None });
        let decision = Decision {
            connection: decision.connection.or(Some(self.caller.connection)),
            source: decision.source.or(Some(self.caller.source)),
            peer: decision.peer.or(known),
            tls: self.caller.tls,
            ..*decision
        };
        let moment = self.worker.moment(self.id);
        let filed = self.worker.exchanges.borrow_mut().decision(&mut self.reserved, &moment, &decision);
        *self.filed.insert(filed)
    }

    /// Waits until a filed decision is durable, where the log's mode or `required` asks for it.
    ///
    /// # Errors
    /// The log cannot write: nothing may be answered or forwarded on this decision.
    pub fn durable(&self, filed: Filed) -> Durable {
        self.worker.shared.wait_for(filed)
    }

    /// Whether the log's mode asks to wait for [`Draft::durable`]. A route may ask where the mode does not.
    pub fn must_be_durable(&self) -> bool {
        self.worker.shared.is_durable()
    }

    /// Keeps what came of an attempt after which another one is made.
    ///
    /// # Errors
    /// The log has no place for it: then no other attempt may be made.
    pub fn note_tried(&mut self, tried: Tried) -> Result<(), Unavailable> {
        self.worker.exchanges.borrow_mut().reserve_more(&mut self.reserved, TRIED_BYTES_MAX)?;
        self.outcome.tried.push(tried);
        Ok(())
    }

    /// Keeps who was proven to be at the endpoint. It is left out where the log has no place for it: what was decided does
    /// not depend on it.
    pub fn note_server(&mut self, spiffe_id: &Arc<str>) {
        let mut exchanges = self.worker.exchanges.borrow_mut();
        if exchanges.reserve_more(&mut self.reserved, server_bytes(spiffe_id)).is_ok() {
            self.outcome.server = Some(Arc::clone(spiffe_id));
        }
    }

    /// What is known of the outcome.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// The outcome, to be filled in as the exchange goes on.
    pub fn outcome_mut(&mut self) -> &mut Outcome {
        &mut self.outcome
    }

    /// The last that is known of the exchange: an undecided one is recorded as such.
    fn close(&mut self) {
        if self.filed.is_none() {
            self.file_decision(&Decision { reason: "conn.abandoned", ..Decision::default() });
        }
        let moment = self.worker.moment(self.id);
        let left = if std::thread::panicking() { End::Panic } else { End::ClientGone };
        self.outcome.end.get_or_insert(left);
        self.outcome.duration_ns = moment.mono_ns.saturating_sub(self.opened_ns);
        self.worker.exchanges.borrow_mut().outcome(&mut self.reserved, &moment, &self.outcome);
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        self.close();
    }
}

/// A connection whose end may have to be recorded.
#[must_use]
pub struct ConnectionDraft {
    worker: Rc<Worker>,
    id: Id,
    source: Remote,
    opened_ns: u64,
    settled: bool,
}

impl fmt::Debug for ConnectionDraft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionDraft")
            .field("id", &self.id)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl ConnectionDraft {
    /// The connection's id.
    pub fn id(&self) -> Id {
        self.id
    }

    /// Whose it is by the word of a load balancer.
    pub fn comes_from(&mut self, source: Remote) {
        self.source = source;
    }

    /// The connection ended as it should: its exchanges have their own records.
    pub fn served(mut self) {
        self.settled = true;
    }

    /// The connection was refused, or its protocol broken: files its end. Address and duration are the draft's.
    pub fn file(mut self, end: &ConnectionEnd<'_>) {
        self.settled = true;
        let moment = self.worker.moment(self.id);
        let duration_ns = moment.mono_ns.saturating_sub(self.opened_ns);
        let end = ConnectionEnd { source: self.source, duration_ns, ..*end };
        self.worker.connections.borrow_mut().end(&moment, &end);
    }
}

impl Drop for ConnectionDraft {
    fn drop(&mut self) {
        if !self.settled {
            let moment = self.worker.moment(self.id);
            self.worker.connections.borrow().count(&moment, self.source.ip(), "conn.abandoned");
        }
    }
}
