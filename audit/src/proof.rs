//! C2SP tlog-proof: one text file that proves, offline, that one record is in the log.
use crate::{
    checkpoint::{Checkpoint, CheckpointError},
    hash::{Hash, leaf_hash},
    key::VerifyingKey,
    tree,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::fmt;

const HEADER: &str = "c2sp.org/tlog-proof@v1";
const PROOF_BYTES_MAX: usize = 256 * 1024;

/// That one record stands at one index of a signed tree. The record travels as the proof's extra data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The record's exact bytes without the line feed.
    pub record: Vec<u8>,
    /// Its index, from 0.
    pub index: u64,
    /// The siblings from the leaf to the root.
    pub path: Vec<Hash>,
    /// The signed checkpoint, as a note.
    pub checkpoint: String,
}

/// Why a proof proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Not a proof, or one without its record.
    #[error("malformed proof: {0}")]
    Malformed(&'static str),
    /// The checkpoint is not accepted.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The path does not lead from this record to the checkpoint's root.
    #[error("the record is not the one at index {0} of the signed tree")]
    Path(u64),
}

impl Proof {
    /// Reads a proof.
    ///
    /// # Errors
    /// [`ProofError::Malformed`] with what is wrong.
    pub fn parse(text: &str) -> Result<Self, ProofError> {
        if text.len() > PROOF_BYTES_MAX {
            return Err(ProofError::Malformed("too long"));
        }
        let (head, checkpoint) = text.split_once("\n\n").ok_or(ProofError::Malformed("no checkpoint"))?;
        let mut lines = head.split('\n');
        if lines.next() != Some(HEADER) {
            return Err(ProofError::Malformed("first line"));
        }
        let extra = lines.next().and_then(|line| line.strip_prefix("extra "));
        let record =
            extra.and_then(|extra| STANDARD.decode(extra).ok()).ok_or(ProofError::Malformed("no record"))?;
        let index = lines.next().and_then(|line| line.strip_prefix("index ")?.parse().ok());
        let path = lines
            .map(|line| STANDARD.decode(line).ok()?.try_into().ok())
            .collect::<Option<_>>()
            .ok_or(ProofError::Malformed("path"))?;
        let index = index.ok_or(ProofError::Malformed("index"))?;
        Ok(Self { record, index, path, checkpoint: checkpoint.to_owned() })
    }

    /// Checks the proof with the log's keys; gives the checkpoint that holds the record.
    ///
    /// # Errors
    /// The checkpoint is not accepted, or the path leads elsewhere.
    pub fn verify(&self, keys: &[(String, VerifyingKey)]) -> Result<Checkpoint, ProofError> {
        let checkpoint = Checkpoint::open(&self.checkpoint, keys, None)?;
        let root = tree::inclusion_root(leaf_hash(&self.record), self.index, checkpoint.size, &self.path);
        if root == Some(checkpoint.root) { Ok(checkpoint) } else { Err(ProofError::Path(self.index)) }
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}\nextra {}\nindex {}", STANDARD.encode(&self.record), self.index)?;
        for hash in &self.path {
            writeln!(f, "{}", STANDARD.encode(hash))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Ed25519Signer, Signer as _};

    #[test]
    fn a_proof_reads_back_verifies_and_fails_for_another_record() {
        let signer = Ed25519Signer::generate().unwrap();
        let leaves: Vec<_> = (0..11_u8).map(|at| leaf_hash(&[at])).collect();
        let checkpoint =
            Checkpoint { origin: "a/b".parse().unwrap(), size: 11, root: tree::root_of(&leaves) };
        let note = checkpoint.sign(&[&signer]).unwrap().to_string();
        let keys = [("a/b".to_owned(), signer.verifying_key().clone())];
        for index in 0..11_u8 {
            let path = tree::inclusion(&leaves, index.into()).unwrap();
            let proof = Proof { record: vec![index], index: index.into(), path, checkpoint: note.clone() };
            let read = Proof::parse(&proof.to_string()).unwrap();
            assert_eq!(read, proof);
            assert_eq!(read.verify(&keys), Ok(checkpoint.clone()));
            let other = Proof { record: vec![index + 1], ..read };
            assert_eq!(other.verify(&keys), Err(ProofError::Path(index.into())));
        }
    }

    #[test]
    fn malformed_proofs_are_refused() {
        for text in [
            "",
            "x\n\n",
            "c2sp.org/tlog-proof@v1\n\n",
            "c2sp.org/tlog-proof@v1\nindex 1\n\nx",
            "c2sp.org/tlog-proof@v1\nextra AA==\nindex x\n\nx",
            "c2sp.org/tlog-proof@v1\nextra AA==\nindex 1\nAA==\n\nx",
        ] {
            assert!(matches!(Proof::parse(text), Err(ProofError::Malformed(_))), "{text:?}");
        }
    }
}
