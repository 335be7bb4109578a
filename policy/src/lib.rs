//! May they: the query contract, the Rego and Cedar engines, signed policy bundles, verdicts.
//!
//! Pure: bytes, strings and `now` in, values out. No sockets, no files, no clock, no async. The only time that is
//! read is the engine's own safety timer.
//!
//! * [`PolicyBundle::open`] reads an OPA bundle archive, verifies its signature *before* anything is merged or
//!   compiled, and hands out a verified, immutable bundle.
//! * [`Pdp::load`] compiles bundles into one immutable decision point, or refuses the whole set with place and mend.
//! * [`Pdp::decide`] answers a borrowed [`Query`] with a [`Verdict`]; whatever goes wrong in an engine is a deny.
#![forbid(unsafe_code)]

pub mod bundle;
mod document;
mod engine;
mod header;
mod parameter;
mod pdp;
mod query;
#[cfg(test)]
mod testing;
pub mod tooling;
mod verdict;

pub use bundle::{
    BundleError, BundleLimits, PolicyBundle, SignatureAlgorithm, SignerKey, SignerKeyError, Signers,
    SigningError, SigningKey,
};
pub use engine::LoadError;
pub use engine::cedar::CONTRACT_SCHEMA as CEDAR_CONTRACT_SCHEMA;
pub use engine::cedar::load::CedarProgram;
pub use engine::cedar::slice::{CedarAnswer, CedarSet};
pub use pdp::{Engine, Entry, Pdp, PdpLimits, Scratch};
pub use query::{Body, Headers, Http, NoHeaders, Query, Source, Tls, TokenIssuer, WorkloadToken};
pub use verdict::{Decision, Obligations, PolicyId, Revision, Verdict};
