//! Opening a log: is what is there what was signed, and what was left undone?
//!
//! Everything up to the newest signed checkpoint must have the root that was signed, or the log is refused: a
//! sidecar must not continue, and so sign, a history that somebody rewrote. Behind it, whole records are kept
//! and a half-written one is cut. Then the rings are taken over: what the dead process had filed.
use super::{
    LogError,
    files::FileOps,
    layout::{Layout, Part},
    store::StoreError,
};
use postern_audit::{Checkpoint, Hash, Origin, RecordHead, Tree, VerifyingKey};
use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufReader, Read},
    path::PathBuf,
};

const LINE_BYTES_MAX: u64 = 65_535;
/// A checkpoint is a few hundred bytes; the newest whole one lies well within this.
const CHECKPOINTS_TAIL_BYTES: u64 = 256 * 1024;

/// What was found in a log directory.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) tree: Tree,
    /// The first index of the segment to continue.
    pub(super) segment: u64,
    /// The last number of each lane since the last `start`.
    pub(super) lanes: BTreeMap<u16, u64>,
    pub(super) signed_size: u64,
    /// Bytes of a half-written record, cut off.
    pub(super) dropped_bytes: u64,
    /// The kind of the last record.
    pub(super) last_kind: Option<String>,
}

/// Reads and checks the log. `keys` are those that may have signed it.
pub(super) fn examine(
    files: &dyn FileOps,
    layout: &Layout,
    origin: &Origin,
    keys: &[(String, VerifyingKey)],
) -> Result<Found, LogError> {
    let signed = newest_checkpoint(files, layout, origin, keys)?;
    let signed_size = signed.as_ref().map_or(0, |signed| signed.size);
    let segments = segments(files, layout)?;
    let (from, tree) = starting_point(files, layout, &segments, signed_size)?;
    let mut walk = Walk {
        found: Found {
            tree,
            segment: from,
            lanes: BTreeMap::new(),
            signed_size,
            dropped_bytes: 0,
            last_kind: None,
        },
        signed,
        worked: false,
    };
    let remaining: Vec<u64> = segments.into_iter().filter(|first| *first >= from).collect();
    for (at, first) in remaining.iter().enumerate() {
        if walk.found.tree.size() != *first {
            return Err(LogError::Missing { expected: walk.found.tree.size(), found: *first });
        }
        walk.segment(files, layout, *first, at + 1 == remaining.len())?;
    }
    walk.finish()
}

pub(super) fn segments(files: &dyn FileOps, layout: &Layout) -> Result<Vec<u64>, LogError> {
    let directory = layout.segments();
    let names = files.list(&directory).map_err(StoreError::file("list", directory))?;
    let mut segments: Vec<u64> = names.iter().filter_map(|name| Layout::first_of(name)).collect();
    segments.sort_unstable();
    Ok(segments)
}

/// The latest segment that begins within what is signed, with the tree before it. It must begin with the number
/// of each lane, as all do but one that was begun because the disk failed.
fn starting_point(
    files: &dyn FileOps,
    layout: &Layout,
    segments: &[u64],
    signed_size: u64,
) -> Result<(u64, Tree), LogError> {
    for first in segments.iter().rev().filter(|first| **first <= signed_size && **first > 0) {
        let edge = read(files, layout.segment(*first, Part::Edge), 64 * 32)?.unwrap_or_default();
        let edge: Vec<Hash> = edge.as_chunks::<32>().0.to_vec();
        if let Some(tree) = Tree::from_edge(*first, edge)
            && numbers_lanes(files, layout, *first)?
        {
            return Ok((*first, tree));
        }
    }
    Ok((0, Tree::default()))
}

fn numbers_lanes(files: &dyn FileOps, layout: &Layout, first: u64) -> Result<bool, LogError> {
    let beginning = read(files, layout.segment(first, Part::Records), LINE_BYTES_MAX)?.unwrap_or_default();
    let line = beginning.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(RecordHead::parse(line).is_some_and(|head| head.kind() == "start" || !head.lanes().is_empty()))
}

struct Walk {
    found: Found,
    /// The newest checkpoint, until its root was compared.
    signed: Option<Checkpoint>,
    /// A worker filed here: it could not before the first checkpoint was signed.
    worked: bool,
}

impl Walk {
    fn segment(
        &mut self,
        files: &dyn FileOps,
        layout: &Layout,
        first: u64,
        last: bool,
    ) -> Result<(), LogError> {
        let path = layout.segment(first, Part::Records);
        let io_error = |source| StoreError::File { action: "read", path: path.clone(), source };
        let mut reader = BufReader::new(files.read(&path).map_err(io_error)?);
        let (mut good_bytes, mut line) = (0, Vec::new());
        self.compare()?;
        loop {
            line.clear();
            let read =
                reader.by_ref().take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut line).map_err(io_error)?;
            if read == 0 {
                break;
            }
            let head = line.strip_suffix(b"\n").and_then(RecordHead::parse);
            let Some(head) = head else {
                // What is no whole record may only be the unsigned end of the log.
                if !last || self.found.tree.size() < self.found.signed_size {
                    return Err(LogError::Damaged { index: self.found.tree.size(), segment: first });
                }
                self.found.dropped_bytes = cut(files, path.clone(), good_bytes)?;
                break;
            };
            self.worked |= head.lane() > 0;
            if head.kind() == "start" {
                self.found.lanes.clear();
            }
            self.found.lanes.insert(head.lane(), head.seq());
            for (lane, last) in (0..).zip(head.lanes()) {
                self.found.lanes.insert(lane, *last);
            }
            self.found.last_kind = Some(head.kind().to_owned());
            self.found.tree.append(line.strip_suffix(b"\n").unwrap_or_default());
            good_bytes += read as u64;
            self.compare()?;
        }
        self.found.segment = first;
        if last { restore_hashes(files, layout, first, self.found.tree.size()) } else { Ok(()) }
    }

    /// Compares the root when the newest checkpoint's size is reached.
    fn compare(&mut self) -> Result<(), LogError> {
        let Some(signed) = self.signed.as_ref().filter(|signed| signed.size == self.found.tree.size()) else {
            return Ok(());
        };
        if signed.root != self.found.tree.root() {
            return Err(LogError::Rewritten { size: signed.size });
        }
        self.signed = None;
        Ok(())
    }

    fn finish(mut self) -> Result<Found, LogError> {
        self.compare()?;
        if self.worked && self.found.signed_size == 0 {
            return Err(LogError::Unsigned);
        }
        match self.signed {
            Some(signed) => Err(LogError::Short { signed: signed.size, records: self.found.tree.size() }),
            None => Ok(self.found),
        }
    }
}

/// Cuts a segment behind its last whole record; gives the bytes cut.
fn cut(files: &dyn FileOps, path: PathBuf, good_bytes: u64) -> Result<u64, LogError> {
    let (mut file, bytes) = files.append(&path).map_err(StoreError::file("open", path.clone()))?;
    file.truncate(good_bytes).and_then(|()| file.sync()).map_err(StoreError::file("cut", path))?;
    Ok(bytes.saturating_sub(good_bytes))
}

/// Makes the leaf hashes of the last segment fit its records: they are written behind them and not synced.
fn restore_hashes(files: &dyn FileOps, layout: &Layout, first: u64, size: u64) -> Result<(), LogError> {
    let records = layout.segment(first, Part::Records);
    let read_error = |source| StoreError::File { action: "read", path: records.clone(), source };
    let mut reader = BufReader::new(files.read(&records).map_err(read_error)?);
    let (mut hashes, mut line) = (Vec::new(), Vec::new());
    for _ in first..size {
        line.clear();
        reader.by_ref().take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut line).map_err(read_error)?;
        hashes.extend_from_slice(&postern_audit::leaf_hash(line.strip_suffix(b"\n").unwrap_or(&line)));
    }
    let path = layout.segment(first, Part::LeafHashes);
    let kept = read(files, path.clone(), hashes.len() as u64 + 1)?;
    if kept.as_deref() == Some(&hashes) {
        return Ok(());
    }
    let (mut file, _) = files.append(&path).map_err(StoreError::file("open", path.clone()))?;
    let restored = file.truncate(0).and_then(|()| file.append(&hashes)).and_then(|()| file.sync());
    Ok(restored.map_err(StoreError::file("restore", path))?)
}

/// The newest checkpoint, and the file cut behind it if a write was interrupted.
fn newest_checkpoint(
    files: &dyn FileOps,
    layout: &Layout,
    origin: &Origin,
    keys: &[(String, VerifyingKey)],
) -> Result<Option<Checkpoint>, LogError> {
    let path = layout.checkpoints();
    let error = |action| StoreError::file(action, layout.checkpoints());
    let (mut file, bytes) = files.append(&path).map_err(error("open"))?;
    if bytes == 0 {
        return Ok(None);
    }
    let mut reader = files.read(&path).map_err(error("read"))?;
    let skipped = bytes.saturating_sub(CHECKPOINTS_TAIL_BYTES);
    io::copy(&mut reader.by_ref().take(skipped), &mut io::sink()).map_err(error("read"))?;
    let mut tail = Vec::new();
    reader.take(CHECKPOINTS_TAIL_BYTES).read_to_end(&mut tail).map_err(error("read"))?;
    let Some((note, behind)) = last_note(&tail) else {
        if skipped > 0 {
            return Err(LogError::Checkpoints);
        }
        // The very first one was interrupted: nothing was ever signed.
        file.truncate(0).and_then(|()| file.sync()).map_err(error("cut"))?;
        return Ok(None);
    };
    let checkpoint = Checkpoint::open(&note, keys, Some(origin)).map_err(LogError::Checkpoint)?;
    file.truncate(skipped + behind as u64).and_then(|()| file.sync()).map_err(error("cut"))?;
    Ok(Some(checkpoint))
}

/// The last whole note, and the position behind the blank line that ends it. What stands behind it was
/// interrupted.
fn last_note(tail: &[u8]) -> Option<(String, usize)> {
    let mut ends = Vec::new();
    let mut at = 0;
    while let Some(found) = tail.get(at..)?.windows(2).position(|pair| pair == b"\n\n") {
        at += found + 2;
        ends.push(at);
    }
    loop {
        let behind = ends.pop()?;
        let middle = *ends.last()?;
        let text = ends.len().checked_sub(2).and_then(|before| ends.get(before)).copied().unwrap_or_default();
        let signatures = tail.get(middle..behind)?;
        // A note that was interrupted at its own blank line ends with its text.
        if signatures.starts_with("\u{2014} ".as_bytes()) {
            let note = tail.get(text..behind - 1)?;
            return Some((String::from_utf8_lossy(note).into_owned(), behind));
        }
    }
}

fn read(files: &dyn FileOps, path: PathBuf, bytes_max: u64) -> Result<Option<Vec<u8>>, LogError> {
    let reader = match files.read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        reader => reader.map_err(StoreError::file("read", path.clone()))?,
    };
    let mut bytes = Vec::new();
    reader.take(bytes_max).read_to_end(&mut bytes).map_err(StoreError::file("read", path))?;
    Ok(Some(bytes))
}
