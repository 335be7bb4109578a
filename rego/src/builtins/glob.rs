//! The `glob` builtins.
use super::Builtin;

pub(super) const TABLE: &[Builtin] = &[];
