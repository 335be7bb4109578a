//! A worker's own connections to the endpoints: no lock, no channel, no other thread.
//!
//! Our own pool on hyper's connection API, because it takes a fifth fewer instructions a request than the
//! pooled client does (`docs/performance.md`).
use super::announcement;
use super::connect::{BoxIo, Connect};
use super::destinations::Destinations;
use super::extended_connect::{self, Announced, Handshake};
use super::http2::{self, Opened, SharedConnections};
use super::lease::{Found, IdleList, Lease, Sender, Switch, Switched};
use super::rate_limit_service::ServiceConnection;
use super::secure::{Originator, Owner, Proof};
use super::target::{Placed, Protocol, Target};
use crate::cut::Streams;
use crate::http2_guard;
use crate::pipeline::{Attempt, Refusal, RequestBody};
use crate::presence::{PING_INTERVAL, PING_TIMEOUT};
use crate::routing::Routing;
use crate::state::Snapshot;
use crate::traffic::circuit_breaker::Place;
use futures_util::FutureExt;
use http::{Method, Request, Response, Uri, header};
use hyper::body::{Body, Incoming};
use hyper::client::conn::{TrySendError, http1};
use hyper_util::rt::{TokioIo, TokioTimer};
use postern_audit::EndpointAddress;
use postern_identity::UnixTime;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

/// A worker's upstream connections.
#[derive(Debug)]
pub struct Pool {
    maker: Rc<Maker>,
    http1: RefCell<HashMap<Owner, Rc<IdleList>>>,
    http2: RefCell<HashMap<Owner, Rc<SharedConnections>>>,
    services: RefCell<HashMap<Owner, Rc<ServiceConnection>>>,
    /// Where captured connections were going, as far as connections there are kept.
    destinations: RefCell<Destinations>,
    /// Where routes lead, as far as the last sweep has seen.
    live: RefCell<Live>,
}

/// The endpoints of a routing and how long it has idle connections to them kept; it is held weakly, and its place is not
/// given to another one meanwhile.
#[derive(Debug, Default)]
struct Live {
    routing: Weak<Routing>,
    owners: HashMap<Owner, Duration>,
    /// For whom and by which proof captured connections are led to where they were going.
    original: HashMap<(u64, Option<usize>), Duration>,
}

impl Live {
    /// How long connections are kept, where a route leads there on behalf of somebody who is still there.
    fn keeps(&self, owner: &Owner) -> Option<Duration> {
        let of_anybody = || self.owners.get(&owner.of_anybody()).filter(|_| !owner.is_over());
        self.owners.get(owner).or_else(of_anybody).copied()
    }

    /// The same where captured connections were going.
    fn keeps_original(&self, owner: &Owner) -> Option<Duration> {
        self.original.get(&owner.upstream()).filter(|_| !owner.is_over()).copied()
    }

    fn follow(&mut self, routing: &Arc<Routing>) {
        if self.routing.as_ptr() != Arc::as_ptr(routing) {
            let targets = routing.upstreams().flat_map(|upstream| &upstream.targets);
            let kept = |target: &Target| (Owner::of(target), target.idle_timeout);
            let owners = targets.map(kept).collect();
            let original = routing.upstreams().filter_map(|upstream| upstream.original.as_ref());
            let original = original.map(kept).map(|(owner, kept)| (owner.upstream(), kept)).collect();
            *self = Self { routing: Arc::downgrade(routing), owners, original };
        }
    }
}

/// Makes connections, secure ones where that is asked.
#[derive(Debug)]
pub(super) struct Maker {
    connector: Rc<dyn Connect>,
    originator: Originator,
}

/// By what it is judged whether a connection may be used.
#[derive(Debug)]
pub(crate) struct InForce<'s> {
    /// What is in force.
    pub(crate) snapshot: &'s Snapshot,
    /// What time it is.
    pub(crate) now: UnixTime,
}

impl InForce<'_> {
    pub(crate) fn may_use(&self, proof: Option<&Proof>) -> bool {
        proof.is_none_or(|proof| proof.check(self.snapshot, self.now).is_ok())
    }
}

/// Who is about to use a connection. It may have to wait for one, and what was in force before that counts no more.
pub(crate) trait Choosing {
    /// Whether a connection may be used, by what is in force at this moment.
    fn may_use(&self, proof: Option<&Proof>) -> bool;

    /// One was chosen: from now on what is sent rests on this.
    fn chose(&self, proof: Option<Rc<Proof>>);

    /// It turned out to be closed, and not a byte was sent: another one is looked for.
    fn lost(&self);

    /// None could be made, and somebody else who has waited for the same one says so of the endpoint.
    fn shares_failure(&self) {}
}

/// A request that got no response.
#[derive(Debug)]
pub(crate) enum SendError {
    /// Not a byte of it left: it may be tried elsewhere.
    Unsent(Box<Attempt>, Refusal),
    /// The upstream refused the stream, or went away before it looked at it (RFC 9113 §8.7).
    Refused(Refusal),
    /// The upstream may have seen it.
    Sent(Refusal),
}

impl Pool {
    /// An empty pool over a connector.
    pub fn new(connector: Rc<dyn Connect>, originator: Originator) -> Self {
        let maker = Rc::new(Maker { connector, originator });
        Self {
            maker,
            http1: RefCell::default(),
            http2: RefCell::default(),
            services: RefCell::default(),
            destinations: RefCell::default(),
            live: RefCell::default(),
        }
    }

    /// Sends one attempt and waits for the head of its response. The lease keeps the connection until the
    /// response body has been read.
    pub(crate) async fn send(
        &self,
        target: &Target,
        attempt: Attempt,
        choosing: &dyn Choosing,
    ) -> Result<(Response<Incoming>, Lease), SendError> {
        match target.protocol {
            Protocol::Http1 => self.send_http1(target, attempt, choosing).await,
            Protocol::H2 | Protocol::H2c => self.send_http2(target, attempt, choosing).await,
            // No configuration leads here.
            Protocol::Tcp => Err(SendError::Unsent(Box::new(attempt), Refusal::UpstreamProtocol)),
        }
    }

    async fn send_http1(
        &self,
        target: &Target,
        attempt: Attempt,
        choosing: &dyn Choosing,
    ) -> Result<(Response<Incoming>, Lease), SendError> {
        let idle = self.idle_list(target);
        let (mut request, voucher) = attempt.into_request();
        to_origin_form(&mut request);
        announce_body(&mut request);
        loop {
            // A pooled connection may turn out to be closed; only a new one proves the endpoint dead.
            let (mut sender, is_new) = match self.http1_sender(&idle, target, choosing).await {
                Ok(found) => found,
                Err(refusal) => return Err(SendError::Unsent(Box::new(voucher.renew(request)), refusal)),
            };
            choosing.chose(sender.proof());
            let switched = request.headers().contains_key(header::UPGRADE).then(|| sender.expect_switch());
            match sender.send(request).await {
                Ok(response) => return Ok((response, Lease::Http1 { idle, sender, switched })),
                Err(mut error) => match unsent(&mut error) {
                    None => return Err(SendError::Sent(Refusal::UpstreamProtocol)),
                    Some(back) if is_new => {
                        let refusal = Refusal::UpstreamConnectFailed;
                        return Err(SendError::Unsent(Box::new(voucher.renew(back)), refusal));
                    }
                    Some(back) => {
                        choosing.lost();
                        request = back;
                    }
                },
            }
        }
    }

    /// A connection, and whether it is new.
    async fn http1_sender(
        &self,
        idle: &IdleList,
        target: &Target,
        choosing: &dyn Choosing,
    ) -> Result<(Sender, bool), Refusal> {
        let may = |proof: Option<&Proof>| choosing.may_use(proof);
        if let Some(sender) = idle.take(&may) {
            return Ok((sender, false));
        }
        let _pending = target.breaker.pending.take_or_refuse().ok_or(Refusal::UpstreamOverflow)?;
        // In a place of its own: every exchange would carry the room for a handshake that few of them make.
        Box::pin(async {
            match idle.wait(&may).await {
                Found::Used(sender) => Ok((sender, false)),
                Found::Room(place) => Ok((self.maker.http1(target, place).await?, true)),
            }
        })
        .await
    }

    async fn send_http2(
        &self,
        target: &Target,
        attempt: Attempt,
        choosing: &dyn Choosing,
    ) -> Result<(Response<Incoming>, Lease), SendError> {
        let shared = self.shared_connections(target);
        let (mut request, voucher) = attempt.into_request();
        loop {
            let make = |place| {
                let (maker, target) = (Rc::clone(&self.maker), target.clone());
                async move { maker.http2(&target, place).await }.boxed_local()
            };
            let stream = match shared.join(&|proof| choosing.may_use(proof), make).await {
                Ok(stream) => stream,
                Err(unmade) => {
                    if unmade.is_known() {
                        choosing.shares_failure();
                    }
                    return Err(SendError::Unsent(Box::new(voucher.renew(request)), unmade.refusal));
                }
            };
            choosing.chose(stream.proof());
            let handshake = if extended_connect::is_handshake(&request) {
                if !stream.takes_extended_connect().await {
                    return Err(SendError::Refused(Refusal::UpstreamExtendedConnect));
                }
                let (handshake, asking) = Handshake::begin(request, stream.streams());
                request = asking;
                Some(handshake)
            } else {
                request.body_mut().sent_by(stream.streams());
                None
            };
            let mut sender = stream.sender();
            let asked = stream.ask();
            match sender.try_send_request(request).await {
                Ok(response) => {
                    asked.answered();
                    return Ok(match handshake {
                        Some(handshake) => handshake.answered(response, stream),
                        None => (response, Lease::Http2 { stream, opened: None }),
                    });
                }
                Err(mut error) => {
                    asked.failed();
                    let back = unsent(&mut error);
                    let back = back.map(|back| match handshake {
                        Some(handshake) => handshake.back(back),
                        None => back,
                    });
                    // A stream may fail by itself; what was never sent shows that the connection is gone.
                    if back.is_some() || !is_reset(error.error()) {
                        stream.is_broken();
                    }
                    match back {
                        None if is_refused(error.error()) => {
                            return Err(SendError::Refused(Refusal::UpstreamProtocol));
                        }
                        None => return Err(SendError::Sent(Refusal::UpstreamProtocol)),
                        Some(back) if stream.is_unproven() => {
                            let refusal = Refusal::UpstreamConnectFailed;
                            return Err(SendError::Unsent(Box::new(voucher.renew(back)), refusal));
                        }
                        Some(back) => {
                            choosing.lost();
                            request = back;
                        }
                    }
                }
            }
        }
    }

    /// Closes the connections that have had nothing to do for longer than their upstream allows, those that must not be
    /// used any more, and those to where no route leads any more. Exchanges on these end as they are.
    pub(crate) fn sweep(&self, in_force: &InForce<'_>) {
        let may = |proof: Option<&Proof>| in_force.may_use(proof);
        let mut live = self.live.borrow_mut();
        live.follow(&in_force.snapshot.routing);
        let mut destinations = self.destinations.borrow_mut();
        let original = |owner: &Owner| live.keeps_original(owner).filter(|_| destinations.contains(owner));
        // What the routing in force says, whatever was when the connection was made.
        let keeps = |owner: &Owner| live.keeps(owner).or_else(|| original(owner));
        let leads = |owner: &Owner, is_in_use: bool| match is_in_use {
            true => keeps(owner).is_some(),
            false => live.keeps(owner).is_some(),
        };
        self.http1.borrow_mut().retain(|owner, idle| {
            idle.sweep(keeps(owner).unwrap_or_default(), &may);
            leads(owner, Rc::strong_count(idle) > 1 || !idle.is_empty())
        });
        self.http2.borrow_mut().retain(|owner, shared| {
            shared.sweep(keeps(owner).unwrap_or_default(), &may);
            // Who waits for one that is being made is not left alone with it.
            leads(owner, Rc::strong_count(shared) > 1 || !shared.is_empty()) || shared.is_being_made()
        });
        let (http1, http2) = (self.http1.borrow(), self.http2.borrow());
        destinations.retain(|owner| http1.contains_key(owner) || http2.contains_key(owner));
        drop((http1, http2));
        self.services
            .borrow_mut()
            .retain(|owner, connection| !connection.is_idle(live.keeps(owner).unwrap_or_default(), in_force));
        self.maker.originator.sweep();
    }

    /// A byte stream of its own for a raw stream, and what shows that it leads to whom it should.
    pub(crate) async fn stream(&self, target: &Target) -> Result<(BoxIo, Option<Rc<Proof>>), Refusal> {
        self.maker.stream(target).await
    }

    /// What makes its connections.
    pub(super) fn maker(&self) -> Rc<Maker> {
        Rc::clone(&self.maker)
    }

    /// The connection to an endpoint of a rate limit service.
    pub(super) fn service(&self, target: &Target) -> Rc<ServiceConnection> {
        let mut services = self.services.borrow_mut();
        let connection =
            services.entry(Owner::of(target)).or_insert_with(|| Rc::new(ServiceConnection::new()));
        Rc::clone(connection)
    }

    /// A captured connection's destination makes room for itself among the others.
    fn note(&self, target: &Target) {
        if target.is_original
            && let Some(oldest) = self.destinations.borrow_mut().note(Owner::of(target))
            && self.live.borrow().keeps(&oldest).is_none()
        {
            self.http1.borrow_mut().remove(&oldest);
            self.http2.borrow_mut().remove(&oldest);
        }
    }

    fn idle_list(&self, target: &Target) -> Rc<IdleList> {
        self.note(target);
        let mut lists = self.http1.borrow_mut();
        let list = lists.entry(Owner::of(target)).or_insert_with(|| Rc::new(IdleList::new(target)));
        Rc::clone(list)
    }

    fn shared_connections(&self, target: &Target) -> Rc<SharedConnections> {
        self.note(target);
        let mut all = self.http2.borrow_mut();
        let shared = all.entry(Owner::of(target)).or_insert_with(|| Rc::new(SharedConnections::new(target)));
        Rc::clone(shared)
    }
}

impl Maker {
    async fn http1(&self, target: &Target, place: Place) -> Result<Sender, Refusal> {
        let (io, proof) = self.connect(target, place).await?;
        let allowance = io.inner().allowance();
        let mut builder = http1::Builder::new();
        builder.max_headers(RESPONSE_HEADERS_MAX).max_buf_size(RESPONSE_HEAD_BYTES_MAX);
        let (sender, connection) = builder.handshake(io).await.map_err(|_| Refusal::UpstreamConnectFailed)?;
        // How the connection ended is told to the exchange that was on it, if there was one.
        let switch = Switch::default();
        let expected = Rc::clone(&switch);
        let driver = tokio::task::spawn_local(async move {
            let Ok(parts) = connection.without_shutdown().await else { return };
            let (mut io, seen) = (parts.io.into_inner(), parts.read_buf);
            match expected.take() {
                // Who expects it and has gone away meanwhile drops it.
                Some(expected) => drop(expected.send(Switched { io: Box::new(io), seen, held: None })),
                None => drop(io.shutdown().await),
            }
        });
        Ok(Sender::new(sender, (driver, switch, allowance), proof))
    }

    async fn http2(&self, target: &Target, place: Place) -> Result<Opened, Refusal> {
        let (io, proof) = self.connect(target, place).await?;
        let (io, found) = http2_guard::guard_upstream(io);
        let streams = Streams::default();
        let mut builder = hyper::client::conn::http2::Builder::new(streams.clone());
        builder.timer(TokioTimer::new()).keep_alive_interval(PING_INTERVAL);
        builder.keep_alive_timeout(PING_TIMEOUT);
        builder.max_header_list_size(HTTP2_HEADER_BYTES_MAX);
        builder.initial_stream_window_size(http2::STREAM_WINDOW_BYTES);
        builder.initial_connection_window_size(http2::CONNECTION_WINDOW_BYTES);
        let (sender, connection) = builder.handshake(io).await.map_err(|_| Refusal::UpstreamConnectFailed)?;
        let streams_allowed = Rc::new(Cell::new(connection.current_max_send_streams()));
        let announced = Rc::new(Announced::default());
        let (told, announces) = (Rc::clone(&streams_allowed), Rc::clone(&announced));
        let mut connection = Box::pin(connection);
        drop(tokio::task::spawn_local(poll_fn(move |cx| {
            let ended = connection.as_mut().poll(cx).map(drop);
            told.set(connection.current_max_send_streams());
            if announces.is_unknown() && (ended.is_ready() || found.poll_acknowledged(cx).is_ready()) {
                // Of a connection that has ended, sending shows more than waiting.
                announces.tell(ended.is_ready() || connection.is_extended_connect_protocol_enabled());
            }
            ended
        })));
        Ok(Opened { sender, streams, streams_allowed, announced, proof })
    }

    pub(super) async fn connect(
        &self,
        target: &Target,
        place: Place,
    ) -> Result<(TokioIo<Placed>, Option<Rc<Proof>>), Refusal> {
        let (io, proof) = self.stream(target).await?;
        Ok((TokioIo::new(Placed::new(io, place)), proof))
    }

    /// A byte stream to the endpoint, secured where the upstream has something to prove. All of it has the time that a
    /// connection may take.
    pub(super) async fn stream(&self, target: &Target) -> Result<(BoxIo, Option<Rc<Proof>>), Refusal> {
        let connecting = async {
            let mut io = self.reach(target).await?;
            if let Some(version) = target.proxy_protocol {
                let header = announcement::header(version, target.announced.as_deref());
                let header = header.map_err(|_| Refusal::UpstreamConnectFailed)?;
                io.write_all(&header).await.map_err(|_| Refusal::UpstreamConnectFailed)?;
            }
            match &target.security {
                None => Ok((io, None)),
                Some(security) => {
                    let what = (&target.endpoint, target.protocol);
                    let (io, proof) = self.originator.secure(io, security, what).await?;
                    Ok((io, Some(Rc::new(proof))))
                }
            }
        };
        match tokio::time::timeout(target.connect_timeout, connecting).await {
            Ok(made) => made,
            Err(_) => Err(Refusal::UpstreamConnectFailed),
        }
    }

    async fn reach(&self, target: &Target) -> Result<BoxIo, Refusal> {
        let failed = |_| Refusal::UpstreamConnectFailed;
        match &target.endpoint {
            EndpointAddress::Ip(address) => self.connector.connect(*address).await.map_err(failed),
            EndpointAddress::Unix(path) => {
                let (io, uid) = self.connector.connect_local(path).await.map_err(failed)?;
                match &target.uids {
                    Some(uids) if !uids.contains(&uid) => {
                        tracing::warn!(endpoint = %target.endpoint, uid, "the process at a Unix socket runs as nobody whom `uids` names");
                        Err(Refusal::UpstreamIdentity)
                    }
                    Some(_) | None => Ok(io),
                }
            }
        }
    }
}

/// The request, if the connection gave it back whole. One whose body has begun is not unsent.
fn unsent(error: &mut TrySendError<Request<RequestBody>>) -> Option<Request<RequestBody>> {
    error.take_message().filter(|request| request.body().is_untouched())
}

/// Whether it was a stream that ended, and not its connection.
fn is_reset(error: &hyper::Error) -> bool {
    http2_error(error).is_some_and(h2::Error::is_reset)
}

/// Whether the upstream says that it has not looked at the request: it refused the stream, or named an earlier one as the
/// last when it went away (RFC 9113 §6.8). A stream that it may have looked at ends otherwise.
fn is_refused(error: &hyper::Error) -> bool {
    http2_error(error).is_some_and(|error| {
        error.is_remote() && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM))
    })
}

fn http2_error(error: &hyper::Error) -> Option<&h2::Error> {
    std::error::Error::source(error).and_then(|source| source.downcast_ref())
}

/// HTTP/1.1 names the authority in `Host` and only the path and query in the target (RFC 9112 §3.2.1).
fn to_origin_form(request: &mut Request<RequestBody>) {
    let uri = std::mem::take(request.uri_mut()).into_parts();
    if let Some(target) = uri.path_and_query {
        *request.uri_mut() = Uri::from(target);
    }
    if let Some(host) =
        uri.authority.and_then(|name| http::HeaderValue::from_maybe_shared(name.to_string()).ok())
    {
        request.headers_mut().insert(header::HOST, host);
    }
}

/// hyper leaves a body of unknown length out of requests whose methods seldom have one, unless it is told that it is there.
fn announce_body(request: &mut Request<RequestBody>) {
    let seldom = matches!(*request.method(), Method::GET | Method::HEAD);
    let (body, headers) = (request.body(), request.headers());
    let is_told = headers.contains_key(header::CONTENT_LENGTH) || headers.contains_key(header::UPGRADE);
    if seldom && !is_told && !body.is_end_stream() && body.size_hint().exact().is_none() {
        let chunked = http::HeaderValue::from_static("chunked");
        request.headers_mut().insert(header::TRANSFER_ENCODING, chunked);
    }
}

/// An upstream is not the caller's adversary, yet its answers are bounded all the same.
const RESPONSE_HEADERS_MAX: usize = 200;
const RESPONSE_HEAD_BYTES_MAX: usize = 128 * 1024;
const HTTP2_HEADER_BYTES_MAX: u32 = 64 * 1024;
