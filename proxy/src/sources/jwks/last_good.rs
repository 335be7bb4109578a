//! The keys fetched last, kept for a start without their server. What is kept is what was fetched, with the time of it:
//! at the next start it is parsed like any answer, and it gets no older than fetched keys may.

use std::path::Path;
use std::time::Duration;

use postern_audit::hash::sha256;
use postern_identity::UnixTime;
use postern_identity::token::KEY_SET_BYTES_MAX;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::sources::last_good;

/// A document as a JSON string at its longest, and the members around it.
const FILE_BYTES_MAX: u64 = 6 * KEY_SET_BYTES_MAX as u64 + 16 * 1024;

/// The place of one issuer's keys in a folder.
#[derive(Clone, Debug)]
pub struct LastGood {
    folder: last_good::LastGood,
    /// Of its file in the folder.
    name: String,
    issuer: String,
    source: String,
}

/// Keys as they were fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The document.
    pub document: Vec<u8>,
    /// When it was fetched.
    pub fetched_at: UnixTime,
}

/// Why keys cannot be kept, or what is kept cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LastGoodError {
    /// The file cannot be written, or not be read whole.
    #[error(transparent)]
    Files(#[from] last_good::LastGoodError),
    /// Something else has been put there.
    #[error("the kept file `{0}` holds no keys of this issuer from this source")]
    Foreign(String),
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    version: u32,
    issuer: String,
    source: String,
    fetched_at: u64,
    document: String,
}

impl LastGood {
    /// The place for the keys that `issuer` publishes at `source`, in a folder that is made when the first are kept.
    #[must_use]
    pub fn new(directory: &Path, issuer: &str, source: &str) -> Self {
        // An issuer's name is no file's name.
        let name: String =
            sha256(issuer.as_bytes()).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Self {
            folder: last_good::LastGood::of(directory.to_owned(), "keys.json"),
            name,
            issuer: issuer.to_owned(),
            source: source.to_owned(),
        }
    }

    /// Keeps keys in the place of those before: whole or not at all, also when the power fails.
    ///
    /// # Errors
    /// When the folder cannot be written; what was kept before is then still there.
    pub fn store(&self, kept: &Kept) -> Result<(), LastGoodError> {
        let envelope = Envelope {
            version: 1,
            issuer: self.issuer.clone(),
            source: self.source.clone(),
            fetched_at: kept.fetched_at.as_secs(),
            document: String::from_utf8_lossy(&kept.document).into_owned(),
        };
        Ok(self.folder.store(&self.name, json!(envelope).to_string().as_bytes())?)
    }

    /// What is kept and is not older than `age_max` at `now`; `None` when there is nothing like that. A copy from the
    /// future is none: one of the two clocks was wrong, and nobody knows how old it is.
    ///
    /// # Errors
    /// When there is a file that cannot be read, or that was made for another issuer or source.
    pub fn load(&self, now: UnixTime, age_max: Duration) -> Result<Option<Kept>, LastGoodError> {
        let Some(content) = self.folder.load(&self.name, FILE_BYTES_MAX)? else { return Ok(None) };
        let foreign = || LastGoodError::Foreign(format!("{}.keys.json", self.name));
        let envelope: Envelope = serde_json::from_slice(&content).map_err(|_| foreign())?;
        if envelope.version != 1 || envelope.issuer != self.issuer || envelope.source != self.source {
            return Err(foreign());
        }
        let age = now.as_secs().checked_sub(envelope.fetched_at);
        if age.is_none_or(|age| age >= age_max.as_secs()) {
            return Ok(None);
        }
        let fetched_at = UnixTime::since_unix_epoch(Duration::from_secs(envelope.fetched_at));
        Ok(Some(Kept { document: envelope.document.into_bytes(), fetched_at }))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const AGE_MAX: Duration = Duration::from_secs(100);

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    fn file(folder: &Path, place: &LastGood) -> std::path::PathBuf {
        folder.join(format!("{}.keys.json", place.name))
    }

    fn kept() -> Kept {
        Kept { document: br#"{"keys":["a \"quote\""]}"#.to_vec(), fetched_at: at(1000) }
    }

    #[test]
    fn what_is_kept_is_what_was_fetched_until_it_is_too_old() {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys");
        let place = LastGood::new(&keys, "https://idp.example", "https://idp.example/k");
        let load = |now| place.load(at(now), AGE_MAX).unwrap();
        assert_eq!(load(1000), None);
        place.store(&kept()).unwrap();
        assert_eq!(load(1000), Some(kept()));
        assert_eq!(load(1099), Some(kept()));
        assert_eq!(load(1100), None);
        assert_eq!(load(999), None, "from the future");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&file(&keys, &place)), mode(&keys)), (0o600, 0o700));
        let newer = Kept { fetched_at: at(2000), ..kept() };
        place.store(&newer).unwrap();
        assert_eq!(place.load(at(2000), AGE_MAX).unwrap(), Some(newer));
        assert_eq!(fs::read_dir(&keys).unwrap().count(), 1);
    }

    #[test]
    fn what_was_kept_for_somebody_else_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let place = LastGood::new(folder.path(), "https://idp.example", "https://idp.example/k");
        place.store(&kept()).unwrap();
        let moved = LastGood::new(folder.path(), "https://idp.example", "https://elsewhere.example/k");
        assert!(matches!(moved.load(at(1000), AGE_MAX), Err(LastGoodError::Foreign(_))));
        let other = LastGood::new(folder.path(), "https://other.example", "https://idp.example/k");
        fs::copy(file(folder.path(), &place), file(folder.path(), &other)).unwrap();
        assert!(matches!(other.load(at(1000), AGE_MAX), Err(LastGoodError::Foreign(_))));
        for content in ["", "{}", "[]", r#"{"version":2}"#] {
            fs::write(file(folder.path(), &place), content).unwrap();
            assert!(matches!(place.load(at(1000), AGE_MAX), Err(LastGoodError::Foreign(_))), "{content}");
        }
        fs::write(file(folder.path(), &place), vec![b' '; usize::try_from(FILE_BYTES_MAX).unwrap() + 1])
            .unwrap();
        assert!(matches!(place.load(at(1000), AGE_MAX), Err(LastGoodError::Files(_))));
    }
}
