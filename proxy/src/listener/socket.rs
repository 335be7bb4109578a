//! What callers connect to: a port, or a Unix socket whose kernel says who they are.
use super::AcceptedIo;
use super::acceptor::NotTaken;
use crate::config::LocalDoor;
use crate::local_socket::{LocalSocket, SocketError, SocketFile, Succession};
use crate::presence;
use postern_audit::Remote;
use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;

/// Bound, and not yet part of a runtime.
#[derive(Debug)]
pub enum Bound {
    /// A port.
    Tcp(std::net::TcpListener),
    /// A Unix socket, and the users that may connect; `None` where its mode alone says who.
    Unix(LocalSocket, Option<Vec<u32>>),
}

/// Connections that may wait on a Unix socket, as many as the standard library asks for on a port.
const BACKLOG: i32 = 4096;
/// So many are in its queue when it is full.
const WAITING_MAX: usize = 4097;

impl Bound {
    /// Goes on with the Unix socket that was `given`, where that is the one to which callers come; otherwise binds one.
    ///
    /// # Errors
    /// [`SocketError`]; nothing is left behind then.
    pub fn local(door: &LocalDoor, given: Option<UnixListener>) -> Result<Self, SocketError> {
        let adopted = given.and_then(|given| LocalSocket::adopt(given, &door.socket, door.mode, BACKLOG));
        let socket = match adopted {
            Some(socket) => socket,
            None => LocalSocket::bind(&door.socket, door.mode, BACKLOG)?,
        };
        Ok(Self::Unix(socket, door.uids.clone()))
    }

    /// As [`Bound::local`], in place of the socket that the process `of` serves until the succession.
    ///
    /// # Errors
    /// [`SocketError`]; nothing has changed then.
    pub fn local_successor(door: &LocalDoor, of: Option<u32>) -> Result<(Self, Succession), SocketError> {
        let (socket, succession) = LocalSocket::bind_successor((&door.socket, of), door.mode, BACKLOG)?;
        Ok((Self::Unix(socket, door.uids.clone()), succession))
    }

    /// Ready to accept. Must be called within a runtime.
    pub(crate) fn serve(self) -> io::Result<Socket> {
        Ok(match self {
            Self::Tcp(socket) => Socket::Tcp(tokio::net::TcpListener::from_std(socket)?),
            Self::Unix(LocalSocket { listener, file }, uids) => {
                Socket::Unix { socket: tokio::net::UnixListener::from_std(listener)?, uids, file }
            }
        })
    }
}

/// What connections are accepted from.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(tokio::net::TcpListener),
    Unix { socket: tokio::net::UnixListener, uids: Option<Vec<u32>>, file: SocketFile },
}

/// A connection that is on no worker yet.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) io: AcceptedIo,
    pub(super) source: Remote,
    pub(super) local: Option<SocketAddr>,
}

impl Socket {
    /// The next connection. What is dropped while it waits loses none.
    pub(super) async fn accept(&self) -> Result<Arrived, NotTaken> {
        match self {
            Self::Tcp(socket) => {
                let (stream, source) = socket.accept().await?;
                arrived_at_port(stream, source)
            }
            Self::Unix { socket, uids, .. } => arrived(socket.accept().await?.0, uids.as_deref()),
        }
    }

    /// Those who wait when nobody accepts any more: the kernel would reset them as it closes the socket, and for all that they
    /// know they are connected. Whoever goes on with a port that `is_handed_on` has them in its queue; a Unix socket has lost
    /// its name by now, to nobody or to a successor with a queue of its own, unless it `is_left`: who comes later then waits
    /// for whoever is given it.
    pub(super) fn last(
        self,
        (is_handed_on, is_left): (bool, bool),
    ) -> impl Iterator<Item = Result<Arrived, NotTaken>> {
        let waiting = match self {
            Self::Tcp(_) if is_handed_on => None,
            Self::Tcp(socket) => socket.into_std().ok().map(Waiting::Tcp),
            Self::Unix { socket, uids, file } => {
                if is_left {
                    file.leave();
                } else {
                    drop(file);
                }
                socket.into_std().ok().map(|socket| Waiting::Unix(socket, uids))
            }
        };
        // The iterator ends with the first that is not there, and the socket with it.
        std::iter::from_fn(move || waiting.as_ref()?.next()).take(WAITING_MAX)
    }
}

/// A socket that is accepted from as long as somebody waits.
enum Waiting {
    Tcp(std::net::TcpListener),
    Unix(UnixListener, Option<Vec<u32>>),
}

impl Waiting {
    fn next(&self) -> Option<Result<Arrived, NotTaken>> {
        match self {
            Self::Tcp(socket) => {
                let (stream, source) = socket.accept().ok()?;
                let stream =
                    stream.set_nonblocking(true).and_then(|()| tokio::net::TcpStream::from_std(stream));
                Some(stream.map_err(NotTaken::from).and_then(|stream| arrived_at_port(stream, source)))
            }
            Self::Unix(socket, uids) => {
                let (stream, _) = socket.accept().ok()?;
                let stream =
                    stream.set_nonblocking(true).and_then(|()| tokio::net::UnixStream::from_std(stream));
                Some(stream.map_err(NotTaken::from).and_then(|stream| arrived(stream, uids.as_deref())))
            }
        }
    }
}

fn arrived_at_port(stream: tokio::net::TcpStream, source: SocketAddr) -> Result<Arrived, NotTaken> {
    let local = Some(canonical(stream.local_addr()?));
    presence::prepare(&stream)?;
    Ok(Arrived { io: AcceptedIo::Tcp(stream.into_std()?), source: canonical(source).into(), local })
}

/// The address as policies and records have it: a caller of IPv4 that comes to a socket of IPv6 is one of IPv4.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn arrived(stream: tokio::net::UnixStream, uids: Option<&[u32]>) -> Result<Arrived, NotTaken> {
    // What the caller was when it connected: it can neither forge that nor change it later.
    let caller = stream.peer_cred()?;
    if uids.is_some_and(|uids| !uids.contains(&caller.uid())) {
        return Err(NotTaken::Stranger);
    }
    let pid = caller.pid().and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0);
    let source = Remote::Process { uid: caller.uid(), pid };
    Ok(Arrived { io: AcceptedIo::Unix(stream.into_std()?), source, local: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    /// What came of a caller.
    #[derive(Debug, PartialEq, Eq)]
    enum Came {
        /// It is served, as this user.
        Served(u32),
        /// It connected, and was closed out.
        ClosedOut,
        /// The file's mode kept it from connecting.
        KeptOut,
    }

    /// A process of this user connects to a socket with this mode that serves these users.
    async fn check(mode: u32, uids: Option<&[u32]>, caller: u32, came: Came) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = folder.path().join("egress.sock");
        let door = LocalDoor { socket: path.clone(), mode, uids: uids.map(<[u32]>::to_vec) };
        let socket = Bound::local(&door, None).unwrap().serve().unwrap();
        let seen = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(seen, mode, "whatever the umask");
        let mut command = Command::new("setpriv");
        command.args([format!("--reuid={caller}"), format!("--regid={caller}"), "--clear-groups".to_owned()]);
        command.args(["curl", "--silent", "--max-time", "60", "--unix-socket"]).arg(&path).arg("http://x/");
        // It ends once it is told no, or what it is served by is dropped.
        let mut process = tokio::task::spawn_blocking(move || command.output().unwrap());
        let found = tokio::select! {
            arrived = socket.accept() => match arrived {
                Ok(Arrived { source: Remote::Process { uid, pid }, local: None, .. }) => {
                    assert_ne!(pid, 0);
                    Came::Served(uid)
                }
                Err(NotTaken::Stranger) => Came::ClosedOut,
                other => panic!("{other:?}"),
            },
            output = &mut process => {
                assert_eq!(output.unwrap().status.code(), Some(7), "curl: could not connect");
                Came::KeptOut
            }
        };
        assert_eq!(found, came, "{mode:o} {uids:?} {caller}");
        drop(socket);
        assert!(!path.exists(), "the file goes with the socket");
    }

    /// Whether this process may act as other users; otherwise the suite is told that the test is skipped.
    #[expect(clippy::print_stdout, reason = "the suite counts skipped tests by what they print")]
    fn is_root(test: &str) -> bool {
        let is_root = rustix::process::geteuid().is_root();
        if !is_root {
            println!("SKIPPED {test}: only root can act as another user");
        }
        is_root
    }

    #[tokio::test]
    async fn the_kernel_says_which_user_calls() {
        if !is_root("the_kernel_says_which_user_calls") {
            return;
        }
        check(0o666, Some(&[4711]), 4711, Came::Served(4711)).await;
        check(0o666, Some(&[4711, 4712]), 4712, Came::Served(4712)).await;
        check(0o666, Some(&[4711]), 4712, Came::ClosedOut).await;
        // Not even root, where it is not named.
        check(0o666, Some(&[4711]), 0, Came::ClosedOut).await;
        check(0o660, None, 0, Came::Served(0)).await;
        check(0o660, None, 4711, Came::KeptOut).await;
        check(0o600, Some(&[4711]), 4711, Came::KeptOut).await;
    }

    #[tokio::test]
    async fn those_who_wait_when_a_socket_goes_are_taken_and_nobody_comes_after_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("egress.sock");
        let connect = || std::os::unix::net::UnixStream::connect(&path);
        let uid = rustix::process::geteuid().as_raw();
        for (uids, served) in [(None, 3), (Some(vec![uid]), 3), (Some(vec![uid + 1]), 0)] {
            let door = LocalDoor { socket: path.clone(), mode: 0o600, uids };
            let socket = Bound::local(&door, None).unwrap().serve().unwrap();
            let waiting: Vec<_> = (0..3).map(|_| connect().unwrap()).collect();
            let mut last = socket.last((false, false));
            assert!(connect().is_err(), "its name is gone");
            let taken: Vec<_> = last.by_ref().collect();
            assert_eq!(taken.len(), waiting.len());
            assert_eq!(taken.iter().filter(|taken| taken.is_ok()).count(), served, "{:?}", door.uids);
        }
    }

    #[tokio::test]
    async fn those_who_wait_when_a_port_closes_are_taken_and_those_of_one_that_goes_on_stay() {
        for (is_handed_on, expected) in [(false, 3), (true, 0)] {
            let bound = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            bound.set_nonblocking(true).unwrap();
            let (address, goes_on) = (bound.local_addr().unwrap(), bound.try_clone().unwrap());
            let socket = Bound::Tcp(bound).serve().unwrap();
            let waiting: Vec<_> = (0..3).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
            let taken: Vec<_> = socket.last((is_handed_on, false)).map(Result::unwrap).collect();
            let sources: Vec<_> = taken.iter().filter_map(|taken| taken.source.address()).collect();
            let callers: Vec<_> =
                waiting.iter().take(expected).map(|one| one.local_addr().unwrap()).collect();
            assert_eq!(sources, callers, "handed on: {is_handed_on}");
            assert!(taken.iter().all(|taken| taken.local == Some(address)), "{taken:?}");
            let left = std::iter::from_fn(|| goes_on.accept().ok()).count();
            assert_eq!(left, waiting.len() - expected, "handed on: {is_handed_on}");
        }
    }

    #[tokio::test]
    async fn a_caller_of_ipv4_is_one_wherever_the_socket_listens() {
        for (listens, calls) in [("[::]:0", "127.0.0.1"), ("[::]:0", "::1"), ("127.0.0.1:0", "127.0.0.1")] {
            let socket = std::net::TcpListener::bind(listens).unwrap();
            socket.set_nonblocking(true).unwrap();
            let ip: std::net::IpAddr = calls.parse().unwrap();
            let address = SocketAddr::new(ip, socket.local_addr().unwrap().port());
            let socket = Bound::Tcp(socket).serve().unwrap();
            let caller = tokio::net::TcpStream::connect(address).await.unwrap();
            let arrived = socket.accept().await.unwrap();
            assert_eq!(arrived.source, Remote::Address(caller.local_addr().unwrap()), "{listens}");
            assert_eq!(arrived.local, Some(address), "{listens}");
        }
    }

    #[test]
    fn a_dead_socket_of_another_user_is_left_alone() {
        if !is_root("a_dead_socket_of_another_user_is_left_alone") {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("egress.sock");
        drop(UnixListener::bind(&socket).unwrap());
        std::os::unix::fs::chown(&socket, Some(4711), None).unwrap();
        let door = LocalDoor { socket: socket.clone(), mode: 0o600, uids: None };
        let error = Bound::local(&door, None).unwrap_err();
        assert!(matches!(error, SocketError::NotOurs { uid: 4711, .. }), "{error}");
        std::os::unix::fs::chown(&socket, Some(0), None).unwrap();
        drop(Bound::local(&door, None).unwrap());
        assert!(!socket.exists());
    }
}
