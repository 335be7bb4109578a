//! Which query parameters a policy may set: those that are one parameter as they are spelled.

/// The most bytes of one name.
const NAME_BYTES_MAX: usize = 256;
/// The most bytes of one value.
const VALUE_BYTES_MAX: usize = 4 * 1024;

/// The name, if it can stand in a query. It is not encoded: who wrote it has done that, or it would be done twice.
pub(crate) fn checked_name(name: &str) -> Result<String, String> {
    if name.is_empty()
        || name.len() > NAME_BYTES_MAX
        || !name.bytes().all(|byte| stands(byte) && byte != b'=')
    {
        let shown: String = name.chars().take(64).collect();
        return Err(format!("`{shown}` cannot be the name of a query parameter as it is spelled"));
    }
    Ok(name.to_owned())
}

/// The value, if it can stand in a query as it is.
pub(crate) fn checked_value(name: &str, value: &str) -> Result<String, String> {
    if value.len() > VALUE_BYTES_MAX || !value.bytes().all(stands) {
        return Err(format!(
            "the value of query parameter `{name}` is too long, or holds a character that has to be encoded; \
             `urlquery.encode` does that"
        ));
    }
    Ok(value.to_owned())
}

/// What ends a parameter or the query would make two parameters of one.
fn stands(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'&' | b'#' | b';')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, value: &str, want: bool) {
        let got = checked_name(name).and_then(|name| checked_value(&name, value));
        assert_eq!(got.is_ok(), want, "{name}={value}: {got:?}");
    }

    #[test]
    fn only_what_stays_one_parameter_can_be_set() {
        check("a", "1", true);
        check("a", "", true);
        check("a[]", "x=y%20z+w", true);
        check("a", "1&admin=1", false);
        check("a", "1;admin=1", false);
        check("a", "1#", false);
        check("a", "1 2", false);
        check("a", "é", false);
        check("a", "1\r\n", false);
        check("a", &"x".repeat(5000), false);
        check("a=b", "1", false);
        check("", "1", false);
    }
}
