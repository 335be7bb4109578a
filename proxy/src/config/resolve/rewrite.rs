//! `rewrite:` of a route, and the headers by which it is found.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue};

use super::context::{Context, Reported};
use super::routes::{authority, path_prefix};
use crate::config::file::{HeaderMatchFile, HeaderRewriteFile, RewriteFile};
use crate::config::places::{entry, member};
use crate::config::settings::{HeaderMatch, HeaderRewrite, RewriteConfig};
use crate::pipeline::is_protected_header;

pub(super) fn rewrite(
    context: &mut Context<'_>,
    key: &str,
    file: Option<&RewriteFile>,
) -> Result<RewriteConfig, Reported> {
    let Some(file) = file else { return Ok(RewriteConfig::default()) };
    let path_prefix = match &file.path_prefix {
        None => Ok(None),
        Some(text) => path_prefix(context, &member(key, "path_prefix"), text).map(Some),
    };
    let authority_key = member(key, "authority");
    let authority = match &file.authority {
        None => Ok(None),
        Some(text) if text.starts_with("*.") => {
            let what = format!("`{text}` is a pattern, and the upstream has to be asked for one host");
            Err(context.error(&authority_key, what, "write it like `orders.internal`"))
        }
        Some(text) => authority(context, &authority_key, text).map(Some),
    };
    let request_headers = headers(context, &member(key, "request_headers"), &file.request_headers);
    let response_headers = headers(context, &member(key, "response_headers"), &file.response_headers);
    let rewrite = RewriteConfig {
        path_prefix: path_prefix?,
        authority: authority?,
        request_headers: request_headers?,
        response_headers: response_headers?,
    };
    if rewrite == RewriteConfig::default() {
        return Err(context.error(
            key,
            "nothing is rewritten",
            "leave `rewrite` out, or say what it changes",
        ));
    }
    Ok(rewrite)
}

fn headers(
    context: &mut Context<'_>,
    key: &str,
    file: &HeaderRewriteFile,
) -> Result<HeaderRewrite, Reported> {
    let remove_key = member(key, "remove");
    let set = set(context, &member(key, "set"), &file.set)?;
    context.few(&remove_key, file.remove.len(), "header")?;
    let remove = context.each(&remove_key, &file.remove, |context, key, name| header(context, key, name))?;
    for (index, name) in remove.iter().enumerate() {
        if remove.iter().take(index).any(|earlier| earlier == name) || set.iter().any(|(set, _)| set == name)
        {
            let what = format!("`{name}` is named twice");
            return Err(context.error(&entry(&remove_key, index), what, "leave one of the two out"));
        }
    }
    Ok(HeaderRewrite { set, remove })
}

/// Headers with their values.
pub(super) fn set(
    context: &mut Context<'_>,
    key: &str,
    file: &BTreeMap<String, String>,
) -> Result<Vec<(HeaderName, HeaderValue)>, Reported> {
    context.few(key, file.len(), "header")?;
    let mut set = Vec::with_capacity(file.len());
    for (name, value) in file {
        let key = member(key, name);
        let value = HeaderValue::from_str(value).ok().filter(|value| value.to_str().is_ok());
        let Some(value) = value else {
            let what = format!("the value of `{name}` cannot stand in a header");
            return Err(context.error(&key, what, "use printable ASCII"));
        };
        set.push((header(context, &key, name)?, value));
    }
    Ok(set)
}

fn header(context: &mut Context<'_>, key: &str, name: &str) -> Result<HeaderName, Reported> {
    match name.parse::<HeaderName>() {
        Ok(header) if is_protected_header(header.as_str()) => Err(context.error(
            key,
            format!("`{name}` says who calls, or frames the message: it is not a route's to change"),
            "leave it out; `identity_headers` says who calls",
        )),
        Ok(header) => Ok(header),
        Err(_) => Err(context.error(
            key,
            format!("`{name}` is not the name of a header"),
            "write it like `x-tenant`",
        )),
    }
}

/// The headers that a request must have.
pub(super) fn header_matches(
    context: &mut Context<'_>,
    key: &str,
    file: &BTreeMap<String, HeaderMatchFile>,
) -> Result<Vec<(HeaderName, HeaderMatch)>, Reported> {
    context.few(key, file.len(), "header")?;
    let mut matches = Vec::with_capacity(file.len());
    for (name, written) in file {
        let key = member(key, name);
        let Ok(header) = name.parse::<HeaderName>() else {
            let what = format!("`{name}` is not the name of a header");
            return Err(context.error(&key, what, "write it like `x-canary`"));
        };
        if is_protected_header(header.as_str()) {
            let what =
                format!("`{name}` is taken off before a route is looked for, so that nothing would match");
            return Err(context.error(&key, what, "match by another header, or decide by policy"));
        }
        let taken = match written {
            HeaderMatchFile::Exact(value) => HeaderMatch::Exact(value.clone()),
            HeaderMatchFile::Prefix(value) => HeaderMatch::Prefix(value.clone()),
            HeaderMatchFile::Present => HeaderMatch::Present,
            HeaderMatchFile::Absent => HeaderMatch::Absent,
        };
        matches.push((header, taken));
    }
    Ok(matches)
}
