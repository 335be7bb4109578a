//! The way to the service: connections, and the pool that keeps them.
mod connect;
mod executor;
mod lease;
mod pool;

pub use connect::{BoxIo, Connect, Connecting, Io, Tcp};
pub(crate) use executor::LocalExecutor;
pub(crate) use lease::Lease;
pub(crate) use pool::SendError;
pub use pool::{ConnectionCount, Pool, Protocol, Target};
