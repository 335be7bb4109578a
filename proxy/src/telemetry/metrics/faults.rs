//! What faults on purpose count.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::DescriptorEncoder;

use super::series::Family;

/// Those of all routes, by the names of listener and route.
pub(super) type Routes = BTreeMap<[Arc<str>; 2], Arc<FaultMetrics>>;

/// What goes wrong on purpose on one route.
#[derive(Debug, Default)]
pub struct FaultMetrics {
    /// By the declaration order of [`Fault`].
    injected: [AtomicU64; 2],
}

/// What went wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A request had to wait.
    Delay,
    /// A request was answered with an error.
    Abort,
}

impl FaultMetrics {
    /// Counts a fault.
    pub fn injected(&self, fault: Fault) {
        let [delay, abort] = &self.injected;
        let counter = match fault {
            Fault::Delay => delay,
            Fault::Abort => abort,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

pub(super) fn encode(routes: &Routes, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let injected = routes.iter().flat_map(|([listener, route], metrics)| {
        let kinds = ["delay", "abort"].into_iter().zip(&metrics.injected);
        kinds.map(move |(kind, counter)| {
            let labels = [("listener", &**listener), ("route", &**route), ("kind", kind)];
            (labels, counter.load(Ordering::Relaxed))
        })
    });
    Family { name: "faults_injected", help: "Requests that waited or failed on purpose" }
        .counters(encoder, injected)
}
