//! Rego as OPA means it: [`parse`] reads modules, [`compile`] resolves and orders them, [`eval`] answers, and
//! [`builtins`] are the functions. Real OPA is the oracle; what cannot be made equal is refused at load, with its place.
pub mod ast;
pub mod builtins;
mod number;
pub mod parse;
mod value;

pub use number::Number;
pub use value::{JsonError, Object, Set, Value};
