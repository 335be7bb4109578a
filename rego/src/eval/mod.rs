//! The evaluator: bodies are walked in their order, unification binds slots, what has several solutions calls the rest
//! of the body once for each. Every statement takes a step from the budget, so that a decision ends at the same place
//! wherever it runs.
mod groups;
pub(crate) mod index;
mod machine;
pub(crate) mod observe;
mod partial;
mod refs;
mod step;
mod terms;
mod with;

pub(crate) use machine::Flow;
pub use machine::{Halt, HaltCode, Limits};
pub(crate) use machine::{Machine, Scratch};
