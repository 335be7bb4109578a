//! `input` as the OPA-Envoy plugin gives it (`ext_authz` v3), plus `input.claims` and `input.postern`.
//!
//! The plugin's shape is a protobuf walked by reflection: camelCase names, fields that are empty or zero are absent.
//! It is built directly, without JSON text, and only what the policy can read. Two fields differ on purpose: `path`
//! and `parsed_path` come from the canonical path, and a body is either whole or declared truncated.
use super::body::parsed_body;
use super::keys::Keys;
use super::parties::Parties;
use super::value;
use crate::engine::{NoAnswer, url};
use crate::query::{Body, Http, Query, Tls};
use postern_rego::{Reads, Value};
use std::net::SocketAddr;

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
    #[error(
        "the caller came in plain text and has proven nothing; a policy may answer for that with `input.postern.tls`"
    )]
    PlainText,
    #[error("a claim cannot be represented: {0}")]
    Claims(#[from] value::NotRepresentable),
}

impl InputError {
    /// The plugin answers for what is the caller's fault that it is a bad request; the rest is nobody's here.
    pub(super) fn into_no_answer(self) -> NoAnswer {
        match self {
            Self::Path(_) | Self::Query(_) | Self::Body(_) => NoAnswer::Input(self.to_string()),
            Self::Streamed | Self::PlainText | Self::Claims(_) => NoAnswer::Engine(self.to_string()),
        }
    }
}

/// Which parts of the input a policy can read. What it cannot read is not built: it would find nothing there that it
/// could look at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts {
    source: bool,
    destination: bool,
    time: bool,
    session: bool,
    metadata: bool,
    route_metadata: bool,
    version: bool,
    principal: bool,
    http: HttpParts,
    pub(super) body: bool,
    parsed_body: bool,
    truncated_body: bool,
    parsed_path: bool,
    parsed_query: bool,
    claims: bool,
    transaction: bool,
    postern: bool,
    tls: bool,
}

#[derive(Clone, Copy, Debug)]
struct HttpParts {
    any: bool,
    headers: bool,
    id: bool,
    method: bool,
    scheme: bool,
    host: bool,
    protocol: bool,
    path: bool,
    size: bool,
}

impl Parts {
    pub(super) fn of(reads: &Reads) -> Self {
        let at = |path: &[&str]| reads.touches(path);
        let http = |field| at(&["attributes", "request", "http", field]);
        let parsed_body = at(&["parsed_body"]) || at(&["truncated_body"]);
        // A policy that takes the whole input does not ask for such a field: it does not know that there is one.
        let names = |field: &[&str]| {
            let is_within = |path: &Vec<postern_rego::ast::Str>| {
                path.len() >= field.len() && path.iter().zip(field).all(|(have, want)| have.as_ref() == *want)
            };
            reads.input.iter().any(is_within)
        };
        let truncated_body = names(&["truncated_body"]);
        Self {
            source: at(&["attributes", "source"]),
            destination: at(&["attributes", "destination"]),
            time: at(&["attributes", "request", "time"]),
            session: at(&["attributes", "tlsSession"]),
            metadata: at(&["attributes", "metadataContext"]),
            route_metadata: at(&["attributes", "routeMetadataContext"]),
            version: at(&["version"]),
            principal: at(&["source_principal"]),
            http: HttpParts {
                any: at(&["attributes", "request", "http"]),
                headers: http("headers"),
                id: http("id"),
                method: http("method"),
                scheme: http("scheme"),
                host: http("host"),
                protocol: http("protocol"),
                path: http("path"),
                size: http("size"),
            },
            body: parsed_body || http("body") || http("rawBody"),
            parsed_body,
            truncated_body,
            parsed_path: at(&["parsed_path"]),
            parsed_query: at(&["parsed_query"]),
            claims: at(&["claims"]),
            transaction: at(&["transaction"]),
            postern: at(&["postern"]),
            tls: names(&["postern", "tls"]),
        }
    }
}

/// An object under construction.
#[derive(Default)]
struct Members(Vec<(Value, Value)>);

impl Members {
    fn with_room() -> Self {
        Self(Vec::with_capacity(12))
    }

    fn put(&mut self, name: &Value, value: impl Into<Value>) {
        self.0.push((name.clone(), value.into()));
    }

    /// As protobuf reflection does: an empty string is absent.
    fn put_text(&mut self, name: &Value, text: &str) {
        if !text.is_empty() {
            self.put(name, text);
        }
    }
}

impl From<Members> for Value {
    fn from(members: Members) -> Self {
        Self::object(members.0)
    }
}

/// One worker's maker of inputs.
#[derive(Debug)]
pub(super) struct Builder {
    keys: Keys,
    parts: Parts,
    sources: Parties,
    destinations: Parties,
}

impl Builder {
    pub(super) fn new(parts: Parts) -> Self {
        Self { keys: Keys::new(), parts, sources: Parties::default(), destinations: Parties::default() }
    }

    /// Builds the input of one decision.
    pub(super) fn build(&mut self, query: &Query<'_>) -> Result<Value, InputError> {
        // Rules that were written for proven callers would find nothing to object to in one that is not.
        if query.source.tls == Tls::None && !self.parts.tls {
            return Err(InputError::PlainText);
        }
        let attributes = self.attributes(query);
        let (keys, parts) = (&self.keys, &self.parts);
        let mut input = Members::with_room();
        input.put(&keys.attributes, attributes);
        if parts.version {
            let mut version = Members::default();
            version.put(&keys.encoding, keys.protojson.clone());
            version.put(&keys.ext_authz, keys.v3.clone());
            input.put(&keys.version, version);
        }
        if parts.postern {
            input.put(&keys.postern, self.postern(query)?);
        }
        if let (Some(id), true) = (query.source.spiffe_id, parts.principal) {
            input.put_text(&keys.source_principal, id);
        }
        if let (Some(claims), true) = (query.claims, parts.claims) {
            input.put(&keys.claims, value::of_members(claims)?);
        }
        if let (Some(transaction), true) = (query.transaction, parts.transaction) {
            input.put(&keys.transaction, value::of_members(transaction)?);
        }
        if let Some(http) = &query.http {
            // A rule about the content would find nothing to object to in a body that nobody read.
            if parts.body && !parts.truncated_body && matches!(http.body, Body::Stream) {
                return Err(InputError::Streamed);
            }
            if parts.parsed_path {
                let segments = url::path_segments(http.path).map_err(InputError::Path)?;
                input.put(&keys.parsed_path, strings(segments));
            }
            if parts.parsed_query {
                input.put(&keys.parsed_query, pairs(http.query.unwrap_or(""))?);
            }
            if parts.parsed_body {
                let (parsed, truncated) = parsed_body(http)?;
                input.put(&keys.parsed_body, parsed);
                input.put(&keys.truncated_body, truncated);
            }
        }
        Ok(input.into())
    }

    fn attributes(&mut self, query: &Query<'_>) -> Value {
        let (keys, parts) = (&self.keys, self.parts);
        let mut attributes = Members::default();
        if parts.destination {
            let (address, principal) = (query.destination, query.destination_principal);
            let made = self.destinations.get(address, principal, || party(keys, address, principal));
            attributes.put(&keys.destination, made);
        }
        // Envoy's filters have nothing to say here, and the plugin gives that as an object without members.
        for (name, read) in
            [(&keys.metadata_context, parts.metadata), (&keys.route_metadata_context, parts.route_metadata)]
        {
            if read {
                attributes.put(name, Members::default());
            }
        }
        let mut request = Members::default();
        if let (Some(http), true) = (&query.http, parts.http.any) {
            request.put(&keys.http, self.http(query.action, http));
        }
        if parts.time {
            request.put(&keys.time, self.time(query.now_ns));
        }
        attributes.put(&keys.request, request);
        if parts.source {
            let (address, principal) = (query.source.address, query.source.spiffe_id);
            let made = self.sources.get(address, principal, || party(keys, address, principal));
            attributes.put(&keys.source, made);
        }
        if let (Some(sni), true) = (query.source.sni, parts.session) {
            let mut session = Members::default();
            session.put_text(&keys.sni, sni);
            attributes.put(&keys.tls_session, session);
        }
        attributes.into()
    }

    fn time(&self, now_ns: u64) -> Value {
        const NS_PER_S: u64 = 1_000_000_000;
        let mut time = Members::default();
        for (name, part) in [(&self.keys.nanos, now_ns % NS_PER_S), (&self.keys.seconds, now_ns / NS_PER_S)] {
            if part != 0 {
                time.put(name, i64::try_from(part).unwrap_or(i64::MAX));
            }
        }
        time.into()
    }

    fn http(&self, method: &str, http: &Http<'_>) -> Value {
        let (keys, parts) = (&self.keys, &self.parts.http);
        let path = match (http.query, parts.path || parts.headers) {
            (Some(query), true) => Value::from(format!("{}?{query}", http.path)),
            (None, true) => Value::from(http.path),
            (_, false) => Value::Null,
        };
        let mut members = Members::with_room();
        if let (Body::Whole(bytes), true) = (http.body, self.parts.body) {
            match std::str::from_utf8(bytes) {
                Ok(text) => members.put_text(&keys.body, text),
                Err(_) => {
                    let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes);
                    members.put(&keys.raw_body, text);
                }
            }
        }
        if parts.headers {
            members.put(&keys.headers, self.headers(method, http, &path));
        }
        let texts = [
            (&keys.host, http.authority, parts.host),
            (&keys.id, http.id, parts.id),
            (&keys.method, method, parts.method),
            (&keys.protocol, http.protocol, parts.protocol),
            (&keys.scheme, http.scheme, parts.scheme),
        ];
        for (name, text, read) in texts {
            if read {
                members.put_text(name, text);
            }
        }
        if parts.path {
            members.put(&keys.path, path);
        }
        if http.size != 0 && parts.size {
            members.put(&keys.size, http.size);
        }
        members.into()
    }

    /// Fields by name with the pseudo-fields of HTTP/2.
    fn headers(&self, method: &str, http: &Http<'_>, path: &Value) -> Value {
        let keys = &self.keys;
        let mut members = Members::with_room();
        for (name, value) in http.joined_headers() {
            members.0.push((Value::from(name), Value::from(value)));
        }
        members.put(&keys.authority, http.authority);
        members.put(&keys.pseudo_method, method);
        members.put(&keys.pseudo_path, path.clone());
        members.put(&keys.pseudo_scheme, http.scheme);
        members.into()
    }

    fn postern(&self, query: &Query<'_>) -> Result<Value, InputError> {
        let keys = &self.keys;
        let mut members = Members::with_room();
        members.put_text(&keys.action, query.action);
        members.put_text(&keys.route, query.route);
        members.put_text(&keys.service, query.service);
        members.put_text(&keys.spiffe_id, query.source.spiffe_id.unwrap_or(""));
        members.put_text(&keys.trust_domain, query.source.trust_domain.unwrap_or(""));
        members.put_text(&keys.certificate_serial, query.source.certificate_serial.unwrap_or(""));
        members.put_text(&keys.tls, query.source.tls.word().unwrap_or(""));
        if let Some(issuer) = query.token_issuer {
            members.put_text(&keys.token_issuer, issuer.issuer);
            members.put_text(&keys.token_trust_domain, issuer.trust_domain.unwrap_or(""));
        }
        members.put(&keys.now_ns, i64::try_from(query.now_ns).unwrap_or(i64::MAX));
        if let Some(token) = &query.workload_token {
            let mut workload = Members::default();
            workload.put(&keys.claims, value::of_members(token.claims)?);
            workload.put_text(&keys.spiffe_id, token.spiffe_id);
            workload.put_text(&keys.trust_domain, token.trust_domain);
            members.put(&keys.workload_token, workload);
        }
        Ok(members.into())
    }
}

/// One end of the connection. That of a Unix socket has no address, so that nothing is said about one.
fn party(keys: &Keys, address: Option<SocketAddr>, principal: Option<&str>) -> Value {
    let mut party = Members::default();
    if let Some(address) = address {
        party.put(&keys.address, socket_address(keys, address));
    }
    party.put_text(&keys.principal, principal.unwrap_or(""));
    party.into()
}

fn socket_address(keys: &Keys, address: SocketAddr) -> Members {
    let mut socket = Members::default();
    socket.put(&keys.address, address.ip().to_string());
    if address.port() != 0 {
        socket.put(&keys.port_value, i64::from(address.port()));
    }
    let mut outer = Members::default();
    outer.put(&keys.socket_address, socket);
    outer
}

fn strings(items: Vec<String>) -> Value {
    Value::array(items.into_iter().map(Value::from))
}

/// Name to values.
pub(super) fn pairs(text: &str) -> Result<Value, InputError> {
    let values = url::query_values(text).map_err(InputError::Query)?;
    Ok(Value::object(values.into_iter().map(|(name, values)| (Value::from(name), strings(values)))))
}
