//! `redirect:` and `respond:` of a route.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The caller is told to ask elsewhere, once policy has permitted its request. What is not written stays as it was asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RedirectFile {
    /// 301, 302, 303, 307 or 308; 308 is the default, which keeps method and body.
    pub status: Option<u64>,
    /// What is spoken there. Another one than was asked by, without `port`, means its own port.
    pub scheme: Option<SchemeFile>,
    /// The host, without a port. Another one, without `port`, means the port of the scheme.
    pub host: Option<String>,
    /// The port, 1 to 65535.
    pub port: Option<u64>,
    /// The whole path. A redirect has this or `path_prefix`.
    pub path: Option<String>,
    /// What stands in the place of the `path_prefix`, or of the whole `path`, that the route matched.
    pub path_prefix: Option<String>,
    /// Whether the query is left out.
    pub strip_query: bool,
    /// Headers of the answer besides.
    pub headers: BTreeMap<String, String>,
}

/// What a URL begins with.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SchemeFile {
    /// HTTP without TLS.
    Http,
    /// HTTP in TLS.
    Https,
}

/// The answer to a request that policy has permitted.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RespondFile {
    /// 200 to 299, or 400 to 599. A gRPC call is told the status of gRPC that it stands for, and gets no body.
    pub status: u64,
    /// The body, of 16KiB at most. Without it, none.
    #[serde(default)]
    pub body: Option<String>,
    /// What the body is; `text/plain; charset=utf-8` is the default.
    #[serde(default)]
    pub content_type: Option<String>,
    /// Headers of the answer besides.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}
