//! The mark (`SO_MARK`) on this process's TCP connections to others. By it the rules of the packet filter tell them from the
//! service's where both run as the same user; like the user id that it stands for, it is that of the whole process.
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::net::{TcpSocket, TcpStream, lookup_host};

/// Without one it is 0, as it is of every connection that nobody has marked.
static MARK: AtomicU32 = AtomicU32::new(0);

/// Puts this mark on every connection from now on.
///
/// # Errors
/// When this process may not: it takes the capability CAP_NET_ADMIN.
pub(crate) fn set(mark: Option<u32>) -> io::Result<()> {
    let mark = mark.unwrap_or(0);
    if mark != 0 {
        // Better found out now than by every connection.
        put(mark, &TcpSocket::new_v4().or_else(|_| TcpSocket::new_v6())?)?;
    }
    MARK.store(mark, Ordering::Relaxed);
    Ok(())
}

/// A connection to an address.
///
/// # Errors
/// When there is none.
pub(crate) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    let mark = MARK.load(Ordering::Relaxed);
    if mark != 0 {
        put(mark, &socket)?;
    }
    socket.connect(address).await
}

/// A connection to the first address of a host that takes it.
///
/// # Errors
/// When none does: that of the last one.
pub(crate) async fn connect_to(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in lookup_host((host, port)).await? {
        match connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(target_os = "linux")]
fn put(mark: u32, socket: &TcpSocket) -> io::Result<()> {
    socket2::SockRef::from(socket).set_mark(mark)
}

#[cfg(not(target_os = "linux"))]
fn put(_: u32, _: &TcpSocket) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
