//! Sound connections over HTTP/2, damaged frame by frame. The same seed gives the same cases.

use super::frame_cases::{FIELDS, GET, POST, TRAILERS, alone, ended_by, fields, post};
use super::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, Frames, HEADERS, PING, PRIORITY, Payload, RESET,
    SETTINGS, WINDOW_UPDATE,
};
use super::mutated::{Dice, STRANGE};

/// What is damaged: requests with and without a body, with trailers, several at once, a head in two parts.
fn sound() -> Vec<Frames> {
    let get = |stream| Frame::fields(HEADERS, END_HEADERS | END_STREAM, stream, &fields(&GET));
    let begun = |stream| Frame::fields(HEADERS, END_HEADERS, stream, &fields(&POST));
    let data = |flags, stream| Frame::new(DATA, flags, stream, b"abc");
    vec![
        alone(fields(&GET)),
        post(&[("content-length", "3")], &[(END_STREAM, "abc")]),
        post(&[], &[(0, "abc"), (END_STREAM, "def")]),
        ended_by(&[("x-a", "1")]),
        Frames(vec![get(1), get(3)]),
        Frames(vec![begun(1), begun(3), data(END_STREAM, 3), data(END_STREAM, 1)]),
        Frames(vec![
            Frame::fields(HEADERS, END_STREAM, 1, &fields(&GET[..2])),
            Frame::fields(CONTINUATION, END_HEADERS, 1, &fields(&GET[2..])),
        ]),
    ]
}

/// Cases, one after the other.
#[derive(Debug)]
pub struct FrameMutations {
    dice: Dice,
    sound: Vec<Frames>,
}

impl FrameMutations {
    pub fn new(seed: u64) -> Self {
        Self { dice: Dice::new(seed), sound: sound() }
    }

    fn damage(&mut self, frames: &mut Vec<Frame>) {
        let at = self.dice.below(frames.len());
        let Some(frame) = frames.get_mut(at) else { return };
        match self.dice.below(9) {
            0 => drop(frames.remove(at)),
            1 => frames.insert(at, frames[at].clone()),
            2 => frame.flags ^= 1 << self.dice.below(6),
            3 => frame.kind = [DATA, HEADERS, CONTINUATION, SETTINGS, 0xfa][self.dice.below(5)],
            4 => frame.stream = [0, 1, 2, 3, 5, 0x8000_0001][self.dice.below(6)],
            5 => frame.lie = [-1, 1, 3, -9][self.dice.below(4)],
            6 => {
                let more = self.another();
                frames.insert(at, more);
            }
            _ => self.damage_payload(frame),
        }
    }

    fn another(&mut self) -> Frame {
        let stream = [0, 1, 3][self.dice.below(3)];
        let (kind, length) =
            [(PING, 8), (PRIORITY, 5), (RESET, 4), (SETTINGS, 0), (WINDOW_UPDATE, 4), (DATA, 3)]
                [self.dice.below(6)];
        let value = u8::try_from(self.dice.below(3)).expect("small");
        Frame::new(kind, 0, stream, &vec![value; length])
    }

    fn damage_payload(&mut self, frame: &mut Frame) {
        match &mut frame.payload {
            Payload::Bytes(bytes) | Payload::Packed(bytes, _) => {
                let at = self.dice.below(bytes.len());
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = u8::try_from(self.dice.below(256)).expect("a byte");
                }
            }
            Payload::Fields(all) => {
                let at = self.dice.below(all.len());
                let strange = self.dice.one(STRANGE).as_bytes().to_vec();
                match (self.dice.below(5), all.get_mut(at)) {
                    (0, Some(_)) => drop(all.remove(at)),
                    (1, Some(field)) => {
                        let again = field.clone();
                        all.insert(at, again);
                    }
                    (2, Some((name, _))) => name.extend(strange),
                    (3, Some((_, value))) => value.extend(strange),
                    _ => {
                        let of = [FIELDS, TRAILERS][self.dice.below(2)];
                        let more = fields(of[self.dice.below(of.len())]);
                        drop(all.splice(at..at, more));
                    }
                }
            }
        }
    }
}

impl Iterator for FrameMutations {
    type Item = Frames;

    fn next(&mut self) -> Option<Frames> {
        let Frames(mut frames) = self.sound[self.dice.below(self.sound.len())].clone();
        for _ in 0..=self.dice.below(3) {
            self.damage(&mut frames);
        }
        Some(Frames(frames))
    }
}
