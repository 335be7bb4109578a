//! For every path: refused, or the same to every upstream.
//!
//! Four ways in which upstreams read a path stand here as small oracles. None of them shares code with the
//! canonicaliser.
use super::super::path;
use proptest::prelude::*;

/// Percent escapes decoded once; what is no escape stays.
fn decode(path: &str) -> Vec<u8> {
    let bytes = path.as_bytes();
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let escape = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match escape.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if bytes[at] == b'%' => {
                decoded.push(byte);
                at += 3;
            }
            _ => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    decoded
}

fn resolve_dots(
    segments: Vec<Vec<u8>>,
    is_dot: fn(&[u8]) -> bool,
    is_dot_dot: fn(&[u8]) -> bool,
) -> Vec<Vec<u8>> {
    let mut resolved: Vec<Vec<u8>> = Vec::new();
    let last = segments.len().saturating_sub(1);
    for (position, segment) in segments.into_iter().enumerate() {
        if is_dot_dot(&segment) {
            resolved.pop();
        }
        match is_dot(&segment) || is_dot_dot(&segment) {
            true if position == last => resolved.push(Vec::new()),
            true => {}
            false => resolved.push(segment),
        }
    }
    resolved
}

fn join(segments: &[Vec<u8>]) -> Vec<u8> {
    segments.iter().flat_map(|segment| [b"/".as_slice(), segment].concat()).collect()
}

fn split(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|byte| *byte == b'/').skip(1).map(<[u8]>::to_vec).collect()
}

/// RFC 3986 §5.2.4, then decoded.
fn rfc3986(path: &str) -> Vec<u8> {
    let segments =
        resolve_dots(split(path.as_bytes()), |segment| segment == b".", |segment| segment == b"..");
    decode(&String::from_utf8(join(&segments)).unwrap())
}

/// The WHATWG URL standard's path state for special schemes: `\` separates, `%2e` is a dot.
fn whatwg(path: &str) -> Vec<u8> {
    fn undot(segment: &[u8]) -> Vec<u8> {
        String::from_utf8_lossy(segment).to_lowercase().replace("%2e", ".").into_bytes()
    }
    let slashes = path.replace('\\', "/");
    let segments = resolve_dots(
        split(slashes.as_bytes()),
        |segment| undot(segment) == b".",
        |segment| undot(segment) == b"..",
    );
    decode(&String::from_utf8(join(&segments)).unwrap())
}

/// Tomcat's order: parameters off, decode, `\` to `/`, slashes merged, dots resolved.
fn servlet(path: &str) -> Vec<u8> {
    let plain: Vec<&str> = path.split('/').map(|segment| segment.split(';').next().unwrap()).collect();
    let decoded: Vec<u8> =
        decode(&plain.join("/")).iter().map(|b| if *b == b'\\' { b'/' } else { *b }).collect();
    let segments = merge(split(&decoded));
    join(&resolve_dots(segments, |segment| segment == b".", |segment| segment == b".."))
}

/// nginx with `merge_slashes`: decode, merge, resolve.
fn merging(path: &str) -> Vec<u8> {
    let segments = merge(split(&decode(path)));
    join(&resolve_dots(segments, |segment| segment == b".", |segment| segment == b".."))
}

/// Empty segments out, but for the one behind a trailing slash.
fn merge(segments: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let last = segments.len().saturating_sub(1);
    let kept =
        |(position, segment): (usize, Vec<u8>)| (!segment.is_empty() || position == last).then_some(segment);
    segments.into_iter().enumerate().filter_map(kept).collect()
}

/// Pieces of paths as attackers put them together.
fn hostile_path() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-zA-Z0-9._~-]{1,3}",
        3 => Just("/".to_owned()),
        1 => Just("..".to_owned()),
        1 => Just(".".to_owned()),
        1 => "[!$&'()*+,;=:@]",
        1 => "[\\[\\]|{}\"^`<>\\\\# ?é]",
        3 => "%[0-9a-fA-F]{2}",
        2 => prop::sample::select(vec![
            "%2e", "%2F", "%5c", "%25", "%3b", "%00", "%c3%a9", "%c0%ae", "%252e", "%25%32%65", "%", "%3F", "%23", ";",
        ]).prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| format!("/{}", pieces.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

    #[test]
    fn a_path_is_refused_or_the_same_to_every_decoder(sent in hostile_path()) {
        let Ok(canonical) = path::canonical(&sent) else { return Ok(()) };
        let expected = decode(&canonical);
        prop_assert_eq!(&rfc3986(&canonical), &expected);
        prop_assert_eq!(&whatwg(&canonical), &expected);
        prop_assert_eq!(&merging(&canonical), &expected);
        prop_assert_eq!(servlet(&canonical), decode(&path::without_params(&canonical)));
        // And a decoder that had seen the path as sent would have read the same.
        prop_assert_eq!(&rfc3986(&sent), &expected);
        prop_assert_eq!(&whatwg(&sent), &expected);
    }

    #[test]
    fn canonicalising_twice_changes_nothing(sent in hostile_path()) {
        if let Ok(canonical) = path::canonical(&sent) {
            let again = path::canonical(&canonical);
            prop_assert_eq!(again.as_deref(), Ok(&*canonical));
        }
    }

    #[test]
    fn any_text_is_judged_without_a_panic(sent in "\\PC{0,40}") {
        for sent in [format!("/{sent}"), sent] {
            // What passes is plain ASCII in any case.
            prop_assert!(path::canonical(&sent).map_or(true, |canonical| canonical.is_ascii()));
        }
    }
}
