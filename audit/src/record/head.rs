//! What a verifier, a recovery and a search read of a record, of any version.
use serde::Deserialize;
use std::borrow::Cow;

/// The members that place a record. Everything else is ignored, so that later versions can be read this far.
#[derive(Clone, Debug, Deserialize)]
pub struct RecordHead<'a> {
    pub(crate) v: u64,
    #[serde(borrow)]
    pub(crate) kind: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) id: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) ts: Cow<'a, str>,
    pub(crate) w: u16,
    pub(crate) wseq: u64,
    pub(crate) decision: Option<Cow<'a, str>>,
    pub(crate) bundle_rev: Option<serde_json::Value>,
    lanes: Option<Vec<u64>>,
    pub(crate) of: Option<u16>,
    pub(crate) from: Option<u64>,
    pub(crate) to: Option<u64>,
    pub(crate) reason: Option<serde_json::Value>,
}

impl<'a> RecordHead<'a> {
    /// Reads a record without its line feed; `None` when it is no record.
    pub fn parse(record: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(record).ok()
    }

    /// What kind of record.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The exchange, connection or event.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The lane it was filed in.
    pub fn lane(&self) -> u16 {
        self.w
    }

    /// Its number there.
    pub fn seq(&self) -> u64 {
        self.wseq
    }

    /// The last number of each lane, where the log lists them; empty otherwise.
    pub fn lanes(&self) -> &[u64] {
        self.lanes.as_deref().unwrap_or_default()
    }
}
