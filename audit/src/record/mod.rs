//! The records of the log. One record is one line of JSON; its exact bytes are a leaf of the tree.
//!
//! Every record begins with the members of [`Stamp`]: version, kind, id, time, and the lane it was filed in
//! with its contiguous number there, which is what makes a lost record visible even if the writer erred.
mod connection;
mod decision;
mod endpoint;
mod head;
mod outcome;
mod own;
mod remote;
#[cfg(test)]
mod tests;

pub use connection::{CONNECTION_BYTES_MAX, ConnectionEnd};
pub use decision::{Cache, Decision, Effect, Enforcement, PeerFacts, TokenFacts, WorkloadTokenFacts};
pub use endpoint::{EndpointAddress, SocketPath, SocketPathError};
pub use head::RecordHead;
pub use outcome::{End, Outcome, Tried, TriedResult, server_bytes};
pub use own::{GAP_BYTES_MAX, Own};
pub use remote::{Remote, RemoteError};

use crate::{id::Id, json::Object};
use std::fmt::Debug;

/// The version of the record format, in every record as `v`.
pub const VERSION: u64 = 1;
/// No record is longer than this, in bytes without the line feed. Held by construction: each field has a
/// limit, and the limits add up to less.
pub const ENTRY_BYTES_MAX: usize = 16 * 1024;
/// No outcome without repeated attempts and a proven server is longer than this, in bytes without the line feed.
pub const OUTCOME_BYTES_MAX: usize = 536;
/// What each attempt adds to an outcome after which another one was made, at most.
pub const TRIED_BYTES_MAX: usize = 280;

/// Whether a caller spoke TLS where that is asked of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tls {
    /// It did, or nothing of the kind was asked of it, or it never came to that: not recorded.
    #[default]
    AsAsked,
    /// It came in plain text, which its listener takes for a while, and has proven nothing.
    None,
}

impl Tls {
    fn encode(self, object: &mut Object<'_>) {
        match self {
            Self::AsAsked => {}
            Self::None => object.word("tls", "none"),
        }
    }
}

/// What every record carries: which exchange, connection or event it is about, when, and where it stands in
/// its lane.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// The exchange, the connection, or the log's own event. Decision and outcome of one exchange share it.
    pub id: Id,
    /// Nanoseconds since the Unix epoch.
    pub unix_ns: u64,
    /// Nanoseconds of the monotonic clock: goes on when the wall clock is set back.
    pub mono_ns: u64,
    /// Lane 0 is the log itself; a worker has one lane for exchanges and one for connections.
    pub lane: u16,
    /// Contiguous within the lane, from 1 after each `start`.
    pub seq: u64,
}

impl Stamp {
    fn open<'v>(&self, kind: &str, out: &'v mut Vec<u8>) -> Object<'v> {
        let mut object = Object::open(out);
        object.number("v", VERSION);
        object.word("kind", kind);
        object.word("id", self.id.as_str());
        object.time("ts", self.unix_ns);
        object.number("mono_us", self.mono_ns / 1000);
        object.number("w", self.lane.into());
        object.number("wseq", self.seq);
        object
    }
}

/// A borrowed list of texts: what policy ids and mutations come in, without an allocation to hand them over.
pub trait Texts: Debug {
    /// Shows each text in order.
    fn for_each(&self, visit: &mut dyn FnMut(&str));
}

impl<T: AsRef<str> + Debug> Texts for &[T] {
    fn for_each(&self, visit: &mut dyn FnMut(&str)) {
        self.iter().for_each(|text| visit(text.as_ref()));
    }
}

impl<T: AsRef<str> + Debug, const N: usize> Texts for [T; N] {
    fn for_each(&self, visit: &mut dyn FnMut(&str)) {
        self.iter().for_each(|text| visit(text.as_ref()));
    }
}

impl<T: AsRef<str> + Debug> Texts for Vec<T> {
    fn for_each(&self, visit: &mut dyn FnMut(&str)) {
        self.iter().for_each(|text| visit(text.as_ref()));
    }
}

/// No texts.
impl Texts for () {
    fn for_each(&self, _: &mut dyn FnMut(&str)) {}
}
