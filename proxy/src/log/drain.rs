//! The rings of a run, and what a run that died left in its rings.
use super::{
    LogConfig, LogError, Surroundings,
    layout::Layout,
    ring::{Consumer, Ring, mapping_bytes},
    store::{Store, StoreError},
};
use postern_audit::Own;
use std::{collections::BTreeMap, sync::Arc};

/// Lanes that a run can have: two for each of 64 workers, and the log's own.
const LANES_MAX: u16 = 129;
/// Records taken over between two syncs.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The rings of a run.
pub(super) struct Rings;

impl Rings {
    /// The last numbers as a list by lane.
    pub(super) fn lanes(found: &BTreeMap<u16, u64>) -> Vec<u64> {
        let count = found.keys().next_back().map_or(0, |last| last.saturating_add(1)).min(LANES_MAX);
        (0..count).map(|lane| found.get(&lane).copied().unwrap_or_default()).collect()
    }

    /// Makes two empty rings for each worker: lanes 2w+1 and 2w+2. Whatever the files held was taken over.
    pub(super) fn create(
        config: &LogConfig,
        surroundings: &Surroundings,
        layout: &Layout,
    ) -> Result<Vec<Arc<Ring>>, LogError> {
        let files = surroundings.files.as_ref();
        for name in files.list(&layout.rings()).map_err(StoreError::file("list", layout.rings()))? {
            let path = layout.rings().join(name);
            files.remove(&path).map_err(StoreError::file("remove", path))?;
        }
        let mut rings = Vec::new();
        for lane in 1..=config.workers * 2 {
            let bytes = if lane % 2 == 1 { config.ring_bytes } else { config.connection_ring_bytes };
            let path = layout.ring(lane);
            let mapping =
                files.map_new(&path, mapping_bytes(bytes)).map_err(StoreError::file("map", path.clone()))?;
            rings.push(Arc::new(Ring::create(mapping).map_err(StoreError::file("map", path))?));
        }
        files.sync_directory(&layout.rings()).map_err(StoreError::file("sync", layout.rings()))?;
        Ok(rings)
    }
}

/// Takes over what a dead process had filed and not written; gives how many records.
pub(super) fn take_over(store: &mut Store, surroundings: &Surroundings) -> Result<u64, LogError> {
    let (files, layout) = (surroundings.files.clone(), store.layout().clone());
    let names = files.list(&layout.rings()).map_err(StoreError::file("list", layout.rings()))?;
    let mut lanes: Vec<u16> = names.iter().filter_map(|name| Layout::lane_of(name)).collect();
    lanes.retain(|lane| (1..LANES_MAX).contains(lane));
    lanes.sort_unstable();
    let mut drained = 0;
    for lane in lanes {
        let path = layout.ring(lane);
        let mapping = files.map_existing(&path).map_err(StoreError::file("map", path))?;
        if let Some(ring) = Ring::left_behind(mapping) {
            drained += lane_left_behind(store, surroundings, lane, Arc::new(ring))?;
        }
    }
    Ok(drained)
}

fn lane_left_behind(
    store: &mut Store,
    surroundings: &Surroundings,
    lane: u16,
    ring: Arc<Ring>,
) -> Result<u64, LogError> {
    let filed = ring.filed();
    let (mut consumer, mut record, mut drained) = (Consumer::new(ring), Vec::new(), 0);
    loop {
        record.clear();
        // Behind a damaged frame nothing can be told apart: the rest is a gap.
        let Some(Ok(frame)) = consumer.take(&mut record) else { break };
        let last = store.last(lane);
        if frame.seq <= last {
            // Written before the process died, and not yet given back.
            continue;
        }
        if frame.seq > last + 1 && !declares_a_gap(&record) {
            gap(store, surroundings, lane, frame.seq - 1);
        }
        store.push(&record, lane, frame.seq);
        drained += 1;
        if store.batch_bytes() > BATCH_BYTES_MAX {
            store.commit(surroundings.now())?;
        }
    }
    if filed > store.last(lane) {
        gap(store, surroundings, lane, filed);
    }
    store.commit(surroundings.now())?;
    Ok(drained)
}

/// A worker that drops records numbers them and declares the gap itself, with the next number.
fn declares_a_gap(record: &[u8]) -> bool {
    postern_audit::RecordHead::parse(record).is_some_and(|head| head.kind() == "gap")
}

fn gap(store: &mut Store, surroundings: &Surroundings, lane: u16, to: u64) {
    let from = store.last(lane) + 1;
    store.push_own(
        &Own::Gap { of: lane, from, to, reason: "power_loss" },
        surroundings.id(),
        surroundings.now(),
    );
    store.skip_to(lane, to);
}
