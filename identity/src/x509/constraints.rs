//! URI name constraints of authorities (RFC 5280 §4.2.1.10).
//!
//! webpki refuses every certificate with a URI name beneath a URI constraint, which is every SVID. Those of an authority
//! are therefore taken out of the anchor that webpki sees, and judged here; those of an intermediate stay where webpki
//! refuses them.

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};

use super::der;

/// Tags of a general subtree's base and of the two lists (RFC 5280 §4.2.1.10, §4.2.1.6).
const URI: u8 = 0x86;
const PERMITTED: u8 = 0xa0;
const EXCLUDED: u8 = 0xa1;

/// What an authority may speak for, by the host of a URI. For a SPIFFE ID that is its trust domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UriConstraints {
    permitted: Vec<Host>,
    excluded: Vec<Host>,
}

/// Which hosts a constraint names.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    /// This one.
    Exactly(String),
    /// Those that end with this, which begins with a dot, and have more before it.
    Below(String),
    /// The constraint is not a host: what would permit permits nothing, and what would exclude excludes everything.
    Unreadable,
}

impl UriConstraints {
    /// Takes the URI constraints out of the content of a `NameConstraints`. Returns them, and the content without them
    /// if anything is left.
    pub(crate) fn take_from(content: &[u8]) -> Result<(Self, Option<Vec<u8>>), String> {
        let (mut own, mut rest) = (Self::default(), Vec::new());
        for list in der::elements(content)? {
            let hosts = match list.tag {
                PERMITTED => &mut own.permitted,
                EXCLUDED => &mut own.excluded,
                tag => return Err(format!("a name constraint has the unknown part {tag:#x}")),
            };
            let mut kept = Vec::new();
            for subtree in der::elements(list.content)? {
                let (base, _) = der::element(subtree.content)?;
                // A subtree with a minimum or maximum is left to webpki, which refuses it.
                if base.tag == URI && base.whole.len() == subtree.content.len() {
                    hosts.push(Host::read(base.content));
                } else {
                    kept.extend_from_slice(subtree.whole);
                }
            }
            if !kept.is_empty() {
                rest.extend(der::wrap(list.tag, &kept));
            }
        }
        Ok((own, (!rest.is_empty()).then_some(rest)))
    }

    /// True when every URI name of a certificate lies within the constraints.
    pub(crate) fn are_met_by(&self, certificate: &X509Certificate<'_>) -> bool {
        self.permitted.is_empty() && self.excluded.is_empty()
            || uris(certificate).iter().all(|uri| host(uri).is_some_and(|host| self.allow(host)))
    }

    fn allow(&self, host: &str) -> bool {
        let permitted = self.permitted.is_empty() || self.permitted.iter().any(|rule| rule.permits(host));
        permitted && !self.excluded.iter().any(|rule| rule.excludes(host))
    }
}

impl Host {
    fn read(constraint: &[u8]) -> Self {
        let Ok(text) = std::str::from_utf8(constraint) else { return Self::Unreadable };
        let name = text.strip_prefix('.').unwrap_or(text);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if !name.split('.').all(|label| !label.is_empty() && label.bytes().all(plain)) {
            return Self::Unreadable;
        }
        let lower = text.to_ascii_lowercase();
        if name.len() == text.len() { Self::Exactly(lower) } else { Self::Below(lower) }
    }

    fn permits(&self, host: &str) -> bool {
        match self {
            Self::Exactly(name) => host.eq_ignore_ascii_case(name),
            Self::Below(name) => {
                host.len() > name.len() && host.to_ascii_lowercase().ends_with(name.as_str())
            }
            Self::Unreadable => false,
        }
    }

    fn excludes(&self, host: &str) -> bool {
        matches!(self, Self::Unreadable) || self.permits(host)
    }
}

/// The URI names of a certificate.
pub(crate) fn uris<'a>(certificate: &'a X509Certificate<'a>) -> Vec<&'a str> {
    let mut uris = Vec::new();
    for extension in certificate.extensions() {
        let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() else { continue };
        for name in &names.general_names {
            if let GeneralName::URI(uri) = name {
                uris.push(*uri);
            }
        }
    }
    uris
}

/// The host of a URI. A URI without one, or with an address for one, cannot be constrained and is refused where it
/// would have to be (RFC 5280 §4.2.1.10).
fn host(uri: &str) -> Option<&str> {
    let (_, rest) = uri.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = host_port.split_once(':').map_or(host_port, |(host, _)| host);
    let is_address = host.parse::<std::net::Ipv4Addr>().is_ok() || host.starts_with('[');
    (!host.is_empty() && !is_address).then_some(host)
}

#[cfg(test)]
mod tests;
