//! Keys that would change nothing where they are written. Each is refused: whoever wrote one believes that it does.

use super::captured;
use super::context::{Context, Reported};
use super::traffic::protocol;
use crate::config::file::{
    BalanceFile, ConfigFile, HashKeyFile, ListenerFile, OnInvalidFile, RetryFile, RetryOnFile, RouteFile,
    TlsFile, UpgradeFile, UpstreamFile, UpstreamProtocolFile,
};
use crate::config::places::member;
use crate::config::settings::{DpopNonce, ListenerProtocol, RouteConfig, TokenRule};

/// Of a listener, whose routes are known.
pub(super) fn listener(
    context: &mut Context<'_>,
    key: &str,
    file: &ListenerFile,
    (routes, nonce): (&Result<Vec<RouteConfig>, Reported>, &Result<DpopNonce, Reported>),
) {
    if file.outbound.is_some() && file.limits.handshake_timeout.is_some() {
        let what = "the local workload calls an `outbound` listener without TLS, so there are no handshakes";
        context.error(&member(&member(key, "limits"), "handshake_timeout"), what, "leave it out");
    }
    if let Some(inbound) = &file.inbound {
        let TlsFile::Mutual(mutual) = &inbound.tls;
        let drains_on_expiry = !matches!(mutual.on_peer_expiry, Some(OnInvalidFile::Close));
        let drains_on_change = matches!(mutual.on_trust_change, Some(OnInvalidFile::Drain));
        if mutual.grace.is_some() && !drains_on_expiry && !drains_on_change {
            let what = "nothing is drained here that could take so long: all of it is closed at once";
            let mend = "leave it out, or write `on_peer_expiry: drain` or `on_trust_change: drain`";
            context.error(&format!("{key}.inbound.tls.mutual.grace"), what, mend);
        }
    }
    let (Ok(routes), Ok(DpopNonce::Required)) = (routes, nonce) else { return };
    if protocol(file) != ListenerProtocol::Tcp && routes.iter().all(|r| r.tokens == TokenRule::Ignored) {
        let what = "no route here looks at tokens, and so none at proofs";
        context.error(
            &member(key, "dpop_nonce"),
            what,
            "write `tokens: optional` in a route, or leave it out",
        );
    }
}

/// Of a route.
pub(super) fn route(
    context: &mut Context<'_>,
    key: &str,
    file: &RouteFile,
    (is_tcp, listener): (bool, &ListenerFile),
) {
    let by_connect = file.upgrades.contains(&UpgradeFile::Connect);
    let sees_names = listener.inbound.is_some() || captured::way(listener).is_some();
    if is_tcp && !sees_names && !file.matches.authorities.is_empty() {
        let what = "the first bytes of a stream are not looked into here, so that no server name is known";
        let mend =
            "leave it out, or make a listener for each name; with `captured` the server name of TLS is read";
        context.error(&member(&member(key, "match"), "authorities"), what, mend);
    }
    let Some(retry) = &file.retry else { return };
    let key = member(key, "retry");
    match by_connect {
        true => connect_retry(context, &key, retry),
        false if is_tcp => {}
        false => request_retry(context, &key, retry),
    }
}

/// A byte stream's connection is tried at the next endpoint at once, and nothing is sent that could be kept.
fn connect_retry(context: &mut Context<'_>, key: &str, file: &RetryFile) {
    let written = [
        ("methods", file.methods.is_some()),
        ("per_try_timeout", file.per_try_timeout.is_some()),
        ("backoff", file.backoff.is_some()),
        ("backoff_max", file.backoff_max.is_some()),
        ("body_bytes_max", file.body_bytes_max.is_some()),
    ];
    for (name, _) in written.iter().filter(|(_, is_written)| *is_written) {
        let what =
            format!("`{name}` has no meaning for CONNECT: only the connection is tried again, at once");
        context.error(&member(key, name), what, "leave it out");
    }
}

/// What was never sent may be sent whatever it is, and is there without having been kept.
fn request_retry(context: &mut Context<'_>, key: &str, file: &RetryFile) {
    if !file.statuses.is_empty() || file.on.is_empty() {
        return;
    }
    let is_unsent = |on: &RetryOnFile| matches!(on, RetryOnFile::ConnectFailure);
    let is_unseen = |on: &RetryOnFile| is_unsent(on) || matches!(on, RetryOnFile::RefusedStream);
    if file.methods.is_some() && file.on.iter().all(is_unseen) {
        let what = "a request that the upstream has not looked at is sent again whatever its method";
        context.error(&member(key, "methods"), what, "leave it out, or name further occasions in `on`");
    }
    if file.body_bytes_max.is_some() && file.on.iter().all(is_unsent) {
        let what = "a request of which nothing was sent is whole, and no body has to be kept for it";
        context.error(
            &member(key, "body_bytes_max"),
            what,
            "leave it out, or name further occasions in `on`",
        );
    }
}

/// Of upstreams.
pub(super) fn upstreams(context: &mut Context<'_>, config: &ConfigFile) {
    for (name, file) in &config.upstreams {
        upstream(context, &member("upstreams", name), (name, file), config);
    }
}

fn upstream(context: &mut Context<'_>, key: &str, (name, file): (&str, &UpstreamFile), config: &ConfigFile) {
    if file.plaintext.is_some() && file.tls.is_some() {
        let what = "`plaintext` is about upstreams that are spoken to without TLS, and this one has `tls`";
        context.error(&member(key, "plaintext"), what, "leave it out");
    }
    if !matches!(file.protocol, Some(UpstreamProtocolFile::Tcp)) {
        return;
    }
    if file.idle_timeout.is_some() {
        let what = "each raw stream has a connection of its own, which is not kept for another one";
        let mend = "leave it out; `stream_idle_timeout` of a route is for silent streams";
        context.error(&member(key, "idle_timeout"), what, mend);
    }
    let by_header = match &file.balance {
        Some(BalanceFile::RingHash(HashKeyFile::Header(_))) => Some("header"),
        Some(BalanceFile::RingHash(HashKeyFile::Cookie(_))) => Some("cookie"),
        Some(
            BalanceFile::RingHash(HashKeyFile::SpiffeId)
            | BalanceFile::P2cEwma
            | BalanceFile::LeastRequest
            | BalanceFile::RoundRobin
            | BalanceFile::Random,
        )
        | None => None,
    };
    let mut routes = config.listeners.values().flat_map(|listener| &listener.routes);
    // A CONNECT has headers, whatever it begins.
    let has_headers =
        routes.any(|r| r.upstreams().any(|to| to == name) && r.upgrades.contains(&UpgradeFile::Connect));
    if let Some(by) = by_header.filter(|_| !has_headers) {
        let what = format!("a raw stream has no {by} that could choose its endpoint");
        let mend = "write `ring_hash: spiffe_id`, or another `balance`";
        context.error(&format!("{key}.balance.ring_hash.{by}"), what, mend);
    }
}
