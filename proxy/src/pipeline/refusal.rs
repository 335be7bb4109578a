//! What a caller is told when this proxy answers by itself.
//!
//! HTTP callers get RFC 9457 problem details, gRPC callers a trailers-only response with `ErrorInfo`; both
//! get `Proxy-Status` (RFC 9209) and the decision id in a header.
use crate::config::Explain;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use postern_identity::pop::dpop;

include!(concat!(env!("OUT_DIR"), "/refusal.rs"));

/// The header that carries the decision id, on refusals and on forwarded responses alike.
pub const DECISION_ID: HeaderName = HeaderName::from_static("x-decision-id");
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
pub(super) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// Why a walk ended before the upstream answered.
#[derive(Debug)]
pub(crate) struct Refused {
    /// The reason.
    pub(crate) refusal: Refusal,
    /// What is to be said besides: by policy, if it was policy that refused, or by the limit that was reached.
    pub(crate) denial: Option<Box<Denial>>,
}

/// A policy's own words for a deny.
#[derive(Debug, Default)]
pub(crate) struct Denial {
    /// Instead of 403.
    pub(crate) status: Option<StatusCode>,
    /// Instead of problem details.
    pub(crate) body: Option<Bytes>,
    /// Besides ours.
    pub(crate) headers: HeaderMap,
    /// For people.
    pub(crate) message: Option<String>,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, denial: None }
    }
}

impl Refused {
    /// The HTTP status of the answer.
    pub(crate) fn status(&self) -> StatusCode {
        let by_policy = self.denial.as_ref().and_then(|denial| denial.status);
        by_policy.unwrap_or_else(|| status_of(self.refusal))
    }
}

/// How the caller wants to hear it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// A status and problem details.
    Http,
    /// Status 200 and `grpc-status` in the headers.
    Grpc,
}

impl Dialect {
    /// By the request's content type (gRPC over HTTP/2, "Requests").
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        if super::normalise::is_grpc(headers) { Self::Grpc } else { Self::Http }
    }
}

/// Makes the answer.
pub(crate) fn answer(
    refused: Refused,
    decision_id: &str,
    dialect: Dialect,
    explain: Explain,
) -> Response<Bytes> {
    let mut response = match dialect {
        Dialect::Http => problem(&refused, decision_id, explain),
        Dialect::Grpc => grpc(&refused, decision_id, explain),
    };
    let headers = response.headers_mut();
    if let Some(denial) = refused.denial {
        for (name, value) in &denial.headers {
            // What our own document is, it says itself.
            if name != CONTENT_TYPE || denial.body.is_some() && dialect == Dialect::Http {
                headers.append(name, value.clone());
            }
        }
        if denial.body.is_some() && !headers.contains_key(CONTENT_TYPE) {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        }
    }
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    insert(headers, DECISION_ID, decision_id);
    insert(headers, PROXY_STATUS, &proxy_status(refused.refusal, explain));
    if refused.refusal.code().starts_with("request.") {
        // Who sends what is no request here, and what follows it, may mean both to be read otherwise elsewhere. HTTP/2 has
        // streams that are apart, and hyper leaves the field out there.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if matches!(refused.refusal, Refusal::UpstreamOverflow | Refusal::LimitMemory) {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if status_of(refused.refusal) == StatusCode::UNAUTHORIZED {
        challenge(refused.refusal, headers);
    }
    response
}

fn problem(refused: &Refused, decision_id: &str, explain: Explain) -> Response<Bytes> {
    let status = refused.status();
    let own = refused.denial.as_ref().and_then(|denial| denial.body.clone());
    // RFC 9110 §15.3.5, §15.3.6, §15.4.5: these have no content.
    let is_bare =
        matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED);
    let own = if is_bare { Some(Bytes::new()) } else { own };
    let is_own = own.is_some();
    let body = own.unwrap_or_else(|| {
        let mut problem = serde_json::Map::new();
        problem.insert("type".into(), "about:blank".into());
        problem.insert("title".into(), status.canonical_reason().unwrap_or("Refused").into());
        problem.insert("status".into(), status.as_u16().into());
        problem.insert("decision_id".into(), decision_id.into());
        match explain {
            Explain::None => {}
            Explain::Code => {
                problem.insert("reason".into(), refused.refusal.code().into());
            }
            Explain::Detail => {
                problem.insert("reason".into(), refused.refusal.code().into());
                problem.insert("detail".into(), detail(refused).into());
            }
        }
        Bytes::from(serde_json::Value::Object(problem).to_string())
    });
    let mut response = Response::new(body);
    *response.status_mut() = status;
    if !is_own {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    }
    response
}

fn grpc(refused: &Refused, decision_id: &str, explain: Explain) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    let code = refused.refusal.grpc_status();
    headers.insert(GRPC_STATUS, HeaderValue::from(u16::from(code)));
    let (reason, message) = match explain {
        Explain::None => ("", "refused"),
        Explain::Code => (refused.refusal.code(), refused.refusal.code()),
        Explain::Detail => (refused.refusal.code(), detail(refused)),
    };
    say_grpc_message(headers, message);
    let details = error_info(code, message, reason, decision_id);
    insert(headers, GRPC_DETAILS, &base64::Engine::encode(&base64::prelude::BASE64_STANDARD_NO_PAD, details));
    response
}

/// What ends a gRPC call whose answer has begun.
pub(crate) fn grpc_trailers(refusal: Refusal) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert(GRPC_STATUS, HeaderValue::from(u16::from(refusal.grpc_status())));
    insert(&mut trailers, GRPC_MESSAGE, refusal.code());
    trailers
}

fn detail(refused: &Refused) -> &str {
    let by_policy = refused.denial.as_ref().and_then(|denial| denial.message.as_deref());
    by_policy.unwrap_or_else(|| refused.refusal.meaning())
}

/// RFC 9209 §2.1.1 and §2.3: which intermediary answered, and why.
fn proxy_status(refusal: Refusal, explain: Explain) -> String {
    let error = refusal.proxy_status();
    match explain {
        Explain::None => format!("postern; error={error}"),
        Explain::Code | Explain::Detail => format!("postern; error={error}; details=\"{}\"", refusal.code()),
    }
}

/// RFC 6750 §3: no error code where no credential came. RFC 9449 §7.1: which proofs are taken, and an error of its own
/// for one that is not right.
fn challenge(refusal: Refusal, headers: &mut HeaderMap) {
    let is_of_proof = matches!(
        refusal,
        Refusal::TokenDpopMalformed
            | Refusal::TokenDpopSignature
            | Refusal::TokenDpopRequest
            | Refusal::TokenDpopTime
            | Refusal::TokenDpopToken
            | Refusal::TokenDpopKey
            | Refusal::TokenDpopReplayed
    );
    let (bearer, dpop) = if refusal == Refusal::TokenDpopNonce {
        (None, "DPoP error=\"use_dpop_nonce\", ")
    } else if is_of_proof {
        (None, "DPoP error=\"invalid_dpop_proof\", ")
    } else if refusal == Refusal::TokenMissing {
        (Some("Bearer"), "DPoP ")
    } else {
        (Some("Bearer error=\"invalid_token\""), "DPoP error=\"invalid_token\", ")
    };
    headers.remove(WWW_AUTHENTICATE);
    if let Some(bearer) = bearer {
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(bearer));
    }
    // A refusal of the peer has nothing to do with tokens; that it names `Bearer` is for RFC 9110 §15.5.2, which wants
    // a challenge in every 401.
    if refusal.code().starts_with("token.") {
        let algorithms = dpop::algorithms().collect::<Vec<_>>().join(" ");
        if let Ok(dpop) = HeaderValue::try_from(format!("{dpop}algs=\"{algorithms}\"")) {
            headers.append(WWW_AUTHENTICATE, dpop);
        }
    }
}

fn status_of(refusal: Refusal) -> StatusCode {
    // A refusal without a status closes connections and answers nothing; should it ever reach an answer, the
    // answer is that something is wrong here.
    StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// A value that is no header value is left out: nothing that we say can break the framing.
fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Says it to people.
pub(super) fn say_grpc_message(headers: &mut HeaderMap, message: &str) {
    insert(headers, GRPC_MESSAGE, &percent_encode(message));
}

/// `grpc-message` is percent-encoded UTF-8 (gRPC over HTTP/2, "Responses").
fn percent_encode(message: &str) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(message.len());
    for byte in message.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => out.push(char::from(byte)),
            _ => {
                // Writing to a string cannot fail.
                let _infallible = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

/// `google.rpc.Status` with one `google.rpc.ErrorInfo`, in protobuf's wire format.
fn error_info(code: u8, message: &str, reason: &str, decision_id: &str) -> Vec<u8> {
    let mut entry = Vec::new();
    field(&mut entry, 1, b"decision_id");
    field(&mut entry, 2, decision_id.as_bytes());
    let mut info = Vec::new();
    field(&mut info, 1, reason.as_bytes());
    field(&mut info, 2, b"postern.dev");
    field(&mut info, 3, &entry);
    let mut any = Vec::new();
    field(&mut any, 1, b"type.googleapis.com/google.rpc.ErrorInfo");
    field(&mut any, 2, &info);
    let mut status = vec![0x08, code];
    field(&mut status, 2, message.as_bytes());
    field(&mut status, 3, &any);
    status
}

/// One length-delimited protobuf field.
fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(u8::try_from(length & 0x7f).unwrap_or_default() | 0x80);
        length >>= 7;
    }
    out.push(u8::try_from(length).unwrap_or_default());
    out.extend_from_slice(bytes);
}
