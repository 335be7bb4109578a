//! A log directory as the verifier reads it. Reads only, and may be used while the log is written.
use super::layout::{Layout, Part};
use super::ring::ENDS_AT;
use postern_audit::{Files, VerifyingKey};
use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
    os::unix::fs::FileExt,
    path::Path,
    time::Duration,
};

const KEY_BYTES_MAX: u64 = 16 * 1024;
const KEYS_MAX: usize = 1000;
/// Two for each of 64 workers.
const LANES_MAX: u16 = 128;

/// A log directory, or a copy of one.
#[derive(Clone, Debug)]
pub struct DirectoryFiles {
    layout: Layout,
}

impl DirectoryFiles {
    /// Looks at a directory.
    ///
    /// # Errors
    /// It has no `seg` directory: it is no log.
    pub fn open(path: &Path) -> io::Result<Self> {
        let layout = Layout::new(path);
        if layout.segments().is_dir() {
            Ok(Self { layout })
        } else {
            Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("`{}` is no audit log: it has no `seg` directory", path.display()),
            ))
        }
    }

    /// The public keys that lie beside the log, with the names they sign under. Whoever can change the log can
    /// change these: they prove nothing against its owner.
    ///
    /// # Errors
    /// The directory or a file in it cannot be read.
    pub fn keys(&self) -> io::Result<Vec<(String, VerifyingKey)>> {
        let mut keys = Vec::new();
        for entry in fs::read_dir(self.layout.keys())?.take(KEYS_MAX) {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "pub") {
                let mut text = String::new();
                File::open(&path)?.take(KEY_BYTES_MAX).read_to_string(&mut text)?;
                keys.extend(VerifyingKey::from_vkey(&text));
            }
        }
        Ok(keys)
    }

    /// The log's name, from `log.json`.
    ///
    /// # Errors
    /// The file cannot be read or has no name.
    pub fn origin(&self) -> io::Result<String> {
        let mut text = String::new();
        File::open(self.layout.description())?.take(KEY_BYTES_MAX).read_to_string(&mut text)?;
        let value: serde_json::Value = serde_json::from_str(&text)?;
        let origin = value.get("origin").and_then(|origin| origin.as_str());
        origin.map(str::to_owned).ok_or_else(|| io::Error::other("log.json has no `origin`"))
    }

    /// Waits until what was filed before this call is written, if a process is writing it: a decision can be
    /// asked for as soon as it was answered, and the writer gathers for a moment. At most `timeout`.
    ///
    /// # Errors
    /// A ring cannot be read.
    pub fn wait_for_writer(&self, timeout: Duration) -> io::Result<()> {
        const STEP: Duration = Duration::from_millis(5);
        let mut waited = Duration::ZERO;
        let [head, _] = ENDS_AT;
        let filed = self.rings(head)?;
        while waited < timeout && self.is_behind(&filed)? {
            std::thread::sleep(STEP);
            waited += STEP;
        }
        Ok(())
    }

    fn is_behind(&self, filed: &[u64]) -> io::Result<bool> {
        let [_, tail] = ENDS_AT;
        Ok(self.rings(tail)?.iter().zip(filed).any(|(written, filed)| written < filed))
    }

    /// One word of every ring's header. A log that was copied without its rings has none.
    fn rings(&self, at: u64) -> io::Result<Vec<u64>> {
        let mut words = Vec::new();
        for lane in 0..=LANES_MAX {
            match File::open(self.layout.ring(lane)) {
                Ok(ring) => {
                    let mut word = [0; 8];
                    ring.read_exact_at(&mut word, at)?;
                    words.push(u64::from_le_bytes(word));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(words)
    }

    /// The newest checkpoint, as a note.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn newest_checkpoint(&self) -> io::Result<String> {
        let mut text = String::new();
        File::open(self.layout.checkpoint())?.take(KEY_BYTES_MAX * 4).read_to_string(&mut text)?;
        Ok(text)
    }
}

impl Files for DirectoryFiles {
    fn segments(&self) -> io::Result<Vec<u64>> {
        let mut segments = Vec::new();
        for entry in fs::read_dir(self.layout.segments())? {
            segments.extend(Layout::first_of(&entry?.file_name().to_string_lossy()));
        }
        segments.sort_unstable();
        Ok(segments)
    }

    fn records(&self, first: u64) -> io::Result<Box<dyn BufRead + '_>> {
        Ok(Box::new(BufReader::with_capacity(
            256 * 1024,
            File::open(self.layout.segment(first, Part::Records))?,
        )))
    }

    fn leaf_hashes(&self, first: u64) -> io::Result<Option<Box<dyn Read + '_>>> {
        match File::open(self.layout.segment(first, Part::LeafHashes)) {
            Ok(file) => Ok(Some(Box::new(file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn checkpoints(&self) -> io::Result<Box<dyn BufRead + '_>> {
        match File::open(self.layout.checkpoints()) {
            Ok(file) => Ok(Box::new(BufReader::new(file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Box::new(io::empty())),
            Err(error) => Err(error),
        }
    }
}
