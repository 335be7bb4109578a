//! `multipart/form-data` taken apart as Go's `mime/multipart` does, because policies written for OPA rely on it.
//!
//! Where two readers could disagree on what a part is or what it is called, there is no answer: an upstream must not
//! find in a body what the policy did not see there.

/// The most parts of one body.
const PARTS_MAX: usize = 256;
/// The most bytes of a part's head.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// The most bytes of a boundary (RFC 2046 §5.1.1).
const BOUNDARY_BYTES_MAX: usize = 70;

/// One field of the form.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    pub(super) name: String,
    pub(super) is_json: bool,
    pub(super) content: &'a [u8],
}

/// The boundary that a content type names; `None` when it names none.
pub(super) fn boundary(content_type: &str) -> Result<Option<String>, &'static str> {
    let (_, parameters) = media_type(content_type).ok_or("its content type cannot be read")?;
    let boundary = parameters.into_iter().find(|(name, _)| name == "boundary").map(|(_, value)| value);
    match boundary {
        Some(text) if text.is_empty() || text.len() > BOUNDARY_BYTES_MAX => {
            Err("its boundary has no right length")
        }
        other => Ok(other),
    }
}

/// The fields of a form, in order. Parts without a name are left out.
pub(super) fn parts<'a>(body: &'a [u8], boundary: &str) -> Result<Vec<Part<'a>>, &'static str> {
    let dashes = format!("--{boundary}");
    let (mut rest, line_end) = after_preamble(body, dashes.as_bytes())?;
    let delimiter = [line_end, dashes.as_bytes()].concat();
    let mut parts = Vec::new();
    loop {
        let (head, after) = head(rest, line_end)?;
        let (content, after) = content(after, &delimiter, line_end)?;
        if let Some(name) = head.name {
            parts.push(Part { name, is_json: head.is_json, content });
        }
        if parts.len() > PARTS_MAX {
            return Err("it has too many parts");
        }
        match after {
            Next::Part(more) => rest = more,
            Next::End => return Ok(parts),
        }
    }
}

/// What follows the first delimiter's line, and how lines end here: what Go takes from that line as well.
fn after_preamble<'a>(body: &'a [u8], dashes: &[u8]) -> Result<(&'a [u8], &'static [u8]), &'static str> {
    let mut rest = body;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
        let (line, after) = rest.split_at_checked(at.saturating_add(1)).ok_or("it has no first part")?;
        if let Some(tail) = line.strip_prefix(dashes) {
            match trimmed_start(tail) {
                b"\r\n" => return Ok((after, b"\r\n")),
                b"\n" => return Ok((after, b"\n")),
                _ => {}
            }
        }
        rest = after;
    }
    Err("it has no first part")
}

fn trimmed_start(text: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let at = text.iter().position(|byte| !blank(byte)).unwrap_or(text.len());
    text.get(at..).unwrap_or_default()
}

/// What a part says of itself.
#[derive(Default)]
struct Head {
    name: Option<String>,
    is_json: bool,
}

fn head<'a>(mut rest: &'a [u8], line_end: &[u8]) -> Result<(Head, &'a [u8]), &'static str> {
    const CUT_SHORT: &str = "a part ends in its head";
    let whole = rest.len();
    let (mut head, mut disposed, mut typed) = (Head::default(), false, false);
    loop {
        let at = rest.iter().position(|byte| *byte == b'\n').ok_or(CUT_SHORT)?;
        let (line, after) = rest.split_at_checked(at.saturating_add(1)).ok_or(CUT_SHORT)?;
        if whole.saturating_sub(after.len()) > HEAD_BYTES_MAX {
            return Err("a part's head is too long");
        }
        rest = after;
        let line = line.strip_suffix(line_end).ok_or("lines end in two ways")?;
        if line.is_empty() {
            return Ok((head, rest));
        }
        let line = std::str::from_utf8(line).map_err(|_| "a part's head is not UTF-8")?;
        if line.chars().any(|character| character.is_control() && character != '\t') {
            return Err("a part's head holds a control character");
        }
        // A line that goes on (RFC 5322 §2.2.3) begins with a blank, so its name would be none.
        let (name, value) = line.split_once(':').ok_or("a part's head has a line without a colon")?;
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err("a part's head has a field without a name");
        }
        let value = value.trim_matches([' ', '\t']);
        if name.eq_ignore_ascii_case("content-disposition") {
            if std::mem::replace(&mut disposed, true) {
                return Err("a part has two dispositions");
            }
            head.name = field_name(value)?;
        } else if name.eq_ignore_ascii_case("content-type") {
            if std::mem::replace(&mut typed, true) {
                return Err("a part has two content types");
            }
            head.is_json = value.contains("application/json");
        } else if name.eq_ignore_ascii_case("content-transfer-encoding")
            && !["7bit", "8bit", "binary"].iter().any(|plain| value.eq_ignore_ascii_case(plain))
        {
            // Deprecated by RFC 7578 §4.7; who decodes it reads another value than who does not.
            return Err("a part has a transfer encoding");
        }
    }
}

fn field_name(disposition: &str) -> Result<Option<String>, &'static str> {
    let (kind, parameters) = media_type(disposition).ok_or("a part's disposition cannot be read")?;
    if parameters.iter().any(|(name, _)| name.starts_with("name*")) {
        return Err("a part's name is in an extended notation");
    }
    let name = parameters.into_iter().find(|(name, _)| name == "name").map(|(_, value)| value);
    Ok(name.filter(|name| kind == "form-data" && !name.is_empty()))
}

enum Next<'a> {
    Part(&'a [u8]),
    End,
}

/// A part's content up to the next delimiter, and what comes then. The delimiter's bytes with others right behind them are
/// content.
fn content<'a>(
    body: &'a [u8],
    delimiter: &[u8],
    line_end: &[u8],
) -> Result<(&'a [u8], Next<'a>), &'static str> {
    const CUT_SHORT: &str = "its last part does not end";
    // A part without content may have its delimiter right behind the empty line.
    let dashes = delimiter.get(line_end.len()..).unwrap_or_default();
    if let Some(tail) = body.strip_prefix(dashes)
        && let Some(next) = next(tail, line_end)?
    {
        return Ok((&[], next));
    }
    let mut from = 0_usize;
    loop {
        let searched = body.get(from..).ok_or(CUT_SHORT)?;
        let at = searched.windows(delimiter.len()).position(|window| window == delimiter).ok_or(CUT_SHORT)?;
        let at = from.saturating_add(at);
        let (content, tail) = body.split_at_checked(at).ok_or(CUT_SHORT)?;
        let tail = tail.get(delimiter.len()..).ok_or(CUT_SHORT)?;
        if let Some(next) = next(tail, line_end)? {
            return Ok((content, next));
        }
        from = at.saturating_add(1);
    }
}

/// What stands behind a delimiter; `None` when that makes content of it.
fn next<'a>(tail: &'a [u8], line_end: &[u8]) -> Result<Option<Next<'a>>, &'static str> {
    const UNCLEAR: &str = "a boundary's line goes on";
    match tail {
        [b'-', b'-', rest @ ..] => {
            let rest = trimmed_start(rest);
            if rest.is_empty() || rest.starts_with(line_end) { Ok(Some(Next::End)) } else { Err(UNCLEAR) }
        }
        [] | [b' ' | b'\t' | b'\r' | b'\n', ..] => {
            let part = trimmed_start(tail).strip_prefix(line_end);
            part.map(|part| Some(Next::Part(part))).ok_or(UNCLEAR)
        }
        [..] => Ok(None),
    }
}

/// A value and its parameters, names in lower case: RFC 2045 §5.1, quoted strings as Go unquotes them. A parameter that
/// stands there twice could be read either way.
fn media_type(text: &str) -> Option<(String, Vec<(String, String)>)> {
    let (kind, mut rest) = text.split_at(text.find(';').unwrap_or(text.len()));
    let kind = kind.trim().to_ascii_lowercase();
    if kind.is_empty() || !kind.bytes().all(|byte| is_token(byte) || byte == b'/') {
        return None;
    }
    let mut parameters: Vec<(String, String)> = Vec::new();
    while let Some(after) = rest.trim_start().strip_prefix(';') {
        let after = after.trim_start();
        if after.is_empty() {
            return Some((kind, parameters));
        }
        let (name, after) = after.split_once('=')?;
        let name = name.trim_end().to_ascii_lowercase();
        if name.is_empty() || !name.bytes().all(is_token) || parameters.iter().any(|(have, _)| *have == name)
        {
            return None;
        }
        let (value, after) = parameter_value(after.trim_start())?;
        parameters.push((name, value));
        rest = after;
    }
    rest.trim().is_empty().then_some((kind, parameters))
}

fn parameter_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.bytes().position(|byte| !is_token(byte)).unwrap_or(text.len());
        let (value, rest) = text.split_at_checked(end)?;
        return (!value.is_empty()).then(|| (value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, quoted.get(at.saturating_add(1)..)?)),
            // A backslash before anything but a special character is itself: it stands in paths of files.
            '\\' => match characters.next_if(|(_, next)| next.is_ascii() && is_special(*next)) {
                Some((_, special)) => value.push(special),
                None => value.push('\\'),
            },
            '\r' | '\n' => return None,
            other => value.push(other),
        }
    }
    None
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_graphic() && !is_special(char::from(byte))
}

/// RFC 2045 §5.1, `tspecials`.
fn is_special(character: char) -> bool {
    r#"()<>@,;:\"/[]?="#.contains(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(content_type: &str, body: &str, want: Result<&[(&str, &str)], &str>) {
        let got = boundary(content_type).and_then(|boundary| match boundary {
            Some(boundary) => parts(body.as_bytes(), &boundary),
            None => Ok(Vec::new()),
        });
        let got = got.map(|parts| {
            let pair = |part: &Part<'_>| {
                let content = String::from_utf8(part.content.to_vec()).unwrap();
                (part.name.clone(), if part.is_json { format!("json:{content}") } else { content })
            };
            parts.iter().map(pair).collect::<Vec<_>>()
        });
        let got = got.as_ref().map(|parts| {
            parts.iter().map(|(name, content)| (name.as_str(), content.as_str())).collect::<Vec<_>>()
        });
        assert_eq!(got.as_deref().map_err(|what| **what), want, "{content_type}: {body:?}");
    }

    /// A part named `a` with these lines in its head besides.
    fn part(disposition: &str, content: &str) -> String {
        format!("--b\r\nContent-Disposition: {disposition}\r\n\r\n{content}\r\n--b--\r\n")
    }

    #[test]
    fn forms_are_taken_apart_as_go_takes_them_apart() {
        let kind = "multipart/form-data; boundary=b";
        check(kind, &part(r#"form-data; name="a""#, "1"), Ok(&[("a", "1")]));
        check(kind, &part("form-data; name=a; filename*=UTF-8''x", "1"), Ok(&[("a", "1")]));
        check(kind, &part(r#"Form-Data; NAME="a\"b\c"; "#, "1"), Ok(&[(r#"a"b\c"#, "1")]));
        check(kind, &part("form-data", "1"), Ok(&[]));
        check(kind, &part("attachment; name=a", "1"), Ok(&[]));
        check(kind, &part("form-data; name=a", ""), Ok(&[("a", "")]));
        check(kind, &part("form-data; name=a", "x\r\n--bc\r\ny"), Ok(&[("a", "x\r\n--bc\r\ny")]));
        let two = "preamble\r\n--b \r\ncontent-disposition: form-data; name=a\r\ncontent-type: application/json; x\r\n\
                   \r\n{}\r\n--b\r\nContent-Disposition: form-data; name=a\r\n\r\n2\r\n--b-- \r\nepilogue";
        check(kind, two, Ok(&[("a", "json:{}"), ("a", "2")]));
        check(kind, &two.replace("\r\n", "\n"), Ok(&[("a", "json:{}"), ("a", "2")]));
        check(
            "multipart/form-data; charset=x; boundary=\"b\"",
            &part("form-data; name=a", "1"),
            Ok(&[("a", "1")]),
        );
        check("multipart/form-data", "", Ok(&[]));
    }

    #[test]
    fn forms_that_could_be_read_in_two_ways_are_refused() {
        let kind = "multipart/form-data; boundary=b";
        let whole = part("form-data; name=a", "1");
        check(kind, "", Err("it has no first part"));
        check(kind, &whole.replace("\r\n--b--\r\n", ""), Err("its last part does not end"));
        check(kind, "--b\r\nContent-Disposition: form-data; name=a\r\n", Err("a part ends in its head"));
        check(kind, &whole.replace("--b--\r\n", "--b--x"), Err("a boundary's line goes on"));
        check(kind, &part("form-data; name=a", "x\r\n--b y\r\n"), Err("a boundary's line goes on"));
        check(kind, &part("form-data; name=a; name=b", "1"), Err("a part's disposition cannot be read"));
        check(kind, &part("form-data; name=a b", "1"), Err("a part's disposition cannot be read"));
        check(kind, &part("form-data; name=\"a", "1"), Err("a part's disposition cannot be read"));
        check(kind, &part("form-data; name*=utf-8''a", "1"), Err("a part's name is in an extended notation"));
        check(
            kind,
            &part("form-data; name=a\r\nContent-Disposition: form-data; name=b", "1"),
            Err("a part has two dispositions"),
        );
        check(
            kind,
            &part("form-data; name=a\r\nContent-Transfer-Encoding: quoted-printable", "1"),
            Err("a part has a transfer encoding"),
        );
        check(kind, &whole.replacen("\r\n\r\n", "\n\r\n", 1), Err("lines end in two ways"));
        check(
            kind,
            &part("form-data; x=\"\r\"; name=a", "1"),
            Err("a part's head holds a control character"),
        );
        check(kind, &part("form-data;\r\n name=a", "1"), Err("a part's head has a line without a colon"));
        check("multipart/form-data; boundary=", &whole, Err("its content type cannot be read"));
        check("multipart/form-data; boundary=\"\"", &whole, Err("its boundary has no right length"));
        let many: String = (0..300)
            .map(|n| format!("--b\r\nContent-Disposition: form-data; name=p{n}\r\n\r\n\r\n"))
            .collect();
        check(kind, &format!("{many}--b--"), Err("it has too many parts"));
        check(
            kind,
            &part(&format!("form-data; name=a; x={}", "x".repeat(9000)), "1"),
            Err("a part's head is too long"),
        );
    }
}
