//! `upstreams:`.

use std::collections::BTreeMap;

use postern_identity::SpiffeId;

use super::adaptive_concurrency::adaptive_concurrency;
use super::captured;
use super::context::{Context, Reported};
use super::endpoints::{balance, health, outlier};
use super::identity::trust_domain;
use super::local_endpoint;
use super::proxy_version::proxy_version;
use super::service;
use crate::config::file::{UpstreamFile, UpstreamProtocolFile, UpstreamTlsFile};
use crate::config::places::member;
use crate::config::rules;
use crate::config::settings::{
    EndpointConfig, NamedEndpoint, Plaintext, RetryBudgetConfig, UpstreamConfig, UpstreamLimits,
    UpstreamProtocol, UpstreamTls,
};

/// Most endpoints of one upstream.
const ENDPOINTS_MAX: usize = 256;

pub(super) fn upstreams(
    context: &mut Context<'_>,
    file: &BTreeMap<String, UpstreamFile>,
) -> Result<Vec<UpstreamConfig>, Reported> {
    let mut result = context.some("upstreams", file.len(), "upstream");
    let mut upstreams = Vec::new();
    for (name, written) in file {
        match upstream(context, &member("upstreams", name), name, written) {
            Ok(upstream) => upstreams.push(upstream),
            Err(reported) => result = Err(reported),
        }
    }
    result.map(|()| upstreams)
}

fn upstream(
    context: &mut Context<'_>,
    key: &str,
    name: &str,
    file: &UpstreamFile,
) -> Result<UpstreamConfig, Reported> {
    let name = context.name(key, name);
    let tls = tls(context, &member(key, "tls"), file.tls.as_ref());
    let plaintext = match &file.tls {
        Some(_) => Plaintext::AnyAddress,
        None => context.plaintext(file.plaintext),
    };
    let endpoints_key = member(key, "endpoints");
    let endpoints = context.some(&endpoints_key, file.endpoints.len(), "endpoint").and_then(|()| {
        context.each(&endpoints_key, &file.endpoints, |context, key, text| {
            endpoint(context, key, text, plaintext)
        })
    });
    context.distinct(&endpoints_key, &file.endpoints, String::clone);
    if file.endpoints.len() > ENDPOINTS_MAX {
        let what = format!("there are {} endpoints", file.endpoints.len());
        context.error(&endpoints_key, what, format!("at most {ENDPOINTS_MAX} are accepted"));
    }
    captured::upstream(context, key, file);
    service::upstream(context, key, file);
    let uids = local_endpoint::upstream(context, key, file);
    let connect_timeout = context.duration(
        &member(key, "connect_timeout"),
        file.connect_timeout.as_ref(),
        &rules::CONNECT_TIMEOUT,
    );
    let idle_timeout = context.duration(
        &member(key, "idle_timeout"),
        file.idle_timeout.as_ref(),
        &rules::UPSTREAM_IDLE_TIMEOUT,
    );
    let (limits, retry_budget) = (limits(context, key, file), retry_budget(context, key, file));
    let adaptive_concurrency = adaptive_concurrency(context, key, file, &limits);
    let balance = balance(context, &member(key, "balance"), file.balance.as_ref());
    let outlier = outlier(context, &member(key, "outlier"), &file.outlier);
    let protocol = protocol(context, &member(key, "protocol"), file)?;
    let health = health(context, key, file, protocol);
    Ok(UpstreamConfig {
        name: name?,
        endpoints: endpoints?,
        uids: uids?,
        proxy_protocol: proxy_version(file.proxy_protocol),
        protocol,
        tls: tls?,
        connect_timeout,
        idle_timeout,
        limits,
        adaptive_concurrency: adaptive_concurrency?,
        retry_budget,
        balance: balance?,
        outlier,
        health: health?,
    })
}

fn limits(context: &mut Context<'_>, key: &str, file: &UpstreamFile) -> UpstreamLimits {
    let mut count = |name, written, rule| context.count(&member(key, name), written, rule);
    UpstreamLimits {
        connections_max: count("connections_max", file.connections_max, &rules::UPSTREAM_CONNECTIONS_MAX),
        pending_max: count("pending_max", file.pending_max, &rules::UPSTREAM_PENDING_MAX),
        requests_max: count("requests_max", file.requests_max, &rules::UPSTREAM_REQUESTS_MAX),
    }
}

fn retry_budget(context: &mut Context<'_>, key: &str, file: &UpstreamFile) -> RetryBudgetConfig {
    let key = member(key, "retry_budget");
    let mut count = |name, written, rule| context.count(&member(&key, name), written, rule);
    let percent = count("percent", file.retry_budget.percent, &rules::RETRY_PERCENT);
    let per_second = count("per_second", file.retry_budget.per_second, &rules::RETRIES_PER_SECOND);
    RetryBudgetConfig { percent, per_second: u64::try_from(per_second).unwrap_or(u64::MAX) }
}

fn protocol(context: &mut Context<'_>, key: &str, file: &UpstreamFile) -> Result<UpstreamProtocol, Reported> {
    match (file.protocol, &file.tls) {
        (None | Some(UpstreamProtocolFile::Http1), _) => Ok(UpstreamProtocol::Http1),
        (Some(UpstreamProtocolFile::Tcp), _) => Ok(UpstreamProtocol::Tcp),
        (Some(UpstreamProtocolFile::H2), Some(_)) => Ok(UpstreamProtocol::H2),
        (Some(UpstreamProtocolFile::H2c), None) => Ok(UpstreamProtocol::H2c),
        (Some(UpstreamProtocolFile::H2), None) => Err(context.error(
            key,
            "`h2` is HTTP/2 in TLS, and this upstream has none",
            "write `h2c`, or add `tls`",
        )),
        (Some(UpstreamProtocolFile::H2c), Some(_)) => {
            Err(context.error(key, "`h2c` is HTTP/2 without TLS, and this upstream has it", "write `h2`"))
        }
    }
}

fn tls(
    context: &mut Context<'_>,
    key: &str,
    file: Option<&UpstreamTlsFile>,
) -> Result<UpstreamTls, Reported> {
    let Some(UpstreamTlsFile::Mutual(mutual)) = file else { return Ok(UpstreamTls::Plaintext) };
    let key = member(key, "mutual");
    if mutual.spiffe_ids.is_empty() && mutual.trust_domains.is_empty() {
        let what = "nobody is named who may answer";
        return Err(context.error(&key, what, "name the service's SPIFFE ID in `spiffe_ids`"));
    }
    let (ids_key, domains_key) = (member(&key, "spiffe_ids"), member(&key, "trust_domains"));
    context.few(&ids_key, mutual.spiffe_ids.len(), "SPIFFE ID")?;
    context.few(&domains_key, mutual.trust_domains.len(), "trust domain")?;
    context.distinct(&ids_key, &mutual.spiffe_ids, String::clone);
    context.distinct(&domains_key, &mutual.trust_domains, String::clone);
    let ids = context.each(&ids_key, &mutual.spiffe_ids, |context, key, text| {
        text.parse::<SpiffeId>().map_err(|error| {
            let what = format!("`{text}` is not a SPIFFE ID: {error}");
            context.error(key, what, "write it like `spiffe://example.org/orders`")
        })
    });
    let domains = context
        .each(&domains_key, &mutual.trust_domains, |context, key, text| trust_domain(context, key, text));
    let server_name = match &mutual.server_name {
        Some(name) if rustls_pki_types::DnsName::try_from(name.as_str()).is_err() => {
            let what = format!("`{name}` is not a host name");
            Err(context.error(&member(&key, "server_name"), what, "write it like `orders.example.org`"))
        }
        name => Ok(name.clone()),
    };
    Ok(UpstreamTls::Mutual { spiffe_ids: ids?, trust_domains: domains?, server_name: server_name? })
}

fn endpoint(
    context: &mut Context<'_>,
    key: &str,
    text: &str,
    plaintext: Plaintext,
) -> Result<EndpointConfig, Reported> {
    if text == captured::ORIGINAL_DESTINATION {
        return match plaintext {
            Plaintext::AnyAddress => Ok(EndpointConfig::OriginalDestination),
            Plaintext::LoopbackOnly => Err(beyond_loopback(context, key, text)),
        };
    }
    if local_endpoint::is_local(text) {
        return local_endpoint::path(context, key, text).map(EndpointConfig::Unix);
    }
    if let Some(name) = service::name(text) {
        return service::endpoint(context, key, name, plaintext).map(EndpointConfig::Name);
    }
    if let Some((host, port)) = name(text) {
        return named(context, key, (host, port), plaintext).map(EndpointConfig::Name);
    }
    if !text.contains(':') && !text.is_empty() {
        let mend = format!("write it like `{text}:8443`");
        return Err(context.error(key, format!("`{text}` has no port"), mend));
    }
    let address = context.address(key, text)?;
    if address.ip().is_unspecified() {
        let what = format!("`{text}` is an address to listen on, not one to connect to");
        return Err(context.error(key, what, format!("write `127.0.0.1:{}`", address.port())));
    }
    match plaintext {
        Plaintext::AnyAddress => Ok(EndpointConfig::Address(address)),
        Plaintext::LoopbackOnly if address.ip().is_loopback() => Ok(EndpointConfig::Address(address)),
        Plaintext::LoopbackOnly => Err(beyond_loopback(context, key, text)),
    }
}

/// The host and the port of what is no address. What ends like an IPv4 address is none that is a name.
fn name(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    let last = host.strip_suffix('.').unwrap_or(host).rsplit('.').next()?;
    let is_name = !host.contains([':', '[', ']', '/']) && !last.bytes().all(|byte| byte.is_ascii_digit());
    is_name.then_some((host, port))
}

fn named(
    context: &mut Context<'_>,
    key: &str,
    (host, port): (&str, &str),
    plaintext: Plaintext,
) -> Result<NamedEndpoint, Reported> {
    let absolute = host.strip_suffix('.').unwrap_or(host);
    if rustls_pki_types::DnsName::try_from(absolute).is_err() {
        let what = format!("`{host}` is not a host name");
        return Err(context.error(key, what, "write it like `orders.example.org:8443`"));
    }
    let port = match port.parse::<u16>() {
        Ok(port) if port != 0 => port,
        Ok(_) | Err(_) => {
            let what = format!("`{port}` is not a port");
            return Err(context.error(key, what, "write a port from 1 to 65535"));
        }
    };
    let host = host.to_ascii_lowercase();
    let loopback_only = match plaintext {
        Plaintext::AnyAddress => false,
        Plaintext::LoopbackOnly if host.strip_suffix('.').unwrap_or(&host) == "localhost" => true,
        Plaintext::LoopbackOnly => {
            return Err(beyond_loopback(context, key, &format!("{host}:{port}")));
        }
    };
    Ok(NamedEndpoint { host, port: Some(port), loopback_only })
}

/// Refuses what would be sent in plain text beyond this machine.
pub(super) fn beyond_loopback(context: &mut Context<'_>, key: &str, text: &str) -> Reported {
    context.error(
        key,
        format!("`{text}` is beyond loopback, and what is spoken to an upstream has no TLS"),
        "put the sidecar beside the service, or accept it with `plaintext: any_address` in this upstream",
    )
}
