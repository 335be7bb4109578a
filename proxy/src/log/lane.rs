//! A worker's side of its two lanes: places reserved by arithmetic, numbers given at filing.
use super::{
    Condition, Mode,
    refused::Buckets,
    ring::{Producer, frame_words},
    share::{ShareKey, Shares},
    shared::{Lane, Shared},
};
use postern_audit::{
    ConnectionEnd, Decision, ENTRY_BYTES_MAX, Id, OUTCOME_BYTES_MAX, Outcome, Own, Stamp,
    record::{CONNECTION_BYTES_MAX, GAP_BYTES_MAX},
};
use std::{
    net::IpAddr,
    sync::{Arc, atomic::Ordering},
};

const DECISION_WORDS: u64 = frame_words(ENTRY_BYTES_MAX);
const OUTCOME_WORDS: u64 = frame_words(OUTCOME_BYTES_MAX);
/// Always kept free, so that a gap can be declared whatever else is full.
const GAP_WORDS: u64 = frame_words(GAP_BYTES_MAX);
/// One part in this many of a ring is all that one principal may hold.
const SHARE: u64 = 4;

/// Why no place can be promised. Nothing may be decided then: the exchange is refused as `audit.unavailable`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The log cannot write.
    #[error("the audit log cannot write: {}", .0.as_str())]
    Log(Condition),
    /// The worker's ring is full.
    #[error("the audit log does not keep up")]
    Full,
    /// The caller holds all of the ring that one caller may.
    #[error("the caller has too much in the audit log that is not written yet")]
    Share,
}

impl Unavailable {
    /// The reason code of the refusal.
    pub fn code(self) -> &'static str {
        "audit.unavailable"
    }
}

/// What is still reserved for an exchange, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reserved {
    share: ShareKey,
    words: u64,
}

/// A record that was filed: it survives the process, and can be waited for until it survives power loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filed {
    pub(crate) lane: u16,
    pub(crate) end: u64,
}

/// When a record is filed, and about what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) id: Id,
    pub(crate) unix_ns: u64,
    pub(crate) mono_ns: u64,
}

/// What both kinds of lane do: number, encode, publish, declare what was dropped.
#[derive(Debug)]
struct Filer {
    shared: Arc<Shared>,
    lane: u16,
    producer: Producer,
    seq: u64,
    scratch: Vec<u8>,
    /// Numbers given and not filed, up to and with `seq`.
    dropped: u64,
}

impl Filer {
    fn new(shared: &Arc<Shared>, lane: u16, ring: Arc<super::ring::Ring>) -> Self {
        Self {
            shared: shared.clone(),
            lane,
            producer: Producer::new(ring),
            seq: 0,
            scratch: Vec::new(),
            dropped: 0,
        }
    }

    /// Files a record where there is room for certain; gives the words it took.
    fn file(&mut self, moment: &Moment, encode: &dyn Fn(&Stamp, &mut Vec<u8>)) -> u64 {
        let before = self.producer.ring().head();
        self.declare(moment);
        self.put(moment, encode);
        self.shared.filed(self.producer.ring());
        self.producer.ring().head() - before
    }

    fn put(&mut self, moment: &Moment, encode: &dyn Fn(&Stamp, &mut Vec<u8>)) {
        self.seq += 1;
        let Moment { id, unix_ns, mono_ns } = *moment;
        self.scratch.clear();
        encode(&Stamp { id, unix_ns, mono_ns, lane: self.lane, seq: self.seq }, &mut self.scratch);
        if self.producer.file(self.seq, &self.scratch).is_none() {
            // Out of reach while places are reserved; a fault in the arithmetic must show as a declared gap.
            self.dropped += 1;
        }
    }

    /// Numbers a record that is not filed.
    fn drop_one(&mut self) {
        self.seq += 1;
        self.dropped += 1;
        self.shared.counters.gap_records.fetch_add(1, Ordering::Relaxed);
    }

    fn declare(&mut self, moment: &Moment) {
        if self.dropped > 0 {
            let (from, to, of) = (self.seq + 1 - self.dropped, self.seq, self.lane);
            self.dropped = 0;
            self.put(moment, &|stamp, out| Own::Gap { of, from, to, reason: "ring_full" }.encode(stamp, out));
        }
    }

    fn free(&self) -> u64 {
        let ring = self.producer.ring();
        ring.capacity().saturating_sub(ring.used() + GAP_WORDS)
    }
}

/// The lane of a worker's exchanges.
#[derive(Debug)]
pub(crate) struct ExchangeLane {
    filer: Filer,
    reserved: u64,
    shares: Shares,
}

impl ExchangeLane {
    pub(super) fn new(shared: &Arc<Shared>, worker: u16) -> Option<Self> {
        let ring = shared.lanes.get(usize::from(worker) * 2)?.ring.clone();
        Some(Self { filer: Filer::new(shared, worker * 2 + 1, ring), reserved: 0, shares: Shares::default() })
    }

    /// The lane's number.
    pub(crate) fn lane(&self) -> u16 {
        self.filer.lane
    }

    /// Reserves the places of one exchange: a decision of the largest size, and an outcome.
    pub(crate) fn reserve(&mut self, share: ShareKey) -> Result<Reserved, Unavailable> {
        let reserved = self.try_reserve(share, DECISION_WORDS + OUTCOME_WORDS);
        if reserved.is_err() {
            self.filer.shared.counters.unavailable.fetch_add(1, Ordering::Relaxed);
        }
        reserved
    }

    /// Reserves what another attempt, or a proven server, adds to the outcome.
    pub(crate) fn reserve_more(&mut self, reserved: &mut Reserved, bytes: usize) -> Result<(), Unavailable> {
        let more = self.try_reserve(reserved.share, frame_words(bytes))?;
        reserved.words += more.words;
        Ok(())
    }

    fn try_reserve(&mut self, share: ShareKey, words: u64) -> Result<Reserved, Unavailable> {
        let condition = self.filer.shared.condition();
        if !condition.admits() && self.filer.shared.mode != Mode::BestEffort {
            return Err(Unavailable::Log(condition));
        }
        if self.filer.free() < self.reserved + words {
            return Err(Unavailable::Full);
        }
        let ring = self.filer.producer.ring();
        let (tail, head, most) = (ring.tail(), ring.head(), ring.capacity() / SHARE);
        if self.shares.held(share, tail, head) + words > most {
            return Err(Unavailable::Share);
        }
        self.reserved += words;
        self.shares.reserve(share, words);
        Ok(Reserved { share, words })
    }

    /// Files the decision into its place and gives back what it did not need.
    pub(crate) fn decision(
        &mut self,
        reserved: &mut Reserved,
        moment: &Moment,
        decision: &Decision<'_>,
    ) -> Filed {
        let droppable = decision.effect == postern_audit::Effect::Allow;
        let filed = if droppable && self.crowded() {
            self.filer.drop_one();
            0
        } else {
            self.filer.file(moment, &|stamp, out| decision.encode(stamp, out))
        };
        self.settle(reserved, DECISION_WORDS, filed);
        Filed { lane: self.filer.lane, end: self.filer.producer.ring().head() }
    }

    /// Files the outcome into its place.
    pub(crate) fn outcome(&mut self, reserved: &mut Reserved, moment: &Moment, outcome: &Outcome) {
        let filed = if self.crowded() {
            self.filer.drop_one();
            0
        } else {
            self.filer.file(moment, &|stamp, out| outcome.encode(stamp, out))
        };
        // With all that further attempts have added to it.
        let words = reserved.words;
        self.settle(reserved, words, filed);
    }

    fn settle(&mut self, reserved: &mut Reserved, words: u64, filed: u64) {
        reserved.words = reserved.words.saturating_sub(words);
        self.reserved = self.reserved.saturating_sub(words);
        self.shares.settle(reserved.share, words, filed);
    }

    /// Whether an allow must make room for the denies that may come: only where the mode permits to drop.
    fn crowded(&self) -> bool {
        let ring = self.filer.producer.ring();
        self.filer.shared.mode == Mode::BestEffort && ring.used() * 4 > ring.capacity() * 3
    }

    /// Declares what was dropped last, when the worker ends. A ring that is full to the last word has no room for it: then
    /// the numbers that are missing say so alone.
    pub(crate) fn end(&mut self, moment: &Moment) {
        self.filer.declare(moment);
        self.filer.shared.filed(self.filer.producer.ring());
    }
}

/// The lane of a worker's connections that end badly.
#[derive(Debug)]
pub(crate) struct ConnectionLane {
    filer: Filer,
    buckets: Buckets,
}

impl ConnectionLane {
    pub(super) fn new(shared: &Arc<Shared>, worker: u16) -> Option<Self> {
        let ring = shared.lanes.get(usize::from(worker) * 2 + 1)?.ring.clone();
        Some(Self { filer: Filer::new(shared, worker * 2 + 2, ring), buckets: Buckets::default() })
    }

    /// Files the end of a connection, or counts it into the next summary.
    pub(crate) fn end(&mut self, moment: &Moment, end: &ConnectionEnd<'_>) {
        let room = self.filer.free() >= frame_words(CONNECTION_BYTES_MAX);
        if room && self.buckets.take(end.source.ip(), moment.mono_ns) {
            self.filer.file(moment, &|stamp, out| end.encode(stamp, out));
        } else {
            self.count(moment, end.source.ip(), end.reason);
        }
    }

    /// Counts a connection into the next summary.
    pub(crate) fn count(&self, moment: &Moment, source: Option<IpAddr>, reason: &'static str) {
        self.filer.shared.count_refused(source, reason, moment.unix_ns);
    }
}

/// Whether a filed record is durable, or cannot become so.
pub(super) fn durable(shared: &Shared, filed: Filed) -> Option<Result<(), Unavailable>> {
    let lane: &Lane = shared.lanes.get(usize::from(filed.lane).checked_sub(1)?)?;
    if lane.ring.tail() >= filed.end {
        return Some(Ok(()));
    }
    let condition = shared.condition();
    (!condition.admits()).then_some(Err(Unavailable::Log(condition)))
}
