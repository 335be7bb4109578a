//! The framing of incoming HTTP/1 bytes, sans I/O (RFC 9112 §2–§7).
//!
//! Everything but body bytes is lines that end in CR LF: the head, chunk sizes, the end of a chunk, trailers.
//! A line that is whole in the bytes at hand is read in place; only a line that is split over reads is put
//! together, within its limit.
use super::head::{Head, HeadFault, RawHead, TargetForm};
use crate::config::ListenerLimits;
use memchr::memchr;
use std::collections::VecDeque;

/// Heads of requests that hyper has not handed on yet. A client that pipelines this deep gains nothing.
const QUEUED_HEADS_MAX: usize = 256;
const QUEUED_TARGET_BYTES_MAX: usize = 64 * 1024;
/// Room in a line for what the limits of the configuration do not count: method and version, or the colon,
/// blanks and CR LF.
const LINE_OVERHEAD_BYTES: usize = 64;
/// Colon, blank, CR LF of one header.
const HEADER_OVERHEAD_BYTES: usize = 4;
/// A buffer that a split line made larger is given back.
const KEPT_BYTES_MAX: usize = 1024;

/// The limits of a head on the wire, with the bytes between the parts that configured limits count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadLimits {
    line_bytes_max: usize,
    head_bytes_max: usize,
    header_count_max: usize,
}

impl From<&ListenerLimits> for HeadLimits {
    fn from(limits: &ListenerLimits) -> Self {
        let line_bytes_max = limits.header_line_bytes_max.saturating_add(LINE_OVERHEAD_BYTES);
        let overhead = limits.header_count_max.saturating_mul(HEADER_OVERHEAD_BYTES);
        Self {
            line_bytes_max,
            head_bytes_max: limits.header_bytes_max.saturating_add(line_bytes_max).saturating_add(overhead),
            header_count_max: limits.header_count_max,
        }
    }
}

/// Follows the framing of one connection's incoming bytes.
///
/// Gives the same heads however the bytes are cut. Holds at most one incomplete line and the heads not taken.
#[derive(Debug)]
pub(crate) struct HeadTracker {
    limits: HeadLimits,
    state: State,
    /// The start of a line whose end has not arrived.
    line: Vec<u8>,
    draft: Draft,
    heads: VecDeque<Head>,
    queued_target_bytes: usize,
    /// Heads that have begun and ended; names the head that is arriving.
    completed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    RequestLine,
    Header,
    /// Body bytes to come.
    Length(u64),
    ChunkSize,
    /// Bytes of the chunk to come.
    Chunk(u64),
    ChunkEnd,
    Trailer,
    Poisoned(HeadFault, Where),
}

/// Where a connection was poisoned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Where {
    /// In a head that hyper may still be waiting for the rest of.
    Head,
    Body,
    /// The refusal has been handed on.
    Told,
}

/// What is known of the head that is arriving.
#[derive(Debug, Default)]
struct Draft {
    target: Vec<u8>,
    is_http10: bool,
    hosts: u32,
    headers: usize,
    bytes: usize,
    body: Framing,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Framing {
    #[default]
    None,
    Length(u64),
    Chunked,
}

impl HeadTracker {
    /// At the start of a connection.
    pub(crate) fn new(limits: HeadLimits) -> Self {
        Self {
            limits,
            state: State::RequestLine,
            line: Vec::new(),
            draft: Draft::default(),
            heads: VecDeque::new(),
            queued_target_bytes: 0,
            completed: 0,
        }
    }

    /// Takes notice of the next bytes of the connection.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Length(left) => self.skip(bytes, left, State::Length, State::RequestLine),
                State::Chunk(left) => self.skip(bytes, left, State::Chunk, State::ChunkEnd),
                State::RequestLine | State::Header | State::ChunkSize | State::ChunkEnd | State::Trailer => {
                    self.take_line(bytes)
                }
                State::Poisoned(..) => return,
            };
        }
    }

    /// The oldest head not yet taken. A poisoned connection, and one that has no head, gives a refusal.
    pub(crate) fn take(&mut self) -> RawHead {
        if let Some(head) = self.heads.pop_front() {
            self.queued_target_bytes = self.queued_target_bytes.saturating_sub(head.target.len());
            return RawHead::Seen(head);
        }
        let fault = match self.state {
            State::Poisoned(fault, _) => fault,
            State::RequestLine
            | State::Header
            | State::Length(_)
            | State::ChunkSize
            | State::Chunk(_)
            | State::ChunkEnd
            | State::Trailer => HeadFault::Untracked,
        };
        self.state = State::Poisoned(fault, Where::Told);
        RawHead::Refused(fault)
    }

    /// Whether every later head will be refused. Heads from before the fault may be left to take.
    pub(crate) fn is_poisoned(&self) -> bool {
        matches!(self.state, State::Poisoned(..))
    }

    /// The number of the head of which a part has arrived, if one has.
    pub(crate) fn arriving(&self) -> Option<u64> {
        let arriving = match self.state {
            State::RequestLine => !self.line.is_empty(),
            State::Header | State::Poisoned(_, Where::Head) => true,
            State::Length(_)
            | State::ChunkSize
            | State::Chunk(_)
            | State::ChunkEnd
            | State::Trailer
            | State::Poisoned(_, Where::Body | Where::Told) => false,
        };
        arriving.then_some(self.completed)
    }

    fn poison(&mut self, fault: HeadFault) {
        let place = match self.state {
            State::RequestLine | State::Header => Where::Head,
            State::Length(_) | State::ChunkSize | State::Chunk(_) | State::ChunkEnd | State::Trailer => {
                Where::Body
            }
            State::Poisoned(_, place) => place,
        };
        self.state = State::Poisoned(fault, place);
        self.line = Vec::new();
        self.draft = Draft::default();
    }

    fn skip<'a>(&mut self, bytes: &'a [u8], left: u64, more: fn(u64) -> State, then: State) -> &'a [u8] {
        let here = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        match left.checked_sub(here) {
            Some(0) | None => {
                self.state = then;
                let taken = usize::try_from(left).unwrap_or(usize::MAX);
                bytes.get(taken..).unwrap_or_default()
            }
            Some(rest) => {
                self.state = more(rest);
                &[]
            }
        }
    }

    fn take_line<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let end = memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1);
        let Some((here, rest)) = bytes.split_at_checked(end) else { return &[] };
        if self.line.len().saturating_add(here.len()) > self.limits.line_bytes_max {
            self.poison(self.line_too_large());
            return &[];
        }
        if !here.ends_with(b"\n") {
            self.line.extend_from_slice(here);
            return rest;
        }
        let outcome = if self.line.is_empty() {
            self.read_line(here)
        } else {
            let mut line = std::mem::take(&mut self.line);
            line.extend_from_slice(here);
            let outcome = self.read_line(&line);
            line.clear();
            line.shrink_to(KEPT_BYTES_MAX);
            self.line = line;
            outcome
        };
        match outcome {
            Ok(state) => self.state = state,
            Err(fault) => self.poison(fault),
        }
        rest
    }

    fn line_too_large(&self) -> HeadFault {
        match self.state {
            State::RequestLine => HeadFault::TargetTooLong,
            State::Header => HeadFault::HeaderTooLarge,
            State::Length(_) | State::ChunkSize | State::Chunk(_) | State::ChunkEnd | State::Trailer => {
                HeadFault::Chunk
            }
            State::Poisoned(fault, _) => fault,
        }
    }

    /// Reads one whole line, its LF included, and says what comes next.
    fn read_line(&mut self, raw: &[u8]) -> Result<State, HeadFault> {
        let line = raw.strip_suffix(b"\r\n");
        match self.state {
            State::RequestLine => {
                self.count(raw)?;
                self.request_line(line.ok_or(HeadFault::BareLf)?)
            }
            State::Header => {
                self.count(raw)?;
                match line.ok_or(HeadFault::BareLf)? {
                    [] => self.end_head(),
                    line => self.header(line),
                }
            }
            State::ChunkSize => chunk_size(line.ok_or(HeadFault::Chunk)?),
            State::ChunkEnd if line == Some(b"") => Ok(State::ChunkSize),
            State::Trailer => self.trailer(raw, line.ok_or(HeadFault::Chunk)?),
            State::ChunkEnd | State::Length(_) | State::Chunk(_) => Err(HeadFault::Chunk),
            State::Poisoned(fault, _) => Err(fault),
        }
    }

    fn count(&mut self, raw: &[u8]) -> Result<(), HeadFault> {
        self.draft.bytes = self.draft.bytes.saturating_add(raw.len());
        if self.draft.bytes > self.limits.head_bytes_max { Err(HeadFault::HeadTooLarge) } else { Ok(()) }
    }

    fn request_line(&mut self, line: &[u8]) -> Result<State, HeadFault> {
        if line.is_empty() {
            // Old clients put an empty line behind a body (RFC 9112 §2.2).
            return Ok(State::RequestLine);
        }
        let mut parts = line.split(|byte| *byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(HeadFault::RequestLine);
        };
        let well_formed =
            is_token(method) && !target.is_empty() && !target.contains(&b'\t') && !has_control(target);
        match version {
            _ if !well_formed => return Err(HeadFault::RequestLine),
            b"HTTP/1.1" => self.draft.is_http10 = false,
            b"HTTP/1.0" => self.draft.is_http10 = true,
            _ => return Err(HeadFault::Version),
        }
        self.draft.target.extend_from_slice(target);
        Ok(State::Header)
    }

    fn header(&mut self, line: &[u8]) -> Result<State, HeadFault> {
        self.draft.headers += 1;
        if self.draft.headers > self.limits.header_count_max {
            return Err(HeadFault::HeaderCount);
        }
        let (name, value) = field(line)?;
        // By length first: most headers are none of the three.
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.draft.hosts = self.draft.hosts.saturating_add(1),
            14 if name.eq_ignore_ascii_case(b"content-length") => self.draft.length(value)?,
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.draft.transfer_encoding(value)?,
            _ => {}
        }
        Ok(State::Header)
    }

    fn end_head(&mut self) -> Result<State, HeadFault> {
        let draft = std::mem::take(&mut self.draft);
        let (form, target) = (TargetForm::of(&draft.target), draft.target.into_boxed_slice());
        self.queued_target_bytes = self.queued_target_bytes.saturating_add(target.len());
        if self.heads.len() >= QUEUED_HEADS_MAX || self.queued_target_bytes > QUEUED_TARGET_BYTES_MAX {
            return Err(HeadFault::Pipelined);
        }
        self.heads.push_back(Head { target, form, hosts: draft.hosts });
        self.completed = self.completed.wrapping_add(1);
        Ok(match draft.body {
            Framing::None | Framing::Length(0) => State::RequestLine,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::ChunkSize,
        })
    }

    fn trailer(&mut self, raw: &[u8], line: &[u8]) -> Result<State, HeadFault> {
        // The draft counts the trailers until the next head begins.
        self.draft.bytes = self.draft.bytes.saturating_add(raw.len());
        if line.is_empty() {
            self.draft = Draft::default();
            return Ok(State::RequestLine);
        }
        self.draft.headers += 1;
        let within = self.draft.bytes <= self.limits.head_bytes_max
            && self.draft.headers <= self.limits.header_count_max;
        match field(line) {
            Ok(_) if within => Ok(State::Trailer),
            Ok(_) | Err(_) => Err(HeadFault::Chunk),
        }
    }
}

impl Draft {
    fn length(&mut self, value: &[u8]) -> Result<(), HeadFault> {
        match self.body {
            Framing::Length(_) => return Err(HeadFault::ContentLength),
            Framing::Chunked => return Err(HeadFault::FramingConflict),
            Framing::None => {}
        }
        let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
        // Half the range, as hyper keeps the largest numbers to itself.
        let length =
            digits.and_then(|text| text.parse().ok()).filter(|length| i64::try_from(*length).is_ok());
        self.body = Framing::Length(length.ok_or(HeadFault::ContentLength)?);
        Ok(())
    }

    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), HeadFault> {
        match self.body {
            Framing::Length(_) => return Err(HeadFault::FramingConflict),
            Framing::Chunked => return Err(HeadFault::TransferEncoding),
            Framing::None => {}
        }
        if self.is_http10 || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(HeadFault::TransferEncoding);
        }
        self.body = Framing::Chunked;
        Ok(())
    }
}

/// Name and value of a header line, white space around the value left off.
fn field(line: &[u8]) -> Result<(&[u8], &[u8]), HeadFault> {
    if line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
        return Err(HeadFault::ObsFold);
    }
    let colon = memchr(b':', line).ok_or(HeadFault::HeaderName)?;
    let (name, rest) = line.split_at_checked(colon).ok_or(HeadFault::HeaderName)?;
    let value = rest.strip_prefix(b":").unwrap_or_default();
    if !is_token(name) {
        return Err(HeadFault::HeaderName);
    }
    if has_control(value) {
        return Err(HeadFault::HeaderValue);
    }
    Ok((name, trim(value)))
}

/// `chunk-size [ chunk-ext ]` (RFC 9112 §7.1). What an extension says is nobody's business here.
fn chunk_size(line: &[u8]) -> Result<State, HeadFault> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (size, extension) = line.split_at_checked(digits).ok_or(HeadFault::Chunk)?;
    let is_extension = matches!(trim(extension), [] | [b';', ..]) && !has_control(extension);
    let size = std::str::from_utf8(size).ok().and_then(|size| u64::from_str_radix(size, 16).ok());
    match size {
        Some(0) if is_extension => Ok(State::Trailer),
        Some(size) if is_extension => Ok(State::Chunk(size)),
        Some(_) | None => Err(HeadFault::Chunk),
    }
}

fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// One or more `tchar` (RFC 9110 §5.6.2).
fn is_token(bytes: &[u8]) -> bool {
    let is_tchar = |byte: &u8| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'_' | b'.' | b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*')
            || matches!(byte, b'+' | b'^' | b'`' | b'|' | b'~')
    };
    !bytes.is_empty() && bytes.iter().all(is_tchar)
}

/// Folded without an early end, so that it runs on whole vectors.
fn has_control(bytes: &[u8]) -> bool {
    bytes.iter().fold(false, |found, byte| found | ((*byte < b' ') & (*byte != b'\t')) | (*byte == 0x7f))
}
