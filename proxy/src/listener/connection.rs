//! A connection: what is known of its caller, and the requests that are served on it.
use super::handshake::{Protocol, Secured, secure};
use super::http1_guard::{self, RawHeads};
use super::lifetime::{End, Graceful, Lifetime, drive};
use super::{Accepted, Listener};
use crate::cut::{Cut, Streams};
use crate::pipeline::{self, Refusal};
use crate::recorder::{Caller, ConnectionDraft};
use crate::telemetry::metrics;
use crate::traffic::decision_guard::Budget;
use crate::upstream::BoxIo;
use crate::worker::Worker;
use http::HeaderValue;
use http::header::CONNECTION;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use postern_audit::ConnectionEnd;
use postern_identity::{Peer, Role, verify_chain};
use rustls_pki_types::CertificateDer;
use std::cell::Cell;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;

/// A secured connection, shared by the exchanges on it.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The listener that it came in by.
    pub(crate) listener: Arc<Listener>,
    /// The caller's address.
    pub(crate) source: SocketAddr,
    /// Our address.
    pub(crate) local: SocketAddr,
    /// The server name that the caller asked for.
    pub(crate) sni: Option<String>,
    /// What is spoken.
    pub(crate) protocol: Protocol,
    /// Who calls.
    pub(crate) peer: Arc<Peer>,
    /// How the log knows the caller.
    pub(crate) caller: Rc<Caller>,
    /// Ends the connection, and everything on it.
    cut: Rc<Cut>,
    exchanges: Cell<u64>,
    budget: Rc<Budget>,
    chain: Vec<CertificateDer<'static>>,
    judged_by: Cell<u64>,
    heads: Option<RawHeads>,
    active: Cell<u32>,
    idle_since: Cell<Instant>,
}

impl Connection {
    /// Whether the caller may still be believed: its SVID has not expired, and the bundles in force, if they
    /// changed, vouch for it still.
    pub(crate) fn judge(&self, worker: &Worker, trust: &crate::state::Trust) -> Result<(), Refusal> {
        let now = worker.clock.unix_time();
        if now > self.peer.not_after {
            return Err(Refusal::PeerExpired);
        }
        if self.judged_by.get() != trust.generation {
            verify_chain(&self.chain, &trust.bundles, Role::Client, now)
                .map_err(|_| Refusal::PeerUntrusted)?;
            self.judged_by.set(trust.generation);
        }
        Ok(())
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

    /// Counts an exchange in.
    pub(crate) fn begin(self: &Rc<Self>) -> Active {
        self.active.set(self.active.get().saturating_add(1));
        self.exchanges.set(self.exchanges.get().saturating_add(1));
        Active { connection: Rc::clone(self), _counted: self.listener.metrics.exchange() }
    }
}

/// An exchange in progress on a connection.
#[derive(Debug)]
pub(crate) struct Active {
    connection: Rc<Connection>,
    _counted: metrics::Active,
}

impl Drop for Active {
    fn drop(&mut self) {
        self.connection.active.set(self.connection.active.get().saturating_sub(1));
        self.connection.idle_since.set(Instant::now());
    }
}

/// Serves one accepted connection from its first byte to its last.
pub(crate) async fn serve(worker: Rc<Worker>, accepted: Accepted, drain: watch::Receiver<bool>) {
    let listener = Arc::clone(accepted.listener());
    let Ok(entry) = worker.recorder.open_connection(accepted.source) else {
        listener.metrics.connection_refused(Refusal::AuditUnavailable.code());
        return;
    };
    let (source, local) = (accepted.source, accepted.local);
    let securing = secure(accepted.io, &listener, &worker.shared);
    // Both places are held until the connection has ended.
    let _places = (accepted.place, accepted.load);
    match Box::pin(securing).await {
        Err(refusal) => {
            listener.metrics.connection_refused(refusal.code());
            entry.file(&ended(&listener, source, "", refusal.code(), (&[], 0)));
        }
        Ok(secured) => {
            listener.metrics.handshake_completed();
            serve_secured(worker, Arrival { listener, source, local, entry, secured }, drain).await;
        }
    }
}

struct Arrival {
    listener: Arc<Listener>,
    source: SocketAddr,
    local: SocketAddr,
    entry: ConnectionDraft,
    secured: Secured,
}

async fn serve_secured(worker: Rc<Worker>, arrival: Arrival, drain: watch::Receiver<bool>) {
    let Arrival { listener, source, local, entry, secured } = arrival;
    let limits = listener.limits;
    let peer: Arc<str> = Arc::from(secured.peer.spiffe_id.as_str());
    let caller = Caller::new(entry.id(), source, Some(Arc::clone(&peer)));
    let (heads, stream) = match secured.protocol {
        Protocol::Http1 => {
            let (stream, heads) = http1_guard::guard(secured.stream, &limits);
            (Some(heads), Either::Guarded(stream))
        }
        Protocol::Http2 => (None, Either::Plain(secured.stream)),
    };
    let lifetime = Lifetime {
        ends_at: Instant::now() + worker.connection_age(limits.connection_age_max, &secured.peer),
        idle_timeout: limits.idle_timeout,
        header_timeout: limits.header_timeout,
        grace: limits.drain_grace,
    };
    let connection = Rc::new(Connection {
        listener,
        source,
        local,
        sni: secured.sni,
        protocol: secured.protocol,
        peer: secured.peer,
        caller,
        cut: Rc::default(),
        exchanges: Cell::new(0),
        budget: worker.budgets.of(&peer),
        chain: secured.chain,
        judged_by: Cell::new(secured.trust_generation),
        heads,
        active: Cell::new(0),
        idle_since: Cell::new(Instant::now()),
    });
    let _counted = connection.listener.metrics.connection();
    let requests = |cuts| Requests { worker: Rc::clone(&worker), connection: Rc::clone(&connection), cuts };
    let end = match stream {
        Either::Guarded(stream) => {
            let requests = requests(Cuts::WithConnection(Rc::clone(&connection.cut)));
            let served = pin!(http1(&limits).serve_connection(TokioIo::new(stream), requests));
            drive(served, &connection, lifetime, drain).await
        }
        Either::Plain(stream) => {
            let streams = Streams::default();
            let requests = requests(Cuts::OneByOne(streams.clone()));
            let served = pin!(http2(&limits, streams).serve_connection(TokioIo::new(stream), requests));
            drive(served, &connection, lifetime, drain).await
        }
    };
    match broken(&end) {
        None => entry.served(),
        Some(kind) => {
            connection.listener.metrics.connection_refused(Refusal::ConnProtocol.code());
            let (listener, exchanges) = (&connection.listener, connection.exchanges.get());
            entry.file(&ended(
                listener,
                source,
                &peer,
                Refusal::ConnProtocol.code(),
                (&[(kind, 1)], exchanges),
            ));
        }
    }
}

fn ended<'a>(
    listener: &'a Listener,
    source: SocketAddr,
    peer: &'a str,
    reason: &'static str,
    (protocol_errors, exchanges): (&'a [(&'static str, u32)], u64),
) -> ConnectionEnd<'a> {
    let listener = &listener.name;
    ConnectionEnd {
        listener,
        source,
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
    Guarded(http1_guard::Guarded<TlsStream<BoxIo>>),
    Plain(TlsStream<BoxIo>),
}

/// What the caller broke beneath the requests, if anything.
fn broken(end: &End) -> Option<&'static str> {
    match end {
        End::Closed | End::Cut => None,
        End::SlowHead => Some("slow_head"),
        End::Overstayed => Some("overstayed"),
        End::Broken(error) if error.is_parse() || error.is_parse_too_large() => Some("parse"),
        End::Broken(error) if error.is_timeout() => Some("keep_alive"),
        End::Broken(error) if error.is_incomplete_message() => Some("incomplete"),
        End::Broken(error) if is_http2(error) => Some("http2"),
        // The caller reset the connection or vanished: that breaks no protocol.
        End::Broken(_) => None,
    }
}

fn is_http2(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<h2::Error>());
    source.is_some_and(|error| error.is_go_away() || error.is_reset() || error.is_library())
}

fn http1(limits: &crate::config::ListenerLimits) -> hyper::server::conn::http1::Builder {
    let mut builder = hyper::server::conn::http1::Builder::new();
    // The head's time is measured by `lifetime`, which tells a slow head from an idle connection.
    builder.timer(TokioTimer::new()).header_read_timeout(None);
    builder
        // One more than allowed, so that the guard can refuse and record what hyper would answer by itself.
        .max_headers(limits.header_count_max.saturating_add(1))
        .max_buf_size(HTTP1_BUFFER_BYTES.max(limits.header_bytes_max * 2));
    builder
}

fn http2(
    limits: &crate::config::ListenerLimits,
    streams: Streams,
) -> hyper::server::conn::http2::Builder<Streams> {
    let mut builder = hyper::server::conn::http2::Builder::new(streams);
    builder.timer(TokioTimer::new());
    builder.keep_alive_interval(Duration::from_secs(30)).keep_alive_timeout(Duration::from_secs(10));
    builder.max_concurrent_streams(limits.http2_streams_max);
    builder.max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX));
    builder.initial_stream_window_size(HTTP2_STREAM_WINDOW_BYTES);
    // Room for what all streams together may send ahead: uploads that nobody takes stall none of the others.
    let connection_window = HTTP2_STREAM_WINDOW_BYTES.saturating_mul(limits.http2_streams_max);
    builder.initial_connection_window_size(connection_window.min(HTTP2_CONNECTION_WINDOW_BYTES_MAX));
    builder.max_send_buf_size(HTTP2_SEND_BUFFER_BYTES);
    // hyper's own limit lets a thousand streams be broken from outside before it ends the connection.
    builder.max_local_error_reset_streams(HTTP2_LOCAL_RESETS_MAX).max_pending_accept_reset_streams(20);
    builder
}

/// hyper wants room for the largest head that it may have to hold.
const HTTP1_BUFFER_BYTES: usize = 64 * 1024;
const HTTP2_STREAM_WINDOW_BYTES: u32 = 64 * 1024;
const HTTP2_CONNECTION_WINDOW_BYTES_MAX: u32 = 16 * 1024 * 1024;
const HTTP2_SEND_BUFFER_BYTES: usize = 64 * 1024;
const HTTP2_LOCAL_RESETS_MAX: usize = 100;

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

impl<I, S, B> Graceful for hyper::server::conn::http1::Connection<I, S>
where
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    B: http_body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
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
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}
