//! Unix sockets that this sidecar binds: with the mode that is meant from the first moment on, in place of a dead one of
//! ours and of nothing else, and gone when it is served no more.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use thiserror::Error;

/// Longest path of a Unix socket that Linux takes, in bytes.
const PATH_BYTES_MAX: usize = 107;
/// The mode of what nobody else may open.
pub const OWNER_ALONE: u32 = 0o600;

/// Why a socket cannot be opened.
#[derive(Debug, Error)]
pub enum SocketError {
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
    /// Somebody else's socket, though nobody serves it.
    #[error("`{}` was made by the user {uid}: move it away, or choose another path", path.display())]
    NotOurs {
        /// As configured.
        path: PathBuf,
        /// Whose it is.
        uid: u32,
    },
    /// More could open it than should.
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

/// A bound socket that is listened to, before it is served. Its file goes when the last part of it is dropped.
#[derive(Debug)]
pub struct LocalSocket {
    /// The socket. It does not block.
    pub listener: UnixListener,
    /// What removes its file.
    pub file: SocketFile,
}

impl LocalSocket {
    /// Binds the socket for those whom `mode` lets in. A socket of ours that nobody serves any more is replaced.
    /// `path` has at most 107 bytes; `backlog` connections may wait to be accepted.
    ///
    /// # Errors
    /// [`SocketError`]; nothing is left behind then.
    pub fn bind(path: &Path, mode: u32, backlog: i32) -> Result<Self, SocketError> {
        if path.as_os_str().len() > PATH_BYTES_MAX {
            return Err(SocketError::TooLong { path: path.to_owned() });
        }
        let io = |cause: io::Error| SocketError::Io { path: path.to_owned(), cause };
        let system = |errno: Errno| io(errno.into());
        let address = SocketAddrUnix::new(path).map_err(system)?;
        clear_stale(path, &address)?;
        let socket = stream_socket().map_err(system)?;
        // Linux gives the file the mode of the unbound socket: no moment in which others could connect.
        rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR).map_err(system)?;
        rustix::net::bind(&socket, &address).map_err(system)?;
        let metadata = fs::symlink_metadata(path).map_err(io)?;
        let file = SocketFile { path: path.to_owned(), device: metadata.dev(), inode: metadata.ino() };
        if mode != OWNER_ALONE {
            file.widen(mode).map_err(io)?;
        }
        let made = fs::symlink_metadata(path).map_err(io)?.permissions().mode() & 0o777;
        if made & !mode != 0 {
            return Err(SocketError::Exposed { path: path.to_owned(), mode: made });
        }
        rustix::net::listen(&socket, backlog).map_err(system)?;
        Ok(Self { listener: UnixListener::from(socket), file })
    }
}

fn stream_socket() -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

/// Removes what a process that is gone left behind, and only that.
fn clear_stale(path: &Path, address: &SocketAddrUnix) -> Result<(), SocketError> {
    let io = |cause: io::Error| SocketError::Io { path: path.to_owned(), cause };
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io(error)),
    };
    if !metadata.file_type().is_socket() {
        return Err(SocketError::NotASocket { path: path.to_owned() });
    }
    let uid = metadata.uid();
    if uid != rustix::process::geteuid().as_raw() {
        return Err(SocketError::NotOurs { path: path.to_owned(), uid });
    }
    let knock = stream_socket().and_then(|socket| rustix::net::connect(&socket, address));
    match knock {
        Err(Errno::CONNREFUSED) => fs::remove_file(path).map_err(io),
        // A full backlog is somebody's.
        Ok(()) | Err(Errno::AGAIN) => Err(SocketError::InUse { path: path.to_owned() }),
        Err(errno) => Err(io(errno.into())),
    }
}

/// The file of a socket that we bound.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    /// Lets in whom `mode` says, whatever the umask. What else may stand under the path by now is not touched: a name that
    /// leads elsewhere is not followed, and another file is refused.
    fn widen(&self, mode: u32) -> io::Result<()> {
        let held =
            rustix::fs::open(&self.path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        let held = fs::File::from(held);
        let metadata = held.metadata()?;
        if (metadata.dev(), metadata.ino()) != (self.device, self.inode) {
            return Err(io::Error::other("another file stands in its place"));
        }
        let through = format!("/proc/self/fd/{}", held.as_raw_fd());
        fs::set_permissions(through, fs::Permissions::from_mode(mode))
    }
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
