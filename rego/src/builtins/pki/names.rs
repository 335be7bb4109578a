//! Domains and mailboxes in certificates, as loosely as Go checks them.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether this may be a domain; a constraint may start with a dot.
pub(crate) fn domain_is_valid(domain: &[u8], constraint: bool) -> bool {
    if domain.is_empty() {
        return true;
    }
    let labels = if constraint { domain.strip_prefix(b".").unwrap_or(domain) } else { domain };
    let printable = |byte: &u8| (33..=126).contains(byte);
    labels.split(|byte| *byte == b'.').all(|label| !label.is_empty() && label.iter().all(printable))
}

/// Whether this may be a constraint on domains.
pub(crate) fn constraint_is_domain(text: &str) -> bool {
    domain_is_valid(text.as_bytes(), true)
}

/// Whether this may be a constraint on mailboxes: one mailbox, or the domain of many.
pub(crate) fn constraint_is_mailbox(text: &str) -> bool {
    if text.contains('@') { mailbox(text).is_some() } else { constraint_is_domain(text) }
}

/// An address as Go's `net.ParseIP` reads it.
pub(crate) fn ip(text: &str) -> Option<IpAddr> {
    match text.parse::<Ipv4Addr>() {
        Ok(ip) => Some(IpAddr::V4(ip)),
        Err(_) => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
    }
}

/// The local part and the domain of a mailbox (RFC 2821, section 4.1.2).
pub(crate) fn mailbox(text: &str) -> Option<(Vec<u8>, &str)> {
    let (local, rest) = match text.strip_prefix('"') {
        Some(rest) => quoted(rest)?,
        None => plain(text)?,
    };
    let domain = rest.strip_prefix('@')?;
    // Unlike elsewhere, no domain at all is fine, and so is none that is a domain of the root alone.
    let printable = |byte: u8| (33..=126).contains(&byte);
    let valid =
        domain.is_empty() || domain.split('.').all(|label| !label.is_empty() && label.bytes().all(printable));
    valid.then_some((local, domain))
}

fn quoted(text: &str) -> Option<(Vec<u8>, &str)> {
    let mut local = Vec::new();
    let mut bytes = text.bytes().enumerate();
    loop {
        let (index, byte) = bytes.next()?;
        match byte {
            b'"' => return Some((local, text.get(index.checked_add(1)?..)?)),
            b'\\' => match bytes.next()?.1 {
                escaped @ (1..=9 | 11 | 12 | 14..=127) => local.push(escaped),
                _ => return None,
            },
            1..=8 | 11 | 12 | 14..=33 | 35..=91 | 93..=127 => local.push(byte),
            _ => return None,
        }
    }
}

fn plain(text: &str) -> Option<(Vec<u8>, &str)> {
    let atom = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte);
    let mut local = Vec::new();
    let mut bytes = text.bytes().enumerate().peekable();
    let mut end = 0;
    while let Some((index, byte)) = bytes.next() {
        end = index;
        match byte {
            b'\\' => local.push(bytes.next()?.1),
            byte if atom(byte) => local.push(byte),
            _ => break,
        }
        end = bytes.peek().map_or(text.len(), |(next, _)| *next);
    }
    let dots = local.first() == Some(&b'.')
        || local.last() == Some(&b'.')
        || local.windows(2).any(|two| two == b"..");
    if local.is_empty() || dots {
        return None;
    }
    Some((local, text.get(end..)?))
}

/// The address that these bytes are.
pub(crate) fn ip_of_bytes(bytes: &[u8]) -> Option<IpAddr> {
    match (<[u8; 4]>::try_from(bytes), <[u8; 16]>::try_from(bytes)) {
        (Ok(four), _) => Some(IpAddr::V4(Ipv4Addr::from(four))),
        (_, Ok(sixteen)) => Some(IpAddr::V6(Ipv6Addr::from(sixteen))),
        _ => None,
    }
}
