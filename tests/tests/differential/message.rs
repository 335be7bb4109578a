//! HTTP/1.1 requests as an upstream that repairs nothing reads them, written from RFC 9112 and sharing no code with any
//! proxy.

/// One request, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Message {
    /// The values of a header field.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(has, _)| has.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Whether its sender wants to be told before it sends the body.
    pub fn expects(&self) -> bool {
        self.all("expect").any(|value| value.eq_ignore_ascii_case("100-continue"))
    }

    /// What a proxy that reads strictly must never send on.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.all("host").count() != 1 {
            faults.push(format!("{} Host fields", self.all("host").count()));
        }
        if !self.target.starts_with('/') {
            faults.push(format!("the target `{}`", self.target));
        }
        for name in ["connection", "keep-alive", "te", "upgrade", "http2-settings", "proxy-connection"] {
            if self.all(name).any(|value| name != "te" || value != "trailers") {
                faults.push(format!("`{name}`, which is for one hop"));
            }
        }
        faults.extend(
            self.headers.iter().filter(|(name, _)| name.contains('_')).map(|(name, _)| format!("`{name}`")),
        );
        faults
    }
}

/// What stands at the beginning of some bytes.
#[derive(Debug)]
pub enum Read {
    /// A request, and how many bytes it takes.
    Whole(Message, usize),
    /// The beginning of one: its head, if that is there.
    Part(Option<Message>),
}

/// Reads the request at the beginning of `bytes`.
///
/// # Errors
/// When there can be none, with what is wrong.
pub fn read(bytes: &[u8]) -> Result<Read, String> {
    let Some(end) = find(bytes, b"\r\n\r\n") else { return Ok(Read::Part(None)) };
    let text = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = text.split("\r\n");
    let mut message = first_line(lines.next().unwrap_or_default())?;
    for line in lines {
        message.headers.push(field(line)?);
    }
    let lengths: Vec<&str> = message.all("content-length").collect();
    let codings: Vec<&str> = message.all("transfer-encoding").collect();
    let (body, rest) = match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => (Some(Vec::new()), 0),
        ([length], []) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
            let length: usize = length.parse().map_err(|_| format!("the length `{length}`"))?;
            (bytes[end + 4..].get(..length).map(<[u8]>::to_vec), length)
        }
        ([], [coding]) if coding.eq_ignore_ascii_case("chunked") => match chunks(&bytes[end + 4..])? {
            Some((body, taken)) => (Some(body), taken),
            None => (None, 0),
        },
        (lengths, codings) => return Err(format!("lengths {lengths:?} and codings {codings:?}")),
    };
    Ok(match body {
        Some(body) => {
            message.body = body;
            Read::Whole(message, end + 4 + rest)
        }
        None => Read::Part(Some(message)),
    })
}

fn first_line(line: &str) -> Result<Message, String> {
    let words: Vec<&str> = line.split(' ').collect();
    match words.as_slice() {
        [method, target, "HTTP/1.1" | "HTTP/1.0"]
            if is_token(method) && !target.is_empty() && !target.contains(is_control) =>
        {
            let (method, target) = ((*method).to_owned(), (*target).to_owned());
            Ok(Message { method, target, headers: Vec::new(), body: Vec::new() })
        }
        _ => Err(format!("the request line {line:?}")),
    }
}

fn field(line: &str) -> Result<(String, String), String> {
    let (name, value) = line.split_once(':').ok_or_else(|| format!("the header line {line:?}"))?;
    let value = value.trim_matches([' ', '\t']);
    if !is_token(name) || value.contains(|sign| sign != '\t' && is_control(sign)) {
        return Err(format!("the header line {line:?}"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// The body in chunks at the beginning of `bytes` and how many bytes it takes; `None` while some of it is missing.
fn chunks(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, String> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let Some(end) = find(&bytes[at..], b"\r\n") else { return Ok(None) };
        let line = String::from_utf8_lossy(&bytes[at..at + end]).into_owned();
        at += end + 2;
        let size = line.split(';').next().unwrap_or_default();
        if size.is_empty() || !size.bytes().all(|byte| byte.is_ascii_hexdigit()) || line.contains(is_control)
        {
            return Err(format!("the chunk size {line:?}"));
        }
        let size = usize::from_str_radix(size, 16).map_err(|_| format!("the chunk size {line:?}"))?;
        if size == 0 {
            return trailers(bytes, at).map(|end| end.map(|end| (body, end)));
        }
        let (Some(chunk), Some(tail)) = (bytes.get(at..at + size), bytes.get(at + size..at + size + 2))
        else {
            return Ok(None);
        };
        if tail != b"\r\n" {
            return Err(format!("a chunk that ends in {tail:?}"));
        }
        body.extend_from_slice(chunk);
        at += size + 2;
    }
}

fn trailers(bytes: &[u8], mut at: usize) -> Result<Option<usize>, String> {
    loop {
        let Some(end) = find(&bytes[at..], b"\r\n") else { return Ok(None) };
        if end == 0 {
            return Ok(Some(at + 2));
        }
        field(&String::from_utf8_lossy(&bytes[at..at + end]))?;
        at += end + 2;
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn is_control(sign: char) -> bool {
    sign.is_ascii_control()
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[test]
fn the_reader_takes_a_request_only_when_it_is_one() {
    let check = |bytes: &str, is: Result<Option<&str>, &str>| {
        let was = read(bytes.as_bytes());
        match (&was, is) {
            (Ok(Read::Whole(message, taken)), Ok(Some(body))) => {
                assert_eq!(
                    (String::from_utf8_lossy(&message.body).as_ref(), *taken),
                    (body, bytes.len()),
                    "{bytes:?}"
                );
            }
            (Ok(Read::Part(_)), Ok(None)) => {}
            (Err(said), Err(why)) => assert!(said.contains(why), "{bytes:?}: {said}"),
            _ => panic!("{bytes:?}: {was:?}"),
        }
    };
    check("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Ok(Some("")));
    check("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", Ok(Some("abc")));
    check("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nab", Ok(None));
    check(
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\nA: b\r\n\r\n",
        Ok(Some("abc")),
    );
    check("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n", Err("ends in"));
    check("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n+2\r\nab\r\n0\r\n\r\n", Err("chunk size"));
    check(
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        Err("lengths"),
    );
    check("GET  / HTTP/1.1\r\n\r\n", Err("request line"));
    check("GET / HTTP/1.1\r\nA : b\r\n\r\n", Err("header line"));
    check("GET / HTTP/1.1\r\nA: b\nC: d\r\n\r\n", Err("header line"));
}
