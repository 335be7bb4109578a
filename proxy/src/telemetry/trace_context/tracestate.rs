//! Whether a caller's `tracestate` may go on: Trace Context §3.3.

use super::TraceState;

/// Longest `tracestate` that goes on, in bytes over all its headers: what §3.3.1.5 asks every hop to carry.
const BYTES_MAX: usize = 512;
/// Most members a list may have (§3.3.1.1).
const MEMBERS_MAX: usize = 32;
const KEY_BYTES_MAX: usize = 256;
const TENANT_BYTES_MAX: usize = 241;
const SYSTEM_BYTES_MAX: usize = 14;
const VALUE_BYTES_MAX: usize = 256;

/// Judges all `tracestate` headers of a request together, in their order. One bad member drops the whole:
/// half a list says something that nobody wrote.
pub(super) fn judge<'a>(values: impl Iterator<Item = &'a [u8]>) -> TraceState {
    let mut seen: [&[u8]; MEMBERS_MAX] = [&[]; MEMBERS_MAX];
    let (mut members, mut bytes) = (0, 0_usize);
    for value in values {
        // A comma joins the lists of two headers.
        bytes = bytes.saturating_add(value.len()).saturating_add(usize::from(bytes > 0));
        if bytes > BYTES_MAX {
            return TraceState::Remove;
        }
        for member in value.split(|&byte| byte == b',').map(trim_blanks) {
            if member.is_empty() {
                continue;
            }
            let Some(key) = key_of(member) else { return TraceState::Remove };
            if seen.iter().take(members).any(|&earlier| earlier == key) {
                return TraceState::Remove;
            }
            let Some(place) = seen.get_mut(members) else { return TraceState::Remove };
            *place = key;
            members += 1;
        }
    }
    if members == 0 { TraceState::Remove } else { TraceState::Forward }
}

fn key_of(member: &[u8]) -> Option<&[u8]> {
    let at = member.iter().position(|&byte| byte == b'=')?;
    let (key, value) = member.split_at_checked(at)?;
    let value = value.get(1..)?;
    (is_key(key) && is_value(value)).then_some(key)
}

fn is_key(key: &[u8]) -> bool {
    let mut parts = key.splitn(2, |&byte| byte == b'@');
    match (parts.next(), parts.next()) {
        (Some(tenant), Some(system)) => {
            is_name(tenant, TENANT_BYTES_MAX, |first| first.is_ascii_lowercase() || first.is_ascii_digit())
                && is_name(system, SYSTEM_BYTES_MAX, |first| first.is_ascii_lowercase())
        }
        (Some(simple), None) => is_name(simple, KEY_BYTES_MAX, |first| first.is_ascii_lowercase()),
        (None, _) => false,
    }
}

fn is_name(name: &[u8], bytes_max: usize, may_begin: impl Fn(u8) -> bool) -> bool {
    let letter = |&byte: &u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'*' | b'/')
    };
    name.len() <= bytes_max && name.first().is_some_and(|&first| may_begin(first)) && name.iter().all(letter)
}

fn is_value(value: &[u8]) -> bool {
    // Blanks at the end were trimmed with the member, so that the last byte is never one.
    !value.is_empty()
        && value.len() <= VALUE_BYTES_MAX
        && value.iter().all(|&byte| matches!(byte, b' '..=b'~') && byte != b'=')
}

fn trim_blanks(mut text: &[u8]) -> &[u8] {
    while let Some((b' ' | b'\t', rest)) = text.split_first() {
        text = rest;
    }
    while let Some((b' ' | b'\t', rest)) = text.split_last() {
        text = rest;
    }
    text
}
