//! `balance:`, `outlier:` and `health:` of an upstream.

use super::context::{Context, Reported};
use crate::config::file::{BalanceFile, HashKeyFile, HealthFile, HealthProbeFile, OutlierFile, UpstreamFile};
use crate::config::places::member;
use crate::config::rules;
use crate::config::settings::{
    BalanceConfig, HashKey, HealthConfig, HealthProbe, OutlierConfig, UpstreamProtocol,
};

pub(super) fn balance(
    context: &mut Context<'_>,
    key: &str,
    file: Option<&BalanceFile>,
) -> Result<BalanceConfig, Reported> {
    Ok(match file {
        None | Some(BalanceFile::P2cEwma) => BalanceConfig::P2cEwma,
        Some(BalanceFile::LeastRequest) => BalanceConfig::LeastRequest,
        Some(BalanceFile::RoundRobin) => BalanceConfig::RoundRobin,
        Some(BalanceFile::Random) => BalanceConfig::Random,
        Some(BalanceFile::RingHash(by)) => {
            BalanceConfig::RingHash(hash_key(context, &member(key, "ring_hash"), by)?)
        }
    })
}

/// What a caller is known by again.
pub(super) fn hash_key(
    context: &mut Context<'_>,
    key: &str,
    file: &HashKeyFile,
) -> Result<HashKey, Reported> {
    match file {
        HashKeyFile::SpiffeId => Ok(HashKey::SpiffeId),
        HashKeyFile::Header(name) => match name.parse() {
            Ok(name) => Ok(HashKey::Header(name)),
            Err(_) => Err(context.error(
                &member(key, "header"),
                format!("`{name}` is not the name of a header"),
                "write it like `x-tenant`",
            )),
        },
        // RFC 6265 §4.1.1: a cookie's name is a token, as a header's is, but for its case.
        HashKeyFile::Cookie(name) if name.parse::<http::HeaderName>().is_ok() => {
            Ok(HashKey::Cookie(name.clone()))
        }
        HashKeyFile::Cookie(name) => Err(context.error(
            &member(key, "cookie"),
            format!("`{name}` is not the name of a cookie"),
            "write it like `session`",
        )),
    }
}

pub(super) fn outlier(context: &mut Context<'_>, key: &str, file: &OutlierFile) -> OutlierConfig {
    let count =
        |context: &mut Context<'_>, name, written, rule| context.count(&member(key, name), written, rule);
    let failures = &rules::CONSECUTIVE_FAILURES;
    let consecutive_failures = count(context, "consecutive_failures", file.consecutive_failures, failures);
    let requests_min = count(context, "requests_min", file.requests_min, &rules::OUTLIER_REQUESTS_MIN);
    let percent = &rules::EJECTED_PERCENT_MAX;
    let ejected_percent_max = count(context, "ejected_percent_max", file.ejected_percent_max, percent);
    let mut duration = |name, written, rule| context.duration(&member(key, name), written, rule);
    let ejection = duration("ejection", file.ejection.as_ref(), &rules::EJECTION);
    OutlierConfig {
        consecutive_failures: small(consecutive_failures),
        interval: duration("interval", file.interval.as_ref(), &rules::OUTLIER_INTERVAL),
        requests_min: small(requests_min),
        ejection,
        ejection_max: duration("ejection_max", file.ejection_max.as_ref(), &rules::EJECTION_MAX)
            .max(ejection),
        ejected_percent_max,
    }
}

pub(super) fn health(
    context: &mut Context<'_>,
    key: &str,
    file: &UpstreamFile,
    protocol: UpstreamProtocol,
) -> Result<Option<HealthConfig>, Reported> {
    let Some(file) = &file.health else { return Ok(None) };
    let key = member(key, "health");
    let probe = probe(context, &member(&key, "probe"), file, protocol);
    let interval =
        context.duration(&member(&key, "interval"), file.interval.as_ref(), &rules::HEALTH_INTERVAL);
    let timeout = context.duration(&member(&key, "timeout"), file.timeout.as_ref(), &rules::HEALTH_TIMEOUT);
    let mut count = |name, written, rule| small(context.count(&member(&key, name), written, rule));
    Ok(Some(HealthConfig {
        probe: probe?,
        interval,
        timeout,
        healthy_after: count("healthy_after", file.healthy_after, &rules::HEALTHY_AFTER),
        unhealthy_after: count("unhealthy_after", file.unhealthy_after, &rules::UNHEALTHY_AFTER),
    }))
}

fn probe(
    context: &mut Context<'_>,
    key: &str,
    file: &HealthFile,
    protocol: UpstreamProtocol,
) -> Result<HealthProbe, Reported> {
    match (&file.probe, protocol) {
        (HealthProbeFile::Connect, _) => Ok(HealthProbe::Connect),
        (HealthProbeFile::Http(http), _) => {
            let key = member(key, "http");
            let path = match http.path.parse::<http::uri::PathAndQuery>() {
                Ok(path) if http.path.starts_with('/') => Ok(path),
                Ok(_) | Err(_) => Err(context.error(
                    &member(&key, "path"),
                    format!("`{}` is not a path", http.path),
                    "write it like `/healthz`",
                )),
            };
            let host = match &http.host {
                Some(host) if host.parse::<http::uri::Authority>().is_err() => Err(context.error(
                    &member(&key, "host"),
                    format!("`{host}` is not a host"),
                    "write it like `orders.example.org`",
                )),
                host => Ok(host.clone()),
            };
            Ok(HealthProbe::Http { path: path?, host: host? })
        }
        (HealthProbeFile::Grpc(grpc), UpstreamProtocol::H2 | UpstreamProtocol::H2c) => {
            Ok(HealthProbe::Grpc { service: grpc.service.clone() })
        }
        (HealthProbeFile::Grpc(_), UpstreamProtocol::Http1 | UpstreamProtocol::Tcp) => Err(context.error(
            &member(key, "grpc"),
            "gRPC needs HTTP/2, and this upstream is spoken to in something else",
            "write `protocol: h2c` for this upstream, or another probe",
        )),
    }
}

/// Its rule says that it fits.
fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
