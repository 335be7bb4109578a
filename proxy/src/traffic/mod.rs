//! The traffic rules, one file a rule. [`decision_guard`] stands before policy is asked; the others stand after the
//! decision: none of them changes what was decided on, and a caller who is denied learns nothing of them.
//!
//! Order, in `pipeline/forward.rs` and `pipeline/attempts.rs`: [`circuit_breaker`] lets the exchange in; [`timeout`] and
//! [`grpc_deadline`] start; then for each attempt that [`retry`] grants and [`retry_budget`] pays for, [`balance`] names
//! the endpoint, the pool connects within its own time and the breaker's bounds, and the request is sent.
pub(crate) mod balance;
pub mod circuit_breaker;
pub mod decision_guard;
pub(crate) mod grpc_deadline;
pub(crate) mod retry;
pub mod retry_budget;
pub(crate) mod timeout;
