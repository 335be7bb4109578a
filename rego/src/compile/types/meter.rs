//! The work that checking may take.
use std::cell::Cell;

/// Steps after which types are no longer looked at. Comprehensions in comprehensions and types made of types can ask for
/// any amount of work; OPA would take it.
const STEPS: usize = 10_000_000;

#[derive(Debug)]
pub(crate) struct Meter {
    left: Cell<usize>,
}

impl Meter {
    pub(crate) fn new() -> Self {
        Self { left: Cell::new(STEPS) }
    }

    /// Takes steps; `false` if there are none left.
    pub(crate) fn charge(&self, steps: usize) -> bool {
        let left = self.left.get().saturating_sub(steps);
        self.left.set(left);
        left > 0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.left.get() == 0
    }
}
