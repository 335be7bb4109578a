//! `postern audit prove`, `verify-proof` and `consistency`: proofs that need no copy of the log.
use super::{AuditError, Source, inspect, text, verify};
use postern_audit::{Checkpoint, Class, Files, Hash, Id, Note, Proof, RecordHead, VerifyingKey, tree};
use postern_policy::tooling::shown;
use std::io::{Read, Write};
use std::path::PathBuf;

/// Leaf hashes held in memory for a proof: 2 GiB of them, some sixty million records.
const LEAVES_MAX: u64 = 64 * 1024 * 1024;

/// Arguments of `audit prove`.
#[derive(Debug, clap::Args)]
pub(super) struct ProveArgs {
    /// The decision's id
    id: Id,
    /// The log's directory, or a copy of it; the running demo's if left out
    directory: Option<PathBuf>,
}

/// Arguments of `audit verify-proof`.
#[derive(Debug, clap::Args)]
pub(super) struct VerifyProofArgs {
    /// The proof, as `audit prove` prints it
    proof: PathBuf,
    /// The log's public key, as PEM or verifier key
    #[arg(long, value_name = "FILE", required = true)]
    key: Vec<PathBuf>,
}

/// Arguments of `audit consistency`.
#[derive(Debug, clap::Args)]
pub(super) struct ConsistencyArgs {
    /// The earlier checkpoint
    earlier: PathBuf,
    /// The log's directory, or a copy of it; the running demo's if left out
    directory: Option<PathBuf>,
    /// A public key the log may be signed by, as PEM or verifier key; may be given several times
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
}

pub(super) fn prove(args: &ProveArgs, out: &mut dyn Write) -> Result<Class, AuditError> {
    let source = Source::open(args.directory.as_deref())?;
    let records = inspect::of_id(&source, args.id.as_str())?;
    let (keys, note) = (source.keys(&[])?, source.read(source.files.newest_checkpoint())?);
    let checkpoint = Checkpoint::open(&note, &keys, None).map_err(AuditError::Checkpoint)?;
    let leaves = leaves(&source, checkpoint.size)?;
    // The decision is what is asked for; its outcome stands behind it and has a proof of its own.
    let decision = records
        .iter()
        .find(|(_, record)| RecordHead::parse(record).is_some_and(|head| head.kind() != "outcome"));
    let Some((index, record)) = decision.or(records.first()) else {
        return Err(AuditError::NoRecord(args.id.to_string()));
    };
    let path = usize::try_from(*index).ok().and_then(|index| tree::inclusion(&leaves, index));
    let path = path.ok_or_else(|| AuditError::Unsigned(args.id.to_string()))?;
    let proof = Proof { record: record.clone(), index: *index, path, checkpoint: note };
    if let Err(error) = proof.verify(&keys) {
        writeln!(out, "not proved: {}; run `postern audit verify`", shown(&error.to_string()))?;
        return Ok(Class::Tampered);
    }
    write!(out, "{proof}")?;
    Ok(Class::Whole)
}

pub(super) fn verify_proof(args: &VerifyProofArgs, out: &mut dyn Write) -> Result<Class, AuditError> {
    let proved = Proof::parse(&text(&args.proof)?).and_then(|proof| {
        let origin = Note::parse(&proof.checkpoint).and_then(|note| {
            Checkpoint::of_unverified(&note).map_err(|_| postern_audit::NoteError::Malformed("checkpoint"))
        });
        let origin = origin.map_err(postern_audit::CheckpointError::from)?.origin;
        Ok((proof, origin))
    });
    let (proof, origin) = match proved {
        Ok(proved) => proved,
        Err(error) => {
            writeln!(out, "not proved: {}", shown(&error.to_string()))?;
            return Ok(Class::Tampered);
        }
    };
    match proof.verify(&verify::keys(&args.key, origin.as_str())?) {
        Ok(checkpoint) => {
            writeln!(
                out,
                "proved: record {} of {} in the log {}",
                proof.index, checkpoint.size, checkpoint.origin
            )?;
            out.write_all(&proof.record)?;
            writeln!(out)?;
            Ok(Class::Whole)
        }
        Err(error) => {
            writeln!(out, "not proved: {}", shown(&error.to_string()))?;
            Ok(Class::Tampered)
        }
    }
}

pub(super) fn consistency(args: &ConsistencyArgs, out: &mut dyn Write) -> Result<Class, AuditError> {
    let source = Source::open(args.directory.as_deref())?;
    let keys: Vec<(String, VerifyingKey)> = source.keys(&args.key)?;
    let open = |note: &str| Checkpoint::open(note, &keys, None).map_err(AuditError::Checkpoint);
    let earlier = open(&text(&args.earlier)?)?;
    let newest = open(&source.read(source.files.newest_checkpoint())?)?;
    let leaves = leaves(&source, newest.size)?;
    let path = usize::try_from(earlier.size).ok().and_then(|first| tree::consistency(&leaves, first));
    let proved = earlier.origin == newest.origin
        && path.is_some_and(|path| {
            tree::consistent((earlier.size, &earlier.root), (newest.size, &newest.root), &path)
        });
    if proved {
        writeln!(
            out,
            "consistent: the {} records of {} are the beginning of its {}",
            earlier.size, newest.origin, newest.size
        )?;
        Ok(Class::Whole)
    } else {
        writeln!(
            out,
            "not consistent: the log of {} records does not begin with the {} of the earlier checkpoint",
            newest.size, earlier.size
        )?;
        Ok(Class::Tampered)
    }
}

/// The first `size` leaf hashes.
fn leaves(source: &Source, size: u64) -> Result<Vec<Hash>, AuditError> {
    let mut leaves: Vec<Hash> = Vec::new();
    for first in source.read(source.files.segments())?.into_iter().filter(|first| *first < size) {
        let Some(reader) = source.read(source.files.leaf_hashes(first))? else { continue };
        let room = size.min(LEAVES_MAX).saturating_sub(leaves.len() as u64);
        let mut bytes = Vec::new();
        source.read(reader.take(room * 32).read_to_end(&mut bytes))?;
        leaves.extend_from_slice(bytes.as_chunks::<32>().0);
    }
    Ok(leaves)
}
