//! How a process comes to its sockets, and the moment from which it accepts.
use super::StartError;
use super::listeners::Means;
use crate::admin::{self, AdminSocket, Succession};
use crate::config::{AdminConfig, Captured, Config, ListenerConfig, StatusConfig};
use crate::handover::{Inherited, Offer, Offered};
use crate::listener::Listener;
use crate::log::beside::Company;
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
pub(super) fn bind(config: &Config, entrance: Entrance, means: &Means<'_>) -> Result<Sockets, StartError> {
    let Entrance { mut inherited, company } = entrance;
    let (mut listeners, mut offered) = (Vec::new(), Vec::new());
    for of in &config.listeners {
        let listener = means.listener(of)?;
        let socket = socket(of, &mut inherited)?;
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

/// The socket that was given for a listener, or one that is bound to its address.
pub(super) fn socket(of: &ListenerConfig, inherited: &mut Inherited) -> Result<TcpListener, StartError> {
    match of.captured {
        Some(Captured::Transparent) => transparent(of.address, inherited),
        Some(Captured::Redirect) | None => tcp(of.address, inherited),
    }
}

fn tcp(address: SocketAddr, inherited: &mut Inherited) -> Result<TcpListener, StartError> {
    if let Some(socket) = inherited.take(address) {
        return Ok(socket);
    }
    let failed = |error| StartError::Bind { address: address.to_string(), error };
    let socket = TcpListener::bind(address).map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    Ok(socket)
}

/// A socket that takes connections which are led to it although they were going to other addresses.
#[cfg(target_os = "linux")]
fn transparent(address: SocketAddr, inherited: &mut Inherited) -> Result<TcpListener, StartError> {
    use socket2::{Domain, Protocol, SockRef, Socket, Type};
    let failed = |error| StartError::Bind { address: address.to_string(), error };
    let refused = |_| StartError::Transparent { address: address.to_string() };
    if let Some(socket) = inherited.take(address) {
        SockRef::from(&socket).set_ip_transparent_v4(true).map_err(refused)?;
        return Ok(socket);
    }
    let socket =
        Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP)).map_err(failed)?;
    // Sockets of IPv6 take the option of IPv4 too, and it is one and the same to the kernel.
    socket.set_ip_transparent_v4(true).map_err(refused)?;
    socket.set_reuse_address(true).map_err(failed)?;
    socket.bind(&address.into()).map_err(failed)?;
    socket.listen(BACKLOG).map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    Ok(socket.into())
}

#[cfg(not(target_os = "linux"))]
fn transparent(address: SocketAddr, _: &mut Inherited) -> Result<TcpListener, StartError> {
    Err(StartError::Transparent { address: address.to_string() })
}

/// Connections that may wait to be accepted: as many as the standard library lets wait at the other sockets.
#[cfg(target_os = "linux")]
const BACKLOG: i32 = -1;
