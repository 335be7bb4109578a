//! How a process comes to its sockets, and the moment from which it accepts.
use super::StartError;
use super::listeners::Means;
use crate::admin::{self, AdminSocket};
use crate::config::{AdminConfig, Bind, Captured, Config, LocalDoor, StatusConfig};
use crate::handover::{Inherited, Offer, Offered, Offers};
use crate::listener::{Bound, Listener};
use crate::local_socket::{SocketError, Succession};
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
    /// The process that is replaced, whose Unix sockets those of this one take the place of.
    pub predecessor: Option<u32>,
}

impl Entrance {
    /// Whether connections are accepted from the first moment on: nobody else is there to serve them.
    pub fn is_open(&self) -> bool {
        self.inherited.is_empty() && self.company == Company::Alone
    }
}

impl Default for Entrance {
    fn default() -> Self {
        Self { inherited: Inherited::default(), company: Company::Alone, predecessor: None }
    }
}

/// Bound, and not yet listened to.
pub(super) struct Sockets {
    pub(super) listeners: Vec<(Bound, Arc<Listener>)>,
    pub(super) admin: admin::Ports,
    /// How Unix sockets take the place of others.
    pub(super) successions: Vec<Succession>,
    pub(super) offer: Offer,
}

/// Takes the sockets that were given and binds the others.
pub(super) fn bind(config: &Config, entrance: Entrance, means: &Means<'_>) -> Result<Sockets, StartError> {
    let Entrance { mut inherited, company, predecessor } = entrance;
    let (mut listeners, mut offered, mut successions) = (Vec::new(), Offers::default(), Vec::new());
    for of in &config.listeners {
        let listener = means.listener(of)?;
        let socket = match &of.bind {
            Bind::Address(address) => {
                let socket = socket((of.captured, *address), &mut inherited)?;
                offered.ports.push(offer(&of.name, *address, &socket)?);
                Bound::Tcp(socket)
            }
            Bind::Local(door) => {
                let failed = |error| StartError::Local { listener: of.name.clone(), error };
                let socket = match company {
                    Company::Alone => {
                        Bound::local(door, inherited.take_local(&door.socket)).map_err(failed)?
                    }
                    Company::Beside => {
                        let (socket, succession) =
                            Bound::local_successor(door, predecessor).map_err(failed)?;
                        successions.push(succession);
                        socket
                    }
                };
                offered.local.extend(local_offer(&of.name, (door, &socket))?);
                socket
            }
        };
        listeners.push((socket, Arc::new(listener)));
    }
    let status = match &config.status {
        StatusConfig::Closed => None,
        StatusConfig::Open { address } => {
            let socket = tcp(*address, &mut inherited)?;
            offered.ports.push(offer(STATUS, *address, &socket)?);
            Some(socket)
        }
    };
    let admin = match (&config.admin, company) {
        (AdminConfig::Closed, _) => None,
        (AdminConfig::Open { socket }, Company::Alone) => Some(AdminSocket::bind(socket)?),
        (AdminConfig::Open { socket }, Company::Beside) => {
            let (socket, succession) = AdminSocket::bind_successor(socket, predecessor)?;
            successions.push(succession);
            Some(socket)
        }
    };
    let admin = admin::Ports { status, admin };
    Ok(Sockets { listeners, admin, successions, offer: Offer::new(offered) })
}

/// Of a Unix socket; nothing of a port.
pub(super) fn local_offer(
    name: &str,
    (door, bound): (&LocalDoor, &Bound),
) -> Result<Option<Offered>, StartError> {
    let Bound::Unix(socket, _) = bound else { return Ok(None) };
    let failed = |cause| StartError::Local {
        listener: name.to_owned(),
        error: SocketError::Io { path: door.socket.clone(), cause },
    };
    Offered::of(name, &socket.listener).map(Some).map_err(failed)
}

fn offer(name: &str, address: SocketAddr, socket: &TcpListener) -> Result<Offered, StartError> {
    Offered::of(name, socket).map_err(|error| StartError::Bind { address: address.to_string(), error })
}

/// The socket that was given for a listener, or one that is bound to its address.
pub(super) fn socket(
    (captured, address): (Option<Captured>, SocketAddr),
    inherited: &mut Inherited,
) -> Result<TcpListener, StartError> {
    match captured {
        Some(Captured::Transparent) => transparent(address, inherited),
        Some(Captured::Redirect) | None => tcp(address, inherited),
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
