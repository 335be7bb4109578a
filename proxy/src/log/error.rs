//! Why a log cannot be opened or closed.
use super::{layout::Layout, store::StoreError};
use postern_audit::{CheckpointError, OriginError};
use std::{io, path::PathBuf};

/// Why a log cannot be opened or closed. A log that is not what was signed is left as it is, for whoever looks
/// into it.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A setting outside its limits.
    #[error("`{name}` is {value}, and must be {min} to {max}")]
    Limit {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: u64,
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// Another process writes this log.
    #[error("the audit log `{0}` is in use by another process; each sidecar needs a directory of its own")]
    InUse(PathBuf),
    /// The disk or the key failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// `log.json` is damaged, or missing from a log that has records.
    #[error("`{0}` is missing or damaged; restore it, or move the log away to begin a new one")]
    Description(PathBuf),
    /// The workload's name cannot name a log.
    #[error(transparent)]
    Origin(OriginError),
    /// The newest checkpoint is not signed by this log's key.
    #[error(
        "the newest checkpoint is not acceptable: {0}; when the signing key was changed, name the earlier one"
    )]
    Checkpoint(CheckpointError),
    /// `checkpoints.log` has no checkpoint at its end.
    #[error("`checkpoints.log` ends with no readable checkpoint; verify the log and move it away")]
    Checkpoints,
    /// There are records of exchanges and no checkpoint: whoever took the checkpoints could have changed them.
    #[error(
        "the log has records and no signed checkpoint: `checkpoints.log` was removed; restore it, or move the log away"
    )]
    Unsigned,
    /// The records are not those that were signed.
    #[error(
        "the first {size} records do not have the root that was signed for them: the log was changed; verify it and move it away"
    )]
    Rewritten {
        /// The size of the checkpoint.
        size: u64,
    },
    /// There are fewer records than were signed.
    #[error(
        "{signed} records were signed and {records} are there: the log was cut; verify it and move it away"
    )]
    Short {
        /// The size of the checkpoint.
        signed: u64,
        /// The records found.
        records: u64,
    },
    /// A segment is missing.
    #[error(
        "the segment that begins at record {expected} is missing, the next begins at {found}; verify the log and move it away"
    )]
    Missing {
        /// Where a segment should begin.
        expected: u64,
        /// Where the next one does.
        found: u64,
    },
    /// A line that is no record, where only whole records can be.
    #[error("record {index} in the segment {segment} is damaged; verify the log and move it away")]
    Damaged {
        /// The record.
        index: u64,
        /// The first record of its segment.
        segment: u64,
    },
    /// The writer thread cannot be started.
    #[error("cannot start the writer thread: {0}")]
    Thread(io::Error),
    /// The writer thread failed.
    #[error("the writer thread panicked")]
    WriterPanicked,
}

impl LogError {
    pub(super) fn lock(layout: &Layout, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::WouldBlock {
            Self::InUse(layout.root().to_owned())
        } else {
            Self::Store(StoreError::File { action: "lock", path: layout.lock(), source })
        }
    }
}
