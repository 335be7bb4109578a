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

use crate::handover::Offer;
use tokio::sync::{mpsc, watch};
use tracing::error;

pub use control::{
    AdminCommand, AdminView, BundleStatus, IdentityStatus, PlaintextCaller, PlaintextStatus, Reply, Status,
    commands,
};
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

/// What the admin socket's callers may ask for, and from when on the status port answers.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Where commands go.
    pub commands: mpsc::Sender<AdminCommand>,
    /// What a successor is given.
    pub offer: Offer,
    /// Whether connections are accepted: not yet where another process still serves the same sockets.
    pub open: watch::Receiver<bool>,
}

/// Serves what is open until it is dropped, which closes every connection and removes the admin socket.
pub async fn serve<V>(ports: Ports, view: Arc<V>, asked: Asked)
where
    V: StatusView + AdminView + 'static,
{
    let status = async {
        let Some(listener) = ports.status else { return };
        let mut open = asked.open.clone();
        // A sender that is gone goes away with the process.
        drop(open.wait_for(|open| *open).await);
        match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => {
                match status::serve(listener, Arc::clone(&view) as _, ServerLimits::STATUS).await {}
            }
            Err(error) => error!(%error, "the status port cannot be served"),
        }
    };
    let admin = async {
        let Some(socket) = ports.admin else { return };
        let Asked { commands, offer, .. } = asked.clone();
        let answers = control::AdminPort { view: Arc::clone(&view) as _, commands, offer };
        match control::serve(socket, answers, ServerLimits::ADMIN).await {
            Ok(never) => match never {},
            Err(error) => error!(%error, "the admin socket cannot be served"),
        }
    };
    tokio::join!(status, admin);
}
