//! Headers that belong to one connection and not to the message (RFC 9110 §7.6.1), in both directions.
//!
//! The names are a fixed list. What else a `Connection` header lists is *not* removed: a caller must not be
//! able to take away headers that others set (CVE-2024-45410).
use http::header::{CONTENT_LENGTH, TE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};

/// All of them but `te`, of which one value is passed on, and `trailer`, which belongs to the message.
const NAMES: [HeaderName; 8] = [
    HeaderName::from_static("connection"),
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-authenticate"),
    HeaderName::from_static("proxy-authorization"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("transfer-encoding"),
    HeaderName::from_static("upgrade"),
];

/// Whether `name` (lower-case) belongs to the connection.
pub(super) fn is_hop_by_hop(name: &str) -> bool {
    match name.as_bytes().first() {
        Some(b'c' | b'h' | b'k' | b'p' | b't' | b'u') => {
            name == "te" || NAMES.iter().any(|hop| hop.as_str() == name)
        }
        Some(_) | None => false,
    }
}

/// Removes what belongs to the caller's connection. `te: trailers` stays in this one spelling: gRPC servers
/// want to see it, and it says nothing that a proxy which passes trailers on could not promise.
pub(super) fn strip_request(headers: &mut HeaderMap) {
    strip(headers);
    let wants_trailers = |value: &HeaderValue| {
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    };
    match headers.get_all(TE).iter().any(wants_trailers) {
        true => drop(headers.insert(TE, HeaderValue::from_static("trailers"))),
        false => drop(headers.remove(TE)),
    }
}

fn strip(headers: &mut HeaderMap) {
    for name in &NAMES {
        headers.remove(name);
    }
}

/// An upstream's answer whose length two parsers may read differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ResponseFault {
    /// More than one `content-length`, a list, or not a number.
    #[error("the upstream's content length is malformed or repeated")]
    ContentLength,
    /// A `transfer-encoding` that is not exactly `chunked`, or is repeated.
    #[error("the upstream's transfer encoding is not exactly `chunked`")]
    TransferEncoding,
    /// Both lengths.
    #[error("the upstream sent a content length and a transfer encoding")]
    FramingConflict,
}

/// Checks how an upstream framed its answer, then removes what belongs to its connection and the headers by
/// which this proxy alone speaks. On a fault the answer is not passed on, and the connection that it came on
/// must not be used again.
///
/// # Errors
/// Every variant of [`ResponseFault`].
pub(crate) fn guard_response(headers: &mut HeaderMap) -> Result<(), ResponseFault> {
    let length = content_length(headers).map_err(|NotOneLength| ResponseFault::ContentLength)?;
    match (length, is_chunked(headers)) {
        (Some(_), Some(_)) => return Err(ResponseFault::FramingConflict),
        (None, Some(false)) => return Err(ResponseFault::TransferEncoding),
        (None | Some(_), None) | (None, Some(true)) => {}
    }
    strip(headers);
    headers.remove(TE);
    let is_ours = |name: &&HeaderName| name.as_str().starts_with("x-postern-");
    while let Some(name) = headers.keys().find(is_ours).cloned() {
        headers.remove(name);
    }
    Ok(())
}

/// There is a `content-length`, but not exactly one decimal number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotOneLength;

/// The declared length of the body.
pub(super) fn content_length(headers: &HeaderMap) -> Result<Option<u64>, NotOneLength> {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return if headers.contains_key(CONTENT_LENGTH) { Err(NotOneLength) } else { Ok(None) };
    };
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|digits| digits.parse().ok()).map(Some).ok_or(NotOneLength)
}

/// Whether the transfer coding, if there is one, is exactly `chunked`.
pub(super) fn is_chunked(headers: &HeaderMap) -> Option<bool> {
    let mut values = headers.get_all(TRANSFER_ENCODING).iter();
    let first = values.next()?;
    Some(values.next().is_none() && first.as_bytes().eq_ignore_ascii_case(b"chunked"))
}
