//! From archive bytes to a bounded list of files. Decompression is streamed against the limits, nothing is extracted,
//! and whatever another tar reader could take for something else is refused.
use super::{BundleError, BundleLimits, Files};
use flate2::bufread::GzDecoder;
use std::collections::BTreeSet;
use std::io::{self, Read};
use tar::EntryType;

/// The most bytes of one entry's name.
const NAME_BYTES_MAX: usize = 512;

/// Reads a gzip tar.
pub(super) fn read(archive: &[u8], limits: &BundleLimits) -> Result<Files, BundleError> {
    let mut compressed = archive;
    let mut collector = Collector::new(limits);
    let mut tar = tar::Archive::new(Bounded {
        inner: GzDecoder::new(&mut compressed),
        left: limits.decompressed_bytes_max,
        exceeded: false,
    });
    let outcome = entries(&mut tar, &mut collector, limits);
    let mut stream = tar.into_inner();
    let outcome = outcome.and_then(|()| only_zeros(&mut stream));
    if stream.exceeded {
        return Err(BundleError::Limit { what: "decompressed size", limit: limits.decompressed_bytes_max });
    }
    outcome?;
    drop(stream);
    if compressed.is_empty() { Ok(collector.finish()) } else { Err(BundleError::Trailing) }
}

fn damaged(error: &io::Error) -> BundleError {
    BundleError::Archive { what: crate::verdict::truncated(error.to_string()) }
}

fn entries<R: Read>(
    tar: &mut tar::Archive<R>,
    collector: &mut Collector,
    limits: &BundleLimits,
) -> Result<(), BundleError> {
    for entry in tar.entries().map_err(|e| damaged(&e))? {
        let mut entry = entry.map_err(|e| damaged(&e))?;
        let raw = entry.path_bytes().into_owned();
        let Ok(name) = String::from_utf8(raw) else {
            return Err(BundleError::Path { name: "?".to_owned(), what: "the name is not UTF-8" });
        };
        let kind = entry.header().entry_type();
        let size = entry.size();
        if kind == EntryType::Directory || kind == EntryType::XGlobalHeader {
            continue;
        }
        if kind != EntryType::Regular && kind != EntryType::Continuous {
            return Err(BundleError::Kind { name: shown(&name), kind: kind_name(kind) });
        }
        collector.admit(&name, size)?;
        let mut content = Vec::new();
        entry.by_ref().take(limits.file_bytes_max).read_to_end(&mut content).map_err(|e| damaged(&e))?;
        if content.len() as u64 != size {
            return Err(BundleError::Archive { what: format!("entry `{}` is cut off", shown(&name)) });
        }
        collector.add(&name, content)?;
    }
    Ok(())
}

fn kind_name(kind: EntryType) -> &'static str {
    if kind.is_symlink() {
        "symbolic link"
    } else if kind.is_hard_link() {
        "hard link"
    } else if kind.is_character_special() || kind.is_block_special() {
        "device"
    } else if kind.is_fifo() {
        "named pipe"
    } else if kind.is_gnu_sparse() {
        "sparse file"
    } else {
        "entry of an unknown kind"
    }
}

/// After the last entry a tar archive holds zeros to its end.
fn only_zeros(stream: &mut impl Read) -> Result<(), BundleError> {
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).map_err(|e| damaged(&e))?;
        if read == 0 {
            return Ok(());
        }
        if buffer.iter().take(read).any(|b| *b != 0) {
            return Err(BundleError::Trailing);
        }
    }
}

/// A reader that ends in an error instead of going beyond the limit.
struct Bounded<R> {
    inner: R,
    left: u64,
    exceeded: bool,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => {
                self.exceeded = true;
                return Err(io::Error::other("decompressed size is beyond the limit"));
            }
        }
        Ok(read)
    }
}

/// Takes files one by one and refuses names and amounts that cannot be.
pub(super) struct Collector {
    files: Files,
    folded: BTreeSet<String>,
    files_max: usize,
    file_bytes_max: u64,
    total_max: u64,
    total: u64,
}

impl Collector {
    pub(super) fn new(limits: &BundleLimits) -> Self {
        Self {
            files: Files::new(),
            folded: BTreeSet::new(),
            files_max: limits.files_max,
            file_bytes_max: limits.file_bytes_max,
            total_max: limits.decompressed_bytes_max,
            total: 0,
        }
    }

    /// Refuses a file by its announced size, before it is read.
    pub(super) fn admit(&mut self, name: &str, size: u64) -> Result<(), BundleError> {
        plain_name(name)?;
        if self.files.len() >= self.files_max {
            return Err(BundleError::Limit { what: "number of files", limit: self.files_max as u64 });
        }
        if size > self.file_bytes_max {
            return Err(BundleError::Limit { what: "largest file", limit: self.file_bytes_max });
        }
        self.total = self.total.saturating_add(size);
        if self.total > self.total_max {
            return Err(BundleError::Limit { what: "decompressed size", limit: self.total_max });
        }
        Ok(())
    }

    pub(super) fn add(&mut self, name: &str, content: Vec<u8>) -> Result<(), BundleError> {
        let plain = plain_name(name)?;
        if !self.folded.insert(plain.to_lowercase()) {
            return Err(BundleError::Duplicate { name: shown(plain) });
        }
        self.files.insert(plain.to_owned(), content);
        Ok(())
    }

    pub(super) fn finish(self) -> Files {
        self.files
    }
}

fn shown(name: &str) -> String {
    name.chars().take(128).collect()
}

/// The name as the signature spells it. OPA writes one leading `/`, tar often a leading `./`; nothing else is
/// understood away.
fn plain_name(name: &str) -> Result<&str, BundleError> {
    let refuse = |what| Err(BundleError::Path { name: shown(name), what });
    let plain = name.strip_prefix('/').or_else(|| name.strip_prefix("./")).unwrap_or(name);
    if plain.len() > NAME_BYTES_MAX {
        return refuse("the name is too long");
    }
    if plain.chars().any(|c| c.is_control() || c == '\\') {
        return refuse("the name holds a control character or a backslash");
    }
    for segment in plain.split('/') {
        match segment {
            "" => return refuse("the name is absolute or has an empty part"),
            "." | ".." => return refuse("the name has a `.` or `..` part"),
            _ => {}
        }
    }
    Ok(plain)
}
