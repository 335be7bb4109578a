//! Whether the application can get past the sidecar, tried: what capture promises is believed when a connection of the
//! application's user has arrived, and not because rules were applied.
//!
//! Where a connection arrives is told by the kernel: that of a redirected one has its other end in this namespace, at the
//! listener, and the table of sockets lists it there by the address and the port that we called from. The port is bound
//! before we call, and nobody else has it; so what the listener has from it can only be ours.

use super::sockets::{Family, State, TcpSocket};
use crate::config::{CaptureInbound, CaptureOutbound, CaptureOwn, CapturePorts};
use crate::reachable;
use rustix::process::{Uid, geteuid};
use rustix::thread::set_thread_res_uid;
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use thiserror::Error;

/// How long a connection may take. One that is captured does not leave this machine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How often the table is read before something is said not to be in it: others come and go while it is read.
const LOOKS: usize = 3;
/// Ports that are tried until there is one of which the listener has nothing left from somebody who had it before.
const PORTS: usize = 16;

/// Where a connection went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To this listener of the sidecar.
    Captured(SocketAddr),
    /// To somebody, and not by way of the sidecar.
    Past,
}

/// Why it cannot be told. No better than [`Way::Past`] for whoever relies on capture.
#[derive(Debug, Error)]
pub enum Doubt {
    /// Never captured, by plan.
    #[error(
        "it is an address of this machine or of no host, and connections to those are never captured: name one outside"
    )]
    NotOutside,
    /// No sidecar.
    #[error("nobody listens at {0}: start the sidecar, in this network namespace")]
    NoListener(SocketAddr),
    /// Another one's.
    #[error("at {0} listens user {1}, who is neither the sidecar (user {2}) nor root")]
    Stranger(SocketAddr, u32, u32),
    /// Becoming the user.
    #[error("user {0} cannot be become ({1}): run this as root")]
    User(u32, io::Error),
    /// By plan, or by who is there.
    #[error(
        "it was refused, by the rules, since the plan has no listener for this version of IP, or by who is there"
    )]
    Refused,
    /// Neither here nor there.
    #[error(
        "there was no connection ({0}), so it did not arrive at the sidecar; whether it got out, nobody knows"
    )]
    NotConnected(io::Error),
    /// It was gone before it could be found.
    #[error(
        "the connection ended before it was found at the listener: is the sidecar ready, and has it places left?"
    )]
    Ended,
    /// Not always the same way.
    #[error("of two connections one arrived at the sidecar and one did not")]
    Both,
    /// Every port had a past.
    #[error("the listener has connections from every port that was tried: try again in a minute")]
    Busy,
    /// The table of sockets.
    #[error("the sockets of this machine cannot be listed: {0}")]
    Table(#[from] io::Error),
}

/// Connects to `to` as the user `uid`, and looks where that arrives. To be run where the application runs: in its network
/// namespace, and in its cgroup where the plan is about one.
///
/// # Errors
/// [`Doubt`]: it cannot be told.
pub fn outbound(plan: &CaptureOutbound, uid: u32, to: SocketAddr) -> Result<Way, Doubt> {
    let to = SocketAddr::new(to.ip().to_canonical(), to.port());
    if reachable::is_host(to.ip()).is_err() || reachable::is_ours(to) {
        return Err(Doubt::NotOutside);
    }
    let listener = match to.ip() {
        IpAddr::V4(_) => plan.port_ipv4.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        IpAddr::V6(_) => plan.port_ipv6.map(|port| SocketAddr::from((Ipv6Addr::LOCALHOST, port))),
    };
    if let Some(listener) = listener {
        // By a mark is told who runs as the application's user.
        let own_uid = match plan.own {
            CaptureOwn::Uid(own) => own,
            CaptureOwn::Mark(_) => uid,
        };
        is_sidecar(listener, own_uid)?;
    }
    match attempt(uid, to, listener)? {
        // Connection tracking changes the port where it knows the one that we have from a connection before. Not twice.
        Way::Past => match attempt(uid, to, listener)? {
            Way::Past => Ok(Way::Past),
            Way::Captured(_) => Err(Doubt::Both),
        },
        captured => Ok(captured),
    }
}

/// Whether the sidecar listens there: its user, or root, who passes a service its sockets.
fn is_sidecar(listener: SocketAddr, own_uid: u32) -> Result<(), Doubt> {
    let mut users = Vec::new();
    let takes = |socket: &TcpSocket| {
        let ip = socket.local.ip();
        socket.state == State::Listening
            && socket.local.port() == listener.port()
            && (ip == listener.ip() || ip.is_unspecified())
    };
    Family::of(listener).each(|socket| users.extend(takes(&socket).then_some(socket.uid)))?;
    let is_strange = |uid: &&u32| **uid != own_uid && **uid != 0;
    match (users.iter().find(is_strange), users.is_empty()) {
        (Some(stranger), _) => Err(Doubt::Stranger(listener, *stranger, own_uid)),
        (None, true) => Err(Doubt::NoListener(listener)),
        (None, false) => Ok(()),
    }
}

fn attempt(uid: u32, to: SocketAddr, listener: Option<SocketAddr>) -> Result<Way, Doubt> {
    let socket = bound(uid, to, listener)?;
    match socket.connect_timeout(&to.into(), CONNECT_TIMEOUT) {
        Ok(()) => {}
        Err(error) if listener.is_none() && error.kind() == io::ErrorKind::ConnectionRefused => {
            return Err(Doubt::Refused);
        }
        Err(error) => return Err(Doubt::NotConnected(error)),
    }
    let local = socket.local_addr()?.as_socket().ok_or_else(|| io::Error::other("it has no address"))?;
    for _ in 0..LOOKS {
        let (mut arrived, mut stands) = (None, false);
        Family::of(to).each(|socket| {
            if Some(socket.local) == listener && is_same(socket.remote, local) {
                arrived = listener;
            }
            stands |= is_same(socket.local, local) && socket.state == State::Established;
        })?;
        match (arrived, stands) {
            (Some(listener), _) => return Ok(Way::Captured(listener)),
            (None, false) => return Err(Doubt::Ended),
            (None, true) => {}
        }
    }
    Ok(Way::Past)
}

/// A socket of that user with a port of its own, of which the listener has nothing left.
fn bound(uid: u32, to: SocketAddr, listener: Option<SocketAddr>) -> Result<Socket, Doubt> {
    let any: SocketAddr = match to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    // Those that are no good are held until there is one that is: the kernel would give the same again.
    let mut held = Vec::new();
    for _ in 0..PORTS {
        let made = as_user(uid, || Socket::new(Domain::for_address(to), Type::STREAM, None));
        let socket = made.map_err(|error| Doubt::User(uid, error))??;
        socket.bind(&any.into())?;
        let port = socket.local_addr()?.as_socket().map(|local| local.port());
        let mut is_known = false;
        Family::of(to).each(|other| {
            is_known |= Some(other.local) == listener && Some(other.remote.port()) == port;
        })?;
        if !is_known {
            return Ok(socket);
        }
        held.push(socket);
    }
    Err(Doubt::Busy)
}

/// The same end of a connection; scopes of IPv6 are in no table.
fn is_same(one: SocketAddr, other: SocketAddr) -> bool {
    (one.ip(), one.port()) == (other.ip(), other.port())
}

/// Makes something as that user: to the packet filter a socket belongs to whoever made it.
fn as_user<T>(uid: u32, make: impl FnOnce() -> T) -> io::Result<T> {
    let before = geteuid();
    if before.as_raw() == uid {
        return Ok(make());
    }
    let unchanged = None::<Uid>;
    set_thread_res_uid(unchanged, Uid::from_raw(uid), unchanged)?;
    let made = make();
    set_thread_res_uid(unchanged, before, unchanged)?;
    Ok(made)
}

/// Where sockets of the user `uid` listen that others can reach from outside without the inbound listener, if the rules
/// are in force.
///
/// # Errors
/// The sockets cannot be listed.
pub fn open(plan: Option<&CaptureInbound>, uid: u32) -> io::Result<Vec<SocketAddr>> {
    let mut open = Vec::new();
    for family in [Family::Ipv4, Family::Ipv6] {
        family.each(|socket| open.extend(is_open(plan, uid, &socket).then_some(socket.local)))?;
    }
    open.sort_unstable();
    Ok(open)
}

fn is_open(plan: Option<&CaptureInbound>, uid: u32, socket: &TcpSocket) -> bool {
    let port = socket.local.port();
    let is_captured = plan.is_some_and(|plan| match &plan.ports {
        CapturePorts::Only(ports) => ports.contains(&port),
        CapturePorts::Except(ports) => !ports.contains(&port),
    });
    socket.state == State::Listening && socket.uid == uid && !socket.local.ip().is_loopback() && !is_captured
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{CaptureFrom, Captured};
    use std::net::TcpListener;

    fn plan(port: Option<u16>) -> CaptureOutbound {
        CaptureOutbound {
            port_ipv4: port,
            port_ipv6: None,
            from: CaptureFrom::Everyone,
            own: CaptureOwn::Uid(geteuid().as_raw()),
            exclude_ports: Vec::new(),
            exclude_networks: Vec::new(),
            exclude_uids: Vec::new(),
        }
    }

    /// Asked by our own user, of whom no rules capture anything.
    fn check(plan: &CaptureOutbound, to: &str, doubt: &str) {
        let told = outbound(plan, geteuid().as_raw(), to.parse().unwrap());
        let error = told.expect_err(to).to_string();
        assert!(error.contains(doubt), "{to}: {error}");
    }

    #[test]
    fn what_cannot_be_told_is_not_told() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let serving = plan(Some(at.port()));
        // Who calls the listener itself is found there, and was not captured.
        check(&serving, &at.to_string(), "an address of this machine");
        check(&serving, "[::ffff:127.0.0.1]:80", "an address of this machine");
        check(&serving, "0.0.0.0:80", "of no host");
        check(&serving, "224.0.0.1:80", "of no host");
        drop(listener);
        check(&serving, "192.0.2.7:443", "nobody listens at 127.0.0.1");
    }

    #[test]
    fn somebody_elses_listener_is_not_the_sidecar() {
        let Ok(listener) = as_user(4711, || TcpListener::bind("127.0.0.1:0").unwrap()) else { return };
        let at = listener.local_addr().unwrap();
        let told = is_sidecar(at, geteuid().as_raw()).expect_err("a stranger").to_string();
        assert!(told.contains("listens user 4711"), "{told}");
        is_sidecar(at, 4711).expect("the sidecar's own user");
    }

    #[test]
    fn a_port_that_is_not_captured_is_open_where_the_service_listens_beyond_loopback() {
        let inbound =
            |ports| CaptureInbound { port: 8443, ipv4: true, ipv6: true, ports, way: Captured::Redirect };
        let only = inbound(CapturePorts::Only(vec![8080]));
        let except = inbound(CapturePorts::Except(vec![22]));
        for (plan, local, uid, state, expected) in [
            (Some(&only), "0.0.0.0:8080", 1000, State::Listening, false),
            (Some(&only), "[::]:9999", 1000, State::Listening, true),
            (Some(&only), "10.0.0.1:9999", 1000, State::Listening, true),
            (Some(&only), "127.0.0.1:9999", 1000, State::Listening, false),
            (Some(&only), "[::1]:9999", 1000, State::Listening, false),
            (Some(&only), "0.0.0.0:9999", 1001, State::Listening, false),
            (Some(&only), "10.0.0.1:9999", 1000, State::Established, false),
            (Some(&except), "0.0.0.0:9999", 1000, State::Listening, false),
            (Some(&except), "0.0.0.0:22", 1000, State::Listening, true),
            (None, "0.0.0.0:8080", 1000, State::Listening, true),
        ] {
            let remote = "0.0.0.0:0".parse().unwrap();
            let socket = TcpSocket { local: local.parse().unwrap(), remote, state, uid };
            assert_eq!(is_open(plan, 1000, &socket), expected, "{plan:?} {socket:?}");
        }
    }
}
