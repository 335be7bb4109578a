//! The admin socket itself: a Unix socket for its owner alone. The kernel says who calls.

use std::io;
use std::path::Path;

use crate::local_socket::{LocalSocket, OWNER_ALONE, SocketError, SocketFile, Succession};
use tokio::net::UnixStream;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 16;

/// The bound socket, before it is served. Its file goes when this, or what serves it, is dropped.
#[derive(Debug)]
pub struct AdminSocket(LocalSocket);

/// The socket as it is served.
#[derive(Debug)]
pub(super) struct AdminListener {
    listener: tokio::net::UnixListener,
    _file: SocketFile,
}

/// Who connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// Root, or the user that runs the sidecar.
    Trusted,
    /// Somebody else, whom the mode of the socket should have kept out.
    Stranger {
        /// The kernel's word for it.
        uid: u32,
    },
}

impl AdminSocket {
    /// Binds the socket, for its owner only from the first moment on. A socket that nobody serves any more
    /// is replaced. `path` has at most 107 bytes.
    ///
    /// # Errors
    /// [`SocketError`]; nothing is left behind then.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        LocalSocket::bind(path, OWNER_ALONE, BACKLOG).map(Self)
    }

    /// Binds a socket that is to take the place of the one that the process `of` serves until then.
    ///
    /// # Errors
    /// As [`AdminSocket::bind`].
    pub fn bind_successor(path: &Path, of: Option<u32>) -> Result<(Self, Succession), SocketError> {
        let (socket, succession) = LocalSocket::bind_successor((path, of), OWNER_ALONE, BACKLOG)?;
        Ok((Self(socket), succession))
    }

    /// Ready to accept. Must be called within a runtime.
    pub(super) fn serve(self) -> io::Result<AdminListener> {
        let listener = tokio::net::UnixListener::from_std(self.0.listener)?;
        Ok(AdminListener { listener, _file: self.0.file })
    }
}

impl AdminListener {
    /// The next connection, and who it is from.
    pub(super) async fn accept(&self) -> io::Result<(UnixStream, Caller)> {
        let (stream, _) = self.listener.accept().await?;
        let uid = stream.peer_cred()?.uid();
        let trusted = uid == 0 || uid == rustix::process::geteuid().as_raw();
        Ok((stream, if trusted { Caller::Trusted } else { Caller::Stranger { uid } }))
    }
}
