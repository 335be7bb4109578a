//! `permissive:` of an inbound listener's mutual TLS.

use serde::Deserialize;

/// Plain text beside mutual TLS on the same port, for a while: the first bytes of a connection say which it is.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PermissiveFile {
    /// Until when, in UTC: `2027-03-01`, which is over when that day begins, or `2027-03-01T06:00:00Z`. From then on plain text is refused, and connections that speak it are drained.
    pub until: String,
    /// What a caller is that says nothing for as long as `limits.detect_timeout`, on a `tcp` listener; `refused` is the default.
    #[serde(default)]
    pub silence: Option<SilenceFile>,
}

/// What a caller is that says nothing.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SilenceFile {
    /// Waited for as long as a TLS handshake may take, and refused then.
    Refused,
    /// One in plain text whose service speaks first. A caller whose TLS is slower to begin is taken for one too.
    Plaintext,
}
