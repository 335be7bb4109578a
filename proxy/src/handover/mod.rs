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

use crate::local_socket::waiting_place;
use adopted::Given;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Sockets that one process hands to another; more are refused.
const SOCKETS_MAX: usize = 64;

/// Sockets that this process was given and did not bind.
#[derive(Debug, Default)]
pub struct Inherited {
    ports: Vec<TcpListener>,
    local: Vec<UnixListener>,
}

impl Inherited {
    /// Takes what listens. Anything else that was given is no use to us, and is closed.
    pub(crate) fn new(given: impl IntoIterator<Item = OwnedFd>) -> Self {
        let mut inherited = Self::default();
        for socket in given.into_iter().filter_map(adopted::listener) {
            match socket {
                Given::Port(socket) => inherited.ports.push(socket),
                Given::Local(socket) => inherited.local.push(socket),
            }
        }
        inherited
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ports.len() + self.local.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The socket that listens on `address`. The address decides and not the name: a listener that was renamed still
    /// has its callers, and one that moved must not get those of its old place.
    pub fn take(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let is_it = |socket: &TcpListener| socket.local_addr().is_ok_and(|bound| bound == address);
        let at = self.ports.iter().position(is_it)?;
        Some(self.ports.swap_remove(at))
    }

    /// The Unix socket that was bound for that place. Whether it still has it is another question.
    pub fn take_local(&mut self, path: &Path) -> Option<UnixListener> {
        let waited = waiting_place(path);
        let is_it = |socket: &UnixListener| {
            let bound = socket.local_addr();
            bound.is_ok_and(|bound| bound.as_pathname().is_some_and(|bound| bound == path || bound == waited))
        };
        let at = self.local.iter().position(is_it)?;
        Some(self.local.swap_remove(at))
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
    pub fn of(name: &str, socket: &impl AsFd) -> std::io::Result<Self> {
        Ok(Self { name: name.to_owned(), socket: socket.as_fd().try_clone_to_owned()? })
    }
}

/// What this process listens on, for whoever comes after it. Withdrawn where it drains: a descriptor that is left open
/// would keep callers waiting whom nobody accepts.
#[derive(Clone, Debug, Default)]
pub struct Offer(Arc<Mutex<Option<Offers>>>);

/// Second descriptors of listening sockets.
#[derive(Debug, Default)]
pub struct Offers {
    /// Ports, for whoever comes after this process, whether it goes or is replaced.
    pub ports: Vec<Offered>,
    /// Unix sockets, which are kept over a restart alone: a process that replaces another makes its own.
    pub local: Vec<Offered>,
}

impl Offer {
    /// Offers these.
    pub fn new(offered: Offers) -> Self {
        Self(Arc::new(Mutex::new(Some(offered))))
    }

    /// Offers these in place of what was offered.
    pub fn replace(&self, offered: Offers) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(offered);
    }

    /// Takes the offer back.
    pub fn withdraw(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Second descriptors of all ports that are offered, with their names; there may be none, where all listeners are Unix
    /// sockets.
    ///
    /// # Errors
    /// The offer was withdrawn, or there are no descriptors left.
    pub fn copies(&self) -> std::io::Result<Vec<Offered>> {
        self.of(|offers| &offers.ports)
    }

    /// The same of Unix sockets.
    ///
    /// # Errors
    /// As of [`Offer::copies`].
    pub fn local_copies(&self) -> std::io::Result<Vec<Offered>> {
        self.of(|offers| &offers.local)
    }

    fn of(&self, which: impl Fn(&Offers) -> &Vec<Offered>) -> std::io::Result<Vec<Offered>> {
        let offers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let offers = offers.as_ref().ok_or_else(|| std::io::Error::other("this process drains"))?;
        which(offers).iter().map(|of| Offered::of(&of.name, &of.socket)).collect()
    }
}
