//! The values of `format`: what Go's own parsers take for a date, an address, a URL.
use super::is_pattern;
use crate::builtins::{BuiltinError, Context, cidr, time};
use regex::Regex;
use std::sync::OnceLock;

/// Whether a text has a format. An unknown format everything has.
pub(super) fn fits(context: &mut Context, format: &str, text: &str) -> Result<bool, BuiltinError> {
    if format.is_empty() {
        return Ok(true);
    }
    context.charge_bytes(text.len().saturating_mul(8))?;
    match format {
        "date" => Ok(time::fits("2006-01-02", text)),
        "time" => Ok(time::fits("15:04:05Z07:00", text) || time::fits("15:04:05", text)),
        "date-time" => {
            let layouts = ["15:04:05", "15:04:05Z07:00", "2006-01-02", "2006-01-02T15:04:05Z07:00"];
            Ok(layouts.into_iter().any(|layout| time::fits(layout, text)))
        }
        "ipv4" => Ok(text.contains('.') && cidr::is_address(text)),
        "ipv6" => Ok(text.contains(':') && cidr::is_address(text)),
        "email" | "idn-email" => email(text),
        "uri" | "iri" => Ok(url(text)?.is_some_and(|url| url.has_scheme) && !text.contains('\\')),
        "uri-reference" | "iri-reference" => Ok(url(text)?.is_some() && !text.contains('\\')),
        "uri-template" => match url(text)? {
            Some(url) if !text.contains('\\') => template(url.path),
            _ => Ok(false),
        },
        "regex" => Ok(text.is_empty() || is_pattern(context, text)?),
        "hostname" => Ok(text.len() < 256 && matches(&HOSTNAME, HOSTNAME_PATTERN, text)),
        "uuid" => {
            Ok(matches(&UUID, "^(?i)[a-f0-9]{8}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{12}$", text))
        }
        "json-pointer" => Ok(matches(&POINTER, "^(?:/(?:[^~/]|~0|~1)*)*$", text)),
        "relative-json-pointer" => {
            Ok(matches(&RELATIVE, "^(?:0|[1-9][0-9]*)(?:#|(?:/(?:[^~/]|~0|~1)*)*)$", text))
        }
        _ => Ok(true),
    }
}

const HOSTNAME_PATTERN: &str = r"^([a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9\-]{0,61}[a-zA-Z0-9])(\.([a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9\-]{0,61}[a-zA-Z0-9]))*$";

static HOSTNAME: OnceLock<Option<Regex>> = OnceLock::new();
static UUID: OnceLock<Option<Regex>> = OnceLock::new();
static POINTER: OnceLock<Option<Regex>> = OnceLock::new();
static RELATIVE: OnceLock<Option<Regex>> = OnceLock::new();

fn matches(kept: &OnceLock<Option<Regex>>, pattern: &str, text: &str) -> bool {
    kept.get_or_init(|| Regex::new(pattern).ok()).as_ref().is_some_and(|regex| regex.is_match(text))
}

/// An address without names, quotes, comments and groups; with them, Go's reader of mail headers would have to be asked.
fn email(text: &str) -> Result<bool, BuiltinError> {
    if text.contains(['<', '(', '"', '[', ':', ';']) {
        return Err(BuiltinError::Budget("the mail address is not a plain one".to_owned()));
    }
    let blank = [' ', '\t'];
    let Some((local, domain)) = text.trim_matches(blank).split_once('@') else { return Ok(false) };
    Ok(is_atom(local) && is_atom(domain.trim_start_matches(blank)))
}

/// RFC 5322's dot-atom, with the letters of other alphabets.
fn is_atom(text: &str) -> bool {
    let letters = |word: &str| {
        !word.is_empty()
            && word.chars().all(|c| {
                !c.is_ascii() || (c.is_ascii_graphic() && !matches!(c, ')' | '>' | ']' | '@' | '\\' | ','))
            })
    };
    text.split('.').all(letters)
}

/// What of a URL is looked at.
struct Url<'t> {
    has_scheme: bool,
    /// Without the part that is opaque.
    path: &'t str,
}

/// A text as Go's `url.Parse` reads it; `None` where it gives an error.
fn url(text: &str) -> Result<Option<Url<'_>>, BuiltinError> {
    let (whole, fragment) = text.split_once('#').unwrap_or((text, ""));
    if whole.bytes().any(|byte| byte < b' ' || byte == 0x7f) || !is_escaped(fragment) {
        return Ok(None);
    }
    if whole == "*" {
        return Ok(Some(Url { has_scheme: false, path: "*" }));
    }
    let (scheme, rest) = match scheme(whole) {
        Some(("", _)) => return Ok(None),
        Some(parts) => parts,
        None => ("", whole),
    };
    let has_scheme = !scheme.is_empty();
    let rest = rest.split_once('?').map_or(rest, |(path, _)| path);
    if !rest.starts_with('/') {
        if has_scheme {
            return Ok(Some(Url { has_scheme, path: "" }));
        }
        if rest.split('/').next().is_some_and(|segment| segment.contains(':')) {
            return Ok(None);
        }
    }
    let mut path = rest;
    if let Some(authority) = rest.strip_prefix("//").filter(|rest| has_scheme || !rest.starts_with('/')) {
        let end = authority.find('/').unwrap_or(authority.len());
        let (authority, behind) = authority.split_at_checked(end).unwrap_or((authority, ""));
        if !is_authority(authority)? {
            return Ok(None);
        }
        path = behind;
    }
    Ok(is_escaped(path).then_some(Url { has_scheme, path }))
}

/// The scheme in front of a colon, if what is there can be one; an empty one where nothing is in front of it.
fn scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let letter = |c: char| c.is_ascii_alphabetic();
    let valid = scheme.chars().all(|c| letter(c) || c.is_ascii_digit() || matches!(c, '+' | '-' | '.'));
    (scheme.is_empty() || (valid && scheme.starts_with(letter))).then_some((scheme, rest))
}

/// Whether every per cent sign begins an escape.
fn is_escaped(text: &str) -> bool {
    text.split('%').skip(1).all(|part| {
        let digits: Vec<u8> = part.bytes().take(2).collect();
        digits.len() == 2 && digits.iter().all(u8::is_ascii_hexdigit)
    })
}

fn is_authority(authority: &str) -> Result<bool, BuiltinError> {
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (user, host),
        None => ("", authority),
    };
    let of_user = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:%@".contains(c);
    if !user.chars().all(of_user) || !is_escaped(user) {
        return Ok(false);
    }
    // Versions of Go differ in what they take for a host with several colons, or with escapes.
    if host.contains(['[', ']', '%']) || host.matches(':').count() > 1 {
        return Err(BuiltinError::Budget(format!("the host `{host}` is not a plain one")));
    }
    let port = host.split_once(':').map_or("", |(_, port)| port);
    let of_host = |c: char| !c.is_ascii() || c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:<>\"".contains(c);
    Ok(port.bytes().all(|byte| byte.is_ascii_digit()) && host.chars().all(of_host))
}

/// Whether every brace is closed before the next one. Escapes are not read here, so they must not matter.
fn template(path: &str) -> Result<bool, BuiltinError> {
    let lower = path.to_ascii_lowercase();
    if lower.contains("%7b") || lower.contains("%7d") {
        return Err(BuiltinError::Budget("the braces of a URI template are escaped".to_owned()));
    }
    let mut rest = path;
    while let Some((_, inside)) = rest.split_once('{') {
        let Some((_, behind)) = inside.split_once('}') else { return Ok(false) };
        rest = behind;
    }
    Ok(true)
}
