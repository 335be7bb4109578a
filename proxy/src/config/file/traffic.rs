//! `listeners:` and `upstreams:`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{
    AdaptiveConcurrencyFile, AuditModeFile, BalanceFile, CapturedFile, FaultsFile, ForwardedHeadersFile,
    GlobalRateLimitFile, HashKeyFile, HeaderMatchFile, HealthFile, IdentityHeadersFile, MirrorFile,
    OutlierFile, PermissiveFile, PlaintextFile, ProxyVersionFile, RateLimitFile, RedirectFile, RespondFile,
    RewriteFile, SplitFile,
};

/// One address on which callers come in, and what becomes of their requests.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ListenerFile {
    /// Takes requests of other workloads for the local one. A listener has this or `outbound`.
    #[serde(default)]
    pub inbound: Option<InboundFile>,
    /// Takes requests of the local workload for others, in plain text, and sends them on with its identity.
    #[serde(default)]
    pub outbound: Option<OutboundFile>,
    /// What is spoken; `http` is the default.
    #[serde(default)]
    pub protocol: Option<ListenerProtocolFile>,
    /// Tried in the order written; the first that matches is taken, and a request that matches none is refused.
    pub routes: Vec<RouteFile>,
    /// What one caller may cost.
    #[serde(default)]
    pub limits: LimitsFile,
    /// Whether each DPoP proof has to hold a nonce that was given out here a few minutes ago, so that none can be made in advance; `none` is the default. A caller without one is told it.
    #[serde(default)]
    pub dpop_nonce: Option<DpopNonceFile>,
}

/// What is spoken to a listener.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ListenerProtocolFile {
    /// HTTP/1.1 and HTTP/2; each request is decided.
    Http,
    /// Anything: each connection is decided, as the action `connect`, and its bytes are carried both ways. Its upstreams are `tcp` too.
    Tcp,
    /// Whichever of the two the first bytes show, on an outbound listener that is `captured`: requests where they begin like HTTP, and a stream otherwise. Each route takes what its upstream speaks.
    Detect,
}

/// Whether proofs have to hold a nonce.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DpopNonceFile {
    /// They need not.
    None,
    /// They do (RFC 9449 §9).
    Required,
}

/// An inbound listener.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct InboundFile {
    /// IP address and port to bind.
    pub address: String,
    /// How connections come here that were going elsewhere. Each must have been then, and where to is what policy sees as the destination. Without it, connections are made to the address.
    #[serde(default)]
    pub captured: Option<CapturedFile>,
    /// Load balancers that say by the PROXY protocol from whom a connection is. Without it, nobody is believed to, and the bytes would break the TLS handshake.
    #[serde(default)]
    pub proxy_protocol: Option<ProxyProtocolFile>,
    /// How callers prove who they are.
    pub tls: TlsFile,
}

/// An outbound listener.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct OutboundFile {
    /// IP address and port to bind. It has to be a loopback address: whoever can connect speaks with the workload's identity. A listener has this or `socket`.
    #[serde(default)]
    pub address: Option<String>,
    /// Unix socket to make: `unix:///path` or a path. The kernel says which user calls by it.
    #[serde(default)]
    pub socket: Option<String>,
    /// Mode of the socket's file in octal, as in `"0660"`; `"0600"` is the default, which lets in the sidecar's own user and root. It may let everybody in only where `uids` says who is served.
    #[serde(default)]
    pub mode: Option<String>,
    /// Users that may connect to the socket, by number; all that its mode lets in unless written. Whoever else connects is closed out.
    #[serde(default)]
    pub uids: Option<Vec<u32>>,
    /// How connections come here that were going elsewhere. Each must have been then, and where to is what policy sees as the destination. Without it, connections are made to the address.
    #[serde(default)]
    pub captured: Option<CapturedFile>,
}

/// Load balancers in front of a listener. Each connection has to begin with a header of version 1 or 2.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ProxyProtocolFile {
    /// Their addresses, or networks such as `10.0.0.0/8`. A connection from elsewhere is refused.
    pub from: Vec<String>,
}

/// How callers prove who they are.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum TlsFile {
    /// TLS 1.3 with X.509-SVIDs on both sides.
    Mutual(MutualFile),
}

/// Mutual TLS.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct MutualFile {
    /// Trust domains whose members may connect.
    pub trust_domains: Vec<String>,
    /// What becomes of requests in progress when the caller's SVID, or the one that we presented, expires; `drain` is the default. No further request is served either way.
    #[serde(default)]
    pub on_peer_expiry: Option<OnInvalidFile>,
    /// What becomes of requests in progress when the trust bundles and revocation lists in force do not vouch for the caller any more; `close` is the default. No further request is served either way.
    #[serde(default)]
    pub on_trust_change: Option<OnInvalidFile>,
    /// How long requests in progress may go on where they are drained.
    #[serde(default)]
    pub grace: Option<String>,
    /// Takes plain text too, for a while: who comes in it has proven nothing, and policy has to ask for that. Without it, mutual TLS alone.
    #[serde(default)]
    pub permissive: Option<PermissiveFile>,
}

/// What becomes of requests in progress on a connection whose caller is believed no more.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum OnInvalidFile {
    /// They go on for a grace, and the caller is asked to come back on another connection.
    Drain,
    /// They end at once.
    Close,
}

/// What one caller may cost.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct LimitsFile {
    /// Open connections, over all workers.
    pub connections_max: Option<u64>,
    /// From accept to the end of the TLS handshake.
    pub handshake_timeout: Option<String>,
    /// How long the first bytes of a captured connection are waited for, where what they are decides on its route: which protocol with `protocol: detect`, and which server name on a `tcp` listener. And how long a caller may be silent before it counts as one in plain text, with `permissive: { silence: plaintext }`.
    pub detect_timeout: Option<String>,
    /// Connections of one IPv4 address or IPv6 network (/64) whose TLS handshake has not ended; one in plain text beside TLS counts as long as it lasts. Behind a load balancer that speaks the PROXY protocol, of the address that it names.
    pub handshakes_per_source_max: Option<u64>,
    /// From the first byte of a request to the end of its headers.
    pub header_timeout: Option<String>,
    /// All header fields of a request together.
    pub header_bytes_max: Option<String>,
    /// One header field, or the request target.
    pub header_line_bytes_max: Option<String>,
    /// Header fields of one request.
    pub header_count_max: Option<u64>,
    /// A request's body.
    pub body_bytes_max: Option<String>,
    /// A body that policy reads: it is held in memory whole before the decision.
    pub policy_body_bytes_max: Option<String>,
    /// All bodies that are held for policy at one time, over all workers.
    pub policy_bodies_bytes_max: Option<String>,
    /// How long a body that policy reads may take to arrive.
    pub policy_body_timeout: Option<String>,
    /// One bearer token.
    pub token_bytes_max: Option<String>,
    /// A connection without a request in progress.
    pub idle_timeout: Option<String>,
    /// Age at which a connection is asked to close, spread by ±10 %.
    pub connection_age_max: Option<String>,
    /// Concurrent HTTP/2 streams on one connection.
    pub http2_streams_max: Option<u64>,
    /// HTTP/2 frames of one connection that carry nothing, beyond what the sidecar's own frames call for: PING, SETTINGS, PRIORITY, WINDOW_UPDATE, resets, DATA of a few bytes. Ten seconds' worth may come at once; who sends more is disconnected.
    pub http2_control_frames_per_second_max: Option<u64>,
    /// Refusals that one caller may cause on one worker; beyond it every request of the caller is refused for a while.
    pub refusals_per_second_max: Option<u64>,
    /// How long requests in progress may go on once the sidecar stops.
    pub drain_grace: Option<String>,
}

/// One route.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RouteFile {
    /// Its name in records, metrics and policy. Without it, the listener's name and the route's position from 0.
    #[serde(default)]
    pub name: Option<String>,
    /// Which requests it takes.
    #[serde(rename = "match")]
    pub matches: MatchFile,
    /// The upstream they go to. A route has this, `split`, `redirect` or `respond`.
    #[serde(default)]
    pub upstream: Option<String>,
    /// Several upstreams, one of which each request or stream goes to, by lot or by `split_key`. It is chosen before policy is asked, and attempts stay with it.
    #[serde(default)]
    pub split: Option<Vec<SplitFile>>,
    /// By what the same caller comes to the same upstream of `split`, for as long as the weights stay. A request without it is sent by lot.
    #[serde(default)]
    pub split_key: Option<HashKeyFile>,
    /// Where else to ask, instead of an upstream.
    #[serde(default)]
    pub redirect: Option<RedirectFile>,
    /// The answer, instead of one of an upstream.
    #[serde(default)]
    pub respond: Option<RespondFile>,
    /// Whether a deny stops the request; `enforce` is the default.
    #[serde(default)]
    pub enforcement: Option<EnforcementFile>,
    /// From the permit to the headers of the response; the time in which the caller's body is carried does not count.
    #[serde(default)]
    pub timeout: Option<String>,
    /// How long a body may stand still, in either direction. On a `tcp` listener: how long a stream may, 1h if it is not written.
    #[serde(default)]
    pub stream_idle_timeout: Option<String>,
    /// Further attempts. Without it, none.
    #[serde(default)]
    pub retry: Option<RetryFile>,
    /// What a request may switch its connection to. Without it, nothing.
    #[serde(default)]
    pub upgrades: Vec<UpgradeFile>,
    /// What is changed on the way to the upstream and back. Without it, nothing.
    #[serde(default)]
    pub rewrite: Option<RewriteFile>,
    /// How often it may be asked, after policy has allowed it: all of them have to let a request through. Without any, as often as one likes.
    #[serde(default)]
    pub rate_limits: Vec<RateLimitFile>,
    /// A service that is asked besides, where its own rate limits let a request through. Without it, none is.
    #[serde(default)]
    pub global_rate_limit: Option<GlobalRateLimitFile>,
    /// Another upstream that gets copies of what is permitted. Without it, none does.
    #[serde(default)]
    pub mirror: Option<MirrorFile>,
    /// What goes wrong here on purpose. Without it, nothing does.
    #[serde(default)]
    pub faults: Option<FaultsFile>,
    /// When its audit entries count as recorded: at least the log's own mode, which is the default.
    #[serde(default)]
    pub audit: Option<AuditModeFile>,
    /// What a denied caller is told besides the decision's id; `code` is the default.
    #[serde(default)]
    pub explain: Option<ExplainFile>,
    /// By which headers the upstream is told who calls. Without it, by none.
    #[serde(default)]
    pub identity_headers: Option<IdentityHeadersFile>,
    /// What the upstream is told of the way that a request came. Without it, what the caller says of it.
    #[serde(default)]
    pub forwarded_headers: Option<ForwardedHeadersFile>,
    /// What a bearer token means here. Default `optional` where there are issuers, `ignored` where there are none.
    #[serde(default)]
    pub tokens: Option<TokenRuleFile>,
}

/// Which requests a route takes: all that is written must hold.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct MatchFile {
    /// Host names, with a port or without, on a `tcp` listener server names of the TLS handshake (SNI); `*.example.org` takes one further label. Without it, any.
    pub authorities: Vec<String>,
    /// Where captured connections were going: an address or a network and a port, like `192.0.2.7:5432`, `10.0.0.0/8:5432`, `[fd00::]/8:6379` or `10.0.0.0/8:*`; `*:443` is any address. Without it, anywhere.
    pub destinations: Vec<String>,
    /// Path prefix at segment boundaries: `/a` takes `/a` and `/a/b`, not `/ab`. Without it, `/`, which takes all.
    pub path_prefix: Option<String>,
    /// The whole path, instead of a prefix.
    pub path: Option<String>,
    /// HTTP methods. Without it, any.
    pub methods: Vec<String>,
    /// Headers, each with what it must be. A caller chooses among routes by what it sends: what it may do there is for policy to say.
    pub headers: BTreeMap<String, HeaderMatchFile>,
}

/// Whether a deny stops the request.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum EnforcementFile {
    /// It does.
    Enforce,
    /// It is only recorded, and the request goes on: this route is open.
    Observe,
}

/// Further attempts, each within the upstream's `retry_budget` and all of them within the route's `timeout`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RetryFile {
    /// All attempts, the first one included.
    pub attempts_max: u64,
    /// After what another attempt is made. After `connect_failure` and `refused_stream` it is made whatever the method: the upstream has provably not looked at the request. After all else only for the `methods`.
    #[serde(default)]
    pub on: Vec<RetryOnFile>,
    /// Statuses of the upstream after which another attempt is made, for the `methods`.
    #[serde(default)]
    pub statuses: Vec<u64>,
    /// Methods of which a request may be sent again although the upstream may have acted on it. Without it, those that are idempotent (RFC 9110 §9.2.2): `GET`, `HEAD`, `OPTIONS`, `PUT`, `DELETE`.
    #[serde(default)]
    pub methods: Option<Vec<String>>,
    /// What one attempt may take, from its start to the headers of its response. Without it, as long as the route.
    #[serde(default)]
    pub per_try_timeout: Option<String>,
    /// The longest wait before the second attempt; it doubles with each further one, and the wait is drawn from nothing to that. What the upstream asks for in `retry-after` or `grpc-retry-pushback-ms` is waited for instead. After `connect_failure` another endpoint is tried at once.
    #[serde(default)]
    pub backoff: Option<String>,
    /// What the doubling ends at.
    #[serde(default)]
    pub backoff_max: Option<String>,
    /// A request body that is kept to be sent again. With a longer one, no attempt is made that would need it.
    #[serde(default)]
    pub body_bytes_max: Option<String>,
}

/// After what another attempt is made.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RetryOnFile {
    /// The connection could not be made: no byte of the request was sent.
    ConnectFailure,
    /// The upstream refused the HTTP/2 stream, or went away (GOAWAY) before it looked at it.
    RefusedStream,
    /// The upstream broke the connection or the stream off before the headers of its response.
    Reset,
    /// `per_try_timeout` has passed.
    Timeout,
    /// The status is 502, 503 or 504.
    GatewayError,
    /// A gRPC call ended with UNAVAILABLE and nothing else. Calls are `POST`, which `methods` has to name.
    GrpcUnavailable,
}

/// What a request may switch its connection to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum UpgradeFile {
    /// WebSocket (RFC 6455), over HTTP/2 by extended CONNECT (RFC 8441). The upstream has to be `http1`, or `h2` or `h2c` and announce that it takes extended CONNECT.
    Websocket,
    /// A byte stream, by CONNECT (RFC 9110 §9.3.6): the route takes no other requests, by `authorities` with or without port. The upstream has to be `tcp`.
    Connect,
}

/// What a denied caller is told besides the decision's id.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ExplainFile {
    /// Nothing.
    None,
    /// The reason code.
    Code,
    /// The reason code and the policy's own words.
    Detail,
}

/// What a bearer token means on a route.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum TokenRuleFile {
    /// There must be one, and it must verify.
    Required,
    /// If there is one, it must verify.
    Optional,
    /// It is not looked at and goes on to the upstream as it came; policy sees no claims.
    Ignored,
}

/// One upstream service.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct UpstreamFile {
    /// IP addresses with a port, or host names with a port, which are resolved as long as the sidecar runs, or Unix sockets, `unix:///run/…/app.sock`. Or a service of the DNS alone, `srv:_http._tcp.orders.internal`, whose records say where it is. Or `original_destination` alone, for the routes of `captured` listeners: where each connection was going.
    pub endpoints: Vec<String>,
    /// Users of which the process behind a Unix socket runs as one, as the kernel saw it when it began to listen. Without it, whoever can make the socket answers. For upstreams whose endpoints are all Unix sockets.
    #[serde(default)]
    pub uids: Option<Vec<u32>>,
    /// It is told by the PROXY protocol from whom each connection is, before anything else, and before TLS. A connection is then used for the connection of one caller alone. Without it, it is not told.
    #[serde(default)]
    pub proxy_protocol: Option<ProxyVersionFile>,
    /// What is spoken to it; `http1` is the default.
    #[serde(default)]
    pub protocol: Option<UpstreamProtocolFile>,
    /// What it has to prove. Without it, it is spoken to in plain text.
    #[serde(default)]
    pub tls: Option<UpstreamTlsFile>,
    /// For one connection to be made, TLS included.
    #[serde(default)]
    pub connect_timeout: Option<String>,
    /// How long a connection without a request is kept.
    #[serde(default)]
    pub idle_timeout: Option<String>,
    /// Open connections, over all workers. Who needs another one waits for a place.
    #[serde(default)]
    pub connections_max: Option<u64>,
    /// Requests that wait for a connection, over all workers; more are refused.
    #[serde(default)]
    pub pending_max: Option<u64>,
    /// Requests in hand, from the permit to the end of the answer, over all workers; more are refused.
    #[serde(default)]
    pub requests_max: Option<u64>,
    /// Fewer requests in hand than `requests_max` where answers show that it cannot work on so many. Without it, `requests_max` alone bounds them.
    #[serde(default)]
    pub adaptive_concurrency: Option<AdaptiveConcurrencyFile>,
    /// How many further attempts it may be made to bear.
    #[serde(default)]
    pub retry_budget: RetryBudgetFile,
    /// How one of several endpoints is chosen; `p2c_ewma` is the default.
    #[serde(default)]
    pub balance: Option<BalanceFile>,
    /// When an endpoint is left out for its failures.
    #[serde(default)]
    pub outlier: OutlierFile,
    /// How endpoints are asked for their health. Without it, they are not.
    #[serde(default)]
    pub health: Option<HealthFile>,
    /// Where its endpoints may be when what is spoken to them has no TLS. Default `loopback_only`.
    #[serde(default)]
    pub plaintext: Option<PlaintextFile>,
}

/// How many further attempts an upstream may be made to bear, over all workers and routes: the share, and those by the second besides.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RetryBudgetFile {
    /// Attempts under way, in percent of the requests in hand.
    pub percent: Option<u64>,
    /// Attempts a second besides; a second's worth may come at once.
    pub per_second: Option<u64>,
}

/// How an upstream proves who it is.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum UpstreamTlsFile {
    /// TLS 1.3 with X.509-SVIDs on both sides.
    Mutual(UpstreamMutualFile),
}

/// Mutual TLS with an upstream. At least one ID or trust domain has to be named.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamMutualFile {
    /// SPIFFE IDs of which the server proves one.
    pub spiffe_ids: Vec<String>,
    /// Trust domains of which any member may answer.
    pub trust_domains: Vec<String>,
    /// The name that is asked for (SNI). Without it, an endpoint's own name, and none of an address; it plays no part in who may answer.
    pub server_name: Option<String>,
}

/// What is spoken to an upstream.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum UpstreamProtocolFile {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 in TLS; needs `tls`.
    H2,
    /// HTTP/2 without TLS, by prior knowledge; gRPC needs it.
    H2c,
    /// Bytes as they come, for the routes of `tcp` listeners; with `tls` or without.
    Tcp,
}
