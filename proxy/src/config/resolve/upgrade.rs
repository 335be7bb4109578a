//! What the requests of a route may switch their connection to.

use super::context::{Context, Reported};
use crate::config::file::{ConfigFile, RetryOnFile, RouteFile, UpgradeFile, UpstreamProtocolFile};
use crate::config::places::{entry, member};
use crate::config::settings::Upgrade;

pub(super) fn upgrade(
    context: &mut Context<'_>,
    route_key: &str,
    file: &RouteFile,
    config: &ConfigFile,
) -> Result<Upgrade, Reported> {
    let key = member(route_key, "upgrades");
    let is_other = |name: &&str| {
        let protocol = config.upstreams.get(*name).and_then(|upstream| upstream.protocol);
        match protocol {
            None
            | Some(UpstreamProtocolFile::Http1 | UpstreamProtocolFile::H2 | UpstreamProtocolFile::H2c) => {
                false
            }
            Some(UpstreamProtocolFile::Tcp) => true,
        }
    };
    match file.upgrades.as_slice() {
        [] => Ok(Upgrade::None),
        [UpgradeFile::Websocket] => match file.upstreams().find(is_other) {
            None => Ok(Upgrade::WebSocket),
            Some(name) => {
                let what = format!(
                    "the upstream `{name}` is not spoken to in HTTP, in which alone a WebSocket is asked for"
                );
                let mend = "write `protocol: http1` or `h2` in the upstream, or leave `upgrades` out";
                Err(context.error(&key, what, mend))
            }
        },
        [UpgradeFile::Connect] => {
            connect(context, route_key, file);
            Ok(Upgrade::Connect)
        }
        // Nothing but a name twice.
        [first, rest @ ..] if rest.iter().all(|other| other == first) => {
            Err(context.error(&entry(&key, 1), "it stands here twice", "leave one of the two out"))
        }
        [_, _, ..] => {
            let what = "a route takes CONNECT or other requests, not both";
            Err(context.error(&key, what, "write a route for each"))
        }
    }
}

/// What has no meaning where there is a byte stream and no message.
fn connect(context: &mut Context<'_>, key: &str, file: &RouteFile) {
    let matches = &file.matches;
    let written = [
        ("match.path", matches.path.is_some()),
        ("match.path_prefix", matches.path_prefix.as_deref().is_some_and(|prefix| prefix != "/")),
        ("match.methods", !matches.methods.is_empty()),
        ("rewrite", file.rewrite.is_some()),
        ("identity_headers", file.identity_headers.is_some()),
        ("forwarded_headers", file.forwarded_headers.is_some()),
    ];
    let at = |name: &str| name.split('.').fold(key.to_owned(), |key, name| member(&key, name));
    for (name, _) in written.iter().filter(|(_, is_written)| *is_written) {
        let what = format!(
            "`{name}` has no meaning on a route that takes CONNECT: there is no path, and nothing is sent but bytes"
        );
        context.error(&at(name), what, "leave it out");
    }
    let retry = file.retry.as_ref();
    if retry.is_some_and(|retry| {
        retry.on.iter().any(|on| !matches!(on, RetryOnFile::ConnectFailure)) || !retry.statuses.is_empty()
    }) {
        let what = "of a byte stream only the connection can be tried again";
        context.error(&at("retry.on"), what, "write `on: [connect_failure]`");
    }
}
