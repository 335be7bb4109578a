//! `rewrite:` of a route, and the headers by which it is found.

use std::collections::BTreeMap;

use serde::Deserialize;

/// What is changed in a request that is permitted, and in its answer. Policy has decided on the request as it came; the record names each change.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RewriteFile {
    /// What stands in the place of the `path_prefix`, or of the whole `path`, that the route matched.
    pub path_prefix: Option<String>,
    /// The host that the upstream is asked for.
    pub authority: Option<String>,
    /// Headers of the request, before policy's own changes.
    pub request_headers: HeaderRewriteFile,
    /// Headers of the answer, before policy's own changes.
    pub response_headers: HeaderRewriteFile,
}

/// Headers that are changed. Those that say who calls or frame the message are not.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct HeaderRewriteFile {
    /// Set, in the place of what was there.
    pub set: BTreeMap<String, String>,
    /// Taken off.
    pub remove: Vec<String>,
}

/// What a header must be.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum HeaderMatchFile {
    /// It has this value.
    Exact(String),
    /// Its value begins like this.
    Prefix(String),
    /// It is there.
    Present,
    /// It is not there.
    Absent,
}
