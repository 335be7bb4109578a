//! `input` as the OPA-Envoy plugin gives it (`ext_authz` v3), plus `input.claims` and `input.postern`.
//!
//! The plugin's shape is a protobuf walked by reflection: camelCase names, fields that are empty or zero are absent.
//! It is built directly, without JSON text, and only what the policy can read. Two fields differ on purpose: `path`
//! and `parsed_path` come from the canonical path, and a body is either whole or declared truncated.
use super::reads::Reads;
use super::value;
use crate::document::{self, DocumentLimits};
use crate::engine::url;
use crate::query::{Body, Http, Query};
use regorus::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// The deepest JSON body that a policy gets to see.
const BODY_LIMITS: DocumentLimits = DocumentLimits { depth_max: 32, values_max: 100_000 };

/// Why there is no input: the request is one that the policy cannot judge, so it is denied.
#[derive(Debug, thiserror::Error)]
pub(super) enum InputError {
    #[error("the path cannot be decoded: {0}")]
    Path(&'static str),
    #[error("the query cannot be parsed: {0}")]
    Query(&'static str),
    #[error("the body cannot be parsed: {0}")]
    Body(String),
    #[error(
        "the policy reads bodies and this one is streamed; a policy may answer for that with `input.truncated_body`"
    )]
    Streamed,
    #[error("a claim cannot be represented: {0}")]
    Claims(#[from] value::NotRepresentable),
}

/// Which costly parts a policy reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts {
    headers: bool,
    pub(super) body: bool,
    parsed_body: bool,
    truncated_body: bool,
    parsed_path: bool,
    parsed_query: bool,
    claims: bool,
    transaction: bool,
}

impl Parts {
    #[cfg(test)]
    pub(super) fn everything() -> Self {
        Self {
            headers: true,
            body: true,
            parsed_body: true,
            truncated_body: true,
            parsed_path: true,
            parsed_query: true,
            claims: true,
            transaction: true,
        }
    }

    pub(super) fn of(reads: &Reads) -> Self {
        let http = |field| reads.touches(&["attributes", "request", "http", field]);
        let parsed_body = reads.touches(&["parsed_body"]) || reads.touches(&["truncated_body"]);
        Self {
            headers: http("headers"),
            body: parsed_body || http("body") || http("rawBody"),
            parsed_body,
            truncated_body: reads.names("truncated_body"),
            parsed_path: reads.touches(&["parsed_path"]),
            parsed_query: reads.touches(&["parsed_query"]),
            claims: reads.touches(&["claims"]),
            transaction: reads.touches(&["transaction"]),
        }
    }
}

/// An object under construction.
#[derive(Default)]
struct Members(BTreeMap<Value, Value>);

impl Members {
    fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(Value::from(name), value.into());
    }

    /// As protobuf reflection does: an empty string is absent.
    fn put_text(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            self.put(name, text);
        }
    }
}

impl From<Members> for Value {
    fn from(members: Members) -> Self {
        Self::from(members.0)
    }
}

/// Builds the input of one decision.
pub(super) fn build(query: &Query<'_>, parts: Parts) -> Result<Value, InputError> {
    let mut input = Members::default();
    input.put("attributes", attributes(query, parts));
    let mut version = Members::default();
    version.put("ext_authz", "v3");
    version.put("encoding", "protojson");
    input.put("version", version);
    input.put("postern", postern(query)?);
    if let Some(id) = query.source.spiffe_id {
        input.put_text("source_principal", id);
    }
    if let (Some(claims), true) = (query.claims, parts.claims) {
        input.put("claims", value::of_members(claims)?);
    }
    if let (Some(transaction), true) = (query.transaction, parts.transaction) {
        input.put("transaction", value::of_members(transaction)?);
    }
    if let Some(http) = &query.http {
        // A rule about the content would find nothing to object to in a body that nobody read.
        if parts.body && !parts.truncated_body && matches!(http.body, Body::Stream) {
            return Err(InputError::Streamed);
        }
        if parts.parsed_path {
            input.put("parsed_path", strings(url::path_segments(http.path).map_err(InputError::Path)?));
        }
        if parts.parsed_query {
            input.put("parsed_query", pairs(http.query.unwrap_or(""))?);
        }
        if parts.parsed_body {
            let (parsed, truncated) = parsed_body(http)?;
            input.put("parsed_body", parsed);
            input.put("truncated_body", truncated);
        }
    }
    Ok(input.into())
}

fn attributes(query: &Query<'_>, parts: Parts) -> Value {
    let mut source = Members::default();
    source.put("address", address(query.source.address));
    source.put_text("principal", query.source.spiffe_id.unwrap_or(""));
    let mut destination = Members::default();
    destination.put("address", address(query.destination));
    let mut request = Members::default();
    request.put("time", time(query.now_ns));
    if let Some(http) = &query.http {
        request.put("http", request_http(query.action, http, parts));
    }
    let mut attributes = Members::default();
    attributes.put("source", source);
    attributes.put("destination", destination);
    attributes.put("request", request);
    if let Some(sni) = query.source.sni {
        let mut session = Members::default();
        session.put_text("sni", sni);
        attributes.put("tlsSession", session);
    }
    attributes.into()
}

fn address(address: SocketAddr) -> Value {
    let mut socket = Members::default();
    socket.put("address", address.ip().to_string());
    if address.port() != 0 {
        socket.put("portValue", u32::from(address.port()));
    }
    let mut outer = Members::default();
    outer.put("socketAddress", socket);
    outer.into()
}

fn time(now_ns: u64) -> Value {
    const NS_PER_S: u64 = 1_000_000_000;
    let mut time = Members::default();
    for (name, part) in [("seconds", now_ns / NS_PER_S), ("nanos", now_ns % NS_PER_S)] {
        if part != 0 {
            time.put(name, part);
        }
    }
    time.into()
}

fn request_http(method: &str, http: &Http<'_>, parts: Parts) -> Value {
    let path = match http.query {
        Some(query) => format!("{}?{query}", http.path),
        None => http.path.to_owned(),
    };
    let mut members = Members::default();
    if parts.headers {
        members.put("headers", headers(method, http, &path));
    }
    members.put_text("id", http.id);
    members.put_text("method", method);
    members.put_text("scheme", http.scheme);
    members.put_text("host", http.authority);
    members.put_text("protocol", http.protocol);
    members.put("path", path);
    if http.size != 0 {
        members.put("size", http.size);
    }
    if let (Body::Whole(bytes), true) = (http.body, parts.body) {
        match std::str::from_utf8(bytes) {
            Ok(text) => members.put_text("body", text),
            Err(_) => members
                .put("rawBody", base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes)),
        }
    }
    members.into()
}

/// Fields by name with the pseudo-fields of HTTP/2.
fn headers(method: &str, http: &Http<'_>, path: &str) -> Value {
    let pseudo =
        [(":authority", http.authority), (":method", method), (":path", path), (":scheme", http.scheme)];
    let mut members = Members::default();
    for (name, value) in http.joined_headers() {
        members.put(&name, value);
    }
    for (name, value) in pseudo {
        members.put(name, value);
    }
    members.into()
}

fn postern(query: &Query<'_>) -> Result<Value, InputError> {
    let mut members = Members::default();
    members.put_text("action", query.action);
    members.put_text("route", query.route);
    members.put_text("service", query.service);
    members.put_text("spiffe_id", query.source.spiffe_id.unwrap_or(""));
    members.put_text("trust_domain", query.source.trust_domain.unwrap_or(""));
    members.put_text("certificate_serial", query.source.certificate_serial.unwrap_or(""));
    if let Some(issuer) = query.token_issuer {
        members.put_text("token_issuer", issuer.issuer);
        members.put_text("token_trust_domain", issuer.trust_domain.unwrap_or(""));
    }
    members.put("now_ns", query.now_ns);
    if let Some(token) = &query.workload_token {
        let mut workload = Members::default();
        workload.put_text("spiffe_id", token.spiffe_id);
        workload.put_text("trust_domain", token.trust_domain);
        workload.put("claims", value::of_members(token.claims)?);
        members.put("workload_token", workload);
    }
    Ok(members.into())
}

fn strings(items: Vec<String>) -> Value {
    Value::from(items.into_iter().map(Value::from).collect::<Vec<_>>())
}

fn pairs(text: &str) -> Result<Value, InputError> {
    let mut members = Members::default();
    for (name, values) in url::query_values(text).map_err(InputError::Query)? {
        members.put(&name, strings(values));
    }
    Ok(members.into())
}

/// The parsed body and whether it is truncated, by content type as in the plugin.
fn parsed_body(http: &Http<'_>) -> Result<(Value, bool), InputError> {
    let bytes = match http.body {
        Body::NotRead => return Ok((Value::Null, false)),
        Body::Stream => return Ok((Value::Null, true)),
        Body::Whole(bytes) => bytes,
    };
    let content_type = http.headers.get("content-type").unwrap_or("");
    if bytes.is_empty() {
        return Ok((Value::Null, false));
    }
    if content_type.contains("application/json") {
        let document =
            document::parse(bytes, BODY_LIMITS).map_err(|error| InputError::Body(error.to_string()))?;
        let parsed = value::of_document(&document).map_err(|error| InputError::Body(error.to_string()))?;
        return Ok((parsed, false));
    }
    if content_type.contains("application/x-www-form-urlencoded") {
        let text =
            std::str::from_utf8(bytes).map_err(|_| InputError::Body("the form is not UTF-8".to_owned()))?;
        let form = pairs(text).map_err(|error| InputError::Body(error.to_string()))?;
        return Ok((form, false));
    }
    if content_type.contains("multipart/form-data") {
        // Null would let a rule about the content pass unseen.
        return Err(InputError::Body("multipart bodies are not parsed for policies".to_owned()));
    }
    Ok((Value::Null, false))
}
