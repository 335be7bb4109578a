//! URLs as Go's `net/url` takes them apart and puts them together.
use super::keys::object;
use super::text::lossy;
use crate::Value;
use std::net::Ipv6Addr;

/// A URL. Its parts are bytes: an escape may stand for any.
#[derive(Clone, Debug, Default)]
pub(crate) struct Url {
    scheme: String,
    opaque: Vec<u8>,
    /// The name, and the password if there is one.
    user: Option<(Vec<u8>, Option<Vec<u8>>)>,
    pub(crate) host: Vec<u8>,
    path: Vec<u8>,
    raw_path: Vec<u8>,
    omit_host: bool,
    force_query: bool,
    raw_query: Vec<u8>,
    fragment: Vec<u8>,
    raw_fragment: Vec<u8>,
}

/// The part that is escaped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Host,
    Zone,
    User,
    Path,
    Fragment,
}

impl Url {
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let (text, fragment) = cut(text, b'#');
        let mut url = Self::without_fragment(text)?;
        if let Some(fragment) = fragment.filter(|fragment| !fragment.is_empty()) {
            url.fragment = unescape(fragment, Part::Fragment)?;
            if escape(&url.fragment, Part::Fragment) != fragment {
                url.raw_fragment = fragment.to_vec();
            }
        }
        Some(url)
    }

    fn without_fragment(text: &[u8]) -> Option<Self> {
        let mut url = Self::default();
        if text.iter().any(u8::is_ascii_control) {
            return None;
        }
        if text == b"*" {
            url.path = text.to_vec();
            return Some(url);
        }
        let (scheme, mut rest) = scheme(text)?;
        url.scheme = scheme;
        match rest.strip_suffix(b"?") {
            Some(before) if !before.contains(&b'?') => {
                url.force_query = true;
                rest = before;
            }
            _ => {
                let (before, query) = cut(rest, b'?');
                url.raw_query = query.unwrap_or_default().to_vec();
                rest = before;
            }
        }
        if !rest.starts_with(b"/") {
            if !url.scheme.is_empty() {
                url.opaque = rest.to_vec();
                return Some(url);
            }
            if cut(rest, b'/').0.contains(&b':') {
                return None;
            }
        }
        match rest.strip_prefix(b"//") {
            Some(authority) if !url.scheme.is_empty() || !rest.starts_with(b"///") => {
                let end = authority.iter().position(|byte| *byte == b'/').unwrap_or(authority.len());
                let (authority, path) = authority.split_at(end);
                url.authority(authority)?;
                rest = path;
            }
            _ => url.omit_host = !url.scheme.is_empty() && rest.starts_with(b"/"),
        }
        url.path = unescape(rest, Part::Path)?;
        if escape(&url.path, Part::Path) != rest {
            url.raw_path = rest.to_vec();
        }
        Some(url)
    }

    fn authority(&mut self, authority: &[u8]) -> Option<()> {
        let at = authority.iter().rposition(|byte| *byte == b'@');
        let (user, host_text) = match at {
            Some(at) => (authority.get(..at), authority.get(at + 1..)?),
            None => (None, authority),
        };
        self.host = host(host_text)?;
        if let Some(user) = user {
            let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(byte);
            if !user.iter().all(allowed) {
                return None;
            }
            let (name, password) = cut(user, b':');
            let password = match password {
                Some(password) => Some(unescape(password, Part::User)?),
                None => None,
            };
            self.user = Some((unescape(name, Part::User)?, password));
        }
        Some(())
    }

    /// As Go writes the parts.
    pub(crate) fn to_value(&self) -> Value {
        let text = |bytes: &[u8]| Value::from(lossy(bytes));
        object([
            ("Scheme", Value::from(self.scheme.as_str())),
            ("Opaque", text(&self.opaque)),
            ("User", self.user.as_ref().map_or(Value::Null, |_| Value::object([]))),
            ("Host", text(&self.host)),
            ("Path", text(&self.path)),
            ("RawPath", text(&self.raw_path)),
            ("OmitHost", Value::Bool(self.omit_host)),
            ("ForceQuery", Value::Bool(self.force_query)),
            ("RawQuery", text(&self.raw_query)),
            ("Fragment", text(&self.fragment)),
            ("RawFragment", text(&self.raw_fragment)),
        ])
    }

    /// The whole.
    pub(crate) fn text(&self) -> String {
        let mut out = Vec::new();
        if !self.scheme.is_empty() {
            out.extend_from_slice(self.scheme.as_bytes());
            out.push(b':');
        }
        if self.opaque.is_empty() {
            self.write_hierarchy(&mut out);
        } else {
            out.extend_from_slice(&self.opaque);
        }
        if self.force_query || !self.raw_query.is_empty() {
            out.push(b'?');
            out.extend_from_slice(&self.raw_query);
        }
        if !self.fragment.is_empty() {
            out.push(b'#');
            out.extend(encoded(&self.fragment, &self.raw_fragment, Part::Fragment));
        }
        lossy(&out)
    }

    fn write_hierarchy(&self, out: &mut Vec<u8>) {
        let has_host = !self.host.is_empty() || self.user.is_some();
        let shown = !self.scheme.is_empty() || has_host;
        if shown && (has_host || !self.omit_host) {
            if has_host || !self.path.is_empty() {
                out.extend_from_slice(b"//");
            }
            if let Some((name, password)) = &self.user {
                out.extend(escape(name, Part::User));
                if let Some(password) = password {
                    out.push(b':');
                    out.extend(escape(password, Part::User));
                }
                out.push(b'@');
            }
            out.extend(escape(&self.host, Part::Host));
        }
        let path = match self.path.as_slice() {
            b"*" if self.raw_path.is_empty() => b"*".to_vec(),
            path => encoded(path, &self.raw_path, Part::Path),
        };
        if path.first().is_some_and(|first| *first != b'/') && !self.host.is_empty() {
            out.push(b'/');
        }
        if out.is_empty() && cut(&path, b'/').0.contains(&b':') {
            out.extend_from_slice(b"./");
        }
        out.extend(path);
    }
}

/// The part as it was written, if it may have been written so; escaped else.
fn encoded(part: &[u8], raw: &[u8], kind: Part) -> Vec<u8> {
    let valid = |byte: &u8| b"!$&'()*+,;=:@[]%".contains(byte) || !escapes(*byte, kind);
    if !raw.is_empty()
        && raw.iter().all(valid)
        && unescape(raw, kind).is_some_and(|unescaped| unescaped == part)
    {
        return raw.to_vec();
    }
    escape(part, kind)
}

fn cut(text: &[u8], at: u8) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|byte| *byte == at) {
        Some(position) => (text.get(..position).unwrap_or_default(), text.get(position + 1..)),
        None => (text, None),
    }
}

fn scheme(text: &[u8]) -> Option<(String, &[u8])> {
    for (index, byte) in text.iter().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if index > 0 => {}
            b':' if index == 0 => return None,
            b':' => {
                let (scheme, rest) = cut(text, b':');
                return Some((lossy(scheme).to_ascii_lowercase(), rest?));
            }
            _ => break,
        }
    }
    Some((String::new(), text))
}

fn host(host: &[u8]) -> Option<Vec<u8>> {
    match host.iter().rposition(|byte| *byte == b'[') {
        Some(0) => return literal(host),
        Some(_) => return None,
        None => {}
    }
    // What stands before the last colon is not looked at: OPA is built for the rules of Go 1.25.
    if let Some(colon) = host.iter().rposition(|byte| *byte == b':') {
        port(host.get(colon..)?)?;
    }
    unescape(host, Part::Host)
}

/// An address in brackets.
fn literal(host: &[u8]) -> Option<Vec<u8>> {
    let close = host.iter().rposition(|byte| *byte == b']')?;
    let (inside, after) = (host.get(1..close)?, host.get(close + 1..)?);
    port(after)?;
    let zone = inside.windows(3).position(|window| window == b"%25").unwrap_or(inside.len());
    let (address, zone) = inside.split_at(zone);
    let address = [unescape(address, Part::Host)?, unescape(zone, Part::Zone)?].concat();
    let text = String::from_utf8(address.clone()).ok()?;
    let (number, zone) =
        text.split_once('%').map_or((text.as_str(), None), |(number, zone)| (number, Some(zone)));
    number.parse::<Ipv6Addr>().ok()?;
    if zone == Some("") {
        return None;
    }
    Some([b"[".as_slice(), &address, b"]", &unescape(after, Part::Host)?].concat())
}

fn port(text: &[u8]) -> Option<()> {
    match text.split_first() {
        None => Some(()),
        Some((b':', digits)) if digits.iter().all(u8::is_ascii_digit) => Some(()),
        Some(_) => None,
    }
}

fn escapes(byte: u8, part: Part) -> bool {
    if byte.is_ascii_alphanumeric() {
        return false;
    }
    if matches!(part, Part::Host | Part::Zone) && b"!$&'()*+,;=:[]<>\"".contains(&byte) {
        return false;
    }
    match byte {
        b'-' | b'_' | b'.' | b'~' => false,
        b'$' | b'&' | b'+' | b',' | b'/' | b':' | b';' | b'=' | b'?' | b'@' => match part {
            Part::Path => byte == b'?',
            Part::User => b"@/?:".contains(&byte),
            Part::Fragment => false,
            Part::Host | Part::Zone => true,
        },
        b'!' | b'(' | b')' | b'*' => part != Part::Fragment,
        _ => true,
    }
}

fn escape(bytes: &[u8], part: Part) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for byte in bytes {
        if escapes(*byte, part) {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        } else {
            out.push(*byte);
        }
    }
    out
}

fn unescape(text: &[u8], part: Part) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte == b'%' {
            let (digits, after) = after.split_first_chunk::<2>()?;
            let value = hex(digits)?;
            let percent = digits == b"25";
            // A host may only escape what is no ASCII; a zone also what a host could not hold.
            let refused = match part {
                Part::Host => value < 0x80 && !percent,
                Part::Zone => !percent && value != b' ' && escapes(value, Part::Host),
                _ => false,
            };
            if refused {
                return None;
            }
            rest = after;
            out.push(value);
        } else {
            if matches!(part, Part::Host | Part::Zone) && byte.is_ascii() && escapes(*byte, part) {
                return None;
            }
            out.push(*byte);
        }
    }
    Some(out)
}

fn hex(digits: &[u8; 2]) -> Option<u8> {
    let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
    u8::try_from(high? * 16 + low?).ok()
}
