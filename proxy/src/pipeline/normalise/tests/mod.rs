//! The guard at its boundary: a request head in, one spelling or one reason code out.
mod decoders;
mod paths;
mod requests;
mod responses;
