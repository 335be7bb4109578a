//! What rows are tried with: things that are right, to be bent one rule at a time.

pub(crate) mod bundle_endpoint;
pub(crate) mod certificates;
pub(crate) mod grpc;
pub(crate) mod handshake;
pub(crate) mod proof;
pub(crate) mod sidecar;
pub(crate) mod token;
pub(crate) mod workload;
pub(crate) mod workload_api;
