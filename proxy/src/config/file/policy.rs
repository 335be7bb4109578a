//! `policy:`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{PlaintextFile, TrustRootsFile};

/// What decides.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PolicyFile {
    /// Policy bundles, by name.
    pub bundles: BTreeMap<String, BundleFile>,
    /// Which question is asked of them.
    pub decision: DecisionFile,
    /// How large a bundle may be.
    #[serde(default)]
    pub limits: BundleLimitsFile,
    /// Where the newest verified bundle of each name is kept for a start without its source. Default `/var/lib/postern/policy`.
    #[serde(default)]
    pub last_good_directory: Option<String>,
    /// Safety net for one evaluation; reaching it denies.
    #[serde(default)]
    pub decision_timeout: Option<String>,
    /// Steps that one Rego decision may take: about the expressions that it evaluates. One too many denies, at the same place
    /// on every machine.
    #[serde(default)]
    pub decision_steps_max: Option<u64>,
    /// What an error of a Rego builtin means, for instance of `startswith` on a number. Default `undefined`, as in OPA.
    #[serde(default)]
    pub builtin_errors: Option<BuiltinErrorsFile>,
}

/// What an error of a Rego builtin means.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum BuiltinErrorsFile {
    /// The call is undefined: its rule does not hold, and `not` of it does.
    Undefined,
    /// The decision ends as a deny, `policy.error`.
    Deny,
}

/// One policy bundle.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct BundleFile {
    /// Where it comes from.
    pub source: BundleSourceFile,
    /// Public keys in PEM; one of them must have signed it.
    #[serde(default)]
    pub signers: Vec<String>,
    /// Takes the bundle without any signature. Only for development, only from a `directory`, only instead of `signers`.
    #[serde(default)]
    pub unsigned: Option<UnsignedFile>,
}

/// The one way to have a bundle without a signature.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum UnsignedFile {
    /// Whoever can write the bundle decides who is let in.
    DevelopmentOnly,
}

/// Where a bundle comes from.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum BundleSourceFile {
    /// A folder with its files, or an archive in a file; watched for change.
    Directory(DirectoryFile),
    /// An archive over HTTP(S), by the OPA bundle protocol.
    Http(HttpBundleFile),
}

/// A folder with a bundle's files, or an archive.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DirectoryFile {
    /// The folder, or the archive.
    pub path: String,
    /// How often it is looked at.
    #[serde(default)]
    pub poll_interval: Option<String>,
}

/// A bundle archive over HTTP(S).
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct HttpBundleFile {
    /// The archive.
    pub url: String,
    /// How long the server is asked to hold a request open when nothing is new; `0s`: not at all.
    #[serde(default)]
    pub long_poll: Option<String>,
    /// Pause between two requests without long polling, and after a failure.
    #[serde(default)]
    pub poll_interval: Option<String>,
    /// What the server's certificate must chain to; `system` is the default.
    #[serde(default)]
    pub trust_roots: Option<TrustRootsFile>,
    /// Where a plain `http://` URL may lead; `loopback_only` is the default.
    #[serde(default)]
    pub plaintext: Option<PlaintextFile>,
}

/// Which question is asked of the policy.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum DecisionFile {
    /// A Rego rule by its path without `data`, such as `postern/authz/decision`.
    Rego(String),
    /// Cedar's own authorization question.
    Cedar(CedarFile),
}

/// Cedar needs nothing further.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CedarFile {}

/// How large a bundle may be.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct BundleLimitsFile {
    /// The archive as it arrives.
    pub archive_bytes_max: Option<String>,
    /// All its files after decompression.
    pub bytes_max: Option<String>,
    /// One file after decompression.
    pub file_bytes_max: Option<String>,
    /// Number of files.
    pub files_max: Option<u64>,
}
