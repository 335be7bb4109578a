//! Endpoints that are Unix sockets, `unix:///run/app/app.sock`, and who may answer there.
use super::context::{Context, Reported};
use super::outbound;
use crate::config::file::{UpstreamFile, UpstreamTlsFile};
use crate::config::places::{entry, member};
use crate::config::settings::{AdminConfig, Bind, Config, EndpointConfig};
use postern_audit::{SocketPath, SocketPathError};
use std::path::{Path, PathBuf};

const SCHEME: &str = "unix:";

/// Whether an endpoint is meant to be a Unix socket. A host may be called `unix` and have a port.
pub(super) fn is_local(text: &str) -> bool {
    text.strip_prefix(SCHEME).is_some_and(|rest| rest.parse::<u16>().is_err())
}

/// The path of the socket.
pub(super) fn path(context: &mut Context<'_>, key: &str, text: &str) -> Result<SocketPath, Reported> {
    let rest = text.strip_prefix(SCHEME).unwrap_or(text);
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path.starts_with('@') {
        let what = format!("`{text}` is an abstract name, which belongs to whoever takes it first");
        let mend = "have the service listen on a path in a folder of its own: `unix:///run/…/name.sock`";
        return Err(context.error(key, what, mend));
    }
    SocketPath::new(path).map_err(|error| {
        let mend = match error {
            SocketPathError::Relative => "write it like `unix:///run/app/app.sock`",
            SocketPathError::TooLong => "move the socket up",
            SocketPathError::NotPlain => "give the socket a plain name",
        };
        context.error(key, format!("`{path}` cannot be connected to: {error}"), mend)
    })
}

/// What an upstream needs or cannot have by reason of Unix sockets, and the users who may answer.
pub(super) fn upstream(
    context: &mut Context<'_>,
    key: &str,
    file: &UpstreamFile,
) -> Result<Option<Vec<u32>>, Reported> {
    let has_name = match &file.tls {
        Some(UpstreamTlsFile::Mutual(mutual)) => mutual.server_name.is_some(),
        None => true,
    };
    if !has_name && file.endpoints.iter().any(|text| is_local(text)) {
        let what = "a Unix socket has no name to ask for in TLS";
        let mend = "write `server_name`, which plays no part in who may answer, or leave `tls` out";
        return Err(context.error(&member(&member(key, "tls"), "mutual"), what, mend));
    }
    let uids_key = member(key, "uids");
    if file.uids.is_some()
        && let Some(other) = file.endpoints.iter().find(|text| !is_local(text))
    {
        let what = format!("no kernel tells who answers at `{other}`");
        let mend = "leave `uids` out, or make an upstream of its own of the Unix sockets";
        return Err(context.error(&uids_key, what, mend));
    }
    outbound::uids(context, &uids_key, file.uids.as_deref())
}

/// No upstream is a socket of ours.
pub(super) fn check_together(context: &mut Context<'_>, config: &Config) {
    let listeners = config.listeners.iter().filter_map(|listener| match &listener.bind {
        Bind::Local(door) => {
            Some((format!("{}.outbound.socket", member("listeners", &listener.name)), door.socket.clone()))
        }
        Bind::Address(_) => None,
    });
    let mut own: Vec<(String, PathBuf)> = listeners.collect();
    if let AdminConfig::Open { socket } = &config.admin {
        own.push(("admin.socket".to_owned(), socket.clone()));
    }
    for upstream in &config.upstreams {
        let key = member(&member("upstreams", &upstream.name), "endpoints");
        for (index, endpoint) in upstream.endpoints.iter().enumerate() {
            let EndpointConfig::Unix(path) = endpoint else { continue };
            if let Some((other, _)) = own.iter().find(|(_, socket)| *socket == Path::new(path.as_str())) {
                let what = format!("`{}` leads back to this sidecar: it is `{other}`", path.as_str());
                context.error(&entry(&key, index), what, "name the service's own socket");
            }
        }
    }
}
