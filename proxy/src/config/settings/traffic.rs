//! Listeners, routes and upstreams.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::{DestinationRange, IpRange};
use http::HeaderName;
use postern_identity::{SpiffeId, TrustDomain};

use super::{
    AdaptiveConcurrencyConfig, AuditMode, BalanceConfig, EndpointConfig, FaultsConfig, ForwardedHeaders,
    GlobalRateLimitConfig, HeaderMatch, HealthConfig, IdentityHeaders, Leads, MirrorConfig, OutlierConfig,
    PermissiveConfig, ProxyVersion, RateLimitConfig, RewriteConfig,
};

/// Which way traffic flows through a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From other workloads to the local one.
    Inbound,
    /// From the local workload to others.
    Outbound,
}

/// One address on which callers come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerConfig {
    /// Its name; policy sees it as the service that is called.
    pub name: String,
    /// Which way traffic flows.
    pub direction: Direction,
    /// Where callers connect.
    pub bind: Bind,
    /// How connections come here that were going elsewhere; never to a Unix socket. `None`: they are made to the address.
    pub captured: Option<Captured>,
    /// What is spoken.
    pub protocol: ListenerProtocol,
    /// Load balancers that say from whom a connection is. Empty: nobody does.
    pub proxy_protocol: Vec<IpRange>,
    /// How callers prove who they are.
    pub tls: ListenerTls,
    /// Plain text beside it, for a while; never with [`ListenerTls::None`]. `None`: callers speak TLS.
    pub permissive: Option<PermissiveConfig>,
    /// What one caller may cost.
    pub limits: ListenerLimits,
    /// Whether proofs of possession have to hold a nonce.
    pub dpop_nonce: DpopNonce,
    /// Tried in this order; the first that matches is taken. At least one; names are unique.
    pub routes: Vec<RouteConfig>,
}

/// How connections come to a listener that were going elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Captured {
    /// By REDIRECT: the kernel remembers where they were going.
    Redirect,
    /// By TPROXY: our side of them has the address that they were going to.
    Transparent,
}

/// Where callers connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bind {
    /// This address. The port is never 0.
    Address(SocketAddr),
    /// A Unix socket.
    Local(LocalDoor),
}

impl Bind {
    /// The address, where it is one.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::Local(_) => None,
        }
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Local(door) => write!(f, "unix://{}", door.socket.display()),
        }
    }
}

/// A Unix socket for local processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalDoor {
    /// Absolute path, at most 107 bytes.
    pub socket: PathBuf,
    /// The file's mode: of the bits 0666, those of the owner always.
    pub mode: u32,
    /// Users that may connect; `None` where the mode alone says who. Never empty.
    pub uids: Option<Vec<u32>>,
}

/// What is spoken to a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerProtocol {
    /// HTTP/1.1 and HTTP/2.
    Http,
    /// Raw streams.
    Tcp,
    /// Whichever of the two the first bytes show; outbound and captured.
    Detect,
}

/// Whether DPoP proofs have to hold a nonce that was given out here (RFC 9449 §9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DpopNonce {
    /// They need not, and none is given out.
    None,
    /// They do.
    Required,
}

/// How callers of a listener prove who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenerTls {
    /// TLS 1.3 with X.509-SVIDs on both sides.
    Mutual {
        /// Trust domains whose members may connect. Never empty, no duplicates.
        trust_domains: Vec<TrustDomain>,
        /// What becomes of connections whose callers are believed no more.
        validity: Validity,
    },
    /// They do not: outbound, on loopback, the local workload calls.
    None,
}

/// What becomes of connections whose callers are believed no more. No further request is served on them in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Where the caller's SVID, or the one that we presented, has expired.
    pub on_peer_expiry: OnInvalid,
    /// Where the bundles in force do not vouch for the caller any more.
    pub on_trust_change: OnInvalid,
    /// How long exchanges in progress may go on where they may.
    pub grace: Duration,
}

impl Default for Validity {
    fn default() -> Self {
        Self {
            on_peer_expiry: OnInvalid::Drain,
            on_trust_change: OnInvalid::Close,
            grace: Duration::from_secs(30),
        }
    }
}

/// What becomes of exchanges in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnInvalid {
    /// They go on for a grace; the caller is asked to come back on another connection.
    Drain,
    /// They end at once.
    Close,
}

/// What one listener, one connection and one request may cost. Everything has a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerLimits {
    /// Open connections, over all workers.
    pub connections_max: usize,
    /// From accept to the end of the TLS handshake.
    pub handshake_timeout: Duration,
    /// How long the first bytes of a captured connection are waited for.
    pub detect_timeout: Duration,
    /// Handshakes in progress of one address, over all workers.
    pub handshakes_per_source_max: usize,
    /// From the first byte of a request to the end of its headers.
    pub header_timeout: Duration,
    /// All header fields of a request together, names and values.
    pub header_bytes_max: usize,
    /// One header field, name and value, and the request target.
    pub header_line_bytes_max: usize,
    /// Header fields of one request.
    pub header_count_max: usize,
    /// A request's body.
    pub body_bytes_max: usize,
    /// A body that policy reads, buffered whole before the decision.
    pub policy_body_bytes_max: usize,
    /// All bodies that are buffered for policy at one time, over all workers.
    pub policy_bodies_bytes_max: usize,
    /// How long that buffering may take.
    pub policy_body_timeout: Duration,
    /// One bearer token.
    pub token_bytes_max: usize,
    /// A connection without a request in progress.
    pub idle_timeout: Duration,
    /// Age at which a connection is asked to close; spread by ±10 %.
    pub connection_age_max: Duration,
    /// Concurrent HTTP/2 streams on one connection.
    pub http2_streams_max: u32,
    /// HTTP/2 frames of one connection that carry nothing; ten seconds' worth may come at once.
    pub http2_control_frames_per_second_max: u32,
    /// Refusals that one principal may cause on one worker; two seconds' worth may come at once.
    pub refusals_per_second_max: u32,
    /// How long exchanges in progress may go on once the listener drains.
    pub drain_grace: Duration,
}

/// One route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteConfig {
    /// Its name in records, metrics and policy: as written, or `<listener>-<position from 0>`.
    pub name: String,
    /// Which requests it takes.
    pub matches: RouteMatch,
    /// What becomes of them.
    pub leads: Leads,
    /// Whether a deny stops the request.
    pub enforcement: Enforcement,
    /// From the permit to the headers of the response.
    pub timeout: Duration,
    /// How long a body or stream in either direction may stand still.
    pub stream_idle_timeout: Duration,
    /// Further attempts.
    pub retry: RetryConfig,
    /// What a request may switch its connection to.
    pub upgrade: Upgrade,
    /// What is changed on the way to the upstream and back.
    pub rewrite: RewriteConfig,
    /// How often it may be asked.
    pub rate_limits: Vec<RateLimitConfig>,
    /// A service that is asked besides.
    pub global_rate_limit: Option<GlobalRateLimitConfig>,
    /// Another upstream that gets copies.
    pub mirror: Option<MirrorConfig>,
    /// What fails on purpose.
    pub faults: Option<FaultsConfig>,
    /// At least the log's own mode, see [`AuditConfig::mode`](super::AuditConfig::mode).
    pub audit_mode: AuditMode,
    /// What a denied caller is told.
    pub explain: Explain,
    /// What a bearer token means here.
    pub tokens: TokenRule,
    /// By which headers the upstream is told who calls.
    pub identity_headers: IdentityHeaders,
    /// What the upstream is told of the way that a request came.
    pub forwarded_headers: ForwardedHeaders,
}

/// What the requests of a route may switch their connection to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgrade {
    /// Nothing.
    None,
    /// WebSocket; other requests are answered.
    WebSocket,
    /// A byte stream: the route takes CONNECT and nothing else.
    Connect,
}

/// Which requests a route takes: all conditions must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteMatch {
    /// Lower-case host names, with a port or without. Empty: any. An entry without a port matches
    /// any port; `*.example.org` matches exactly one further label in front.
    pub authorities: Vec<String>,
    /// Where captured connections were going. Empty: anywhere; it is on other listeners.
    pub destinations: Vec<DestinationRange>,
    /// Canonical path prefix, matched at segment boundaries: `/a` takes `/a` and `/a/b`, not `/ab`.
    /// `/` takes every path.
    pub path_prefix: String,
    /// Whether nothing below `path_prefix` is taken.
    pub is_exact: bool,
    /// Upper-case HTTP methods. Empty: any.
    pub methods: Vec<String>,
    /// Headers, each with what it must be.
    pub headers: Vec<(HeaderName, HeaderMatch)>,
}

/// Whether a deny stops the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforcement {
    /// It does.
    Enforce,
    /// The decision is recorded as what would have happened, and the request goes on.
    Observe,
}

/// Further attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryConfig {
    /// All attempts, the first one included, 1 to 5. 1: no retry.
    pub attempts_max: u32,
    /// After which failures another one is made. With `statuses`, empty exactly when `attempts_max` is 1.
    pub on: Vec<RetryOn>,
    /// After which statuses another one is made.
    pub statuses: Vec<u16>,
    /// Methods of which a request may be sent again although the upstream may have acted on it.
    pub methods: Vec<String>,
    /// What one attempt may take to the headers of its response. `None`: as long as the route.
    pub per_try_timeout: Option<Duration>,
    /// The longest wait before the second attempt.
    pub backoff: Duration,
    /// The longest wait before any.
    pub backoff_max: Duration,
    /// The longest body that is kept to be sent again.
    pub body_bytes_max: usize,
}

/// A failure after which another attempt is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryOn {
    /// The connection could not be made, so that no byte of the request was sent.
    ConnectFailure,
    /// The upstream refused the stream, or went away before it looked at it.
    RefusedStream,
    /// The upstream broke off before the headers of its response.
    Reset,
    /// The time of one attempt has passed.
    Timeout,
    /// The status is 502, 503 or 504.
    GatewayError,
    /// A gRPC call ended with UNAVAILABLE and nothing else.
    GrpcUnavailable,
}

/// What a denied caller is told besides the decision's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Explain {
    /// Nothing.
    None,
    /// The reason code.
    Code,
    /// The reason code and the policy's own words.
    Detail,
}

/// What a bearer token means on a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenRule {
    /// There must be one, and it must verify.
    Required,
    /// If there is one, it must verify.
    Optional,
    /// It is not looked at and goes on to the upstream as it came; policy sees no claims.
    Ignored,
}

/// One upstream service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamConfig {
    /// Its name.
    pub name: String,
    /// Its endpoints. At least one, no duplicates.
    pub endpoints: Vec<EndpointConfig>,
    /// Users of which the process behind a Unix socket has to run as one; `None` where the file alone says who answers.
    /// Never empty; all endpoints are Unix sockets then.
    pub uids: Option<Vec<u32>>,
    /// By which version of the PROXY protocol it is told from whom a connection is; `None`: it is not.
    pub proxy_protocol: Option<ProxyVersion>,
    /// What is spoken to it.
    pub protocol: UpstreamProtocol,
    /// What it has to prove.
    pub tls: UpstreamTls,
    /// For one connection to be made.
    pub connect_timeout: Duration,
    /// How long a connection without a request is kept.
    pub idle_timeout: Duration,
    /// How much of it may be in use at one time.
    pub limits: UpstreamLimits,
    /// How many requests it may have in hand, by how long it takes. `None`: by `limits` alone.
    pub adaptive_concurrency: Option<AdaptiveConcurrencyConfig>,
    /// How many further attempts it may be made to bear.
    pub retry_budget: RetryBudgetConfig,
    /// How one of its endpoints is chosen.
    pub balance: BalanceConfig,
    /// When an endpoint is left out for its failures.
    pub outlier: OutlierConfig,
    /// How endpoints are asked for their health. `None`: they are not.
    pub health: Option<HealthConfig>,
}

/// How much of an upstream may be in use at one time, over all workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamLimits {
    /// Open connections.
    pub connections_max: usize,
    /// Requests that wait for a connection.
    pub pending_max: usize,
    /// Requests in hand.
    pub requests_max: usize,
}

/// How many further attempts an upstream may be made to bear, over all workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryBudgetConfig {
    /// Attempts under way, in percent of the requests in hand.
    pub percent: usize,
    /// Attempts a second besides.
    pub per_second: u64,
}

/// What is spoken to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 in TLS.
    H2,
    /// HTTP/2 without TLS, by prior knowledge.
    H2c,
    /// Raw streams.
    Tcp,
}

/// How an upstream proves who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamTls {
    /// It does not: it is spoken to in plain text.
    Plaintext,
    /// TLS 1.3 with X.509-SVIDs on both sides.
    Mutual {
        /// Who may answer, by SPIFFE ID and by trust domain; not both are empty.
        spiffe_ids: Vec<SpiffeId>,
        /// Trust domains of which any member may answer.
        trust_domains: Vec<TrustDomain>,
        /// The name that is asked for (SNI). `None` asks for none at an address, and for the name at a name.
        server_name: Option<String>,
    },
}
