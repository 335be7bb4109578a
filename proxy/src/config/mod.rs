//! The configuration as it is meant.
//!
//! Three steps, one direction: [`file`] holds exactly what a user may write, [`resolve`] turns it
//! into [`Config`], and everything else reads only [`Config`]. A value here is final: defaults are
//! filled in, durations and sizes have lost their units, relative paths are joined to the folder of
//! the configuration file, and every name that refers to something refers to something that is there.
//! `Config` is plain data; it opens nothing and reads no clock.

mod destination;
pub mod file;
mod findings;
mod ip_range;
pub mod moment;
mod parse;
mod places;
#[cfg(test)]
mod reference;
pub mod reload;
pub mod resolve;
mod rules;
mod settings;
pub mod units;
pub mod url;
mod workload_endpoint;

pub use self::destination::{DestinationError, DestinationRange};
pub use self::findings::{Finding, Findings, Level};
pub use self::ip_range::{IpRange, IpRangeError};
pub use self::places::{Place, member};
pub use self::resolve::{Environment, Loaded, load, load_text, load_text_in};
pub use self::settings::ProxyVersion;
pub use self::settings::{AbortConfig, AdaptiveConcurrencyConfig, DelayConfig, FaultsConfig, MirrorConfig};
pub use self::settings::{
    AdminConfig, AuditConfig, AuditMode, AuditSigner, BundleConfig, BundleLimits, BundleSource, BundleTrust,
    Captured, ClientCert, Config, Direction, DpopNonce, Enforcement, Explain, HttpSource, IdentityConfig,
    IdentityHeaders, IdentitySource, IssuerConfig, KeyFreshness, KeySource, ListenerConfig, ListenerLimits,
    ListenerProtocol, ListenerTls, LogFormat, LogLevel, OnInvalid, Otlp, Plaintext, PolicyConfig,
    PolicyDecision, ProcessLog, RetryBudgetConfig, RetryConfig, RetryOn, RevocationRule, RouteConfig,
    RouteMatch, StatusConfig, TelemetryConfig, TokenAlgorithm, TokenPassage, TokenProfile, TokenRule,
    TrustRoots, Upgrade, UpstreamConfig, UpstreamLimits, UpstreamProtocol, UpstreamTls, Validity, Workers,
    WorkloadTokens, XfccDetail, XfccMode,
};
pub use self::settings::{AnswerConfig, Leads, RedirectConfig, RedirectPath, RespondConfig, SplitConfig};
pub use self::settings::{BalanceConfig, HashKey, HealthConfig, HealthProbe, OutlierConfig};
pub use self::settings::{Bind, LocalDoor};
pub use self::settings::{
    CaptureConfig, CaptureFrom, CaptureInbound, CaptureOutbound, CaptureOwn, CapturePorts,
};
pub use self::settings::{DescriptorValue, GlobalRateLimitConfig, OnFailure, RateLimitConfig, RateLimitKey};
pub use self::settings::{EndpointConfig, NamedEndpoint, overlap, takes_all};
pub use self::settings::{EndpointOrigin, EndpointProfile, EndpointProof, FederationConfig, SvidSelection};
pub use self::settings::{ForwardedFor, ForwardedHeaders, ForwardedProto};
pub use self::settings::{HeaderMatch, HeaderRewrite, RewriteConfig};
pub use self::settings::{PermissiveConfig, Silence};
pub use self::workload_endpoint::{EndpointError, WorkloadEndpoint};
