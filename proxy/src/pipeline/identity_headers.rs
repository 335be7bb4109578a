//! How an upstream is told who calls: `x-forwarded-client-cert` as Envoy writes it, `client-cert` by RFC 9440, and claims
//! of the verified token. They are set last, on a request from which everything of that kind has been taken off.
use super::exchange::Exchange;
use super::normalise::{DPOP, Normalised, TXN_TOKEN, WORKLOAD_IDENTITY, WORKLOAD_PROOF, is_identity_header};
use crate::config::{ClientCert, IdentityHeaders, TokenPassage, XfccDetail, XfccMode};
use crate::listener::Connection;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderName, HeaderValue};
use postern_identity::token::Claims;
use postern_identity::{Peer, subject_rfc2253};
use rustls_pki_types::CertificateDer;
use serde_json::Value;
use std::fmt::Write;

const XFCC: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
const CLIENT_CERT_CHAIN: HeaderName = HeaderName::from_static("client-cert-chain");
/// Longest value that a claim may make, in bytes; a longer one is not sent.
const CLAIM_VALUE_BYTES_MAX: usize = 4096;

/// The caller's certificate in the forms that headers have it. Made once a connection, where a route asks for it.
#[derive(Debug)]
pub(crate) struct CertificateTexts {
    digest: String,
    subject: String,
    /// Percent-encoded PEM.
    cert: String,
    /// Likewise, of all certificates.
    chain: String,
}

impl CertificateTexts {
    fn of(peer: &Peer, chain: &[CertificateDer<'_>]) -> Self {
        let leaf = chain.first().map(AsRef::as_ref).unwrap_or_default();
        Self {
            digest: hex(&peer.fingerprint_sha256),
            subject: subject_rfc2253(leaf).unwrap_or_default(),
            cert: chain.first().map(pem_encoded).unwrap_or_default(),
            chain: chain.iter().map(pem_encoded).collect(),
        }
    }
}

/// What the route has done to the headers of a permitted request.
#[derive(Debug, Default)]
pub(super) struct Telling {
    set: HeaderMap,
    removed: Vec<HeaderName>,
}

impl Telling {
    /// Does it. Last: nothing that policy sets stands in the place of what is set here.
    pub(super) fn apply(self, headers: &mut HeaderMap) {
        for name in &self.removed {
            headers.remove(name);
        }
        headers.extend(self.set);
    }

    /// Sets a header besides, where the value can stand in one.
    pub(super) fn set(&mut self, name: HeaderName, value: &str) {
        if let Ok(value) = HeaderValue::try_from(value) {
            self.set.insert(name, value);
        }
    }

    /// Takes a header off besides, where there is one to take off.
    pub(super) fn remove_if(&mut self, is_there: bool, name: HeaderName) {
        if is_there {
            self.removed.push(name);
        }
    }

    /// What is done, as a record has it.
    pub(super) fn mutations(&self) -> impl Iterator<Item = String> {
        let removed = self.removed.iter().map(|name| format!("remove {name}"));
        removed.chain(self.set.keys().map(|name| format!("set {name}")))
    }
}

/// Takes off what shows who calls, and what could be used in the caller's name.
pub(super) fn take_off(told: &IdentityHeaders, headers: &mut HeaderMap) {
    let is_claim = |name: &str| told.claims.iter().any(|(claim, _)| claim == name);
    let taken: Vec<HeaderName> = headers
        .keys()
        .filter(|name| {
            CREDENTIALS.contains(name) || is_identity_header(name.as_str()) || is_claim(name.as_str())
        })
        .cloned()
        .collect();
    taken.iter().for_each(|name| drop(headers.remove(name)));
}

/// What a request is let in by, here or behind.
pub(super) const CREDENTIALS: [HeaderName; 7] =
    [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE, DPOP, WORKLOAD_IDENTITY, WORKLOAD_PROOF, TXN_TOKEN];

/// What the route wants the upstream told, and not told.
pub(super) fn of(exchange: &Exchange, wanted: &IdentityHeaders, request: &Normalised) -> Telling {
    let mut telling = Telling { set: set(exchange, wanted, request), removed: Vec::new() };
    match wanted.token {
        TokenPassage::Forward => {}
        TokenPassage::Strip => {
            telling.remove_if(request.headers().contains_key(AUTHORIZATION), AUTHORIZATION);
        }
    }
    telling
}

fn set(exchange: &Exchange, wanted: &IdentityHeaders, request: &Normalised) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let connection = &exchange.connection;
    if let Some(value) = xfcc(connection, wanted, request.received_client_cert()) {
        headers.insert(XFCC, value);
    }
    client_cert(connection, wanted.client_cert, &mut headers);
    if let Some(claims) = &exchange.credentials.claims {
        for (name, claim) in &wanted.claims {
            let value = claim_value(claims, claim);
            if let (Ok(name), Some(value)) = (HeaderName::from_bytes(name.as_bytes()), value) {
                headers.insert(name, value);
            }
        }
    }
    headers
}

/// Envoy's `forward_client_cert_details`.
fn xfcc(
    connection: &Connection,
    wanted: &IdentityHeaders,
    received: Option<&HeaderValue>,
) -> Option<HeaderValue> {
    // What somebody unknown brings or is says nothing of anybody.
    let peer = connection.peer()?;
    let own = || element(connection, peer, &wanted.xfcc_details);
    // What could swallow the element behind it is not passed on.
    let received = received.filter(|received| is_closed(received));
    let text = match (wanted.xfcc, received) {
        (XfccMode::Sanitize, _) => return None,
        (XfccMode::ForwardOnly | XfccMode::AlwaysForwardOnly, received) => return received.cloned(),
        (XfccMode::AppendForward, Some(received)) => format!("{},{}", received.to_str().ok()?, own()),
        (XfccMode::AppendForward, None) | (XfccMode::SanitizeSet, _) => own(),
    };
    HeaderValue::try_from(text).ok()
}

/// Whether every quote is closed, for readers that know `\"` and for those that do not.
fn is_closed(received: &HeaderValue) -> bool {
    let bytes = received.as_bytes();
    let has_escaped_quote = bytes.windows(2).any(|pair| pair == b"\\\"");
    !has_escaped_quote && bytes.iter().filter(|byte| **byte == b'"').count() % 2 == 0
}

/// One element: who we are to the caller, the digest of its certificate, and what else was asked for.
fn element(connection: &Connection, peer: &Peer, details: &[XfccDetail]) -> String {
    let texts = connection.certificate.get_or_init(|| CertificateTexts::of(peer, connection.chain()));
    let mut text = format!("By={};Hash={}", connection.own.spiffe_id(), texts.digest);
    for detail in details {
        // Writing to a string cannot fail.
        let _infallible = match detail {
            XfccDetail::Cert => write!(text, ";Cert=\"{}\"", texts.cert),
            XfccDetail::Chain => write!(text, ";Chain=\"{}\"", texts.chain),
            XfccDetail::Subject => write!(text, ";Subject=\"{}\"", texts.subject),
            XfccDetail::Uri => write!(text, ";URI={}", peer.spiffe_id),
            XfccDetail::Dns => {
                let names = peer.dns_names.iter().filter(|name| is_dns_name(name));
                names.into_iter().try_for_each(|name| write!(text, ";DNS={name}"))
            }
        };
    }
    text
}

/// A name that could end the element, or begin another one, is not passed on.
fn is_dns_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_*".contains(&byte))
}

/// RFC 9440 §2: byte sequences of structured fields (RFC 8941 §3.3.5).
fn client_cert(connection: &Connection, wanted: ClientCert, headers: &mut HeaderMap) {
    let (leaf, rest) = match (wanted, connection.chain().split_first()) {
        (ClientCert::None, _) | (_, None) => return,
        (ClientCert::Leaf, Some((leaf, _))) => (leaf, &[][..]),
        (ClientCert::Chain, Some((leaf, rest))) => (leaf, rest),
    };
    if let Ok(value) = HeaderValue::try_from(byte_sequence(leaf)) {
        headers.insert(CLIENT_CERT, value);
    }
    let rest: Vec<_> = rest.iter().map(byte_sequence).collect();
    if let (false, Ok(value)) = (rest.is_empty(), HeaderValue::try_from(rest.join(", "))) {
        headers.insert(CLIENT_CERT_CHAIN, value);
    }
}

fn byte_sequence(certificate: &CertificateDer<'_>) -> String {
    format!(":{}:", BASE64_STANDARD.encode(certificate))
}

/// A claim as a header has it; none where it is not there, is no text, number, truth value or list of them, or is too
/// long.
fn claim_value(claims: &Claims, name: &str) -> Option<HeaderValue> {
    let value = match name.split_once('/') {
        Some(("", _)) => claims.members.iter().find_map(|(member, value)| pointed(member, value, name))?,
        Some(_) | None => claims.members.get(name)?,
    };
    let text = match value {
        Value::Array(items) => items.iter().map(scalar).collect::<Option<Vec<_>>>()?.join(","),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            scalar(value)?
        }
    };
    if text.len() > CLAIM_VALUE_BYTES_MAX { None } else { HeaderValue::try_from(text).ok() }
}

/// What a JSON pointer (RFC 6901) points to, if it begins with this member.
fn pointed<'v>(member: &str, value: &'v Value, pointer: &str) -> Option<&'v Value> {
    let rest = pointer.strip_prefix('/')?;
    let (first, _) = rest.split_once('/').unwrap_or((rest, ""));
    let is_first = first.replace("~1", "/").replace("~0", "~") == member;
    is_first.then(|| value.pointer(rest.get(first.len()..).unwrap_or_default())).flatten()
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(printable(text)),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Printable ASCII as it is, and everything else, the comma of lists and the percent sign included, percent-encoded.
fn printable(text: &str) -> String {
    percent_encoded(text, |byte| (byte == b' ' || byte.is_ascii_graphic()) && byte != b'%' && byte != b',')
}

/// PEM, percent-encoded as Envoy does it: line ends are part of it.
fn pem_encoded(certificate: &CertificateDer<'_>) -> String {
    let base64 = BASE64_STANDARD.encode(certificate);
    let lines: Vec<_> = base64.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    let pem = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"));
    percent_encoded(&pem, |byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte))
}

fn percent_encoded(text: &str, stays: impl Fn(u8) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if stays(byte) {
            out.push(char::from(byte));
        } else {
            let _infallible = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _infallible = write!(out, "{byte:02x}");
        out
    })
}
