//! The process that goes: gives its listening sockets, and stops accepting once the other one says that it accepts.
use super::{Offer, Offered, SOCKETS_MAX, rights};
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// The word that ends a handover: whoever says it accepts connections.
pub(super) const READY: &[u8] = b"ready\n";
/// How long the successor may take to become ready. It gives up earlier itself.
const READY_TIMEOUT: Duration = Duration::from_secs(120);
/// How long it may take to read.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

/// Gives a successor what is offered, and returns once it accepts.
///
/// # Errors
/// It went away, or took too long, before it accepted: this process goes on as if it had never asked.
pub(crate) async fn serve(mut successor: UnixStream, offer: &Offer) -> io::Result<()> {
    let offered = offer.copies()?;
    if offered.len() > SOCKETS_MAX {
        return Err(io::Error::other(format!("{} sockets cannot be handed over", offered.len())));
    }
    timeout(SEND_TIMEOUT, send(&successor, &offered)).await??;
    drop(offered);
    let mut word = [0; READY.len()];
    timeout(READY_TIMEOUT, successor.read_exact(&mut word)).await??;
    if word == READY { Ok(()) } else { Err(io::Error::other("the successor does not speak this protocol")) }
}

/// One line that says how many sockets follow, then a line with each.
async fn send(successor: &UnixStream, offered: &[Offered]) -> io::Result<()> {
    let head = serde_json::json!({ "v": 1, "sockets": offered.len() });
    line(successor, &head, None).await?;
    for of in offered {
        line(successor, &serde_json::json!({ "name": of.name }), Some(of)).await?;
    }
    Ok(())
}

async fn line(successor: &UnixStream, value: &serde_json::Value, of: Option<&Offered>) -> io::Result<()> {
    let text = format!("{value}\n");
    let (mut rest, mut socket) = (text.as_bytes(), of.map(|of| of.socket.as_fd()));
    while !rest.is_empty() {
        let sent = successor.async_io(Interest::WRITABLE, || rights::send(successor, rest, socket)).await?;
        rest = rest.get(sent..).unwrap_or_default();
        socket = None;
    }
    Ok(())
}
