//! `captured:` of a listener, and what means something only there: `destinations`, `original_destination` and detection.

use std::net::SocketAddr;

use super::context::{Context, Reported};
use super::permissive;
use super::traffic::{leads_back, protocol};
use crate::config::DestinationRange;
use crate::config::file::{CapturedFile, ConfigFile, ListenerFile, OutlierFile, UpstreamFile};
use crate::config::places::{entry, member};
use crate::config::settings::{Captured, Config, ListenerProtocol};

/// The endpoint that stands for where each connection was going.
pub(super) const ORIGINAL_DESTINATION: &str = "original_destination";

pub(super) fn meant(file: CapturedFile) -> Captured {
    match file {
        CapturedFile::Redirect => Captured::Redirect,
        CapturedFile::Transparent => Captured::Transparent,
    }
}

/// How connections come to a listener that were going elsewhere, if they do.
pub(super) fn way(file: &ListenerFile) -> Option<CapturedFile> {
    let inbound = file.inbound.as_ref().and_then(|inbound| inbound.captured);
    inbound.or_else(|| file.outbound.as_ref().and_then(|outbound| outbound.captured))
}

/// Warns of a listener that others cannot reach: a rule for what comes in by an interface redirects to that one's address.
pub(super) fn reaches(
    context: &mut Context<'_>,
    key: &str,
    (way, address): (Option<CapturedFile>, &Result<SocketAddr, Reported>),
) {
    if let (Some(CapturedFile::Redirect), Ok(address)) = (way, address)
        && address.ip().is_loopback()
    {
        let what = format!("what comes from other machines is never redirected to `{address}`");
        let everywhere = if address.is_ipv6() { "[::]" } else { "0.0.0.0" };
        context.warn(key, what, format!("write `{everywhere}:{}`", address.port()));
    }
}

/// Refuses detection where nothing would be detected.
pub(super) fn listener(context: &mut Context<'_>, key: &str, file: &ListenerFile) {
    let is_captured_outbound = file.outbound.is_some() && way(file).is_some();
    let is_detecting = protocol(file) == ListenerProtocol::Detect;
    if is_detecting && !is_captured_outbound {
        context.error(
            &member(key, "protocol"),
            "only what the local workload sends elsewhere may be one thing or another",
            "write `captured: redirect` or `captured: transparent` in `outbound`, or `protocol: http` or `tcp`",
        );
    }
    let has_names = file.routes.iter().any(|route| !route.matches.authorities.is_empty());
    let reads_names = protocol(file) == ListenerProtocol::Tcp && is_captured_outbound && has_names;
    let looks = is_detecting || reads_names || permissive::waits(file);
    if file.limits.detect_timeout.is_some() && !looks {
        context.error(
            &member(&member(key, "limits"), "detect_timeout"),
            "no first bytes are waited for here",
            "leave it out; it is for `protocol: detect`, for captured outbound `tcp` listeners whose routes have `authorities`, and for `permissive` with `silence: plaintext`",
        );
    }
}

pub(super) fn destinations(
    context: &mut Context<'_>,
    key: &str,
    (texts, is_captured): (&[String], bool),
) -> Result<Vec<DestinationRange>, Reported> {
    context.few(key, texts.len(), "destination")?;
    if !texts.is_empty() && !is_captured {
        return Err(context.error(
            key,
            "connections to this listener were going to no other place",
            "write `captured: redirect` or `captured: transparent` beside its `address`, or leave this out",
        ));
    }
    context.distinct(key, texts, String::clone);
    context.each(key, texts, |context, key, text| {
        text.parse::<DestinationRange>().map_err(|error| {
            let what = format!("`{text}` is no range of destinations: {error}");
            context.error(
                key,
                what,
                "write it like `192.0.2.7:5432`, `10.0.0.0/8:*`, `[fd00::]/8:6379` or `*:443`",
            )
        })
    })
}

/// Only what was going somewhere can be sent there.
pub(super) fn fits(
    context: &mut Context<'_>,
    key: &str,
    (upstream, is_captured): (&str, bool),
    config: &ConfigFile,
) -> Result<(), Reported> {
    if is_captured || !config.upstreams.get(upstream).is_some_and(is_original) {
        return Ok(());
    }
    let what = format!(
        "the upstream `{upstream}` is where a connection was going, and here none was going elsewhere"
    );
    let mend = "write `captured: redirect` or `captured: transparent` beside the listener's `address`, or name endpoints";
    Err(context.error(key, what, mend))
}

/// A service is asked wherever a connection was going.
pub(super) fn no_service(
    context: &mut Context<'_>,
    key: &str,
    upstream: &str,
    config: &ConfigFile,
) -> Result<(), Reported> {
    if !config.upstreams.get(upstream).is_some_and(is_original) {
        return Ok(());
    }
    let what =
        format!("the upstream `{upstream}` is where a connection was going, and a service is elsewhere");
    Err(context.error(key, what, "name an upstream with endpoints of its own"))
}

/// Whether an upstream is where each connection was going.
pub(super) fn is_original(file: &UpstreamFile) -> bool {
    file.endpoints.iter().any(|endpoint| endpoint == ORIGINAL_DESTINATION)
}

/// What an upstream cannot have that is where each connection was going.
pub(super) fn upstream(context: &mut Context<'_>, key: &str, file: &UpstreamFile) {
    if !is_original(file) {
        return;
    }
    if file.endpoints.len() > 1 {
        let what = format!("`{ORIGINAL_DESTINATION}` stands beside other endpoints");
        context.error(&member(key, "endpoints"), what, "make two upstreams of it, and let routes choose");
    }
    let OutlierFile {
        consecutive_failures,
        interval,
        requests_min,
        ejection,
        ejection_max,
        ejected_percent_max,
    } = &file.outlier;
    let has_outlier = consecutive_failures.is_some()
        || interval.is_some()
        || requests_min.is_some()
        || ejection.is_some()
        || ejection_max.is_some()
        || ejected_percent_max.is_some();
    let written =
        [("balance", file.balance.is_some()), ("outlier", has_outlier), ("health", file.health.is_some())];
    for (name, _) in written.iter().filter(|(_, is_written)| *is_written) {
        let what = format!(
            "`{name}` is about endpoints that are known, and where connections go shows when they come"
        );
        context.error(&member(key, name), what, "leave it out");
    }
}

/// Warns of destinations that nothing is sent on to, because they are our own sockets.
pub(super) fn check_together(context: &mut Context<'_>, config: &Config, bound: &[(String, SocketAddr)]) {
    for listener in &config.listeners {
        let key = member(&member("listeners", &listener.name), "routes");
        for (index, route) in listener.routes.iter().enumerate() {
            let key = member(&member(&entry(&key, index), "match"), "destinations");
            for (index, range) in route.matches.destinations.iter().enumerate() {
                let Some(only) = range.only() else { continue };
                if let Some((other, _)) = bound.iter().find(|(_, address)| leads_back(*address, only)) {
                    let what = format!(
                        "this can never match: `{only}` is `{other}`, and what was going there is refused"
                    );
                    context.warn(&entry(&key, index), what, "leave it out");
                }
            }
        }
    }
}
