//! What tells those apart who have a limit of their own.
use crate::config::RateLimitKey;
use http::HeaderMap;
use postern_audit::hash::sha256;
use postern_identity::SpiffeId;
use postern_identity::token::Claims;
use serde_json::Value;
use std::borrow::Cow;
use std::net::IpAddr;

/// What is known of a request and its caller.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    /// The caller's, where it has proven one.
    pub(crate) spiffe_id: Option<&'a SpiffeId>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) claims: Option<&'a Claims>,
    /// As the upstream gets them.
    pub(crate) headers: &'a HeaderMap,
}

/// A key's value, as it is told to others. `None` where the request lacks it.
pub(crate) fn value<'a>(key: &RateLimitKey, subject: &Subject<'a>) -> Option<Cow<'a, [u8]>> {
    let text = |text: String| Some(Cow::Owned(text.into_bytes()));
    match key {
        RateLimitKey::SpiffeId => Some(Cow::Borrowed(subject.spiffe_id?.as_str().as_bytes())),
        RateLimitKey::TrustDomain => {
            Some(Cow::Borrowed(subject.spiffe_id?.trust_domain().as_str().as_bytes()))
        }
        RateLimitKey::Address => text(subject.address?.to_canonical().to_string()),
        RateLimitKey::Claim(name) => match subject.claims?.members.get(name)? {
            Value::String(value) => Some(Cow::Borrowed(value.as_bytes())),
            Value::Number(value) => text(value.to_string()),
            Value::Bool(value) => text(value.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        },
        RateLimitKey::Header(name) => {
            let mut values = subject.headers.get_all(name).iter();
            let first = values.next()?.as_bytes();
            // Several fields of a name are one list (RFC 9110 §5.3).
            let mut all = Cow::Borrowed(first);
            for value in values {
                let all = all.to_mut();
                all.extend_from_slice(b", ");
                all.extend_from_slice(value.as_bytes());
            }
            Some(all)
        }
    }
}

/// The place of a request's keys in the limit with this number.
pub(super) fn place(number: u64, keys: &[RateLimitKey], subject: &Subject<'_>) -> u128 {
    // The whole route has one place: there is nothing to hide in a hash.
    if keys.is_empty() {
        return u128::from(number);
    }
    let mut text = Vec::with_capacity(128);
    text.extend(number.to_be_bytes());
    for key in keys {
        let Some(value) = value(key, subject) else {
            text.push(LACKING);
            continue;
        };
        match key {
            RateLimitKey::Claim(name) => claim(name, subject, &mut text),
            RateLimitKey::SpiffeId
            | RateLimitKey::TrustDomain
            | RateLimitKey::Address
            | RateLimitKey::Header(_) => text.push(TEXT),
        }
        framed(&mut text, &value);
    }
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = sha256(&text);
    u128::from_be_bytes([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
}

const LACKING: u8 = 0;
const TEXT: u8 = 1;
/// A number or a boolean: `"1"` is not `1`.
const PLAIN: u8 = 2;

/// A claim means something only together with its issuer.
fn claim(name: &str, subject: &Subject<'_>, text: &mut Vec<u8>) {
    let claims = subject.claims;
    let value = claims.and_then(|claims| claims.members.get(name));
    text.push(if value.is_some_and(Value::is_string) { TEXT } else { PLAIN });
    framed(text, claims.map_or(&[], |claims| claims.issuer.as_bytes()));
}

/// With its length, so that no two lists of values read the same.
fn framed(text: &mut Vec<u8>, value: &[u8]) {
    text.extend((value.len() as u64).to_be_bytes());
    text.extend(value);
}
