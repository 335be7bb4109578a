//! DER taken apart by one level, where the parsers of certificates keep the pieces to themselves.

use x509_parser::asn1_rs::{Any, FromDer};

/// The tag octet of a `SEQUENCE`.
pub(crate) const SEQUENCE: u8 = 0x30;

/// One element.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Element<'a> {
    /// The first octet of its tag.
    pub(crate) tag: u8,
    /// All of it, with tag and length.
    pub(crate) whole: &'a [u8],
    /// What is inside.
    pub(crate) content: &'a [u8],
}

/// The first element, and what follows it.
pub(crate) fn element(der: &[u8]) -> Result<(Element<'_>, &[u8]), String> {
    let (rest, any) = Any::from_der(der).map_err(|error| error.to_string())?;
    let (whole, _) = der.split_at(der.len().saturating_sub(rest.len()));
    let tag = whole.first().copied().unwrap_or_default();
    Ok((Element { tag, whole, content: any.data }, rest))
}

/// All elements, up to the end.
pub(crate) fn elements(mut der: &[u8]) -> Result<Vec<Element<'_>>, String> {
    let mut found = Vec::new();
    while !der.is_empty() {
        let (next, rest) = element(der)?;
        found.push(next);
        der = rest;
    }
    Ok(found)
}

/// An element around some content.
pub(crate) fn wrap(tag: u8, content: &[u8]) -> Vec<u8> {
    let bytes = content.len().to_be_bytes();
    let length: Vec<u8> = bytes.into_iter().skip_while(|byte| *byte == 0).collect();
    let mut out = vec![tag];
    match (length.as_slice(), content.len()) {
        (_, 0) => out.push(0),
        ([short], 1..=0x7f) => out.push(*short),
        // At most eight octets tell the length, so the octet that counts them does not overflow.
        (long, _) => {
            out.push(0x80 | u8::try_from(long.len()).unwrap_or_default());
            out.extend_from_slice(long);
        }
    }
    out.extend_from_slice(content);
    out
}
