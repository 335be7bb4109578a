//! Connections that packet rules lead here on their way elsewhere: where they were going, and whether that may be.
//!
//! Linux alone knows such rules: elsewhere nothing is captured, and the listener refuses all that comes.
use super::Listener;
use super::socket::canonical;
use crate::config::Captured;
use crate::pipeline::Refusal;
use crate::reachable::{Unreachable, is_elsewhere, is_host};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use tokio::sync::watch;

/// How connections come to a listener, and the sockets of this sidecar, which none of them may have been going to.
#[derive(Clone, Debug)]
pub(super) struct Capture {
    way: Captured,
    own: watch::Receiver<Arc<[SocketAddr]>>,
}

impl Capture {
    pub(super) fn new(way: Captured, own: &watch::Receiver<Arc<[SocketAddr]>>) -> Self {
        Self { way, own: own.clone() }
    }

    /// Where a connection was going, as far as the kernel knows.
    pub(super) fn original(&self, stream: &TcpStream, local: SocketAddr) -> Option<SocketAddr> {
        match self.way {
            Captured::Transparent => Some(canonical(local)),
            Captured::Redirect => redirected(stream, local).map(canonical),
        }
    }
}

/// A connection was not to come here, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotCaptured {
    pub(super) reason: Refusal,
    pub(super) original: Option<SocketAddr>,
}

/// Where a connection to this listener was going; nothing where it is not for captured ones.
pub(super) fn destination(
    listener: &Listener,
    original: Option<SocketAddr>,
) -> Result<Option<SocketAddr>, NotCaptured> {
    let Some(capture) = &listener.capture else { return Ok(None) };
    let refused = |reason| NotCaptured { reason, original };
    let address = original.ok_or_else(|| refused(Refusal::ConnNotCaptured))?;
    match is_host(address.ip()).and_then(|()| is_elsewhere(address, &capture.own.borrow())) {
        Ok(()) => Ok(Some(address)),
        Err(Unreachable::NoHost) => Err(refused(Refusal::ConnNotCaptured)),
        Err(Unreachable::LeadsBack) => Err(refused(Refusal::ConnLoop)),
    }
}

/// What the kernel remembers of a redirected connection, by the family that it came in by: one of IPv4 may come to a
/// socket of IPv6.
#[cfg(target_os = "linux")]
fn redirected(stream: &TcpStream, local: SocketAddr) -> Option<SocketAddr> {
    use rustix::net::sockopt::{ip_original_dst, ipv6_original_dst};
    if local.ip().to_canonical().is_ipv4() {
        ip_original_dst(stream).ok().map(SocketAddr::V4)
    } else {
        ipv6_original_dst(stream).ok().map(SocketAddr::V6)
    }
}

#[cfg(not(target_os = "linux"))]
fn redirected(_: &TcpStream, _: SocketAddr) -> Option<SocketAddr> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::{Callers, RawHead};
    use crate::telemetry::Metrics;
    use crate::telemetry::metrics::MetricsPlan;

    /// What becomes of a connection that was going there, on a listener beside these sockets.
    fn check(own: &[&str], original: Option<&str>, expected: Result<&str, Refusal>) {
        let metrics = Metrics::new(&MetricsPlan { version: "test", started_unix_s: 0, reasons: &[] });
        let parts = (Callers::Local, metrics.listener("egress"));
        let own: Arc<[SocketAddr]> = own.iter().map(|own| own.parse().unwrap()).collect();
        let capture = Some(Capture::new(Captured::Redirect, &watch::channel(own).1));
        let listener = Listener { capture, ..Listener::of("egress", RawHead::LIMITS, parts) };
        let found = destination(&listener, original.map(|original| original.parse().unwrap()));
        let found = found.map(|address| address.unwrap().to_string()).map_err(|refused| refused.reason);
        assert_eq!(found.as_deref().map_err(|refused| *refused), expected, "{original:?}");
    }

    #[test]
    fn a_connection_was_going_to_a_host_that_is_not_this_sidecar() {
        let own = ["127.0.0.1:15001", "0.0.0.0:8443", "[::1]:15002"];
        check(&own, Some("192.0.2.7:5432"), Ok("192.0.2.7:5432"));
        check(&own, Some("192.0.2.7:15001"), Ok("192.0.2.7:15001"));
        // Another sidecar of the fleet has the same port.
        check(&own, Some("192.0.2.7:8443"), Ok("192.0.2.7:8443"));
        check(&own, Some("127.0.0.1:15001"), Err(Refusal::ConnLoop));
        check(&own, Some("127.0.0.1:8443"), Err(Refusal::ConnLoop));
        check(&own, Some("[::1]:15002"), Err(Refusal::ConnLoop));
        check(&own, None, Err(Refusal::ConnNotCaptured));
        for nobody in ["0.0.0.0:80", "[::]:80", "224.0.0.1:80", "255.255.255.255:80", "[ff02::1]:80"] {
            check(&own, Some(nobody), Err(Refusal::ConnNotCaptured));
        }
    }
}
