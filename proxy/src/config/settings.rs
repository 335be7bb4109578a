//! The resolved types. No default is decided after this point, and no `Option` hides one.

mod adaptive_concurrency;
mod capture;
mod endpoints;
mod faults;
mod forwarded_headers;
mod identity;
mod identity_headers;
mod leads;
mod mirror;
mod names;
mod permissive;
mod proxy_version;
mod rate_limits;
mod rewrite;
mod traffic;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use postern_identity::TrustDomain;
use postern_identity::token::SenderConstraint;

pub use self::adaptive_concurrency::AdaptiveConcurrencyConfig;
pub use self::capture::{
    CaptureConfig, CaptureFrom, CaptureInbound, CaptureOutbound, CaptureOwn, CapturePorts,
};
pub use self::endpoints::{BalanceConfig, HashKey, HealthConfig, HealthProbe, OutlierConfig};
pub use self::faults::{AbortConfig, DelayConfig, FaultsConfig};
pub use self::forwarded_headers::{ForwardedFor, ForwardedHeaders, ForwardedProto};
pub use self::identity::{
    EndpointOrigin, EndpointProfile, EndpointProof, FederationConfig, IdentityConfig, IdentitySource,
    RevocationRule, SvidSelection,
};
pub use self::identity_headers::{ClientCert, IdentityHeaders, TokenPassage, XfccDetail, XfccMode};
pub use self::leads::{AnswerConfig, Leads, RedirectConfig, RedirectPath, RespondConfig, SplitConfig};
pub use self::mirror::MirrorConfig;
pub use self::names::{EndpointConfig, NamedEndpoint, overlap, takes_all};
pub use self::permissive::{PermissiveConfig, Silence};
pub use self::proxy_version::ProxyVersion;
pub use self::rate_limits::{
    DescriptorValue, GlobalRateLimitConfig, OnFailure, RateLimitConfig, RateLimitKey,
};
pub use self::rewrite::{HeaderMatch, HeaderRewrite, RewriteConfig};
pub use self::traffic::{
    Bind, Captured, Direction, DpopNonce, Enforcement, Explain, ListenerConfig, ListenerLimits,
    ListenerProtocol, ListenerTls, LocalDoor, OnInvalid, RetryBudgetConfig, RetryConfig, RetryOn,
    RouteConfig, RouteMatch, TokenRule, Upgrade, UpstreamConfig, UpstreamLimits, UpstreamProtocol,
    UpstreamTls, Validity,
};

/// Everything one sidecar process was told to be.
///
/// Made by [`load`](super::load) from a file, or field by field by `postern demo` and by tests.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Who this sidecar is.
    pub identity: IdentityConfig,
    /// Issuers whose bearer tokens are verified, in the order written. Issuer names are unique.
    /// Empty: no token is looked at, and every route's [`TokenRule`] is [`TokenRule::Ignored`].
    pub tokens: Vec<IssuerConfig>,
    /// Identity tokens of workloads themselves.
    pub workload_tokens: WorkloadTokens,
    /// What decides.
    pub policy: PolicyConfig,
    /// Where callers come in, by name. At least one; names and addresses are unique.
    pub listeners: Vec<ListenerConfig>,
    /// Where permitted exchanges go, by name. At least one; names are unique.
    pub upstreams: Vec<UpstreamConfig>,
    /// Where decisions are recorded.
    pub audit: AuditConfig,
    /// Traces and the process log.
    pub telemetry: TelemetryConfig,
    /// The read-only port for probes and metrics.
    pub status: StatusConfig,
    /// The socket that takes commands.
    pub admin: AdminConfig,
    /// What `postern capture` is to make rules of; the running sidecar does not read it.
    pub capture: CaptureConfig,
    /// How many worker threads carry traffic.
    pub workers: Workers,
    /// From how many bytes of memory on nothing new is let in; `None`: from a share of what the cgroup allows.
    pub memory_max: Option<u64>,
}

impl Config {
    /// The upstream of that name. Every [`RouteConfig::upstream`] of a resolved configuration is found.
    #[must_use]
    pub fn upstream(&self, name: &str) -> Option<&UpstreamConfig> {
        self.upstreams.iter().find(|upstream| upstream.name == name)
    }
}

/// The number of worker threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// As many as the cgroup's CPU limit, rounded up, and at most [`Workers::AUTO_MAX`].
    Auto,
    /// Exactly this many, 1 to 64.
    Count(usize),
}

impl Workers {
    /// More workers than this have to be asked for: a sidecar shares its machine with a service.
    pub const AUTO_MAX: usize = 4;

    /// The number of threads to start, given the CPUs this process may use (rounded up). At least 1.
    #[must_use]
    pub fn resolve(self, cpus_available: usize) -> usize {
        match self {
            Workers::Auto => cpus_available.clamp(1, Workers::AUTO_MAX),
            Workers::Count(count) => count.max(1),
        }
    }
}

/// Identity tokens of workloads themselves (WIT-SVID with a WIMSE proof). Both are empty where they are not looked at, and
/// neither is otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkloadTokens {
    /// What this service is called in proofs: scheme and authority, in their one spelling.
    pub authorities: Vec<String>,
    /// One SPIFFE bundle document per trust domain.
    pub bundles: Vec<(TrustDomain, PathBuf)>,
}

/// One issuer of bearer tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerConfig {
    /// Exact value of the `iss` claim; for JWT-SVIDs the trust domain as a SPIFFE ID.
    pub issuer: String,
    /// Accepted values of `aud`; a token must name at least one of them. Never empty.
    pub audiences: Vec<String>,
    /// Accepted signature algorithms. Never empty.
    pub algorithms: Vec<TokenAlgorithm>,
    /// Where the issuer's public keys come from.
    pub keys: KeySource,
    /// What kind of token it issues.
    pub profile: TokenProfile,
    /// Tolerated clock difference for `exp`, `nbf` and `iat`; at most 120 s.
    pub leeway: Duration,
    /// Longest accepted span between `iat` and `exp`. `Duration::MAX` when not restricted.
    pub lifetime_max: Duration,
    /// What its tokens must be bound to.
    pub sender_constraint: SenderConstraint,
    /// How keys are kept fresh that are fetched.
    pub freshness: KeyFreshness,
}

/// How the keys of one issuer are kept fresh. Keys in a file have no age.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFreshness {
    /// How often they are fetched when the answer does not ask for it sooner.
    pub refresh_interval: Duration,
    /// How long they stay in force when they cannot be fetched again.
    pub stale_max: Duration,
    /// Where those fetched last are kept for an offline start.
    pub last_good_directory: Option<PathBuf>,
}

/// Signature algorithms a token may be signed with (RFC 7518 §3.1, RFC 8037). `none` and HMAC are
/// not among them: a verifier must not hold a secret that could mint tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TokenAlgorithm {
    /// ECDSA P-256 with SHA-256.
    Es256,
    /// ECDSA P-384 with SHA-384.
    Es384,
    /// ECDSA P-521 with SHA-512.
    Es512,
    /// Ed25519.
    EdDsa,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
}

impl TokenAlgorithm {
    /// Every algorithm, in the order of the documentation.
    pub const ALL: [TokenAlgorithm; 10] = [
        TokenAlgorithm::Es256,
        TokenAlgorithm::Es384,
        TokenAlgorithm::Es512,
        TokenAlgorithm::EdDsa,
        TokenAlgorithm::Rs256,
        TokenAlgorithm::Rs384,
        TokenAlgorithm::Rs512,
        TokenAlgorithm::Ps256,
        TokenAlgorithm::Ps384,
        TokenAlgorithm::Ps512,
    ];

    /// The name in the `alg` header and in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            TokenAlgorithm::Es256 => "ES256",
            TokenAlgorithm::Es384 => "ES384",
            TokenAlgorithm::Es512 => "ES512",
            TokenAlgorithm::EdDsa => "EdDSA",
            TokenAlgorithm::Rs256 => "RS256",
            TokenAlgorithm::Rs384 => "RS384",
            TokenAlgorithm::Rs512 => "RS512",
            TokenAlgorithm::Ps256 => "PS256",
            TokenAlgorithm::Ps384 => "PS384",
            TokenAlgorithm::Ps512 => "PS512",
        }
    }
}

/// Which kind of token an issuer mints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenProfile {
    /// An OAuth 2.0 access token: `typ` must be `at+jwt` (RFC 9068 §4).
    AccessToken,
    /// Any JWT: `typ` is `JWT`, `at+jwt` or absent.
    Generic,
    /// A JWT-SVID of this trust domain; its keys come in a SPIFFE bundle document.
    JwtSvid(TrustDomain),
    /// The token of a Kubernetes service account.
    KubernetesServiceAccount,
    /// A transaction token, in a header of its own.
    TransactionToken,
}

/// Where an issuer's key set (JWKS, RFC 7517 §5) comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// Fetched and kept fresh.
    Url(HttpSource),
    /// Wherever the issuer's metadata at this URL say.
    Discovery(HttpSource),
    /// A file, watched for change.
    File(PathBuf),
    /// The JWT bundles of the Workload API, which is then the identity's source. Only with [`TokenProfile::JwtSvid`].
    WorkloadApi,
    /// The bundle that federation fetches for the trust domain. Only with [`TokenProfile::JwtSvid`].
    Federation,
}

/// One URL of the control plane and how far it is trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSource {
    /// `https://…`, or `http://…` as far as [`HttpSource::plaintext`] allows. Without user
    /// information and fragment.
    pub url: String,
    /// What the server's certificate must chain to.
    pub trust_roots: TrustRoots,
    /// Where plain `http://` may lead.
    pub plaintext: Plaintext,
}

/// What the certificate of a control-plane server must chain to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustRoots {
    /// The roots of the machine.
    System,
    /// Only these PEM files. Never empty.
    Files(Vec<PathBuf>),
}

/// How far bytes may travel without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plaintext {
    /// Only to a loopback address.
    LoopbackOnly,
    /// To any address: whoever wrote this accepts that the network can read and change it.
    AnyAddress,
}

/// What decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyConfig {
    /// The bundles, by name. At least one; names are unique.
    pub bundles: Vec<BundleConfig>,
    /// Which question is asked of them.
    pub decision: PolicyDecision,
    /// How large a bundle may be.
    pub limits: BundleLimits,
    /// Where the newest verified bundle of each name is kept for a start without its source.
    pub last_good_directory: PathBuf,
    /// Safety net for one evaluation; reaching it denies. 1 ms to 1 s.
    pub decision_timeout: Duration,
    /// Steps that one Rego decision may take. 1,000 to 100,000,000.
    pub decision_steps_max: usize,
    /// Whether an error of a Rego builtin ends the decision as a deny; else the call is undefined, as in OPA.
    pub strict_builtin_errors: bool,
}

/// One policy bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleConfig {
    /// Its name: letters, digits, `.`, `-` and `_`, at most 64.
    pub name: String,
    /// Where it comes from.
    pub source: BundleSource,
    /// Who must have signed it.
    pub trust: BundleTrust,
}

/// Where a bundle comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BundleSource {
    /// A folder with the bundle's files or an archive in a file, watched for change.
    Directory {
        /// The folder or the file.
        path: PathBuf,
        /// How often it is looked at.
        poll_interval: Duration,
    },
    /// An archive over HTTP(S), by the OPA bundle protocol.
    Http {
        /// The archive.
        server: HttpSource,
        /// How long the server is asked to hold a request open when nothing is new.
        /// Zero: no long polling.
        long_poll: Duration,
        /// Pause between two requests when the server does not long-poll, and after a failure.
        poll_interval: Duration,
    },
}

/// Who must have signed a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BundleTrust {
    /// One of these public keys (PEM). Never empty.
    Signers(Vec<PathBuf>),
    /// Nobody. Written as `unsigned: development_only`; `check` and readiness name it.
    UnsignedForDevelopment,
}

/// Which question is asked of the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyDecision {
    /// A Rego rule by its path, such as `postern/authz/decision`.
    Rego {
        /// Names separated by `/`, without a leading `data`.
        path: String,
    },
    /// Cedar's own authorization question.
    Cedar,
}

/// How large a bundle may be; beyond any of them it is refused before it is read further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BundleLimits {
    /// The archive as it arrives.
    pub archive_bytes_max: usize,
    /// All its files after decompression.
    pub bytes_max: usize,
    /// One file after decompression.
    pub file_bytes_max: usize,
    /// Number of files.
    pub files_max: usize,
}

/// Where decisions are recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditConfig {
    /// The log's folder; one running process per folder.
    pub directory: PathBuf,
    /// The log's name in its checkpoints (C2SP tlog-checkpoint, "origin"): no spaces, no `+`.
    pub origin: String,
    /// What signs the checkpoints.
    pub signer: AuditSigner,
    /// When an entry counts as recorded. A route may only raise it.
    pub mode: AuditMode,
    /// How long a request may wait for its entry's place or, in `durable` mode, for the disk.
    pub max_wait: Duration,
    /// Size of each worker's ring; the log rounds it up to a power of two.
    pub ring_bytes: usize,
    /// A segment file is closed beyond this size.
    pub segment_bytes_max: u64,
    /// A segment file is closed beyond this age.
    pub segment_age_max: Duration,
    /// Longest time between an entry and the signed checkpoint over it.
    pub checkpoint_interval: Duration,
}

/// What signs the checkpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditSigner {
    /// Ed25519, private key in PKCS#8 PEM.
    Ed25519 {
        /// The file.
        key: PathBuf,
    },
    /// ECDSA P-256 with SHA-256, private key in PKCS#8 PEM.
    EcdsaP256 {
        /// The file.
        key: PathBuf,
    },
}

/// When an audit entry counts as recorded, weakest first: a greater one promises more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AuditMode {
    /// In the ring; under pressure allows are dropped and declared, denies never.
    BestEffort,
    /// In the ring, which outlives the process; a full ring refuses.
    Async,
    /// On the disk, which outlives power loss.
    Durable,
}

/// Traces and the process log.
#[derive(Clone, Debug, PartialEq)]
pub struct TelemetryConfig {
    /// Where spans go.
    pub otlp: Otlp,
    /// Share of new traces that are sampled, 0 to 1. The caller's own choice and denies come first.
    pub sample_ratio: f64,
    /// `service.name` of the spans.
    pub service_name: String,
    /// The process log on standard error.
    pub log: ProcessLog,
}

/// Where spans go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Otlp {
    /// Nowhere.
    Off,
    /// To an OTLP/gRPC receiver.
    Grpc(HttpSource),
}

/// The process log on standard error: starts, stops, reloads and errors, never single requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessLog {
    /// The least level that is written.
    pub level: LogLevel,
    /// How a line looks.
    pub format: LogFormat,
}

/// Levels of the process log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Only what needs a person.
    Error,
    /// And what may come to need one.
    Warn,
    /// And what happened.
    Info,
    /// And why.
    Debug,
}

/// How a line of the process log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// The read-only port: `/livez`, `/readyz`, `/startupz`, `/metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusConfig {
    /// No such port.
    Closed,
    /// HTTP/1.1 without TLS on this address.
    Open {
        /// The address to bind.
        address: SocketAddr,
    },
}

/// The socket that takes commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminConfig {
    /// No such socket.
    Closed,
    /// A Unix socket for its owner only.
    Open {
        /// Absolute path, at most 107 bytes.
        socket: PathBuf,
    },
}
