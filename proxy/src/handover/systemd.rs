//! What a service manager passes and wants to hear: sd_listen_fds(3), sd_notify(3) and its descriptor store.
//!
//! Both are a few variables and one datagram; nothing here needs libsystemd, and without a manager nothing happens.
use super::{Inherited, Offer, Offered, SOCKETS_MAX, adopted};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType,
};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// What was passed that cannot be meant.
#[derive(Debug, thiserror::Error)]
pub enum ManagerError {
    /// Not a number, or more than a sidecar can listen on.
    #[error("`LISTEN_FDS` is `{0}`, and must be a number up to {SOCKETS_MAX}")]
    Count(String),
    /// The socket of the manager cannot be used.
    #[error("`NOTIFY_SOCKET` cannot be used: {0}")]
    Notify(io::Error),
}

/// The sockets that a service manager left open for this process: those of a `.socket` unit, and those that the
/// process before this one stored. To be called once, before any thread is made.
///
/// # Errors
/// [`ManagerError::Count`].
pub fn listen_fds() -> Result<Inherited, ManagerError> {
    let Some(text) = passed("LISTEN_FDS") else { return Ok(Inherited::default()) };
    let count = text.parse::<usize>().ok().filter(|count| *count <= SOCKETS_MAX);
    let count = count.ok_or(ManagerError::Count(text))?;
    Ok(Inherited::new(adopted::descriptors(count)))
}

/// A variable about what was passed to this process. One that was inherited from a parent is meant for that parent.
fn passed(name: &str) -> Option<String> {
    let is_ours = std::env::var("LISTEN_PID").is_ok_and(|pid| pid == std::process::id().to_string());
    std::env::var(name).ok().filter(|_| is_ours)
}

/// The way to the service manager; without one, everything that it is told is told nobody.
#[derive(Debug, Default)]
pub struct Manager {
    way: Option<(OwnedFd, SocketAddrUnix)>,
    /// The names of the sockets that it passed.
    passed: Vec<String>,
}

impl Manager {
    /// As the environment says.
    ///
    /// # Errors
    /// [`ManagerError::Notify`].
    pub fn from_environment() -> Result<Self, ManagerError> {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(Self::default()) };
        let failed = |error: rustix::io::Errno| ManagerError::Notify(error.into());
        let address = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddrUnix::new_abstract_name(name),
            path => SocketAddrUnix::new(path),
        };
        let flags = SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None);
        let names = passed("LISTEN_FDNAMES").unwrap_or_default();
        Ok(Self {
            way: Some((socket.map_err(failed)?, address.map_err(failed)?)),
            passed: names
                .split(':')
                .filter(|name| !name.is_empty())
                .take(SOCKETS_MAX)
                .map(str::to_owned)
                .collect(),
        })
    }

    /// This process serves. What it listens on is kept for the one after it, and nothing else any more: at the place of a
    /// listener that has moved or gone since the process before, callers would wait for nobody.
    pub fn ready(&self, offer: &Offer) {
        self.passed.iter().for_each(|name| self.forget(name));
        self.keep(offer);
        self.tell("READY=1\nSTATUS=ready", None);
    }

    /// A listener has left its place: callers must not wait there.
    pub fn forget(&self, name: &str) {
        self.tell(&format!("FDSTOREREMOVE=1\nFDNAME={name}"), None);
    }

    /// Has what this process listens on kept. What is kept already is not kept twice.
    pub fn keep(&self, offer: &Offer) {
        if let Err(error) = self.store(offer) {
            tracing::warn!(%error, "the listening sockets could not be stored");
        }
    }

    fn store(&self, offer: &Offer) -> io::Result<()> {
        let store =
            |of: &Offered| self.tell(&format!("FDSTORE=1\nFDNAME={}", of.name), Some(of.socket.as_fd()));
        for of in offer.local_copies()? {
            // A reload makes another socket, and nobody comes to the one before any more. Ports follow, because one may
            // have the same name.
            self.forget(&of.name);
            store(&of);
        }
        offer.copies()?.iter().for_each(store);
        Ok(())
    }

    /// Whether anybody is told anything.
    pub fn is_there(&self) -> bool {
        self.way.is_some()
    }

    /// It reads its configuration again; [`Manager::reloaded`] ends that.
    pub fn reloading(&self) {
        let micros = crate::clock::kernel_monotonic_us();
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"), None);
    }

    /// The end of a reload: a sentence on how it went.
    pub fn reloaded(&self, how: &str) {
        // A line break would begin another variable.
        let line = how.lines().next().unwrap_or_default();
        self.tell(&format!("READY=1\nSTATUS={line}"), None);
    }

    /// It drains.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=draining", None);
    }

    /// It lives.
    pub fn alive(&self) {
        self.tell("WATCHDOG=1", None);
    }

    fn tell(&self, text: &str, descriptor: Option<BorrowedFd<'_>>) {
        let Some((socket, address)) = &self.way else { return };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptors: Vec<_> = descriptor.into_iter().collect();
        if !descriptors.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(&descriptors));
        }
        let slices = [IoSlice::new(text.as_bytes())];
        let sent = rustix::net::sendmsg_addr(socket, address, &slices, &mut control, SendFlags::NOSIGNAL);
        if let Err(error) = sent {
            tracing::warn!(%error, "the service manager could not be told `{}`", text.replace('\n', " "));
        }
    }
}

/// How often the manager wants to hear that this process lives: half of what it waits for. `None` where it does not
/// watch.
pub fn watchdog_interval() -> Option<Duration> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    let micros = number("WATCHDOG_USEC").filter(|micros| *micros > 0 && is_ours)?;
    Some(Duration::from_micros(micros / 2).max(Duration::from_millis(1)))
}
