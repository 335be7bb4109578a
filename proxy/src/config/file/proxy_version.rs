//! `proxy_protocol:` of an upstream.

use serde::Deserialize;

/// By which version of the PROXY protocol an upstream is told from whom a connection is.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ProxyVersionFile {
    /// A line of text with the addresses of both ends.
    V1,
    /// Bytes; besides the addresses they hold the server name that the caller asked for and, as type 0xE5, its SPIFFE ID.
    V2,
}
