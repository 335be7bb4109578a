//! What cases are made of.

pub(crate) mod certificates;
