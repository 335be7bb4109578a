//! Reading segments and checkpoints, with limits on everything.
use super::{
    Files,
    lanes::Lanes,
    report::{Finding, Report, What},
};
use crate::{
    checkpoint::{Checkpoint, CheckpointError},
    hash::{Hash, leaf_hash},
    key::VerifyingKey,
    note::{NOTE_BYTES_MAX, NoteError},
    record::RecordHead,
};
use std::io::{self, BufRead, Read};

/// The entry limit of C2SP tlog-tiles; what is longer was not written by us.
const LINE_BYTES_MAX: u64 = 65_535;
/// Four times what a segment of the largest configurable size can hold.
const RECORDS_MAX: usize = 16 * 1024 * 1024;
const CHECKPOINTS_MAX: usize = 64 * 1024 * 1024;
const ID_BYTES_MAX: usize = 26;

/// A checkpoint that a known key signed, and the line of `checkpoints.log` it begins on.
pub(super) struct Signed {
    pub(super) checkpoint: Checkpoint,
    pub(super) line: u64,
}

/// What is kept of a segment while it is judged.
pub(super) struct Segment {
    pub(super) first: u64,
    pub(super) hashes: Vec<Hash>,
    pub(super) leaves: Option<Vec<Hash>>,
    /// The last line has no line feed.
    pub(super) torn: bool,
    lines: Vec<Line>,
}

struct Line {
    id: Option<[u8; ID_BYTES_MAX]>,
    complete: bool,
}

impl Segment {
    pub(super) fn id(&self, line: usize) -> Option<String> {
        let id = self.lines.get(line)?.id?;
        std::str::from_utf8(&id).ok().map(str::to_owned)
    }

    /// Whether the line is one whole JSON object.
    pub(super) fn is_complete(&self, line: usize) -> bool {
        self.lines.get(line).is_some_and(|line| line.complete)
    }
}

pub(super) fn segment(
    files: &dyn Files,
    first: u64,
    lanes: &mut Lanes,
    report: &mut Report,
) -> io::Result<Segment> {
    let mut segment =
        Segment { first, hashes: Vec::new(), leaves: leaves(files, first)?, torn: false, lines: Vec::new() };
    let mut reader = files.records(first)?;
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader.by_ref().take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(segment);
        }
        let Some(record) = line.strip_suffix(b"\n") else {
            segment.torn = true;
            if read as u64 > LINE_BYTES_MAX {
                return Err(io::Error::other(format!(
                    "segment {first} has a line over {LINE_BYTES_MAX} bytes"
                )));
            }
            return Ok(segment);
        };
        if segment.hashes.len() >= RECORDS_MAX {
            return Err(io::Error::other(format!("segment {first} has more than {RECORDS_MAX} records")));
        }
        let head = RecordHead::parse(record);
        segment.hashes.push(leaf_hash(record));
        segment.lines.push(Line {
            id: head.as_ref().and_then(|head| head.id.as_bytes().try_into().ok()),
            complete: record.ends_with(b"}"),
        });
        let at = segment.hashes.len() as u64;
        match head {
            Some(head) => lanes.see(&head, (first + at - 1, first, at), report),
            None => report.find_later(Finding {
                index: Some(first + at - 1),
                count: 1,
                segment: Some(first),
                line: Some(at),
                ..Finding::of(What::Unreadable, format!("line {at} of segment {first} is not a record"))
            }),
        }
    }
}

fn leaves(files: &dyn Files, first: u64) -> io::Result<Option<Vec<Hash>>> {
    let Some(reader) = files.leaf_hashes(first)? else { return Ok(None) };
    let mut bytes = Vec::new();
    reader.take(32 * RECORDS_MAX as u64).read_to_end(&mut bytes)?;
    Ok(Some(bytes.as_chunks::<32>().0.to_vec()))
}

/// All checkpoints signed by a known key, ascending. What is wrong with others goes to the report.
pub(super) fn checkpoints(
    reader: &mut dyn BufRead,
    keys: &[(String, VerifyingKey)],
    report: &mut Report,
) -> io::Result<Vec<Signed>> {
    let mut signed: Vec<Signed> = Vec::new();
    let mut line = 1;
    while let Some((note, lines)) = note(reader)? {
        report.checkpoints += 1;
        if signed.len() >= CHECKPOINTS_MAX {
            return Err(io::Error::other(format!("more than {CHECKPOINTS_MAX} checkpoints")));
        }
        let begins = line;
        line += lines;
        if !note.ends_with("\n\n") {
            report.notes.push("the last checkpoint is not complete yet".to_owned());
            break;
        }
        let note = note.strip_suffix('\n').unwrap_or(&note);
        let origin = signed.first().map(|first| first.checkpoint.origin.clone());
        match Checkpoint::open(note, keys, origin.as_ref()) {
            Ok(checkpoint) => {
                let back = signed.last().is_some_and(|last| {
                    checkpoint.size < last.checkpoint.size
                        || (checkpoint.size == last.checkpoint.size
                            && checkpoint.root != last.checkpoint.root)
                });
                if back {
                    report.find(bad(begins, "contradicts the one before it: the log went back or forked"));
                } else {
                    report.checkpoints_signed += 1;
                    signed.push(Signed { checkpoint, line: begins });
                }
            }
            Err(CheckpointError::Note(NoteError::UnknownKey)) => report.checkpoints_unknown_key += 1,
            Err(error) => report.find(bad(begins, &error.to_string())),
        }
    }
    report.last_checkpoint_line = signed.last().map(|last| last.line);
    Ok(signed)
}

fn bad(line: u64, why: &str) -> Finding {
    Finding {
        line: Some(line),
        ..Finding::of(What::Checkpoint, format!("checkpoint on line {line} of checkpoints.log: {why}"))
    }
}

/// The next note with the blank line that ends it, and how many lines it has.
fn note(reader: &mut dyn BufRead) -> io::Result<Option<(String, u64)>> {
    let (mut note, mut lines, mut blanks) = (Vec::new(), 0, 0);
    loop {
        let from = note.len();
        let read = reader.take(NOTE_BYTES_MAX as u64).read_until(b'\n', &mut note)?;
        lines += 1;
        blanks += u64::from(note.get(from..) == Some(b"\n"));
        // A note has one blank line before its signatures and, in the file, one behind them.
        if blanks == 2 || read == 0 || note.len() > NOTE_BYTES_MAX {
            let text = String::from_utf8_lossy(&note).into_owned();
            return Ok((!text.is_empty()).then_some((text, lines)));
        }
    }
}
