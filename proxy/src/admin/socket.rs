//! The admin socket itself: a Unix socket for its owner alone. The kernel says who calls.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use thiserror::Error;
use tokio::net::{UnixListener, UnixSocket, UnixStream};

/// Longest path of a Unix socket that Linux takes, in bytes.
const PATH_BYTES_MAX: usize = 107;
/// Connections that may wait to be accepted.
const BACKLOG: u32 = 16;

/// Why the admin socket cannot be opened.
#[derive(Debug, Error)]
pub enum AdminError {
    /// The kernel's limit.
    #[error("`{}` is too long for a socket: at most {PATH_BYTES_MAX} bytes are possible", path.display())]
    TooLong {
        /// As configured.
        path: PathBuf,
    },
    /// Something answers there.
    #[error("another process already serves `{}`: stop it, or choose another path", path.display())]
    InUse {
        /// As configured.
        path: PathBuf,
    },
    /// A file or folder that is none of ours to remove.
    #[error("`{}` exists and is no socket: move it away, or choose another path", path.display())]
    NotASocket {
        /// As configured.
        path: PathBuf,
    },
    /// Others could open it.
    #[error("`{}` could be opened by others (mode {mode:o}): use a file system that keeps modes", path.display())]
    Exposed {
        /// As configured.
        path: PathBuf,
        /// What the file system made of it.
        mode: u32,
    },
    /// The system refused, as for a folder that is not there.
    #[error("the socket `{}` cannot be made: {cause}", path.display())]
    Io {
        /// As configured.
        path: PathBuf,
        /// The system's own words.
        cause: io::Error,
    },
}

/// The bound socket. Its file goes when this is dropped.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
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
    /// [`AdminError`]; nothing is left behind then.
    pub async fn bind(path: &Path) -> Result<Self, AdminError> {
        if path.as_os_str().len() > PATH_BYTES_MAX {
            return Err(AdminError::TooLong { path: path.to_owned() });
        }
        let io = |cause| AdminError::Io { path: path.to_owned(), cause };
        clear_stale(path).await?;
        let socket = UnixSocket::new_stream().map_err(io)?;
        // Linux gives the file the mode of the unbound socket: no moment in which others could connect.
        rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR).map_err(|errno| io(errno.into()))?;
        socket.bind(path).map_err(io)?;
        let metadata = fs::symlink_metadata(path).map_err(io)?;
        let file = SocketFile { path: path.to_owned(), device: metadata.dev(), inode: metadata.ino() };
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(AdminError::Exposed { path: path.to_owned(), mode });
        }
        let listener = socket.listen(BACKLOG).map_err(io)?;
        Ok(Self { listener, _file: file })
    }

    /// The next connection, and who it is from.
    pub(super) async fn accept(&self) -> io::Result<(UnixStream, Caller)> {
        let (stream, _) = self.listener.accept().await?;
        let uid = stream.peer_cred()?.uid();
        let trusted = uid == 0 || uid == rustix::process::geteuid().as_raw();
        Ok((stream, if trusted { Caller::Trusted } else { Caller::Stranger { uid } }))
    }
}

/// Removes what a process that is gone left behind, and only that.
async fn clear_stale(path: &Path) -> Result<(), AdminError> {
    let io = |cause| AdminError::Io { path: path.to_owned(), cause };
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io(error)),
    };
    if !metadata.file_type().is_socket() {
        return Err(AdminError::NotASocket { path: path.to_owned() });
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(io),
        // A full backlog is somebody's.
        Ok(_) => Err(AdminError::InUse { path: path.to_owned() }),
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            Err(AdminError::InUse { path: path.to_owned() })
        }
        Err(error) => Err(io(error)),
    }
}

/// The file of a socket that we bound.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A successor may have put its own in place meanwhile.
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == (self.device, self.inode));
        if ours {
            fs::remove_file(&self.path).unwrap_or_default();
        }
    }
}
