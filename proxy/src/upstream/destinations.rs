//! The places where captured connections were going, as far as connections to them are kept: their number has no bound of
//! its own, so that those used longest ago make room.
use super::secure::Owner;
use std::collections::HashMap;
use tokio::time::Instant;

/// How many a worker keeps connections to; few enough in tests to get there.
const DESTINATIONS_MAX: usize = if cfg!(test) { 8 } else { 1024 };

/// When each was used last.
#[derive(Debug, Default)]
pub(super) struct Destinations(HashMap<Owner, Instant>);

impl Destinations {
    /// It is used. Gives the one whose connections are to be closed for it, if that has to be.
    pub(super) fn note(&mut self, owner: Owner) -> Option<Owner> {
        let is_new = self.0.insert(owner, Instant::now()).is_none();
        if !is_new || self.0.len() <= DESTINATIONS_MAX {
            return None;
        }
        let oldest = self.0.iter().min_by_key(|(_, used)| **used).map(|(owner, _)| owner.clone())?;
        self.0.remove(&oldest);
        Some(oldest)
    }

    pub(super) fn contains(&self, owner: &Owner) -> bool {
        self.0.contains_key(owner)
    }

    /// Forgets those to which no connection is kept.
    pub(super) fn retain(&mut self, is_kept: impl Fn(&Owner) -> bool) {
        self.0.retain(|owner, _| is_kept(owner));
    }
}
