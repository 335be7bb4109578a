//! Where callers come in: sockets, the handshake, and the life of a connection.
mod acceptor;
mod caller_io;
mod connection;
mod handshake;
mod http1_guard;
mod lifetime;
mod local;
mod open;
mod proxy_header;
mod socket;

pub(crate) use acceptor::accept_loop;
pub use acceptor::{Accepted, AcceptedIo, WorkerHandle};
pub(crate) use connection::{Active, Connection, serve};
pub(crate) use handshake::Protocol;
pub(crate) use http1_guard::{Head, HeadFault, RawHead, TargetForm};

pub use open::Connections;
pub use socket::{BindError, Bound};

use crate::config::{
    Direction, DpopNonce, IpRange, ListenerConfig, ListenerLimits, ListenerProtocol, ListenerTls, Validity,
};
use crate::pipeline::GuardLimits;
use crate::telemetry::metrics::ListenerMetrics;
use postern_identity::tls::ServerTls;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One listener as every worker sees it.
#[derive(Debug)]
pub struct Listener {
    /// Its name in records, metrics and policy.
    pub name: Arc<str>,
    /// What is spoken.
    pub protocol: ListenerProtocol,
    /// Load balancers that say from whom a connection is. Empty: nobody does.
    pub proxy_protocol: Vec<IpRange>,
    /// Who calls, and how that is known.
    pub callers: Callers,
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
    /// Open connections over all workers.
    pub open: AtomicUsize,
    /// Bytes of the bodies that are held for policy, over all workers.
    held_bytes: AtomicUsize,
}

impl Listener {
    /// A listener from its configuration and what its connections are secured with.
    pub fn new(config: &ListenerConfig, callers: Callers, metrics: Arc<ListenerMetrics>) -> Self {
        let validity = match config.tls {
            ListenerTls::Mutual { validity, .. } => validity,
            ListenerTls::None => Validity::default(),
        };
        let listener = Self::of(&config.name, config.limits, (callers, metrics));
        let proxy_protocol = config.proxy_protocol.clone();
        Self {
            protocol: config.protocol,
            proxy_protocol,
            validity,
            dpop_nonce: config.dpop_nonce,
            ..listener
        }
    }

    /// Bytes of the bodies that are held for policy now.
    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes.load(Ordering::Relaxed)
    }

    fn of(name: &str, limits: ListenerLimits, (callers, metrics): (Callers, Arc<ListenerMetrics>)) -> Self {
        Self {
            name: name.into(),
            protocol: ListenerProtocol::Http,
            proxy_protocol: Vec::new(),
            guard: match callers {
                Callers::Mutual(_) => GuardLimits::from(&limits),
                Callers::Local => GuardLimits::from(&limits).without_tls(),
            },
            callers,
            validity: Validity::default(),
            limits,
            dpop_nonce: DpopNonce::None,
            metrics,
            open: AtomicUsize::new(0),
            held_bytes: AtomicUsize::new(0),
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
