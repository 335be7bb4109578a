//! SPIFFE IDs and trust domain names (SPIFFE-ID, sections 2 to 2.4).

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

/// The longest SPIFFE ID in bytes (SPIFFE-ID §2.3: longer ones need not be supported, so they are refused).
pub(crate) const ID_BYTES_MAX: usize = 2048;
/// The longest trust domain name in bytes (SPIFFE-ID §2.3).
pub(crate) const TRUST_DOMAIN_BYTES_MAX: usize = 255;

const SCHEME: &str = "spiffe://";

/// Why a text is not a SPIFFE ID or not a trust domain name. Nothing is repaired: a name that has to be bent before it
/// compares equal is a name on which two components can disagree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// SPIFFE-ID §2: the scheme is `spiffe`, here only in lower case.
    #[error("a SPIFFE ID starts with `spiffe://` in lower case")]
    Scheme,
    /// SPIFFE-ID §2.3.
    #[error("a SPIFFE ID has at most 2048 bytes, this one has {0}")]
    TooLong(usize),
    /// SPIFFE-ID §2.1.
    #[error("the trust domain is empty")]
    TrustDomainEmpty,
    /// SPIFFE-ID §2.3.
    #[error("a trust domain has at most 255 bytes, this one has {0}")]
    TrustDomainTooLong(usize),
    /// SPIFFE-ID §2.1: neither user information, port, upper case nor percent-encoding.
    #[error("`{0}` must not stand in a trust domain: only a-z, 0-9, `.`, `-` and `_`")]
    TrustDomainCharacter(char),
    /// SPIFFE-ID §2.2: neither percent-encoding, query nor fragment.
    #[error("`{0}` must not stand in the path: only letters, digits, `.`, `-`, `_` and `/`")]
    PathCharacter(char),
    /// SPIFFE-ID §2.2.
    #[error("the path has an empty segment")]
    EmptySegment,
    /// SPIFFE-ID §2.2.
    #[error("the path has the segment `.` or `..`")]
    DotSegment,
    /// SPIFFE-ID §2.2.
    #[error("the path ends with `/`")]
    TrailingSlash,
}

/// The name of a trust domain, such as `example.org`. Cloning is O(1).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(Arc<str>);

impl TrustDomain {
    /// The name as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TrustDomain {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        check_trust_domain(text)?;
        Ok(Self(Arc::from(text)))
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for TrustDomain {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "TrustDomain({})", self.0)
    }
}

/// A SPIFFE ID, such as `spiffe://example.org/orders`. Cloning is O(1).
///
/// The path may be empty: `spiffe://example.org` names the trust domain itself. An SVID of a workload may not carry
/// such an ID (X509-SVID §5.2), which is checked where SVIDs are judged.
#[derive(Clone)]
pub struct SpiffeId {
    text: Arc<str>,
    trust_domain: TrustDomain,
}

impl SpiffeId {
    /// The whole ID, with its scheme.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The trust domain that issued, and alone may speak for, this ID.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The path with its leading `/`, or nothing.
    #[must_use]
    pub fn path(&self) -> &str {
        self.text.get(SCHEME.len() + self.trust_domain.as_str().len()..).unwrap_or_default()
    }
}

impl FromStr for SpiffeId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.len() > ID_BYTES_MAX {
            return Err(IdError::TooLong(text.len()));
        }
        let rest = text.strip_prefix(SCHEME).ok_or(IdError::Scheme)?;
        let (name, path) = match rest.split_once('/') {
            Some((name, path)) => (name, Some(path)),
            None => (rest, None),
        };
        check_trust_domain(name)?;
        if let Some(path) = path {
            check_path(path)?;
        }
        Ok(Self { text: Arc::from(text), trust_domain: TrustDomain(Arc::from(name)) })
    }
}

fn check_trust_domain(name: &str) -> Result<(), IdError> {
    if name.is_empty() {
        return Err(IdError::TrustDomainEmpty);
    }
    if name.len() > TRUST_DOMAIN_BYTES_MAX {
        return Err(IdError::TrustDomainTooLong(name.len()));
    }
    match name.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '.' | '-' | '_')) {
        Some(foreign) => Err(IdError::TrustDomainCharacter(foreign)),
        None => Ok(()),
    }
}

/// `path` is what follows the first `/`.
fn check_path(path: &str) -> Result<(), IdError> {
    if path.is_empty() || path.ends_with('/') {
        return Err(IdError::TrailingSlash);
    }
    for segment in path.split('/') {
        match segment {
            "" => return Err(IdError::EmptySegment),
            "." | ".." => return Err(IdError::DotSegment),
            _ => {}
        }
        if let Some(foreign) =
            segment.chars().find(|c| !matches!(c, 'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' | '_'))
        {
            return Err(IdError::PathCharacter(foreign));
        }
    }
    Ok(())
}

impl PartialEq for SpiffeId {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for SpiffeId {}

impl PartialOrd for SpiffeId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SpiffeId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl Hash for SpiffeId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SpiffeId({})", self.text)
    }
}

#[cfg(test)]
mod tests;
