//! Step 4: the one spelling of a request, which policy decides on, routes match, the record holds and the
//! upstream gets.
//!
//! Nothing is repaired that two parsers could read differently: it is refused, with a reason code of its own.
//! What is left out (headers about the caller's connection, about the caller's identity, and about another
//! method, host or path) is left out before the decision, so that policy never sees what is not forwarded.
mod authority;
mod connect;
mod error;
mod headers;
mod hop_by_hop;
mod path;
mod query;

#[cfg(test)]
mod tests;

pub(crate) use connect::Switch;
pub(crate) use error::GuardError;
pub(crate) use headers::{
    DPOP, TXN_TOKEN, WORKLOAD_IDENTITY, WORKLOAD_PROOF, fold, is_identity_header, is_protected, is_taken_off,
    may_carry_claim,
};
pub(crate) use hop_by_hop::guard_response;

use crate::config::{IdentityHeaders, ListenerLimits};
use crate::listener::{Head, HeadFault, RawHead, TargetForm};
use crate::traffic::grpc_deadline::{self, GRPC_TIMEOUT};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};
use std::borrow::Cow;
use std::time::Duration;

/// What a request head may cost, on HTTP/1 and HTTP/2 alike.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GuardLimits {
    /// Names and values of all headers together.
    header_bytes_max: usize,
    /// Name and value of one header; also path and query.
    header_line_bytes_max: usize,
    /// Headers of a request.
    header_count_max: usize,
    /// The port that an authority need not name.
    default_port: u16,
}

/// What callers speak by TLS has this port (RFC 9110 §4.2.2); what they speak without has the other one.
const HTTPS_PORT: u16 = 443;
const HTTP_PORT: u16 = 80;

impl GuardLimits {
    /// For callers that speak without TLS.
    pub(crate) fn without_tls(self) -> Self {
        Self { default_port: HTTP_PORT, ..self }
    }
}

impl From<&ListenerLimits> for GuardLimits {
    fn from(limits: &ListenerLimits) -> Self {
        Self {
            header_bytes_max: limits.header_bytes_max,
            header_line_bytes_max: limits.header_line_bytes_max,
            header_count_max: limits.header_count_max,
            default_port: HTTPS_PORT,
        }
    }
}

/// A request head in its one spelling. Only [`normalise`] makes one.
#[derive(Clone, Debug)]
pub(crate) struct Normalised {
    method: Method,
    /// Scheme, authority, path and query, all canonical.
    uri: Uri,
    version: Version,
    headers: HeaderMap,
    client_cert: Option<HeaderValue>,
    grpc_timeout: Option<Duration>,
    switch: Switch,
    raw_path_differs: bool,
}

/// Puts a request head into its one spelling.
///
/// `raw` is what the HTTP/1 guard saw of this head; an HTTP/2 request has none. An HTTP/1 request without one
/// is refused.
///
/// # Errors
/// The first thing that is wrong with the head.
///
/// Kept a function of its own in optimised builds, so that its instructions can be counted.
#[inline(never)]
pub(crate) fn normalise(
    mut parts: Parts,
    raw: Option<RawHead>,
    limits: &GuardLimits,
) -> Result<Normalised, GuardError> {
    let seen = wire_view(&parts, raw)?;
    if seen.is_none() {
        check_scheme(&parts.uri)?;
    }
    let is_extended = connect::take_extended(&mut parts)?;
    check_method(&parts.method)?;
    if parts.method == Method::CONNECT {
        return tunnel(parts, seen.as_ref(), limits);
    }
    if let Some(head) = &seen {
        check_target(head, &parts.uri)?;
    }
    let authority = authority(&parts, seen.as_ref(), limits.default_port)?;
    let headers::Cleaned { client_cert, wants_websocket } =
        headers::clean(&mut parts.headers, (&parts.method, parts.version), limits)?;
    let switch = match (is_extended, wants_websocket) {
        (true, _) => Switch::ExtendedConnect,
        (false, true) => Switch::WebSocket,
        (false, false) => Switch::Nothing,
    };
    let (target, raw_path_differs) = target(parts.uri, limits)?;
    let grpc_timeout = grpc_timeout(&parts.headers)?;
    if is_grpc(&parts.headers) && !(path::is_grpc_method(target.path()) && target.query().is_none()) {
        return Err(GuardError::GrpcPath);
    }
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(Scheme::HTTPS);
    uri.authority = Some(authority);
    uri.path_and_query = Some(target);
    Ok(Normalised {
        method: parts.method,
        uri: Uri::from_parts(uri).map_err(|_| GuardError::TargetForm)?,
        version: parts.version,
        headers: parts.headers,
        client_cert,
        grpc_timeout,
        switch,
        raw_path_differs,
    })
}

/// The same for CONNECT, which has an authority for its target, with a port that is never left out.
fn tunnel(mut parts: Parts, seen: Option<&Head>, limits: &GuardLimits) -> Result<Normalised, GuardError> {
    connect::check(&parts, seen)?;
    let authority = authority(&parts, seen, NO_PORT)?;
    let headers::Cleaned { client_cert, .. } =
        headers::clean(&mut parts.headers, (&parts.method, parts.version), limits)?;
    Ok(Normalised {
        method: parts.method,
        uri: Uri::from(authority),
        version: parts.version,
        headers: parts.headers,
        client_cert,
        grpc_timeout: None,
        switch: Switch::Connect,
        raw_path_differs: false,
    })
}

/// A default that no port is.
const NO_PORT: u16 = 0;

impl Normalised {
    /// The method: one of the list, in upper case.
    pub(crate) fn method(&self) -> &Method {
        &self.method
    }

    /// `host` or `host:port`: lower-case, without the default port.
    pub(crate) fn authority(&self) -> &str {
        self.uri.authority().map_or("", Authority::as_str)
    }

    /// The canonical path, percent-encoded, with the parameters of its segments and without the query.
    pub(crate) fn path(&self) -> &str {
        self.uri.path()
    }

    /// The path as an application sees it that takes `;…` off its segments. A route must be the same for this
    /// and for [`Self::path`].
    pub(crate) fn path_without_params(&self) -> Cow<'_, str> {
        path::without_params(self.path())
    }

    /// The query as it was sent, without the `?`: printable ASCII. What `+` and `;` mean in it is the
    /// application's to say.
    pub(crate) fn query(&self) -> Option<&str> {
        self.uri.query()
    }

    /// The headers that are forwarded: one value each, all of them printable ASCII, so that there is none that
    /// policy cannot read. `host` is not among them.
    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Whether it asks to switch to WebSocket.
    pub(crate) fn wants_websocket(&self) -> bool {
        match self.switch {
            Switch::WebSocket | Switch::ExtendedConnect => true,
            Switch::Nothing | Switch::Connect => false,
        }
    }

    /// What it wants its connection to become.
    pub(crate) fn switch(&self) -> Switch {
        self.switch
    }

    /// How long a gRPC call may take in all, if it says so.
    pub(crate) fn grpc_timeout(&self) -> Option<Duration> {
        self.grpc_timeout
    }

    /// The transaction token, if the call carries one.
    pub(crate) fn transaction_token(&self) -> Option<&HeaderValue> {
        self.headers.get(TXN_TOKEN)
    }

    /// Takes off the transaction token: nobody here can tell whether it is one, and the service should not believe it.
    pub(crate) fn take_off_transaction_token(&mut self) {
        self.headers.remove(TXN_TOKEN);
    }

    /// Takes off what the route has us set: from outside it would be a lie.
    pub(crate) fn take_off(&mut self, ours: &IdentityHeaders) {
        for (name, _) in &ours.claims {
            self.headers.remove(name);
        }
    }

    /// `x-forwarded-client-cert` as the caller sent it, which neither policy nor, unless a route says so, the upstream
    /// sees.
    pub(crate) fn received_client_cert(&self) -> Option<&HeaderValue> {
        self.client_cert.as_ref()
    }

    /// Scheme, authority and path: what a proof is made for.
    pub(crate) fn target(&self) -> String {
        format!("https://{}{}", self.authority(), self.path())
    }

    /// Takes away what proves something to us and to nobody else: whoever else reads it could only learn how to be the
    /// caller for a while.
    pub(crate) fn take_credential(&mut self, name: &HeaderName) -> Option<HeaderValue> {
        self.headers.remove(name)
    }

    /// HTTP/1.1 or HTTP/2, as the caller spoke it.
    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// Whether the path was sent in another spelling.
    pub(crate) fn raw_path_differs(&self) -> bool {
        self.raw_path_differs
    }

    /// The head to send on, byte by byte what was decided on, but for the target where policy has edited the query
    /// ([`Self::target_with`]): the target is absolute, and whoever writes it to an HTTP/1 connection makes `host` of
    /// its authority.
    pub(crate) fn into_upstream_parts(self, edited: Option<Uri>) -> Parts {
        let (mut parts, ()) = http::Request::new(()).into_parts();
        parts.method = self.method;
        parts.uri = edited.unwrap_or(self.uri);
        parts.headers = self.headers;
        parts
    }
}

/// The spelling of [`Normalised::target`] for a URI without query and fragment. What could not be a target here has
/// none.
pub(crate) fn spell_target(uri: &str) -> Option<String> {
    let (scheme, rest) = uri.split_once("://").filter(|(scheme, _)| scheme.eq_ignore_ascii_case("https"))?;
    let at = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(at)?;
    let authority = authority::canonical(authority, HTTPS_PORT).ok()?;
    // RFC 9110 §4.2.3: no path is the root.
    let path = path::canonical(if path.is_empty() { "/" } else { path }).ok()?;
    Some(format!("{}://{authority}{path}", scheme.to_ascii_lowercase()))
}

/// What was seen of the head on the wire, where hyper does not show all of it.
fn wire_view(parts: &Parts, raw: Option<RawHead>) -> Result<Option<Head>, GuardError> {
    match (raw, parts.version) {
        (Some(RawHead::Refused(fault)), _) => Err(GuardError::Head(fault)),
        (Some(RawHead::Seen(head)), Version::HTTP_11) => Ok(Some(head)),
        (None, Version::HTTP_2) => Ok(None),
        (None, Version::HTTP_11) | (Some(RawHead::Seen(_)), Version::HTTP_2) => {
            Err(GuardError::Head(HeadFault::Untracked))
        }
        (Some(RawHead::Seen(_)) | None, _) => Err(GuardError::Version),
    }
}

/// An allow-list: what a method means to an application that the operator did not think of is not known.
fn check_method(method: &Method) -> Result<(), GuardError> {
    match *method {
        Method::GET | Method::HEAD | Method::POST | Method::PUT => Ok(()),
        Method::PATCH | Method::DELETE | Method::OPTIONS | Method::CONNECT => Ok(()),
        _ => Err(GuardError::Method),
    }
}

/// A request in origin form has no scheme, and one over HTTP/2 has none where it is a CONNECT. Some applications make it a part of
/// addresses, whatever it says.
fn check_scheme(uri: &Uri) -> Result<(), GuardError> {
    match uri.scheme_str() {
        None | Some("http" | "https") => Ok(()),
        Some(_) => Err(GuardError::TargetForm),
    }
}

fn check_target(head: &Head, uri: &Uri) -> Result<(), GuardError> {
    if head.has_fragment() {
        return Err(GuardError::Fragment);
    }
    match head.form() {
        TargetForm::Asterisk | TargetForm::Authority => return Err(GuardError::TargetForm),
        TargetForm::Absolute => check_scheme(uri)?,
        TargetForm::Origin => {}
    }
    if head.is_of(uri) { Ok(()) } else { Err(GuardError::Head(HeadFault::Untracked)) }
}

/// The authority of the target (`:authority`, or an absolute target) and of `host`, which must be the same.
fn authority(parts: &Parts, seen: Option<&Head>, default_port: u16) -> Result<Authority, GuardError> {
    match seen.map(Head::hosts) {
        Some(0) => return Err(GuardError::HostMissing),
        Some(1) | None => {}
        Some(_) => return Err(GuardError::HostDuplicate),
    }
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (host, None) => host.map(|host| host.to_str().map_err(|_| GuardError::HostInvalid)).transpose()?,
        (_, Some(_)) => return Err(GuardError::HostDuplicate),
    };
    let host = host.map(|host| authority::canonical(host, default_port)).transpose()?;
    let Some(named) = parts.uri.authority() else {
        let host = host.ok_or(GuardError::HostMissing)?;
        return spell_authority(&host);
    };
    let canonical = authority::canonical(named.as_str(), default_port)?;
    if host.is_some_and(|host| host != canonical) {
        return Err(GuardError::HostMismatch);
    }
    if canonical == named.as_str() { Ok(named.clone()) } else { spell_authority(&canonical) }
}

fn spell_authority(canonical: &str) -> Result<Authority, GuardError> {
    Authority::try_from(canonical.as_bytes()).map_err(|_| GuardError::HostInvalid)
}

/// Path and query in their one spelling, and whether the path was sent in another. Shares the bytes of the
/// request if they are canonical.
fn target(uri: Uri, limits: &GuardLimits) -> Result<(PathAndQuery, bool), GuardError> {
    let sent = uri.into_parts().path_and_query.ok_or(GuardError::PathForm)?;
    if sent.as_str().len() > limits.header_line_bytes_max {
        return Err(GuardError::Head(HeadFault::TargetTooLong));
    }
    let query = sent.query();
    if query.is_some_and(|query| !query.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')) {
        return Err(GuardError::Query);
    }
    let path = path::canonical(sent.path())?;
    let differs = path != sent.path();
    // An absolute target may have no path at all (`http://host?query`).
    if !differs && sent.as_str().starts_with('/') {
        return Ok((sent, false));
    }
    let spelled = match query {
        Some(query) => format!("{path}?{query}"),
        None => path.into_owned(),
    };
    let target = PathAndQuery::from_maybe_shared(Bytes::from(spelled)).map_err(|_| GuardError::PathForm)?;
    Ok((target, differs))
}

fn grpc_timeout(headers: &HeaderMap) -> Result<Option<Duration>, GuardError> {
    let value = headers.get(GRPC_TIMEOUT).filter(|_| is_grpc(headers));
    value.map(|value| grpc_deadline::parse(value).ok_or(GuardError::GrpcTimeout)).transpose()
}

/// Whether a request is a gRPC call, by its content type (gRPC over HTTP/2, "Requests").
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}
