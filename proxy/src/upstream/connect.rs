//! How a byte stream to an endpoint is made. A test hands a connector of its own.
use crate::descriptors;
use crate::own_mark;
use crate::presence::{self, Attended};
use futures_util::future::ready;
use postern_audit::SocketPath;
use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;

/// A byte stream in both directions.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A byte stream whose kind no longer matters.
pub type BoxIo = Box<dyn Io>;

/// A stream that is being made.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<BoxIo>>>>;

/// Makes streams to endpoints.
pub trait Connect: Debug {
    /// Starts a connection. The caller bounds the time.
    fn connect(&self, endpoint: SocketAddr) -> Connecting;

    /// Starts a connection to a Unix socket. The caller bounds the time.
    fn connect_local(&self, _path: &SocketPath) -> ConnectingLocal {
        Box::pin(ready(Err(io::ErrorKind::Unsupported.into())))
    }
}

/// A stream to a Unix socket that is being made, and the user as whom the process at the other end began to listen.
pub type ConnectingLocal = Pin<Box<dyn Future<Output = io::Result<(BoxIo, u32)>>>>;

/// The sockets of this machine: plain TCP, without delay for small writes, whose peer is known to be there, and Unix
/// sockets.
#[derive(Clone, Copy, Debug)]
pub struct Tcp;

impl Connect for Tcp {
    fn connect(&self, endpoint: SocketAddr) -> Connecting {
        Box::pin(async move {
            let stream = own_mark::connect(endpoint).await?;
            if !descriptors::are_left(descriptors::Use::Upstream, &stream) {
                return Err(io::Error::other("too few file descriptors are left"));
            }
            presence::prepare(&stream)?;
            let stream: BoxIo = Box::new(Attended::new(stream));
            Ok(stream)
        })
    }

    fn connect_local(&self, path: &SocketPath) -> ConnectingLocal {
        let path = path.clone();
        Box::pin(async move {
            let mut pause = PAUSE_MIN;
            let stream = loop {
                match UnixStream::connect(path.as_str()).await {
                    // Where TCP would let us wait, a Unix socket says at once that too many do.
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        tokio::time::sleep(pause).await;
                        pause = pause.saturating_mul(2).min(PAUSE_MAX);
                    }
                    made => break made?,
                }
            };
            if !descriptors::are_left(descriptors::Use::Upstream, &stream) {
                return Err(io::Error::other("too few file descriptors are left"));
            }
            let uid = stream.peer_cred()?.uid();
            let stream: BoxIo = Box::new(stream);
            Ok((stream, uid))
        })
    }
}

/// How long a socket that too many wait for is left alone, at first and at most.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn socket(folder: &tempfile::TempDir) -> SocketPath {
        SocketPath::new(folder.path().join("app.sock").to_str().unwrap()).unwrap()
    }

    #[tokio::test]
    async fn whoever_listens_at_a_unix_socket_is_reached_and_known_by_its_user() {
        let folder = tempfile::tempdir().unwrap();
        let path = socket(&folder);
        assert_eq!(Tcp.connect_local(&path).await.err().unwrap().kind(), io::ErrorKind::NotFound);
        let listener = tokio::net::UnixListener::bind(path.as_str()).unwrap();
        let (mut ours, uid) = Tcp.connect_local(&path).await.unwrap();
        assert_eq!(uid, rustix::process::geteuid().as_raw());
        let (mut theirs, _) = listener.accept().await.unwrap();
        ours.write_all(b"ping").await.unwrap();
        let mut heard = [0; 4];
        theirs.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"ping");
        drop(listener);
        assert_eq!(Tcp.connect_local(&path).await.err().unwrap().kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn a_unix_socket_that_too_many_wait_for_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = socket(&folder);
        let address = rustix::net::SocketAddrUnix::new(path.as_str()).unwrap();
        let (family, kind) = (rustix::net::AddressFamily::UNIX, rustix::net::SocketType::STREAM);
        let listener = rustix::net::socket(family, kind, None).unwrap();
        rustix::net::bind(&listener, &address).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let _first = Tcp.connect_local(&path).await.unwrap();
        let mut second = Tcp.connect_local(&path);
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(rustix::net::accept(&listener).unwrap());
        second.await.unwrap();
    }
}
