//! Trailers travel, but they never become headers (RFC 9110 §6.5): what frames, routes, authenticates or
//! identifies has no place behind a body.
use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;

/// Names that a trailer section must not carry, besides the identity headers.
const FORBIDDEN: &[&str] = &[
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-authorization",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Drops the forbidden names from a trailers frame; a data frame passes untouched.
pub(crate) fn guard(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Err(data) => data,
        Ok(mut trailers) => {
            strip(&mut trailers);
            Frame::trailers(trailers)
        }
    }
}

fn strip(trailers: &mut HeaderMap) {
    let forbidden: Vec<_> = trailers.keys().filter(|name| is_forbidden(name.as_str())).cloned().collect();
    for name in forbidden {
        trailers.remove(name);
    }
}

fn is_forbidden(name: &str) -> bool {
    FORBIDDEN.contains(&name) || super::normalise::is_identity_header(name)
}
