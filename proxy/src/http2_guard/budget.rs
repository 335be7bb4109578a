//! What one side may send besides requests, answers and their bytes.
use super::Other;
use super::frames::{Frame, Kind};
use tokio::time::Instant;

/// Frames that carry nothing are paid for: one each, of so many a second, [`BURST_SECONDS`] of them at once. What this
/// side sends lets the other answer it: flow control and probes of the round-trip time come in proportion to it.
#[derive(Debug)]
pub(super) struct Budget {
    left: u32,
    per_second: u32,
    refilled: Instant,
    /// DATA of fewer bytes carries nothing, in both directions.
    least_bytes: u32,
    counts: Counts,
}

/// How many there were of each, since the connection began.
pub(super) type Counts = [(&'static str, u32); 8];

/// A client that starts many streams, or comes back after a pause, has much to say at once.
const BURST_SECONDS: u32 = 10;

/// For each DATA frame of ours: the windows of the stream and of the connection, and a PING or two by which gRPC's clients
/// measure the way.
const PER_DATA: u32 = 4;
/// For each head of ours: a reset of what has been answered, and a PRIORITY.
const PER_HEADERS: u32 = 2;
/// The prefix of a gRPC message. A caller who streams messages sends at least that much at once.
const CALLERS_LEAST_BYTES: u32 = 5;
/// An upstream answers many callers on one connection, and in pieces that each of them may choose for it: it may flush an answer
/// of two bytes to each small message of theirs. What one of them has it send must not end the connection for the others.
const UPSTREAMS_LEAST_BYTES: u32 = 1;

impl Budget {
    /// That of the other side, whichever it is.
    pub(super) fn new(other: Other, per_second: u32) -> Self {
        let least_bytes = match other {
            Other::Client => CALLERS_LEAST_BYTES,
            Other::Server => UPSTREAMS_LEAST_BYTES,
        };
        let left = per_second.saturating_mul(BURST_SECONDS);
        let names = [
            "ping",
            "settings",
            "priority",
            "reset",
            "window_update",
            "tiny_data",
            "refused_stream",
            "unknown",
        ];
        let counts = names.map(|name| (name, 0));
        Self { left, per_second, refilled: Instant::now(), least_bytes, counts }
    }

    /// What the other side sent. Whether it may.
    pub(super) fn receive(&mut self, frame: Frame) -> bool {
        let place = match frame.kind {
            Kind::Ping => 0,
            Kind::Settings => 1,
            Kind::Priority => 2,
            Kind::Reset => 3,
            Kind::WindowUpdate => 4,
            Kind::Data if frame.length < self.least_bytes && !frame.is_last => 5,
            Kind::Unknown => 7,
            // Each of these is a request or a part of one, or ends the connection; h2 limits how many make one head.
            Kind::Data | Kind::Headers | Kind::Continuation | Kind::GoAway => return true,
        };
        self.pay(place)
    }

    /// What this side sent. Whether the other side may have made it do so.
    pub(super) fn send(&mut self, frame: Frame) -> bool {
        match frame.kind {
            // Who opens its window by single bytes gets nothing for what that makes us send.
            Kind::Data if frame.length >= self.least_bytes => self.earn(PER_DATA),
            Kind::Headers => self.earn(PER_HEADERS),
            // A stream too many, or one that was broken: what it cost to read has no record of its own.
            Kind::Reset => return self.pay(6),
            Kind::Data
            | Kind::Priority
            | Kind::Settings
            | Kind::Ping
            | Kind::GoAway
            | Kind::WindowUpdate
            | Kind::Continuation
            | Kind::Unknown => {}
        }
        true
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    fn earn(&mut self, more: u32) {
        self.left = self.left.saturating_add(more).min(self.per_second.saturating_mul(BURST_SECONDS));
    }

    fn pay(&mut self, place: usize) -> bool {
        if let Some((_, count)) = self.counts.get_mut(place) {
            *count = count.saturating_add(1);
        }
        if self.left == 0 {
            // The clock is asked when nothing is left, not with every frame.
            let now = Instant::now();
            let refill = now.duration_since(self.refilled).as_millis() * u128::from(self.per_second) / 1000;
            if refill > 0 {
                self.refilled = now;
                self.earn(u32::try_from(refill).unwrap_or(u32::MAX));
            }
        }
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => return false,
        }
        true
    }
}
