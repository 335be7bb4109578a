//! What becomes of what a route takes, once it is permitted.

use std::fmt;

use bytes::Bytes;
use http::uri::Scheme;
use http::{HeaderName, HeaderValue, StatusCode};

use super::HashKey;

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leads {
    /// To one of [`Config::upstreams`](super::Config::upstreams).
    Upstream(String),
    /// To one of several.
    Split(SplitConfig),
    /// Nowhere: it is answered here.
    Answer(AnswerConfig),
}

/// Several upstreams, each with its share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitConfig {
    /// At least two of [`Config::upstreams`](super::Config::upstreams), each once, with their weights: 0 to 1,000,000, not all 0.
    pub sides: Vec<(String, u64)>,
    /// By what the same caller comes to the same one. `None`: it is by lot each time.
    pub key: Option<HashKey>,
}

/// An answer of this sidecar's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnswerConfig {
    /// To ask elsewhere.
    Redirect(RedirectConfig),
    /// What is written.
    Respond(RespondConfig),
}

/// Where else to ask. `None` stays as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectConfig {
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
    /// What is spoken there.
    pub scheme: Option<Scheme>,
    /// Canonical, without a port.
    pub host: Option<String>,
    /// Never 0.
    pub port: Option<u16>,
    /// The path.
    pub path: RedirectPath,
    /// Whether the query is left out.
    pub strip_query: bool,
    /// Headers besides; `location` is not among them.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// The path to ask for. All are canonical.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedirectPath {
    /// The same.
    Same,
    /// This one.
    Whole(String),
    /// The same, with this in the place of what the route matched.
    Prefix(String),
}

/// An answer that is written in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RespondConfig {
    /// 200 to 299, or 400 to 599.
    pub status: StatusCode,
    /// Empty where the status has no content.
    pub body: Bytes,
    /// What the body is, where there is one.
    pub content_type: Option<HeaderValue>,
    /// Headers besides; `content-type` is not among them.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Leads {
    /// The upstreams, in the order written; none where it is answered here.
    pub fn upstreams(&self) -> impl Iterator<Item = &str> {
        let (one, split) = match self {
            Self::Upstream(name) => (Some(name), None),
            Self::Split(split) => (None, Some(split)),
            Self::Answer(_) => (None, None),
        };
        let sides = split.into_iter().flat_map(|split| &split.sides).map(|(name, _)| name);
        one.into_iter().chain(sides).map(String::as_str)
    }
}

impl fmt::Display for Leads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upstream(name) => f.write_str(name),
            Self::Split(split) => {
                for (index, (name, weight)) in split.sides.iter().enumerate() {
                    write!(f, "{}{name} ({weight})", if index == 0 { "" } else { " | " })?;
                }
                Ok(())
            }
            Self::Answer(AnswerConfig::Redirect(redirect)) => {
                write!(f, "redirect {}", redirect.status.as_u16())
            }
            Self::Answer(AnswerConfig::Respond(respond)) => write!(f, "answer {}", respond.status.as_u16()),
        }
    }
}
