//! `rate_limits:` and `global_rate_limit:` of a route.

use std::time::Duration;

use super::captured;
use super::context::{Context, Reported};
use super::routes::upstream;
use crate::config::file::{
    ConfigFile, DescriptorEntryFile, DescriptorFile, DescriptorValueFile, GlobalRateLimitFile, OnFailureFile,
    RateLimitFile, RateLimitKeyFile, RouteFile, UpstreamProtocolFile,
};
use crate::config::places::{entry, member};
use crate::config::rules;
use crate::config::settings::{
    DescriptorValue, GlobalRateLimitConfig, OnFailure, RateLimitConfig, RateLimitKey, TokenRule,
};

/// Each is looked at for each request.
const LIMITS_MAX: usize = 8;

pub(super) fn rate_limits(
    context: &mut Context<'_>,
    key: &str,
    files: &[RateLimitFile],
    tokens: &Result<TokenRule, Reported>,
) -> Result<Vec<RateLimitConfig>, Reported> {
    if files.len() > LIMITS_MAX {
        let what = format!("there are {} rate limits", files.len());
        return Err(context.error(key, what, format!("at most {LIMITS_MAX} are accepted")));
    }
    let limits = context.each(key, files, |context, key, file| rate_limit(context, key, file, tokens))?;
    for (index, limit) in limits.iter().enumerate() {
        let earlier = limits.iter().take(index);
        if earlier.clone().any(|earlier| earlier.name == limit.name) {
            let what = format!("the name `{}` is taken by an earlier rate limit of the route", limit.name);
            context.error(&member(&entry(key, index), "name"), what, "give each its own name");
            continue;
        }
        let later = limits.iter().skip(index.saturating_add(1));
        // Of two that are the same, the later one is too much.
        let first = later.filter(|later| !(comes_first(limit, later))).chain(earlier);
        if let Some(first) = first.into_iter().find(|other| comes_first(other, limit)) {
            let what = format!("it can never refuse: `{}` always comes first", first.name);
            context.error(&entry(key, index), what, "leave it out, or let it be the stricter one");
        }
    }
    Ok(limits)
}

fn rate_limit(
    context: &mut Context<'_>,
    key: &str,
    file: &RateLimitFile,
    tokens: &Result<TokenRule, Reported>,
) -> Result<RateLimitConfig, Reported> {
    let name = context.name(&member(key, "name"), &file.name);
    let requests = context.count(&member(key, "requests"), Some(file.requests), &rules::RATE_REQUESTS);
    let per = per(context, &member(key, "per"), &file.per);
    let burst_key = member(key, "burst");
    let burst = match file.burst {
        Some(0) => Err(context.error(
            &burst_key,
            "a burst of less than one request lets nothing through",
            "write at least 1, or let policy deny",
        )),
        None => Ok(requests),
        written => Ok(context.count(&burst_key, written, &rules::RATE_BURST)),
    };
    let keys_key = member(key, "keys");
    let keys =
        context.each(&keys_key, &file.keys, |context, key, file| self::key(context, key, file, tokens));
    let keys_max = context.count(&member(key, "keys_max"), file.keys_max, &rules::RATE_KEYS_MAX);
    let keys = keys?;
    context.distinct(&keys_key, &keys, |key| word(key).to_owned());
    Ok(RateLimitConfig {
        name: name?,
        requests: requests as u64,
        per: per?,
        burst: burst? as u64,
        keys,
        keys_max,
    })
}

/// Answers speak of it in whole seconds.
fn per(context: &mut Context<'_>, key: &str, text: &String) -> Result<Duration, Reported> {
    let per = context.duration(key, Some(text), &rules::RATE_PER);
    if per.subsec_nanos() != 0 {
        let what = format!("`{text}` is no whole number of seconds, in which callers are told of it");
        return Err(context.error(key, what, "write it like `1s`"));
    }
    Ok(per)
}

fn key(
    context: &mut Context<'_>,
    key: &str,
    file: &RateLimitKeyFile,
    tokens: &Result<TokenRule, Reported>,
) -> Result<RateLimitKey, Reported> {
    match file {
        RateLimitKeyFile::SpiffeId => Ok(RateLimitKey::SpiffeId),
        RateLimitKeyFile::TrustDomain => Ok(RateLimitKey::TrustDomain),
        RateLimitKeyFile::Address => Ok(RateLimitKey::Address),
        RateLimitKeyFile::Claim(name) if name.is_empty() => {
            Err(context.error(&member(key, "claim"), "the name of the claim is empty", "write one, like `sub`"))
        }
        RateLimitKeyFile::Claim(name) if matches!(tokens, Ok(TokenRule::Ignored)) => Err(context.error(
            &member(key, "claim"),
            format!("no token is looked at on this route, so that none has a claim `{name}`"),
            "add an issuer to `tokens` at the top and let the route's `tokens` be `optional` or `required`, or leave this out",
        )),
        RateLimitKeyFile::Claim(name) => Ok(RateLimitKey::Claim(name.clone())),
        RateLimitKeyFile::Header(name) => match name.parse() {
            Ok(name) => Ok(RateLimitKey::Header(name)),
            Err(_) => Err(context.error(
                &member(key, "header"),
                format!("`{name}` is not the name of a header"),
                "write it like `x-tenant`",
            )),
        },
    }
}

fn word(key: &RateLimitKey) -> &str {
    match key {
        RateLimitKey::SpiffeId => "spiffe_id",
        RateLimitKey::TrustDomain => "trust_domain",
        RateLimitKey::Address => "address",
        RateLimitKey::Claim(name) => name,
        RateLimitKey::Header(name) => name.as_str(),
    }
}

/// Whether whatever `other` would refuse, `first` refuses too: it counts the same requests or more of them, and lets
/// through no more.
fn comes_first(first: &RateLimitConfig, other: &RateLimitConfig) -> bool {
    let rate = |of: &RateLimitConfig, per: &RateLimitConfig| u128::from(of.requests) * per.per.as_nanos();
    first.keys.iter().all(|key| other.keys.contains(key))
        && rate(first, other) <= rate(other, first)
        && first.burst <= other.burst
}

/// Where the one of a route stands.
pub(super) struct Around<'a> {
    pub(super) route: &'a RouteFile,
    pub(super) config: &'a ConfigFile,
    pub(super) tokens: &'a Result<TokenRule, Reported>,
}

pub(super) fn global_rate_limit(
    context: &mut Context<'_>,
    key: &str,
    around: &Around<'_>,
) -> Result<Option<GlobalRateLimitConfig>, Reported> {
    let Some(file) = &around.route.global_rate_limit else { return Ok(None) };
    let service = service(context, &member(key, "service"), &file.service, around.config);
    let domain = text(context, &member(key, "domain"), &file.domain);
    let descriptors = descriptors(context, &member(key, "descriptors"), file, around.tokens);
    let timeout =
        context.duration(&member(key, "timeout"), file.timeout.as_ref(), &rules::RATE_SERVICE_TIMEOUT);
    let on_failure = on_failure(context, &member(key, "on_failure"), file, around);
    Ok(Some(GlobalRateLimitConfig {
        service: service?,
        domain: domain?,
        descriptors: descriptors?,
        timeout,
        on_failure: on_failure?,
    }))
}

fn service(
    context: &mut Context<'_>,
    key: &str,
    name: &str,
    config: &ConfigFile,
) -> Result<String, Reported> {
    let service = upstream(context, key, name, config)?;
    captured::no_service(context, key, name, config)?;
    if config.upstreams.get(name).is_some_and(|upstream| upstream.adaptive_concurrency.is_some()) {
        let what =
            format!("`{name}` has `adaptive_concurrency`, and the time of questions is not taken for it");
        return Err(context.error(key, what, "leave it out of that upstream, or ask one of its own"));
    }
    match config.upstreams.get(name).and_then(|upstream| upstream.protocol) {
        Some(UpstreamProtocolFile::H2 | UpstreamProtocolFile::H2c) => Ok(service),
        None | Some(UpstreamProtocolFile::Http1 | UpstreamProtocolFile::Tcp) => Err(context.error(
            key,
            format!("a rate limit service is asked by gRPC, and the upstream `{name}` does not speak HTTP/2"),
            "write `protocol: h2c` in that upstream, or `protocol: h2` with `tls`",
        )),
    }
}

fn descriptors(
    context: &mut Context<'_>,
    key: &str,
    file: &GlobalRateLimitFile,
    tokens: &Result<TokenRule, Reported>,
) -> Result<Vec<Vec<(String, DescriptorValue)>>, Reported> {
    context.some(key, file.descriptors.len(), "descriptor")?;
    context.each(key, &file.descriptors, |context, key, DescriptorFile { entries }| {
        let key = member(key, "entries");
        context.some(&key, entries.len(), "entry")?;
        context.each(&key, entries, |context, key, entry| descriptor_entry(context, key, entry, tokens))
    })
}

fn descriptor_entry(
    context: &mut Context<'_>,
    key: &str,
    file: &DescriptorEntryFile,
    tokens: &Result<TokenRule, Reported>,
) -> Result<(String, DescriptorValue), Reported> {
    let name = text(context, &member(key, "key"), &file.key);
    let value_key = member(key, "value");
    let of_request = match &file.value {
        DescriptorValueFile::SpiffeId => RateLimitKeyFile::SpiffeId,
        DescriptorValueFile::TrustDomain => RateLimitKeyFile::TrustDomain,
        DescriptorValueFile::Address => RateLimitKeyFile::Address,
        DescriptorValueFile::Claim(name) => RateLimitKeyFile::Claim(name.clone()),
        DescriptorValueFile::Header(name) => RateLimitKeyFile::Header(name.clone()),
        DescriptorValueFile::Text(value) => return Ok((name?, DescriptorValue::Text(value.clone()))),
    };
    let value = self::key(context, &value_key, &of_request, tokens);
    Ok((name?, DescriptorValue::Key(value?)))
}

fn on_failure(
    context: &mut Context<'_>,
    key: &str,
    file: &GlobalRateLimitFile,
    around: &Around<'_>,
) -> Result<OnFailure, Reported> {
    let local = match &file.on_failure {
        OnFailureFile::Allow => return Ok(OnFailure::Allow),
        OnFailureFile::Deny => return Ok(OnFailure::Deny),
        OnFailureFile::Local(local) => local,
    };
    let key = member(key, "local");
    if around.route.rate_limits.iter().any(|limit| limit.name == local.name) {
        let what = format!("the name `{}` is taken by a rate limit of the route", local.name);
        return Err(context.error(&member(&key, "name"), what, "give each its own name"));
    }
    rate_limit(context, &key, local, around.tokens).map(OnFailure::Local)
}

fn text(context: &mut Context<'_>, key: &str, text: &str) -> Result<String, Reported> {
    if text.is_empty() || text.len() > TEXT_BYTES_MAX {
        let what = if text.is_empty() { "it is empty" } else { "it is too long" };
        return Err(context.error(key, what, format!("write 1 to {TEXT_BYTES_MAX} bytes")));
    }
    Ok(text.to_owned())
}

/// Longest domain and longest name of a descriptor's entry, in bytes.
const TEXT_BYTES_MAX: usize = 256;
