//! Where a redirect leads: to what was asked for, in its one spelling, with what the configuration has instead. It is always a
//! whole URL, whose host is the configuration's or the one that the caller asked itself, so that no path can be read as one.
use crate::config::{RedirectConfig, RedirectPath};
use http::uri::Scheme;
use http::{HeaderValue, Uri};

/// The `location` for a request by `scheme` for `uri`, whose authority is written without the default port; `matched` is the
/// prefix by which the route took it. `None` where that leads to no URL.
pub(crate) fn location(
    redirect: &RedirectConfig,
    matched: &str,
    (scheme, uri): (&str, &Uri),
) -> Option<HeaderValue> {
    let asked = uri.authority()?;
    let there = redirect.scheme.as_ref().map_or(scheme, Scheme::as_str);
    // Another host, and what speaks another protocol, has ports of its own.
    let kept = asked.port_u16().filter(|_| redirect.host.is_none() && there == scheme);
    let port = redirect.port.or(kept).filter(|port| Some(*port) != default_port(there));
    let mut url = format!("{there}://{}", redirect.host.as_deref().unwrap_or(asked.host()));
    if let Some(port) = port {
        url.push(':');
        url.push_str(&port.to_string());
    }
    match &redirect.path {
        RedirectPath::Same => url.push_str(uri.path()),
        RedirectPath::Whole(path) => url.push_str(path),
        RedirectPath::Prefix(prefix) => {
            let (prefix, rest) =
                (prefix.trim_end_matches('/'), uri.path().strip_prefix(matched.trim_end_matches('/'))?);
            url.push_str(prefix);
            url.push_str(if prefix.is_empty() && rest.is_empty() { "/" } else { rest });
        }
    }
    if let Some(query) = uri.query().filter(|_| !redirect.strip_query) {
        url.push('?');
        url.push_str(query);
    }
    HeaderValue::try_from(url).ok()
}

/// The port that goes without saying (RFC 9110 §4.2).
fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;

    const SAME: RedirectConfig = RedirectConfig {
        status: StatusCode::PERMANENT_REDIRECT,
        scheme: None,
        host: None,
        port: None,
        path: RedirectPath::Same,
        strip_query: false,
        headers: Vec::new(),
    };

    #[track_caller]
    fn check(redirect: &RedirectConfig, (scheme, asked): (&str, &str), expected: &str) {
        let uri: Uri = format!("https://{asked}").parse().unwrap();
        let led = location(redirect, "/api", (scheme, &uri)).unwrap();
        assert_eq!(led, expected, "{redirect:?} of {asked}");
    }

    fn to_host(host: &str, port: Option<u16>) -> RedirectConfig {
        RedirectConfig { host: Some(host.to_owned()), port, ..SAME }
    }

    fn to_path(path: RedirectPath) -> RedirectConfig {
        RedirectConfig { path, ..SAME }
    }

    #[test]
    fn what_is_not_written_stays_as_it_was_asked_for() {
        check(&SAME, ("https", "a.test:8443/api/x?q=1"), "https://a.test:8443/api/x?q=1");
        check(&to_host("b.test", None), ("https", "a.test:8443/api?q"), "https://b.test/api?q");
        check(&to_host("[2001:db8::1]", Some(444)), ("https", "a.test/api"), "https://[2001:db8::1]:444/api");
        check(&RedirectConfig { port: Some(444), ..SAME }, ("https", "[::1]:9/api"), "https://[::1]:444/api");
        check(
            &RedirectConfig { strip_query: true, ..SAME },
            ("https", "a.test/api?q=1"),
            "https://a.test/api",
        );
    }

    #[test]
    fn another_scheme_has_another_port() {
        let secure = |port| RedirectConfig { scheme: Some(Scheme::HTTPS), port, ..SAME };
        check(&secure(None), ("http", "a.test:8080/api"), "https://a.test/api");
        check(&secure(None), ("https", "a.test:8443/api"), "https://a.test:8443/api");
        check(&secure(Some(8443)), ("http", "a.test/api"), "https://a.test:8443/api");
        check(&secure(Some(443)), ("http", "a.test/api"), "https://a.test/api");
        let plain = RedirectConfig { scheme: Some(Scheme::HTTP), port: Some(443), ..SAME };
        check(&plain, ("https", "a.test/api"), "http://a.test:443/api");
    }

    #[test]
    fn a_path_is_replaced_whole_or_by_what_the_route_matched() {
        let whole = || to_path(RedirectPath::Whole("/moved".to_owned()));
        check(&whole(), ("https", "a.test/api/x?q=1"), "https://a.test/moved?q=1");
        let prefix = |prefix: &str| to_path(RedirectPath::Prefix(prefix.to_owned()));
        check(&prefix("/v2"), ("https", "a.test/api/x;a=1?q"), "https://a.test/v2/x;a=1?q");
        check(&prefix("/v2"), ("https", "a.test/api"), "https://a.test/v2");
        check(&prefix("/"), ("https", "a.test/api"), "https://a.test/");
        check(&prefix("/"), ("https", "a.test/api/x"), "https://a.test/x");
        check(&prefix("/"), ("https", "a.test/api?q"), "https://a.test/?q");
    }
}
