//! Unix sockets that this sidecar binds: with the mode that is meant from the first moment on, in place of a dead one of
//! ours and of nothing else, and gone when it is served no more.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
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
        let system = |errno: Errno| SocketError::Io { path: path.to_owned(), cause: errno.into() };
        let address = SocketAddrUnix::new(path).map_err(system)?;
        clear_stale(path, &address)?;
        Self::bind_at((path, &address), mode, backlog)
    }

    /// Goes on with the socket of a process that is gone, if it is the one to which callers of `path` come: those who wait
    /// in it are served. From now on `mode` says who is let in, and the kernel names this process as the one that listens.
    ///
    /// `None` where anything else stands at `path`, or nothing: nobody comes to that socket any more.
    #[must_use]
    pub fn adopt(listener: UnixListener, path: &Path, mode: u32, backlog: i32) -> Option<Self> {
        let address = SocketAddrUnix::new(path).ok()?;
        is_ours(path, socket_of(path).ok()??).ok()?;
        let metadata = fs::symlink_metadata(path).ok()?;
        if !leads_to(&address, &listener) {
            return None;
        }
        let mut file = SocketFile {
            path: path.to_owned(),
            successor_of: None,
            stays: true,
            device: metadata.dev(),
            inode: metadata.ino(),
        };
        file.widen(mode).ok()?;
        listener.set_nonblocking(true).ok()?;
        rustix::net::listen(&listener, backlog).ok()?;
        file.stays = false;
        Some(Self { listener, file })
    }

    /// Binds a socket that is to take the place of the one that the process `of` serves until then. What stands there
    /// otherwise is treated as by [`LocalSocket::bind`]. `path` has at most 106 bytes.
    ///
    /// # Errors
    /// [`SocketError`]; nothing has changed then.
    pub fn bind_successor(
        (path, of): (&Path, Option<u32>),
        mode: u32,
        backlog: i32,
    ) -> Result<(Self, Succession), SocketError> {
        may_be_replaced(path, of)?;
        let waiting = waiting_place(path);
        let mut socket = Self::bind(&waiting, mode, backlog)?;
        socket.file.successor_of = Some(path.to_owned());
        Ok((socket, Succession { waiting, path: path.to_owned() }))
    }

    fn bind_at(
        (path, address): (&Path, &SocketAddrUnix),
        mode: u32,
        backlog: i32,
    ) -> Result<Self, SocketError> {
        let io = |cause: io::Error| SocketError::Io { path: path.to_owned(), cause };
        let system = |errno: Errno| io(errno.into());
        let socket = stream_socket().map_err(system)?;
        // Linux gives the file the mode of the unbound socket: no moment in which others could connect.
        rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR).map_err(system)?;
        rustix::net::bind(&socket, address).map_err(system)?;
        let metadata = fs::symlink_metadata(path).map_err(io)?;
        let file = SocketFile {
            path: path.to_owned(),
            successor_of: None,
            stays: false,
            device: metadata.dev(),
            inode: metadata.ino(),
        };
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

/// Where a socket waits to take that place, and by which name the kernel knows it ever after.
pub(crate) fn waiting_place(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    // One byte more, because the kernel's limit is short.
    name.push("~");
    PathBuf::from(name)
}

/// Whether callers of this address come to that socket: to the process that listened when it was made. Where so many wait
/// already that there is no place for one who asks, somebody is certainly meant, and it is not for us to end their waiting.
fn leads_to(address: &SocketAddrUnix, listener: &UnixListener) -> bool {
    let Ok(knocking) = stream_socket() else { return false };
    match rustix::net::connect(&knocking, address) {
        Ok(()) => peer(&knocking).is_some_and(|pid| peer(listener) == Some(pid)),
        Err(errno) => errno == Errno::AGAIN,
    }
}

/// A socket that waits to take the place of another.
#[derive(Debug)]
#[must_use]
pub struct Succession {
    waiting: PathBuf,
    path: PathBuf,
}

impl Succession {
    /// Whether it is still there.
    ///
    /// # Errors
    /// As the file system says.
    pub fn is_possible(&self) -> Result<(), SocketError> {
        let failed = |cause| SocketError::Io { path: self.waiting.clone(), cause };
        fs::symlink_metadata(&self.waiting).map(drop).map_err(failed)
    }

    /// Takes the place, in one step: there is no moment in which nobody answers.
    ///
    /// # Errors
    /// As the file system says.
    pub fn take_place(self) -> Result<(), SocketError> {
        let Self { waiting, path } = self;
        fs::rename(&waiting, &path).map_err(|cause| SocketError::Io { path, cause })
    }
}

fn stream_socket() -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

/// Refuses a path whose place a socket of ours must not take: the process `of` may serve it, as whatever user, or nobody
/// any more and it was ours.
fn may_be_replaced(path: &Path, of: Option<u32>) -> Result<(), SocketError> {
    let system = |errno: Errno| SocketError::Io { path: path.to_owned(), cause: errno.into() };
    let Some(uid) = socket_of(path)? else { return Ok(()) };
    let address = SocketAddrUnix::new(path).map_err(system)?;
    let socket = stream_socket().map_err(system)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) if of.is_some() && peer(&socket) == of => Ok(()),
        // A full backlog is somebody's.
        Ok(()) | Err(Errno::AGAIN) => Err(SocketError::InUse { path: path.to_owned() }),
        Err(Errno::CONNREFUSED) => is_ours(path, uid),
        Err(errno) => Err(system(errno)),
    }
}

/// The process at the other end of a connected socket, as the kernel saw it when it listened or connected.
pub(crate) fn peer(socket: &impl AsFd) -> Option<u32> {
    let pid = rustix::net::sockopt::socket_peercred(socket).ok()?.pid;
    u32::try_from(pid.as_raw_nonzero().get()).ok()
}

/// Whose socket is there, if there is one. Another file is an error.
fn socket_of(path: &Path) -> Result<Option<u32>, SocketError> {
    let io = |cause: io::Error| SocketError::Io { path: path.to_owned(), cause };
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    if !metadata.file_type().is_socket() {
        return Err(SocketError::NotASocket { path: path.to_owned() });
    }
    Ok(Some(metadata.uid()))
}

fn is_ours(path: &Path, uid: u32) -> Result<(), SocketError> {
    if uid == rustix::process::geteuid().as_raw() {
        Ok(())
    } else {
        Err(SocketError::NotOurs { path: path.to_owned(), uid })
    }
}

/// Removes what a process that is gone left behind, and only that.
fn clear_stale(path: &Path, address: &SocketAddrUnix) -> Result<(), SocketError> {
    let io = |cause: io::Error| SocketError::Io { path: path.to_owned(), cause };
    let Some(uid) = socket_of(path)? else { return Ok(()) };
    is_ours(path, uid)?;
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
    /// Where it comes to be when it takes the place of another.
    successor_of: Option<PathBuf>,
    /// Whether it outlives us.
    stays: bool,
    device: u64,
    inode: u64,
}

impl SocketFile {
    /// Leaves the file where it is: somebody keeps the socket, and callers wait in it.
    pub fn leave(mut self) {
        self.stays = true;
    }

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
        if self.stays {
            return;
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    /// What stands at a path for which a successor is bound.
    #[derive(Clone, Copy, Debug)]
    enum Stands {
        Nothing,
        File,
        /// A socket that nobody serves, of this user or another.
        Dead,
        DeadOfAnother,
        /// A socket that this process serves.
        Served,
    }

    /// Binds a successor of what the process `of` serves; `refused` is what the error says, empty where it is taken.
    fn check(stands: Stands, of: Option<u32>, refused: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let before = match stands {
            Stands::Nothing => None,
            Stands::File => fs::write(&path, "").map(|()| None).unwrap(),
            Stands::Dead | Stands::DeadOfAnother => UnixListener::bind(&path).map(|_| None).unwrap(),
            Stands::Served => Some(LocalSocket::bind(&path, OWNER_ALONE, 1).unwrap()),
        };
        if let Stands::DeadOfAnother = stands {
            std::os::unix::fs::chown(&path, Some(4711), None).unwrap();
        }
        let names = || fs::read_dir(folder.path()).unwrap().count();
        let there = names();
        match LocalSocket::bind_successor((&path, of), OWNER_ALONE, 1) {
            Err(error) => {
                assert!(!refused.is_empty() && error.to_string().contains(refused), "{stands:?}: {error}");
                assert_eq!(names(), there, "nothing has changed");
            }
            Ok((unused, _)) => {
                assert!(refused.is_empty(), "{stands:?}");
                drop(unused);
                assert_eq!(names(), there, "one that never takes the place leaves nothing");
                let (socket, succession) = LocalSocket::bind_successor((&path, of), OWNER_ALONE, 1).unwrap();
                succession.take_place().unwrap();
                drop(before);
                assert_eq!(names(), 1, "{stands:?}: whoever goes leaves the file of its successor");
                drop(UnixStream::connect(&path).unwrap());
                socket.listener.accept().unwrap();
                drop(socket);
                assert_eq!(names(), 0, "{stands:?}");
            }
        }
    }

    #[test]
    fn a_successor_takes_the_place_of_whom_it_replaces_and_of_nobody_else() {
        let this = Some(std::process::id());
        check(Stands::Nothing, this, "");
        check(Stands::Dead, this, "");
        check(Stands::Served, this, "");
        check(Stands::Served, Some(std::process::id() + 1), "another process already serves");
        check(Stands::Served, None, "another process already serves");
        check(Stands::File, this, "is no socket");
        if rustix::process::geteuid().is_root() {
            check(Stands::DeadOfAnother, this, "was made by the user 4711");
        }
    }
    /// What became of the place of a socket whose process is gone.
    #[derive(Clone, Copy, Debug)]
    enum Place {
        Left,
        /// By way of the name under which it waited for another to go.
        Taken,
        Removed,
        DeadInstead,
        FileInstead,
    }

    fn check_adopted(place: Place, is_adopted: bool) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let LocalSocket { listener, file } = match place {
            Place::Taken => {
                let (socket, succession) =
                    LocalSocket::bind_successor((&path, None), OWNER_ALONE, 4).unwrap();
                succession.take_place().unwrap();
                socket
            }
            Place::Left | Place::Removed | Place::DeadInstead | Place::FileInstead => {
                LocalSocket::bind(&path, OWNER_ALONE, 4).unwrap()
            }
        };
        file.leave();
        let mut waiting = UnixStream::connect(&path).unwrap();
        match place {
            Place::Left | Place::Taken => {}
            Place::Removed => fs::remove_file(&path).unwrap(),
            Place::DeadInstead => {
                fs::remove_file(&path).unwrap();
                drop(UnixListener::bind(&path).unwrap());
            }
            Place::FileInstead => {
                fs::remove_file(&path).unwrap();
                fs::write(&path, "").unwrap();
            }
        }
        let there = path.exists();
        let adopted = LocalSocket::adopt(listener, &path, 0o620, 4);
        assert_eq!(adopted.is_some(), is_adopted, "{place:?}");
        assert_eq!(path.exists(), there, "{place:?}");
        let Some(LocalSocket { listener, file }) = adopted else { return };
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o620, "{place:?}");
        waiting.write_all(b"w").unwrap();
        let mut first = listener.accept().unwrap().0;
        let mut byte = [0];
        first.read_exact(&mut byte).unwrap();
        assert_eq!(byte, *b"w", "{place:?}: who waited is served");
        drop((listener, file));
        assert!(!path.exists(), "{place:?}: its file goes with it again");
    }

    #[test]
    fn a_socket_is_gone_on_with_where_callers_come_to_it() {
        check_adopted(Place::Left, true);
        check_adopted(Place::Taken, true);
        check_adopted(Place::Removed, false);
        check_adopted(Place::DeadInstead, false);
        check_adopted(Place::FileInstead, false);
    }
}
