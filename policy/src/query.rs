//! What is asked: the contract between the enforcement point and a policy. Everything is borrowed.
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::SocketAddr;

/// May this source do this action on this destination? Every string is the *normalised* spelling, the one that is
/// forwarded, so that what is decided on is what happens.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// The moment of the decision: nanoseconds since the Unix epoch. It is all the time a policy sees.
    pub now_ns: u64,
    /// The HTTP method in its exact spelling, or `connect` for a raw stream.
    pub action: &'a str,
    /// Who asks.
    pub source: Source<'a>,
    /// The address that was dialled; absent where that was a Unix socket.
    pub destination: Option<SocketAddr>,
    /// The SPIFFE ID that the source was shown there.
    pub destination_principal: Option<&'a str>,
    /// The request; absent for a raw stream.
    pub http: Option<Http<'a>>,
    /// The members of the verified token, if one was presented and held.
    pub claims: Option<&'a serde_json::Map<String, serde_json::Value>>,
    /// Who vouches for those members. They mean something only together with it (SPIFFE-ID §4.1.2).
    pub token_issuer: Option<TokenIssuer<'a>>,
    /// The members of the verified transaction token, if the call carried one: a statement about the call, not about
    /// who makes it.
    pub transaction: Option<&'a serde_json::Map<String, serde_json::Value>>,
    /// What the workload says of itself in a token of its own, where it has proven that the request is its own.
    pub workload_token: Option<WorkloadToken<'a>>,
    /// The name of the matched route.
    pub route: &'a str,
    /// The name of the service that the route belongs to.
    pub service: &'a str,
}

/// Who vouches for a token's claims, as verified: not what the token says of itself.
#[derive(Clone, Copy, Debug)]
pub struct TokenIssuer<'a> {
    /// The configured issuer.
    pub issuer: &'a str,
    /// For a JWT-SVID the trust domain that issued it.
    pub trust_domain: Option<&'a str>,
}

/// The verified claims of a workload identity token, and who vouches for them. They mean something only together with
/// the trust domain (SPIFFE-ID §4.1.2).
#[derive(Clone, Copy, Debug)]
pub struct WorkloadToken<'a> {
    /// Who it is: need not be the peer, where something stands between the two.
    pub spiffe_id: &'a str,
    /// The trust domain that says so.
    pub trust_domain: &'a str,
    /// All that it says.
    pub claims: &'a serde_json::Map<String, serde_json::Value>,
}

/// Who asks, as the transport proved it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Source<'a> {
    /// The peer's address; absent where it came by a Unix socket.
    pub address: Option<SocketAddr>,
    /// The peer's verified SPIFFE ID.
    pub spiffe_id: Option<&'a str>,
    /// The trust domain of that SPIFFE ID.
    pub trust_domain: Option<&'a str>,
    /// The server name that the peer asked for in its TLS hello.
    pub sni: Option<&'a str>,
    /// The serial number of the peer's certificate, lower-case hex.
    pub certificate_serial: Option<&'a str>,
    /// Whether it spoke TLS where the enforcement point would have it do so.
    pub tls: Tls,
}

/// Whether a source spoke TLS where that is asked of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tls {
    /// It did, or nothing of the kind was asked of it.
    #[default]
    AsAsked,
    /// It came in plain text, which is taken for a while, and has proven nothing. A policy that does not ask for this
    /// ([`Tls::NONE`] in `input.postern.tls`) denies it: rules for proven callers are not about such ones.
    None,
}

impl Tls {
    /// How policies, cases and records name plain text.
    pub const NONE: &'static str = "none";

    /// By the word of a case, a document or a record; nothing but [`Tls::NONE`] is said.
    pub(crate) fn said(word: Option<&str>) -> Self {
        if word == Some(Self::NONE) { Self::None } else { Self::AsAsked }
    }

    /// The word, where there is one to say.
    pub(crate) fn word(self) -> Option<&'static str> {
        match self {
            Self::AsAsked => None,
            Self::None => Some(Self::NONE),
        }
    }
}

/// The request as it will be forwarded.
#[derive(Clone, Copy, Debug)]
pub struct Http<'a> {
    /// The exchange's id.
    pub id: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Host and port as the caller named them, canonical.
    pub authority: &'a str,
    /// The canonical path, without the query.
    pub path: &'a str,
    /// The query without its `?`.
    pub query: Option<&'a str>,
    /// `HTTP/1.1` or `HTTP/2`.
    pub protocol: &'a str,
    /// The header fields.
    pub headers: &'a dyn Headers,
    /// The body, as far as it was read.
    pub body: Body<'a>,
    /// The announced body length in bytes, -1 when unknown.
    pub size: i64,
}

impl Http<'_> {
    /// Header fields by their names in lower case; a repeated field is joined by commas, as Envoy does.
    pub(crate) fn joined_headers(&self) -> BTreeMap<String, String> {
        let mut fields: BTreeMap<String, String> = BTreeMap::new();
        self.headers.for_each(&mut |name, value| {
            fields
                .entry(name.to_ascii_lowercase())
                .and_modify(|have| {
                    have.push(',');
                    have.push_str(value);
                })
                .or_insert_with(|| value.to_owned());
        });
        fields
    }
}

/// The body, as far as it was read for the decision.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// No policy in force reads bodies ([`crate::Pdp::reads_body`]), or the request has none.
    NotRead,
    /// The whole body: exactly the bytes that will be forwarded.
    Whole(&'a [u8]),
    /// A body that was not held. A policy that reads bodies denies then, unless it reads `input.truncated_body`.
    Stream,
}

/// The header fields of a request. Names are lower-case. Implementations borrow from the request.
pub trait Headers: Debug {
    /// The first value of a field.
    fn get(&self, name: &str) -> Option<&str>;
    /// Visits every field in order, repeated names repeatedly.
    fn for_each(&self, visit: &mut dyn FnMut(&str, &str));
}

/// A request without header fields.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHeaders;

impl Headers for NoHeaders {
    fn get(&self, _name: &str) -> Option<&str> {
        None
    }

    fn for_each(&self, _visit: &mut dyn FnMut(&str, &str)) {}
}

/// A list of names and values, in order; names are expected in lower case.
impl Headers for Vec<(String, String)> {
    fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }

    fn for_each(&self, visit: &mut dyn FnMut(&str, &str)) {
        for (name, value) in self {
            visit(name, value);
        }
    }
}
