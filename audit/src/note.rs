//! C2SP signed notes: a text, a blank line, and signature lines `— <name> <base64(key id ‖ signature)>`.
//!
//! Own code and not a crate: the format is four lines, and the crate that has it brings a second Ed25519.
use crate::key::{KeyError, Signer, VerifyingKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// No note is longer than this, in bytes.
pub const NOTE_BYTES_MAX: usize = 64 * 1024;
const SIGNATURES_MAX: usize = 64;
const PREFIX: &str = "\u{2014} ";

/// A signed note. Its text means nothing before [`Note::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct NoteSignature {
    name: String,
    key_id: [u8; 4],
    signature: Vec<u8>,
}

/// Why a note is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Too long, no blank line, control characters, or a signature line that is none.
    #[error("malformed note: {0}")]
    Malformed(&'static str),
    /// No signature is by a known key.
    #[error("the note is signed by no known key")]
    UnknownKey,
    /// A known key's signature does not match.
    #[error("the signature of `{0}` does not match")]
    Signature(String),
}

impl Note {
    /// Signs `text`, which ends in a line feed, with each signer under `name`.
    ///
    /// # Errors
    /// A signer could not sign.
    pub fn sign(text: String, name: &str, signers: &[&dyn Signer]) -> Result<Self, KeyError> {
        let signatures = signers
            .iter()
            .map(|signer| {
                let key_id = signer.verifying_key().key_id(name);
                let signature = signer.sign(text.as_bytes())?;
                Ok(NoteSignature { name: name.to_owned(), key_id, signature })
            })
            .collect::<Result<_, KeyError>>()?;
        Ok(Self { text, signatures })
    }

    /// Reads a note.
    ///
    /// # Errors
    /// [`NoteError::Malformed`] with what is wrong.
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(NoteError::Malformed("too long"));
        }
        if note.bytes().any(|byte| byte < 0x20 && byte != b'\n') {
            return Err(NoteError::Malformed("control characters"));
        }
        let (text, signatures) = note.rsplit_once("\n\n").ok_or(NoteError::Malformed("no blank line"))?;
        let signatures = signatures.strip_suffix('\n').ok_or(NoteError::Malformed("cut off"))?;
        let signatures: Vec<_> = signatures.split('\n').map(signature_line).collect::<Result<_, _>>()?;
        if signatures.len() > SIGNATURES_MAX {
            return Err(NoteError::Malformed("too many signatures"));
        }
        Ok(Self { text: format!("{text}\n"), signatures })
    }

    /// The text that is signed, with its final line feed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Checks that a known key signed this, and that no known key's signature is wrong. Signatures by other
    /// keys are ignored: they are how keys roll and witnesses cosign. Gives the number of good signatures.
    ///
    /// # Errors
    /// [`NoteError::UnknownKey`] or [`NoteError::Signature`].
    pub fn verify(&self, keys: &[(String, VerifyingKey)]) -> Result<usize, NoteError> {
        let mut good = 0;
        for line in &self.signatures {
            let known = keys.iter().find(|(name, key)| *name == line.name && key.key_id(name) == line.key_id);
            let Some((name, key)) = known else { continue };
            key.verify(self.text.as_bytes(), &line.signature)
                .map_err(|_| NoteError::Signature(name.clone()))?;
            good += 1;
        }
        if good == 0 { Err(NoteError::UnknownKey) } else { Ok(good) }
    }
}

fn signature_line(line: &str) -> Result<NoteSignature, NoteError> {
    let malformed = NoteError::Malformed("signature line");
    let (name, signature) =
        line.strip_prefix(PREFIX).and_then(|rest| rest.split_once(' ')).ok_or_else(|| malformed.clone())?;
    let bytes = STANDARD.decode(signature).map_err(|_| malformed.clone())?;
    match bytes.split_first_chunk::<4>() {
        Some((key_id, signature)) if !name.is_empty() && !name.contains('+') => {
            Ok(NoteSignature { name: name.to_owned(), key_id: *key_id, signature: signature.to_vec() })
        }
        Some(_) | None => Err(malformed),
    }
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.text)?;
        for line in &self.signatures {
            let bytes = [line.key_id.as_slice(), &line.signature].concat();
            writeln!(f, "{PREFIX}{} {}", line.name, STANDARD.encode(bytes))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Ed25519Signer;

    fn signed() -> (Note, Vec<(String, VerifyingKey)>) {
        let signer = Ed25519Signer::generate().unwrap();
        let note = Note::sign("line\n\nanother\n".to_owned(), "example.org/a", &[&signer]).unwrap();
        (note, vec![("example.org/a".to_owned(), signer.verifying_key().clone())])
    }

    #[test]
    fn a_note_reads_back_as_itself() {
        let (note, keys) = signed();
        let read = Note::parse(&note.to_string()).unwrap();
        assert_eq!(read, note);
        assert_eq!(read.verify(&keys), Ok(1));
    }

    #[test]
    fn a_changed_text_and_a_stranger_are_told_apart() {
        let (note, keys) = signed();
        let changed = Note::parse(&note.to_string().replace("another", "anothes")).unwrap();
        assert_eq!(changed.verify(&keys), Err(NoteError::Signature("example.org/a".to_owned())));
        assert_eq!(note.verify(&signed().1), Err(NoteError::UnknownKey));
        assert_eq!(note.verify(&[]), Err(NoteError::UnknownKey));
    }

    #[test]
    fn malformed_notes_are_refused() {
        for note in [
            "",
            "text\n",
            "text\n\n",
            "text\n\n\u{2014} name\n",
            "text\n\n\u{2014} name !!\n",
            "text\n\n\u{2014} name AAA=\n",
            "text\n\n- name AAAAAAAA\n",
            "te\txt\n\n\u{2014} name AAAAAAAA\n",
            "text\n\n\u{2014} name AAAAAAAA",
        ] {
            assert!(matches!(Note::parse(note), Err(NoteError::Malformed(_))), "{note:?}");
        }
        assert!(Note::parse(&"a".repeat(NOTE_BYTES_MAX + 1)).is_err());
    }
}
