//! PEM as Go reads it: what is no block is skipped, and lines of `name: value` may stand before the data.
use super::base64;

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"\n-----END ";
const DASHES: &[u8] = b"-----";

/// A block, and what follows it.
#[derive(Debug)]
pub(crate) struct Block<'a> {
    pub(crate) label: &'a [u8],
    pub(crate) bytes: Vec<u8>,
    pub(crate) rest: &'a [u8],
}

/// The first block, if there is one.
pub(crate) fn decode(data: &[u8]) -> Option<Block<'_>> {
    let mut at = 0;
    loop {
        let end = at + find(data.get(at..)?, END)?;
        let after_end = end + END.len();
        match block(data, at, end) {
            Attempt::Block(block) => return Some(block),
            Attempt::Nothing => return None,
            Attempt::Next => at = after_end,
        }
    }
}

enum Attempt<'a> {
    Block(Block<'a>),
    /// This is no block; a later one may be.
    Next,
    /// There is none at all.
    Nothing,
}

/// Tries what lies between `at` and the end line at `end`.
fn block(data: &[u8], at: usize, end: usize) -> Attempt<'_> {
    let Some(begin) = data.get(at..end).and_then(|before| rfind(before, BEGIN)).map(|found| at + found)
    else {
        return Attempt::Next;
    };
    if begin > at && begin.checked_sub(1).and_then(|before| data.get(before)) != Some(&b'\n') {
        return Attempt::Next;
    }
    let (first, mut position) = line(data, begin + BEGIN.len());
    let Some(label) = first.strip_suffix(DASHES) else { return Attempt::Next };
    let mut headers = false;
    loop {
        if position >= data.len() {
            return Attempt::Nothing;
        }
        let (header, next) = line(data, position);
        if !header.contains(&b':') {
            break;
        }
        headers = true;
        position = next;
    }
    if headers && end < position {
        return Attempt::Next;
    }
    let trailer = data.get(end + END.len()..).unwrap_or_default();
    let Some(after) = trailer.strip_prefix(label).and_then(|after| after.strip_prefix(DASHES)) else {
        return Attempt::Next;
    };
    if !line(after, 0).0.is_empty() {
        return Attempt::Next;
    }
    let text: Vec<u8> = data.get(position..end).unwrap_or_default().to_vec();
    let text: Vec<u8> = text.into_iter().filter(|byte| !matches!(byte, b' ' | b'\t')).collect();
    let Some(bytes) = base64::standard(&text) else { return Attempt::Next };
    let (_, rest) = line(data, end + END.len() - 1);
    Attempt::Block(Block { label, bytes, rest: data.get(rest..).unwrap_or_default() })
}

/// The line at a position without its end and trailing blanks, and where the next one starts.
fn line(data: &[u8], at: usize) -> (&[u8], usize) {
    let rest = data.get(at..).unwrap_or_default();
    let (line, next) = match rest.iter().position(|byte| *byte == b'\n') {
        Some(length) => {
            let line = rest.get(..length).unwrap_or_default();
            (line.strip_suffix(b"\r").unwrap_or(line), at + length + 1)
        }
        None => (rest, data.len()),
    };
    let blanks = line.iter().rev().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    (line.get(..line.len().saturating_sub(blanks)).unwrap_or_default(), next)
}

fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len()).position(|window| window == needle)
}

fn rfind(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len()).rposition(|window| window == needle)
}
