//! The way to the service: connections, and the pool that keeps them.
mod announcement;
mod connect;
mod destinations;
mod executor;
mod extended_connect;
mod http2;
mod lease;
mod pool;
mod probe;
mod rate_limit_service;
mod secure;
mod target;

pub(crate) use announcement::Announcement;
#[cfg(test)]
pub(crate) use announcement::header;
pub use connect::{BoxIo, Connect, Connecting, ConnectingLocal, Io, Tcp};
#[cfg(test)]
pub(crate) use executor::LocalExecutor;
pub(crate) use lease::{Lease, Switched};
pub use pool::Pool;
pub(crate) use pool::{Choosing, InForce, SendError};
#[cfg(test)]
pub(crate) use rate_limit_service::HeaderToAdd;
pub(crate) use rate_limit_service::{
    DescriptorEntry, DescriptorStatus, NoAnswer, OK, OVER_LIMIT, RateLimitDescriptor, RateLimitRequest,
    RateLimitResponse, Span,
};
pub(crate) use secure::{Invalid, Proof};
pub use secure::{Originator, Security};
pub use target::{Protocol, Target};
