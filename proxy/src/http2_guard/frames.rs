//! The frames of one direction of an HTTP/2 connection, by their headers alone (RFC 9113 §4.1).

/// What the header of a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    /// Bytes of the payload, with padding.
    pub(super) length: u32,
    pub(super) is_last: bool,
    pub(super) stream: u32,
}

/// The types of RFC 9113 §6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Data,
    Headers,
    Priority,
    Reset,
    Settings,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    /// PUSH_PROMISE, which nobody here may send, and types that are not of HTTP/2 itself: they are ignored (§5.5).
    Unknown,
}

impl Kind {
    fn of(byte: u8) -> Self {
        match byte {
            0 => Self::Data,
            1 => Self::Headers,
            2 => Self::Priority,
            3 => Self::Reset,
            4 => Self::Settings,
            6 => Self::Ping,
            7 => Self::GoAway,
            8 => Self::WindowUpdate,
            9 => Self::Continuation,
            _ => Self::Unknown,
        }
    }
}

/// Follows the bytes of one direction. Nothing is copied but the header that is arriving.
#[derive(Debug)]
pub(super) struct Frames {
    /// What is to come of the preface or of a payload.
    skip: u32,
    header: [u8; HEADER_BYTES],
    /// How much of the header has come.
    has: usize,
}

const HEADER_BYTES: usize = 9;
/// `PRI * HTTP/2.0 …` (§3.4), which a server's caller sends first. Whether it is that is for h2 to see.
const PREFACE_BYTES: u32 = 24;
const END_STREAM: u8 = 1;

impl Frames {
    /// What a client sends.
    pub(super) fn of_client() -> Self {
        Self { skip: PREFACE_BYTES, ..Self::of_server() }
    }

    /// What a server sends.
    pub(super) fn of_server() -> Self {
        Self { skip: 0, header: [0; HEADER_BYTES], has: 0 }
    }

    /// Whether the next byte begins a frame.
    pub(super) fn is_between(&self) -> bool {
        self.skip == 0 && self.has == 0
    }

    /// Hands on each frame whose header ends in `bytes`.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(Frame)) {
        loop {
            let skipped = bytes.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
            self.skip = self.skip.saturating_sub(u32::try_from(skipped).unwrap_or(u32::MAX));
            bytes = bytes.get(skipped..).unwrap_or_default();
            let wanted = HEADER_BYTES.saturating_sub(self.has).min(bytes.len());
            let Some((taken, rest)) = bytes.split_at_checked(wanted).filter(|(taken, _)| !taken.is_empty())
            else {
                return;
            };
            let place = self.header.iter_mut().skip(self.has);
            place.zip(taken).for_each(|(place, byte)| *place = *byte);
            self.has = self.has.saturating_add(taken.len());
            bytes = rest;
            if self.has == HEADER_BYTES {
                self.has = 0;
                let frame = read(self.header);
                self.skip = frame.length;
                each(frame);
            }
        }
    }
}

fn read([a, b, c, kind, flags, s0, s1, s2, s3]: [u8; HEADER_BYTES]) -> Frame {
    Frame {
        kind: Kind::of(kind),
        length: u32::from_be_bytes([0, a, b, c]),
        is_last: flags & END_STREAM != 0,
        stream: u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]),
    }
}
