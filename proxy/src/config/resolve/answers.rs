//! `redirect:` and `respond:` of a route.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION};
use http::uri::Scheme;
use http::{HeaderName, HeaderValue, StatusCode};

use super::context::{Context, Reported};
use super::rewrite;
use super::routes::path_prefix;
use crate::config::file::{MatchFile, RedirectFile, RespondFile, SchemeFile};
use crate::config::places::member;
use crate::config::settings::{RedirectConfig, RedirectPath, RespondConfig};
use crate::pipeline::spell_target;

/// Longest body of an answer of our own: it is held for as long as the sidecar runs.
const BODY_BYTES_MAX: usize = 16 * 1024;

pub(super) fn redirect(
    context: &mut Context<'_>,
    key: &str,
    file: &RedirectFile,
    (matches, is_outbound): (&MatchFile, bool),
) -> Result<RedirectConfig, Reported> {
    let status = match file.status {
        None => Ok(StatusCode::PERMANENT_REDIRECT),
        Some(written) => redirect_status(context, &member(key, "status"), written),
    };
    let scheme = file.scheme.map(|scheme| match scheme {
        SchemeFile::Http => Scheme::HTTP,
        SchemeFile::Https => Scheme::HTTPS,
    });
    let host = file.host.as_ref().map(|text| host(context, &member(key, "host"), text)).transpose();
    let port = file.port.map(|written| port(context, &member(key, "port"), written)).transpose();
    let path = redirect_path(context, key, file);
    let headers = headers(context, &member(key, "headers"), (&file.headers, &LOCATION));
    let (status, host, port, path, headers) = (status?, host?, port?, path?, headers?);
    let redirect =
        RedirectConfig { status, scheme, host, port, path, strip_query: file.strip_query, headers };
    if leads_back(&redirect, matches, is_outbound) {
        let what = "who follows this redirect comes back to it";
        return Err(context.error(key, what, "say what is other there: the scheme, host, port or path"));
    }
    Ok(redirect)
}

fn redirect_status(context: &mut Context<'_>, key: &str, written: u64) -> Result<StatusCode, Reported> {
    let status = u16::try_from(written).ok().and_then(|status| StatusCode::from_u16(status).ok());
    match status {
        Some(status) if matches!(written, 301 | 302 | 303 | 307 | 308) => Ok(status),
        Some(_) | None => Err(context.error(
            key,
            format!("`{written}` tells nobody to ask elsewhere"),
            "write 301, 302, 303, 307 or 308",
        )),
    }
}

/// A host in its one spelling.
fn host(context: &mut Context<'_>, key: &str, text: &str) -> Result<String, Reported> {
    let has_port = text.rsplit(']').next().is_some_and(|after| after.contains(':'));
    if has_port {
        let what = format!("`{text}` is more than a host");
        return Err(context.error(key, what, "write the port in `port`"));
    }
    // A path would be cut off here.
    let spelled = Some(text).filter(|text| !text.contains('/'));
    let spelled = spelled.and_then(|text| spell_target(&format!("https://{text}/")));
    let host = spelled.as_deref().and_then(|url| url.strip_prefix("https://")?.strip_suffix('/'));
    host.map(str::to_owned).ok_or_else(|| {
        context.error(key, format!("`{text}` is not a host"), "write it like `orders.example.org`")
    })
}

fn port(context: &mut Context<'_>, key: &str, written: u64) -> Result<u16, Reported> {
    let port = u16::try_from(written).ok().filter(|port| *port > 0);
    port.ok_or_else(|| context.error(key, format!("`{written}` is not a port"), "write 1 to 65535"))
}

fn redirect_path(
    context: &mut Context<'_>,
    key: &str,
    file: &RedirectFile,
) -> Result<RedirectPath, Reported> {
    match (&file.path, &file.path_prefix) {
        (None, None) => Ok(RedirectPath::Same),
        (None, Some(text)) => {
            path_prefix(context, &member(key, "path_prefix"), text).map(RedirectPath::Prefix)
        }
        (Some(text), None) => {
            let url = format!("https://a{text}");
            if text.starts_with('/') && spell_target(&url).as_deref() == Some(url.as_str()) {
                return Ok(RedirectPath::Whole(text.clone()));
            }
            let what = format!("`{text}` is not a path in its one spelling");
            Err(context.error(&member(key, "path"), what, "write it like `/moved/here`, without a query"))
        }
        (Some(_), Some(_)) => Err(context.error(
            &member(key, "path"),
            "both `path` and `path_prefix` are written",
            "leave one of the two out",
        )),
    }
}

/// Whether every request that the route takes is told to ask for just what it asked for.
fn leads_back(redirect: &RedirectConfig, matches: &MatchFile, is_outbound: bool) -> bool {
    let own = if is_outbound { Scheme::HTTP } else { Scheme::HTTPS };
    let is_same_scheme = redirect.scheme.as_ref().is_none_or(|scheme| *scheme == own);
    let is_same_host = redirect.host.as_ref().is_none_or(
        |host| matches!(matches.authorities.as_slice(), [only] if only.eq_ignore_ascii_case(host)),
    );
    let is_same_path = match &redirect.path {
        RedirectPath::Same => true,
        RedirectPath::Whole(path) => matches.path.as_ref() == Some(path),
        RedirectPath::Prefix(prefix) => {
            let matched = matches.path.as_deref().or(matches.path_prefix.as_deref());
            matched.unwrap_or("/") == prefix
        }
    };
    is_same_scheme && is_same_host && redirect.port.is_none() && is_same_path
}

pub(super) fn respond(
    context: &mut Context<'_>,
    key: &str,
    file: &RespondFile,
) -> Result<RespondConfig, Reported> {
    let status = respond_status(context, &member(key, "status"), file.status);
    let body = body(context, key, file);
    let content_type = content_type(context, &member(key, "content_type"), file);
    let headers = headers(context, &member(key, "headers"), (&file.headers, &CONTENT_TYPE));
    Ok(RespondConfig { status: status?, body: body?, content_type: content_type?, headers: headers? })
}

fn respond_status(context: &mut Context<'_>, key: &str, written: u64) -> Result<StatusCode, Reported> {
    let what = format!("`{written}` is not the status of an answer that is written here");
    if matches!(written, 300..=399) {
        return Err(context.error(key, what, "write `redirect` instead of `respond`"));
    }
    let status = u16::try_from(written).ok().filter(|status| matches!(status, 200..=299 | 400..=599));
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    status.ok_or_else(|| context.error(key, what, "write 200 to 299, or 400 to 599"))
}

fn body(context: &mut Context<'_>, key: &str, file: &RespondFile) -> Result<Bytes, Reported> {
    let Some(text) = &file.body else { return Ok(Bytes::new()) };
    let key = member(key, "body");
    if text.len() > BODY_BYTES_MAX {
        let what = format!("the body has {} bytes", text.len());
        return Err(context.error(&key, what, "write 16KiB at most, or let an upstream answer"));
    }
    // RFC 9110 §15.3.5 and §15.3.6.
    if matches!(file.status, 204 | 205) && !text.is_empty() {
        let what = format!("an answer with the status {} has no body", file.status);
        return Err(context.error(&key, what, "leave it out, or write another status"));
    }
    Ok(Bytes::from(text.clone()))
}

fn content_type(
    context: &mut Context<'_>,
    key: &str,
    file: &RespondFile,
) -> Result<Option<HeaderValue>, Reported> {
    let has_body = file.body.as_ref().is_some_and(|body| !body.is_empty());
    let Some(text) = &file.content_type else {
        return Ok(has_body.then(|| HeaderValue::from_static("text/plain; charset=utf-8")));
    };
    if !has_body {
        return Err(context.error(key, "there is no `body` that it could be of", "leave it out"));
    }
    let value = HeaderValue::from_str(text).ok().filter(|value| value.to_str().is_ok());
    value.filter(|_| text.contains('/')).map(Some).ok_or_else(|| {
        context.error(key, format!("`{text}` says of no body what it is"), "write it like `application/json`")
    })
}

/// Headers of an answer; one of them has a key of its own.
fn headers(
    context: &mut Context<'_>,
    key: &str,
    (written, ours): (&BTreeMap<String, String>, &HeaderName),
) -> Result<Vec<(HeaderName, HeaderValue)>, Reported> {
    let set = rewrite::set(context, key, written)?;
    if set.iter().any(|(name, _)| name == ours) {
        let what = format!("`{ours}` is made of the other keys");
        return Err(context.error(key, what, "leave it out here"));
    }
    Ok(set)
}
