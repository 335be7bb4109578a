//! What cases are made of.

pub(crate) mod certificates;
pub(crate) mod handshake;
pub(crate) mod token;
