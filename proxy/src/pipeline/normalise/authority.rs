//! The one spelling of an authority: `host` or `host:port`, lower-case, without the default port.
use super::error::GuardError;
use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

/// DNS allows no longer name (RFC 1035 §2.3.4).
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// The canonical spelling of `raw`, which is borrowed when it is canonical already.
///
/// The root dot and the default port are dropped. User information, lists, escapes, zones, empty
/// or zero-padded ports, and addresses in an odd spelling are refused.
///
/// # Errors
/// [`GuardError::HostInvalid`]
pub(super) fn canonical(raw: &str, default_port: u16) -> Result<Cow<'_, str>, GuardError> {
    let (raw_host, raw_port) = split(raw)?;
    let host = match raw_host.strip_prefix('[') {
        Some(rest) => ipv6(rest)?,
        None => name(raw_host)?,
    };
    let port = match raw_port {
        Some(digits) => Some(port(digits)?).filter(|port| *port != default_port),
        None => None,
    };
    Ok(match port {
        // A port has one spelling, see `port`.
        Some(_) if host == raw_host => Cow::Borrowed(raw),
        Some(port) => Cow::Owned(format!("{host}:{port}")),
        None => host,
    })
}

fn split(raw: &str) -> Result<(&str, Option<&str>), GuardError> {
    // The colons of an IPv6 address stand inside its brackets.
    let after_address = raw.rfind(']').map_or(0, |at| at + 1);
    let (address, rest) = raw.split_at_checked(after_address).ok_or(GuardError::HostInvalid)?;
    match rest.split_once(':') {
        None if address.is_empty() || rest.is_empty() => Ok((raw, None)),
        Some((name, port)) if address.is_empty() => Ok((name, Some(port))),
        Some(("", port)) => Ok((address, Some(port))),
        None | Some(_) => Err(GuardError::HostInvalid),
    }
}

/// 1 to 65535, without leading zeros or sign.
fn port(digits: &str) -> Result<u16, GuardError> {
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    if is_plain { digits.parse().map_err(|_| GuardError::HostInvalid) } else { Err(GuardError::HostInvalid) }
}

fn name(raw: &str) -> Result<Cow<'_, str>, GuardError> {
    let name = raw.strip_suffix('.').unwrap_or(raw);
    let is_label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if name.len() > NAME_BYTES_MAX || !name.split('.').all(is_label) {
        return Err(GuardError::HostInvalid);
    }
    // What ends in a number is an IPv4 address to some resolvers (`127.1`, `0x7f.1`): only its one spelling.
    if name.rsplit('.').next().is_some_and(is_number) && (name.parse::<Ipv4Addr>().is_err() || name != raw) {
        return Err(GuardError::HostInvalid);
    }
    let has_upper = name.bytes().any(|byte| byte.is_ascii_uppercase());
    Ok(if has_upper { Cow::Owned(name.to_ascii_lowercase()) } else { Cow::Borrowed(name) })
}

/// A decimal or hexadecimal number, as the WHATWG URL standard's "ends in a number" has it.
fn is_number(label: &str) -> bool {
    match label.strip_prefix("0x").or_else(|| label.strip_prefix("0X")) {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// Canonical by RFC 5952. A zone means something on one host only.
fn ipv6(rest: &str) -> Result<Cow<'_, str>, GuardError> {
    let address = rest.strip_suffix(']').ok_or(GuardError::HostInvalid)?;
    let address: Ipv6Addr = address.parse().map_err(|_| GuardError::HostInvalid)?;
    Ok(Cow::Owned(format!("[{address}]")))
}
