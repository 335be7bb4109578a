//! What policy wants done besides deciding. An obligation that cannot be met turns the allow into a deny.
use super::refusal::{Denial, Refusal, Refused};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use postern_policy::{Obligations, Verdict};

/// Applies what is owed to the request on its way up. Identity headers, framing and `Host` are not policy's
/// to change: an obligation that names one is not met.
pub(super) fn apply(duties: &Obligations, request: &mut HeaderMap) -> Result<(), Refused> {
    for name in &duties.request_headers_remove {
        request.remove(header_name(name)?);
    }
    for (name, value) in &headers(&duties.request_headers_set)? {
        request.insert(name, value.clone());
    }
    Ok(())
}

/// Header fields as policy wrote them.
pub(super) fn headers(pairs: &[(String, String)]) -> Result<HeaderMap, Refused> {
    let mut map = HeaderMap::with_capacity(pairs.len());
    for (name, value) in pairs {
        let value = HeaderValue::from_str(value).map_err(|_| Refusal::PolicyObligation)?;
        map.append(header_name(name)?, value);
    }
    Ok(map)
}

fn header_name(name: &str) -> Result<HeaderName, Refused> {
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Refusal::PolicyObligation)?;
    match super::normalise::is_protected(name.as_str()) {
        true => Err(Refusal::PolicyObligation.into()),
        false => Ok(name),
    }
}

/// A policy's own words for its deny. What cannot be said is left out; a deny stays a deny.
pub(super) fn denial(verdict: Verdict) -> Denial {
    let Obligations { deny_status, deny_body, deny_headers, .. } = verdict.obligations;
    let status = deny_status.and_then(|status| StatusCode::from_u16(status).ok());
    Denial {
        // A deny must not look like a success.
        status: status.filter(|status| !status.is_success() && !status.is_informational()),
        body: deny_body.map(Bytes::from),
        headers: headers(&deny_headers).unwrap_or_default(),
        message: verdict.message,
    }
}
