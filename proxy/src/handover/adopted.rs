//! Descriptors that were there before this process began, and what they are.
#![expect(
    unsafe_code,
    reason = "a number from the environment becomes an owned descriptor here and nowhere else"
)]

use rustix::io::FdFlags;
use rustix::net::{AddressFamily, SocketType, sockopt};
use std::net::TcpListener;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;

/// The first descriptor that a service manager passes.
const FIRST: i32 = 3;

/// The descriptors `3..3 + count`, which a service manager left open for this process. To be called once, before
/// anything else of this process could have opened a descriptor of such a number.
pub(super) fn descriptors(count: usize) -> Vec<OwnedFd> {
    let mut owned = Vec::new();
    for number in (FIRST..).take(count) {
        // SAFETY: the manager says by `LISTEN_PID` and `LISTEN_FDS` that these are open and ours, nobody else in this
        // process knows of them, and the caller calls once.
        let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
        match rustix::io::fcntl_setfd(&descriptor, FdFlags::CLOEXEC) {
            Ok(()) => owned.push(descriptor),
            // Not open, whatever the manager said: closing it could close what another thread opens now.
            Err(_) => std::mem::forget(descriptor),
        }
    }
    owned
}

/// A socket that was given.
pub(super) enum Given {
    /// It accepts TCP connections.
    Port(TcpListener),
    /// It accepts connections to a Unix socket.
    Local(UnixListener),
}

/// The socket as one that accepts connections, if it does.
pub(super) fn listener(descriptor: OwnedFd) -> Option<Given> {
    let is_stream = sockopt::socket_type(&descriptor).ok()? == SocketType::STREAM;
    if !is_stream || !sockopt::socket_acceptconn(&descriptor).ok()? {
        return None;
    }
    match sockopt::socket_domain(&descriptor).ok()? {
        AddressFamily::INET | AddressFamily::INET6 => {
            let socket = TcpListener::from(descriptor);
            socket.set_nonblocking(true).ok()?;
            Some(Given::Port(socket))
        }
        AddressFamily::UNIX => Some(Given::Local(UnixListener::from(descriptor))),
        _ => None,
    }
}
