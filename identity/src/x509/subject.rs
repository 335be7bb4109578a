//! The subject of a certificate as text, for headers that other programs read.

use std::fmt::Write;

use x509_parser::oid_registry::Oid;
use x509_parser::x509::AttributeTypeAndValue;

/// The subject of a DER certificate in the form of RFC 2253: the most specific name first, special characters escaped.
/// Quotes, backslashes and what is not printable ASCII are written as `\XX`, so that the text can stand between quotes
/// wherever it goes. `None` where the certificate cannot be read. It is information, not identity.
#[must_use]
pub fn subject_rfc2253(certificate: &[u8]) -> Option<String> {
    let certificate = super::parse(certificate).ok()?;
    let names: Vec<String> = certificate
        .subject()
        .iter_rdn()
        .map(|name| name.iter().map(attribute).collect::<Vec<_>>().join("+"))
        .collect();
    Some(names.into_iter().rev().collect::<Vec<_>>().join(","))
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let value = attribute.as_str().map_or_else(|_| hexadecimal(attribute.as_slice()), escaped);
    format!("{}={value}", key(attribute.attr_type()))
}

/// RFC 2253 §2.3: the keywords of its table, and otherwise the number.
fn key(oid: &Oid<'_>) -> String {
    let number = oid.to_id_string();
    let keyword = match number.as_str() {
        "2.5.4.3" => "CN",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        _ => return number,
    };
    keyword.to_owned()
}

/// RFC 2253 §2.4.
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let last = value.len().saturating_sub(1);
    for (index, byte) in value.bytes().enumerate() {
        let is_edge = (index == 0 && matches!(byte, b'#' | b' ')) || (index == last && byte == b' ');
        match byte {
            b',' | b'+' | b'<' | b'>' | b';' => out.extend(['\\', char::from(byte)]),
            _ if is_edge => out.extend(['\\', char::from(byte)]),
            b' '..=b'~' if !matches!(byte, b'"' | b'\\') => out.push(char::from(byte)),
            _ => {
                // Writing to a string cannot fail.
                let _infallible = write!(out, "\\{byte:02X}");
            }
        }
    }
    out
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::from("#"), |mut out, byte| {
        let _infallible = write!(out, "{byte:02X}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Ca;
    use rcgen::DnType;

    fn check(names: &[(DnType, &str)], expected: &str) {
        let leaf = Ca::root("root").leaf_with("spiffe://example.org/a", |params| {
            params.distinguished_name = rcgen::DistinguishedName::new();
            for (kind, value) in names {
                params.distinguished_name.push(kind.clone(), *value);
            }
        });
        assert_eq!(subject_rfc2253(&leaf.der).as_deref(), Some(expected));
    }

    #[test]
    fn a_subject_is_written_as_rfc_2253_says() {
        check(&[(DnType::CountryName, "US"), (DnType::OrganizationName, "SPIRE")], "O=SPIRE,C=US");
        check(&[(DnType::CommonName, "a,b+c\"d\\e<f>g;h")], "CN=a\\,b\\+c\\22d\\5Ce\\<f\\>g\\;h");
        check(&[(DnType::CommonName, " # ")], "CN=\\ #\\ ");
        check(&[(DnType::CommonName, "ü\n")], "CN=\\C3\\BC\\0A");
        check(&[(DnType::CustomDnType(vec![2, 5, 4, 45]), "1")], "2.5.4.45=1");
        assert_eq!(subject_rfc2253(b"nothing"), None);
    }
}
