//! A connection: what is known of its caller, and the requests that are served on it.
use super::broken::broken;
use super::caller_io::CallerIo;
use super::captured;
use super::handshake::{NotSecured, Protocol, Secured, Shows, secure};
use super::http1_guard::{self, RawHeads};
use super::hyper_limits::{http1, http2};
use super::lifetime::{End, Graceful, Lifetime, drive};
use super::{Accepted, Listener, Proven};
use crate::config::OnInvalid;
use crate::cut::{Cut, Streams};
use crate::http2_guard::{self, Other};
use crate::pipeline::{self, CertificateTexts, GuardLimits, Refusal, Tunnel};
use crate::recorder::{Caller, ConnectionDraft};
use crate::state::Snapshot;
use crate::telemetry::metrics;
use crate::traffic::decision_guard::Budget;
use crate::upstream::Announcement;
use crate::worker::Worker;
use http::HeaderValue;
use http::header::CONNECTION;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use postern_audit::{ConnectionEnd, Remote, Tls};
use postern_identity::{Peer, Role, UnixTime, X509Svid};
use rustls_pki_types::CertificateDer;
use slab::Slab;
use std::cell::{Cell, OnceCell, RefCell};
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;
use tokio::time::Instant;

/// A secured connection, shared by the exchanges on it.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The listener that it came in by.
    pub(crate) listener: Arc<Listener>,
    /// Where the caller's bytes come from.
    pub(crate) source: Remote,
    /// Where the caller was going: our address, or the destination that it was led away from; `None` for a Unix socket.
    pub(crate) destination: Option<SocketAddr>,
    /// Whether it was led away.
    is_captured: bool,
    /// The server name that the caller asked for.
    pub(crate) sni: Option<String>,
    /// What is spoken.
    pub(crate) protocol: Protocol,
    /// Who calls, as far as that is proven.
    proven: Proven,
    /// How the log knows the caller.
    pub(crate) caller: Rc<Caller>,
    /// Ends the connection, and everything on it.
    cut: Rc<Cut>,
    exchanges: Cell<u64>,
    /// The ways to end the exchanges on it that have a stream of their own.
    streams: RefCell<Slab<Rc<Cut>>>,
    budget: Rc<Budget>,
    /// What we presented to the caller, or would have.
    pub(crate) own: Arc<X509Svid>,
    /// The caller's certificate as headers have it, once it was asked for.
    pub(crate) certificate: OnceCell<CertificateTexts>,
    /// What upstreams are told of it, once one has been.
    announcement: OnceCell<Arc<Announcement>>,
    ending: Cell<Option<Ending>>,
    /// What its last request was switched to.
    tunnel: RefCell<Option<Tunnel>>,
    heads: Option<RawHeads>,
    drain: watch::Receiver<bool>,
    active: Cell<u32>,
    idle_since: Cell<Instant>,
}

impl Connection {
    /// Whether a request may be served on it: the SVIDs of both sides have not expired, ours has not been withdrawn, and
    /// the bundles in force vouch for the caller's; or the time for plain text is not over.
    pub(crate) fn judge(&self, worker: &Worker, snapshot: &Snapshot) -> Result<(), Refusal> {
        let now = worker.clock.unix_time();
        if now.as_secs() > self.proven.last_unix_s() {
            return Err(self.proven.ended());
        }
        if now > self.own.not_after() || snapshot.svid.is_none() {
            return Err(Refusal::ConnOwnIdentity);
        }
        self.proven.check(&snapshot.trust, now)
    }

    /// The workload that calls; none where the caller has proven nothing.
    pub(crate) fn peer(&self) -> Option<&Arc<Peer>> {
        self.proven.peer()
    }

    /// Its SPIFFE ID.
    pub(crate) fn spiffe_id(&self) -> Option<&str> {
        self.peer().map(|peer| peer.spiffe_id.as_str())
    }

    /// Whether it spoke TLS, where that is asked of it.
    pub(crate) fn tls(&self) -> Tls {
        self.proven.tls()
    }

    /// What its requests are made by: `https` or `http`.
    pub(crate) fn scheme(&self) -> &'static str {
        match self.tls() {
            Tls::AsAsked => self.listener.callers.scheme(),
            Tls::None => "http",
        }
    }

    /// What a request head may be.
    pub(crate) fn guard(&self) -> GuardLimits {
        match self.tls() {
            Tls::AsAsked => self.listener.guard,
            Tls::None => self.listener.guard.without_tls(),
        }
    }

    /// What becomes of what is in progress on it, where it does not stand [`Self::judge`].
    pub(crate) fn on_invalid(&self, reason: Refusal) -> OnInvalid {
        let validity = self.listener.validity;
        match matches!(reason, Refusal::PeerExpired | Refusal::PeerPlaintext | Refusal::ConnOwnIdentity) {
            true => validity.on_peer_expiry,
            false => validity.on_trust_change,
        }
    }

    /// Where the caller was going, where it was led away from there.
    pub(crate) fn original_destination(&self) -> Option<SocketAddr> {
        self.destination.filter(|_| self.is_captured)
    }

    /// What an upstream is told of it; nothing where the caller has no address.
    pub(crate) fn announcement(&self) -> Option<Arc<Announcement>> {
        let (source, destination) = (self.source.address()?, self.destination?);
        let announcement = self.announcement.get_or_init(|| {
            let (name, caller) = (self.sni.clone(), self.peer().map(|peer| peer.spiffe_id.clone()));
            Arc::new(Announcement { source, destination, name, caller })
        });
        Some(Arc::clone(announcement))
    }

    /// What the caller presented, leaf first.
    pub(crate) fn chain(&self) -> &[CertificateDer<'static>] {
        self.proven.chain()
    }

    /// Looks whether the connection has to end, or will have to before long, and has it end. Tells when that has to be
    /// looked at again, in seconds since 1970, unless trust or our identity changes before.
    pub(crate) fn review(&self, worker: &Worker, snapshot: &Snapshot) -> Option<u64> {
        let now = worker.clock.unix_time();
        let found = match self.judge(worker, snapshot) {
            Ok(()) => self.expires_soon(now).map(|reason| (reason, OnInvalid::Drain)),
            Err(reason) => Some((reason, self.on_invalid(reason))),
        };
        let ending = match (found, self.ending.get()) {
            // It is draining already; the time that it has runs from the first moment of it being invalid.
            (None, _) | (Some((_, OnInvalid::Drain)), Some(_)) => None,
            (Some((reason, OnInvalid::Drain)), None) => Some(Ending { reason, is_close: false }),
            (Some((reason, OnInvalid::Close)), _) => Some(Ending { reason, is_close: true }),
        };
        if ending.is_some() {
            self.ending.set(ending);
            self.cut.wake();
        }
        self.next_moment(now)
    }

    /// When an SVID is about to expire, has expired, or the caller's chain has to be judged again: whichever comes next.
    fn next_moment(&self, now: UnixTime) -> Option<u64> {
        let (peer, own) = (self.proven.last_unix_s(), self.own.not_after().as_secs());
        let soon = [peer, own].map(|until| until.saturating_sub(EXPIRY_MARGIN_S));
        let over = [peer, own].map(|until| until.saturating_add(1));
        let moments = soon.into_iter().chain(over).chain(self.proven.due_unix_s(now));
        moments.filter(|moment| *moment > now.as_secs()).min()
    }

    /// A caller that renews its SVID in time sees no request fail: it is asked to come back a little before the old
    /// one expires, and so where ours is about to.
    fn expires_soon(&self, now: UnixTime) -> Option<Refusal> {
        let soon = now.as_secs().saturating_add(EXPIRY_MARGIN_S);
        let is_short = |until_s: u64| until_s <= soon;
        match (is_short(self.proven.last_unix_s()), is_short(self.own.not_after().as_secs())) {
            (true, _) => Some(self.proven.ended()),
            (false, true) => Some(Refusal::ConnOwnIdentity),
            (false, false) => None,
        }
    }

    /// Why and how the connection is to end, where it is.
    pub(super) fn ending(&self) -> Option<Ending> {
        self.ending.get()
    }

    /// Why what is left of its exchanges was ended, where it was.
    pub(crate) fn revoked(&self) -> Option<Refusal> {
        self.ending.get().filter(|ending| ending.is_close).map(|ending| ending.reason)
    }

    /// Ends what is left of its exchanges: those that have a stream of their own, and the one that was to be switched to
    /// something else. That one holds the connection by which it is held, and would outlive it for ever.
    fn end_exchanges(&self) {
        self.streams.borrow().iter().for_each(|(_, cut)| cut.make());
        let tunnel = self.tunnel.take();
        drop(tunnel);
    }

    /// The time that it was given is over: from now on it is as one that is closed at once.
    pub(super) fn close(&self) {
        if let Some(ending) = self.ending.get() {
            self.ending.set(Some(Ending { is_close: true, ..ending }));
        }
    }

    /// Ready once the connection is to end at once.
    pub(super) fn poll_cut(&self, cx: &mut std::task::Context<'_>) -> std::task::Poll<()> {
        self.cut.poll(cx)
    }

    /// Whether this principal has caused so many refusals that policy is not asked again for a while.
    pub(crate) fn is_over_budget(&self, now_ns: u64) -> bool {
        self.budget.is_spent(now_ns, self.listener.limits.refusals_per_second_max)
    }

    /// Counts a refusal against the principal.
    pub(crate) fn note_refusal(&self, now_ns: u64) {
        self.budget.spend(now_ns, self.listener.limits.refusals_per_second_max);
    }

    /// What the guard saw of the next request's head; nothing on HTTP/2.
    pub(crate) fn next_head(&self) -> Option<super::RawHead> {
        self.heads.as_ref().map(RawHeads::next)
    }

    /// Since when no exchange has been in progress.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        (self.active.get() == 0).then(|| self.idle_since.get())
    }

    /// Since when a head has been arriving.
    pub(super) fn head_begun(&self) -> Option<Instant> {
        self.heads.as_ref().and_then(RawHeads::begun)
    }

    /// Whether it is no longer certain where the next request on an HTTP/1.1 connection begins.
    fn is_beyond_trust(&self) -> bool {
        self.heads.as_ref().is_some_and(RawHeads::is_poisoned)
    }

    /// Speaks HTTP no more, once the answer has been sent that says so.
    pub(crate) fn switch(&self, tunnel: Tunnel) {
        self.tunnel.replace(Some(tunnel));
    }

    /// Tells when the listener drains.
    pub(crate) fn drain(&self) -> watch::Receiver<bool> {
        self.drain.clone()
    }

    /// Counts an exchange in, which ends where its cut is made.
    pub(crate) fn begin(self: &Rc<Self>, cut: &Rc<Cut>) -> Active {
        self.active.set(self.active.get().saturating_add(1));
        self.exchanges.set(self.exchanges.get().saturating_add(1));
        let stream = self.streams.borrow_mut().insert(Rc::clone(cut));
        Active { connection: Rc::clone(self), stream, _counted: self.listener.metrics.exchange() }
    }
}

/// How a connection ends whose caller is believed no more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    pub(super) reason: Refusal,
    /// At once; otherwise what has begun may be finished, within a grace.
    pub(super) is_close: bool,
}

/// How long before an SVID expires its connection is asked to finish. A connection whose SVID is that short from the
/// beginning is asked at once, and its first requests are served all the same.
const EXPIRY_MARGIN_S: u64 = 2;

/// An exchange in progress on a connection.
#[derive(Debug)]
pub(crate) struct Active {
    connection: Rc<Connection>,
    stream: usize,
    _counted: metrics::Active,
}

impl Drop for Active {
    fn drop(&mut self) {
        self.connection.streams.borrow_mut().try_remove(self.stream);
        self.connection.active.set(self.connection.active.get().saturating_sub(1));
        self.connection.idle_since.set(Instant::now());
    }
}

/// Serves one accepted connection from its first byte to its last.
pub(crate) async fn serve(worker: Rc<Worker>, accepted: Accepted, drain: watch::Receiver<bool>) {
    let listener = Arc::clone(accepted.listener());
    let Ok(mut entry) = worker.recorder.open_connection(accepted.source) else {
        listener.metrics.connection_refused(Refusal::AuditUnavailable.code());
        return;
    };
    let source = accepted.source;
    // Both places are held until the connection has ended.
    let _places = (accepted.place, accepted.load);
    let original = match captured::destination(&listener, accepted.original) {
        Ok(original) => original,
        Err(refused) => {
            listener.metrics.connection_refused(refused.reason.code());
            let detail = refused.original.map(|original| format!("it was going to {original}"));
            let detail = detail.as_deref().unwrap_or_default();
            let end = ended(&listener, source, "", refused.reason.code(), (&[], 0));
            return entry.file(&ConnectionEnd { detail, ..end });
        }
    };
    let destination = (accepted.local, original);
    let securing = secure((accepted.io, source, original), &listener, &worker);
    let secured = Box::pin(securing).await;
    match secured {
        Err(NotSecured { refusal, announced }) => {
            listener.metrics.connection_refused(refusal.code());
            let source = announced.map_or(source, Remote::Address);
            entry.comes_from(source);
            let is_plain = matches!(refusal, Refusal::TlsPlaintextRefused | Refusal::ConnLimit);
            let tls = if is_plain { Tls::None } else { Tls::AsAsked };
            entry.file(&ConnectionEnd { tls, ..ended(&listener, source, "", refusal.code(), (&[], 0)) });
        }
        Ok(mut secured) => {
            // Who has proven nothing has these places as long as it stays.
            let unproven = (accepted.handshake, secured.handshake.take(), secured.plaintext.take());
            let source = secured.announced.map_or(source, Remote::Address);
            entry.comes_from(source);
            match &secured.shown {
                Shows::Workload { .. } => {
                    drop(unproven);
                    listener.metrics.handshake_completed();
                }
                Shows::Nothing => {
                    listener.metrics.plaintext_connection();
                    listener.permissive.note(source.ip(), worker.clock.unix_time().as_secs());
                }
            }
            serve_secured(worker, Arrival { listener, source, destination, entry, secured }, drain).await;
        }
    }
}

struct Arrival {
    listener: Arc<Listener>,
    source: Remote,
    /// Our address, and where the caller was going instead.
    destination: (Option<SocketAddr>, Option<SocketAddr>),
    entry: ConnectionDraft,
    secured: Secured,
}

async fn serve_secured(worker: Rc<Worker>, arrival: Arrival, drain: watch::Receiver<bool>) {
    let limits = arrival.listener.limits;
    let lifetime = Lifetime {
        ends_at: Instant::now() + worker.connection_age(limits.connection_age_max),
        idle_timeout: limits.idle_timeout,
        header_timeout: limits.header_timeout,
        grace: limits.drain_grace,
        invalid_grace: arrival.listener.validity.grace,
    };
    let (connection, stream, entry) = enter(&worker, arrival, &drain);
    let source = connection.source;
    let _counted = connection.listener.metrics.connection();
    let _open = worker.connections.enter(&connection);
    let requests = |cuts| Requests { worker: Rc::clone(&worker), connection: Rc::clone(&connection), cuts };
    let mut floods = None;
    let end = match stream {
        Either::Guarded(stream) => {
            let requests = requests(Cuts::WithConnection(Rc::clone(&connection.cut)));
            let mut served = Http1(http1(&limits).serve_connection(TokioIo::new(stream), requests));
            let end = drive(Pin::new(&mut served), &connection, lifetime, drain.clone()).await;
            if let End::Closed = end {
                served.leave(&connection, drain).await;
            }
            end
        }
        Either::Plain(stream) => {
            let per_second = limits.http2_control_frames_per_second_max;
            let (stream, found) = http2_guard::guard(stream, Other::Client, per_second);
            floods = Some(found);
            let streams = Streams::default();
            let requests = requests(Cuts::OneByOne(streams.clone()));
            let mut builder = http2(&limits, streams);
            if worker.snapshots.pin().routing.has_websocket(&connection.listener.name) {
                builder.enable_connect_protocol();
            }
            let served = pin!(builder.serve_connection(TokioIo::new(stream), requests));
            drive(served, &connection, lifetime, drain).await
        }
        Either::Stream(stream) => {
            Box::pin(pipeline::serve_stream(worker, connection, stream, drain)).await;
            return entry.served();
        }
    };
    connection.end_exchanges();
    let broken = broken(&end, floods.as_ref());
    let Some(reason) = connection.ending().map(|ending| ending.reason).or(broken.map(|broken| broken.reason))
    else {
        return entry.served();
    };
    connection.listener.metrics.connection_refused(reason.code());
    let (listener, exchanges) = (&connection.listener, connection.exchanges.get());
    let errors: Vec<_> = broken.map(|broken| broken.what).into_iter().collect();
    let peer = connection.spiffe_id().unwrap_or_default();
    let end = ended(listener, source, peer, reason.code(), (&errors, exchanges));
    entry.file(&ConnectionEnd { tls: connection.tls(), ..end });
}

/// What is known of a connection from now on, and what is to be served on it.
fn enter(
    worker: &Worker,
    arrival: Arrival,
    drain: &watch::Receiver<bool>,
) -> (Rc<Connection>, Either, ConnectionDraft) {
    let Arrival { listener, source, destination: (local, original), entry, secured } = arrival;
    let (heads, stream) = match secured.protocol {
        Protocol::Http1 => {
            let (stream, heads) = http1_guard::guard(secured.stream, &listener.limits);
            (Some(heads), Either::Guarded(stream))
        }
        Protocol::Http2 => (None, Either::Plain(secured.stream)),
        Protocol::Tcp => (None, Either::Stream(secured.stream)),
    };
    let proven = match secured.shown {
        Shows::Workload { peer, chain, trust_generation } => {
            let standing = worker.standings.enter((chain, Role::Client), &peer, trust_generation);
            Proven::Workload { peer, standing }
        }
        Shows::Nothing => Proven::Nothing(Arc::clone(&listener.permissive)),
    };
    let payer = proven.payer(source);
    let caller = match &proven {
        Proven::Workload { .. } => Caller::new(entry.id(), source, Some(Arc::clone(&payer))),
        Proven::Nothing(_) => Caller::in_plain_text(entry.id(), source),
    };
    let connection = Connection {
        listener,
        source,
        destination: original.or(local),
        is_captured: original.is_some(),
        sni: secured.sni,
        protocol: secured.protocol,
        caller,
        proven,
        cut: Rc::default(),
        exchanges: Cell::new(0),
        streams: RefCell::default(),
        budget: worker.budgets.of(&payer),
        own: secured.own,
        certificate: OnceCell::new(),
        announcement: OnceCell::new(),
        ending: Cell::new(None),
        tunnel: RefCell::default(),
        heads,
        drain: drain.clone(),
        active: Cell::new(0),
        idle_since: Cell::new(Instant::now()),
    };
    (Rc::new(connection), stream, entry)
}

fn ended<'a>(
    listener: &'a Listener,
    source: Remote,
    peer: &'a str,
    reason: &'static str,
    (protocol_errors, exchanges): (&'a [(&'static str, u32)], u64),
) -> ConnectionEnd<'a> {
    let listener = &listener.name;
    ConnectionEnd {
        listener,
        source,
        tls: Tls::AsAsked,
        peer,
        sni: "",
        reason,
        detail: "",
        protocol_errors,
        exchanges,
        duration_ns: 0,
    }
}

enum Either {
    Guarded(http1_guard::Guarded<CallerIo>),
    Plain(CallerIo),
    Stream(CallerIo),
}

/// The way from hyper into the pipeline.
struct Requests {
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    cuts: Cuts,
}

/// What ends when an exchange is ended from outside.
enum Cuts {
    /// HTTP/1.1: nothing else can say that the answer will not be whole.
    WithConnection(Rc<Cut>),
    /// HTTP/2: its stream alone.
    OneByOne(Streams),
}

impl Cuts {
    fn next(&self) -> Rc<Cut> {
        match self {
            Self::WithConnection(cut) => Rc::clone(cut),
            Self::OneByOne(streams) => streams.begin(),
        }
    }
}

impl Service<http::Request<hyper::body::Incoming>> for Requests {
    type Response = http::Response<pipeline::ResponseBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>>>>;

    fn call(&self, request: http::Request<hyper::body::Incoming>) -> Self::Future {
        let (worker, connection) = (Rc::clone(&self.worker), Rc::clone(&self.connection));
        let cut = self.cuts.next();
        Box::pin(async move {
            let mut response = pipeline::serve(worker, Rc::clone(&connection), request, cut).await;
            if connection.is_beyond_trust() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response)
        })
    }
}

/// An HTTP/1.1 connection. Its byte stream outlives it, where it is switched to something else.
struct Http1(hyper::server::conn::http1::Connection<Http1Io, Requests>);

type Http1Io = TokioIo<http1_guard::Guarded<CallerIo>>;

/// How long a caller has to hear that the connection ends.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

impl Future for Http1 {
    type Output = hyper::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<Self::Output> {
        self.0.poll_without_shutdown(cx)
    }
}

impl Graceful for Http1 {
    const NEEDS_AN_ANSWER: bool = true;

    fn finish(mut self: Pin<&mut Self>) {
        Pin::new(&mut self.0).graceful_shutdown();
    }
}

impl Http1 {
    /// All has been answered: what the last request was switched to begins, or the connection ends.
    async fn leave(self, connection: &Connection, drain: watch::Receiver<bool>) {
        let parts = self.0.into_parts();
        let mut io = parts.io.into_inner().into_inner();
        match connection.tunnel.take() {
            Some(tunnel) => Box::pin(tunnel.carry(io, parts.read_buf, drain)).await,
            None => drop(tokio::time::timeout(FAREWELL_TIMEOUT, io.shutdown()).await),
        }
    }
}

impl<I, S, B> Graceful for hyper::server::conn::http2::Connection<I, S, Streams>
where
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Future: 'static,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    B: http_body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    const NEEDS_AN_ANSWER: bool = false;

    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}
