//! How an upstream is told of the way that a request came: `x-forwarded-*`, `forwarded` (RFC 7239) and `via`. Off unless the
//! route says otherwise: they tell who is where in the network.
use super::exchange::Exchange;
use super::identity_headers::Telling;
use super::normalise::Normalised;
use super::obligations::Duties;
use crate::config::{ForwardedFor, ForwardedProto};
use crate::routing::Route;
use http::header::{FORWARDED, VIA};
use http::{HeaderName, Version};
use postern_audit::Tls;
use std::net::IpAddr;

pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// Headers by which applications are told whether their caller spoke TLS.
pub(super) const SCHEMES: [HeaderName; 4] = [
    X_FORWARDED_PROTO,
    HeaderName::from_static("x-forwarded-ssl"),
    HeaderName::from_static("front-end-https"),
    HeaderName::from_static("x-forwarded-scheme"),
];
/// How the sidecar calls itself: what it is, and not where.
const PSEUDONYM: &str = "postern";

/// Adds what the route wants the upstream told of it. This is done last, so that it begins with what policy leaves of the
/// request and not with what was decided on.
pub(super) fn tell(
    exchange: &Exchange,
    route: &Route,
    (request, duties): (&Normalised, &Duties),
    telling: &mut Telling,
) {
    let (connection, wanted) = (&exchange.connection, route.forwarded_headers);
    // The local workload has none where it calls by a Unix socket.
    let address = connection.source.ip().map(|ip| ip.to_canonical());
    let scheme = connection.scheme();
    let left = |name: &HeaderName| duties.left(name, request.headers().get(name));
    let appended = |name: &HeaderName, own: &str| {
        let left = left(name);
        let left = left.iter().filter_map(|value| value.to_str().ok()).filter(|text| !text.is_empty());
        left.chain([own]).collect::<Vec<_>>().join(", ")
    };
    let is_left = |name: &HeaderName| !left(name).is_empty();
    match (wanted.address, address) {
        (ForwardedFor::Pass, _) | (ForwardedFor::Append, None) => {}
        (ForwardedFor::Append, Some(ip)) => {
            telling.set(X_FORWARDED_FOR, &appended(&X_FORWARDED_FOR, &ip.to_string()));
        }
        (ForwardedFor::Set, Some(ip)) => telling.set(X_FORWARDED_FOR, &ip.to_string()),
        (ForwardedFor::Set, None) | (ForwardedFor::Remove, _) => {
            telling.remove_if(is_left(&X_FORWARDED_FOR), X_FORWARDED_FOR);
        }
    }
    match wanted.proto {
        ForwardedProto::Pass => {}
        ForwardedProto::Set => telling.set(X_FORWARDED_PROTO, scheme),
        ForwardedProto::Remove => telling.remove_if(is_left(&X_FORWARDED_PROTO), X_FORWARDED_PROTO),
    }
    take_off_scheme(exchange, route, (request, duties), telling);
    if wanted.host {
        telling.set(X_FORWARDED_HOST, request.authority());
    }
    if wanted.forwarded {
        let (node, host) = (node(address), request.authority());
        telling.set(FORWARDED, &format!("for={node};host=\"{host}\";proto={scheme}"));
    }
    if wanted.via {
        let version = if request.version() == Version::HTTP_2 { "2" } else { "1.1" };
        telling.set(VIA, &appended(&VIA, &format!("{version} {PSEUDONYM}")));
    }
}

/// A caller in plain text beside TLS cannot say that it spoke TLS: applications set cookies and redirect by that. What the route
/// or policy makes of such a header stands.
fn take_off_scheme(
    exchange: &Exchange,
    route: &Route,
    (request, duties): (&Normalised, &Duties),
    telling: &mut Telling,
) {
    match exchange.connection.tls() {
        Tls::AsAsked => return,
        Tls::None => {}
    }
    let written = &route.rewrite.request_headers;
    for name in SCHEMES {
        let is_told = name == X_FORWARDED_PROTO && route.forwarded_headers.proto != ForwardedProto::Pass;
        let is_written =
            written.remove.contains(&name) || written.set.iter().any(|(written, _)| *written == name);
        let is_theirs = request.headers().contains_key(&name);
        telling.remove_if(is_theirs && !is_told && !is_written && !duties.concern(&name), name);
    }
}

/// RFC 7239 §6: an address of IPv6 is in brackets, and the brackets in quotes.
fn node(address: Option<IpAddr>) -> String {
    match address {
        None => "unknown".to_owned(),
        Some(IpAddr::V4(ip)) => ip.to_string(),
        Some(IpAddr::V6(ip)) => format!("\"[{ip}]\""),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_node_is_written_as_its_specification_has_it() {
        for (address, written) in [
            (Some("192.0.2.43".parse().unwrap()), "192.0.2.43"),
            (Some("2001:db8:cafe::17".parse().unwrap()), "\"[2001:db8:cafe::17]\""),
            (None, "unknown"),
        ] {
            assert_eq!(super::node(address), written);
        }
    }
}
