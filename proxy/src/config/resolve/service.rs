//! Endpoints that are services of the DNS (RFC 2782), `srv:_http._tcp.orders.internal`.
use super::context::{Context, Reported};
use super::upstreams::beyond_loopback;
use crate::config::file::UpstreamFile;
use crate::config::places::member;
use crate::config::settings::{NamedEndpoint, Plaintext};

const PREFIX: &str = "srv:";
/// RFC 1035 §2.3.4, without what says how long each label is.
const NAME_BYTES_MAX: usize = 253;

/// The service that is meant, if one is. A host may be called `srv` and have a port.
pub(super) fn name(text: &str) -> Option<&str> {
    text.strip_prefix(PREFIX).filter(|rest| rest.parse::<u16>().is_err())
}

pub(super) fn endpoint(
    context: &mut Context<'_>,
    key: &str,
    name: &str,
    plaintext: Plaintext,
) -> Result<NamedEndpoint, Reported> {
    let refused = |context: &mut Context<'_>, what: &str| {
        let mend = "write it like `srv:_http._tcp.orders.internal`, without a port: its records name ports";
        Err(context.error(key, format!("`{name}` {what}"), mend))
    };
    let absolute = name.strip_suffix('.').unwrap_or(name);
    let mut labels = absolute.splitn(3, '.');
    let (Some(service), Some(protocol), Some(domain)) = (labels.next(), labels.next(), labels.next()) else {
        return refused(context, "does not begin with `_service._tcp.`");
    };
    if !service.strip_prefix('_').is_some_and(is_label) {
        return refused(context, "does not begin with `_service._tcp.`");
    }
    if !protocol.eq_ignore_ascii_case("_tcp") {
        return refused(context, "is no service over TCP");
    }
    if rustls_pki_types::DnsName::try_from(domain).is_err() || absolute.len() > NAME_BYTES_MAX {
        return refused(context, "names no domain that could have it");
    }
    match plaintext {
        Plaintext::AnyAddress => {
            Ok(NamedEndpoint { host: name.to_ascii_lowercase(), port: None, loopback_only: false })
        }
        Plaintext::LoopbackOnly => Err(beyond_loopback(context, key, name)),
    }
}

/// RFC 6335 §5.1 as far as the DNS would mind.
fn is_label(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..63).contains(&text.len()) && text.bytes().all(is_plain)
}

/// A service's records weigh its endpoints against each other and against nothing else.
pub(super) fn upstream(context: &mut Context<'_>, key: &str, file: &UpstreamFile) {
    if file.endpoints.len() > 1
        && let Some(service) = file.endpoints.iter().find(|text| name(text).is_some())
    {
        let what = format!("`{service}` stands beside other endpoints, which have no weight beside its own");
        context.error(&member(key, "endpoints"), what, "make an upstream of its own of it");
    }
}
