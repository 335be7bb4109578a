//! Exactly what a user may write. Every text that needs judging (a duration, an address, a path) stays
//! a text here, so that [`super::resolve`] can report all that is wrong with a file at once; what serde
//! refuses here is only its shape. The doc comments are the descriptions of the published JSON Schema.
//!
//! No `untagged`, `flatten` or internal tags: a variant is a map with one key, so that an error always
//! knows where it is.

mod adaptive_concurrency;
mod answers;
mod capture;
mod captured;
mod endpoints;
mod faults;
mod forwarded_headers;
mod identity;
mod identity_headers;
mod mirror;
mod operations;
mod permissive;
mod policy;
mod proxy_version;
mod rate_limits;
mod rewrite;
mod split;
mod traffic;
mod workload_tokens;

use std::collections::BTreeMap;

use serde::Deserialize;

pub use self::adaptive_concurrency::AdaptiveConcurrencyFile;
pub use self::answers::{RedirectFile, RespondFile, SchemeFile};
pub use self::capture::{
    CaptureExcludeFile, CaptureFile, CaptureFromFile, CaptureInboundFile, CaptureOutboundFile,
    CaptureOwnFile, CapturePortsFile,
};
pub use self::captured::CapturedFile;
pub use self::endpoints::{
    BalanceFile, GrpcProbeFile, HashKeyFile, HealthFile, HealthProbeFile, HttpProbeFile, OutlierFile,
};
pub use self::faults::{AbortFile, DelayFile, FaultsFile};
pub use self::forwarded_headers::{ForwardedForFile, ForwardedHeadersFile, ForwardedProtoFile};
pub use self::identity::{
    CrlFile, CrlModeFile, EndpointProfileFile, FederationFile, HttpsSpiffeFile, HttpsWebFile, IdentityFile,
    IdentityFilesFile, IdentitySourceFile, WorkloadApiFile,
};
pub use self::identity_headers::{
    ClientCertFile, IdentityHeadersFile, TokenPassageFile, XfccDetailFile, XfccFile, XfccModeFile,
};
pub use self::mirror::MirrorFile;
pub use self::operations::{
    AdminFile, AuditFile, AuditModeFile, LogFile, LogFormatFile, LogLevelFile, OtlpFile, ProcessLimitsFile,
    SignerFile, SigningKeyFile, StatusFile, TelemetryFile,
};
pub use self::permissive::{PermissiveFile, SilenceFile};
pub use self::policy::{
    BuiltinErrorsFile, BundleFile, BundleLimitsFile, BundleSourceFile, CedarFile, DecisionFile,
    DirectoryFile, HttpBundleFile, PolicyFile, UnsignedFile,
};
pub use self::proxy_version::ProxyVersionFile;
pub use self::rate_limits::{
    DescriptorEntryFile, DescriptorFile, DescriptorValueFile, GlobalRateLimitFile, OnFailureFile,
    RateLimitFile, RateLimitKeyFile,
};
pub use self::rewrite::{HeaderMatchFile, HeaderRewriteFile, RewriteFile};
pub use self::split::SplitFile;
pub use self::traffic::{
    DpopNonceFile, EnforcementFile, ExplainFile, InboundFile, LimitsFile, ListenerFile, ListenerProtocolFile,
    MatchFile, MutualFile, OnInvalidFile, OutboundFile, ProxyProtocolFile, RetryBudgetFile, RetryFile,
    RetryOnFile, RouteFile, TlsFile, TokenRuleFile, UpgradeFile, UpstreamFile, UpstreamMutualFile,
    UpstreamProtocolFile, UpstreamTlsFile,
};
pub use self::workload_tokens::WorkloadTokensFile;

/// The configuration of one Postern sidecar.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, schemars(title = "postern.yaml"))]
pub struct ConfigFile {
    /// Version of this format. Always 1.
    pub version: u32,
    /// Who this sidecar is.
    pub identity: IdentityFile,
    /// Issuers whose bearer tokens are verified. Without any, no token is looked at.
    #[serde(default)]
    pub tokens: Vec<IssuerFile>,
    /// Identity tokens of workloads themselves. Without it, none is looked at.
    #[serde(default)]
    pub workload_tokens: Option<WorkloadTokensFile>,
    /// What decides.
    pub policy: PolicyFile,
    /// Where callers come in, by name.
    pub listeners: BTreeMap<String, ListenerFile>,
    /// Where permitted requests go, by name.
    pub upstreams: BTreeMap<String, UpstreamFile>,
    /// Where decisions are recorded.
    pub audit: AuditFile,
    /// Traces and the process log.
    #[serde(default)]
    pub telemetry: TelemetryFile,
    /// The read-only port with `/livez`, `/readyz`, `/startupz` and `/metrics`. Without it, no such port.
    #[serde(default)]
    pub status: Option<StatusFile>,
    /// The Unix socket that takes commands. Without it, no such socket.
    #[serde(default)]
    pub admin: Option<AdminFile>,
    /// Which connections `postern capture` leads to the listeners. Without it, it has nothing to do.
    #[serde(default)]
    pub capture: Option<CaptureFile>,
    /// Worker threads; `auto`, the default, takes the CPUs of the cgroup, at most 4.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Option<schema::Workers>"))]
    pub workers: Option<String>,
    /// What the whole process may use.
    #[serde(default)]
    pub limits: ProcessLimitsFile,
}

/// One issuer of bearer tokens.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct IssuerFile {
    /// Exact value of the `iss` claim; for `profile: jwt_svid` the trust domain, like `spiffe://example.org`.
    pub issuer: String,
    /// Accepted values of the `aud` claim: a token names at least one.
    pub audiences: Vec<String>,
    /// Accepted signature algorithms: ES256, ES384, ES512, EdDSA, RS256, RS384, RS512, PS256, PS384, PS512.
    #[cfg_attr(test, schemars(with = "Vec<schema::Algorithm>"))]
    pub algorithms: Vec<String>,
    /// Where the issuer's public keys come from: a JWKS, or for `profile: jwt_svid` a SPIFFE bundle document or the Workload API.
    pub keys: KeysFile,
    /// What kind of token it is: `access_token`, the default, wants `at+jwt` and the claims of RFC 9068; `generic` also takes `JWT` and none; `jwt_svid` is SPIFFE's; `k8s_sa` is that of a Kubernetes service account; `txn_token` is a transaction token in the header `txn-token`, which is taken off where no such issuer is named.
    #[serde(default)]
    pub profile: Option<TokenProfileFile>,
    /// Tolerated difference of clocks.
    #[serde(default)]
    pub leeway: Option<String>,
    /// Longest accepted time between `iat` and `exp`. Without it, not restricted; with `profile: k8s_sa`, a day.
    #[serde(default)]
    pub lifetime_max: Option<String>,
    /// What its tokens must be bound to, so that a stolen one is of no use; `none` is the default. What a token says it is bound to is asked for in any case.
    #[serde(default)]
    pub sender_constraint: Option<SenderConstraintFile>,
    /// How often keys are fetched when their server does not ask for it sooner. Not with `keys: { file: … }`.
    #[serde(default)]
    pub refresh_interval: Option<String>,
    /// How long keys stay in force that cannot be fetched again; then tokens are answered with 503. Not with `keys: { file: … }`.
    #[serde(default)]
    pub stale_max: Option<String>,
    /// A folder where the keys fetched last are kept for a start without their server, for `stale_max` at most. Without it, none are kept. Not with `keys: { file: … }`.
    #[serde(default)]
    pub last_good_directory: Option<String>,
    /// What the certificate of the key server must chain to; `system` is the default. Not with `keys: { file: … }`.
    #[serde(default)]
    pub trust_roots: Option<TrustRootsFile>,
    /// Where a plain `http://` key URL may lead; `loopback_only` is the default.
    #[serde(default)]
    pub plaintext: Option<PlaintextFile>,
}

/// Where the issuer's public keys come from.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum KeysFile {
    /// Keys that are fetched and kept fresh.
    Url(String),
    /// Keys in a file, watched for change.
    File(String),
    /// Keys at the `jwks_uri` of the issuer's own metadata (OpenID Connect Discovery); both are fetched and kept fresh.
    Discovery(DiscoveryFile),
    /// The JWT bundles of the Workload API that is the identity's source; with `profile: jwt_svid` alone.
    WorkloadApi(WorkloadApiKeysFile),
    /// The keys of JWT-SVIDs in the bundle that `identity.federation` fetches for the issuer's trust domain; with `profile: jwt_svid` alone.
    Federation(FederationKeysFile),
}

/// Everything there is to know stands in `identity.source.workload_api`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct WorkloadApiKeysFile {}

/// Everything there is to know stands in `identity.federation`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FederationKeysFile {}

/// Everything there is to know stands in `issuer`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DiscoveryFile {}

/// What kind of token an issuer issues.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum TokenProfileFile {
    /// An OAuth access token: `typ` is `at+jwt`, with the claims of RFC 9068.
    AccessToken,
    /// Any JWT: `typ` is `at+jwt`, `JWT` or absent.
    Generic,
    /// A JWT-SVID of the trust domain that `issuer` names.
    JwtSvid,
    /// A token of a Kubernetes service account.
    K8sSa,
    /// A transaction token: verified in the header `txn-token`, and never a credential.
    TxnToken,
}

/// What tokens must be bound to.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SenderConstraintFile {
    /// Nothing.
    None,
    /// The certificate of the connection that brings them (RFC 8705).
    Mtls,
    /// A key that signs a proof for each request (RFC 9449, DPoP).
    Dpop,
    /// One of the two.
    Any,
}

/// What the certificate of a server must chain to.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum TrustRootsFile {
    /// The roots of the machine.
    System,
    /// Only the certificates in these PEM files.
    Files(Vec<String>),
}

/// How far bytes may travel without TLS.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PlaintextFile {
    /// Only to a loopback address.
    LoopbackOnly,
    /// To any address: the network between can then read and change them.
    AnyAddress,
}

/// Shapes that only the published schema needs.
#[cfg(test)]
mod schema {
    use std::borrow::Cow;

    use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

    pub(super) struct Workers;
    pub(super) struct Algorithm;

    impl JsonSchema for Workers {
        fn inline_schema() -> bool {
            true
        }
        fn schema_name() -> Cow<'static, str> {
            "Workers".into()
        }
        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({ "anyOf": [{ "const": "auto" }, { "type": "integer", "minimum": 1, "maximum": crate::config::rules::WORKERS_MAX }] })
        }
    }

    impl JsonSchema for Algorithm {
        fn inline_schema() -> bool {
            true
        }
        fn schema_name() -> Cow<'static, str> {
            "Algorithm".into()
        }
        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            let names = crate::config::TokenAlgorithm::ALL.map(crate::config::TokenAlgorithm::as_str);
            json_schema!({ "enum": names })
        }
    }
}
