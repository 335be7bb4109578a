//! The `uuid` builtins.
use super::Builtin;

pub(super) const TABLE: &[Builtin] = &[];
