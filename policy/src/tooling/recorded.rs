//! Decision records of the audit log as questions: what a record holds, and what it does not.
use super::asked::{Asked, AskedBody, AskedHttp, AskedWorkload};
use super::cases::NOW_NS;
use crate::{Pdp, Tls};
use serde_json::{Map, Value};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// What a policy can read of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// Header fields.
    Headers,
    /// The query.
    Query,
    /// The body.
    Body,
    /// Its announced size.
    Size,
    /// The host, where it was too long for the record.
    Host,
    /// The path, where it was too long for the record.
    Path,
    /// The claims of the token, but for those that the record names.
    Claims,
    /// The transaction token.
    Transaction,
    /// The claims of the workload's own token.
    WorkloadClaims,
    /// The moment of the decision.
    Moment,
    /// The caller's TLS hello.
    Tls,
    /// The address that was dialled, and who answered there.
    Destination,
    /// The version of HTTP.
    Protocol,
}

impl Part {
    /// In words.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Headers => "headers",
            Self::Query => "the query",
            Self::Body => "the body",
            Self::Size => "the body's size",
            Self::Host => "the host, which was cut",
            Self::Path => "the path, which was cut",
            Self::Claims => "claims",
            Self::Transaction => "the transaction token",
            Self::WorkloadClaims => "the workload token's claims",
            Self::Moment => "the moment of the decision",
            Self::Tls => "the server name in the TLS hello",
            Self::Destination => "the destination",
            Self::Protocol => "the version of HTTP",
        }
    }

    /// Where Rego finds it in `input`, and Cedar in `context`.
    fn places(self) -> (&'static [&'static [&'static str]], &'static str) {
        const HTTP: [&str; 3] = ["attributes", "request", "http"];
        match self {
            Self::Headers => (&[&[HTTP[0], HTTP[1], HTTP[2], "headers"]], "headers"),
            Self::Query => (
                &[
                    &[HTTP[0], HTTP[1], HTTP[2], "path"],
                    &[HTTP[0], HTTP[1], HTTP[2], "headers"],
                    &["parsed_query"],
                ],
                "query",
            ),
            Self::Body => (
                &[
                    &[HTTP[0], HTTP[1], HTTP[2], "body"],
                    &[HTTP[0], HTTP[1], HTTP[2], "rawBody"],
                    &["parsed_body"],
                    &["truncated_body"],
                ],
                "body",
            ),
            Self::Size => (&[&[HTTP[0], HTTP[1], HTTP[2], "size"]], ""),
            Self::Host => (
                &[&[HTTP[0], HTTP[1], HTTP[2], "host"], &[HTTP[0], HTTP[1], HTTP[2], "headers"]],
                "authority",
            ),
            Self::Path => (
                &[
                    &[HTTP[0], HTTP[1], HTTP[2], "path"],
                    &[HTTP[0], HTTP[1], HTTP[2], "headers"],
                    &["parsed_path"],
                ],
                "path",
            ),
            Self::Claims => (&[&["claims"], &["postern", "token_trust_domain"]], "claims"),
            Self::Transaction => (&[&["transaction"]], "transaction"),
            Self::WorkloadClaims => (&[&["postern", "workload_token", "claims"]], "workload_token"),
            Self::Moment => (&[&["postern", "now_ns"], &["attributes", "request", "time"]], "now"),
            Self::Tls => (&[&["attributes", "tlsSession"]], "tls"),
            Self::Destination => (&[&["attributes", "destination"]], "destination"),
            Self::Protocol => (&[&[HTTP[0], HTTP[1], HTTP[2], "protocol"]], "protocol"),
        }
    }

    /// Whether a policy can read it.
    pub(super) fn is_read(self, pdp: &Pdp) -> bool {
        let (paths, member) = self.places();
        let path_too = self == Self::Path && (pdp.may_read(&[], "segments") || pdp.may_read(&[], "depth"));
        let moment = self == Self::Moment && pdp.calls_the_clock();
        path_too || moment || pdp.may_read(paths, member)
    }
}

/// A decision of the log.
#[derive(Clone, Debug)]
pub(super) struct Recorded {
    /// Its id.
    pub(super) id: String,
    /// Its moment, for people.
    pub(super) ts: String,
    /// What can be asked again.
    pub(super) asked: Asked,
    /// What the record does not hold.
    pub(super) missing: Vec<Part>,
    /// Whether the record names the token's subject and id; other claims it never holds.
    pub(super) held_claims: Vec<&'static str>,
    /// `allow` or `deny`: what policy said.
    pub(super) decision: String,
    /// The reason code.
    pub(super) reason: String,
    /// The policies that decided; `None` where there were too many for the record.
    pub(super) rules: Option<Vec<String>>,
    /// The version of the policies that decided.
    pub(super) revision: String,
}

/// What a line of a log is.
#[derive(Clone, Debug)]
pub(super) enum Line {
    /// A decision of a policy.
    Decision(Box<Recorded>),
    /// An exchange that ended before policy was asked.
    NotAsked,
    /// A record of another kind.
    Other,
}

impl Line {
    /// Reads a record.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(line: &[u8]) -> Result<Self, String> {
        let record: Value =
            serde_json::from_slice(line).map_err(|error| format!("it is no JSON: {error}"))?;
        let text = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or("");
        let version = record.get("v").and_then(Value::as_u64);
        match (version, record.get("kind").and_then(Value::as_str)) {
            (Some(1), Some("decision")) => {}
            (Some(1), Some(_)) => return Ok(Self::Other),
            (Some(version), _) => {
                return Err(format!("it is a record of version {version}; this reads version 1"));
            }
            (None, _) => return Err("it is no record: it has no `v`".to_owned()),
        }
        let decided = matches!(text("decision"), "allow" | "deny") && !text("engine").is_empty();
        if !decided || !text("reason").starts_with("policy.") {
            return Ok(Self::NotAsked);
        }
        Ok(Self::Decision(Box::new(recorded(&record)?)))
    }
}

fn text<'r>(record: &'r Value, name: &str) -> &'r str {
    record.get(name).and_then(Value::as_str).unwrap_or("")
}

fn recorded(record: &Value) -> Result<Recorded, String> {
    let cut = |name: &str| record.get(name).is_some_and(Value::is_object);
    if let Some(name) = NEVER_CUT.iter().find(|name| cut(name)) {
        return Err(format!("its `{name}` was cut"));
    }
    let no_text =
        |name: &&&str| record.get(**name).is_some_and(|value| !value.is_string() && !value.is_object());
    if let Some(name) = TEXTS.iter().find(no_text) {
        return Err(format!("its `{name}` is no text"));
    }
    if record.get("rules").is_some_and(|rules| !rules.is_array()) {
        return Err("its `rules` are no list".to_owned());
    }
    if text(record, "method").is_empty() {
        return Err("it has no `method`".to_owned());
    }
    let token = Token::of(record.get("token"))?;
    let mut missing = NEVER_HELD.to_vec();
    let there = |name: &str| record.get(name).is_some();
    let more = [
        (there("query_sha256"), Part::Query),
        (cut("host"), Part::Host),
        (cut("path"), Part::Path),
        (there("token"), Part::Claims),
        (there("workload_token"), Part::WorkloadClaims),
    ];
    missing.extend(more.into_iter().filter(|(lacks, _)| *lacks).map(|(_, part)| part));
    missing.sort_unstable();
    let held_claims = token.held.clone();
    let observed = text(record, "enforcement") == "observe";
    let rules = record.get("rules").and_then(Value::as_array);
    let rules = rules.map_or(Some(Vec::new()), |rules| {
        rules.iter().map(|rule| rule.as_str().map(str::to_owned)).collect::<Option<_>>()
    });
    Ok(Recorded {
        id: text(record, "id").to_owned(),
        ts: text(record, "ts").to_owned(),
        asked: asked(record, token)?,
        missing,
        held_claims,
        decision: text(record, if observed { "would" } else { "decision" }).to_owned(),
        reason: text(record, "reason").to_owned(),
        rules,
        revision: text(record, "bundle_rev").to_owned(),
    })
}

/// What a question is made of, and what it is held against: absent is not the same as of another type.
const TEXTS: &[&str] = &[
    "peer",
    "peer_serial",
    "tls",
    "method",
    "host",
    "path",
    "route",
    "listener",
    "src",
    "would",
    "enforcement",
];

/// Without these a question would be about something else.
const NEVER_CUT: &[&str] = &["peer", "method", "route", "listener", "peer_serial"];

const NEVER_HELD: &[Part] = &[
    Part::Headers,
    Part::Body,
    Part::Size,
    Part::Transaction,
    Part::Moment,
    Part::Tls,
    Part::Destination,
    Part::Protocol,
];

/// The question, with something in the place of what the record does not hold: it is not asked where that is read.
fn asked(record: &Value, token: Token) -> Result<Asked, String> {
    let owned = |name: &str| Some(text(record, name).to_owned()).filter(|text| !text.is_empty());
    let tls = Tls::said(Some(text(record, "tls")));
    let http = AskedHttp {
        id: text(record, "id").to_owned(),
        scheme: if tls == Tls::None { "http" } else { "https" }.to_owned(),
        authority: text(record, "host").to_owned(),
        path: text(record, "path").to_owned(),
        query: None,
        protocol: String::new(),
        headers: Vec::new(),
        body: AskedBody::NotRead,
        size: 0,
    };
    let workload_token = match record.get("workload_token") {
        None => None,
        Some(token) => {
            let id = token.get("sub").and_then(Value::as_str).ok_or("its `workload_token` names nobody")?;
            let trust_domain = id.trim_start_matches("spiffe://").split('/').next().unwrap_or("").to_owned();
            Some(AskedWorkload { spiffe_id: id.to_owned(), trust_domain, claims: Map::new() })
        }
    };
    Ok(Asked {
        now_ns: NOW_NS,
        action: text(record, "method").to_owned(),
        source: source(text(record, "src"))?,
        spiffe_id: owned("peer"),
        sni: None,
        certificate_serial: owned("peer_serial"),
        tls,
        destination: Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0)),
        destination_principal: None,
        http: (text(record, "method") != "connect").then_some(http),
        claims: token.claims,
        token_issuer: token.issuer.map(|issuer| (issuer, None)),
        transaction: None,
        workload_token,
        route: text(record, "route").to_owned(),
        service: text(record, "listener").to_owned(),
    })
}

/// The address of the caller; a local process that came by a Unix socket has none.
fn source(written: &str) -> Result<Option<SocketAddr>, String> {
    match written.starts_with("unix:") {
        true => Ok(None),
        false => written.parse().map(Some).map_err(|_| "its `src` is no address".to_owned()),
    }
}

/// What a record holds of a token.
#[derive(Default)]
struct Token {
    claims: Option<Map<String, Value>>,
    issuer: Option<String>,
    held: Vec<&'static str>,
}

impl Token {
    fn of(token: Option<&Value>) -> Result<Self, String> {
        let Some(token) = token else { return Ok(Self::default()) };
        let mut claims = Map::new();
        let mut held = Vec::new();
        for name in ["sub", "jti"] {
            if let Some(value) = token.get(name).filter(|value| value.is_string()) {
                claims.insert(name.to_owned(), value.clone());
                held.push(name);
            }
        }
        let issuer = token.get("iss").and_then(Value::as_str).ok_or("its `token` names no issuer")?;
        Ok(Self { claims: Some(claims), issuer: Some(issuer.to_owned()), held })
    }
}

impl Recorded {
    /// What a policy can read of the request and the record does not hold.
    pub(super) fn unheld(&self, pdp: &Pdp) -> Vec<Part> {
        let lacks = |part: &Part| {
            if *part == Part::Claims { pdp.reads_claims_beyond(&self.held_claims) } else { part.is_read(pdp) }
        };
        self.missing.iter().copied().filter(lacks).collect()
    }
}
