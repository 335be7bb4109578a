//! `listeners:`, and what must hold between them and `upstreams:`.

use std::net::SocketAddr;
use std::time::Duration;

use super::context::{Context, Reported};
use super::identity::trust_domain;
use super::{
    captured, handshakes, local_endpoint, mirror, outbound, permissive, proxy_version, routes, tcp,
    without_effect,
};
use crate::config::file::{
    ConfigFile, DpopNonceFile, InboundFile, LimitsFile, ListenerFile, ListenerProtocolFile, MutualFile,
    OnInvalidFile, TlsFile,
};
use crate::config::ip_range::IpRange;
use crate::config::places::{entry, member};
use crate::config::rules;
use crate::config::settings::{
    Bind, Captured, Config, Direction, DpopNonce, EndpointConfig, ListenerConfig, ListenerLimits,
    ListenerProtocol, ListenerTls, OnInvalid, RouteConfig, StatusConfig, Validity, overlap,
};

pub(super) fn listeners(
    context: &mut Context<'_>,
    file: &ConfigFile,
) -> Result<Vec<ListenerConfig>, Reported> {
    let mut result = context.some("listeners", file.listeners.len(), "listener");
    let mut listeners = Vec::new();
    for (name, written) in &file.listeners {
        match listener(context, name, written, file) {
            Ok(listener) => listeners.push(listener),
            Err(reported) => result = Err(reported),
        }
    }
    result.map(|()| listeners)
}

fn listener(
    context: &mut Context<'_>,
    name: &str,
    written: &ListenerFile,
    file: &ConfigFile,
) -> Result<ListenerConfig, Reported> {
    let key = member("listeners", name);
    let name = context.name(&key, name);
    let door = door(context, &key, written);
    if protocol(written) == ListenerProtocol::Tcp {
        tcp::listener(context, &key, written);
    }
    captured::listener(context, &key, written);
    let limits_key = member(&key, "limits");
    let limits = limits(context, &limits_key, &written.limits);
    check_limits(context, &|name| member(&limits_key, name), &limits);
    handshakes::check(context, &limits_key, written, &limits);
    let permissive = permissive::permissive(context, &key, written);
    let dpop_nonce = dpop_nonce(context, &member(&key, "dpop_nonce"), written.dpop_nonce, file);
    let routes = routes::routes(context, &key, written, file);
    without_effect::listener(context, &key, written, (&routes, &dpop_nonce));
    let Door { direction, bind, captured, proxy_protocol, tls } = door?;
    Ok(ListenerConfig {
        name: name?,
        direction,
        bind,
        captured,
        protocol: protocol(written),
        proxy_protocol,
        tls,
        permissive: permissive?,
        limits,
        dpop_nonce: dpop_nonce?,
        routes: routes?,
    })
}

pub(super) fn protocol(file: &ListenerFile) -> ListenerProtocol {
    match file.protocol {
        None | Some(ListenerProtocolFile::Http) => ListenerProtocol::Http,
        Some(ListenerProtocolFile::Tcp) => ListenerProtocol::Tcp,
        Some(ListenerProtocolFile::Detect) => ListenerProtocol::Detect,
    }
}

/// Where callers come in, and how they prove who they are.
struct Door {
    direction: Direction,
    bind: Bind,
    captured: Option<Captured>,
    proxy_protocol: Vec<IpRange>,
    tls: ListenerTls,
}

fn door(context: &mut Context<'_>, key: &str, file: &ListenerFile) -> Result<Door, Reported> {
    match (&file.inbound, &file.outbound) {
        (Some(inbound), None) => {
            let key = member(key, "inbound");
            let address = context.address(&member(&key, "address"), &inbound.address);
            captured::reaches(context, &member(&key, "address"), (inbound.captured, &address));
            let tls = tls(context, &key, inbound);
            let proxy_protocol = proxy_protocol(context, &member(&key, "proxy_protocol"), inbound);
            Ok(Door {
                direction: Direction::Inbound,
                bind: Bind::Address(address?),
                captured: inbound.captured.map(captured::meant),
                proxy_protocol: proxy_protocol?,
                tls: tls?,
            })
        }
        (None, Some(outbound)) => Ok(Door {
            direction: Direction::Outbound,
            bind: outbound::bind(context, &member(key, "outbound"), outbound)?,
            captured: outbound.captured.map(captured::meant),
            proxy_protocol: Vec::new(),
            tls: ListenerTls::None,
        }),
        (None, None) => Err(context.error(
            key,
            "this listener is neither `inbound` nor `outbound`",
            "write `inbound: { address: …, tls: … }`, or `outbound: { address: 127.0.0.1:… }`",
        )),
        (Some(_), Some(_)) => Err(context.error(
            key,
            "this listener is both `inbound` and `outbound`",
            "make two of it: what may be asked of this workload is another question than what it may ask",
        )),
    }
}

fn proxy_protocol(
    context: &mut Context<'_>,
    key: &str,
    file: &InboundFile,
) -> Result<Vec<IpRange>, Reported> {
    let Some(file) = &file.proxy_protocol else { return Ok(Vec::new()) };
    let key = member(key, "from");
    context.some(&key, file.from.len(), "address")?;
    context.distinct(&key, &file.from, String::clone);
    context.each(&key, &file.from, |context, key, text| {
        text.parse::<IpRange>().map_err(|error| {
            let what = format!("`{text}` is not a range of addresses: {error}");
            context.error(key, what, "write it like `10.0.0.0/8` or `192.0.2.4`")
        })
    })
}

fn dpop_nonce(
    context: &mut Context<'_>,
    key: &str,
    written: Option<DpopNonceFile>,
    file: &ConfigFile,
) -> Result<DpopNonce, Reported> {
    match written {
        None | Some(DpopNonceFile::None) => Ok(DpopNonce::None),
        Some(DpopNonceFile::Required) if file.tokens.is_empty() => Err(context.error(
            key,
            "no issuer is configured whose tokens could come with a proof",
            "add one to `tokens` at the top, or leave this out",
        )),
        Some(DpopNonceFile::Required) => Ok(DpopNonce::Required),
    }
}

fn tls(context: &mut Context<'_>, key: &str, file: &InboundFile) -> Result<ListenerTls, Reported> {
    let TlsFile::Mutual(mutual) = &file.tls;
    let validity = validity(context, &format!("{key}.tls.mutual"), mutual);
    let key = format!("{key}.tls.mutual.trust_domains");
    context.some(&key, mutual.trust_domains.len(), "trust domain")?;
    context.distinct(&key, &mutual.trust_domains, String::clone);
    let trust_domains =
        context.each(&key, &mutual.trust_domains, |context, key, text| trust_domain(context, key, text));
    Ok(ListenerTls::Mutual { trust_domains: trust_domains?, validity })
}

fn validity(context: &mut Context<'_>, key: &str, file: &MutualFile) -> Validity {
    let on = |written: Option<OnInvalidFile>, otherwise| match written {
        Some(OnInvalidFile::Drain) => OnInvalid::Drain,
        Some(OnInvalidFile::Close) => OnInvalid::Close,
        None => otherwise,
    };
    let usual = Validity::default();
    Validity {
        on_peer_expiry: on(file.on_peer_expiry, usual.on_peer_expiry),
        on_trust_change: on(file.on_trust_change, usual.on_trust_change),
        grace: context.duration(&member(key, "grace"), file.grace.as_ref(), &rules::INVALID_GRACE),
    }
}

fn limits(context: &mut Context<'_>, key: &str, file: &LimitsFile) -> ListenerLimits {
    let key = |name: &str| member(key, name);
    let [streams, frames, refusals] = rates(context, &key, file);
    let bodies = bodies(context, &key, file);
    ListenerLimits {
        connections_max: context.count(
            &key("connections_max"),
            file.connections_max,
            &rules::CONNECTIONS_MAX,
        ),
        handshake_timeout: context.duration(
            &key("handshake_timeout"),
            file.handshake_timeout.as_ref(),
            &rules::HANDSHAKE_TIMEOUT,
        ),
        detect_timeout: context.duration(
            &key("detect_timeout"),
            file.detect_timeout.as_ref(),
            &rules::DETECT_TIMEOUT,
        ),
        handshakes_per_source_max: context.count(
            &key("handshakes_per_source_max"),
            file.handshakes_per_source_max,
            &rules::HANDSHAKES_PER_SOURCE_MAX,
        ),
        header_timeout: context.duration(
            &key("header_timeout"),
            file.header_timeout.as_ref(),
            &rules::HEADER_TIMEOUT,
        ),
        header_bytes_max: context.memory(
            &key("header_bytes_max"),
            file.header_bytes_max.as_ref(),
            &rules::HEADER_BYTES_MAX,
        ),
        header_line_bytes_max: context.memory(
            &key("header_line_bytes_max"),
            file.header_line_bytes_max.as_ref(),
            &rules::HEADER_LINE_BYTES_MAX,
        ),
        header_count_max: context.count(
            &key("header_count_max"),
            file.header_count_max,
            &rules::HEADER_COUNT_MAX,
        ),
        token_bytes_max: context.memory(
            &key("token_bytes_max"),
            file.token_bytes_max.as_ref(),
            &rules::TOKEN_BYTES_MAX,
        ),
        idle_timeout: context.duration(
            &key("idle_timeout"),
            file.idle_timeout.as_ref(),
            &rules::IDLE_TIMEOUT,
        ),
        connection_age_max: context.duration(
            &key("connection_age_max"),
            file.connection_age_max.as_ref(),
            &rules::CONNECTION_AGE_MAX,
        ),
        http2_streams_max: streams,
        http2_control_frames_per_second_max: frames,
        refusals_per_second_max: refusals,
        drain_grace: context.duration(&key("drain_grace"), file.drain_grace.as_ref(), &rules::DRAIN_GRACE),
        body_bytes_max: bodies.bytes_max,
        policy_body_bytes_max: bodies.policy_bytes_max,
        policy_bodies_bytes_max: bodies.policy_total_bytes_max,
        policy_body_timeout: bodies.policy_timeout,
    }
}

/// Streams of one connection, frames that carry nothing and refusals.
fn rates(context: &mut Context<'_>, key: &dyn Fn(&str) -> String, file: &LimitsFile) -> [u32; 3] {
    let of = [
        ("http2_streams_max", file.http2_streams_max, &rules::HTTP2_STREAMS_MAX),
        (
            "http2_control_frames_per_second_max",
            file.http2_control_frames_per_second_max,
            &rules::HTTP2_CONTROL_FRAMES_PER_SECOND_MAX,
        ),
        ("refusals_per_second_max", file.refusals_per_second_max, &rules::REFUSALS_PER_SECOND_MAX),
    ];
    of.map(|(name, given, rule)| u32::try_from(context.count(&key(name), given, rule)).unwrap_or(u32::MAX))
}

/// What bodies may cost.
struct Bodies {
    bytes_max: usize,
    policy_bytes_max: usize,
    policy_total_bytes_max: usize,
    policy_timeout: Duration,
}

fn bodies(context: &mut Context<'_>, key: &impl Fn(&'static str) -> String, file: &LimitsFile) -> Bodies {
    Bodies {
        bytes_max: context.memory(
            &key("body_bytes_max"),
            file.body_bytes_max.as_ref(),
            &rules::BODY_BYTES_MAX,
        ),
        policy_bytes_max: context.memory(
            &key("policy_body_bytes_max"),
            file.policy_body_bytes_max.as_ref(),
            &rules::POLICY_BODY_BYTES_MAX,
        ),
        policy_total_bytes_max: context.memory(
            &key("policy_bodies_bytes_max"),
            file.policy_bodies_bytes_max.as_ref(),
            &rules::POLICY_BODIES_BYTES_MAX,
        ),
        policy_timeout: context.duration(
            &key("policy_body_timeout"),
            file.policy_body_timeout.as_ref(),
            &rules::POLICY_BODY_TIMEOUT,
        ),
    }
}

/// What can never be reached because something smaller stands around it.
fn check_limits(context: &mut Context<'_>, key: &impl Fn(&'static str) -> String, limits: &ListenerLimits) {
    let within = [
        ("header_line_bytes_max", limits.header_line_bytes_max, "header_bytes_max", limits.header_bytes_max),
        ("token_bytes_max", limits.token_bytes_max, "header_line_bytes_max", limits.header_line_bytes_max),
        ("policy_body_bytes_max", limits.policy_body_bytes_max, "body_bytes_max", limits.body_bytes_max),
        (
            "policy_body_bytes_max",
            limits.policy_body_bytes_max,
            "policy_bodies_bytes_max",
            limits.policy_bodies_bytes_max,
        ),
    ];
    for (inner, inner_bytes, outer, outer_bytes) in within {
        if inner_bytes > outer_bytes {
            let what = format!("`{inner}` is larger than `{outer}`, which is reached first");
            context.error(&key(inner), what, format!("lower `{inner}` or raise `{outer}`"));
        }
    }
}

/// Addresses that exclude each other, upstreams that lead back or nowhere.
pub(super) fn check_together(context: &mut Context<'_>, config: &Config) {
    let mut bound: Vec<(String, SocketAddr)> = config
        .listeners
        .iter()
        .filter_map(|listener| {
            let door = match listener.direction {
                Direction::Inbound => "inbound",
                Direction::Outbound => "outbound",
            };
            let key = format!("{}.{door}.address", member("listeners", &listener.name));
            Some((key, listener.bind.address()?))
        })
        .collect();
    match config.status {
        StatusConfig::Closed => {}
        StatusConfig::Open { address } => bound.push(("status.address".to_owned(), address)),
    }
    for (index, (key, address)) in bound.iter().enumerate() {
        let earlier = bound.iter().take(index).find(|(_, other)| overlap(*other, *address));
        if let Some((other, _)) = earlier {
            let what = format!("`{address}` is already taken by `{other}`");
            context.error(key, what, "give each its own port");
        }
    }
    captured::check_together(context, config, &bound);
    outbound::check_together(context, config);
    mirror::check_together(context, config);
    local_endpoint::check_together(context, config);
    proxy_version::check_together(context, config);
    permissive::check_together(context, config);
    for upstream in &config.upstreams {
        let key = member("upstreams", &upstream.name);
        for (index, endpoint) in upstream.endpoints.iter().enumerate() {
            let EndpointConfig::Address(endpoint) = endpoint else { continue };
            if let Some((other, _)) = bound.iter().find(|(_, address)| leads_back(*address, *endpoint)) {
                let what = format!("`{endpoint}` leads back to this sidecar: it is `{other}`");
                context.error(
                    &entry(&member(&key, "endpoints"), index),
                    what,
                    "name the service's own address",
                );
            }
        }
        let mut routes = config.listeners.iter().flat_map(|listener| &listener.routes);
        let is_asked = |route: &RouteConfig| {
            route.global_rate_limit.as_ref().is_some_and(|limit| limit.service == upstream.name)
                || route.mirror.as_ref().is_some_and(|mirror| mirror.upstream == upstream.name)
        };
        let leads_to = |route: &RouteConfig| route.leads.upstreams().any(|name| name == upstream.name);
        if !routes.any(|route| leads_to(route) || is_asked(route)) {
            context.warn(
                &key,
                format!("no route leads to the upstream `{}`", upstream.name),
                "use it or leave it out",
            );
        }
    }
}

/// Whether a socket is certainly reached by calling an endpoint. Which addresses beyond loopback are this machine's is not
/// known here, and other sidecars have the same port.
pub(super) fn leads_back(bound: SocketAddr, endpoint: SocketAddr) -> bool {
    overlap(bound, endpoint) && (bound.ip() == endpoint.ip() || endpoint.ip().is_loopback())
}
