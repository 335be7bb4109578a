//! The one spelling of a path: what policy reads, routes match and the upstream gets.
//!
//! The canonical path is equal to itself under every decoder that an upstream may have (RFC 3986, WHATWG,
//! servlet containers, merging servers). A path for which that cannot be said is refused, not repaired.
use super::error::GuardError;
use std::borrow::Cow;

/// Letters, digits, marks, sub-delimiters, `:` and `@`: bytes that stand for themselves.
const PLAIN: u8 = 0;
/// `%`
const PERCENT: u8 = 1;
/// Printable bytes outside of the URI grammar; percent-encoded, as every client library would have done.
const ENCODE: u8 = 2;
/// Control, space, backslash, `#`, `?` and non-ASCII.
const FORBIDDEN: u8 = 4;

fn class(byte: u8) -> u8 {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => PLAIN,
        b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' => PLAIN,
        b':' | b'@' | b'/' => PLAIN,
        b'%' => PERCENT,
        b'"' | b'<' | b'>' | b'[' | b']' | b'^' | b'`' | b'{' | b'|' | b'}' => ENCODE,
        _ => FORBIDDEN,
    }
}

/// The canonical spelling of `raw`, which is borrowed when it is canonical already.
///
/// Escapes of unreserved characters are decoded, the others get upper-case digits (RFC 3986 §6.2.2). Case,
/// trailing slash and trailing dots stay. Canonicalising twice changes nothing.
///
/// # Errors
/// Every `Path…` variant of [`GuardError`].
pub(super) fn canonical(raw: &str) -> Result<Cow<'_, str>, GuardError> {
    if !raw.starts_with('/') {
        return Err(GuardError::PathForm);
    }
    let found = raw.bytes().fold(0, |found, byte| found | class(byte));
    if found & FORBIDDEN != 0 {
        return Err(GuardError::PathCharacter);
    }
    let path = if found == PLAIN { Cow::Borrowed(raw) } else { spell(raw)? };
    segments(&path)?;
    Ok(path)
}

fn spell(raw: &str) -> Result<Cow<'_, str>, GuardError> {
    let mut path = String::with_capacity(raw.len() + 8);
    let mut bytes = raw.bytes();
    let mut is_text = true;
    while let Some(byte) = bytes.next() {
        match class(byte) {
            PERCENT => {
                let decoded = escaped(bytes.next(), bytes.next()).ok_or(GuardError::PathPercent)?;
                is_text &= decoded.is_ascii();
                push_decoded(&mut path, decoded)?;
            }
            ENCODE => push_escape(&mut path, byte),
            _ => path.push(char::from(byte)),
        }
    }
    if !is_text && std::str::from_utf8(&decode(&path)).is_err() {
        return Err(GuardError::PathEncoding);
    }
    if path.as_bytes().windows(5).any(is_double_escape) {
        return Err(GuardError::PathDoubleEncoding);
    }
    Ok(if path == raw { Cow::Borrowed(raw) } else { Cow::Owned(path) })
}

fn push_decoded(path: &mut String, decoded: u8) -> Result<(), GuardError> {
    match decoded {
        0..=0x1f | 0x7f => return Err(GuardError::PathCharacter),
        b'/' | b'\\' => return Err(GuardError::PathSeparator),
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => path.push(char::from(decoded)),
        _ => push_escape(path, decoded),
    }
    Ok(())
}

fn push_escape(path: &mut String, byte: u8) {
    path.push('%');
    for digit in [byte >> 4, byte & 0xf] {
        path.extend(char::from_digit(u32::from(digit), 16).map(|digit| digit.to_ascii_uppercase()));
    }
}

fn escaped(high: Option<u8>, low: Option<u8>) -> Option<u8> {
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some((digit(high)? << 4) | digit(low)?)
}

/// All escapes decoded once. Escapes are well-formed here.
fn decode(path: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        let byte = if byte == b'%' { escaped(bytes.next(), bytes.next()).unwrap_or(byte) } else { byte };
        decoded.push(byte);
    }
    decoded
}

/// `%25` and two hexadecimal digits: an escape for whoever decodes twice.
fn is_double_escape(window: &[u8]) -> bool {
    matches!(window, [b'%', b'2', b'5', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit())
}

fn segments(path: &str) -> Result<(), GuardError> {
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match name(segment) {
            // The last segment is empty behind a trailing slash, but `/a/;x` is `/a/` to some and not to others.
            "" if !is_last || !segment.is_empty() => return Err(GuardError::PathEmptySegment),
            "." | ".." => return Err(GuardError::PathDotSegment),
            _ => {}
        }
    }
    Ok(())
}

/// A segment without its parameters. An escaped semicolon ends the name too: some decode before they split.
fn name(segment: &str) -> &str {
    if !segment.bytes().any(|byte| matches!(byte, b';' | b'%')) {
        return segment;
    }
    let name = segment.split(';').next().unwrap_or_default();
    name.split("%3B").next().unwrap_or_default()
}

/// `path` without the parameters of its segments (`/a;v=1/b` is `/a/b`), as a servlet container sees it.
pub(super) fn without_params(path: &str) -> Cow<'_, str> {
    if !path.contains(';') {
        return Cow::Borrowed(path);
    }
    let mut stripped = String::with_capacity(path.len());
    for segment in path.split('/').skip(1) {
        stripped.push('/');
        stripped.push_str(segment.split(';').next().unwrap_or_default());
    }
    Cow::Owned(stripped)
}

/// Whether `path` is what gRPC over HTTP/2 calls a path: `/service/method` and nothing else.
pub(super) fn is_grpc_method(path: &str) -> bool {
    let is_name = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
    };
    let mut parts = path.split('/');
    parts.next() == Some("")
        && parts.next().is_some_and(is_name)
        && parts.next().is_some_and(is_name)
        && parts.next().is_none()
}
