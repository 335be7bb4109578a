//! What operators and their machines ask the sidecar itself: the read-only status port and the admin socket.
//!
//! Both run on a thread and a runtime of their own, so that a busy sidecar still answers its probes, and a
//! flood of questions never takes a worker.

mod control;
mod server;
mod socket;
mod status;

pub use control::{
    AdminAction, AdminCommand, AdminView, BundleStatus, IdentityStatus, Status, commands,
    serve as serve_admin,
};
pub use server::ServerLimits;
pub use socket::{AdminError, AdminSocket};
pub use status::{Check, StatusView, serve as serve_status};
