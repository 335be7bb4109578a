//! The listeners that are in force, and how a reload changes them: what is new is bound before anything changes, what goes
//! on is not touched, and what goes drains.
use super::entrance::{STATUS, local_offer, socket};
use super::{StartError, materials};
use crate::clock::Clock;
use crate::config::{
    Bind, Config, Direction, ListenerConfig, LocalDoor, PermissiveConfig, StatusConfig, reload,
};
use crate::handover::{Inherited, Offer, Offered, Offers};
use crate::listener::{Bound, Listener};
use crate::local_socket::{SocketError, Succession};
use crate::memory::Memory;
use crate::state::Shared;
use crate::telemetry::Metrics;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Listeners on their way to the acceptor.
pub(super) const WAITING_MAX: usize = 64;

/// How long an acceptor may take to close a socket.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A bound socket, and whose it is.
pub(super) type Served = (Bound, Arc<Listener>);

/// The listeners of the process.
#[derive(Debug)]
pub(super) struct Listeners {
    pub(super) in_force: Vec<Arc<Listener>>,
    /// Those that were taken out and have connections yet.
    pub(super) leaving: Vec<Arc<Listener>>,
    pub(super) to_acceptor: mpsc::Sender<Served>,
    pub(super) offer: Offer,
    /// Where this sidecar listens, for those who must not call it by mistake.
    pub(super) own: watch::Sender<Arc<[SocketAddr]>>,
}

/// What listeners are made with.
pub(super) struct Means<'a> {
    pub(super) shared: &'a Shared,
    pub(super) metrics: &'a Metrics,
    pub(super) clock: &'a Arc<dyn Clock>,
    pub(super) memory: &'a Arc<Memory>,
    /// Where this sidecar listens.
    pub(super) own: &'a watch::Receiver<Arc<[SocketAddr]>>,
}

impl Means<'_> {
    pub(super) fn listener(&self, of: &ListenerConfig) -> Result<Listener, StartError> {
        let callers = materials::callers(of, self.shared, self.clock)?;
        let mut listener = Listener::new(of, callers, self.metrics.listener(&of.name), self.own);
        listener.memory = Arc::clone(self.memory);
        Ok(listener)
    }
}

/// What a reload makes of the listeners; dropped before it takes places, it has changed nothing.
#[derive(Debug, Default)]
pub struct Prepared {
    in_force: Vec<Arc<Listener>>,
    /// Of each of these, until when it takes plain text.
    permissive: Vec<Option<PermissiveConfig>>,
    bound: Vec<Served>,
    /// Unix sockets that take the place of those that go.
    successions: Vec<(String, Succession)>,
    offered: Offers,
    own: Arc<[SocketAddr]>,
}

impl Prepared {
    /// Gives new Unix sockets the place of those that go. Callers wait in them until the rest is in force.
    ///
    /// # Errors
    /// One could not take its place.
    pub(super) fn take_places(&mut self) -> Result<(), StartError> {
        for (listener, succession) in self.successions.drain(..) {
            succession.take_place().map_err(|error| StartError::Local { listener, error })?;
        }
        Ok(())
    }

    /// Ends what the other configuration does not take in plain text any more. Its routes may count on that, so it is done
    /// before they are in force; what it takes besides comes with [`Listeners::exchange`], after them.
    pub(super) fn narrow(&self) {
        let all = self.in_force.iter().zip(&self.permissive);
        all.for_each(|(listener, terms)| listener.narrow_plaintext(*terms));
    }
}

impl Listeners {
    /// Makes and binds what another configuration has and this one has not. A listener that was changed is made anew: on
    /// the socket that it has, or on a Unix socket that is to take the place of its old one.
    pub(super) fn prepare(
        &self,
        (running, new): (&Config, &Config),
        means: &Means<'_>,
    ) -> Result<Prepared, StartError> {
        let trouble =
            |address: SocketAddr| move |error| StartError::Bind { address: address.to_string(), error };
        let mut prepared = Prepared { own: own(new), ..Prepared::default() };
        let mut copies = Inherited::new(self.copies(new)?);
        for of in &new.listeners {
            let goes_on = running.listeners.iter().any(|old| reload::goes_on(old, of));
            let known = self.in_force.iter().find(|known| goes_on && *known.name == *of.name);
            let socket = match &of.bind {
                Bind::Address(address) => {
                    let socket = socket((of.captured, *address), &mut copies)?;
                    prepared.offered.ports.push(Offered::of(&of.name, &socket).map_err(trouble(*address))?);
                    Some(Bound::Tcp(socket))
                }
                Bind::Local(door) if known.is_none() => Some(self.local((of, door), &mut prepared)?),
                Bind::Local(door) => {
                    prepared.offered.local.extend(self.known_local(of, door)?);
                    None
                }
            };
            prepared.in_force.extend(known.cloned());
            prepared.permissive.push(of.permissive);
            let Some(socket) = socket.filter(|_| known.is_none()) else { continue };
            let mut listener = means.listener(of)?;
            // Who came in plain text is told of for as long as a listener of that name is there.
            if let Some(old) = self.in_force.iter().find(|old| *old.name == *of.name) {
                listener.permissive = Arc::clone(&old.permissive);
            }
            let listener = Arc::new(listener);
            prepared.in_force.push(Arc::clone(&listener));
            prepared.bound.push((socket, listener));
        }
        if let StatusConfig::Open { address } = &new.status
            && let Some(socket) = copies.take(*address)
        {
            prepared.offered.ports.push(Offered::of(STATUS, &socket).map_err(trouble(*address))?);
        }
        Ok(prepared)
    }

    /// A Unix socket: a new one, which takes the place of that of the running sidecar where it has one there.
    fn local(
        &self,
        (of, door): (&ListenerConfig, &LocalDoor),
        prepared: &mut Prepared,
    ) -> Result<Bound, StartError> {
        let failed = |error| StartError::Local { listener: of.name.clone(), error };
        let is_there = |listener: &Arc<Listener>| matches!(&listener.bind, Bind::Local(known) if known.socket == door.socket);
        if !self.in_force.iter().any(is_there) {
            let socket = Bound::local(door, None).map_err(failed)?;
            prepared.offered.local.extend(local_offer(&of.name, (door, &socket))?);
            return Ok(socket);
        }
        let (socket, succession) = Bound::local_successor(door, Some(std::process::id())).map_err(failed)?;
        prepared.offered.local.extend(local_offer(&of.name, (door, &socket))?);
        prepared.successions.push((of.name.clone(), succession));
        Ok(socket)
    }

    /// What was offered of a Unix socket that goes on.
    fn known_local(&self, of: &ListenerConfig, door: &LocalDoor) -> Result<Option<Offered>, StartError> {
        let failed = |cause| StartError::Local {
            listener: of.name.clone(),
            error: SocketError::Io { path: door.socket.clone(), cause },
        };
        Ok(self.offer.local_copies().map_err(failed)?.into_iter().find(|known| known.name == of.name))
    }

    fn copies(&self, new: &Config) -> Result<Vec<std::os::fd::OwnedFd>, StartError> {
        let failed = |error| {
            let address = new.listeners.first().map_or_else(String::new, |first| first.bind.to_string());
            StartError::Bind { address, error }
        };
        Ok(self.offer.copies().map_err(failed)?.into_iter().map(|of| of.socket).collect())
    }

    /// Puts it in force; gives the names of what is no more where it was.
    pub(super) async fn exchange(&mut self, prepared: Prepared) -> Vec<String> {
        let Prepared { in_force, permissive, bound, offered, own, .. } = prepared;
        for (listener, terms) in in_force.iter().zip(permissive) {
            listener.permit_plaintext(terms);
        }
        self.offer.replace(offered);
        self.own.send_replace(own);
        for of in bound {
            // An acceptor that is gone accepts nothing: the process ends.
            drop(self.to_acceptor.send(of).await);
        }
        let gone: Vec<_> = std::mem::replace(&mut self.in_force, in_force)
            .into_iter()
            .filter(|old| !self.in_force.iter().any(|new| Arc::ptr_eq(old, new)))
            .collect();
        for old in &gone {
            if self.in_force.iter().any(|new| new.bind == old.bind) {
                old.hand_on();
            }
            old.drain();
        }
        // Whoever is told of the reload may bind what is free now; only an acceptor that is stuck holds it longer.
        for listener in &gone {
            drop(tokio::time::timeout(CLOSE_TIMEOUT, listener.closed()).await);
        }
        self.leaving.retain(|listener| listener.open.load(Ordering::Relaxed) > 0);
        let is_there =
            |old: &Listener| self.in_force.iter().any(|new| new.name == old.name && new.bind == old.bind);
        let left = gone.iter().filter(|old| !is_there(old)).map(|old| old.name.to_string()).collect();
        self.leaving.extend(gone);
        left
    }

    /// Says to all that another process goes on with their ports.
    pub(super) fn hand_on(&self) {
        self.in_force.iter().for_each(|listener| listener.hand_on());
    }

    /// Leaves the Unix sockets where they are when they are closed here: somebody keeps them open.
    pub(super) fn leave(&self) {
        self.in_force.iter().for_each(|listener| listener.leave());
    }

    /// Asks those of one way to finish.
    pub(super) fn drain(&self, direction: Direction) {
        self.of(direction).for_each(|listener| listener.drain());
    }

    pub(super) fn of(&self, direction: Direction) -> impl Iterator<Item = &Arc<Listener>> {
        let all = self.in_force.iter().chain(&self.leaving);
        all.filter(move |listener| listener.callers.direction() == direction)
    }
}

/// Where this sidecar itself listens.
pub(super) fn own(config: &Config) -> Arc<[SocketAddr]> {
    let status = match config.status {
        StatusConfig::Closed => None,
        StatusConfig::Open { address } => Some(address),
    };
    config.listeners.iter().filter_map(|listener| listener.bind.address()).chain(status).collect()
}
