//! Why a set of modules is refused.
use crate::ast::Loc;

/// One reason, with its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}:{}: {code}: {what}", loc.row, loc.col)]
pub struct CompileError {
    /// The place.
    pub loc: Loc,
    /// OPA's name of the class: `rego_unsafe_var_error`, `rego_compile_error`, `rego_recursion_error`,
    /// `rego_type_error`.
    pub code: &'static str,
    /// What is wrong, and where it is known how to mend it.
    pub what: String,
}

impl CompileError {
    pub(crate) fn new(loc: Loc, what: impl Into<String>) -> Self {
        Self { loc, code: "rego_compile_error", what: what.into() }
    }

    pub(crate) fn unsafe_var(loc: Loc, name: &str) -> Self {
        let what = format!("var {name} is unsafe: nothing gives it a value");
        Self { loc, code: "rego_unsafe_var_error", what }
    }

    pub(crate) fn of_type(loc: Loc, what: impl Into<String>) -> Self {
        Self { loc, code: "rego_type_error", what: what.into() }
    }
}
