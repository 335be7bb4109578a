//! Trailers travel, but they never become headers (RFC 9110 §6.5): what frames, routes, authenticates or
//! identifies has no place behind a body.
use super::forwarded_headers::{SCHEMES, X_FORWARDED_FOR};
use super::identity_headers::CREDENTIALS;
use super::normalise::{fold, is_taken_off};
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, SET_COOKIE, VIA};
use http::{HeaderMap, HeaderName};
use http_body::Frame;

/// Names that a trailer section must not carry, besides what is taken off as a header, and credentials.
const FORBIDDEN: [HeaderName; 6] =
    [CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, SET_COOKIE, VIA, X_FORWARDED_FOR];

/// Drops the forbidden names from a trailers frame; a data frame passes untouched.
pub(crate) fn guard(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Err(data) => data,
        Ok(mut trailers) => {
            strip(&mut trailers);
            Frame::trailers(trailers)
        }
    }
}

fn strip(trailers: &mut HeaderMap) {
    let forbidden: Vec<_> = trailers.keys().filter(|name| is_forbidden(name.as_str())).cloned().collect();
    for name in forbidden {
        trailers.remove(name);
    }
}

fn is_forbidden(name: &str) -> bool {
    let folded = fold(name);
    let is_any = |names: &[HeaderName]| names.iter().any(|known| known.as_str() == folded);
    is_taken_off(name) || is_any(&FORBIDDEN) || is_any(&CREDENTIALS) || is_any(&SCHEMES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn check(name: &str, passes: bool) {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert(&name, HeaderValue::from_static("1"));
        let found = guard(Frame::trailers(trailers)).into_trailers().unwrap();
        assert_eq!(found.contains_key(&name), passes, "{name}");
    }

    #[test]
    fn what_is_taken_off_as_a_header_does_not_come_as_a_trailer() {
        for name in
            ["grpc-status", "grpc-message", "x-checksum", "digest", "x-tenant_id-bin", "server-timing"]
        {
            check(name, true);
        }
        for framing in
            ["content-length", "host", "transfer-encoding", "te", "trailer", "connection", "expect"]
        {
            check(framing, false);
        }
        for identity in
            ["x-spiffe-id", "X_Spiffe_Id", "x-forwarded-client-cert", "client-cert", "x-postern-mirror"]
        {
            check(identity, false);
        }
        for override_ in
            ["x-original-url", "x_original_url", "x-http-method-override", "forwarded", "x-forwarded-host"]
        {
            check(override_, false);
        }
        for secret in ["authorization", "cookie", "set-cookie", "proxy-authorization", "dpop", "txn-token"] {
            check(secret, false);
        }
        for secret in ["workload-identity-token", "workload-proof-token", "Workload_Proof_Token"] {
            check(secret, false);
        }
        for way in ["x-forwarded-for", "x-forwarded-proto", "x_forwarded_proto", "front-end-https", "via"] {
            check(way, false);
        }
    }
}
