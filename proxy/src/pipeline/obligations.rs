//! What policy wants done besides deciding. A demand that cannot be met turns the allow into a deny.
use super::normalise::{GuardError, GuardLimits, Normalised};
use super::refusal::{Denial, Refusal};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use postern_policy::{Decision, Obligations, Verdict};

/// What an allowed request owes to policy, in a form that can be done without failing.
#[derive(Debug, Default)]
pub(super) struct Duties {
    request_remove: Vec<HeaderName>,
    request_set: HeaderMap,
    /// The target with the query that policy wants.
    target: Option<Uri>,
    response_add: HeaderMap,
}

/// Why a demand cannot be met.
#[derive(Debug, thiserror::Error)]
enum Unmet<'a> {
    /// It is not policy's to change, or cannot stand on the wire.
    #[error("the header `{0}` is not policy's to change")]
    Header(&'a str),
    #[error("the query that policy wants cannot be sent: {0}")]
    Query(#[from] GuardError),
}

impl Duties {
    /// The duties of an allow. Identity headers, framing and `Host` are not policy's to change: an allow that demands
    /// it is a deny. A deny has none.
    pub(super) fn of(mut verdict: Verdict, request: &Normalised, limits: &GuardLimits) -> (Verdict, Self) {
        if verdict.decision == Decision::Deny {
            return (verdict, Self::default());
        }
        match Self::prepare(&verdict.obligations, request, limits).map_err(|unmet| unmet.to_string()) {
            Ok(duties) => (verdict, duties),
            Err(why) => {
                verdict.errors.push(why);
                verdict.decision = Decision::Deny;
                verdict.code = Refusal::PolicyObligation.code();
                verdict.obligations = Obligations::default();
                (verdict, Self::default())
            }
        }
    }

    fn prepare<'a>(
        demands: &'a Obligations,
        request: &Normalised,
        limits: &GuardLimits,
    ) -> Result<Self, Unmet<'a>> {
        let (set, removed) = (&demands.query_set, &demands.query_remove);
        let is_edited = !set.is_empty() || !removed.is_empty();
        let remove = demands.request_headers_remove.iter().map(|name| header_name(name));
        Ok(Self {
            request_remove: remove.collect::<Result<_, _>>()?,
            request_set: headers(&demands.request_headers_set)?,
            target: is_edited.then(|| request.target_with(set, removed, limits)).transpose()?,
            response_add: headers(&demands.response_headers_add)?,
        })
    }

    /// The target that the request is to have instead of its own, if any.
    pub(super) fn take_target(&mut self) -> Option<Uri> {
        self.target.take()
    }

    /// What is left of a header that was `received` so, once they are done.
    pub(super) fn left(&self, name: &HeaderName, received: Option<&HeaderValue>) -> Vec<HeaderValue> {
        if self.request_remove.contains(name) {
            return Vec::new();
        }
        let set: Vec<_> = self.request_set.get_all(name).iter().cloned().collect();
        if set.is_empty() { received.cloned().into_iter().collect() } else { set }
    }

    /// Whether they say what becomes of this header.
    pub(super) fn concern(&self, name: &HeaderName) -> bool {
        self.request_remove.contains(name) || self.request_set.contains_key(name)
    }

    /// Does what is owed to the request's headers on their way up; what is owed to the answer is left.
    pub(super) fn apply(self, request: &mut HeaderMap) -> HeaderMap {
        // Takes the place of what was there.
        request.extend(self.request_set);
        for name in self.request_remove {
            request.remove(name);
        }
        self.response_add
    }
}

fn headers(pairs: &[(String, String)]) -> Result<HeaderMap, Unmet<'_>> {
    let mut map = HeaderMap::with_capacity(pairs.len());
    for (name, value) in pairs {
        let value = HeaderValue::from_str(value).map_err(|_| Unmet::Header(name))?;
        map.append(header_name(name)?, value);
    }
    Ok(map)
}

fn header_name(name: &str) -> Result<HeaderName, Unmet<'_>> {
    match HeaderName::from_bytes(name.as_bytes()) {
        Ok(header) if !super::normalise::is_protected(header.as_str()) => Ok(header),
        Ok(_) | Err(_) => Err(Unmet::Header(name)),
    }
}

/// The status that a policy wants for its deny: any final one. `204` may be the right answer to a preflight request that
/// goes no further.
pub(super) fn deny_status(demands: &Obligations) -> Option<StatusCode> {
    let status = demands.deny_status.and_then(|status| StatusCode::from_u16(status).ok());
    status.filter(|status| !status.is_informational())
}

/// A policy's own words for its deny. What cannot be said is left out; a deny stays a deny.
pub(super) fn denial(verdict: Verdict) -> Denial {
    let status = deny_status(&verdict.obligations);
    let Obligations { deny_body, deny_headers, .. } = verdict.obligations;
    Denial {
        status,
        body: deny_body.map(Bytes::from),
        headers: headers(&deny_headers).unwrap_or_default(),
        message: verdict.message,
    }
}
