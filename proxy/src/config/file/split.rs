//! `split:` of a route.

use serde::Deserialize;

use super::RouteFile;

/// One of several upstreams of a route.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SplitFile {
    /// The upstream.
    pub upstream: String,
    /// Its share, measured by the sum of all weights. 0: nothing is sent there.
    pub weight: u64,
}

impl RouteFile {
    /// The upstreams that it leads to, in the order written; none where it is answered here.
    pub(in crate::config) fn upstreams(&self) -> impl Iterator<Item = &str> {
        let split = self.split.iter().flatten().map(|side| side.upstream.as_str());
        self.upstream.as_deref().into_iter().chain(split)
    }
}
