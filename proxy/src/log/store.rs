//! The log on disk: segments with their leaf hashes, the tree over them, signed checkpoints.
//!
//! The order is the promise: records, then their hashes, then the sync, then whoever waits is told; a
//! checkpoint is signed only over records that are durable.
use super::{
    Now,
    files::{FileOps, LogFile},
    layout::{Layout, Part},
};
use postern_audit::{Checkpoint, Hash, Id, KeyError, Origin, Own, Signer, Stamp, Tree};
use std::{io, path::PathBuf, sync::Arc};

/// Errors of the disk and of the key.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file call failed.
    #[error("cannot {action} `{path}`: {source}")]
    File {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The log's key cannot sign.
    #[error("the log's key cannot sign: {0}")]
    Key(#[from] KeyError),
}

impl StoreError {
    pub(super) fn file(action: &'static str, path: PathBuf) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { action, path, source }
    }

    /// Whether there is no room left.
    pub(super) fn is_full(&self) -> bool {
        match self {
            Self::File { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            Self::Key(_) => false,
        }
    }
}

/// The segment being written.
#[derive(Debug)]
struct Segment {
    first: u64,
    records: Box<dyn LogFile>,
    records_bytes: u64,
    hashes: Box<dyn LogFile>,
    opened_ns: u64,
}

/// What is handed over by recovery.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) files: Arc<dyn FileOps>,
    pub(super) layout: Layout,
    pub(super) origin: Origin,
    pub(super) signer: Box<dyn Signer>,
    pub(super) tree: Tree,
    /// The last number in each lane that is in the tree; lane 0 is the log's own.
    pub(super) lanes: Vec<u64>,
}

/// The log on disk, with the records that are not yet there.
#[derive(Debug)]
pub(super) struct Store {
    parts: Parts,
    segment: Segment,
    checkpoints: Box<dyn LogFile>,
    checkpoints_bytes: u64,
    /// The tree with the batch.
    next: Tree,
    batch: Vec<u8>,
    batch_hashes: Vec<u8>,
    batch_records: u64,
    signed_size: u64,
}

impl Store {
    /// Continues the segment that begins at `first` and has `bytes` of whole records.
    pub(super) fn open(parts: Parts, first: u64, now: Now, signed_size: u64) -> Result<Self, StoreError> {
        let path = parts.layout.checkpoints();
        let (checkpoints, checkpoints_bytes) =
            parts.files.append(&path).map_err(StoreError::file("open", path))?;
        let segment = Segment::open(&parts, first, now)?;
        let next = parts.tree.clone();
        Ok(Self {
            parts,
            segment,
            checkpoints,
            checkpoints_bytes,
            next,
            batch: Vec::new(),
            batch_hashes: Vec::new(),
            batch_records: 0,
            signed_size,
        })
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.parts.origin
    }

    /// Records that are durable.
    pub(super) fn size(&self) -> u64 {
        self.parts.tree.size()
    }

    pub(super) fn signed_size(&self) -> u64 {
        self.signed_size
    }

    pub(super) fn batch_records(&self) -> u64 {
        self.batch_records
    }

    pub(super) fn batch_bytes(&self) -> usize {
        self.batch.len()
    }

    /// Bytes of the segment being written, and how long it has been.
    pub(super) fn segment_age(&self, now: Now) -> (u64, u64) {
        (self.segment.records_bytes, now.mono_ns.saturating_sub(self.segment.opened_ns))
    }

    /// Adds a record of `lane` to the batch.
    pub(super) fn push(&mut self, record: &[u8], lane: u16, seq: u64) {
        self.batch.extend_from_slice(record);
        self.batch.push(b'\n');
        self.batch_hashes.extend_from_slice(&self.next.append(record));
        self.batch_records += 1;
        self.skip_to(lane, seq);
    }

    /// Sets the last number of a lane.
    pub(super) fn skip_to(&mut self, lane: u16, seq: u64) {
        let lane = usize::from(lane);
        if self.parts.lanes.len() <= lane {
            self.parts.lanes.resize(lane + 1, 0);
        }
        if let Some(last) = self.parts.lanes.get_mut(lane) {
            *last = seq;
        }
    }

    /// The last number of each lane, as the next record of the log itself will list them.
    pub(super) fn lanes_with_own(&self) -> Vec<u64> {
        let mut lanes = self.parts.lanes.clone();
        match lanes.first_mut() {
            Some(own) => *own += 1,
            None => lanes.push(1),
        }
        lanes
    }

    /// The last number of a lane.
    pub(super) fn last(&self, lane: u16) -> u64 {
        self.parts.lanes.get(usize::from(lane)).copied().unwrap_or_default()
    }

    /// Adds a record of the log itself to the batch.
    pub(super) fn push_own(&mut self, own: &Own<'_>, id: Id, now: Now) {
        if let Own::Start { lanes, .. } = own {
            self.parts.lanes = vec![0; usize::try_from(*lanes).unwrap_or_default()];
        }
        let seq = self.parts.lanes.first().copied().unwrap_or_default() + 1;
        let mut record = Vec::with_capacity(512);
        own.encode(&Stamp { id, unix_ns: now.unix_ns, mono_ns: now.mono_ns, lane: 0, seq }, &mut record);
        self.push(&record, 0, seq);
    }

    /// Makes the batch durable. When the sync fails, once in a new segment: what the system failed to write it
    /// marks as written, so that asking again would be told a lie.
    pub(super) fn commit(&mut self, now: Now) -> Result<Committed, StoreError> {
        if self.batch.is_empty() {
            return Ok(Committed::default());
        }
        let mut survived = false;
        if let Err(error) = self.write_batch() {
            self.segment.cut(&self.parts)?;
            if error.is_full() {
                return Err(error);
            }
            survived = true;
            self.open_segment(now)?;
            self.write_batch().inspect_err(|_| {
                // The first error is told; a failed cut only leaves more to recovery.
                _ = self.segment.cut(&self.parts);
            })?;
        }
        self.segment.records_bytes += self.batch.len() as u64;
        let committed = Committed { records: self.batch_records, bytes: self.batch.len() as u64, survived };
        self.parts.tree = self.next.clone();
        self.batch.clear();
        self.batch_hashes.clear();
        self.batch_records = 0;
        Ok(committed)
    }

    fn write_batch(&mut self) -> Result<(), StoreError> {
        let layout = &self.parts.layout;
        let path = |part| layout.segment(self.segment.first, part);
        self.segment.records.append(&self.batch).map_err(StoreError::file("write", path(Part::Records)))?;
        self.segment
            .hashes
            .append(&self.batch_hashes)
            .map_err(StoreError::file("write", path(Part::LeafHashes)))?;
        self.segment.records.sync().map_err(StoreError::file("sync", path(Part::Records)))
    }

    /// Begins a new segment at the durable size.
    pub(super) fn open_segment(&mut self, now: Now) -> Result<(), StoreError> {
        let first = self.size();
        if first != self.segment.first {
            self.segment = Segment::open(&self.parts, first, now)?;
        }
        Ok(())
    }

    /// Signs the durable size, if it is not signed yet.
    pub(super) fn checkpoint(&mut self) -> Result<(), StoreError> {
        if self.signed_size == self.size() {
            return Ok(());
        }
        let checkpoint =
            Checkpoint { origin: self.parts.origin.clone(), size: self.size(), root: self.parts.tree.root() };
        let note = checkpoint.sign(&[self.parts.signer.as_ref()])?.to_string();
        let path = self.parts.layout.checkpoints();
        let line = format!("{note}\n");
        let written = self.checkpoints.append(line.as_bytes()).and_then(|()| self.checkpoints.sync());
        if let Err(source) = written {
            // Half a note would spoil the next one. What cannot be cut now, recovery cuts.
            _ = self.checkpoints.truncate(self.checkpoints_bytes);
            return Err(StoreError::File { action: "write", path, source });
        }
        self.checkpoints_bytes += line.len() as u64;
        self.signed_size = checkpoint.size;
        let newest = self.parts.layout.checkpoint();
        self.parts.files.publish(&newest, note.as_bytes()).map_err(StoreError::file("write", newest))
    }

    pub(super) fn files(&self) -> &dyn FileOps {
        self.parts.files.as_ref()
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.parts.layout
    }

    pub(super) fn vkey(&self) -> String {
        self.parts.signer.verifying_key().to_vkey(self.parts.origin.as_str())
    }
}

/// What a commit did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Committed {
    pub(super) records: u64,
    pub(super) bytes: u64,
    /// An error was survived by a new segment.
    pub(super) survived: bool,
}

impl Segment {
    fn open(parts: &Parts, first: u64, now: Now) -> Result<Self, StoreError> {
        let path = |part| parts.layout.segment(first, part);
        let append = |part| parts.files.append(&path(part)).map_err(StoreError::file("open", path(part)));
        let (records, records_bytes) = append(Part::Records)?;
        let (hashes, _) = append(Part::LeafHashes)?;
        if records_bytes == 0 {
            let edge: Vec<u8> = parts.tree.edge().iter().flatten().copied().collect();
            parts
                .files
                .replace(&path(Part::Edge), &edge)
                .map_err(StoreError::file("write", path(Part::Edge)))?;
            let directory = parts.layout.segments();
            parts.files.sync_directory(&directory).map_err(StoreError::file("sync", directory))?;
        }
        Ok(Self { first, records, records_bytes, hashes, opened_ns: now.mono_ns })
    }

    /// Takes back whatever a failed write left.
    fn cut(&mut self, parts: &Parts) -> Result<(), StoreError> {
        let path = |part| parts.layout.segment(self.first, part);
        let hashes_bytes = (parts.tree.size() - self.first) * size_of::<Hash>() as u64;
        self.records.truncate(self.records_bytes).map_err(StoreError::file("cut", path(Part::Records)))?;
        self.hashes.truncate(hashes_bytes).map_err(StoreError::file("cut", path(Part::LeafHashes)))
    }
}
