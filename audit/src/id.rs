//! ULIDs: the names of exchanges, connections and the log's own records. They sort by time, fit in a header
//! and are safe to read out over the telephone.
use std::{fmt, str::FromStr};

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const CHARS: usize = 26;
const RANDOM_BITS: u32 = 80;

/// A ULID in its text form, 26 characters of Crockford's base 32.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id([u8; CHARS]);

/// Why a text is not an [`Id`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not 26 characters.
    #[error("an id has 26 characters, this has {0}")]
    Length(usize),
    /// A character outside Crockford's alphabet, or more than 128 bits.
    #[error("an id is made of 0-9 and A-Z without I, L, O and U, and begins with 0 to 7")]
    Alphabet,
}

impl Id {
    /// Makes an id from milliseconds since the Unix epoch (the low 48 bits count) and 80 random bits (the
    /// rest of `random` is ignored).
    pub fn new(unix_ms: u64, random: u128) -> Self {
        let random = random & ((1 << RANDOM_BITS) - 1);
        let value = (u128::from(unix_ms) << RANDOM_BITS) | random;
        let mut text = [b'0'; CHARS];
        let mut left = value;
        for slot in text.iter_mut().rev() {
            *slot = usize::try_from(left & 31).ok().and_then(|at| ALPHABET.get(at)).copied().unwrap_or(b'0');
            left >>= 5;
        }
        Self(text)
    }

    /// The 26 characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for Id {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let bytes: [u8; CHARS] = text.as_bytes().try_into().map_err(|_| IdError::Length(text.len()))?;
        let first_fits = bytes.first().is_some_and(|first| (b'0'..=b'7').contains(first));
        if first_fits && bytes.iter().all(|byte| ALPHABET.contains(byte)) {
            Ok(Self(bytes))
        } else {
            Err(IdError::Alphabet)
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_itself() {
        let id = Id::new(1_469_918_176_385, 0x1234_5678_9abc_def0_1234);
        assert_eq!(id.as_str().parse(), Ok(id));
        assert!(id.as_str().starts_with("01ARYZ6S41"), "{id}");
    }

    #[test]
    fn ids_sort_by_time() {
        assert!(Id::new(1, u128::MAX) < Id::new(2, 0));
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in [
            "",
            "01ARYZ6S41",
            "01aryz6s41tsv4rrffq69g5fav",
            "81ARYZ6S41TSV4RRFFQ69G5FAV",
            "01ARYZ6S41TSV4RRFFQ69G5FAU",
        ] {
            assert!(text.parse::<Id>().is_err(), "{text}");
        }
    }
}
