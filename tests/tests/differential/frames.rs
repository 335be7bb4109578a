//! HTTP/2 connections of one client, frame by frame, and what a proxy does with them.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RESET: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

/// Of SETTINGS and PING.
pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;
pub const PRIORITISED: u8 = 0x20;

/// By which a request is known at the upstream to be of a case.
pub const NUMBER: &str = "x-case";

/// Header fields, in order.
pub type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// What a frame carries.
#[derive(Clone, PartialEq, Eq)]
pub enum Payload {
    Bytes(Vec<u8>),
    /// A field block in bytes, in two parts: what the number of a case comes between.
    Packed(Vec<u8>, Vec<u8>),
    /// A part of a field block: literals that no table keeps, so that each is sent as it is.
    Fields(Fields),
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "b\"{}\"", bytes.escape_ascii()),
            Self::Packed(before, behind) => {
                write!(f, "b\"{}\" + b\"{}\"", before.escape_ascii(), behind.escape_ascii())
            }
            Self::Fields(fields) => {
                let shown = |(name, value): &(Vec<u8>, Vec<u8>)| {
                    format!("{}: {}", name.escape_ascii(), value.escape_ascii())
                };
                f.debug_list().entries(fields.iter().map(shown)).finish()
            }
        }
    }
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Payload,
    /// By how much its length is told wrong.
    pub lie: i32,
}

impl Frame {
    pub fn new(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Self {
        Self { kind, flags, stream, payload: Payload::Bytes(payload.to_vec()), lie: 0 }
    }

    pub fn fields(kind: u8, flags: u8, stream: u32, fields: &Fields) -> Self {
        Self { kind, flags, stream, payload: Payload::Fields(fields.clone()), lie: 0 }
    }

    fn bytes(&self, number: usize) -> Vec<u8> {
        let number = literal(NUMBER.as_bytes(), number.to_string().as_bytes());
        let payload = match &self.payload {
            Payload::Bytes(bytes) => bytes.clone(),
            Payload::Packed(before, behind) => [before, &number, behind].map(Vec::as_slice).concat(),
            Payload::Fields(fields) if self.kind == HEADERS => [packed(fields), number].concat(),
            Payload::Fields(fields) => packed(fields),
        };
        let length = i32::try_from(payload.len()).expect("a short payload") + self.lie;
        let [_, length @ ..] = length.max(0).to_be_bytes();
        [&length, [self.kind, self.flags].as_slice(), &self.stream.to_be_bytes(), &payload].concat()
    }
}

/// A field block.
pub fn packed(fields: &Fields) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| literal(name, value)).collect()
}

/// A literal field that no table keeps, with a new name, in plain letters.
fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    let text = |text: &[u8]| {
        let length = u8::try_from(text.len()).ok().filter(|length| *length < 127).expect("a short text");
        [&[length], text].concat()
    };
    [vec![0], text(name), text(value)].concat()
}

/// What a client sends after its preface and its settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frames(pub Vec<Frame>);

impl Frames {
    fn bytes(&self, number: usize) -> Vec<u8> {
        let begin = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), Frame::new(SETTINGS, 0, 0, &[]).bytes(0)];
        let frames = self.0.iter().map(|frame| frame.bytes(number));
        begin.into_iter().chain(frames).flatten().collect()
    }

    /// The streams that it begins.
    fn streams(&self) -> BTreeSet<u32> {
        self.0.iter().filter(|frame| frame.kind == HEADERS).map(|frame| frame.stream).collect()
    }

    /// Whether a stream has more than one field block.
    pub fn has_trailers(&self) -> bool {
        let blocks = self.0.iter().filter(|frame| frame.kind == HEADERS).count();
        blocks > self.streams().len()
    }

    /// Each stream as if there were no other, with what is said of the connection.
    pub fn streams_apart(&self) -> Vec<Self> {
        let only =
            |stream: u32| self.0.iter().filter(move |frame| [0, stream].contains(&frame.stream)).cloned();
        self.streams().into_iter().map(|stream| Self(only(stream).collect())).collect()
    }

    /// Sends it all and reads until the server closes, or has ended every stream or says goodbye, or says nothing
    /// for so long. Who
    /// `listens_on` does so after the last stream has ended too: a server may end one that it has sent on.
    pub fn exchange<S: Read + Write>(
        &self,
        (mut stream, socket): (S, &TcpStream),
        number: usize,
        (patience, listens_on): (Duration, bool),
    ) {
        drop(socket.set_nodelay(true));
        socket.set_read_timeout(Some(patience)).expect("a time limit");
        drop(stream.write_all(&self.bytes(number)).and_then(|()| stream.flush()));
        let (mut heard, mut part) = (Vec::new(), [0; 4096]);
        let mut open = self.streams();
        while listens_on || !open.is_empty() {
            match stream.read(&mut part) {
                Ok(count) if count > 0 => heard.extend_from_slice(&part[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => return,
            }
            while let Some((kind, flags, of)) = next(&mut heard) {
                match kind {
                    RESET => drop(open.remove(&of)),
                    DATA | HEADERS if flags & END_STREAM != 0 => drop(open.remove(&of)),
                    // Some leave the connection open for a while.
                    GOAWAY => open.clear(),
                    _ => {}
                }
                if kind == SETTINGS && flags & ACK == 0 {
                    let ack = Frame::new(SETTINGS, ACK, 0, &[]).bytes(0);
                    drop(stream.write_all(&ack).and_then(|()| stream.flush()));
                }
            }
        }
    }
}

/// Takes the first frame off what was heard, if it is there whole: its kind, its flags and its stream.
fn next(heard: &mut Vec<u8>) -> Option<(u8, u8, u32)> {
    let [a, b, c, kind, flags, stream @ ..] = heard.first_chunk::<9>()?;
    let found = (*kind, *flags, u32::from_be_bytes(*stream));
    let length = usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).expect("a length");
    (heard.len() >= 9 + length).then(|| drop(heard.drain(..9 + length)))?;
    Some(found)
}

#[test]
fn a_frame_is_written_as_it_is_meant() {
    let check = |frame: Frame, bytes: &[u8]| assert_eq!(frame.bytes(7), bytes, "{frame:?}");
    check(Frame::new(DATA, END_STREAM, 1, b"ab"), b"\0\0\x02\0\x01\0\0\0\x01ab");
    check(Frame { lie: 1, ..Frame::new(DATA, 0, 3, b"ab") }, b"\0\0\x03\0\0\0\0\0\x03ab");
    let fields = vec![(b"a".to_vec(), b"b".to_vec())];
    check(Frame::fields(CONTINUATION, END_HEADERS, 1, &fields), b"\0\0\x05\x09\x04\0\0\0\x01\0\x01a\x01b");
    check(
        Frame::fields(HEADERS, END_HEADERS, 1, &fields),
        b"\0\0\x0f\x01\x04\0\0\0\x01\0\x01a\x01b\0\x06x-case\x017",
    );
}
