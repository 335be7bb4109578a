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

/// The blocks of a text, one after the other.
#[derive(Debug)]
pub(crate) struct Blocks<'a> {
    data: &'a [u8],
    at: usize,
    /// Where the lines begin that all hold a colon, up to the end. Looked for once, so that the whole takes linear time.
    colons: Option<usize>,
}

/// The first block, if there is one.
pub(crate) fn decode(data: &[u8]) -> Option<Block<'_>> {
    blocks(data).next()
}

/// All of them.
pub(crate) fn blocks(data: &[u8]) -> Blocks<'_> {
    Blocks { data, at: 0, colons: None }
}

enum Attempt<'a> {
    Block(Block<'a>, usize),
    /// This is no block; a later one may be.
    Next,
    /// There is none at all.
    Nothing,
}

impl<'a> Iterator for Blocks<'a> {
    type Item = Block<'a>;

    fn next(&mut self) -> Option<Block<'a>> {
        loop {
            let end = self.at + find(self.data.get(self.at..)?, END)?;
            match self.block(end) {
                Attempt::Block(block, after) => {
                    self.at = after;
                    return Some(block);
                }
                Attempt::Nothing => return None,
                Attempt::Next => self.at = end + END.len(),
            }
        }
    }
}

impl<'a> Blocks<'a> {
    /// Tries what lies before the end line at `end`.
    fn block(&mut self, end: usize) -> Attempt<'a> {
        let (data, at) = (self.data, self.at);
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
            if position >= data.len() || (headers && end < position) {
                // Go reads on to the first line without a colon, and gives up where there is none.
                return if position >= self.colons_to_the_end() { Attempt::Nothing } else { Attempt::Next };
            }
            let (header, next) = line(data, position);
            if !header.contains(&b':') {
                break;
            }
            headers = true;
            position = next;
        }
        let trailer = data.get(end + END.len()..).unwrap_or_default();
        let Some(after) = trailer.strip_prefix(label).and_then(|after| after.strip_prefix(DASHES)) else {
            return Attempt::Next;
        };
        if !line(after, 0).0.is_empty() {
            return Attempt::Next;
        }
        let text = data.get(position..end).unwrap_or_default();
        let text: Vec<u8> = text.iter().copied().filter(|byte| !matches!(byte, b' ' | b'\t')).collect();
        let Some(bytes) = base64::standard(&text) else { return Attempt::Next };
        let (_, after) = line(data, end + END.len() - 1);
        Attempt::Block(Block { label, bytes, rest: data.get(after..).unwrap_or_default() }, after)
    }

    fn colons_to_the_end(&mut self) -> usize {
        let data = self.data;
        *self.colons.get_or_insert_with(|| {
            let mut start = data.len();
            while start > 0 {
                let before = data.get(..start).unwrap_or_default();
                let text = before.strip_suffix(b"\n").unwrap_or(before);
                let begin = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
                if !text.get(begin..).unwrap_or_default().contains(&b':') {
                    break;
                }
                start = begin;
            }
            start
        })
    }
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

#[cfg(test)]
mod tests {
    use super::blocks;

    /// Checks the labels of the blocks of a text.
    fn check(text: &str, labels: &[&str]) {
        let found: Vec<_> =
            blocks(text.as_bytes()).map(|block| String::from_utf8_lossy(block.label).into_owned()).collect();
        assert_eq!(found, labels, "{text:?}");
    }

    #[test]
    fn a_block_starts_a_line_and_ends_with_its_own_label() {
        check("-----BEGIN A-----\nAAAA\n-----END A-----", &["A"]);
        check("x\n-----BEGIN A-----\r\nAA AA\r\n-----END A-----\r\ny", &["A"]);
        check("x-----BEGIN A-----\nAAAA\n-----END A-----", &[]);
        check("-----BEGIN A-----\nAAAA\n-----END B-----", &[]);
        check("-----BEGIN A-----\nAAAA\n-----END A-----x", &[]);
        check("-----BEGIN A-----\n-----END A-----", &["A"]);
        check("-----BEGIN A-----\n*\n-----END A-----\n-----BEGIN B-----\n-----END B-----", &["B"]);
        check(
            "-----BEGIN A-----\na: b\n\nAAAA\n-----END A-----\n-----BEGIN B-----\n-----END B-----",
            &["A", "B"],
        );
    }

    #[test]
    fn lines_that_might_be_headers_are_read_in_linear_time() {
        let lines = "-----BEGIN A:-----\n-----END :\n".repeat(100_000);
        check(&format!("{lines}z\n"), &[]);
        check(&lines, &[]);
    }
}
