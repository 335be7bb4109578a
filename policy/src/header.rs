//! Which header fields a policy may set: well-formed ones that do not belong to the connection or its framing.

/// The most header fields that one verdict may set or remove.
pub(crate) const FIELDS_MAX: usize = 64;
/// The most bytes of one value.
const VALUE_BYTES_MAX: usize = 8 * 1024;
/// The most bytes of one name.
const NAME_BYTES_MAX: usize = 128;

/// Fields that frame the message or belong to one hop: a policy that could write them could smuggle requests.
const CONNECTION_FIELDS: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Why a field cannot be set.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum FieldError {
    #[error("header name `{0}` is no token of RFC 9110, or too long")]
    Name(String),
    #[error("header `{0}` belongs to the connection: a policy cannot set or remove it")]
    Connection(String),
    #[error("the value of header `{0}` holds a character that cannot stand in a field, or is too long")]
    Value(String),
}

/// The name in lower case, if a policy may write it.
pub(crate) fn checked_name(name: &str) -> Result<String, FieldError> {
    let shown = || name.chars().take(64).collect::<String>();
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_token) {
        return Err(FieldError::Name(shown()));
    }
    let lower = name.to_ascii_lowercase();
    if CONNECTION_FIELDS.contains(&lower.as_str()) {
        return Err(FieldError::Connection(lower));
    }
    Ok(lower)
}

/// The value without outer blanks, if it can stand in a field.
pub(crate) fn checked_value(name: &str, value: &str) -> Result<String, FieldError> {
    let trimmed = value.trim_matches([' ', '\t']);
    let visible = |b: u8| b == b'\t' || (0x20..0x7f).contains(&b);
    if trimmed.len() > VALUE_BYTES_MAX || !trimmed.bytes().all(visible) {
        return Err(FieldError::Value(name.to_owned()));
    }
    Ok(trimmed.to_owned())
}

/// A checked pair.
pub(crate) fn checked(name: &str, value: &str) -> Result<(String, String), FieldError> {
    let name = checked_name(name)?;
    let value = checked_value(&name, value)?;
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, value: &str, want: Option<(&str, &str)>) {
        let got = checked(name, value).ok();
        assert_eq!(got.as_ref().map(|(n, v)| (n.as_str(), v.as_str())), want, "{name}: {value}");
    }

    #[test]
    fn only_well_formed_fields_that_are_not_the_connections_can_be_set() {
        check("X-Role", " admin ", Some(("x-role", "admin")));
        check("x-empty", "", Some(("x-empty", "")));
        check("content-length", "0", None);
        check("Transfer-Encoding", "chunked", None);
        check("host", "evil", None);
        check(":path", "/", None);
        check("x y", "1", None);
        check("", "1", None);
        check("x", "a\r\nb: c", None);
        check("x", "a\0", None);
        check("x", &"v".repeat(9000), None);
    }
}
