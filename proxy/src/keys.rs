//! How a worker asks for fresh token keys: it wishes, waits a little, and looks again. The fetch itself runs
//! on the control thread, once for all who wish.
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// A worker's way to the control thread.
#[derive(Clone, Debug)]
pub struct KeyRequests {
    wishes: mpsc::Sender<usize>,
    generation: watch::Receiver<u64>,
}

/// Longer than this no request waits for keys.
const WAIT_MAX: Duration = Duration::from_millis(500);

impl KeyRequests {
    /// From the control thread's ends: issuer indices go in, the generation of keys in force comes out.
    pub fn new(wishes: mpsc::Sender<usize>, generation: watch::Receiver<u64>) -> Self {
        Self { wishes, generation }
    }

    /// Asks for the issuer's keys and waits until newer ones are in force, or the wait is over.
    pub(crate) async fn refresh(&self, issuer: usize, seen: u64) {
        // A full queue means that others have asked already.
        _ = self.wishes.try_send(issuer);
        let mut generation = self.generation.clone();
        drop(tokio::time::timeout(WAIT_MAX, generation.wait_for(|newest| *newest > seen)).await);
    }
}
