//! The sidecar: listeners, pipeline, traffic rules, upstreams, sources, the audit log's writer, admin and CLI.
//!
//! Start with `ARCHITECTURE.md`, then [`pipeline`].
pub mod admin;
pub mod app;
pub mod capture;
pub mod cli;
pub mod clock;
pub mod compile;
pub mod config;
pub mod control;
mod cut;
pub mod demo;
mod descriptors;
pub mod handover;
mod health;
mod http2_guard;
pub mod keys;
pub mod listener;
pub mod local_socket;
pub mod log;
pub mod memory;
mod nonce;
mod own_mark;
pub mod pipeline;
mod presence;
mod reachable;
pub mod recorder;
mod replay;
pub mod routing;
pub mod sources;
pub mod standing;
pub mod state;
pub mod status;
pub mod telemetry;
pub mod traffic;
pub mod upstream;
pub mod worker;
