//! A ring of frames in a shared mapping: one worker files, the writer thread takes.
//!
//! A frame is published by storing the new head; until then it does not exist. The mapping is a file, so what
//! is published survives the death of the process, and recovery takes it from there. Positions are words
//! counted from the ring's creation and never wrap in practice.
use super::mapping::Mapping;
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

const MAGIC: u64 = u64::from_le_bytes(*b"postrng1");
/// Header of one page; head and tail stand on cache lines of their own.
const HEADER_WORDS: usize = 512;
const AT_MAGIC: usize = 0;
const AT_CAPACITY: usize = 1;
const AT_HEAD: usize = 8;
const AT_TAIL: usize = 16;
const AT_FILED: usize = 24;
/// Length and checksum, then the number in the lane.
const FRAME_HEADER_WORDS: u64 = 2;
const WORD: usize = size_of::<u64>();

/// The words that a frame of `bytes` takes.
pub(crate) const fn frame_words(bytes: usize) -> u64 {
    FRAME_HEADER_WORDS + bytes.div_ceil(WORD) as u64
}

/// The bytes of a mapping for a ring that holds `bytes`, which is rounded up to a power of two.
pub(crate) fn mapping_bytes(bytes: usize) -> usize {
    HEADER_WORDS * WORD + bytes.next_power_of_two().max(HEADER_WORDS * WORD)
}

/// The memory of a ring.
#[derive(Debug)]
pub(crate) struct Ring {
    mapping: Arc<Mapping>,
    /// Words for frames, a power of two.
    capacity: u64,
}

/// A frame that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// The number in the lane.
    pub(crate) seq: u64,
    /// The position behind it.
    pub(crate) end: u64,
}

/// A frame that is not what was filed: the memory was written to by something else, or a power loss kept only
/// part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Damaged;

/// Where the head and the tail of a ring stand in its file, in bytes: what was filed, and what of it is on disk.
pub(super) const ENDS_AT: [u64; 2] = [(AT_HEAD * WORD) as u64, (AT_TAIL * WORD) as u64];

impl Ring {
    /// An empty ring. Whatever the mapping held is forgotten.
    pub(crate) fn create(mapping: Arc<Mapping>) -> io::Result<Self> {
        let ring = Self::over(mapping)?;
        for at in [AT_MAGIC, AT_HEAD, AT_TAIL, AT_FILED] {
            ring.word(at).store(0, Ordering::Relaxed);
        }
        ring.word(AT_CAPACITY).store(ring.capacity, Ordering::Relaxed);
        ring.word(AT_MAGIC).store(MAGIC, Ordering::Release);
        Ok(ring)
    }

    /// The ring that a process left behind; `None` when there is none that makes sense.
    pub(crate) fn left_behind(mapping: Arc<Mapping>) -> Option<Self> {
        let ring = Self::over(mapping).ok()?;
        let valid = ring.word(AT_MAGIC).load(Ordering::Acquire) == MAGIC
            && ring.word(AT_CAPACITY).load(Ordering::Relaxed) == ring.capacity
            && ring.head().checked_sub(ring.tail()).is_some_and(|used| used <= ring.capacity);
        valid.then_some(ring)
    }

    fn over(mapping: Arc<Mapping>) -> io::Result<Self> {
        let capacity = mapping.words().len().saturating_sub(HEADER_WORDS);
        if !capacity.is_power_of_two() {
            return Err(io::Error::other("a ring's room is a power of two"));
        }
        Ok(Self { mapping, capacity: capacity as u64 })
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        // Only reached with the constants above, which lie within the header that `over` made sure of.
        static OUTSIDE: AtomicU64 = AtomicU64::new(0);
        self.mapping.words().get(at).unwrap_or(&OUTSIDE)
    }

    fn slot(&self, position: u64) -> &AtomicU64 {
        let offset = usize::try_from(position & (self.capacity - 1)).unwrap_or_default();
        self.word(HEADER_WORDS + offset)
    }

    /// Words for frames.
    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }

    pub(crate) fn head(&self) -> u64 {
        self.word(AT_HEAD).load(Ordering::Acquire)
    }

    /// Everything before this position is on disk.
    pub(crate) fn tail(&self) -> u64 {
        self.word(AT_TAIL).load(Ordering::Acquire)
    }

    /// The last number filed.
    pub(crate) fn filed(&self) -> u64 {
        self.word(AT_FILED).load(Ordering::Acquire)
    }

    /// Words taken by frames.
    pub(crate) fn used(&self) -> u64 {
        self.head().saturating_sub(self.tail())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.used() == 0
    }
}

/// The worker's end. There is one to a ring.
#[derive(Debug)]
pub(crate) struct Producer {
    ring: Arc<Ring>,
    head: u64,
}

impl Producer {
    pub(crate) fn new(ring: Arc<Ring>) -> Self {
        let head = ring.head();
        Self { ring, head }
    }

    pub(crate) fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Files a frame and gives the position behind it; `None` when it does not fit.
    pub(crate) fn file(&mut self, seq: u64, payload: &[u8]) -> Option<u64> {
        let words = frame_words(payload.len());
        let length = u32::try_from(payload.len()).ok()?;
        if self.ring.used() + words > self.ring.capacity {
            return None;
        }
        let head = (u64::from(checksum(seq, payload)) << 32) | u64::from(length);
        self.ring.slot(self.head).store(head, Ordering::Relaxed);
        self.ring.slot(self.head + 1).store(seq, Ordering::Relaxed);
        let mut at = self.head + FRAME_HEADER_WORDS;
        let (whole, rest) = payload.as_chunks::<WORD>();
        for word in whole {
            self.ring.slot(at).store(u64::from_le_bytes(*word), Ordering::Relaxed);
            at += 1;
        }
        if !rest.is_empty() {
            let mut word = [0; WORD];
            word.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            self.ring.slot(at).store(u64::from_le_bytes(word), Ordering::Relaxed);
            at += 1;
        }
        self.head = at;
        self.ring.word(AT_FILED).store(seq, Ordering::Relaxed);
        self.ring.word(AT_HEAD).store(at, Ordering::Release);
        Some(at)
    }
}

/// The writer's end. There is one to a ring.
#[derive(Debug)]
pub(crate) struct Consumer {
    ring: Arc<Ring>,
    at: u64,
}

impl Consumer {
    pub(crate) fn new(ring: Arc<Ring>) -> Self {
        let at = ring.tail();
        Self { ring, at }
    }

    pub(crate) fn ring(&self) -> &Ring {
        &self.ring
    }

    /// The position behind the last frame taken.
    pub(crate) fn position(&self) -> u64 {
        self.at
    }

    /// Appends the next frame's payload to `out`; `None` when there is no more.
    pub(crate) fn take(&mut self, out: &mut Vec<u8>) -> Option<Result<Frame, Damaged>> {
        let head = self.ring.head();
        if self.at >= head {
            return None;
        }
        Some(self.frame(head, out))
    }

    fn frame(&mut self, head: u64, out: &mut Vec<u8>) -> Result<Frame, Damaged> {
        let first = self.ring.slot(self.at).load(Ordering::Relaxed);
        let (sum, length) = (first >> 32, usize::try_from(first & u64::from(u32::MAX)).map_err(|_| Damaged)?);
        let seq = self.ring.slot(self.at + 1).load(Ordering::Relaxed);
        let end = self.at.checked_add(frame_words(length)).filter(|end| *end <= head).ok_or(Damaged)?;
        let start = out.len();
        for position in self.at + FRAME_HEADER_WORDS..end {
            out.extend_from_slice(&self.ring.slot(position).load(Ordering::Relaxed).to_le_bytes());
        }
        out.truncate(start + length);
        if u64::from(checksum(seq, out.get(start..).unwrap_or_default())) != sum {
            out.truncate(start);
            return Err(Damaged);
        }
        self.at = end;
        Ok(Frame { seq, end })
    }

    /// Gives up on everything filed so far: behind a damaged frame nothing can be told apart.
    pub(crate) fn skip(&mut self) {
        self.at = self.ring.head();
    }

    /// Gives the room of all frames before `position` back: they are on disk.
    pub(crate) fn release(&self, position: u64) {
        self.ring.word(AT_TAIL).store(position, Ordering::Release);
    }
}

fn checksum(seq: u64, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&seq.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(bytes: usize) -> Arc<Mapping> {
        Arc::new(Mapping::anonymous(mapping_bytes(bytes)).unwrap())
    }

    fn payload(seq: u64) -> Vec<u8> {
        (0..seq * 37 % 301).map(|at| (at ^ seq).to_le_bytes()[0]).collect()
    }

    #[test]
    fn what_is_filed_is_taken_in_order_around_the_ring_many_times() {
        let ring = Arc::new(Ring::create(ring(4096)).unwrap());
        let (mut producer, mut consumer) = (Producer::new(ring.clone()), Consumer::new(ring));
        let (mut filed, mut taken) = (0, 0);
        while taken < 5000 {
            while filed < 5000 && producer.file(filed + 1, &payload(filed + 1)).is_some() {
                filed += 1;
            }
            let mut out = Vec::new();
            let frame = consumer.take(&mut out).unwrap().unwrap();
            taken += 1;
            assert_eq!((frame.seq, out), (taken, payload(taken)));
            consumer.release(frame.end);
        }
        assert!(consumer.ring().is_empty());
    }

    #[test]
    fn a_full_ring_takes_nothing_until_its_frames_are_on_disk() {
        let ring = Arc::new(Ring::create(ring(4096)).unwrap());
        let (mut producer, mut consumer) = (Producer::new(ring.clone()), Consumer::new(ring));
        while producer.file(1, &[7; 100]).is_some() {}
        let mut out = Vec::new();
        let frame = consumer.take(&mut out).unwrap().unwrap();
        assert_eq!(producer.file(2, &[7; 100]), None, "taken is not yet on disk");
        consumer.release(frame.end);
        assert!(producer.file(2, &[7; 100]).is_some());
    }

    #[test]
    fn what_was_published_is_left_behind_and_nothing_else() {
        let mapping = ring(4096);
        let ring = Arc::new(Ring::create(mapping.clone()).unwrap());
        let mut producer = Producer::new(ring);
        producer.file(1, b"one").unwrap();
        producer.file(2, b"two").unwrap();
        // Half a frame: written, but the head was not stored.
        producer.ring.slot(producer.head).store(3, Ordering::Relaxed);
        drop(producer);
        let left = Arc::new(Ring::left_behind(mapping).unwrap());
        assert_eq!(left.filed(), 2);
        let mut consumer = Consumer::new(left);
        let mut out = Vec::new();
        while let Some(frame) = consumer.take(&mut out) {
            frame.unwrap();
        }
        assert_eq!(out, b"onetwo");
    }

    #[test]
    fn a_damaged_frame_is_told_and_a_foreign_file_is_no_ring() {
        let mapping = ring(4096);
        let ring = Arc::new(Ring::create(mapping.clone()).unwrap());
        let mut producer = Producer::new(ring.clone());
        producer.file(1, b"some payload").unwrap();
        ring.slot(2).fetch_xor(1, Ordering::Relaxed);
        let mut consumer = Consumer::new(ring);
        assert_eq!(consumer.take(&mut Vec::new()), Some(Err(Damaged)));
        consumer.skip();
        assert_eq!(consumer.take(&mut Vec::new()), None);
        mapping.words()[AT_MAGIC].store(1, Ordering::Relaxed);
        assert!(Ring::left_behind(mapping).is_none());
    }

    #[test]
    fn two_threads_agree() {
        let ring = Arc::new(Ring::create(ring(4096)).unwrap());
        let (mut producer, mut consumer) = (Producer::new(ring.clone()), Consumer::new(ring));
        let taking = std::thread::spawn(move || {
            for seq in 1..=20_000 {
                let mut out = Vec::new();
                let frame = loop {
                    match consumer.take(&mut out) {
                        Some(frame) => break frame.unwrap(),
                        None => std::thread::yield_now(),
                    }
                };
                assert_eq!((frame.seq, out), (seq, payload(seq)));
                consumer.release(frame.end);
            }
        });
        for seq in 1..=20_000 {
            while producer.file(seq, &payload(seq)).is_none() {
                std::thread::yield_now();
            }
        }
        taking.join().unwrap();
    }
}
