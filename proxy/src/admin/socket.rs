//! The admin socket itself: a Unix socket for its owner alone. The kernel says who calls.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use thiserror::Error;
use tokio::net::UnixStream;

/// Longest path of a Unix socket that Linux takes, in bytes.
const PATH_BYTES_MAX: usize = 107;
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 16;

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

/// The bound socket, before it is served. Its file goes when this, or what serves it, is dropped.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    file: SocketFile,
}

/// An admin socket that waits to take the place of another.
#[derive(Debug)]
pub struct Succession {
    waiting: PathBuf,
    path: PathBuf,
}

impl Succession {
    /// Takes the place, in one step: there is no moment in which nobody answers.
    ///
    /// # Errors
    /// As the file system says.
    pub fn take_place(self) -> io::Result<()> {
        fs::rename(&self.waiting, &self.path)
    }
}

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
    /// [`AdminError`]; nothing is left behind then.
    pub fn bind(path: &Path) -> Result<Self, AdminError> {
        if path.as_os_str().len() > PATH_BYTES_MAX {
            return Err(AdminError::TooLong { path: path.to_owned() });
        }
        let address = SocketAddrUnix::new(path)
            .map_err(|errno| AdminError::Io { path: path.to_owned(), cause: errno.into() })?;
        clear_stale(path, &address)?;
        Self::bind_at(path, &address)
    }

    /// Binds a socket that is to take the place of one that another process serves until then.
    ///
    /// # Errors
    /// As [`AdminSocket::bind`].
    pub fn bind_successor(path: &Path) -> Result<(Self, Succession), AdminError> {
        let mut name = path.as_os_str().to_owned();
        // One byte more, because the kernel's limit is short.
        name.push("~");
        let waiting = PathBuf::from(name);
        let mut socket = Self::bind(&waiting)?;
        socket.file.successor_of = Some(path.to_owned());
        Ok((socket, Succession { waiting, path: path.to_owned() }))
    }

    fn bind_at(path: &Path, address: &SocketAddrUnix) -> Result<Self, AdminError> {
        let io = |cause: io::Error| AdminError::Io { path: path.to_owned(), cause };
        let system = |errno: Errno| io(errno.into());
        let socket = stream_socket().map_err(system)?;
        // Linux gives the file the mode of the unbound socket: no moment in which others could connect.
        rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR).map_err(system)?;
        rustix::net::bind(&socket, address).map_err(system)?;
        let metadata = fs::symlink_metadata(path).map_err(io)?;
        let (device, inode) = (metadata.dev(), metadata.ino());
        let file = SocketFile { path: path.to_owned(), successor_of: None, device, inode };
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(AdminError::Exposed { path: path.to_owned(), mode });
        }
        rustix::net::listen(&socket, BACKLOG).map_err(system)?;
        Ok(Self { listener: UnixListener::from(socket), file })
    }

    /// Ready to accept. Must be called within a runtime.
    pub(super) fn serve(self) -> io::Result<AdminListener> {
        let listener = tokio::net::UnixListener::from_std(self.listener)?;
        Ok(AdminListener { listener, _file: self.file })
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

fn stream_socket() -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

/// Removes what a process that is gone left behind, and only that.
fn clear_stale(path: &Path, address: &SocketAddrUnix) -> Result<(), AdminError> {
    let io = |cause: io::Error| AdminError::Io { path: path.to_owned(), cause };
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io(error)),
    };
    if !metadata.file_type().is_socket() {
        return Err(AdminError::NotASocket { path: path.to_owned() });
    }
    let knock = stream_socket().and_then(|socket| rustix::net::connect(&socket, address));
    match knock {
        Err(Errno::CONNREFUSED) => fs::remove_file(path).map_err(io),
        // A full backlog is somebody's.
        Ok(()) | Err(Errno::AGAIN) => Err(AdminError::InUse { path: path.to_owned() }),
        Err(errno) => Err(io(errno.into())),
    }
}

/// The file of a socket that we bound.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    /// Where it comes to be when its process takes over.
    successor_of: Option<PathBuf>,
    device: u64,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A successor may have put its own in place meanwhile.
        for path in std::iter::once(&self.path).chain(&self.successor_of) {
            let ours = fs::symlink_metadata(path)
                .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == (self.device, self.inode));
            if ours {
                fs::remove_file(path).unwrap_or_default();
            }
        }
    }
}
