//! The `uri` and `urlquery` builtins, with the rules of Go's `net/url`.
use super::meter::Meter;
use super::{Builtin, BuiltinError, Context, Outcome, arg, operand, text};
use crate::Value;
use std::collections::BTreeMap;

pub(super) const TABLE: &[Builtin] = &[
    Builtin::pure("uri.is_valid", 1, is_valid),
    Builtin::pure("uri.parse", 1, parse),
    Builtin::pure("urlquery.decode", 1, decode),
    Builtin::pure("urlquery.decode_object", 1, decode_object),
    Builtin::pure("urlquery.encode", 1, encode),
    Builtin::pure("urlquery.encode_object", 1, encode_object),
];

/// Why a text is not taken apart: it breaks the rules, or its bytes are no text.
enum Refusal {
    Invalid(&'static str),
    NoText,
}

impl From<Refusal> for BuiltinError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Invalid(why) => Self::Failed(why.to_owned()),
            // OPA has strings of any bytes here. To take something else for them could make unequal things equal.
            Refusal::NoText => Self::Budget("a percent-encoded text is not UTF-8".to_owned()),
        }
    }
}

/// The part of a URL that is decoded or encoded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Query,
    Path,
    Fragment,
    Host,
    Zone,
    User,
}

/// Whether a byte stands for itself in a part.
fn plain(byte: u8, part: Part) -> bool {
    if byte.is_ascii_alphanumeric() {
        return true;
    }
    let others: &[u8] = match part {
        Part::Query | Part::User => b"-._~",
        Part::Path => b"$&+,-./:;=@_~",
        Part::Fragment => b"!$&()*+,-./:;=?@_~",
        Part::Host | Part::Zone => b"!\"$&'()*+,-.:;<=>[]_~",
    };
    others.contains(&byte)
}

fn escaped(text: &str, part: Part) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if plain(byte, part) {
            out.push(char::from(byte));
        } else if byte == b' ' && part == Part::Query {
            out.push('+');
        } else {
            out.push('%');
            for digit in [byte >> 4, byte & 15] {
                out.push(HEX.get(usize::from(digit)).map_or('0', |digit| char::from(*digit)));
            }
        }
    }
    out
}

fn unescaped(text: &str, part: Part) -> Result<String, Refusal> {
    const ESCAPE: Refusal = Refusal::Invalid("invalid URL escape");
    let host = matches!(part, Part::Host | Part::Zone);
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
                let (Some(high), Some(low)) = (digit(), digit()) else { return Err(ESCAPE) };
                let decoded = u8::try_from(high << 4 | low).map_err(|_| ESCAPE)?;
                // A host may encode what is not ASCII, and a percent sign; a zone what it could write plainly, and spaces.
                let refused = match part {
                    Part::Host => decoded < 0x80 && decoded != b'%',
                    Part::Zone => decoded != b'%' && decoded != b' ' && !plain(decoded, Part::Host),
                    _ => false,
                };
                if refused {
                    return Err(ESCAPE);
                }
                out.push(decoded);
            }
            b'+' if part == Part::Query => out.push(b' '),
            _ if host && byte < 0x80 && !plain(byte, part) => {
                return Err(Refusal::Invalid("invalid character in host name"));
            }
            _ => out.push(byte),
        }
    }
    String::from_utf8(out).map_err(|_| Refusal::NoText)
}

fn charged<'a>(context: &mut Context, args: &'a [Value]) -> Result<&'a str, BuiltinError> {
    let text = text(args, 0)?;
    context.charge_bytes(text.len().saturating_mul(4))?;
    Ok(text)
}

/// A text as a component of a query.
pub(super) fn query_escaped(text: &str) -> String {
    escaped(text, Part::Query)
}

fn encode(context: &mut Context, args: &[Value]) -> Outcome {
    Ok(Some(Value::from(escaped(charged(context, args)?, Part::Query))))
}

fn decode(context: &mut Context, args: &[Value]) -> Outcome {
    Ok(Some(Value::from(unescaped(charged(context, args)?, Part::Query)?)))
}

fn encode_object(context: &mut Context, args: &[Value]) -> Outcome {
    let value = arg(args, 0)?;
    let members = value.as_object().ok_or_else(|| operand(0, "object", value))?;
    let wrong =
        || BuiltinError::Type("operand 1 values must be string, array[string], or set[string]".to_owned());
    // Members are sorted by the text of their keys, which for other keys than strings is JSON.
    let mut sorted: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    context.charge_items(members.len())?;
    for (key, value) in members {
        let items: Vec<&Value> = match value {
            Value::String(_) => vec![value],
            Value::Array(items) => items.iter().collect(),
            Value::Set(items) => items.iter().collect(),
            _ => return Err(wrong()),
        };
        context.charge_items(items.len())?;
        let items: Option<Vec<&str>> = items.into_iter().map(Value::as_str).collect();
        let key = key.as_str().map_or_else(|| super::strings::shown(key), str::to_owned);
        sorted.insert(key, items.ok_or_else(wrong)?);
    }
    let mut meter = Meter::new(context);
    let mut out = String::new();
    for (key, values) in sorted {
        for value in values {
            meter.spend(key.len().saturating_add(value.len()).saturating_mul(3))?;
            if !out.is_empty() {
                out.push('&');
            }
            out.push_str(&escaped(&key, Part::Query));
            out.push('=');
            out.push_str(&escaped(value, Part::Query));
        }
    }
    Ok(Some(Value::from(out)))
}

/// The most parameters of a query.
const PARAMETERS_MAX: usize = 10_000;

fn decode_object(context: &mut Context, args: &[Value]) -> Outcome {
    let query = charged(context, args)?;
    let parameters = query.split('&').count();
    if parameters > PARAMETERS_MAX {
        return Err(BuiltinError::Failed("number of URL query parameters exceeded limit".to_owned()));
    }
    context.charge_items(parameters)?;
    let mut members: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        if parameter.contains(';') {
            return Err(BuiltinError::Failed("invalid semicolon separator in query".to_owned()));
        }
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let key = unescaped(key, Part::Query)?;
        members.entry(key).or_default().push(Value::from(unescaped(value, Part::Query)?));
    }
    Ok(Some(Value::object(members.into_iter().map(|(key, values)| (Value::from(key), Value::array(values))))))
}

/// What `uri.parse` shows of a URL.
#[derive(Debug, Default)]
struct Uri {
    scheme: String,
    host: String,
    path: String,
    raw_path: String,
    query: String,
    fragment: String,
}

/// The scheme, in lower case, and the rest.
fn scheme_of(text: &str) -> Result<(String, &str), Refusal> {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')));
    let begins_with_letter = text.starts_with(|c: char| c.is_ascii_alphabetic());
    match end.and_then(|end| text.split_at_checked(end)) {
        Some(("", rest)) if rest.starts_with(':') => Err(Refusal::Invalid("missing protocol scheme")),
        Some((scheme, rest)) if begins_with_letter && rest.starts_with(':') => {
            Ok((scheme.to_ascii_lowercase(), rest.strip_prefix(':').unwrap_or(rest)))
        }
        _ => Ok((String::new(), text)),
    }
}

fn parsed(text: &str) -> Result<Uri, Refusal> {
    let (text, fragment) = text.split_once('#').unwrap_or((text, ""));
    let mut uri = Uri::default();
    if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
        return Err(Refusal::Invalid("invalid control character in URL"));
    }
    let (scheme, rest) = if text == "*" { (String::new(), text) } else { scheme_of(text)? };
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    uri.scheme = scheme;
    uri.query = query.to_owned();
    uri.fragment = unescaped(fragment, Part::Fragment)?;
    let mut path = rest;
    if !rest.starts_with('/') {
        if !uri.scheme.is_empty() {
            // Such as `mailto:a@b`: what follows is opaque and not shown.
            return Ok(uri);
        }
        if rest.split('/').next().is_some_and(|segment| segment.contains(':')) {
            return Err(Refusal::Invalid("first path segment in URL cannot contain colon"));
        }
    }
    let may_have_authority = !uri.scheme.is_empty() || !rest.starts_with("///");
    if let Some(authority) = rest.strip_prefix("//").filter(|_| may_have_authority) {
        let end = authority.find('/').unwrap_or(authority.len());
        let (authority, after) = authority.split_at_checked(end).unwrap_or((authority, ""));
        uri.host = authority_of(authority)?;
        path = after;
    }
    uri.path = unescaped(path, Part::Path)?;
    let canonical = escaped(&uri.path, Part::Path) == path || path == "*";
    uri.raw_path = if canonical { uri.path.clone() } else { path.to_owned() };
    Ok(uri)
}

/// The host and port of an authority, decoded.
fn authority_of(authority: &str) -> Result<String, Refusal> {
    let Some((user, host)) = authority.rsplit_once('@') else { return host_of(authority) };
    let host = host_of(host)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c);
    if !user.chars().all(allowed) {
        return Err(Refusal::Invalid("invalid userinfo"));
    }
    match unescaped(user, Part::User) {
        Err(Refusal::Invalid(why)) => Err(Refusal::Invalid(why)),
        // What the user's name decodes to is not shown.
        Ok(_) | Err(Refusal::NoText) => Ok(host),
    }
}

fn optional_port(text: &str) -> bool {
    text.is_empty() || text.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()))
}

fn host_of(host: &str) -> Result<String, Refusal> {
    const PORT: Refusal = Refusal::Invalid("invalid port after host");
    if let Some((before, bracketed)) = host.rsplit_once('[') {
        if !before.is_empty() {
            return Err(Refusal::Invalid("invalid IP-literal"));
        }
        let (address, port) = bracketed.rsplit_once(']').ok_or(Refusal::Invalid("missing ']' in host"))?;
        if !optional_port(port) {
            return Err(PORT);
        }
        let address = match address.find("%25").and_then(|at| address.split_at_checked(at)) {
            Some((address, zone)) => {
                format!("{}{}", unescaped(address, Part::Host)?, unescaped(zone, Part::Zone)?)
            }
            None => unescaped(address, Part::Host)?,
        };
        return if is_ipv6(&address) {
            Ok(format!("[{address}]{port}"))
        } else {
            Err(Refusal::Invalid("invalid host"))
        };
    }
    // More colons are let pass, as they are by OPA, whose Go is told to be as lenient as it was.
    if host.rfind(':').and_then(|at| host.get(at..)).is_some_and(|port| !optional_port(port)) {
        return Err(PORT);
    }
    unescaped(host, Part::Host)
}

fn is_ipv6(address: &str) -> bool {
    let (address, zone) = match address.split_once('%') {
        Some((address, zone)) => (address, Some(zone)),
        None => (address, None),
    };
    zone != Some("") && address.parse::<std::net::Ipv6Addr>().is_ok()
}

/// The host's name, without brackets, and its port.
fn host_and_port(host: &str) -> (&str, &str) {
    let colon = host.rfind(':').filter(|at| host.get(*at..).is_some_and(optional_port));
    let (name, port) = colon.and_then(|at| host.split_at_checked(at)).unwrap_or((host, ""));
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    (name, port.strip_prefix(':').unwrap_or(port))
}

fn parse(context: &mut Context, args: &[Value]) -> Outcome {
    let uri = parsed(charged(context, args)?)?;
    let (hostname, port) = host_and_port(&uri.host);
    let members = [
        ("scheme", uri.scheme.as_str()),
        ("hostname", hostname),
        ("port", port),
        ("path", &uri.path),
        ("raw_path", &uri.raw_path),
        ("raw_query", &uri.query),
        ("fragment", &uri.fragment),
    ];
    let present = members.into_iter().filter(|(_, value)| !value.is_empty());
    Ok(Some(Value::object(present.map(|(name, value)| (Value::from(name), Value::from(value))))))
}

fn is_valid(context: &mut Context, args: &[Value]) -> Outcome {
    let valid = match arg(args, 0)? {
        Value::String(text) if !text.is_empty() => {
            context.charge_bytes(text.len().saturating_mul(4))?;
            // Bytes that are no text are valid all the same.
            !matches!(parsed(text), Err(Refusal::Invalid(_)))
        }
        _ => false,
    };
    Ok(Some(Value::Bool(valid)))
}

#[cfg(test)]
#[path = "uri_tests.rs"]
mod tests;
