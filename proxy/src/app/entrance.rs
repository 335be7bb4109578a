//! How a process comes to its sockets, and the moment from which it accepts.
use super::{StartError, materials};
use crate::admin::{self, AdminSocket, Succession};
use crate::clock::Clock;
use crate::config::{AdminConfig, Config, StatusConfig};
use crate::handover::{Inherited, Offer, Offered};
use crate::listener::Listener;
use crate::log::beside::Company;
use crate::state::Shared;
use crate::telemetry::Metrics;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

/// The name of the status port among the sockets that are handed over. No listener is in its way: the address decides.
pub(super) const STATUS: &str = "status";

/// What a process comes into.
#[derive(Debug)]
pub struct Entrance {
    /// Sockets that it was given. Where there are any, it accepts nothing before [`super::App::open`]: their callers
    /// wait in the kernel meanwhile, or are served by the process that is replaced.
    pub inherited: Inherited,
    /// Whether another process still runs, and writes its log.
    pub company: Company,
}

impl Default for Entrance {
    fn default() -> Self {
        Self { inherited: Inherited::default(), company: Company::Alone }
    }
}

/// Bound, and not yet listened to.
pub(super) struct Sockets {
    pub(super) listeners: Vec<(TcpListener, Arc<Listener>)>,
    pub(super) admin: admin::Ports,
    /// How the admin socket takes the place of another.
    pub(super) succession: Option<Succession>,
    pub(super) offer: Offer,
}

/// Takes the sockets that were given and binds the others.
pub(super) fn bind(
    config: &Config,
    entrance: Entrance,
    (shared, metrics, clock): (&Shared, &Metrics, &Arc<dyn Clock>),
) -> Result<Sockets, StartError> {
    let Entrance { mut inherited, company } = entrance;
    let (mut listeners, mut offered) = (Vec::new(), Vec::new());
    for of in &config.listeners {
        let callers = materials::callers(of, shared, clock)?;
        let listener = Listener::new(of, callers, metrics.listener(&of.name));
        let socket = tcp(of.address, &mut inherited)?;
        offered.push(offer(&of.name, of.address, &socket)?);
        listeners.push((socket, Arc::new(listener)));
    }
    let status = match &config.status {
        StatusConfig::Closed => None,
        StatusConfig::Open { address } => {
            let socket = tcp(*address, &mut inherited)?;
            offered.push(offer(STATUS, *address, &socket)?);
            Some(socket)
        }
    };
    let (admin, succession) = match (&config.admin, company) {
        (AdminConfig::Closed, _) => (None, None),
        (AdminConfig::Open { socket }, Company::Alone) => (Some(AdminSocket::bind(socket)?), None),
        (AdminConfig::Open { socket }, Company::Beside) => {
            let (socket, succession) = AdminSocket::bind_successor(socket)?;
            (Some(socket), Some(succession))
        }
    };
    let admin = admin::Ports { status, admin };
    Ok(Sockets { listeners, admin, succession, offer: Offer::new(offered) })
}

fn offer(name: &str, address: SocketAddr, socket: &TcpListener) -> Result<Offered, StartError> {
    Offered::of(name, socket).map_err(|error| StartError::Bind { address: address.to_string(), error })
}

/// The socket that was given for an address, or one that is bound to it.
pub(super) fn tcp(address: SocketAddr, inherited: &mut Inherited) -> Result<TcpListener, StartError> {
    if let Some(socket) = inherited.take(address) {
        return Ok(socket);
    }
    let failed = |error| StartError::Bind { address: address.to_string(), error };
    let socket = TcpListener::bind(address).map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    Ok(socket)
}
