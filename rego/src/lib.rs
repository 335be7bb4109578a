//! Rego as OPA means it: [`parse`] reads modules, [`Policy`] resolves and orders them and answers, and [`builtins`] are
//! the functions. Real OPA is the oracle; what cannot be made equal is refused at load, with its place.
pub mod ast;
pub mod builtins;
mod compile;
#[cfg(test)]
mod differential;
mod eval;
mod examine;
mod ir;
mod number;
pub mod parse;
mod policy;
mod problems;
#[cfg(test)]
mod problems_tests;
mod reads;
mod survey;
mod value;

pub use compile::CompileError;
pub use eval::{Halt, HaltCode, Limits};
pub use examine::{Attempt, Coverage, FileCoverage, Position, Span, TestRule, Unmet, Watch, Watched};
pub use number::Number;
pub use policy::{Entry, LoadError, Policy, QueryError, Source};
pub use problems::{PROBLEMS_MAX, modules, problems};
pub use reads::Reads;
pub use survey::Unindexed;
pub use value::{JsonError, Object, Set, Value};
