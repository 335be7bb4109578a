//! What a route changes, and the headers by which it is found.

use http::{HeaderName, HeaderValue};

/// What is changed in a request that is permitted, and in its answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RewriteConfig {
    /// What stands in the place of the path that the route matched. Canonical.
    pub path_prefix: Option<String>,
    /// The host that the upstream is asked for.
    pub authority: Option<String>,
    /// Headers of the request.
    pub request_headers: HeaderRewrite,
    /// Headers of the answer.
    pub response_headers: HeaderRewrite,
}

/// Headers that are changed; none is named twice, and none is protected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderRewrite {
    /// Set, in the place of what was there.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Taken off.
    pub remove: Vec<HeaderName>,
}

/// What a header must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderMatch {
    /// It has this value.
    Exact(String),
    /// Its value begins like this.
    Prefix(String),
    /// It is there.
    Present,
    /// It is not there.
    Absent,
}
