//! The compliance cases of OPA, and what it is that they parse to.
use super::*;
mod cases;
