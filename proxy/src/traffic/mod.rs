//! The traffic rules, one file a rule. [`decision_guard`] stands before policy is asked; the others stand after the decision: none of them changes what was decided
//! on, and a caller who is denied learns nothing of them.
//!
//! Order, in `pipeline/forward.rs`: [`timeout`] starts; then for each attempt that [`retry`] grants,
//! [`balance`] names the endpoint, the pool connects within its own time, and the request is sent.
pub(crate) mod balance;
pub mod decision_guard;
pub(crate) mod retry;
pub(crate) mod timeout;
