//! `mirror:` of a route.

use super::captured;
use super::context::{Context, Reported};
use super::routes::upstream;
use crate::config::file::{ConfigFile, RouteFile, UpgradeFile, UpstreamProtocolFile};
use crate::config::places::{entry, member};
use crate::config::rules;
use crate::config::settings::{Config, MirrorConfig, RouteConfig};

pub(super) fn mirror(
    context: &mut Context<'_>,
    key: &str,
    route: &RouteFile,
    config: &ConfigFile,
) -> Result<Option<MirrorConfig>, Reported> {
    let Some(file) = &route.mirror else { return Ok(None) };
    let switches = match route.upgrades.first() {
        None => None,
        Some(UpgradeFile::Websocket) => Some("websocket"),
        Some(UpgradeFile::Connect) => Some("connect"),
    };
    if let Some(upgrade) = switches {
        let what = format!("a route with `upgrades: [{upgrade}]` carries streams, of which there is no copy");
        return Err(context.error(key, what, "write a route of its own for the requests that are copied"));
    }
    let upstream = target(context, &member(key, "upstream"), (&file.upstream, route), config);
    let percent = context.count(&member(key, "percent"), file.percent, &rules::MIRROR_PERCENT);
    let body_bytes_max = context.memory(
        &member(key, "body_bytes_max"),
        file.body_bytes_max.as_ref(),
        &rules::MIRROR_BODY_BYTES_MAX,
    );
    let timeout = context.duration(&member(key, "timeout"), file.timeout.as_ref(), &rules::MIRROR_TIMEOUT);
    let requests_max =
        context.count(&member(key, "requests_max"), file.requests_max, &rules::MIRROR_REQUESTS_MAX);
    let percent = u64::try_from(percent).unwrap_or(100);
    Ok(Some(MirrorConfig { upstream: upstream?, percent, body_bytes_max, timeout, requests_max }))
}

fn target(
    context: &mut Context<'_>,
    key: &str,
    (name, route): (&str, &RouteFile),
    config: &ConfigFile,
) -> Result<String, Reported> {
    let found = upstream(context, key, name, config)?;
    if route.upstreams().any(|name| name == found) {
        let what = format!("`{name}` is where the route leads: it would get each request twice");
        return Err(context.error(key, what, "name another upstream"));
    }
    captured::no_service(context, key, name, config)?;
    match config.upstreams.get(name).and_then(|upstream| upstream.protocol) {
        Some(UpstreamProtocolFile::Tcp) => {
            let what = format!("the upstream `{name}` takes raw streams, and a copy is a request");
            Err(context.error(key, what, "name an upstream that is `http1`, `h2` or `h2c`"))
        }
        None | Some(UpstreamProtocolFile::Http1 | UpstreamProtocolFile::H2 | UpstreamProtocolFile::H2c) => {
            Ok(found)
        }
    }
}

/// Warns of upstreams that get copies and requests of their own.
pub(super) fn check_together(context: &mut Context<'_>, config: &Config) {
    let routes = || config.listeners.iter().flat_map(|listener| &listener.routes);
    for listener in &config.listeners {
        let routes_key = member(&member("listeners", &listener.name), "routes");
        for (index, route) in listener.routes.iter().enumerate() {
            let Some(mirror) = &route.mirror else { continue };
            let leads_there =
                |route: &&RouteConfig| route.leads.upstreams().any(|name| name == mirror.upstream);
            let Some(other) = routes().find(leads_there) else { continue };
            let what = format!(
                "the route `{}` leads to `{}` too: copies take places from its requests, and count for its endpoints' health",
                other.name, mirror.upstream
            );
            let key = member(&member(&entry(&routes_key, index), "mirror"), "upstream");
            context.warn(
                &key,
                what,
                "give copies an upstream of their own, with the same endpoints if need be",
            );
        }
    }
}
