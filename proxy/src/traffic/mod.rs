//! The traffic rules, one file a rule. [`decision_guard`] stands before policy is asked; the others stand after the
//! decision: none of them changes what was decided on, and a caller who is denied learns nothing of them.
//!
//! [`split`] chooses the upstream before policy is asked, since that is a part of what is decided on; [`redirect`] says where
//! else to ask. Order of the others, in `pipeline/forward.rs` and `pipeline/attempts.rs`: [`rate_limit`], [`global_rate_limit`], [`faults`] and [`circuit_breaker`], whose bound [`adaptive_concurrency`] moves, let the exchange in; what [`mirror`] takes is copied; [`timeout`] and
//! [`grpc_deadline`] start; then for each attempt that [`retry`] grants and [`retry_budget`] pays for, [`balance`] names
//! the endpoint among those that neither [`health`] nor [`outlier`] leaves out, the pool connects within its own time and the breaker's bounds, and the request is sent.
pub mod adaptive_concurrency;
pub mod balance;
pub mod circuit_breaker;
pub mod decision_guard;
pub mod endpoint;
pub mod faults;
pub mod global_rate_limit;
pub(crate) mod grpc_deadline;
pub mod health;
mod latency;
pub mod mirror;
pub mod outlier;
pub mod rate_limit;
pub(crate) mod redirect;
pub(crate) mod retry;
pub mod retry_budget;
pub(crate) mod rewrite;
pub(crate) mod ring;
pub mod share;
pub mod split;
pub(crate) mod timeout;
