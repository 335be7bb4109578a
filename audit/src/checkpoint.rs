//! C2SP tlog-checkpoint: origin, size and root of the tree, signed as a note.
//!
//! No time and no extension lines in it: a monitor could not check them. Time is a record in the tree.
use crate::{
    hash::Hash,
    key::{KeyError, Signer, VerifyingKey},
    note::{Note, NoteError},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::{fmt, str::FromStr, sync::Arc};

const ORIGIN_BYTES_MAX: usize = 512;

/// The name of one log: a URL without its scheme, `<trust domain>/<path>/audit/<log id>`. The signing keys
/// bear the same name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(Arc<str>);

/// Why a text is no [`Origin`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a log's origin is 1 to 512 printable characters without spaces and `+`: `{0}`")]
pub struct OriginError(String);

impl Origin {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let bad = |character: char| character.is_whitespace() || character.is_control() || character == '+';
        if text.is_empty() || text.len() > ORIGIN_BYTES_MAX || text.contains(bad) {
            return Err(OriginError(text.chars().take(80).flat_map(char::escape_default).collect()));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the log's key signs: this log, at this size, has this root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: Origin,
    /// How many records.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
}

/// Why a checkpoint is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The note is not accepted.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The note's text is no checkpoint.
    #[error("malformed checkpoint: {0}")]
    Malformed(&'static str),
    /// A checkpoint of another log.
    #[error("the checkpoint is of the log `{found}`, not of `{expected}`")]
    Origin {
        /// The log that was expected.
        expected: Origin,
        /// The log that it is of.
        found: Origin,
    },
}

impl Checkpoint {
    /// Signs it.
    ///
    /// # Errors
    /// A signer could not sign.
    pub fn sign(&self, signers: &[&dyn Signer]) -> Result<Note, KeyError> {
        let text = format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root));
        Note::sign(text, self.origin.as_str(), signers)
    }

    /// Reads the checkpoint of a note without checking who signed it.
    ///
    /// # Errors
    /// [`CheckpointError::Malformed`].
    pub fn of_unverified(note: &Note) -> Result<Self, CheckpointError> {
        let mut lines = note.text().lines();
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(CheckpointError::Malformed("fewer than three lines"));
        };
        let origin = origin.parse().map_err(|_| CheckpointError::Malformed("origin"))?;
        if size.is_empty()
            || size.bytes().any(|byte| !byte.is_ascii_digit())
            || (size.len() > 1 && size.starts_with('0'))
        {
            return Err(CheckpointError::Malformed("size"));
        }
        let size = size.parse().map_err(|_| CheckpointError::Malformed("size"))?;
        let root = STANDARD.decode(root).ok().and_then(|root| root.try_into().ok());
        Ok(Self { origin, size, root: root.ok_or(CheckpointError::Malformed("root"))? })
    }

    /// Reads a signed checkpoint of `origin`, or of whatever log the keys belong to when it is `None`.
    ///
    /// # Errors
    /// The note is malformed, signed by no known key or wrongly, or of another log.
    pub fn open(
        note: &str,
        keys: &[(String, VerifyingKey)],
        origin: Option<&Origin>,
    ) -> Result<Self, CheckpointError> {
        let note = Note::parse(note)?;
        note.verify(keys)?;
        let checkpoint = Self::of_unverified(&note)?;
        match origin {
            Some(expected) if *expected != checkpoint.origin => {
                Err(CheckpointError::Origin { expected: expected.clone(), found: checkpoint.origin })
            }
            Some(_) | None => Ok(checkpoint),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Ed25519Signer;

    #[test]
    fn a_checkpoint_reads_back_as_itself_and_only_for_its_own_log() {
        let signer = Ed25519Signer::generate().unwrap();
        let origin: Origin = "example.org/pay/audit/01".parse().unwrap();
        let checkpoint = Checkpoint { origin: origin.clone(), size: 20_852_163, root: [9; 32] };
        let note = checkpoint.sign(&[&signer]).unwrap().to_string();
        assert!(note.starts_with("example.org/pay/audit/01\n20852163\nCQkJ"), "{note}");
        let keys = [(origin.to_string(), signer.verifying_key().clone())];
        assert_eq!(Checkpoint::open(&note, &keys, Some(&origin)), Ok(checkpoint.clone()));
        assert_eq!(Checkpoint::open(&note, &keys, None), Ok(checkpoint));
        let other = "example.org/other".parse().unwrap();
        assert!(matches!(Checkpoint::open(&note, &keys, Some(&other)), Err(CheckpointError::Origin { .. })));
    }

    #[test]
    fn a_signed_text_that_is_no_checkpoint_is_refused() {
        let signer = Ed25519Signer::generate().unwrap();
        for text in [
            "a\n",
            "a\n1\n",
            "a\n01\nAA==\n",
            "a\n-1\nAA==\n",
            "a\n1\nAA==\n",
            "a b\n1\nAA==\n",
            "a\n99999999999999999999\nAA==\n",
        ] {
            let note = Note::sign(text.to_owned(), "a", &[&signer]).unwrap();
            assert!(
                matches!(Checkpoint::of_unverified(&note), Err(CheckpointError::Malformed(_))),
                "{text:?}"
            );
        }
    }

    #[test]
    fn origins_that_a_key_name_cannot_bear_are_refused() {
        for text in ["", "a b", "a+b", "a\nb", &"a".repeat(513)] {
            assert!(text.parse::<Origin>().is_err(), "{text:?}");
        }
    }
}
