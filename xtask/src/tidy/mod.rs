//! The rules that no compiler checks. Each is one file and one function from the tree to findings; the list below is
//! all of them. The suite runs them as a test (`xtask/tests/tidy.rs`).

mod clock;
mod dependencies;
mod documents;
mod examples;
mod reasons;
mod size;
mod source;
mod tickets;
mod tree;
mod unsafe_code;
mod words;

use std::fmt;
use std::path::Path;

use anyhow::Result;

pub use tree::Tree;

/// A place that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Relative to the root, with `/`.
    pub path: String,
    /// Counted from 1; 0 when the finding is about the whole file.
    pub line: usize,
    /// What is wrong and how to mend it.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.message),
            line => write!(f, "{}:{line}: {}", self.path, self.message),
        }
    }
}

impl Finding {
    fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

/// Checks every rule over the tree at `root`; an empty list is what we want.
///
/// # Errors
/// When the tree cannot be read, or cargo does not say who depends on whom.
pub fn check(root: &Path) -> Result<Vec<Finding>> {
    let tree = Tree::read(root)?;
    let mut findings = check_tree(&tree);
    findings.extend(dependencies::check(root)?);
    findings.sort();
    Ok(findings)
}

/// The rules that need the files alone.
fn check_tree(tree: &Tree) -> Vec<Finding> {
    let rules = [
        clock::check,
        documents::check,
        examples::check,
        reasons::check,
        size::check,
        tickets::check,
        unsafe_code::check,
        words::check,
    ];
    rules.iter().flat_map(|rule| rule(tree)).collect()
}

#[cfg(test)]
mod tests;
