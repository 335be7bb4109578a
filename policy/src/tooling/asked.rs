//! Questions that are kept: of cases, of documents in the shape of `input`, and of the log.
use super::ask::{DESTINATION, SOURCE, with_query};
use super::cases::{Case, CasesError, NOW_NS, Request};
use crate::{Body, Headers, Http, Pdp, Query, Scratch, Source, Tls, TokenIssuer, Verdict, WorkloadToken};
use base64::Engine as _;
use serde_json::{Map, Value, json};
use std::net::SocketAddr;

/// A question that owns what it is about.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    pub(super) now_ns: u64,
    pub(super) action: String,
    pub(super) source: Option<SocketAddr>,
    pub(super) spiffe_id: Option<String>,
    pub(super) sni: Option<String>,
    pub(super) certificate_serial: Option<String>,
    pub(super) tls: Tls,
    pub(super) destination: Option<SocketAddr>,
    pub(super) destination_principal: Option<String>,
    pub(super) http: Option<AskedHttp>,
    pub(super) claims: Option<Map<String, Value>>,
    pub(super) token_issuer: Option<(String, Option<String>)>,
    pub(super) transaction: Option<Map<String, Value>>,
    pub(super) workload_token: Option<AskedWorkload>,
    pub(super) route: String,
    pub(super) service: String,
}

/// The request of a question.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct AskedHttp {
    pub(super) id: String,
    pub(super) scheme: String,
    pub(super) authority: String,
    pub(super) path: String,
    pub(super) query: Option<String>,
    pub(super) protocol: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: AskedBody,
    pub(super) size: i64,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum AskedBody {
    NotRead,
    Whole(Vec<u8>),
    Stream,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct AskedWorkload {
    pub(super) spiffe_id: String,
    pub(super) trust_domain: String,
    pub(super) claims: Map<String, Value>,
}

impl Asked {
    /// The question of a case.
    pub fn of_case(case: &Case, now_ns: u64) -> Self {
        with_query(case, now_ns, Self::of_query)
    }

    fn of_query(query: &Query<'_>) -> Self {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let http = query.http.as_ref().map(|http| {
            let mut headers = Vec::new();
            http.headers.for_each(&mut |name, value| headers.push((name.to_owned(), value.to_owned())));
            AskedHttp {
                id: http.id.to_owned(),
                scheme: http.scheme.to_owned(),
                authority: http.authority.to_owned(),
                path: http.path.to_owned(),
                query: owned(http.query),
                protocol: http.protocol.to_owned(),
                headers,
                body: match http.body {
                    Body::NotRead => AskedBody::NotRead,
                    Body::Whole(bytes) => AskedBody::Whole(bytes.to_vec()),
                    Body::Stream => AskedBody::Stream,
                },
                size: http.size,
            }
        });
        Self {
            now_ns: query.now_ns,
            action: query.action.to_owned(),
            source: query.source.address,
            spiffe_id: owned(query.source.spiffe_id),
            sni: owned(query.source.sni),
            certificate_serial: owned(query.source.certificate_serial),
            tls: query.source.tls,
            destination: query.destination,
            destination_principal: owned(query.destination_principal),
            http,
            claims: query.claims.cloned(),
            token_issuer: query
                .token_issuer
                .map(|token| (token.issuer.to_owned(), owned(token.trust_domain))),
            transaction: query.transaction.cloned(),
            workload_token: query.workload_token.map(|token| AskedWorkload {
                spiffe_id: token.spiffe_id.to_owned(),
                trust_domain: token.trust_domain.to_owned(),
                claims: token.claims.clone(),
            }),
            route: query.route.to_owned(),
            service: query.service.to_owned(),
        }
    }

    /// Does something with the question.
    pub fn with<T>(&self, ask: impl FnOnce(&Query<'_>) -> T) -> T {
        let http = self.http.as_ref().map(|http| Http {
            id: &http.id,
            scheme: &http.scheme,
            authority: &http.authority,
            path: &http.path,
            query: http.query.as_deref(),
            protocol: &http.protocol,
            headers: &http.headers as &dyn Headers,
            body: match &http.body {
                AskedBody::NotRead => Body::NotRead,
                AskedBody::Whole(bytes) => Body::Whole(bytes),
                AskedBody::Stream => Body::Stream,
            },
            size: http.size,
        });
        let workload_token = self.workload_token.as_ref().map(|token| WorkloadToken {
            spiffe_id: &token.spiffe_id,
            trust_domain: &token.trust_domain,
            claims: &token.claims,
        });
        ask(&Query {
            now_ns: self.now_ns,
            action: &self.action,
            source: Source {
                address: self.source,
                spiffe_id: self.spiffe_id.as_deref(),
                trust_domain: self.spiffe_id.as_deref().and_then(trust_domain),
                sni: self.sni.as_deref(),
                certificate_serial: self.certificate_serial.as_deref(),
                tls: self.tls,
            },
            destination: self.destination,
            destination_principal: self.destination_principal.as_deref(),
            http,
            claims: self.claims.as_ref(),
            token_issuer: self
                .token_issuer
                .as_ref()
                .map(|(issuer, domain)| TokenIssuer { issuer, trust_domain: domain.as_deref() }),
            transaction: self.transaction.as_ref(),
            workload_token,
            route: &self.route,
            service: &self.service,
        })
    }

    /// The verdict on it.
    pub fn verdict(&self, pdp: &Pdp, scratch: &mut Scratch) -> Verdict {
        self.with(|query| pdp.decide(scratch, query))
    }

    /// `GET /a?b as spiffe://…`.
    pub(super) fn line(&self) -> String {
        let who = self.spiffe_id.as_deref().unwrap_or("nobody");
        format!("{} as {who}", self.does())
    }

    fn does(&self) -> String {
        match &self.http {
            None => self.action.clone(),
            Some(http) => match &http.query {
                Some(query) => format!("{} {}?{query}", self.action, http.path),
                None => format!("{} {}", self.action, http.path),
            },
        }
    }

    /// In the words of a case, as far as these reach: what `postern policy eval --request` takes.
    pub(super) fn words(&self) -> Value {
        let mut words = Map::new();
        let mut put = |name: &str, value: Value| drop(words.insert(name.to_owned(), value));
        if let Some(who) = &self.spiffe_id {
            put("who", who.as_str().into());
        }
        if let Some(word) = self.tls.word() {
            put("tls", word.into());
        }
        put("do", self.does().into());
        if let Some(http) = &self.http {
            let shown = http.headers.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
            let shown: Map<String, Value> = shown.collect();
            if !shown.is_empty() {
                put("headers", shown.into());
            }
            if let AskedBody::Whole(bytes) = &http.body {
                put("body", String::from_utf8_lossy(bytes).into());
            }
            put("host", http.authority.as_str().into());
        }
        put("route", self.route.as_str().into());
        put("service", self.service.as_str().into());
        for (name, members) in [("claims", &self.claims), ("transaction", &self.transaction)] {
            if let Some(members) = members {
                put(name, members.clone().into());
            }
        }
        if let Some((_, Some(domain))) = &self.token_issuer {
            put("token_trust_domain", domain.as_str().into());
        }
        for (name, address, usual) in
            [("source", self.source, SOURCE), ("destination", self.destination, DESTINATION)]
        {
            if let Some(address) = address.filter(|address| *address != usual) {
                put(name, address.to_string().into());
            }
        }
        put("now_ns", self.now_ns.into());
        words.into()
    }

    /// Reads one line: a request in the words of a case (it has `do`), or a document in the shape of
    /// `schema/query.json` (it has `attributes`).
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(line: &[u8]) -> Result<Self, String> {
        let document: Value =
            serde_json::from_slice(line).map_err(|error| format!("it is no JSON: {error}"))?;
        if document.get("attributes").is_some() {
            return Self::of_input(&document);
        }
        if document.get("do").is_some() {
            let case = Request::read("line", line).map_err(|CasesError { what, .. }| what)?;
            let asked = Self::of_case(&case, NOW_NS);
            return match &asked.http {
                Some(http) if !http.path.starts_with(['/', '*']) => {
                    Err("its `do` is neither `METHOD /path` nor `connect`".to_owned())
                }
                Some(_) | None => Ok(asked),
            };
        }
        Err("it is neither a request with `do` nor an input with `attributes`".to_owned())
    }

    fn of_input(input: &Value) -> Result<Self, String> {
        if let Some((pointer, kind)) = mistaken(input) {
            return Err(format!("its `{}` is no {kind}", pointer.trim_start_matches('/').replace('/', ".")));
        }
        let at = |pointer: &str| input.pointer(pointer);
        let text = |pointer: &str| at(pointer).and_then(Value::as_str);
        let owned = |pointer: &str| text(pointer).map(str::to_owned);
        let members = |pointer: &str| at(pointer).and_then(Value::as_object).cloned();
        let http = match at("/attributes/request/http").filter(|http| !http.is_null()) {
            None => None,
            Some(http) => Some(http_of(http, input)?),
        };
        let action = match (text("/postern/action"), text("/attributes/request/http/method"), &http) {
            (Some(action), _, _) | (None, Some(action), _) => action.to_owned(),
            (None, None, None) => "connect".to_owned(),
            (None, None, Some(_)) => return Err("it has no `attributes.request.http.method`".to_owned()),
        };
        let spiffe_id = ["/source_principal", "/attributes/source/principal", "/postern/spiffe_id"];
        let claims = members("/claims");
        let issuer = owned("/postern/token_issuer")
            .or_else(|| claims.as_ref().and_then(|claims| claims.get("iss")?.as_str().map(str::to_owned)));
        Ok(Self {
            now_ns: moment(input),
            action,
            source: Some(address(input, "source", SOURCE)?),
            spiffe_id: spiffe_id.into_iter().find_map(owned),
            sni: owned("/attributes/tlsSession/sni"),
            certificate_serial: owned("/postern/certificate_serial"),
            tls: Tls::said(text("/postern/tls")),
            destination: Some(address(input, "destination", DESTINATION)?),
            destination_principal: owned("/attributes/destination/principal"),
            http,
            token_issuer: issuer.map(|issuer| (issuer, owned("/postern/token_trust_domain"))),
            claims,
            transaction: members("/transaction"),
            workload_token: at("/postern/workload_token").map(|_| AskedWorkload {
                spiffe_id: owned("/postern/workload_token/spiffe_id").unwrap_or_default(),
                trust_domain: owned("/postern/workload_token/trust_domain").unwrap_or_default(),
                claims: members("/postern/workload_token/claims").unwrap_or_default(),
            }),
            route: owned("/postern/route").unwrap_or_else(|| "route".to_owned()),
            service: owned("/postern/service").unwrap_or_else(|| "service".to_owned()),
        })
    }
}

/// The first field that is there and of another type: it would be asked about as if it were not there.
fn mistaken(input: &Value) -> Option<(&'static str, &'static str)> {
    const OBJECTS: &[&str] = &[
        "/attributes",
        "/attributes/request",
        "/attributes/request/http",
        "/attributes/request/http/headers",
        "/attributes/source",
        "/attributes/destination",
        "/claims",
        "/transaction",
        "/postern",
        "/postern/workload_token",
    ];
    const TEXTS: &[&str] = &[
        "/source_principal",
        "/attributes/source/principal",
        "/attributes/source/address/socketAddress/address",
        "/attributes/destination/principal",
        "/attributes/destination/address/socketAddress/address",
        "/attributes/request/http/id",
        "/attributes/request/http/method",
        "/attributes/request/http/scheme",
        "/attributes/request/http/host",
        "/attributes/request/http/path",
        "/attributes/request/http/protocol",
        "/attributes/request/http/body",
        "/attributes/request/http/rawBody",
        "/attributes/tlsSession/sni",
        "/postern/action",
        "/postern/spiffe_id",
        "/postern/route",
        "/postern/service",
        "/postern/token_issuer",
        "/postern/token_trust_domain",
        "/postern/certificate_serial",
        "/postern/tls",
    ];
    let another = |pointer: &&&str, is: fn(&Value) -> bool| {
        input.pointer(pointer).is_some_and(|value| !value.is_null() && !is(value))
    };
    let object = OBJECTS.iter().find(|pointer| another(pointer, Value::is_object));
    let text = || TEXTS.iter().find(|pointer| another(pointer, Value::is_string));
    object.map(|pointer| (*pointer, "object")).or_else(|| Some((*text()?, "string")))
}

fn http_of(http: &Value, input: &Value) -> Result<AskedHttp, String> {
    let text = |name: &str| http.get(name).and_then(Value::as_str);
    let Some(target) = text("path") else {
        return Err("it has no `attributes.request.http.path`".to_owned());
    };
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (target, None),
    };
    let fields = http.get("headers").and_then(Value::as_object);
    let headers = fields.into_iter().flatten().filter(|(name, _)| !name.starts_with(':'));
    let headers: Option<Vec<(String, String)>> =
        headers.map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect();
    let parsed = input.get("parsed_body").is_some_and(|body| !body.is_null());
    let body = match (text("body"), text("rawBody")) {
        _ if input.get("truncated_body") == Some(&json!(true)) => AskedBody::Stream,
        (Some(body), _) => AskedBody::Whole(body.as_bytes().to_vec()),
        (None, Some(raw)) => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(raw);
            AskedBody::Whole(bytes.map_err(|_| "its `rawBody` is no base64".to_owned())?)
        }
        // What was sent cannot be told from what it was parsed as.
        (None, None) if parsed => return Err("it has `parsed_body` without `body`".to_owned()),
        (None, None) => AskedBody::NotRead,
    };
    let length =
        if let AskedBody::Whole(bytes) = &body { i64::try_from(bytes.len()).unwrap_or(i64::MAX) } else { 0 };
    Ok(AskedHttp {
        id: text("id").unwrap_or("01JDEXAMPLE").to_owned(),
        scheme: text("scheme").unwrap_or("https").to_owned(),
        authority: text("host").unwrap_or("service.example").to_owned(),
        path: path.to_owned(),
        query,
        protocol: text("protocol").unwrap_or("HTTP/2").to_owned(),
        headers: headers.ok_or("a header is no string")?,
        body,
        size: http.get("size").and_then(Value::as_i64).unwrap_or(length),
    })
}

fn moment(input: &Value) -> u64 {
    const NS_PER_S: u64 = 1_000_000_000;
    let number = |pointer: &str| input.pointer(pointer).and_then(Value::as_u64);
    number("/postern/now_ns")
        .or_else(|| {
            let nanos = number("/attributes/request/time/nanos").unwrap_or(0);
            Some(number("/attributes/request/time/seconds")?.saturating_mul(NS_PER_S).saturating_add(nanos))
        })
        .unwrap_or(NOW_NS)
}

fn address(input: &Value, peer: &str, usual: SocketAddr) -> Result<SocketAddr, String> {
    let at = |name: &str| input.pointer(&format!("/attributes/{peer}/address/socketAddress/{name}"));
    let ip = match at("address").and_then(Value::as_str) {
        None => usual.ip(),
        Some(ip) => ip.parse().map_err(|_| format!("`attributes.{peer}` has no IP address"))?,
    };
    let given = at("portValue").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
    Ok(SocketAddr::new(ip, given.unwrap_or(usual.port())))
}

fn trust_domain(id: &str) -> Option<&str> {
    id.strip_prefix("spiffe://")?.split('/').next()
}
