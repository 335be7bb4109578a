//! The `json` builtins.
use super::Builtin;

pub(super) const TABLE: &[Builtin] = &[];
