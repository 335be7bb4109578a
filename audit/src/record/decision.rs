//! What was asked, by whom, and what was decided.
use super::{Remote, Stamp, Texts, Tls};
use crate::{hash::Hash, id::Id};
use std::net::SocketAddr;

/// One decision, borrowed from the exchange it belongs to. Empty texts and `None` are left out of the record.
#[derive(Clone, Copy, Debug)]
pub struct Decision<'a> {
    /// The connection it came on.
    pub connection: Option<Id>,
    /// The listener's name.
    pub listener: &'a str,
    /// The caller's address.
    pub source: Option<Remote>,
    /// Where the caller was going, where its connection was led here on its way.
    pub destination: Option<SocketAddr>,
    /// Whether the caller spoke TLS.
    pub tls: Tls,
    /// The caller as its certificate names it.
    pub peer: Option<PeerFacts<'a>>,
    /// The verified token, also where the caller may not use it because it is bound to somebody else. A token that does
    /// not verify is not recorded: nothing in it is known to be true.
    pub token: Option<TokenFacts<'a>>,
    /// The workload's own verified token, with its proof for this request.
    pub workload_token: Option<WorkloadTokenFacts<'a>>,
    /// HTTP method, or `connect`.
    pub method: &'a str,
    /// The canonical authority.
    pub host: &'a str,
    /// The canonical path without the query.
    pub path: &'a str,
    /// SHA-256 of the path as it came, when it was not canonical.
    pub path_raw_sha256: Option<&'a Hash>,
    /// SHA-256 of the query: queries carry secrets, so they are not recorded in clear.
    pub query_sha256: Option<&'a Hash>,
    /// The route's name.
    pub route: &'a str,
    /// The upstream's name.
    pub upstream: &'a str,
    /// W3C trace id.
    pub trace_id: Option<&'a [u8; 16]>,
    /// W3C id of our server span.
    pub span_id: Option<&'a [u8; 8]>,
    /// What was done.
    pub effect: Effect,
    /// Whether a deny refuses here.
    pub enforcement: Enforcement,
    /// What policy said, where `enforcement` is [`Enforcement::Observe`].
    pub would: Option<Effect>,
    /// The reason code, of `schema/reasons.json`.
    pub reason: &'a str,
    /// The policies that decided.
    pub rules: &'a dyn Texts,
    /// The policy's message to a human.
    pub message: &'a str,
    /// `rego` or `cedar`.
    pub engine: &'a str,
    /// Digest of the policy bundles in force.
    pub bundle_sha256: Option<&'a Hash>,
    /// Revision of the policy bundles in force.
    pub bundle_revision: &'a str,
    /// SHA-256 of the policy's input, where the route asks for it.
    pub input_sha256: Option<&'a Hash>,
    /// What deciding took, in nanoseconds.
    pub eval_ns: u64,
    /// Whether the answer came from the decision cache.
    pub cache: Cache,
    /// The status of the answer, when it was refused here.
    pub status: Option<u16>,
    /// What the forwarded request differs in from the one decided on, in order.
    pub mutations: &'a dyn Texts,
    /// What policy says about its decision beside the answer, as JSON.
    pub metadata: &'a str,
}

/// A caller's verified certificate.
#[derive(Clone, Copy, Debug)]
pub struct PeerFacts<'a> {
    /// The SPIFFE ID.
    pub spiffe_id: &'a str,
    /// The certificate's serial number in hexadecimal.
    pub serial: &'a str,
    /// SHA-256 of the certificate.
    pub fingerprint_sha256: Option<&'a Hash>,
}

/// A caller's verified token.
#[derive(Clone, Copy, Debug)]
pub struct TokenFacts<'a> {
    /// `iss`.
    pub issuer: &'a str,
    /// `sub`, or empty.
    pub subject: &'a str,
    /// `jti`, or empty.
    pub token_id: &'a str,
    /// `kid`, or empty.
    pub key_id: &'a str,
    /// SHA-256 of the compact token; the record keeps the first eight bytes, enough to tell tokens apart.
    pub token_sha256: &'a Hash,
}

/// The verified identity token of a workload.
#[derive(Clone, Copy, Debug)]
pub struct WorkloadTokenFacts<'a> {
    /// `sub`: who it is.
    pub spiffe_id: &'a str,
    /// `kid`.
    pub key_id: &'a str,
    /// SHA-256 of the compact token; the record keeps the first eight bytes.
    pub token_sha256: &'a Hash,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Effect {
    /// Forwarded.
    Allow,
    /// Refused.
    Deny,
    /// Never decided: the caller went away first.
    #[default]
    None,
}

impl Effect {
    /// The word in the record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::None => "none",
        }
    }
}

/// Whether a deny refuses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Enforcement {
    /// A deny refuses.
    #[default]
    Enforce,
    /// A deny is recorded and forwarded: every such record says so.
    Observe,
}

impl Enforcement {
    /// The word in the record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Observe => "observe",
        }
    }
}

/// Where the answer came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cache {
    /// The route does not cache decisions.
    #[default]
    Off,
    /// Looked up and evaluated.
    Miss,
    /// Answered from the cache, which is provably the same answer.
    Hit,
}

impl Cache {
    /// The word in the record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Miss => "miss",
            Self::Hit => "hit",
        }
    }
}

impl Default for Decision<'_> {
    fn default() -> Self {
        Self {
            connection: None,
            listener: "",
            source: None,
            destination: None,
            tls: Tls::AsAsked,
            peer: None,
            token: None,
            workload_token: None,
            method: "",
            host: "",
            path: "",
            path_raw_sha256: None,
            query_sha256: None,
            route: "",
            upstream: "",
            trace_id: None,
            span_id: None,
            effect: Effect::None,
            enforcement: Enforcement::Enforce,
            would: None,
            reason: "",
            rules: &(),
            message: "",
            engine: "",
            bundle_sha256: None,
            bundle_revision: "",
            input_sha256: None,
            eval_ns: 0,
            cache: Cache::Off,
            status: None,
            mutations: &(),
            metadata: "",
        }
    }
}

impl Decision<'_> {
    /// Appends the record, without a line feed. At most [`super::ENTRY_BYTES_MAX`] bytes.
    pub fn encode(&self, stamp: &Stamp, out: &mut Vec<u8>) {
        let mut object = stamp.open("decision", out);
        if let Some(connection) = &self.connection {
            object.word("conn", connection.as_str());
        }
        object.text("listener", self.listener, 128);
        if let Some(source) = &self.source {
            object.display("src", source);
        }
        if let Some(destination) = &self.destination {
            object.display("dst", destination);
        }
        self.tls.encode(&mut object);
        if let Some(peer) = &self.peer {
            object.text("peer", peer.spiffe_id, 2048);
            object.text("peer_serial", peer.serial, 64);
            if let Some(fingerprint) = peer.fingerprint_sha256 {
                object.hex("peer_fp", "sha256:", fingerprint);
            }
        }
        if let Some(token) = &self.token {
            let mut member = object.object("token");
            member.text("iss", token.issuer, 512);
            member.text("sub", token.subject, 512);
            member.text("jti", token.token_id, 256);
            member.text("kid", token.key_id, 256);
            member.hex("sha256", "", token.token_sha256.first_chunk::<8>().map_or(&[], |prefix| prefix));
            member.close();
        }
        if let Some(token) = &self.workload_token {
            let mut member = object.object("workload_token");
            member.text("sub", token.spiffe_id, 2048);
            member.text("kid", token.key_id, 256);
            member.hex("sha256", "", token.token_sha256.first_chunk::<8>().map_or(&[], |prefix| prefix));
            member.close();
        }
        object.text("method", self.method, 64);
        object.text("host", self.host, 512);
        object.text("path", self.path, 3072);
        for (key, sha256) in [("path_raw_sha256", self.path_raw_sha256), ("query_sha256", self.query_sha256)]
        {
            if let Some(sha256) = sha256 {
                object.hex(key, "", sha256);
            }
        }
        object.text("route", self.route, 128);
        object.text("upstream", self.upstream, 128);
        if let Some(trace_id) = self.trace_id {
            object.hex("trace_id", "", trace_id);
        }
        if let Some(span_id) = self.span_id {
            object.hex("span_id", "", span_id);
        }
        self.encode_answer(object);
    }

    fn encode_answer(&self, mut object: crate::json::Object<'_>) {
        object.word("decision", self.effect.as_str());
        object.word("enforcement", self.enforcement.as_str());
        if let Some(would) = self.would {
            object.word("would", would.as_str());
        }
        object.text("reason", self.reason, 64);
        object.texts("rules", self.rules, 12, 160);
        object.text("message", self.message, 1024);
        object.text("engine", self.engine, 16);
        if let Some(bundle) = self.bundle_sha256 {
            object.hex("bundle", "sha256:", bundle);
        }
        object.text("bundle_rev", self.bundle_revision, 256);
        if let Some(input) = self.input_sha256 {
            object.hex("input_sha256", "", input);
        }
        object.number("eval_ns", self.eval_ns);
        object.word("cache", self.cache.as_str());
        if let Some(status) = self.status {
            object.number("status", status.into());
        }
        object.texts("mutations", self.mutations, 12, 112);
        object.text("metadata", self.metadata, 1024);
        object.close();
    }
}
