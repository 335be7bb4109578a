//! `identity.source.workload_api:`.

use postern_identity::SpiffeId;

use super::context::{Context, Reported};
use crate::config::file::WorkloadApiFile;
use crate::config::places::member;
use crate::config::settings::{EndpointOrigin, IdentitySource, Plaintext, SvidSelection};
use crate::config::workload_endpoint::WorkloadEndpoint;

/// Longest hint, in bytes.
const HINT_BYTES_MAX: usize = 1024;

const KEY: &str = "identity.source.workload_api";
const VARIABLE: &str = "SPIFFE_ENDPOINT_SOCKET";

pub(super) fn source(context: &mut Context<'_>, file: &WorkloadApiFile) -> Result<IdentitySource, Reported> {
    let endpoint = match &file.socket {
        Some(text) => written(context, text).map(|endpoint| (endpoint, EndpointOrigin::Configuration)),
        None => from_environment(context).map(|endpoint| (endpoint, EndpointOrigin::Environment)),
    };
    let plaintext = context.plaintext(file.plaintext);
    let endpoint = endpoint.and_then(|endpoint| check_plain(context, endpoint, plaintext));
    let selection = selection(context, file);
    let (endpoint, origin) = endpoint?;
    Ok(IdentitySource::WorkloadApi { endpoint, origin, selection: selection? })
}

/// As SPIFFE_Workload_Endpoint §4 writes it, or the bare path of a socket, as every other socket here.
fn written(context: &mut Context<'_>, text: &str) -> Result<WorkloadEndpoint, Reported> {
    let key = member(KEY, "socket");
    if text.starts_with('/') {
        return context.socket(&key, text).map(WorkloadEndpoint::Unix);
    }
    text.parse().map_err(|error: crate::config::EndpointError| {
        context.error(
            &key,
            error.to_string(),
            "name the socket of SPIRE's agent, as `unix:///run/…/api.sock`",
        )
    })
}

fn from_environment(context: &mut Context<'_>) -> Result<WorkloadEndpoint, Reported> {
    let mend = format!("write `socket: unix:///path` here, or set `{VARIABLE}` to such an address");
    let Some(value) = &context.environment().spiffe_endpoint_socket else {
        let what =
            format!("nothing says where the Workload API is: there is no `socket`, and no `{VARIABLE}`");
        return Err(context.error(KEY, what, mend));
    };
    let parsed = match value.to_str() {
        Some(text) => text.parse().map_err(|error: crate::config::EndpointError| error.to_string()),
        None => Err("it is not UTF-8".to_owned()),
    };
    parsed.map_err(|error| {
        context.error(KEY, format!("`{VARIABLE}`, which is asked without `socket`: {error}"), mend)
    })
}

/// Whoever reads along has our private key.
fn check_plain(
    context: &mut Context<'_>,
    (endpoint, origin): (WorkloadEndpoint, EndpointOrigin),
    plaintext: Plaintext,
) -> Result<(WorkloadEndpoint, EndpointOrigin), Reported> {
    if endpoint.is_local() {
        return Ok((endpoint, origin));
    }
    let what = format!("private keys would come from `{endpoint}` over the network without TLS");
    match plaintext {
        Plaintext::LoopbackOnly => {
            let mend = format!("use a Unix socket, or accept it with `plaintext: any_address` in `{KEY}`");
            Err(context.error(KEY, what, mend))
        }
        Plaintext::AnyAddress => {
            context.warn(KEY, what, "use a Unix socket: whoever sees the network has this sidecar's key");
            Ok((endpoint, origin))
        }
    }
}

fn selection(context: &mut Context<'_>, file: &WorkloadApiFile) -> Result<SvidSelection, Reported> {
    match (&file.spiffe_id, &file.hint) {
        (None, None) => Ok(SvidSelection::First),
        (Some(text), None) => text.parse::<SpiffeId>().map(SvidSelection::SpiffeId).map_err(|error| {
            let what = format!("`{text}` is not a SPIFFE ID: {error}");
            context.error(&member(KEY, "spiffe_id"), what, "write it like `spiffe://example.org/orders`")
        }),
        (None, Some(hint)) if hint.is_empty() || hint.len() > HINT_BYTES_MAX => {
            let mend =
                format!("write the hint of the SVID's entry, 1 to {HINT_BYTES_MAX} bytes, or leave it out");
            Err(context.error(&member(KEY, "hint"), "this cannot be a hint", mend))
        }
        (None, Some(hint)) => Ok(SvidSelection::Hint(hint.clone())),
        (Some(_), Some(_)) => {
            let what = "an SVID is chosen by `spiffe_id` or by `hint`, not by both";
            Err(context.error(&member(KEY, "hint"), what, "leave one of the two out"))
        }
    }
}
