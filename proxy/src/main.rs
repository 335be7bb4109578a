//! `postern`.
fn main() {}
