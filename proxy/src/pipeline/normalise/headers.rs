//! Which headers may come in, which are taken away, and that each has one value.
use super::GuardLimits;
use super::error::GuardError;
use super::hop_by_hop::{self, NotOneLength};
use http::header::{self, AUTHORIZATION, COOKIE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use std::borrow::Cow;

/// Headers that tell an application who calls. They are ours to set; from outside they are lies.
const IDENTITY: &[&str] = &["client-cert", "client-cert-chain", "l5d-client-id", "x-decision-id"];

/// How Envoy tells an upstream of the caller's certificate.
const CLIENT_CERT: &str = "x-forwarded-client-cert";

/// As [`IDENTITY`], for all names that start so.
const IDENTITY_PREFIXES: &[&str] = &[
    "ssl-client-",
    "x-amzn-mtls-",
    "x-client-cert",
    "x-forwarded-client-cert",
    "x-forwarded-tls-client-cert",
    "x-postern-",
    "x-spiffe-",
    "x-ssl-client-",
];

/// Headers by which an application or a framework is told of another method, authority or path than those
/// that were decided on.
const OVERRIDES: &[&str] = &[
    "forwarded",
    "x-forwarded-host",
    "x-forwarded-method",
    "x-forwarded-path",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-server",
    "x-forwarded-uri",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-host",
    "x-original-method",
    "x-original-uri",
    "x-original-url",
    "x-rewrite-url",
];

/// Headers that this proxy itself works out, so that neither caller nor policy sets them.
const FRAMING: &[&str] = &["content-length", "expect", "host", "trailer"];

/// Headers that are no list: a second value is a contradiction.
const SINGLE: &[&str] = &[
    "content-location",
    "content-range",
    "content-type",
    "date",
    "dpop",
    "expect",
    "from",
    "grpc-encoding",
    "grpc-timeout",
    "if-modified-since",
    "if-range",
    "if-unmodified-since",
    "max-forwards",
    "origin",
    "proxy-authorization",
    "range",
    "referer",
    "traceparent",
    "txn-token",
    "user-agent",
    "workload-identity-token",
    "workload-proof-token",
];

/// Where a transaction token travels (draft-ietf-oauth-transaction-tokens).
pub(crate) const TXN_TOKEN: HeaderName = HeaderName::from_static("txn-token");

/// The proof that goes with a token (RFC 9449 §4.1).
pub(crate) const DPOP: HeaderName = HeaderName::from_static("dpop");

/// Who a workload says that it is (WIT-SVID §5).
pub(crate) const WORKLOAD_IDENTITY: HeaderName = HeaderName::from_static("workload-identity-token");

/// What it proves it with (draft-ietf-wimse-wpt).
pub(crate) const WORKLOAD_PROOF: HeaderName = HeaderName::from_static("workload-proof-token");

/// Whether a header of this name tells who calls, in any spelling that an application may take for it
/// (`X_Spiffe_Id` reaches a CGI or WSGI application as `HTTP_X_SPIFFE_ID`).
pub(crate) fn is_identity_header(name: &str) -> bool {
    is_identity(&fold(name))
}

/// Whether neither a caller nor an obligation may set this header: identity, framing, and what belongs to the
/// connection, in any spelling.
pub(crate) fn is_protected(name: &str) -> bool {
    let name = fold(name);
    is_identity(&name) || FRAMING.contains(&&*name) || hop_by_hop::is_hop_by_hop(&name)
}

/// Whether a header of this name is not passed on as it came: what is protected, and what tells of another target, in any
/// spelling.
pub(crate) fn is_taken_off(name: &str) -> bool {
    is_protected(name) || OVERRIDES.contains(&&*fold(name))
}

/// Whether a claim may be sent on under this name: a plain one, that is not ours for anything else.
pub(crate) fn may_carry_claim(name: &str) -> bool {
    let is_ours = IDENTITY.contains(&name) || name.starts_with(CLIENT_CERT) || OVERRIDES.contains(&name);
    let is_managed = FRAMING.contains(&name) || hop_by_hop::is_hop_by_hop(name);
    !name.is_empty()
        && name.len() <= 64
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !is_ours
        && !is_managed
}

fn is_identity(name: &str) -> bool {
    IDENTITY.contains(&name) || IDENTITY_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// What becomes of a header from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Keep,
    Drop,
    /// It frames the message or belongs to the connection, and is read before it goes.
    Managed,
    /// Another parser may take it for another header.
    Ambiguous,
}

fn fate(name: &str) -> Fate {
    if !is_plain(name) {
        return if is_taken_off(name) { Fate::Drop } else { Fate::Ambiguous };
    }
    // By the first letter, so that most headers are looked up in short lists or nowhere.
    let is_lie = match name.as_bytes().first() {
        Some(b'f' | b'x') => is_identity(name) || OVERRIDES.contains(&name),
        Some(b'c' | b'l' | b's') => is_identity(name),
        Some(_) | None => false,
    };
    match name {
        _ if is_lie => Fate::Drop,
        "content-length" | "expect" => Fate::Managed,
        _ if hop_by_hop::is_hop_by_hop(name) => Fate::Managed,
        _ => Fate::Keep,
    }
}

/// Lower-case letters, digits and hyphens. Names in a `HeaderMap` have no upper case.
fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// The name as an application sees it that takes all odd bytes for hyphens.
pub(crate) fn fold(name: &str) -> Cow<'_, str> {
    let fold = |byte: char| if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { '-' };
    if is_plain(name) { Cow::Borrowed(name) } else { Cow::Owned(name.chars().map(fold).collect()) }
}

/// Headers with one value each, of which nothing lies about the caller or the request.
///
/// `host` is left out: the authority is read before this, and written by whoever sends the request on.
///
/// # Errors
/// The header and framing variants of [`GuardError`].
pub(super) fn clean(
    headers: &mut HeaderMap,
    (method, version): (&Method, Version),
    limits: &GuardLimits,
) -> Result<Cleaned, GuardError> {
    let found = survey(headers, limits)?;
    let (mut client_cert, mut wants_websocket) = (None, false);
    if found.managed > 0 {
        check_framing(headers)?;
    }
    if headers.len() != headers.keys_len() {
        join(headers, version)?;
    }
    headers.remove(HOST);
    if found.managed > 0 {
        check_expectation(headers)?;
        wants_websocket = asks_for_websocket(headers, (method, version))?;
        headers.remove(header::EXPECT);
        hop_by_hop::strip_request(headers);
    }
    if found.lies > 0 {
        client_cert = joined(headers.get_all(CLIENT_CERT).iter());
        drop_listed(headers);
    }
    for secret in [AUTHORIZATION, COOKIE, DPOP, TXN_TOKEN, WORKLOAD_IDENTITY, WORKLOAD_PROOF] {
        // Keeps them out of debug output and of HPACK's table (RFC 7541 §7.1.3).
        if let Some(value) = headers.get_mut(secret) {
            value.set_sensitive(true);
        }
    }
    Ok(Cleaned { client_cert, wants_websocket })
}

/// What was found in headers that go no further.
#[derive(Debug)]
pub(super) struct Cleaned {
    /// `x-forwarded-client-cert` as it was.
    pub(super) client_cert: Option<HeaderValue>,
    /// Whether the connection is to become a WebSocket.
    pub(super) wants_websocket: bool,
}

/// Several fields of one name as one (RFC 9110 §5.3).
fn joined<'a>(values: impl Iterator<Item = &'a HeaderValue>) -> Option<HeaderValue> {
    let values: Vec<_> = values.map(HeaderValue::as_bytes).collect();
    if values.is_empty() { None } else { HeaderValue::from_bytes(&values.join(&b","[..])).ok() }
}

fn check_framing(headers: &HeaderMap) -> Result<(), GuardError> {
    let length = hop_by_hop::content_length(headers).map_err(|NotOneLength| GuardError::ContentLength)?;
    match (length, hop_by_hop::is_chunked(headers)) {
        (Some(_), Some(_)) => Err(GuardError::FramingConflict),
        (None, Some(false)) => Err(GuardError::TransferEncoding),
        (None | Some(_), None) | (None, Some(true)) => Ok(()),
    }
}

/// Headers that more than a look is due to.
#[derive(Debug, Default)]
struct Found {
    managed: usize,
    lies: usize,
}

/// Checks names, values and sizes in one pass.
fn survey(headers: &HeaderMap, limits: &GuardLimits) -> Result<Found, GuardError> {
    if headers.len() > limits.header_count_max {
        return Err(GuardError::HeaderCount);
    }
    let (mut bytes, mut found) = (0usize, Found::default());
    for (name, value) in headers {
        let size = name.as_str().len().saturating_add(value.len());
        bytes = bytes.saturating_add(size);
        if size > limits.header_line_bytes_max {
            return Err(GuardError::HeaderTooLarge);
        }
        match fate(name.as_str()) {
            Fate::Keep => {}
            Fate::Drop => found.lies += 1,
            Fate::Managed => found.managed += 1,
            Fate::Ambiguous => return Err(GuardError::HeaderName),
        }
        if !value.as_bytes().is_ascii() {
            return Err(GuardError::HeaderValue);
        }
    }
    if bytes > limits.header_bytes_max { Err(GuardError::HeadTooLarge) } else { Ok(found) }
}

fn drop_listed(headers: &mut HeaderMap) {
    while let Some(name) = headers.keys().find(|name| fate(name.as_str()) == Fate::Drop).cloned() {
        headers.remove(name);
    }
}

/// Makes one value of several (RFC 9110 §5.3), so that policy reads all of them and the upstream gets what
/// policy read.
fn join(headers: &mut HeaderMap, version: Version) -> Result<(), GuardError> {
    while let Some(name) = headers.keys().find(|name| is_repeated(headers, name)).cloned() {
        let separator = separator(&name, version)?;
        let mut joined = Vec::new();
        for (position, value) in headers.get_all(&name).iter().enumerate() {
            if position > 0 {
                joined.extend_from_slice(separator);
            }
            joined.extend_from_slice(value.as_bytes());
        }
        headers.insert(name, HeaderValue::from_bytes(&joined).map_err(|_| GuardError::HeaderValue)?);
    }
    Ok(())
}

fn is_repeated(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.get_all(name).iter().nth(1).is_some()
}

fn separator(name: &HeaderName, version: Version) -> Result<&'static [u8], GuardError> {
    match *name {
        HOST => Err(GuardError::HostDuplicate),
        AUTHORIZATION => Err(GuardError::AuthorizationMultiple),
        // HTTP/2 cuts cookies into crumbs (RFC 9113 §8.2.3); HTTP/1 has one line (RFC 6265 §5.4).
        COOKIE if version == Version::HTTP_2 => Ok(b"; "),
        COOKIE => Err(GuardError::HeaderDuplicate),
        _ if SINGLE.contains(&name.as_str()) => Err(GuardError::HeaderDuplicate),
        _ => Ok(b","),
    }
}

/// The connection to the caller answers `100 Continue` itself, when the body is first asked for.
fn check_expectation(headers: &HeaderMap) -> Result<(), GuardError> {
    match headers.get(header::EXPECT) {
        Some(value) if !value.as_bytes().eq_ignore_ascii_case(b"100-continue") => Err(GuardError::Expect),
        Some(_) | None => Ok(()),
    }
}

/// Whether a caller asks for WebSocket, and so as RFC 6455 §4.1 wants it. An upgrade to anything else is ignored, as it may
/// be: one to h2c changes nothing for the caller, but a WebSocket client would wait in vain.
fn asks_for_websocket(
    headers: &HeaderMap,
    (method, version): (&Method, Version),
) -> Result<bool, GuardError> {
    let has = |name: HeaderName, wanted: &[u8]| {
        let value = headers.get(name).map(HeaderValue::as_bytes).unwrap_or_default();
        value.split(|byte| *byte == b',').any(|token| token.trim_ascii().eq_ignore_ascii_case(wanted))
    };
    if !has(header::UPGRADE, b"websocket") {
        return Ok(false);
    }
    let is_alone = headers.get(header::UPGRADE).is_some_and(|value| !value.as_bytes().contains(&b','));
    let has_no_body = !headers.contains_key(header::TRANSFER_ENCODING)
        && headers.get(header::CONTENT_LENGTH).is_none_or(|length| length == "0");
    let is_right = is_alone
        && has_no_body
        && *method == Method::GET
        && version == Version::HTTP_11
        && has(header::CONNECTION, b"upgrade")
        && headers.get(header::SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13")
        && headers.contains_key(header::SEC_WEBSOCKET_KEY);
    if is_right { Ok(true) } else { Err(GuardError::Upgrade) }
}
