//! What policy wants done besides deciding. A demand that cannot be met turns the allow into a deny.
use super::refusal::{Denial, Refusal};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use postern_policy::{Decision, Obligations, Verdict};

/// What an allowed request owes to policy, in a form that can be done without failing.
#[derive(Debug, Default)]
pub(super) struct Duties {
    request_remove: Vec<HeaderName>,
    request_set: HeaderMap,
    response_set: HeaderMap,
}

/// A header that is not policy's to change, or that cannot stand on the wire.
struct Unmet<'a>(&'a str);

impl Duties {
    /// The duties of an allow. Identity headers, framing and `Host` are not policy's to change: an allow that demands
    /// it is a deny. A deny has none.
    pub(super) fn of(mut verdict: Verdict) -> (Verdict, Self) {
        if verdict.decision == Decision::Deny {
            return (verdict, Self::default());
        }
        match Self::prepare(&verdict.obligations) {
            Ok(duties) => (verdict, duties),
            Err(Unmet(name)) => {
                verdict.errors.push(format!("the header `{name}` is not policy's to change"));
                verdict.decision = Decision::Deny;
                verdict.code = Refusal::PolicyObligation.code();
                verdict.obligations = Obligations::default();
                (verdict, Self::default())
            }
        }
    }

    fn prepare(demands: &Obligations) -> Result<Self, Unmet<'_>> {
        let remove = demands.request_headers_remove.iter().map(|name| header_name(name));
        Ok(Self {
            request_remove: remove.collect::<Result<_, _>>()?,
            request_set: headers(&demands.request_headers_set)?,
            response_set: headers(&demands.response_headers_set)?,
        })
    }

    /// Does what is owed to the request on its way up; what is owed to the answer is left.
    pub(super) fn apply(self, request: &mut HeaderMap) -> HeaderMap {
        for name in self.request_remove {
            request.remove(name);
        }
        // Takes the place of what was there, with all values of a name.
        request.extend(self.request_set);
        self.response_set
    }
}

fn headers(pairs: &[(String, String)]) -> Result<HeaderMap, Unmet<'_>> {
    let mut map = HeaderMap::with_capacity(pairs.len());
    for (name, value) in pairs {
        let value = HeaderValue::from_str(value).map_err(|_| Unmet(name))?;
        map.append(header_name(name)?, value);
    }
    Ok(map)
}

fn header_name(name: &str) -> Result<HeaderName, Unmet<'_>> {
    match HeaderName::from_bytes(name.as_bytes()) {
        Ok(header) if !super::normalise::is_protected(header.as_str()) => Ok(header),
        Ok(_) | Err(_) => Err(Unmet(name)),
    }
}

/// The status that a policy wants for its deny, unless that would look like a success.
pub(super) fn deny_status(demands: &Obligations) -> Option<StatusCode> {
    let status = demands.deny_status.and_then(|status| StatusCode::from_u16(status).ok());
    status.filter(|status| !status.is_success() && !status.is_informational())
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
