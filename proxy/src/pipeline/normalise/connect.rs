//! CONNECT: plain, it asks for a byte stream to a host and port (RFC 9110 §9.3.6); extended, over HTTP/2, for a protocol
//! in place of the stream's answer (RFC 8441).
use super::error::GuardError;
use crate::listener::{Head, TargetForm};
use http::header::{CONTENT_LENGTH, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING};
use http::request::Parts;
use http::{Method, Version};
use hyper::ext::Protocol;

/// What a request wants its connection, or its stream, to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Switch {
    /// It wants an answer.
    Nothing,
    /// A WebSocket, as HTTP/1.1 asks for it (RFC 6455 §4.1).
    WebSocket,
    /// The same over HTTP/2 (RFC 8441 §5).
    ExtendedConnect,
    /// A byte stream to its authority.
    Connect,
}

/// Takes an extended CONNECT for what it means, and tells whether it was one: whatever carries it, a WebSocket is opened
/// by GET, so that policy and routes know one spelling of it.
pub(super) fn take_extended(parts: &mut Parts) -> Result<bool, GuardError> {
    let Some(protocol) = parts.extensions.remove::<Protocol>() else { return Ok(false) };
    let is_websocket = parts.method == Method::CONNECT
        && parts.version == Version::HTTP_2
        && protocol.as_str() == "websocket"
        && parts.headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
    if !is_websocket || has_body(parts) {
        return Err(GuardError::Upgrade);
    }
    // It belongs to the handshake over HTTP/1.1 (RFC 8441 §5), of which the upstream gets one of ours.
    parts.headers.remove(SEC_WEBSOCKET_KEY);
    parts.method = Method::GET;
    Ok(true)
}

/// A CONNECT names a host and a port, and nothing else.
pub(super) fn check(parts: &Parts, seen: Option<&Head>) -> Result<(), GuardError> {
    let uri = &parts.uri;
    let port = uri.authority().and_then(http::uri::Authority::port_u16);
    let is_bare = uri.scheme().is_none() && uri.path_and_query().is_none();
    let is_written_so = seen
        .is_none_or(|head| head.form() == TargetForm::Authority && !head.has_fragment() && head.is_of(uri));
    match is_bare && is_written_so && port.is_some_and(|port| port > 0) && !has_body(parts) {
        true => Ok(()),
        false => Err(GuardError::Connect),
    }
}

fn has_body(parts: &Parts) -> bool {
    parts.headers.contains_key(TRANSFER_ENCODING) || parts.headers.contains_key(CONTENT_LENGTH)
}
