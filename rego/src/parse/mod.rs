//! From text to [`crate::ast`].
use crate::ast::{Body, Loc, Module, Version};

/// Why a text is not Rego, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}:{}: {what}", loc.row, loc.col)]
pub struct ParseError {
    /// The place.
    pub loc: Loc,
    /// What is wrong, and where it is known how to mend it.
    pub what: String,
}

/// Reads a file. `module` is put into every [`Loc`].
///
/// # Errors
/// [`ParseError`]: the first thing that is wrong.
pub fn module(text: &str, module: u16, version: Version) -> Result<Module, ParseError> {
    drop((text, version));
    Err(ParseError { loc: Loc { module, row: 1, col: 1 }, what: String::new() })
}

/// Reads a query: expressions by lines or `;`, as `opa eval` takes them. All keywords are known.
///
/// # Errors
/// [`ParseError`]: the first thing that is wrong.
pub fn query(text: &str, module: u16) -> Result<Body, ParseError> {
    drop(text);
    Err(ParseError { loc: Loc { module, row: 1, col: 1 }, what: String::new() })
}
