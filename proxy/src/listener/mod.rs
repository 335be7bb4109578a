//! Where callers come in: sockets, the handshake, and the life of a connection.
mod acceptor;
mod broken;
mod caller_io;
mod captured;
mod client_hello;
mod connection;
mod detect;
mod handshake;
mod handshakes;
mod http1_guard;
mod hyper_limits;
mod lifetime;
mod local;
mod open;
mod permissive;
mod proven;
mod proxy_header;
mod socket;

pub(crate) use acceptor::accept_loop;
pub use acceptor::{Accepted, AcceptedIo, WorkerHandle};
pub(crate) use connection::{Active, Connection, serve};
pub(crate) use handshake::Protocol;
pub use handshakes::Handshake;
pub(crate) use http1_guard::{Head, HeadFault, RawHead, TargetForm};

#[cfg(test)]
pub(crate) use client_hello::tests::hello_for;
pub use open::Connections;
pub use permissive::{Permissive, PlaintextCallers};
pub(crate) use proven::Proven;
pub use socket::Bound;

use self::captured::Capture;
use crate::config::moment::moment_text;
use crate::config::{
    Bind, Direction, DpopNonce, IpRange, ListenerConfig, ListenerLimits, ListenerProtocol, ListenerTls,
    PermissiveConfig, Validity,
};
use crate::memory::Memory;
use crate::pipeline::GuardLimits;
use crate::telemetry::metrics::ListenerMetrics;
use handshakes::Handshakes;
use postern_identity::tls::ServerTls;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::watch;

/// One listener as every worker sees it.
#[derive(Debug)]
pub struct Listener {
    /// Its name in records, metrics and policy.
    pub name: Arc<str>,
    /// Where callers connect.
    pub(crate) bind: Bind,
    /// How connections come to it that were going elsewhere, where they do.
    capture: Option<Capture>,
    /// What is spoken.
    pub protocol: ListenerProtocol,
    /// Load balancers that say from whom a connection is. Empty: nobody does.
    pub proxy_protocol: Vec<IpRange>,
    /// Who calls, and how that is known.
    pub callers: Callers,
    /// Plain text beside mutual TLS, for a while.
    pub permissive: Arc<Permissive>,
    /// What becomes of connections whose callers are believed no more.
    pub validity: Validity,
    /// What one caller may cost.
    pub limits: ListenerLimits,
    /// Whether proofs of possession have to hold a nonce.
    pub dpop_nonce: DpopNonce,
    /// What a request head may be.
    pub(crate) guard: GuardLimits,
    /// What it counts.
    pub metrics: Arc<ListenerMetrics>,
    /// Whether there is memory for something new.
    pub memory: Arc<Memory>,
    /// Open connections over all workers.
    pub open: AtomicUsize,
    /// Those of them in plain text beside TLS.
    in_plaintext: AtomicUsize,
    /// Those of them whose handshake has not ended, which never does in plain text, by address.
    handshakes: Handshakes,
    /// Bytes of the bodies that are held for policy, over all workers.
    held_bytes: AtomicUsize,
    /// Whether it accepts no more, and its connections are asked to finish.
    drain: watch::Sender<bool>,
    /// Whether somebody else goes on with its port, and with those who wait to be accepted there.
    handed_on: AtomicBool,
    /// Whether somebody keeps its socket open when it is closed here.
    left: AtomicBool,
    /// Whether its socket is closed here.
    closed: watch::Sender<bool>,
}

impl Listener {
    /// A listener from its configuration and what its connections are secured with, beside all sockets of this sidecar.
    pub fn new(
        config: &ListenerConfig,
        callers: Callers,
        metrics: Arc<ListenerMetrics>,
        own: &watch::Receiver<Arc<[SocketAddr]>>,
    ) -> Self {
        let validity = match config.tls {
            ListenerTls::Mutual { validity, .. } => validity,
            ListenerTls::None => Validity::default(),
        };
        let listener = Self::of(&config.name, config.limits, (callers, metrics));
        let proxy_protocol = config.proxy_protocol.clone();
        Self {
            bind: config.bind.clone(),
            capture: config.captured.map(|way| Capture::new(way, own)),
            protocol: config.protocol,
            proxy_protocol,
            permissive: Arc::new(Permissive::new(config.permissive)),
            validity,
            dpop_nonce: config.dpop_nonce,
            ..listener
        }
    }

    /// Takes plain text on these terms from now on, or no more.
    pub(crate) fn permit_plaintext(&self, terms: Option<PermissiveConfig>) {
        self.permissive.change(terms);
        self.metrics.plaintext_until(terms.map_or(0, |terms| terms.until_unix_s));
        if let Some(terms) = terms {
            let until = moment_text(terms.until_unix_s);
            tracing::warn!(listener = &*self.name, until, "plain text is taken beside mutual TLS");
        }
    }

    /// Takes no more plain text than on these terms, from now on.
    pub(crate) fn narrow_plaintext(&self, terms: Option<PermissiveConfig>) {
        self.permissive.narrow(terms);
    }

    /// Accepts no more, and asks the connections to finish, each within the grace of this listener.
    pub fn drain(&self) {
        self.drain.send_replace(true);
    }

    /// Leaves those who wait at its port to somebody else who accepts there. To be said before it drains.
    pub fn hand_on(&self) {
        self.handed_on.store(true, Ordering::Relaxed);
    }

    /// Whether somebody else goes on with its port.
    pub(crate) fn is_handed_on(&self) -> bool {
        self.handed_on.load(Ordering::Relaxed)
    }

    /// Leaves a Unix socket where it is when it drains. To be said before.
    pub fn leave(&self) {
        self.left.store(true, Ordering::Relaxed);
    }

    /// Whether a Unix socket stays where it is.
    pub(crate) fn is_left(&self) -> bool {
        self.left.load(Ordering::Relaxed)
    }

    /// Tells when it drains.
    pub fn draining(&self) -> watch::Receiver<bool> {
        self.drain.subscribe()
    }

    /// Says that its socket is closed.
    pub(crate) fn close(&self) {
        self.closed.send_replace(true);
    }

    /// Waits until its socket is closed.
    pub(crate) async fn closed(&self) {
        // The sender is this listener's own, and lives as long as the wait.
        drop(self.closed.subscribe().wait_for(|closed| *closed).await);
    }

    /// Bytes of the bodies that are held for policy now.
    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes.load(Ordering::Relaxed)
    }

    fn of(name: &str, limits: ListenerLimits, (callers, metrics): (Callers, Arc<ListenerMetrics>)) -> Self {
        Self {
            name: name.into(),
            bind: Bind::Address(SocketAddr::from(([127, 0, 0, 1], 0))),
            capture: None,
            protocol: ListenerProtocol::Http,
            proxy_protocol: Vec::new(),
            guard: match callers {
                Callers::Mutual(_) => GuardLimits::from(&limits),
                Callers::Local => GuardLimits::from(&limits).without_tls(),
            },
            callers,
            permissive: Arc::default(),
            validity: Validity::default(),
            limits,
            dpop_nonce: DpopNonce::None,
            metrics,
            memory: Arc::default(),
            open: AtomicUsize::new(0),
            in_plaintext: AtomicUsize::new(0),
            handshakes: Handshakes::default(),
            held_bytes: AtomicUsize::new(0),
            drain: watch::channel(false).0,
            handed_on: AtomicBool::new(false),
            left: AtomicBool::new(false),
            closed: watch::channel(false).0,
        }
    }
}

/// Who calls, and how that is known.
#[derive(Debug)]
pub enum Callers {
    /// Other workloads, by TLS on both sides.
    Mutual(Box<ServerTls>),
    /// The workload beside this sidecar, which nobody else can be on loopback or behind a Unix socket: outbound.
    Local,
}

impl Callers {
    /// Which way traffic flows.
    pub fn direction(&self) -> Direction {
        match self {
            Self::Mutual(_) => Direction::Inbound,
            Self::Local => Direction::Outbound,
        }
    }

    /// What requests are made by: `https` or `http`.
    pub(crate) fn scheme(&self) -> &'static str {
        match self {
            Self::Mutual(_) => "https",
            Self::Local => "http",
        }
    }
}

/// One of a listener's connections, given back on drop.
#[derive(Debug)]
pub struct Place(Arc<Listener>);

impl Place {
    /// Takes a place, if the listener has one left.
    pub fn take(listener: &Arc<Listener>) -> Option<Self> {
        let place = Self(Arc::clone(listener));
        (listener.open.fetch_add(1, Ordering::Relaxed) < listener.limits.connections_max).then_some(place)
    }

    /// The listener.
    pub fn listener(&self) -> &Arc<Listener> {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Memory for a body that policy reads, given back on drop.
#[derive(Debug)]
pub(crate) struct Held {
    listener: Arc<Listener>,
    bytes: usize,
}

impl Held {
    /// Takes as many bytes, if that many are left.
    pub(crate) fn take(listener: &Arc<Listener>, bytes: usize) -> Option<Self> {
        // Counted before it is compared, so that two workers cannot both take the last bytes.
        let held = Self { listener: Arc::clone(listener), bytes };
        let before = listener.held_bytes.fetch_add(bytes, Ordering::Relaxed);
        (before.saturating_add(bytes) <= listener.limits.policy_bodies_bytes_max).then_some(held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.listener.held_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
