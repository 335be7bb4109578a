//! Postern's automation. `cargo xtask test` is the whole suite, `cargo xtask tidy` the rules no compiler checks,
//! `cargo xtask tools` the programs the suite runs against, `cargo xtask bench` the measurements.
//!
//! Everything here is plain, blocking and single-threaded: it is read in the bad hours.

pub mod bench;
pub mod process;
pub mod suite;
pub mod tidy;
pub mod tools;

use std::path::PathBuf;

/// The root of the workspace.
pub fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or_else(|| here.clone(), PathBuf::from)
}
