//! What Cedar policies can let through: proved for every request there can be, or shown by an example.
//!
//! The questions are answered by a solver over a symbolic reading of the policies (`cedar-policy-symcc`), one request
//! environment after the other: a kind of principal, an action, a kind of resource. What the solver offers as a
//! counterexample is put to the real policies before it is believed.
//!
//! A policy set is read as the proxy reads it: any policy that cannot be evaluated denies. A proof is about every entity
//! store that fits the schema, so that it holds whoever is in which group; it says nothing of a bundle's `entities.json`.
//!
//! The proxy does not depend on this crate.
#![forbid(unsafe_code)]

mod ask;
mod bundle;
mod example;
mod questions;
mod report;
mod strict;

pub use ask::{Prover, ProverError};
pub use bundle::{SourceError, read};
pub use example::{Answer, Example};
pub use questions::Invariants;
pub use report::{Environment, Finding, Judged, Report, Verdict};
