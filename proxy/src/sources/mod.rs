//! Where identity, policy and keys come from. Everything here runs on the control thread.
pub mod backoff;
pub mod fetch;
pub mod identity;
pub mod jwks;
pub mod last_good;
pub mod names;
pub mod policy;
pub mod watched_file;
pub mod workload_bundles;
