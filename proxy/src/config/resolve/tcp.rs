//! What a listener for raw streams and its routes can mean: nothing that is about requests.

use super::context::{Context, Reported};
use crate::config::file::{
    ConfigFile, LimitsFile, ListenerFile, RetryFile, RetryOnFile, RouteFile, UpstreamProtocolFile,
};
use crate::config::places::member;

/// Refuses what would be written for nothing.
pub(super) fn listener(context: &mut Context<'_>, key: &str, file: &ListenerFile) {
    let LimitsFile {
        connections_max: _,
        handshake_timeout: _,
        detect_timeout: _,
        handshakes_per_source_max: _,
        refusals_per_second_max: _,
        drain_grace: _,
        header_timeout,
        header_bytes_max,
        header_line_bytes_max,
        header_count_max,
        body_bytes_max,
        policy_body_bytes_max,
        policy_bodies_bytes_max,
        policy_body_timeout,
        token_bytes_max,
        idle_timeout,
        connection_age_max,
        http2_streams_max,
        http2_control_frames_per_second_max,
    } = &file.limits;
    let limits = [
        ("header_timeout", header_timeout.is_some()),
        ("header_bytes_max", header_bytes_max.is_some()),
        ("header_line_bytes_max", header_line_bytes_max.is_some()),
        ("header_count_max", header_count_max.is_some()),
        ("body_bytes_max", body_bytes_max.is_some()),
        ("policy_body_bytes_max", policy_body_bytes_max.is_some()),
        ("policy_bodies_bytes_max", policy_bodies_bytes_max.is_some()),
        ("policy_body_timeout", policy_body_timeout.is_some()),
        ("token_bytes_max", token_bytes_max.is_some()),
        ("idle_timeout", idle_timeout.is_some()),
        ("connection_age_max", connection_age_max.is_some()),
        ("http2_streams_max", http2_streams_max.is_some()),
        ("http2_control_frames_per_second_max", http2_control_frames_per_second_max.is_some()),
    ];
    let limits_key = member(key, "limits");
    refuse(context, &limits_key, &limits);
    refuse(context, key, &[("dpop_nonce", file.dpop_nonce.is_some())]);
}

/// The same of a route.
pub(super) fn route(context: &mut Context<'_>, key: &str, file: &RouteFile) {
    let of_match = [
        ("path_prefix", file.matches.path_prefix.is_some()),
        ("path", file.matches.path.is_some()),
        ("headers", !file.matches.headers.is_empty()),
        ("methods", !file.matches.methods.is_empty()),
    ];
    refuse(context, &member(key, "match"), &of_match);
    let of_route = [
        ("explain", file.explain.is_some()),
        ("identity_headers", file.identity_headers.is_some()),
        ("forwarded_headers", file.forwarded_headers.is_some()),
        ("tokens", file.tokens.is_some()),
        ("rewrite", file.rewrite.is_some()),
        ("upgrades", !file.upgrades.is_empty()),
        ("rate_limits", !file.rate_limits.is_empty()),
        ("global_rate_limit", file.global_rate_limit.is_some()),
        ("mirror", file.mirror.is_some()),
        ("faults", file.faults.is_some()),
        ("redirect", file.redirect.is_some()),
        ("respond", file.respond.is_some()),
    ];
    refuse(context, key, &of_route);
    let Some(RetryFile {
        attempts_max: _,
        on,
        statuses,
        methods,
        per_try_timeout,
        backoff,
        backoff_max,
        body_bytes_max,
    }) = &file.retry
    else {
        return;
    };
    let key = member(key, "retry");
    let of_retry = [
        ("statuses", !statuses.is_empty()),
        ("methods", methods.is_some()),
        ("per_try_timeout", per_try_timeout.is_some()),
        ("backoff", backoff.is_some()),
        ("backoff_max", backoff_max.is_some()),
        ("body_bytes_max", body_bytes_max.is_some()),
    ];
    refuse(context, &key, &of_retry);
    if on.iter().any(|on| !matches!(on, RetryOnFile::ConnectFailure)) {
        let what = "of a raw stream only the connection can be tried again";
        context.error(&member(&key, "on"), what, "write `on: [connect_failure]`");
    }
}

fn refuse(context: &mut Context<'_>, key: &str, written: &[(&str, bool)]) {
    for (name, _) in written.iter().filter(|(_, is_written)| *is_written) {
        let what = format!("`{name}` is about requests, and a `tcp` listener sees none");
        context.error(&member(key, name), what, "leave it out");
    }
}

/// Whether an upstream takes raw streams.
pub(super) fn speaks(upstream: &str, config: &ConfigFile) -> bool {
    config
        .upstreams
        .get(upstream)
        .is_some_and(|file| matches!(file.protocol, Some(UpstreamProtocolFile::Tcp)))
}

/// An upstream speaks what the listeners do whose routes lead there.
pub(super) fn fits(
    context: &mut Context<'_>,
    key: &str,
    (upstream, is_tcp): (&str, bool),
    config: &ConfigFile,
) -> Result<(), Reported> {
    let Some(file) = config.upstreams.get(upstream) else { return Ok(()) };
    match (is_tcp, matches!(file.protocol, Some(UpstreamProtocolFile::Tcp))) {
        (true, true) | (false, false) => Ok(()),
        (true, false) => Err(context.error(
            key,
            format!("this is a `tcp` listener, and the upstream `{upstream}` is spoken to in HTTP"),
            "write `protocol: tcp` in the upstream",
        )),
        (false, true) => Err(context.error(
            key,
            format!("the upstream `{upstream}` takes raw streams, and this listener has requests"),
            "write `protocol: tcp` in the listener, or `http1` in the upstream",
        )),
    }
}
