//! `audit:`, `telemetry:`, `status:` and `admin:`.

use serde::Deserialize;

use super::{PlaintextFile, TrustRootsFile};

/// Where decisions are recorded.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AuditFile {
    /// The log's folder; one running sidecar per folder.
    pub directory: String,
    /// The log's name in its signed checkpoints. Without it, `postern/` and the name of the first listener.
    #[serde(default)]
    pub origin: Option<String>,
    /// What signs the checkpoints.
    pub signer: SignerFile,
    /// When an entry counts as recorded; `async` is the default.
    #[serde(default)]
    pub mode: Option<AuditModeFile>,
    /// How long a request may wait for its entry; beyond it, the request is refused.
    #[serde(default)]
    pub max_wait: Option<String>,
    /// Size of the shared-memory ring of each worker, rounded up to a power of two.
    #[serde(default)]
    pub ring_bytes: Option<String>,
    /// A segment file is closed beyond this size.
    #[serde(default)]
    pub segment_bytes_max: Option<String>,
    /// A segment file is closed beyond this age.
    #[serde(default)]
    pub segment_age_max: Option<String>,
    /// Longest time between an entry and the signed checkpoint over it.
    #[serde(default)]
    pub checkpoint_interval: Option<String>,
}

/// What signs the checkpoints.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum SignerFile {
    /// Ed25519.
    Ed25519(SigningKeyFile),
    /// ECDSA P-256 with SHA-256.
    EcdsaP256(SigningKeyFile),
}

/// A private key.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SigningKeyFile {
    /// Its file, PKCS#8 in PEM.
    pub key: String,
}

/// When an audit entry counts as recorded.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum AuditModeFile {
    /// On the disk: it outlives power loss.
    Durable,
    /// In the ring: it outlives the process. A full ring refuses.
    Async,
    /// As `async`, but under pressure allows are dropped and the gap is declared; denies never.
    BestEffort,
}

/// Traces and the process log.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryFile {
    /// Where spans go. Without it, nowhere.
    pub otlp: Option<OtlpFile>,
    /// Share of new traces that are sampled, 0 to 1. A caller's own choice comes first; denies are always exported. Default 0.01.
    pub sample: Option<f64>,
    /// `service.name` of the spans. Default `postern`.
    pub service_name: Option<String>,
    /// The process log on standard error.
    pub log: LogFile,
}

/// An OTLP/gRPC receiver.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct OtlpFile {
    /// Its URL, such as `https://otel:4317`.
    pub url: String,
    /// What its certificate must chain to; `system` is the default.
    #[serde(default)]
    pub trust_roots: Option<TrustRootsFile>,
    /// Where a plain `http://` URL may lead; `loopback_only` is the default.
    #[serde(default)]
    pub plaintext: Option<PlaintextFile>,
}

/// The process log: starts, stops, reloads and errors, never single requests.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct LogFile {
    /// The least level that is written; `info` is the default.
    pub level: Option<LogLevelFile>,
    /// How a line looks; `json` is the default.
    pub format: Option<LogFormatFile>,
}

/// Levels of the process log.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum LogLevelFile {
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
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum LogFormatFile {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// The read-only port.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct StatusFile {
    /// IP address and port to bind.
    pub address: String,
}

/// The socket that takes commands.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AdminFile {
    /// Unix socket to make: `unix:///path` or a path.
    pub socket: String,
}

/// What the whole process may use.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ProcessLimitsFile {
    /// Memory from which on new connections and new requests are refused. Without it, 80 % of what the cgroup allows; without that, there is no such limit.
    pub memory_max: Option<String>,
}
