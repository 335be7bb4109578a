//! What is answered.
use std::fmt;
use std::sync::Arc;

/// The answer's one bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// Let it through.
    Allow,
    /// Refuse it.
    Deny,
}

/// The answer with its grounds. A verdict that is not [`Decision::Allow`] must refuse.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Allow or deny.
    pub decision: Decision,
    /// Why in one word: `policy.allowed`, `policy.denied`, or what went wrong, always a deny:
    /// `policy.input`, `policy.undefined`, `policy.result_type`, `policy.obligation`, `policy.error`, `policy.budget`,
    /// `policy.timeout`, `policy.engine_panic`.
    pub code: &'static str,
    /// The policies that determined it.
    pub reasons: Vec<PolicyId>,
    /// What the policy says to people, at most 512 bytes.
    pub message: Option<String>,
    /// What is to be done with the request or the answer.
    pub obligations: Obligations,
    /// What the policy says about its decision to whoever reads the record: a JSON object, at most 4 KiB.
    pub metadata: Option<String>,
    /// What went wrong, for the record and the operator; never for the caller.
    pub errors: Vec<String>,
    /// The policy set that was asked.
    pub revision: Revision,
}

impl Verdict {
    pub(crate) fn failed(code: &'static str, error: String, revision: Revision) -> Self {
        Self {
            decision: Decision::Deny,
            code,
            reasons: Vec::new(),
            message: None,
            obligations: Obligations::default(),
            metadata: None,
            errors: vec![truncated(error)],
            revision,
        }
    }
}

/// The most bytes of one message of a policy or an engine that leave this crate.
pub(crate) const MESSAGE_BYTES_MAX: usize = 512;

/// Cuts a text at [`MESSAGE_BYTES_MAX`], on a character boundary.
pub(crate) fn truncated(mut text: String) -> String {
    if text.len() > MESSAGE_BYTES_MAX {
        let mut end = MESSAGE_BYTES_MAX;
        while !text.is_char_boundary(end) {
            end = end.saturating_sub(1);
        }
        text.truncate(end);
    }
    text
}

/// What a policy demands beside allow or deny. Header names are lower-case, names and values are checked: a verdict
/// never carries a field that could not stand on the wire, nor one that belongs to the connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Obligations {
    /// On allow: fields to set on the request before it is forwarded, each replacing what was there.
    pub request_headers_set: Vec<(String, String)>,
    /// On allow: fields to remove from the request before it is forwarded, after the others have been set.
    pub request_headers_remove: Vec<String>,
    /// On allow: parameters to set in the query, each replacing those of its name. They are spelled as they are to
    /// stand there, and no name stands here twice.
    pub query_set: Vec<(String, String)>,
    /// On allow: parameters to remove from the query, after the others have been set.
    pub query_remove: Vec<String>,
    /// On allow: fields to add to the response to the caller, beside those of their names that it has.
    pub response_headers_add: Vec<(String, String)>,
    /// On deny: the status instead of 403: a final one, 200 to 599.
    pub deny_status: Option<u16>,
    /// On deny: the body instead of the problem document, at most 16 KiB.
    pub deny_body: Option<String>,
    /// On deny: fields to set on the answer.
    pub deny_headers: Vec<(String, String)>,
}

/// A policy's name: the `@id` of a Cedar policy, a name that a Rego policy gives in `reasons`, or the entry's path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyId(Arc<str>);

impl PolicyId {
    pub(crate) fn new(id: &str) -> Self {
        Self(Arc::from(id))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The version of a loaded policy set: `name=revision` of every bundle, joined by `;`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Revision(Arc<str>);

impl Revision {
    pub(crate) fn new(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// The version in words.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
