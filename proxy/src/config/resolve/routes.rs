//! The routes of a listener.

use super::captured;
use super::context::{Context, Reported};
use super::faults::faults;
use super::forwarded_headers::forwarded_headers;
use super::hidden;
use super::identity_headers::identity_headers;
use super::leads::leads;
use super::mirror::mirror;
use super::operations::mode;
use super::rate_limits::{self, global_rate_limit, rate_limits};
use super::retry::{Around, retry};
use super::rewrite::{header_matches, rewrite};
use super::tcp;
use super::traffic::protocol;
use super::upgrade::upgrade;
use super::without_effect;
use crate::config::file::{
    ConfigFile, EnforcementFile, ExplainFile, ListenerFile, MatchFile, RouteFile, TokenProfileFile,
    TokenRuleFile, UpgradeFile,
};
use crate::config::findings::{nearest, one_of};
use crate::config::places::{entry, member};
use crate::config::rules;
use crate::config::settings::{
    AuditMode, Enforcement, Explain, HeaderMatch, IdentityHeaders, ListenerProtocol, RouteConfig, RouteMatch,
    TokenRule,
};

/// Longest authority and path prefix, in bytes.
const TEXT_BYTES_MAX: usize = 1024;
/// Methods of RFC 9110 §9.3 and RFC 5789, for the search for the nearest.
const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"];

pub(super) fn routes(
    context: &mut Context<'_>,
    listener_key: &str,
    listener: &ListenerFile,
    file: &ConfigFile,
) -> Result<Vec<RouteConfig>, Reported> {
    let key = member(listener_key, "routes");
    context.some(&key, listener.routes.len(), "route")?;
    let listener_name = file.listeners.iter().find(|(_, other)| std::ptr::eq(*other, listener));
    let listener_name = listener_name.map_or("", |(name, _)| name.as_str());
    let is_outbound = listener.outbound.is_some();
    let takes_streams = |route: &RouteFile| match protocol(listener) {
        ListenerProtocol::Http => false,
        ListenerProtocol::Tcp => true,
        // Those of a split are alike.
        ListenerProtocol::Detect => {
            route.upstreams().next().is_some_and(|name| tcp::speaks(name, file)) && !by_connect(route)
        }
    };
    let is_captured = captured::way(listener).is_some();
    let is_detecting = protocol(listener) == ListenerProtocol::Detect;
    let mut index = 0;
    let routes = context.each(&key, &listener.routes, |context, key, route| {
        let default_name = format!("{listener_name}-{index}");
        index += 1;
        let is_tcp = takes_streams(route);
        without_effect::route(context, key, route, (is_tcp, listener));
        let within = Within {
            default_name: &default_name,
            is_outbound,
            is_tcp,
            is_captured,
            is_detecting,
            config: file,
        };
        self::route(context, key, route, &within)
    })?;
    let kind =
        |index: usize| listener.routes.get(index).map(|route| (takes_streams(route), by_connect(route)));
    let are_alike = |earlier: usize, later: usize| kind(earlier) == kind(later);
    hidden::check(context, &key, &routes, &are_alike);
    for (later_index, route) in routes.iter().enumerate() {
        let key = entry(&key, later_index);
        for (earlier_index, earlier) in routes.iter().take(later_index).enumerate() {
            if earlier.name == route.name {
                let what =
                    format!("the route name `{}` is taken by the route at {earlier_index}", route.name);
                context.error(&member(&key, "name"), what, "give each route its own name");
            }
            if are_alike(earlier_index, later_index) && covers(&earlier.matches, &route.matches) {
                let what = format!(
                    "this route can never match: `{}` at {earlier_index} takes all its requests",
                    earlier.name
                );
                context.error(
                    &member(&key, "match"),
                    what,
                    "put the more specific route first, or leave this one out",
                );
            }
        }
    }
    Ok(routes)
}

pub(super) fn by_connect(route: &RouteFile) -> bool {
    route.upgrades.contains(&UpgradeFile::Connect)
}

/// Where a route stands.
pub(super) struct Within<'a> {
    default_name: &'a str,
    pub(super) is_outbound: bool,
    pub(super) is_tcp: bool,
    pub(super) is_captured: bool,
    pub(super) is_detecting: bool,
    pub(super) config: &'a ConfigFile,
}

fn route(
    context: &mut Context<'_>,
    key: &str,
    file: &RouteFile,
    within: &Within<'_>,
) -> Result<RouteConfig, Reported> {
    let Within { default_name, is_outbound, is_tcp, is_captured, config, .. } = *within;
    if is_tcp {
        tcp::route(context, key, file);
    }
    let name = context.name(&member(key, "name"), file.name.as_deref().unwrap_or(default_name));
    let matches = route_match(context, &member(key, "match"), (&file.matches, is_captured));
    let leads = leads(context, key, file, within);
    let timeout = context.duration(&member(key, "timeout"), file.timeout.as_ref(), &rules::ROUTE_TIMEOUT);
    let stream_idle_timeout = context.duration(
        &member(key, "stream_idle_timeout"),
        file.stream_idle_timeout.as_ref(),
        if is_tcp { &rules::TCP_IDLE_TIMEOUT } else { &rules::STREAM_IDLE_TIMEOUT },
    );
    let retry = retry(context, &member(key, "retry"), &Around { file, timeout });
    let upgrade = upgrade(context, key, file, config);
    let mirror = mirror(context, &member(key, "mirror"), file, config);
    let rewrite = rewrite(context, &member(key, "rewrite"), file.rewrite.as_ref());
    let audit_mode = audit_mode(context, &member(key, "audit"), file, config);
    let tokens = tokens(context, &member(key, "tokens"), (file.tokens, is_outbound), config);
    let around = rate_limits::Around { route: file, config, tokens: &tokens };
    let global_rate_limit = global_rate_limit(context, &member(key, "global_rate_limit"), &around);
    let rate_limits = rate_limits(context, &member(key, "rate_limits"), &file.rate_limits, &tokens);
    let faults = faults(context, key, file);
    let identity_headers = match &file.identity_headers {
        None => Ok(IdentityHeaders::default()),
        Some(written) => identity_headers(context, &member(key, "identity_headers"), written, file.tokens),
    };
    let forwarded_headers = forwarded_headers(context, key, file);
    let enforcement = match file.enforcement {
        None | Some(EnforcementFile::Enforce) => Enforcement::Enforce,
        Some(EnforcementFile::Observe) => {
            context.warn(
                &member(key, "enforcement"),
                "this route is open: a deny is recorded and the request goes on",
                "write `enforcement: enforce` once the records say what you expect",
            );
            Enforcement::Observe
        }
    };
    Ok(RouteConfig {
        name: name?,
        matches: matches?,
        leads: leads?,
        enforcement,
        timeout,
        stream_idle_timeout,
        retry: retry?,
        rewrite: rewrite?,
        upgrade: upgrade?,
        rate_limits: rate_limits?,
        global_rate_limit: global_rate_limit?,
        mirror: mirror?,
        faults,
        audit_mode: audit_mode?,
        explain: explain(file.explain),
        tokens: tokens?,
        identity_headers: identity_headers?,
        forwarded_headers: forwarded_headers?,
    })
}

fn explain(written: Option<ExplainFile>) -> Explain {
    match written {
        Some(ExplainFile::None) => Explain::None,
        None | Some(ExplainFile::Code) => Explain::Code,
        Some(ExplainFile::Detail) => Explain::Detail,
    }
}

pub(super) fn upstream(
    context: &mut Context<'_>,
    key: &str,
    name: &str,
    config: &ConfigFile,
) -> Result<String, Reported> {
    let names = || config.upstreams.keys().map(String::as_str);
    if config.upstreams.contains_key(name) {
        return Ok(name.to_owned());
    }
    let likely = nearest(name, names()).map_or(String::new(), |name| format!("did you mean `{name}`? "));
    let mend = format!("{likely}there is {}; or add `{name}` to `upstreams`", one_of(names()));
    Err(context.error(key, format!("there is no upstream `{name}`"), mend))
}

fn audit_mode(
    context: &mut Context<'_>,
    key: &str,
    file: &RouteFile,
    config: &ConfigFile,
) -> Result<AuditMode, Reported> {
    let log = config.audit.mode.map_or(AuditMode::Async, mode);
    match file.audit.map(mode) {
        None => Ok(log),
        Some(route) if route >= log => Ok(route),
        Some(_) => Err(context.error(
            key,
            "a route may only raise the log's mode, and this lowers it",
            "leave `audit` out here, or lower `audit.mode`",
        )),
    }
}

fn tokens(
    context: &mut Context<'_>,
    key: &str,
    (file, is_outbound): (Option<TokenRuleFile>, bool),
    config: &ConfigFile,
) -> Result<TokenRule, Reported> {
    let issuers =
        config.tokens.iter().any(|issuer| !matches!(issuer.profile, Some(TokenProfileFile::TxnToken)));
    match file {
        // What the local workload tells others is between them, unless the author says otherwise.
        None if issuers && !is_outbound => Ok(TokenRule::Optional),
        None | Some(TokenRuleFile::Ignored) => Ok(TokenRule::Ignored),
        Some(TokenRuleFile::Required) if issuers => Ok(TokenRule::Required),
        Some(TokenRuleFile::Optional) if issuers => Ok(TokenRule::Optional),
        Some(TokenRuleFile::Required | TokenRuleFile::Optional) => Err(context.error(
            key,
            "no issuer is configured whose tokens could be verified",
            "add one to `tokens` at the top, or leave this out",
        )),
    }
}

fn route_match(
    context: &mut Context<'_>,
    key: &str,
    (file, is_captured): (&MatchFile, bool),
) -> Result<RouteMatch, Reported> {
    let authorities_key = member(key, "authorities");
    let methods_key = member(key, "methods");
    context.few(&authorities_key, file.authorities.len(), "host name")?;
    let authorities =
        context.each(&authorities_key, &file.authorities, |context, key, text| authority(context, key, text));
    context.distinct(&authorities_key, &file.authorities, |text| text.to_ascii_lowercase());
    context.few(&methods_key, file.methods.len(), "method")?;
    let methods = context.each(&methods_key, &file.methods, |context, key, text| method(context, key, text));
    context.distinct(&methods_key, &file.methods, String::clone);
    let destinations_key = member(key, "destinations");
    let destinations = captured::destinations(context, &destinations_key, (&file.destinations, is_captured));
    let headers = header_matches(context, &member(key, "headers"), &file.headers);
    let path_prefix = match (&file.path_prefix, &file.path) {
        (None, None) => Ok("/".to_owned()),
        (Some(text), None) => path_prefix(context, &member(key, "path_prefix"), text),
        (None, Some(text)) => path_prefix(context, &member(key, "path"), text),
        (Some(_), Some(_)) => Err(context.error(
            &member(key, "path"),
            "a route takes one path, or what lies below a prefix, not both",
            "leave one of the two out",
        )),
    };
    Ok(RouteMatch {
        authorities: authorities?,
        destinations: destinations?,
        path_prefix: path_prefix?,
        is_exact: file.path.is_some(),
        methods: methods?,
        headers: headers?,
    })
}

pub(super) fn authority(context: &mut Context<'_>, key: &str, text: &str) -> Result<String, Reported> {
    let refused = |context: &mut Context<'_>, why: &str| {
        let mend = "write `orders.example.org`, `orders.example.org:8443` or `*.example.org`";
        Err(context.error(key, format!("`{text}` is not a host name to match: {why}"), mend))
    };
    let (wildcard, rest) = text.strip_prefix("*.").map_or((false, text), |rest| (true, rest));
    let Ok(parsed) = rest.parse::<http::uri::Authority>() else {
        return refused(context, "it does not read as one");
    };
    if rest.len() > TEXT_BYTES_MAX || rest.contains(['*', '@', '%']) || parsed.host().is_empty() {
        return refused(context, "only letters, digits, `.`, `-` and a leading `*.` are taken");
    }
    // http::Authority takes a colon without a number, and a number that is no port.
    let port =
        rest.rsplit(']').next().and_then(|after_host| after_host.split_once(':')).map(|(_, port)| port);
    match port {
        Some(_) if wildcard => return refused(context, "a wildcard takes every port"),
        Some(port) if !port.parse::<u16>().is_ok_and(|number| number > 0 && number.to_string() == port) => {
            return refused(context, "its port is not a number from 1 to 65535");
        }
        Some(_) | None => {}
    }
    Ok(text.to_ascii_lowercase())
}

pub(super) fn method(context: &mut Context<'_>, key: &str, text: &str) -> Result<String, Reported> {
    if http::Method::from_bytes(text.as_bytes()).is_err() || text.len() > 32 {
        return Err(context.error(key, format!("`{text}` is not a method"), "write it like `GET`"));
    }
    // Methods are case-sensitive (RFC 9110 §9.1): `get` would match nothing.
    if let Some(name) = METHODS.into_iter().find(|name| name.eq_ignore_ascii_case(text) && *name != text) {
        let what = format!("methods are case-sensitive, and nobody sends `{text}`");
        return Err(context.error(key, what, format!("write `{name}`")));
    }
    Ok(text.to_owned())
}

/// Requests are matched by their canonical path; a prefix in another spelling would match nothing.
pub(super) fn path_prefix(context: &mut Context<'_>, key: &str, text: &str) -> Result<String, Reported> {
    let refused = |context: &mut Context<'_>, why: &str, mend: String| {
        Err(context.error(key, format!("`{text}` is not a path prefix: {why}"), mend))
    };
    let Some(below) = text.strip_prefix('/') else {
        return refused(context, "it does not start with `/`", format!("write `/{text}`"));
    };
    if below.is_empty() {
        return Ok(text.to_owned());
    }
    if let Some(shorter) = text.strip_suffix('/') {
        let mend = format!("write `{shorter}`: it takes everything below as well, and `{shorter}` itself");
        return refused(context, "it ends with `/`", mend);
    }
    if text.len() > TEXT_BYTES_MAX {
        return refused(context, "it is too long", format!("write at most {TEXT_BYTES_MAX} bytes"));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte);
    for segment in below.split('/') {
        if matches!(segment, "" | "." | "..") {
            return refused(
                context,
                "it has an empty segment, `.` or `..`",
                "write the path without them".to_owned(),
            );
        }
        if !segment.bytes().all(plain) {
            let mend = "write it without `%`, `?`, `#`, `\\`, spaces and letters beyond ASCII".to_owned();
            return refused(context, "it is not in canonical spelling", mend);
        }
    }
    Ok(text.to_owned())
}

/// Whether every request that `later` would take is taken by `earlier` first.
pub(super) fn covers(earlier: &RouteMatch, later: &RouteMatch) -> bool {
    let path = if earlier.is_exact {
        later.is_exact && earlier.path_prefix == later.path_prefix
    } else {
        earlier.path_prefix == "/"
            || later
                .path_prefix
                .strip_prefix(&earlier.path_prefix)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let methods = earlier.methods.is_empty()
        || (!later.methods.is_empty() && later.methods.iter().all(|method| earlier.methods.contains(method)));
    let authorities = earlier.authorities.is_empty()
        || (!later.authorities.is_empty()
            && later
                .authorities
                .iter()
                .all(|name| earlier.authorities.iter().any(|pattern| takes(pattern, name))));
    let destinations = earlier.destinations.is_empty()
        || (!later.destinations.is_empty()
            && later
                .destinations
                .iter()
                .all(|inner| earlier.destinations.iter().any(|outer| outer.covers(inner))));
    let headers = earlier.headers.iter().all(|(name, needed)| {
        later.headers.iter().any(|(other, stated)| name == other && follows(needed, stated))
    });
    path && methods && authorities && destinations && headers
}

/// Whether a header that is as `stated` is always as `needed` too.
fn follows(needed: &HeaderMatch, stated: &HeaderMatch) -> bool {
    match (needed, stated) {
        (HeaderMatch::Present, HeaderMatch::Exact(_) | HeaderMatch::Prefix(_)) => true,
        (HeaderMatch::Prefix(start), HeaderMatch::Exact(text) | HeaderMatch::Prefix(text)) => {
            text.starts_with(start.as_str())
        }
        // Every value begins with nothing.
        (HeaderMatch::Prefix(start), HeaderMatch::Present) => start.is_empty(),
        (needed, stated) => needed == stated,
    }
}

/// Whether one authority pattern takes everything that another one takes.
fn takes(pattern: &str, other: &str) -> bool {
    if pattern == other {
        return true;
    }
    let host =
        other.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')).map_or(other, |(host, _)| host);
    match pattern.strip_prefix("*.") {
        Some(suffix) => host
            .strip_suffix(suffix)
            .and_then(|label| label.strip_suffix('.'))
            .is_some_and(|label| !label.is_empty() && label != "*" && !label.contains('.')),
        None => pattern == host,
    }
}
