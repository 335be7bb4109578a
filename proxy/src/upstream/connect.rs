//! How a byte stream to an endpoint is made. A test hands a connector of its own.
use crate::descriptors;
use crate::own_mark;
use crate::presence::{self, Attended};
use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use tokio::io::{AsyncRead, AsyncWrite};

/// A byte stream in both directions.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A byte stream whose kind no longer matters.
pub type BoxIo = Box<dyn Io>;

/// A stream that is being made.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<BoxIo>>>>;

/// Makes streams to endpoints.
pub trait Connect: Debug {
    /// Starts a connection. The caller bounds the time.
    fn connect(&self, endpoint: SocketAddr) -> Connecting;
}

/// Plain TCP, without delay for small writes, whose peer is known to be there.
#[derive(Clone, Copy, Debug)]
pub struct Tcp;

impl Connect for Tcp {
    fn connect(&self, endpoint: SocketAddr) -> Connecting {
        Box::pin(async move {
            let stream = own_mark::connect(endpoint).await?;
            if !descriptors::are_left(descriptors::Use::Upstream, &stream) {
                return Err(io::Error::other("too few file descriptors are left"));
            }
            presence::prepare(&stream)?;
            let stream: BoxIo = Box::new(Attended::new(stream));
            Ok(stream)
        })
    }
}
