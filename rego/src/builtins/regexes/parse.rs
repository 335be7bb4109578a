//! Reads the syntax of Go's `regexp` (RE2 with Perl's classes) and writes the same expression in the syntax of our engine,
//! so that each means what it means in OPA, and neither accepts what the other refuses.
use super::class::{self, Class};

/// A translated expression.
#[derive(Debug)]
pub(super) struct Translated {
    /// The same in our engine's syntax. Its groups have no names.
    pub(super) source: String,
    /// The names of the groups, beginning with the whole match.
    pub(super) names: Vec<String>,
    /// About how many states a machine for it has.
    pub(super) weight: u64,
}

/// The most copies that repetitions may make of what they repeat.
const REPEAT_MAX: u64 = 1000;
/// The largest machine, in Go's instructions.
const SIZE_MAX: u64 = (128 << 20) / 40;
/// The deepest tree.
const HEIGHT_MAX: u32 = 1000;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flags {
    pub(super) fold: bool,
    multi_line: bool,
    dot_newline: bool,
    lazy: bool,
}

/// How tightly a piece of source holds together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Alternation,
    Concatenation,
    Repetition,
    Atom,
}

#[derive(Debug)]
struct Piece {
    source: String,
    level: Level,
    /// Go's count of instructions.
    size: u64,
    height: u32,
    /// The largest product of nested repetitions in it.
    copies: u64,
    weight: u64,
}

impl Piece {
    fn atom(source: String, weight: u64) -> Self {
        Self { source, level: Level::Atom, size: 1, height: 1, copies: 1, weight }
    }

    /// The source, in a group if it holds together less than it must.
    fn within(&self, level: Level) -> String {
        if self.level >= level { self.source.clone() } else { format!("(?:{})", self.source) }
    }
}

/// An open parenthesis, or the whole.
#[derive(Debug, Default)]
struct Frame {
    capturing: bool,
    /// The flags before it.
    outer: Flags,
    alternatives: Vec<Piece>,
    current: Vec<Piece>,
}

struct Parser<'a> {
    rest: &'a str,
    flags: Flags,
    frames: Vec<Frame>,
    names: Vec<String>,
    /// Whether the last thing was a repetition: two in a row are refused.
    repeated: bool,
}

/// Reads an expression.
///
/// # Errors
/// Why Go refuses it.
pub(super) fn translated(expression: &str) -> Result<Translated, String> {
    let mut parser = Parser {
        rest: expression,
        flags: Flags::default(),
        frames: vec![Frame::default()],
        names: vec![String::new()],
        repeated: false,
    };
    while let Some(character) = parser.rest.chars().next() {
        parser.item(character)?;
    }
    let frame = parser.frames.pop().unwrap_or_default();
    if !parser.frames.is_empty() {
        return Err("missing closing )".to_owned());
    }
    let whole = closed(frame)?;
    Ok(Translated { source: whole.source, names: parser.names, weight: whole.weight })
}

/// All alternatives of a frame as one piece.
fn closed(mut frame: Frame) -> Result<Piece, String> {
    let last = concatenated(std::mem::take(&mut frame.current))?;
    frame.alternatives.push(last);
    joined(frame.alternatives, "|", Level::Alternation)
}

fn concatenated(pieces: Vec<Piece>) -> Result<Piece, String> {
    if pieces.is_empty() {
        return Ok(Piece { level: Level::Concatenation, ..Piece::atom(String::new(), 1) });
    }
    joined(pieces, "", Level::Concatenation)
}

fn joined(mut pieces: Vec<Piece>, between: &str, level: Level) -> Result<Piece, String> {
    if pieces.len() == 1
        && let Some(piece) = pieces.pop()
    {
        return Ok(piece);
    }
    let bars = u64::try_from(pieces.len()).unwrap_or(u64::MAX).saturating_sub(1);
    let mut whole = Piece {
        level,
        size: if level == Level::Alternation { bars } else { 0 },
        ..Piece::atom(String::new(), 0)
    };
    for (index, piece) in pieces.iter().enumerate() {
        if index > 0 {
            whole.source.push_str(between);
        }
        whole.source.push_str(&piece.within(level));
        whole.size = whole.size.saturating_add(piece.size);
        whole.height = whole.height.max(piece.height.saturating_add(1));
        whole.copies = whole.copies.max(piece.copies);
        whole.weight = whole.weight.saturating_add(piece.weight).saturating_add(1);
    }
    limited(whole)
}

fn limited(piece: Piece) -> Result<Piece, String> {
    if piece.size > SIZE_MAX {
        return Err("expression too large".to_owned());
    }
    if piece.height > HEIGHT_MAX {
        return Err("expression nests too deeply".to_owned());
    }
    Ok(piece)
}

impl<'a> Parser<'a> {
    fn push(&mut self, piece: Piece) {
        if let Some(frame) = self.frames.last_mut() {
            frame.current.push(piece);
        }
    }

    /// Takes a text off the front, if it is there.
    fn take(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn next(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let character = characters.next()?;
        self.rest = characters.as_str();
        Some(character)
    }

    fn item(&mut self, character: char) -> Result<(), String> {
        let repeated = std::mem::take(&mut self.repeated);
        match character {
            '(' if self.rest.starts_with("(?") => return self.group(),
            '(' => {
                self.next();
                self.open(true);
                self.names.push(String::new());
            }
            ')' => {
                self.next();
                return self.close();
            }
            '|' => {
                self.next();
                if let Some(frame) = self.frames.last_mut() {
                    let alternative = concatenated(std::mem::take(&mut frame.current))?;
                    frame.alternatives.push(alternative);
                }
            }
            '*' | '+' | '?' => {
                self.next();
                let (least, most) = match character {
                    '*' => (0, None),
                    '+' => (1, None),
                    _ => (0, Some(1)),
                };
                return self.repeat(character, least, most, repeated);
            }
            '{' => match counts(self.rest)? {
                Some((least, most, rest)) => {
                    self.rest = rest;
                    return self.repeat(character, least, most, repeated);
                }
                None => {
                    self.next();
                    self.literal('{');
                }
            },
            '[' => {
                let (class, rest) = class::bracketed(self.rest, self.flags.fold)?;
                self.rest = rest;
                self.class(&class);
            }
            '\\' => return self.escape(),
            _ => {
                self.next();
                let flags = self.flags;
                let atom = match character {
                    '^' if flags.multi_line => Piece::atom("(?m:^)".to_owned(), 1),
                    '^' => Piece::atom("\\A".to_owned(), 1),
                    '$' if flags.multi_line => Piece::atom("(?m:$)".to_owned(), 1),
                    '$' => Piece::atom("\\z".to_owned(), 1),
                    '.' if flags.dot_newline => Piece::atom("(?s:.)".to_owned(), 8),
                    '.' => Piece::atom("[^\\n]".to_owned(), 8),
                    _ => return self.literal_done(character),
                };
                self.push(atom);
            }
        }
        Ok(())
    }

    fn literal_done(&mut self, character: char) -> Result<(), String> {
        self.literal(character);
        Ok(())
    }

    fn literal(&mut self, character: char) {
        let mut bytes = [0; 4];
        let escaped = regex::escape(character.encode_utf8(&mut bytes));
        // What has no case needs no folding.
        let caseless =
            character.is_ascii() && !character.is_ascii_alphabetic() || class::folded_later(character);
        if self.flags.fold && !caseless {
            self.push(Piece::atom(format!("(?i:{escaped})"), 3));
        } else {
            self.push(Piece::atom(escaped, 1));
        }
    }

    fn class(&mut self, class: &Class) {
        let weight = class.weight();
        self.push(Piece::atom(class.source(self.flags.fold), weight));
    }

    fn open(&mut self, capturing: bool) {
        self.frames.push(Frame { capturing, outer: self.flags, ..Frame::default() });
    }

    fn close(&mut self) -> Result<(), String> {
        let frame = self.frames.pop().unwrap_or_default();
        if self.frames.is_empty() {
            return Err("unexpected )".to_owned());
        }
        self.flags = frame.outer;
        let capturing = frame.capturing;
        let inner = closed(frame)?;
        if !capturing {
            self.push(inner);
            return Ok(());
        }
        let group = limited(Piece {
            source: format!("({})", inner.source),
            level: Level::Atom,
            size: inner.size.saturating_add(2),
            height: inner.height.saturating_add(1),
            copies: inner.copies,
            weight: inner.weight.saturating_add(2),
        })?;
        self.push(group);
        Ok(())
    }

    /// What begins with `(?`: a named group, a group with flags, or flags for the rest of the group at hand.
    fn group(&mut self) -> Result<(), String> {
        for opening in ["(?P<", "(?<"] {
            if self.rest.starts_with(opening) && self.rest.len() > opening.len() {
                let (name, rest) = self
                    .rest
                    .strip_prefix(opening)
                    .and_then(|rest| rest.split_once('>'))
                    .ok_or("invalid named capture")?;
                if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                    return Err("invalid named capture".to_owned());
                }
                self.open(true);
                self.names.push(name.to_owned());
                self.rest = rest;
                return Ok(());
            }
        }
        self.take("(?");
        let mut flags = self.flags;
        let (mut on, mut seen) = (true, false);
        loop {
            match self.next() {
                Some('i') => flags.fold = on,
                Some('m') => flags.multi_line = on,
                Some('s') => flags.dot_newline = on,
                Some('U') => flags.lazy = on,
                Some('-') if on => {
                    (on, seen) = (false, false);
                    continue;
                }
                Some(end @ (':' | ')')) if on || seen => {
                    if end == ':' {
                        self.open(false);
                    }
                    self.flags = flags;
                    return Ok(());
                }
                _ => return Err("invalid or unsupported Perl syntax".to_owned()),
            }
            seen = true;
        }
    }

    /// Repeats what was read last.
    fn repeat(
        &mut self,
        operator: char,
        least: u64,
        most: Option<u64>,
        repeated: bool,
    ) -> Result<(), String> {
        let lazy = self.take("?") != self.flags.lazy;
        if repeated {
            return Err("invalid nested repetition operator".to_owned());
        }
        let inner = self
            .frames
            .last_mut()
            .and_then(|frame| frame.current.pop())
            .ok_or("missing argument to repetition operator")?;
        let written = match (operator, most) {
            ('{', Some(most)) if most == least => format!("{{{least}}}"),
            ('{', Some(most)) => format!("{{{least},{most}}}"),
            ('{', None) => format!("{{{least},}}"),
            _ => operator.to_string(),
        };
        let (copies, size) = match (operator, most) {
            ('{', Some(most)) => {
                (most, most.saturating_mul(inner.size).saturating_add(most.saturating_sub(least)))
            }
            ('{', None) if least == 0 => (0, inner.size.saturating_add(2)),
            ('{', None) => (least, least.saturating_mul(inner.size).saturating_add(1)),
            ('*', _) => (1, inner.size.saturating_add(2)),
            _ => (1, inner.size.saturating_add(1)),
        };
        // Nothing is copied by `{0}`, whatever is in it, and `{0,}` does not count.
        let product = if most == Some(0) { 1 } else { copies.max(1).saturating_mul(inner.copies) };
        if operator == '{' && copies >= 2 && product > REPEAT_MAX {
            return Err("invalid repeat count".to_owned());
        }
        let piece = limited(Piece {
            source: format!("{}{written}{}", inner.within(Level::Atom), if lazy { "?" } else { "" }),
            level: Level::Repetition,
            size: size.max(1),
            height: inner.height.saturating_add(1),
            copies: product,
            weight: if most == Some(0) {
                1
            } else {
                inner.weight.saturating_mul(copies.max(1)).saturating_add(1)
            },
        })?;
        self.push(piece);
        self.repeated = true;
        Ok(())
    }

    /// What begins with a backslash, outside of classes.
    fn escape(&mut self) -> Result<(), String> {
        for (text, source) in [
            ("\\A", "\\A"),
            ("\\z", "\\z"),
            ("\\b", "(?-u:\\b)"),
            // Asserted between characters only, so that bytes and characters agree.
            ("\\B", "(?-u:\\B)"),
        ] {
            if self.take(text) {
                self.push(Piece::atom(source.to_owned(), 1));
                return Ok(());
            }
        }
        if self.rest.starts_with("\\C") {
            return Err("invalid escape sequence: `\\C`".to_owned());
        }
        if self.take("\\Q") {
            let (literal, rest) = self.rest.split_once("\\E").unwrap_or((self.rest, ""));
            literal.chars().for_each(|character| self.literal(character));
            self.rest = rest;
            return Ok(());
        }
        let mut class = Class::new(self.flags.fold);
        if let Some(rest) = class::escaped_group(self.rest, &mut class)? {
            self.rest = rest;
            self.class(&class);
            return Ok(());
        }
        let (code, rest) = class::escaped_character(self.rest)?;
        self.rest = rest;
        match char::from_u32(code) {
            Some(character) => self.literal(character),
            // Half of a pair: no text has one.
            None => self.push(Piece::atom("[a&&b]".to_owned(), 1)),
        }
        Ok(())
    }
}

type Counts<'a> = Option<(u64, Option<u64>, &'a str)>;

/// `{n}`, `{n,}` or `{n,m}` at the front; `None` if it is something else, which makes the brace a literal.
fn counts(text: &str) -> Result<Counts<'_>, String> {
    let Some(inside) = text.strip_prefix('{') else { return Ok(None) };
    let Some((least, rest)) = count(inside) else { return Ok(None) };
    let (most, rest) = match rest.strip_prefix(',') {
        None => (Some(least), rest),
        Some(rest) if rest.starts_with('}') => (None, rest),
        Some(rest) => match count(rest) {
            Some((most, rest)) => (Some(most), rest),
            None => return Ok(None),
        },
    };
    let Some(rest) = rest.strip_prefix('}') else { return Ok(None) };
    if least > REPEAT_MAX || most.is_some_and(|most| most > REPEAT_MAX || most < least) {
        return Err("invalid repeat count".to_owned());
    }
    Ok(Some((least, most, rest)))
}

/// A number without leading zeros; any that is too large is as large as can be.
fn count(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end)?;
    if digits.is_empty() || (digits.len() > 1 && digits.starts_with('0')) {
        return None;
    }
    Some((digits.parse().unwrap_or(u64::MAX), rest))
}
