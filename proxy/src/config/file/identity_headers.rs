//! What the upstream is told of the caller.

use std::collections::BTreeMap;

use serde::Deserialize;

/// By which headers the upstream is told who calls. All of them are taken off requests from outside first.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct IdentityHeadersFile {
    /// What becomes of `x-forwarded-client-cert`. Without it, it is not sent.
    pub xfcc: Option<XfccFile>,
    /// Sends the caller's certificate as `client-cert` (RFC 9440): its `leaf`, or besides the intermediates as `client-cert-chain`.
    pub client_cert: Option<ClientCertFile>,
    /// Whether the caller's token goes on in `authorization`; `forward` is the default.
    pub token: Option<TokenPassageFile>,
    /// Header names and the claim of the verified token that each carries: a member's name, or a JSON pointer (`/realm/roles`). Lists are joined by commas; what is not printable ASCII is percent-encoded; a claim that is not there sends no header.
    pub claims: BTreeMap<String, String>,
}

/// `x-forwarded-client-cert`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct XfccFile {
    /// Whether what the caller sent goes on, and whether the caller is named, as Envoy calls it.
    pub mode: XfccModeFile,
    /// What is said of the caller besides the digest of its certificate; `[uri]` is the default.
    #[serde(default)]
    pub details: Option<Vec<XfccDetailFile>>,
}

/// What becomes of `x-forwarded-client-cert`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum XfccModeFile {
    /// It is not sent.
    Sanitize,
    /// What the caller sent goes on.
    ForwardOnly,
    /// What the caller sent goes on, and the caller is added at its end.
    AppendForward,
    /// Only the caller is named.
    SanitizeSet,
    /// What the caller sent goes on, whether or not it has proven who it is; here every caller has.
    AlwaysForwardOnly,
}

/// What `x-forwarded-client-cert` says of the caller.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum XfccDetailFile {
    /// Its certificate, PEM, percent-encoded.
    Cert,
    /// Its whole chain, likewise.
    Chain,
    /// Its certificate's subject.
    Subject,
    /// Its SPIFFE ID.
    Uri,
    /// Its certificate's DNS names.
    Dns,
}

/// Whether the caller's token goes on.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum TokenPassageFile {
    /// It does, as it came.
    Forward,
    /// It is taken off once policy has judged it.
    Strip,
}

/// How much of the caller's certificate is sent on.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ClientCertFile {
    /// `client-cert`.
    Leaf,
    /// `client-cert` and `client-cert-chain`.
    Chain,
}
