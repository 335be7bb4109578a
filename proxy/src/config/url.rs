//! URLs of the control plane: where policy, keys and telemetry are fetched from or sent to.

use std::net::IpAddr;

use thiserror::Error;

/// Longest URL that is accepted, in bytes.
pub const URL_BYTES_MAX: usize = 2048;

/// An `http` or `https` URL in its parts (RFC 3986), without user information and fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlUrl {
    /// With TLS or without.
    pub scheme: Scheme,
    /// Name or address; an IPv6 address without its brackets.
    pub host: String,
    /// As written, or 443 and 80.
    pub port: u16,
    /// What goes into the request line; at least `/`.
    pub path_and_query: String,
    authority: String,
}

/// With TLS or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Without.
    Http,
    /// With.
    Https,
}

/// Why a text is not a URL we would follow.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UrlError {
    /// More than [`URL_BYTES_MAX`].
    #[error("url has {bytes} bytes, at most {URL_BYTES_MAX} are accepted")]
    TooLong {
        /// How many it has.
        bytes: usize,
    },
    /// Not a URL at all.
    #[error("`{url}` is not an absolute URL: write `https://host/path`")]
    NotAbsolute {
        /// As written.
        url: String,
    },
    /// Some other scheme.
    #[error("`{url}` has the scheme `{scheme}`: only `https` and `http` are spoken")]
    Scheme {
        /// As written.
        url: String,
        /// Its scheme.
        scheme: String,
    },
    /// `user:password@`.
    #[error("a url must not carry user information: secrets come from files")]
    UserInformation,
    /// `#…`.
    #[error("`{url}` has a fragment, which is never sent: leave out `#` and what follows")]
    Fragment {
        /// As written.
        url: String,
    },
}

impl ControlUrl {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// [`UrlError`] says what is wrong with it. User information is never repeated in an error.
    pub fn parse(url: &str) -> Result<ControlUrl, UrlError> {
        if url.len() > URL_BYTES_MAX {
            return Err(UrlError::TooLong { bytes: url.len() });
        }
        let authority_text = url.split_once("://").map_or(url, |(_, rest)| rest);
        let authority_text = authority_text.split(['/', '?', '#']).next().unwrap_or_default();
        if authority_text.contains('@') {
            return Err(UrlError::UserInformation);
        }
        // http::Uri cuts a fragment off silently.
        if url.contains('#') {
            return Err(UrlError::Fragment { url: url.to_owned() });
        }
        let not_absolute = || UrlError::NotAbsolute { url: url.to_owned() };
        let uri: http::Uri = url.parse().map_err(|_| not_absolute())?;
        let scheme = match uri.scheme_str() {
            Some("https") => Scheme::Https,
            Some("http") => Scheme::Http,
            Some(other) => {
                return Err(UrlError::Scheme { url: url.to_owned(), scheme: other.to_owned() });
            }
            None => return Err(not_absolute()),
        };
        let authority = uri.authority().ok_or_else(not_absolute)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(not_absolute());
        }
        // http::Uri gives no port for one that is out of range.
        let after_host = authority.as_str().rsplit(']').next().unwrap_or_default();
        let port = match after_host.split_once(':') {
            Some((_, port)) => port.parse().map_err(|_| not_absolute())?,
            None => scheme.port(),
        };
        Ok(ControlUrl {
            scheme,
            host: host.to_ascii_lowercase(),
            port,
            path_and_query: uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned(),
            authority: authority.as_str().to_owned(),
        })
    }

    /// Host and port as the `Host` header wants them.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Whether the host is a loopback address, or the name every system gives to one.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.host.parse::<IpAddr>().map_or(self.host == "localhost", |address| address.is_loopback())
    }

    /// The URL for logs and errors: its query, which may be a secret, is left out.
    #[must_use]
    pub fn redacted(&self) -> String {
        let path = self.path_and_query.split('?').next().unwrap_or_default();
        format!("{}://{}{path}", self.scheme.as_str(), self.authority)
    }
}

impl Scheme {
    /// As it stands before `://`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    const fn port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: Result<(Scheme, &str, u16, &str), &str>) {
        let parsed = ControlUrl::parse(url);
        match (&parsed, expected) {
            (Ok(parsed), Ok((scheme, host, port, path))) => assert_eq!(
                (parsed.scheme, parsed.host.as_str(), parsed.port, parsed.path_and_query.as_str()),
                (scheme, host, port, path),
                "{url}"
            ),
            (Err(error), Err(part)) => {
                assert!(error.to_string().contains(part), "{url}: {error}");
            }
            (parsed, expected) => panic!("{url}: got {parsed:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn a_url_is_taken_apart() {
        check("https://a.example", Ok((Scheme::Https, "a.example", 443, "/")));
        check("http://127.0.0.1:8181/b.tar.gz?x=1", Ok((Scheme::Http, "127.0.0.1", 8181, "/b.tar.gz?x=1")));
        check("https://[::1]:4317", Ok((Scheme::Https, "::1", 4317, "/")));
        check("HTTPS://A.Example/X", Ok((Scheme::Https, "a.example", 443, "/X")));
    }

    #[test]
    fn what_would_not_be_followed_is_refused_by_name() {
        check("a.example/x", Err("not an absolute URL"));
        check("/x", Err("not an absolute URL"));
        check("", Err("not an absolute URL"));
        check("https://", Err("not an absolute URL"));
        check("https://a:99999/", Err("not an absolute URL"));
        check("https://[::1]:99999/", Err("not an absolute URL"));
        check("https://a:/", Err("not an absolute URL"));
        check("ftp://a/", Err("scheme `ftp`"));
        check("https://user:secret@a/", Err("user information"));
        check("https://a/#x", Err("fragment"));
        check("https://a/ b", Err("not an absolute URL"));
        check(&format!("https://a/{}", "x".repeat(URL_BYTES_MAX)), Err("at most 2048"));
    }

    #[test]
    fn an_error_never_repeats_a_password() {
        let error = ControlUrl::parse("https://user:hunter2@a/").expect_err("user information");
        assert!(!error.to_string().contains("hunter2"));
    }

    #[test]
    fn a_redacted_url_has_no_query() {
        let url = ControlUrl::parse("https://a:444/keys?sig=secret").expect("a url");
        assert_eq!(url.redacted(), "https://a:444/keys");
    }
}
