//! The way to the service: connections, and the pool that keeps them.
mod connect;
mod executor;
mod http2;
mod lease;
mod pool;
mod probe;
mod secure;
mod target;

pub use connect::{BoxIo, Connect, Connecting, Io, Tcp};
#[cfg(test)]
pub(crate) use executor::LocalExecutor;
pub(crate) use lease::{Lease, Switched};
pub use pool::Pool;
pub(crate) use pool::{InForce, SendError};
pub(crate) use secure::{Invalid, Proof};
pub use secure::{Originator, Security};
pub use target::{Protocol, Target};
