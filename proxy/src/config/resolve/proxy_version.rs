//! `proxy_protocol:` of an upstream, and which callers it says nothing of.
use super::context::Context;
use crate::config::file::ProxyVersionFile;
use crate::config::places::member;
use crate::config::settings::{Bind, Config, ListenerConfig, ProxyVersion};

pub(super) fn proxy_version(written: Option<ProxyVersionFile>) -> Option<ProxyVersion> {
    written.map(|written| match written {
        ProxyVersionFile::V1 => ProxyVersion::V1,
        ProxyVersionFile::V2 => ProxyVersion::V2,
    })
}

/// Warns where callers have no address that could be told.
pub(super) fn check_together(context: &mut Context<'_>, config: &Config) {
    for upstream in config.upstreams.iter().filter(|upstream| upstream.proxy_protocol.is_some()) {
        let has_none = |listener: &&ListenerConfig| {
            matches!(listener.bind, Bind::Local(_))
                && listener
                    .routes
                    .iter()
                    .any(|route| route.leads.upstreams().any(|name| name == upstream.name))
        };
        if let Some(listener) = config.listeners.iter().find(has_none) {
            let key = member(&member("upstreams", &upstream.name), "proxy_protocol");
            let what = format!(
                "callers of `{}` come by a Unix socket: they have no address, and none is told",
                listener.name
            );
            let mend = "leave it out, or lead that listener's routes to an upstream without it";
            context.warn(&key, what, mend);
        }
    }
}
