//! Where things are in a log directory. Published in `docs/audit-format.md`.
use std::path::{Path, PathBuf};

/// The names in a log directory.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    root: PathBuf,
}

/// What belongs to a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The records, one to a line.
    Records,
    /// 32 bytes for each record.
    LeafHashes,
    /// The right edge of the tree before the segment: lets recovery begin here.
    Edge,
}

impl Part {
    fn extension(self) -> &'static str {
        match self {
            Self::Records => "jsonl",
            Self::LeafHashes => "lh",
            Self::Edge => "edge",
        }
    }
}

impl Layout {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn description(&self) -> PathBuf {
        self.root.join("log.json")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub(crate) fn ballast(&self) -> PathBuf {
        self.root.join("ballast")
    }

    pub(crate) fn checkpoint(&self) -> PathBuf {
        self.root.join("checkpoint")
    }

    pub(crate) fn checkpoints(&self) -> PathBuf {
        self.root.join("checkpoints.log")
    }

    pub(crate) fn segments(&self) -> PathBuf {
        self.root.join("seg")
    }

    pub(crate) fn segment(&self, first: u64, part: Part) -> PathBuf {
        self.segments().join(format!("{first:020}.{}", part.extension()))
    }

    /// The index of the first record that a file name of `seg/` stands for, if it holds records.
    pub(crate) fn first_of(name: &str) -> Option<u64> {
        let digits = name.strip_suffix(".jsonl")?;
        (digits.len() == 20).then(|| digits.parse().ok())?
    }

    pub(crate) fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    pub(crate) fn key(&self, key_id: [u8; 4]) -> PathBuf {
        self.keys().join(format!("{}.pub", postern_audit::hash::hex(&key_id)))
    }

    /// A log as whole as this one, begun while another process still wrote this one.
    pub(crate) fn beside(&self, number: u8) -> PathBuf {
        self.root.join("beside").join(number.to_string())
    }

    pub(crate) fn rings(&self) -> PathBuf {
        self.root.join("ring")
    }

    pub(crate) fn ring(&self, lane: u16) -> PathBuf {
        self.rings().join(format!("{lane}.ring"))
    }

    /// The lane that a file name of `ring/` stands for.
    pub(crate) fn lane_of(name: &str) -> Option<u16> {
        name.strip_suffix(".ring")?.parse().ok()
    }
}
