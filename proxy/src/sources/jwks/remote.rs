//! Keys that are fetched: from a URL, or from wherever the issuer's metadata say.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG};
use http::{HeaderMap, StatusCode};
use postern_identity::token::{KEY_SET_BYTES_MAX, KeySet, METADATA_BYTES_MAX, jwks_uri};

use super::{Document, Freshness, KeysError};
use crate::config::url::{ControlUrl, Scheme};
use crate::sources::fetch::{Fetched, Fetcher};

/// Where keys are fetched from, and what was there last.
#[derive(Debug)]
pub(super) struct Remote {
    /// Of the keys, or of the metadata.
    pub(super) url: String,
    pub(super) fetcher: Fetcher,
    pub(super) document: Document,
    /// Of whose metadata it is the URL.
    pub(super) discovered_for: Option<String>,
    /// The newest answer.
    last: Option<Last>,
}

#[derive(Debug)]
struct Last {
    /// Metadata may lead elsewhere the next time.
    url: String,
    etag: Option<String>,
    body: Bytes,
}

/// The newest keys.
pub(super) struct Answer {
    /// `None` when the keys in force are still the newest.
    pub(super) keys: Option<KeySet>,
    /// When to ask again.
    pub(super) refresh: Duration,
}

impl Remote {
    pub(super) fn new(
        url: String,
        fetcher: Fetcher,
        document: Document,
        discovered_for: Option<String>,
    ) -> Self {
        Self { url, fetcher, document, discovered_for, last: None }
    }

    /// The document behind the newest keys.
    pub(super) fn newest(&self) -> Option<&Bytes> {
        self.last.as_ref().map(|last| &last.body)
    }

    /// The next answer counts as new whatever it is.
    pub(super) fn forget(&mut self) {
        self.last = None;
    }

    /// Asks once. The time limit is for metadata and keys together.
    pub(super) async fn fetch(&mut self, freshness: Freshness) -> Result<Answer, KeysError> {
        let too_long = KeysError::TooLong { url: name(&self.url), timeout: freshness.timeout };
        tokio::time::timeout(freshness.timeout, self.ask(freshness)).await.unwrap_or(Err(too_long))
    }

    async fn ask(&mut self, freshness: Freshness) -> Result<Answer, KeysError> {
        let url = match &self.discovered_for {
            None => self.url.clone(),
            Some(issuer) => self.discover(issuer, freshness.timeout).await?,
        };
        let last = self.last.as_ref().filter(|last| last.url == url);
        let etag = last.and_then(|last| last.etag.as_deref());
        let mut headers = vec![("accept", "application/jwk-set+json, application/json")];
        headers.extend(etag.map(|etag| ("if-none-match", etag)));
        let fetched = self.fetcher.get(&url, &headers, KEY_SET_BYTES_MAX, freshness.timeout).await?;
        let refresh = max_age(&fetched.headers)
            .unwrap_or(freshness.refresh)
            .min(freshness.refresh)
            .clamp(freshness.refresh_min, freshness.refresh_max);
        if fetched.status == StatusCode::NOT_MODIFIED.as_u16() && etag.is_some() {
            return Ok(Answer { keys: None, refresh });
        }
        let body = json(&url, &fetched)?;
        let keys = self.document.parse(body, || format!("`{}`", name(&url)))?;
        let etag = fetched.headers.get(ETAG).and_then(|etag| etag.to_str().ok()).map(str::to_owned);
        self.last = Some(Last { url, etag, body: fetched.body.clone() });
        Ok(Answer { keys: Some(keys), refresh })
    }

    /// Where the issuer's keys are, by its own metadata. They may be on another host, as with the large providers: the
    /// issuer says so itself. What they may not do is to give up TLS.
    async fn discover(&self, issuer: &str, timeout: Duration) -> Result<String, KeysError> {
        let headers = [("accept", "application/json")];
        let fetched = self.fetcher.get(&self.url, &headers, METADATA_BYTES_MAX, timeout).await?;
        let refused = |reason: String| KeysError::Metadata { url: name(&self.url), reason };
        let uri = jwks_uri(json(&self.url, &fetched)?, issuer).map_err(|error| refused(error.to_string()))?;
        check_leads(&self.url, &uri).map_err(refused)?;
        Ok(uri)
    }
}

/// Whether metadata at one URL may lead to another. How far plain `http://` may lead is for the fetcher to judge, which
/// knows the addresses.
fn check_leads(from: &str, to: &str) -> Result<(), String> {
    let from = ControlUrl::parse(from).map_err(|error| error.to_string())?;
    let to = ControlUrl::parse(to).map_err(|error| format!("`jwks_uri`: {error}"))?;
    match (from.scheme, to.scheme) {
        (Scheme::Http, _) | (Scheme::Https, Scheme::Https) => Ok(()),
        (Scheme::Https, Scheme::Http) => Err(format!("`jwks_uri` is `{}`, without TLS", to.redacted())),
    }
}

/// The body of an answer that is JSON, by what it says of itself: an error page with status 200 is none. A server that
/// says nothing is believed.
fn json<'a>(url: &str, fetched: &'a Fetched) -> Result<&'a [u8], KeysError> {
    if fetched.status != StatusCode::OK.as_u16() {
        return Err(KeysError::Status { url: name(url), status: fetched.status });
    }
    let Some(content_type) = fetched.headers.get(CONTENT_TYPE) else { return Ok(&fetched.body) };
    let content_type = content_type.to_str().unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if matches!(media_type.as_str(), "application/json" | "application/jwk-set+json") {
        return Ok(&fetched.body);
    }
    Err(KeysError::ContentType { url: name(url), content_type: media_type.chars().take(128).collect() })
}

/// The URL without its query, which may hold what nobody should read.
fn name(url: &str) -> String {
    url.split('?').next().unwrap_or_default().to_owned()
}

/// `max-age` of RFC 9111 §5.2.2.1. `no-store` and `no-cache` are about caches that answer others; here they mean
/// the shortest interval.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let directives = headers.get(CACHE_CONTROL)?.to_str().ok()?.to_ascii_lowercase();
    let mut directives = directives.split(',').map(str::trim);
    directives.find_map(|directive| match directive.split_once('=') {
        Some(("max-age", seconds)) => seconds.trim_matches('"').parse().ok().map(Duration::from_secs),
        Some(_) => None,
        None if matches!(directive, "no-store" | "no-cache") => Some(Duration::ZERO),
        None => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_behind_tls_lead_nowhere_without_tls() {
        let check = |from, to, expected: Result<(), &str>| match (check_leads(from, to), expected) {
            (Ok(()), Ok(())) => {}
            (Err(reason), Err(part)) => assert!(reason.contains(part), "{reason}"),
            (found, _) => panic!("{from} to {to}: {found:?}"),
        };
        check("https://a/m", "https://a/k", Ok(()));
        check("https://a/m", "https://keys.b/k", Ok(()));
        check("http://127.0.0.1/m", "http://127.0.0.1/k", Ok(()));
        check("https://a/m", "http://a/k?secret=1", Err("`http://a/k`, without TLS"));
        check("https://a/m", "http://127.0.0.1/k", Err("without TLS"));
        check("https://a/m", "file:///etc/keys", Err("`jwks_uri`"));
        check("https://a/m", "https://u:p@a/k", Err("user information"));
        check("https://a/m", "k", Err("`jwks_uri`"));
    }

    #[test]
    fn max_age_is_read_as_it_is_written() {
        let check = |value: &str, expected: Option<u64>| {
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_CONTROL, value.parse().unwrap());
            assert_eq!(max_age(&headers), expected.map(Duration::from_secs), "{value}");
        };
        check("max-age=600", Some(600));
        check("public, Max-Age=\"600\", must-revalidate", Some(600));
        check("no-store", Some(0));
        check("private", None);
        check("max-age=x", None);
        check("s-maxage=5", None);
        assert_eq!(max_age(&HeaderMap::new()), None);
    }
}
