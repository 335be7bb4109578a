//! The work that checking may take.
use super::kind::{Known, Type};
use std::cell::Cell;

/// Steps after which a set is refused. Comprehensions in comprehensions and types made of types can ask for any amount of
/// work; OPA would take it. Ten thousand rules take a fiftieth of this.
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

    /// Looks at a type; nothing is left for what is too large.
    pub(crate) fn weigh(&self, known: &Known) {
        if matches!(known, Some(Type::TooLarge)) {
            self.left.set(0);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.left.get() == 0
    }
}
