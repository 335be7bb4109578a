//! `postern audit`: looks into an audit log and proves what it holds. Reads only, also while the log is written.
//!
//! Exit codes: 0 whole or proved, 3 whole with declared gaps, 4 tampered or not proved, 5 cannot tell.
mod inspect;
mod prove;
mod verify;

use crate::demo::DemoState;
use crate::log::{DirectoryFiles, beside};
use postern_audit::{Class, Files, RecordHead, VerifyingKey};
use std::fs;
use std::io::{self, BufRead, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

const KEY_BYTES_MAX: u64 = 64 * 1024;
const LINE_BYTES_MAX: u64 = 65_536;

/// Arguments of `audit`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Check every record, signature and number; name what was changed, removed, added or moved
    Verify(verify::Args),
    /// Print records
    Inspect(inspect::Args),
    /// Prove that the records of a decision are in the log, to somebody who does not have it
    Prove(prove::ProveArgs),
    /// Check a proof with the log's public key
    VerifyProof(prove::VerifyProofArgs),
    /// Prove that the log today begins with the log that an earlier checkpoint was signed for
    Consistency(prove::ConsistencyArgs),
}

/// What cannot be told, and why.
#[derive(Debug, thiserror::Error)]
enum AuditError {
    #[error("{0}; name the log's directory")]
    NoDirectory(crate::demo::StateError),
    #[error("cannot read `{}`: {error}", .path.display())]
    Read { path: PathBuf, error: io::Error },
    #[error("`{}` is no public key: {error}", .path.display())]
    Key { path: PathBuf, error: postern_audit::KeyError },
    #[error("the log has no record of `{0}`")]
    NoRecord(String),
    #[error("`{0}` is recorded, and no checkpoint is signed over it yet: try again in a second")]
    Unsigned(String),
    #[error("the newest checkpoint is not acceptable: {0}")]
    Checkpoint(postern_audit::CheckpointError),
    #[error("`{}` is no text", .0.display())]
    Text(PathBuf),
    #[error("cannot write: {0}")]
    Write(#[from] io::Error),
}

pub(super) fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let done = match &args.action {
        Action::Verify(args) => verify::run(args, out),
        Action::Inspect(args) => inspect::run(args, out),
        Action::Prove(args) => prove::prove(args, out),
        Action::VerifyProof(args) => prove::verify_proof(args, out),
        Action::Consistency(args) => prove::consistency(args, out),
    };
    match done {
        Ok(class) => class.exit_code(),
        Err(error) => {
            super::fail(err, &error);
            Class::CannotTell.exit_code()
        }
    }
}

/// How long a reader waits for a writer that is behind.
const WRITER_TIMEOUT: Duration = Duration::from_secs(1);

/// A log to look into: a directory, or that of the running demo.
#[derive(Debug)]
struct Source {
    files: DirectoryFiles,
    directory: PathBuf,
}

impl Source {
    fn open(directory: Option<&Path>) -> Result<Self, AuditError> {
        let directory = match directory {
            Some(directory) => directory.to_owned(),
            None => DemoState::read().map_err(AuditError::NoDirectory)?.audit_directory,
        };
        let files = DirectoryFiles::open(&directory)
            .map_err(|error| AuditError::Read { path: directory.clone(), error })?;
        let source = Self { files, directory };
        source.read(source.files.wait_for_writer(WRITER_TIMEOUT))?;
        Ok(source)
    }

    /// The log of a directory, and those beside it that were begun while one process replaced another.
    fn open_all(directory: Option<&Path>) -> Result<Vec<Self>, AuditError> {
        let first = Self::open(directory)?;
        let beside = beside::places(&first.directory).skip(1);
        let begun: Vec<_> = beside.filter(|place| place.join("seg").is_dir()).collect();
        let beside = begun.iter().map(|place| Self::open(Some(place)));
        std::iter::once(Ok(first)).chain(beside).collect()
    }

    fn read<T>(&self, read: io::Result<T>) -> Result<T, AuditError> {
        read.map_err(|error| AuditError::Read { path: self.directory.clone(), error })
    }

    /// The given keys under the log's name, or those beside the log when none are given.
    fn keys(&self, given: &[PathBuf]) -> Result<Vec<(String, VerifyingKey)>, AuditError> {
        if given.is_empty() {
            return self.read(self.files.keys());
        }
        let origin = self.read(self.files.origin())?;
        given.iter().map(|path| key(path, &origin)).collect()
    }

    /// Visits every whole record from the segment that begins at `from`, until told to stop.
    fn visit(&self, from: u64, visit: &mut dyn FnMut(u64, &[u8]) -> Visit) -> Result<(), AuditError> {
        for first in self.read(self.files.segments())?.into_iter().filter(|first| *first >= from) {
            let mut reader = self.read(self.files.records(first))?;
            let (mut index, mut line) = (first, Vec::new());
            loop {
                line.clear();
                self.read(reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line))?;
                // The last line of a log that is written may not be whole yet.
                let Some(record) = line.strip_suffix(b"\n") else { break };
                if visit(index, record) == Visit::Enough {
                    return Ok(());
                }
                index += 1;
            }
        }
        Ok(())
    }
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Visit {
    More,
    Enough,
}

/// A public key from a file: a verifier key, which names the log it is for, or PEM.
fn key(path: &Path, origin: &str) -> Result<(String, VerifyingKey), AuditError> {
    let text = text(path)?;
    let failed = |error| AuditError::Key { path: path.to_owned(), error };
    if text.contains("-----BEGIN") {
        let key = VerifyingKey::from_pem(text.as_bytes()).map_err(failed)?;
        Ok((origin.to_owned(), key))
    } else {
        VerifyingKey::from_vkey(&text).map_err(failed)
    }
}

fn text(path: &Path) -> Result<String, AuditError> {
    let failed = |error| AuditError::Read { path: path.to_owned(), error };
    let mut bytes = Vec::new();
    fs::File::open(path).map_err(failed)?.take(KEY_BYTES_MAX * 8).read_to_end(&mut bytes).map_err(failed)?;
    String::from_utf8(bytes).map_err(|_| AuditError::Text(path.to_owned()))
}

/// Records of one exchange, connection or event, in order, with their index, from whichever log of the directory has
/// them. `last` is the newest decision.
pub(super) fn records_of(directory: Option<&Path>, id: &str) -> Result<Vec<(u64, Vec<u8>)>, String> {
    let sources = Source::open_all(directory).map_err(|error| error.to_string())?;
    let mut found: Option<Vec<(u64, Vec<u8>)>> = None;
    for source in &sources {
        let records =
            if id == "last" { inspect::newest_decision(source) } else { inspect::of_id(source, id) };
        match records {
            Ok(records) if found.as_ref().is_none_or(|known| id_of(&records) > id_of(known)) => {
                found = Some(records);
            }
            Ok(_) | Err(AuditError::NoRecord(_)) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    found.ok_or_else(|| AuditError::NoRecord(id.to_owned()).to_string())
}

/// An id begins with its time: the greater is the newer.
fn id_of(records: &[(u64, Vec<u8>)]) -> Option<String> {
    records.first().and_then(|(_, record)| RecordHead::parse(record)).map(|head| head.id().to_owned())
}

/// Shows every whole record of a log, in order, and then those of the logs beside it.
pub(super) fn each_record(directory: &Path, show: &mut dyn FnMut(&[u8])) -> Result<(), String> {
    let told = |error: AuditError| error.to_string();
    let mut visit = |_, record: &[u8]| {
        show(record);
        Visit::More
    };
    for source in Source::open_all(Some(directory)).map_err(told)? {
        source.visit(0, &mut visit).map_err(told)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
