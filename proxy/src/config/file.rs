//! Exactly what a user may write. Every text that needs judging (a duration, an address, a path) stays
//! a text here, so that [`super::resolve`] can report all that is wrong with a file at once; what serde
//! refuses here is only its shape. The doc comments are the descriptions of the published JSON Schema.
//!
//! No `untagged`, `flatten` or internal tags: a variant is a map with one key, so that an error always
//! knows where it is.

mod identity;
mod identity_headers;
mod operations;
mod policy;
mod traffic;
mod workload_tokens;

use std::collections::BTreeMap;

use serde::Deserialize;

pub use self::identity::{
    CrlFile, CrlModeFile, EndpointProfileFile, FederationFile, HttpsSpiffeFile, HttpsWebFile, IdentityFile,
    IdentityFilesFile, IdentitySourceFile, WorkloadApiFile,
};
pub use self::identity_headers::{
    ClientCertFile, IdentityHeadersFile, TokenPassageFile, XfccDetailFile, XfccFile, XfccModeFile,
};
pub use self::operations::{
    AdminFile, AuditFile, AuditModeFile, LogFile, LogFormatFile, LogLevelFile, OtlpFile, SignerFile,
    SigningKeyFile, StatusFile, TelemetryFile,
};
pub use self::policy::{
    BundleFile, BundleLimitsFile, BundleSourceFile, CedarFile, DecisionFile, DirectoryFile, HttpBundleFile,
    PolicyFile, UnsignedFile,
};
pub use self::traffic::{
    DpopNonceFile, EnforcementFile, ExplainFile, InboundFile, LimitsFile, ListenerFile, MatchFile,
    MutualFile, OnInvalidFile, RetryFile, RetryOnFile, RouteFile, TlsFile, TokenRuleFile, UpstreamFile,
    UpstreamMutualFile, UpstreamProtocolFile, UpstreamTlsFile,
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
    /// Worker threads; `auto`, the default, takes the CPUs of the cgroup, at most 4.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Option<schema::Workers>"))]
    pub workers: Option<String>,
}

/// One issuer of bearer tokens.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct IssuerFile {
    /// Exact value of the `iss` claim.
    pub issuer: String,
    /// Accepted values of the `aud` claim: a token names at least one.
    pub audiences: Vec<String>,
    /// Accepted signature algorithms: ES256, ES384, ES512, EdDSA, RS256, RS384, RS512, PS256, PS384, PS512.
    #[cfg_attr(test, schemars(with = "Vec<schema::Algorithm>"))]
    pub algorithms: Vec<String>,
    /// Where the issuer's public keys (JWKS) come from.
    pub keys: KeysFile,
    /// Rule for the `typ` header: `access_token` wants `at+jwt` (RFC 9068), `generic`, the default, also takes `JWT` and none.
    #[serde(default)]
    pub profile: Option<TokenProfileFile>,
    /// Tolerated difference of clocks.
    #[serde(default)]
    pub leeway: Option<String>,
    /// Longest accepted time between `iat` and `exp`. Without it, not restricted.
    #[serde(default)]
    pub lifetime_max: Option<String>,
    /// What its tokens must be bound to, so that a stolen one is of no use; `none` is the default. What a token says it is bound to is asked for in any case.
    #[serde(default)]
    pub sender_constraint: Option<SenderConstraintFile>,
    /// What the certificate of the key server must chain to; `system` is the default. Only with `keys: { url: … }`.
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
    /// A JWKS that is fetched and kept fresh.
    Url(String),
    /// A JWKS in a file, watched for change.
    File(String),
}

/// Rule for the `typ` header of a token.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum TokenProfileFile {
    /// `at+jwt` (RFC 9068).
    AccessToken,
    /// `at+jwt`, `JWT` or none.
    Generic,
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
