//! Paths and queries taken apart as Go's `net/url` does, because policies written for OPA rely on it.

/// `strings.Split(strings.TrimLeft(url.PathUnescape(path), "/"), "/")`: decoded first, then split.
pub(super) fn path_segments(path: &str) -> Result<Vec<String>, &'static str> {
    let decoded = unescaped(path, Plus::Literal)?;
    Ok(decoded.trim_start_matches('/').split('/').map(str::to_owned).collect())
}

/// `url.ParseQuery`: `+` is a blank, a `;` and a bad escape are errors. Names in order of appearance.
pub(super) fn query_values(query: &str) -> Result<Vec<(String, Vec<String>)>, &'static str> {
    let mut values: Vec<(String, Vec<String>)> = Vec::new();
    for part in query.split('&').filter(|part| !part.is_empty()) {
        if part.contains(';') {
            return Err("it holds a `;`");
        }
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let (name, value) = (unescaped(name, Plus::Blank)?, unescaped(value, Plus::Blank)?);
        match values.iter_mut().find(|(have, _)| *have == name) {
            Some((_, list)) => list.push(value),
            None => values.push((name, vec![value])),
        }
        if values.len() > NAMES_MAX {
            return Err("it has too many names");
        }
    }
    Ok(values)
}

/// The most different names in a query: looking one up must not cost a decision.
const NAMES_MAX: usize = 256;

/// What a `+` means.
#[derive(Clone, Copy)]
enum Plus {
    Literal,
    Blank,
}

fn unescaped(text: &str, plus: Plus) -> Result<String, &'static str> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        match (byte, plus) {
            (b'%', _) => {
                let high =
                    bytes.next().and_then(hex).ok_or("a `%` is not followed by two hexadecimal digits")?;
                let low =
                    bytes.next().and_then(hex).ok_or("a `%` is not followed by two hexadecimal digits")?;
                out.push(high * 16 + low);
            }
            (b'+', Plus::Blank) => out.push(b' '),
            (other, Plus::Literal | Plus::Blank) => out.push(other),
        }
    }
    String::from_utf8(out).map_err(|_| "it is not UTF-8 after decoding")
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_decoded_and_then_split() {
        let check = |path: &str, want: Option<&[&str]>| {
            let got = path_segments(path).ok();
            assert_eq!(
                got.as_ref().map(|s| s.iter().map(String::as_str).collect::<Vec<_>>()),
                want.map(<[_]>::to_vec)
            );
        };
        check("/", Some(&[""]));
        check("/a/b", Some(&["a", "b"]));
        check("//a/", Some(&["a", ""]));
        check("/a%2Fb", Some(&["a", "b"]));
        check("/a+b", Some(&["a+b"]));
        check("/%zz", None);
        check("/%ff", None);
    }

    #[test]
    fn queries_are_parsed_as_go_parses_them() {
        let check = |query: &str, want: Option<&[(&str, &[&str])]>| {
            let got = query_values(query).ok();
            let want: Option<Vec<(String, Vec<String>)>> = want.map(|rows| {
                rows.iter()
                    .map(|(n, v)| ((*n).to_owned(), v.iter().map(|s| (*s).to_owned()).collect()))
                    .collect()
            });
            assert_eq!(got, want, "{query}");
        };
        check("", Some(&[]));
        check("a=1&a=2&b", Some(&[("a", &["1", "2"]), ("b", &[""])]));
        check("a=x+y%20z&&=", Some(&[("a", &["x y z"]), ("", &[""])]));
        check("a=1;b=2", None);
        check("a=%", None);
        check(&(0..300).map(|n| format!("k{n}=1&")).collect::<String>(), None);
    }
}
