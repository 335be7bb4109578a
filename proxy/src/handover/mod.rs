//! Listening sockets that outlive a process: handed from the one that goes to the one that comes, over the admin
//! socket or by way of systemd.
//!
//! The socket itself is handed over, not its address. A second socket on the same address, by `SO_REUSEPORT`, has a
//! queue of its own, and closing the first one resets whoever waits in its queue.
mod adopted;
mod predecessor;
mod rights;
mod successor;
pub mod systemd;

pub(crate) use predecessor::serve as hand_over;
pub(crate) use successor::PROTOCOL;
pub use successor::{Predecessor, TakeOverError, take_over};

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

/// Sockets that one process hands to another; more are refused.
const SOCKETS_MAX: usize = 64;

/// Sockets that this process was given and did not bind.
#[derive(Debug, Default)]
pub struct Inherited(Vec<TcpListener>);

impl Inherited {
    /// Takes what listens on a TCP address. Anything else that was given is no use to us, and is closed.
    pub(crate) fn new(given: impl IntoIterator<Item = OwnedFd>) -> Self {
        Self(given.into_iter().filter_map(adopted::listener).collect())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The socket that listens on `address`. The address decides and not the name: a listener that was renamed still
    /// has its callers, and one that moved must not get those of its old place.
    pub fn take(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let is_it = |socket: &TcpListener| socket.local_addr().is_ok_and(|bound| bound == address);
        let at = self.0.iter().position(is_it)?;
        Some(self.0.swap_remove(at))
    }
}

/// One listening socket, and whose it is.
#[derive(Debug)]
pub struct Offered {
    /// The listener's name, or `status`.
    pub name: String,
    /// A second descriptor of the same socket.
    pub socket: OwnedFd,
}

impl Offered {
    /// Of a socket that stays in use.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub fn of(name: &str, socket: &TcpListener) -> std::io::Result<Self> {
        Ok(Self { name: name.to_owned(), socket: socket.as_fd().try_clone_to_owned()? })
    }
}

/// What this process listens on, for whoever comes after it. Withdrawn where it drains: a descriptor that is left open
/// would keep callers waiting whom nobody accepts.
#[derive(Clone, Debug, Default)]
pub struct Offer(Arc<Mutex<Option<Vec<Offered>>>>);

impl Offer {
    /// Offers these.
    pub fn new(offered: Vec<Offered>) -> Self {
        Self(Arc::new(Mutex::new(Some(offered))))
    }

    /// Offers these in place of what was offered.
    pub fn replace(&self, offered: Vec<Offered>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(offered);
    }

    /// Takes the offer back.
    pub fn withdraw(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Second descriptors of all that is offered, with their names; there may be none, where all listeners are Unix
    /// sockets.
    ///
    /// # Errors
    /// The offer was withdrawn, or there are no descriptors left.
    pub fn copies(&self) -> std::io::Result<Vec<Offered>> {
        let offered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let offered = offered.as_ref().ok_or_else(|| std::io::Error::other("this process drains"))?;
        let copy = |of: &Offered| {
            Ok(Offered { name: of.name.clone(), socket: of.socket.as_fd().try_clone_to_owned()? })
        };
        offered.iter().map(copy).collect()
    }
}
