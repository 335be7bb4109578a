//! The log's records about itself: lane 0, and the gaps a worker declares.
use super::Stamp;
use crate::hash::Hash;

/// No gap record is longer than this, in bytes without the line feed.
pub const GAP_BYTES_MAX: usize = 480;

/// What the log says about itself.
#[derive(Clone, Copy, Debug)]
pub enum Own<'a> {
    /// The process began to log. Every lane counts from 1 again; this is number 1 of lane 0.
    Start {
        /// The log's origin.
        origin: &'a str,
        /// Postern's version.
        version: &'a str,
        /// `durable`, `async` or `best_effort`.
        mode: &'a str,
        /// Lanes, with lane 0.
        lanes: u64,
        /// The key that signs from here, as a verifier key.
        key: &'a str,
    },
    /// The process stopped logging: the last number of each lane, so that a cut end shows.
    Stop {
        /// `shutdown`, or why it could not go on.
        reason: &'a str,
        /// The last number of each lane; lane 0 counts this record.
        lanes: &'a [u64],
    },
    /// A log that did not stop was opened again.
    Recovered {
        /// The size of the last signed checkpoint.
        checkpoint_size: u64,
        /// Bytes of a half-written last record, cut off.
        dropped_bytes: u64,
        /// Records taken over from the rings of the process that died.
        drained: u64,
        /// The last number of each lane; lane 0 counts this record.
        lanes: &'a [u64],
    },
    /// Records that are not in the log.
    Gap {
        /// The lane they are missing in.
        of: u16,
        /// The first missing number.
        from: u64,
        /// The last missing number.
        to: u64,
        /// `ring_full`, `disk`, `power_loss`.
        reason: &'a str,
    },
    /// Connections refused before authentication that were too many to record one by one.
    RefusedSummary {
        /// How many.
        count: u64,
        /// When the first was, in nanoseconds since the Unix epoch.
        first_unix_ns: u64,
        /// When the last was, in nanoseconds since the Unix epoch.
        last_unix_ns: u64,
        /// Reason codes with their count; codes are words of ours. At most 32 are recorded.
        reasons: &'a [(&'static str, u64)],
        /// Source prefixes with their count, the first 16 that were seen.
        sources: &'a [(std::net::IpAddr, u64)],
    },
    /// The log lives: the time is in the tree, and the last number of each lane.
    Tick {
        /// `idle`, `segment`, or `clock_step`.
        reason: &'a str,
        /// The last number of each lane; lane 0 counts this record.
        lanes: &'a [u64],
    },
    /// A signing key came into use.
    Key {
        /// `use`.
        event: &'a str,
        /// The key, as a verifier key.
        key: &'a str,
    },
    /// A policy bundle was put in force or refused.
    Bundle {
        /// `activated`, `refused`, `rolled_back`.
        event: &'a str,
        /// The bundle's name in the configuration.
        name: &'a str,
        /// The bundle's revision.
        revision: &'a str,
        /// The bundle's digest.
        sha256: Option<&'a Hash>,
        /// Why it was refused.
        detail: &'a str,
    },
    /// A configuration was put in force or refused.
    Config {
        /// `loaded`, `reloaded`, `refused`.
        event: &'a str,
        /// The file's digest.
        sha256: Option<&'a Hash>,
        /// Why it was refused.
        detail: &'a str,
    },
}

impl Own<'_> {
    /// The kind in the record.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Start { .. } => "start",
            Self::Stop { .. } => "stop",
            Self::Recovered { .. } => "recovered",
            Self::Gap { .. } => "gap",
            Self::RefusedSummary { .. } => "refused_summary",
            Self::Tick { .. } => "tick",
            Self::Key { .. } => "key",
            Self::Bundle { .. } => "bundle",
            Self::Config { .. } => "config",
        }
    }

    /// Appends the record, without a line feed. At most [`super::ENTRY_BYTES_MAX`] bytes.
    pub fn encode(&self, stamp: &Stamp, out: &mut Vec<u8>) {
        let mut object = stamp.open(self.kind(), out);
        match self {
            Self::Start { origin, version, mode, lanes, key } => {
                object.text("origin", origin, 1024);
                object.text("version", version, 64);
                object.text("mode", mode, 16);
                object.number("lane_count", *lanes);
                object.text("key", key, 2048);
            }
            Self::Stop { reason, lanes } | Self::Tick { reason, lanes } => {
                object.text("reason", reason, 64);
                object.numbers("lanes", lanes);
            }
            Self::Recovered { checkpoint_size, dropped_bytes, drained, lanes } => {
                object.number("checkpoint_size", *checkpoint_size);
                object.number("dropped_bytes", *dropped_bytes);
                object.number("drained", *drained);
                object.numbers("lanes", lanes);
            }
            Self::Gap { of, from, to, reason } => {
                object.number("of", (*of).into());
                object.number("from", *from);
                object.number("to", *to);
                object.text("reason", reason, 64);
            }
            Self::RefusedSummary { count, first_unix_ns, last_unix_ns, reasons, sources } => {
                object.number("count", *count);
                object.time("first", *first_unix_ns);
                object.time("last", *last_unix_ns);
                let mut member = object.object("reasons");
                for (code, count) in reasons.iter().filter(|(code, _)| code.len() <= 64).take(32) {
                    member.number(code, *count);
                }
                member.close();
                let mut member = object.object("sources");
                for (source, count) in sources.iter().take(16) {
                    member.number(&source.to_string(), *count);
                }
                member.close();
            }
            Self::Key { event, key } => {
                object.text("event", event, 16);
                object.text("key", key, 2048);
            }
            Self::Bundle { event, name, revision, sha256, detail } => {
                object.text("event", event, 16);
                object.text("name", name, 128);
                object.text("bundle_rev", revision, 256);
                if let Some(sha256) = sha256 {
                    object.hex("bundle", "sha256:", *sha256);
                }
                object.text("detail", detail, 1024);
            }
            Self::Config { event, sha256, detail } => {
                object.text("event", event, 16);
                if let Some(sha256) = sha256 {
                    object.hex("config", "sha256:", *sha256);
                }
                object.text("detail", detail, 1024);
            }
        }
        object.close();
    }
}
