//! What a route changes in a request that is permitted, and in its answer. It is done after the decision and recorded with
//! it; identity headers and framing are not a route's to change.
use crate::config::{HeaderRewrite, RewriteConfig};
use http::header::HOST;
use http::request::Parts;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, Uri};

/// The target as the upstream is to see it; `None` where it is no target.
fn target(rewrite: &RewriteConfig, matched: &str, uri: &Uri) -> Option<Uri> {
    let mut parts = uri.clone().into_parts();
    if let Some(authority) = &rewrite.authority {
        parts.authority = Some(Authority::try_from(authority.as_str()).ok()?);
    }
    if let Some(prefix) = &rewrite.path_prefix {
        let rest = uri.path().strip_prefix(matched.trim_end_matches('/'))?;
        let path = format!("{}{rest}", prefix.trim_end_matches('/'));
        let path = if path.is_empty() { "/" } else { &path };
        let spelled = match uri.query() {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        };
        parts.path_and_query = Some(PathAndQuery::try_from(spelled).ok()?);
    }
    Uri::from_parts(parts).ok()
}

/// Changes the head that goes upstream; `matched` is the prefix by which the route took it. `None` where that leads to no
/// target.
pub(crate) fn request(rewrite: &RewriteConfig, matched: &str, head: &mut Parts) -> Option<()> {
    if rewrite.path_prefix.is_some() || rewrite.authority.is_some() {
        head.uri = target(rewrite, matched, &head.uri)?;
        head.headers.remove(HOST);
    }
    headers(&rewrite.request_headers, &mut head.headers);
    Some(())
}

/// Changes the head that goes down, before policy adds to it.
pub(crate) fn response(rewrite: &RewriteConfig, head: &mut HeaderMap) {
    headers(&rewrite.response_headers, head);
}

fn headers(rewrite: &HeaderRewrite, head: &mut HeaderMap) {
    for name in &rewrite.remove {
        head.remove(name);
    }
    for (name, value) in &rewrite.set {
        head.insert(name, value.clone());
    }
}

/// In which the forwarded request differs from the one decided on, in order.
pub(crate) fn mutations(rewrite: &RewriteConfig) -> impl Iterator<Item = String> {
    let of_target =
        [("rewrite authority", rewrite.authority.is_some()), ("rewrite path", rewrite.path_prefix.is_some())];
    let of_target = of_target.into_iter().filter(|(_, is_done)| *is_done).map(|(what, _)| what.to_owned());
    let removed = rewrite.request_headers.remove.iter().map(|name| format!("remove {name}"));
    let set = rewrite.request_headers.set.iter().map(|(name, _)| format!("set {name}"));
    of_target.chain(removed).chain(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(matched: &str, prefix: &str, sent: &str, expected: &str) {
        let rewrite = RewriteConfig { path_prefix: Some(prefix.to_owned()), ..RewriteConfig::default() };
        let uri: Uri = format!("https://a.test{sent}").parse().unwrap();
        let rewritten = target(&rewrite, matched, &uri).unwrap();
        assert_eq!(rewritten.to_string(), format!("https://a.test{expected}"), "{matched} → {prefix}");
    }

    #[test]
    fn the_prefix_that_the_route_matched_is_replaced_and_the_rest_stays() {
        check("/api", "/v2", "/api/x?q=1", "/v2/x?q=1");
        check("/api", "/v2", "/api", "/v2");
        check("/api", "/", "/api/x", "/x");
        check("/api", "/", "/api", "/");
        check("/", "/v2", "/x", "/v2/x");
        check("/", "/v2", "/", "/v2/");
        check("/", "/", "/x;a=1?q", "/x;a=1?q");
    }
}
