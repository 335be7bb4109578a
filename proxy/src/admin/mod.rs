//! What operators and their machines ask the sidecar itself: the read-only status port and the admin socket.
//!
//! Both run on a thread and a runtime of their own, so that a busy sidecar still answers its probes, and a
//! flood of questions never takes a worker.

mod control;
mod server;
mod socket;
mod status;

use std::net::TcpListener;
use std::sync::Arc;

use tokio::sync::mpsc;
use tracing::error;

pub use control::{AdminCommand, AdminView, BundleStatus, IdentityStatus, Reply, Status, commands};
pub use server::ServerLimits;
pub use socket::AdminSocket;
pub use status::{Check, StatusView};

/// What is open, as bound at start: either may be closed by configuration.
#[derive(Debug)]
pub struct Ports {
    /// The status port, non-blocking.
    pub status: Option<TcpListener>,
    /// The admin socket.
    pub admin: Option<AdminSocket>,
}

/// Serves what is open until it is dropped, which closes every connection and removes the admin socket.
pub async fn serve<V>(ports: Ports, view: Arc<V>, commands: mpsc::Sender<AdminCommand>)
where
    V: StatusView + AdminView + 'static,
{
    let status = async {
        let Some(listener) = ports.status else { return };
        match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => {
                match status::serve(listener, Arc::clone(&view) as _, ServerLimits::STATUS).await {}
            }
            Err(error) => error!(%error, "the status port cannot be served"),
        }
    };
    let admin = async {
        let Some(socket) = ports.admin else { return };
        match control::serve(socket, Arc::clone(&view) as _, commands, ServerLimits::ADMIN).await {
            Ok(never) => match never {},
            Err(error) => error!(%error, "the admin socket cannot be served"),
        }
    };
    tokio::join!(status, admin);
}
